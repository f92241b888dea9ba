"""How figures look: the paper style, one colour and marker per family, log axes with plain numbers, files."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullFormatter

from frontier._format import nearest, plural
from frontier.metrics.columns import USUAL_REFERENCES

WIDTHS = {"neurips": (5.5,), "icml": (3.25, 6.75), "acl": (3.03, 6.3)}
"""Inches of text that a figure over one column, or over two, may fill."""
REFERENCE_COLOUR = "#4d4d4d"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette without black and yellow, ordered so that early ones differ most in lightness."""
MARKERS = ("s", "^", "D", "v", "p", "<", ">", "h", "d", "8", "H")
SALT = "sae-frontier"
EMBEDDING: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": SALT}


class Style(NamedTuple):
    """Colour and marker of one family."""

    colour: str
    marker: str


@contextmanager
def paper_style(venue: str = "neurips", columns: int = 1) -> Iterator[float]:
    """Figures made inside have the venue's width, its type size and its kind of letters.

    Letters are STIX, which match Times and come with matplotlib, so that every machine draws the same figure.
    They are embedded as Type 42, which submission checkers ask for.

    Parameters
    ----------
    venue : {"neurips", "icml", "acl"}
    columns : int
        Columns of text that the figure spans. NeurIPS has one.

    Yields
    ------
    float
        The figure's width in inches.

    Raises
    ------
    ValueError
        Unknown venue, or more columns than it has.
    """
    widths = WIDTHS.get(str(venue).lower())
    if widths is None:
        raise ValueError(f"unknown venue {venue!r}{nearest(str(venue), WIDTHS)}")
    if columns not in range(1, len(widths) + 1):
        raise ValueError(f"{venue} has {plural(len(widths), 'column')} of text, asked for {columns}")
    width = widths[columns - 1]
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
    """A colour and a marker for every family, the same for the same set of families in any order.

    The reference is dark grey with circles; without one named, it is the family called relu, standard,
    vanilla or baseline, if there is exactly one. Colour-blind readers can tell the colours apart. Colours
    start again after six, markers after eleven, so that 66 families differ.
    """
    names = list(dict.fromkeys(families))
    if reference is None:
        usual = [n for n in names if str(n).lower() in USUAL_REFERENCES]
        reference = usual[0] if len(usual) == 1 else None
    styles = {n: Style(REFERENCE_COLOUR, "o") for n in names if n == reference}
    rest = sorted((n for n in names if n != reference), key=str)
    for i, name in enumerate(rest):
        styles[name] = Style(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
    return styles


def styles_for(
    names: Iterable[Hashable], reference: Hashable | None, given: Mapping[Any, Style] | None
) -> dict[Any, Style]:
    """The given styles, and ready ones for families that have none."""
    ready = family_styles(names, reference)
    return {name: Style(*(given or {}).get(name, style)) for name, style in ready.items()}


def figure_text(name: object, most: int = 40) -> str:
    """A name from a file as a label: one line, at most `most` characters, `$` without its meaning."""
    text = "".join(c if c.isprintable() else " " for c in str(name))
    text = " ".join(text.split())
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")


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
        found = found[:: math.ceil(len(found) / most)] if found else []
        for steps in self.STEPS[1:]:
            finer = _steps_between(vmin, vmax, steps)
            if len(found) >= min(4, most) or len(finer) > most:
                break
            found = finer
        if len(found) > 1:
            return found
        return [float(t) for t in MaxNLocator(most).tick_values(vmin, vmax) if vmin <= t <= vmax]


def _steps_between(low: float, high: float, steps: Sequence[float]) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{s}e{e}") for e in exponents for s in steps]
    return [t for t in ticks if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
