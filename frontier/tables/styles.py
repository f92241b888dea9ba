"""One table, four faces: text, Markdown, LaTeX and HTML, names from files made harmless in each."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tabulate import DataRow, Line, TableFormat, tabulate

from frontier._format import nearest, one_line


@dataclass(frozen=True)
class Field:
    """One column of ready cells.

    Attributes
    ----------
    numeric : bool
        Cells are numbers and intervals, so that LaTeX sets infinity, minus and exponents in mathematics.
    ours : bool
        Cells are this project's words, in which k, n and L0 are symbols; those of headers always are.
    align : {"left", "right"}
    """

    header: str
    cells: Sequence[str]
    numeric: bool = False
    ours: bool = False
    align: str = "left"


@dataclass(frozen=True)
class Sheet:
    """A table before it has a style: caption, columns and numbered notes."""

    caption: str
    fields: tuple[Field, ...]
    notes: tuple[str, ...] = ()

    def write(self, style: str) -> str:
        """The table in one of `STYLES`.

        Raises
        ------
        ValueError
            Unknown style; the nearest is offered.
        """
        if style not in STYLES:
            raise ValueError(f"unknown table style {style!r}{nearest(str(style), STYLES)}")
        return STYLES[style](self)


def header(name: str) -> str:
    """A column's name for readers.

    >>> header("dictionary_size"), header("k"), header("l0"), header("ce_sae")
    ('Dictionary size', 'k', 'L0', 'CE with SAE')
    """
    if name in HEADERS:
        return HEADERS[name]
    words = one_line(name).replace("_", " ").strip()
    return words if len(words) < 2 else words[0].upper() + words[1:]


HEADERS = {
    "l0": "L0",
    "d_model": "d_model",
    "ce_clean": "CE clean",
    "ce_sae": "CE with SAE",
    "ce_zero_ablation": "CE zero ablation",
    "ce_mean_ablation": "CE mean ablation",
    "delta_ce": "Delta CE",
    "kl": "KL",
    "mse": "MSE",
    "fvu": "FVU",
    "pareto_optimal": "Pareto",
    "run_id": "Run",
    "frequency_above_10pct": "Firing > 10 %",
    "frequency_above_1pct": "Firing > 1 %",
    "frequency_below_1e5": "Firing < 1e-5",
}


def number_notes(said: Iterable[Sequence[str]]) -> tuple[list[str], list[str]]:
    """For every row the numbers of its notes, and the notes, each once in order of appearance.

    >>> number_notes([["a", "b"], [], ["b"]])
    (['1, 2', '', '2'], ['a', 'b'])
    """
    rows = [[one_line(n) for n in notes if n] for notes in said]
    notes = list(dict.fromkeys(n for row in rows for n in row))
    place = {n: i for i, n in enumerate(notes, 1)}
    return [", ".join(str(i) for i in sorted({place[n] for n in row})) for row in rows], notes


def _tabulated(sheet: Sheet, cells: list[list[str]], headers: list[str], style: str | TableFormat) -> str:
    rows = [list(row) for row in zip(*cells, strict=True)]
    options = {"colalign": [f.align for f in sheet.fields]} if rows else {}
    return str(tabulate(rows, headers, tablefmt=style, disable_numparse=True, **options))


def _text(sheet: Sheet) -> str:
    cells = [[one_line(c) for c in f.cells] for f in sheet.fields]
    table = _tabulated(sheet, cells, [f.header for f in sheet.fields], "simple")
    notes = "\n".join(f"{i}. {note}" for i, note in enumerate(sheet.notes, 1))
    return "\n\n".join(part for part in (one_line(sheet.caption), table, notes) if part)


def _markdown(sheet: Sheet) -> str:
    cells = [[one_line(c) if f.numeric else markdown_text(c) for c in f.cells] for f in sheet.fields]
    table = _tabulated(sheet, cells, [markdown_text(f.header) for f in sheet.fields], "pipe")
    notes = "\n".join(f"{i}. {markdown_text(note)}" for i, note in enumerate(sheet.notes, 1))
    return "\n\n".join(part for part in (markdown_text(sheet.caption), table, notes) if part)


def _html(sheet: Sheet) -> str:
    cells = [[one_line(c) for c in f.cells] for f in sheet.fields]
    table = _tabulated(sheet, cells, [f.header for f in sheet.fields], "html")
    if sheet.caption:
        caption = f"<table>\n<caption>{html.escape(one_line(sheet.caption))}</caption>"
        table = table.replace("<table>", caption, 1)
    notes = "\n".join(f"<li>{html.escape(note)}</li>" for note in sheet.notes)
    return f"{table}\n<ol>\n{notes}\n</ol>" if notes else table


def _latex(sheet: Sheet) -> str:
    cells = [[_latex_cell(c, f) for c in f.cells] for f in sheet.fields]
    headers = [_guarded(_symbols(latex_text(f.header))) for f in sheet.fields]
    table = _tabulated(sheet, cells, headers, _booktabs("".join(f.align[0] for f in sheet.fields)))
    notes = [rf"\textsuperscript{{{i}}}\,{latex_text(note)}" for i, note in enumerate(sheet.notes, 1)]
    below = "\n".join([latex_text(sheet.caption), *notes]).strip()
    if not below:
        return table
    opening = r"\noindent\begin{minipage}{\linewidth}\footnotesize"
    return "\n".join([table, "", r"\par\smallskip", opening, below, r"\end{minipage}"])


STYLES = {"text": _text, "markdown": _markdown, "latex": _latex, "html": _html}


def markdown_text(text: object) -> str:
    r"""A name in which nothing is Markdown or HTML.

    >>> print(markdown_text("a|b <i> relu_x [l](u)"))
    a\|b &lt;i> relu_x [l]\(u)
    """
    plain = one_line(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    plain = re.sub(r"([|*`~$])", r"\\\1", plain).replace("](", "]\\(")
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", plain)


LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "#": r"\#", "$": r"\$", "%": r"\%", "&": r"\&",
    "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "—": "---", "…": r"\ldots{}", "²": "$^2$",
    "³": "$^3$", "−": "$-$", "×": r"$\times$", "±": r"$\pm$", "∞": r"$\infty$", "≤": r"$\le$", "≥": r"$\ge$",
    "→": r"$\to$", "‖": r"$\Vert$", "Δ": r"$\Delta$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$",
    "ε": r"$\epsilon$", "λ": r"$\lambda$", "μ": r"$\mu$", "σ": r"$\sigma$", "τ": r"$\tau$", "θ": r"$\theta$",
}  # fmt: skip


def latex_text(text: object) -> str:
    r"""Text in which nothing is a LaTeX command; other alphabets are left to XeLaTeX and LuaLaTeX.

    >>> print(latex_text("50% of relu_x & more"))
    50\% of relu\_x \& more
    """
    return "".join(LATEX.get(c, c) for c in one_line(text))


def latex_number(cell: str) -> str:
    r"""A cell of numbers, with infinity, minus signs and powers of ten in mathematics.

    >>> print(latex_number("1.2e-05 [-0.5, inf]"))
    $1.2\times10^{-5}$ [$-0.5$, $\infty$]
    """
    return re.sub(r"-?\binf\b|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|±", _one_number, cell)


def _one_number(match: re.Match[str]) -> str:
    text = match[0]
    if text == "±":
        return r"$\pm$"
    if "inf" in text:
        return text.replace("inf", r"$\infty$") if text[0] != "-" else r"$-\infty$"
    if "e" in text:
        mantissa, exponent = text.split("e")
        factor = "" if mantissa == "1" else rf"{mantissa}\times"
        return f"${factor}10^{{{int(exponent)}}}$"
    return f"${text}$" if text.startswith("-") else text


def _latex_cell(cell: str, field: Field) -> str:
    if field.numeric:
        return _guarded(latex_number(one_line(cell)))
    text = latex_text(cell)
    return _guarded(_symbols(text) if field.ours else text)


def _symbols(text: str) -> str:
    """Our own words with k, n, p, x and L0 as symbols."""
    return re.sub(r"\b(k|n|p|x)\b", r"$\1$", text).replace("L0", "$L_0$")


def _guarded(cell: str) -> str:
    """A cell that the row end before it cannot take for its argument."""
    return "{}" + cell if cell[:1] in ("[", "*") else cell


def _booktabs(columns: str) -> TableFormat:
    begin = f"\\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n\\toprule"
    row = DataRow("", " & ", r" \\")
    end = "\\bottomrule\n\\end{tabular}"
    return TableFormat(
        Line(begin, "", "", ""), Line(r"\midrule", "", "", ""), None, Line(end, "", "", ""), row, row, 0, None
    )
