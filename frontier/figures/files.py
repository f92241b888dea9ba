"""Figures as files: PDF, PNG, SVG and PGF, the same figure giving the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from frontier._format import listed, nearest
from frontier.figures.style import EMBEDDING

LATEX = ("pdflatex", "lualatex", "xelatex")
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
        inputs it, and needs a LaTeX to measure them (pdfLaTeX, LuaLaTeX or XeLaTeX, the first that is found).

    Returns
    -------
    list of Path

    Raises
    ------
    ValueError
        Unknown format.
    RuntimeError
        PGF without a LaTeX.
    """
    kinds = [str(f).lower().lstrip(".") for f in ([formats] if isinstance(formats, str) else formats)]
    for kind in kinds:
        if kind not in FORMATS:
            raise ValueError(f"unknown figure format {kind!r}{nearest(kind, FORMATS)}")
    whole = np.ravel(figure)[0] if isinstance(figure, np.ndarray) else figure
    while not isinstance(whole, Figure):
        whole = whole.figure
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    name = stem.stem if stem.suffix.lower().lstrip(".") in FORMATS else stem.name
    written = [stem.with_name(f"{name}.{kind}") for kind in kinds]
    settings: Any = {**EMBEDDING, **(_pgf() if "pgf" in kinds else EMBEDDING)}
    with mpl.rc_context(settings):
        for path, kind in zip(written, kinds, strict=True):
            about: Any = {"metadata": FORMATS[kind]} if FORMATS[kind] else {}
            whole.savefig(path, format=kind, dpi=300, **about)
            if kind == "pgf":
                path.write_text(_without_signs(path.read_text(encoding="utf-8")), encoding="utf-8")
    return written


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
