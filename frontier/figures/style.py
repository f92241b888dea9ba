"""How figures look: the paper style, one colour and marker per family, log axes with plain numbers, files."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axis import Axis, XAxis
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullFormatter

from frontier.metrics.columns import USUAL_REFERENCES
from frontier.renamed import parameters
from frontier.wording import nearest, one_line, plural

WIDTHS = {"neurips": (5.5,), "icml": (3.25, 6.75), "acl": (3.03, 6.3)}
"""Inches of text that a figure over one column, or over two, may fill."""
REFERENCE_COLOUR = "#4d4d4d"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette without black and yellow, ordered so that early ones differ most in lightness."""
MARKERS = ("s", "^", "D", "v", "p", "<", ">", "h", "d", "8", "H")
LINES: tuple[Any, ...] = ("-", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
"""Kinds of lines of families whose colour comes again; dashes are for what is extrapolated."""
KNOWN = ("gated", "jumprelu", "topk", "batchtopk", "matryoshka", "panneal")
"""Architectures that have the same colour and marker in every figure, by their small letters."""
SHORTEST = 7
"""Letters that a part of a label keeps, its ellipsis included."""
SALT = "sae-frontier"
EMBEDDING: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": SALT}


class Style(NamedTuple):
    """Colour and marker of one family, and the kind of its lines."""

    colour: str
    marker: str
    line: Any = "-"


@parameters(columns="span")
@contextmanager
def paper_style(venue: str = "neurips", span: int = 1) -> Iterator[float]:
    """Figures made inside have the venue's width, its type size and its kind of letters.

    Letters are STIX, which match Times and come with matplotlib, so that every machine draws the same figure.
    They are embedded as Type 42, which submission checkers ask for.

    Parameters
    ----------
    venue : {"neurips", "icml", "acl"}
    span : int
        Columns of text that the figure spans. NeurIPS has one.

    Yields
    ------
    float
        The figure's width in inches.

    Raises
    ------
    ValueError
        Unknown venue, or more columns than it has.

    Examples
    --------
    >>> import frontier
    >>> fit = frontier.fit_points([0.01, 0.02, 0.04], [0.1, 0.2, 0.3], "power")
    >>> with frontier.paper_style("icml") as width:
    ...     axes = frontier.plot_fits(fit)
    >>> width
    3.25
    """
    widths = WIDTHS.get(str(venue).lower())
    if widths is None:
        raise ValueError(f"unknown venue {venue!r}{nearest(str(venue), WIDTHS)}")
    if span not in range(1, len(widths) + 1):
        raise ValueError(f"{venue} has {plural(len(widths), 'column')} of text, asked for {span}")
    width = widths[span - 1]
    with mpl.rc_context({**_PAPER, **EMBEDDING, "figure.figsize": (width, 0.62 * min(width, 4.5))}):
        yield width


_PAPER: Any = {
    "font.family": ["serif", "DejaVu Sans"],
    "font.serif": ["STIXGeneral", "Times New Roman", "Times"],
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.labelpad": 3,
    "axes.titlepad": 4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "savefig.dpi": 300,
    "figure.dpi": 150,
}


def family_styles(families: Iterable[Hashable], reference: Hashable | None = None) -> dict[Any, Style]:
    """A colour, a marker and a kind of line for every family, the same for the same families in any order.

    The reference is dark grey with circles; without one named, it is the family called relu, standard,
    vanilla or baseline, if there is exactly one. The architectures in `KNOWN` look the same in every figure;
    other families take what is left. Colour-blind readers can tell the colours apart. Colours start again
    after six, with another kind of line, and markers after eleven, so that 66 families differ.

    Examples
    --------
    >>> import frontier
    >>> styles = frontier.family_styles(["topk", "relu"])
    >>> list(styles), styles["relu"].marker
    (['relu', 'topk'], 'o')
    """
    names = list(dict.fromkeys(families))
    if reference is None:
        usual = [n for n in names if str(n).lower() in USUAL_REFERENCES]
        reference = usual[0] if len(usual) == 1 else None
    styles = {n: Style(REFERENCE_COLOUR, "o") for n in names if n == reference}
    rest = sorted((n for n in names if n != reference), key=str)
    fixed: dict[int, Any] = {}
    for name in rest:
        letters = "".join(c for c in str(name).lower() if c.isalnum())
        if letters in KNOWN:
            fixed.setdefault(KNOWN.index(letters), name)
    places = {name: place for place, name in fixed.items()}
    free = (place for place in count() if place not in fixed)
    return styles | {name: _look(places[name] if name in places else next(free)) for name in rest}


def _look(place: int) -> Style:
    again = place // len(COLOURS)
    return Style(COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)], LINES[again % len(LINES)])


def styles_for(
    names: Iterable[Hashable], reference: Hashable | None, given: Mapping[Any, Style] | None
) -> dict[Any, Style]:
    """The given styles, and ready ones for families that have none."""
    ready = family_styles(names, reference)
    return {name: Style(*(given or {}).get(name, style)) for name, style in ready.items()}


def figure_text(name: object, most: int = 40) -> str:
    """A name from a file as a label: one line, at most `most` characters, `$` without its meaning.

    What is too long loses its middle, as names differ at their ends.

    >>> figure_text("blocks.12.hook_resid_post", 16)
    'blocks.1…id_post'
    """
    text = one_line(name)
    if len(text) > most:
        tail = (most - 1) // 2
        text = f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"
    return text.replace("$", r"\$")


def distinct_texts(names: Iterable[object], most: int = 40) -> list[str]:
    """Names as labels of at most `most` characters, or as many as tell them apart."""
    wanted = [str(name) for name in names]
    found: list[str] = []
    for letters in range(most, max([most, *map(len, wanted)]) + 1):
        found = [figure_text(name, letters) for name in wanted]
        if len(set(found)) == len(set(wanted)):
            break
    return found


def row_texts(rows: Sequence[Sequence[str]], most: int) -> list[str]:
    """Labels of several parts; in those of more than `most` characters long parts lose their middle.

    They may be longer than that where they would read the same.

    >>> row_texts([["blocks.12.hook_resid_post", "layer 3", "gated"], ["mlp", "layer 12", "relu"]], 30)
    ['blocks.…d_post, layer 3, gated', 'mlp, layer 12, relu']
    """
    longest = max((len(part) for parts in rows for part in parts), default=0)
    found: list[str] = []
    for shorter in range(most, most + longest + 1):
        found = [_row_text(parts, shorter) for parts in rows]
        if len(set(found)) == len({tuple(parts) for parts in rows}):
            break
    return found


def _row_text(parts: Sequence[str], most: int) -> str:
    """Parts in a row, each cut to the most letters with which the row is short enough."""
    for letters in range(max(most, SHORTEST), SHORTEST - 1, -1):
        text = ", ".join(figure_text(part, letters) for part in parts)
        if len(text) <= most:
            break
    return text


def log_axis(axis: Axis) -> None:
    """Make an axis logarithmic, with plain numbers (10, 30, 100) as labels."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined]
    axis.set_major_locator(PlainLogLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_tick(value)))
    axis.set_minor_formatter(NullFormatter())


def plain_tick(value: float) -> str:
    r"""A tick's label: a plain number, or a power of ten beyond 0.0001 and a million.

    >>> plain_tick(0.03), plain_tick(300.0), plain_tick(2e-7)
    ('0.03', '300', '$2\\times10^{-7}$')
    """
    if value <= 0 or 1e-4 <= value < 1e6:
        return f"{value:.10g}"
    mantissa, exponent = f"{value:.6e}".split("e")
    digits = mantissa.rstrip("0").rstrip(".")
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if digits == "1" else f"${digits}\\times{power}$"


class PlainLogLocator(Locator):
    """Ticks of a log axis at 1, 1-3, 1-2-5 or finer steps: as many as fit, at least three."""

    STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7))

    def __call__(self) -> Sequence[float]:
        """Ticks inside the axis' present limits."""
        assert self.axis is not None
        low, high = sorted(self.axis.get_view_interval())
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Ticks between two limits."""
        if not (vmin > 0 and math.isfinite(vmax)):
            return []
        most = min(max(self.axis.get_tick_space() + 1, 3), 6) if isinstance(self.axis, Axis) else 6
        found = _steps_between(vmin, vmax, self.STEPS[0])
        found = found[:: math.ceil(len(found) / most)] if found else ()
        for steps in self.STEPS[1:]:
            finer = _steps_between(vmin, vmax, steps)
            if len(found) >= min(4, most) or len(finer) > most or self._crowded(finer, vmax / vmin):
                break
            found = finer
        if len(found) > 1:
            return list(found)
        return [float(t) for t in MaxNLocator(most).tick_values(vmin, vmax) if vmin <= t <= vmax]

    def _crowded(self, ticks: Sequence[float], span: float) -> bool:
        """Whether labels side by side would touch: each letter takes half its size."""
        if not isinstance(self.axis, XAxis) or len(ticks) < 3:
            return False
        length = 72 * self.axis.axes.get_window_extent().width / self.axis.axes.figure.dpi
        size = FontProperties(size=mpl.rcParams["xtick.labelsize"]).get_size_in_points()
        letters = [len(plain_tick(t).replace("times", "").strip("${}")) for t in ticks]
        gaps = np.diff(np.log(ticks)) / math.log(span) * length
        return bool((gaps < 0.5 * size * (0.5 * np.add(letters[:-1], letters[1:]) + 1)).any())


@lru_cache(maxsize=512)
def _steps_between(low: float, high: float, steps: tuple[float, ...]) -> tuple[float, ...]:
    """Ticks at these steps of each decade; matplotlib asks for those of one axis again and again."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{s}e{e}") for e in exponents for s in steps]
    return tuple(t for t in ticks if low * (1 - 1e-9) <= t <= high * (1 + 1e-9))
