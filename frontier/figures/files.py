"""Figures as files: PDF, PNG, SVG and PGF, the same figure giving the same bytes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

from frontier.figures.panels import lay_out
from frontier.figures.style import EMBEDDING
from frontier.tables.latex import LATEX as LATEX_SIGNS
from frontier.wording import listed, nearest
from frontier.writing import whole_file

LATEX = ("pdflatex", "lualatex", "xelatex")
MATHS = re.compile(r"((?<!\\)\$.*?(?<!\\)\$)")
SIGNS = {c: rf"\ensuremath{{{text}}}" for c, text in {
    "−": "-", "×": r"\times", "±": r"\pm", "Δ": r"\Delta", "∞": r"\infty", "≤": r"\le", "≥": r"\ge",
    "λ": r"\lambda", "γ": r"\gamma", "…": r"\ldots",
}.items()}  # fmt: skip
FORMATS: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
    "pgf": {},
}
"""File formats, each with the metadata that would differ from run to run taken out."""


def save_figure(
    figure: Figure | SubFigure | Axes | np.ndarray,
    stem: str | Path,
    formats: Sequence[str] | str = ("pdf", "png"),
) -> list[Path]:
    """Write a figure as `stem.pdf`, `stem.png`, ...: the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure, or Axes of it
    stem : path; an ending among the formats is dropped
        Missing folders are made.
    formats : among {"pdf", "png", "svg", "pgf"}
        PNG has 300 dots per inch. SVG keeps letters as text. PGF takes the letters of the document that
        inputs it, has no hatches, and needs a LaTeX to measure letters (pdfLaTeX, LuaLaTeX or XeLaTeX, the
        first that is found). Names from the data are typeset as they read.

    Returns
    -------
    list of Path

    Raises
    ------
    ValueError
        Unknown format.
    RuntimeError
        PGF without a LaTeX.

    Examples
    --------
    >>> import frontier
    >>> import tempfile
    >>> fit = frontier.fit_points([0.01, 0.02, 0.04], [0.1, 0.2, 0.3], "power")
    >>> written = frontier.save_figure(frontier.plot_fits(fit), f"{tempfile.mkdtemp()}/fits", "svg")
    >>> [path.name for path in written]
    ['fits.svg']
    """
    kinds = [str(f).lower().lstrip(".") for f in ([formats] if isinstance(formats, str) else formats)]
    for kind in kinds:
        if kind not in FORMATS:
            raise ValueError(f"unknown figure format {kind!r}{nearest(kind, FORMATS)}")
    whole = np.ravel(figure)[0] if isinstance(figure, np.ndarray) else figure
    while not isinstance(whole, Figure):
        whole = whole.figure
    stem = Path(stem)
    name = stem.stem if stem.suffix.lower().lstrip(".") in FORMATS else stem.name
    written = [stem.with_name(f"{name}.{kind}") for kind in kinds]
    settings: Any = {**EMBEDDING, **(_pgf() if "pgf" in kinds else EMBEDDING)}
    with mpl.rc_context(settings):
        if "pgf" in kinds:
            _write_pgf(whole, stem.with_name(f"{name}.pgf"))
        with _laid_out(whole):
            for path, kind in zip(written, kinds, strict=True):
                if kind != "pgf":
                    with whole_file(path) as draft:
                        whole.savefig(draft, format=kind, dpi=300, metadata=FORMATS[kind])
    return written


def _write_pgf(figure: Figure, path: Path) -> None:
    with whole_file(path) as draft, ready_for_latex(figure):
        figure.savefig(draft, format="pgf", dpi=300)
        draft.write_text(_without_signs(draft.read_text(encoding="utf-8")), encoding="utf-8")


@contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Inside, every axes keeps its place: matplotlib finds it anew for each file, in as long as it draws."""
    engine = figure.get_layout_engine()
    if engine is None:
        yield
        return
    lay_out(figure)
    try:
        with mpl.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)
            yield
    finally:
        figure.set_layout_engine(engine)


@contextmanager
def ready_for_latex(figure: Figure) -> Iterator[None]:
    """Inside, no name from the data is a LaTeX command, and no bar has hatches, which fill megabytes."""
    texts = [t for t in figure.findobj(Text) if isinstance(t, Text)]
    ticks = [f for ax in figure.axes for f in _named_ticks(ax)]
    bars = [p for p in figure.findobj(Patch) if isinstance(p, Patch) and p.get_hatch()]
    words, names = [t.get_text() for t in texts], [f.seq for f in ticks]
    hatches = [p.get_hatch() for p in bars]
    try:
        _set(texts, map(latex_label, words), ticks, ([latex_label(n) for n in own] for own in names))
        for bar in bars:
            bar.set_hatch("")
        yield
    finally:
        _set(texts, words, ticks, names)
        for bar, hatch in zip(bars, hatches, strict=True):
            bar.set_hatch(hatch)


def _set(texts: list[Text], words: Iterable[str], ticks: list[FixedFormatter], names: Iterable[Any]) -> None:
    for text, word in zip(texts, words, strict=True):
        text.set_text(word)
    for tick, own in zip(ticks, names, strict=True):
        tick.seq = own


def _named_ticks(ax: Axes) -> list[FixedFormatter]:
    """Formatters of the axes whose ticks have given names: they write their labels anew in every drawing."""
    found = [axis.get_major_formatter() for axis in (ax.xaxis, ax.yaxis)]
    return [f for f in found if isinstance(f, FixedFormatter)]


def latex_label(text: str) -> str:
    r"""A label of matplotlib as LaTeX: mathematics stays, in the rest nothing is a command.

    >>> print(latex_label(r"batch_topk & 5 \$, $\hat{x}$"))
    batch\_topk \& 5 \textdollar{}, $\hat{x}$
    """
    return "\n".join(_latex_line(line) for line in text.split("\n"))


def _latex_line(line: str) -> str:
    parts = MATHS.split(line) if is_math_text(line) else [line]
    return "".join(part if MATHS.fullmatch(part) else _literal(part) for part in parts)


def _literal(text: str) -> str:
    plain = text.replace(r"\$", "$")
    return "".join(r"\textdollar{}" if c == "$" else LATEX_SIGNS.get(c, c) for c in plain)


def _pgf() -> dict[str, Any]:
    """Settings of the PGF backend: the LaTeX that there is, and the document's own letters."""
    found = [name for name in LATEX if shutil.which(name)]
    if not found:
        raise RuntimeError(f"a PGF figure needs a LaTeX to measure letters: none of {listed(LATEX)} is here")
    declared = "".join(rf"\DeclareUnicodeCharacter{{{ord(c):04X}}}{{{text}}}" for c, text in SIGNS.items())
    preamble = rf"\usepackage{{amsmath}}\ifdefined\DeclareUnicodeCharacter {declared}\fi"
    return {"pgf.texsystem": found[0], "pgf.rcfonts": False, "pgf.preamble": preamble}


def _without_signs(text: str) -> str:
    """A PGF file in which LaTeX commands stand for the signs that pdfLaTeX does not know."""
    return "".join(SIGNS.get(c, c) for c in text)
