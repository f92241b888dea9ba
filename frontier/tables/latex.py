r"""LaTeX: tables for booktabs and siunitx, and names in which nothing is a command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tabulate import DataRow, Line, TableFormat, tabulate

from frontier.wording import one_line

if TYPE_CHECKING:
    from frontier.tables.styles import Field, Sheet

NUMBERS = re.compile(r"[<>] ?|-?\binf\b|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|±")
PLAIN = re.compile(r"(-?)(\d+)(?:\.(\d+))?(e[+-]?\d+)?")


WIDE, WIDER = 6, 8
"""Columns beyond which a table is set small, and smaller, so that a page of a paper holds it."""


def latex_sheet(sheet: Sheet) -> str:
    """The sheet as a tabular, or a longtable, with caption and notes under it."""
    columns = [_column(f, sheet) for f in sheet.fields]
    cells = [
        _emphasised([_latex_cell(c, f, k, sheet.siunitx) for c in f.cells], sheet, is_s=k[0] == "S")
        for f, k in zip(sheet.fields, columns, strict=True)
    ]
    headers = [
        f"{{{h}}}" if k[0] == "S" else h
        for h, k in zip(
            (_guarded(_symbols(latex_text(f.header))) for f in sheet.fields), columns, strict=True
        )
    ]
    rows = [list(row) for row in zip(*cells, strict=True)]
    options = {"colalign": [f.align for f in sheet.fields]} if rows else {}
    form = (_longtable if sheet.long else _booktabs)("".join(columns))
    table = str(tabulate(rows, headers, tablefmt=form, disable_numparse=True, **options))
    if sheet.siunitx and any(sheet.emphasised):
        table = rf"\begingroup\sisetup{{mode=text, reset-text-shape=false}}%{chr(10)}{table}\endgroup"
    if len(columns) > WIDE:
        size, gap = (r"\footnotesize", 3) if len(columns) <= WIDER else (r"\scriptsize", 2)
        table = f"\\begingroup{size}\\setlength{{\\tabcolsep}}{{{gap}pt}}\n{table}\\endgroup"
    notes = [rf"\textsuperscript{{{i}}}\,{latex_text(note)}" for i, note in enumerate(sheet.notes, 1)]
    below = "\n".join([latex_text(sheet.caption), *notes]).strip()
    if below:
        opening = r"\noindent\begin{minipage}{\linewidth}\footnotesize"
        table = "\n".join([table, "", r"\par\smallskip", opening, below, r"\end{minipage}"])
    return f"% {needed(sheet)}\n{table}"


def needed(sheet: Sheet) -> str:
    """What a document needs in its preamble for this table, in words."""
    packages = ["booktabs", *(["longtable"] if sheet.long else []), *(["siunitx"] if sheet.siunitx else [])]
    return f"needs \\usepackage{{{','.join(packages)}}}" + (" (siunitx 3)" if sheet.siunitx else "")


LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "#": r"\#", "$": r"\$", "%": r"\%", "&": r"\&",
    "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}",
    "<": "$<$", ">": "$>$", "–": "--", "—": "---", "…": r"\ldots{}", "²": "$^2$",
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
    return NUMBERS.sub(_one_number, cell)


def _one_number(match: re.Match[str]) -> str:
    text = match[0]
    if text[0] in "±<>":
        return LATEX[text[0]]
    if "inf" in text:
        return text.replace("inf", r"$\infty$") if text[0] != "-" else r"$-\infty$"
    if "e" in text:
        mantissa, exponent = text.split("e")
        factor = "" if mantissa == "1" else rf"{mantissa}\times"
        return f"${factor}10^{{{int(exponent)}}}$"
    return f"${text}$" if text.startswith("-") else text


def _column(field: Field, sheet: Sheet) -> str:
    """What stands for one column in the tabular's argument: l, r, or S for plain numbers."""
    found = [PLAIN.fullmatch(one_line(c)) for c in field.cells if c]
    if not (sheet.siunitx and field.numeric and found and all(found)):
        return field.align[0]
    parts = [m.groups(default="") for m in found if m]
    if any(p[3] for p in parts):
        return field.align[0]  # powers of ten, aligned at the point, would leave gaps
    whole, part = (max(len(p[i]) for p in parts) for i in (1, 2))
    minus = "-" if any(p[0] for p in parts) else ""
    return f"S[table-format={minus}{whole}" + (f".{part}]" if part else "]")


def _latex_cell(cell: str, field: Field, column: str, siunitx: bool) -> str:
    if not field.numeric:
        text = latex_text(cell)
        return _guarded(_symbols(text) if field.ours else text)
    if column[0] == "S":
        return one_line(cell)
    return _guarded(NUMBERS.sub(_one_num, one_line(cell)) if siunitx else latex_number(one_line(cell)))


def _emphasised(cells: list[str], sheet: Sheet, *, is_s: bool) -> list[str]:
    """Cells with those of emphasised rows in italics."""
    if not any(sheet.emphasised):
        return cells
    form = r"\itshape {}" if is_s else r"\textit{{{}}}"
    return [form.format(c) if e and c else c for c, e in zip(cells, sheet.emphasised, strict=True)]


def _one_num(match: re.Match[str]) -> str:
    text = match[0]
    return _one_number(match) if text[0] in "±<>" or "inf" in text else rf"\num{{{text}}}"


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


def _longtable(columns: str) -> TableFormat:
    """A table over several pages, its head repeated on each."""
    begin = f"\\begin{{longtable}}{{@{{}}{columns}@{{}}}}\n\\toprule"
    row = DataRow("", " & ", r" \\")
    middle = "\\midrule\n\\endhead\n\\bottomrule\n\\endfoot"
    end = "\\end{longtable}"
    return TableFormat(
        Line(begin, "", "", ""), Line(middle, "", "", ""), None, Line(end, "", "", ""), row, row, 0, None
    )
