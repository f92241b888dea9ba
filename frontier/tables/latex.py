r"""LaTeX: tables for booktabs and siunitx, and names in which nothing is a command."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tabulate import DataRow, Line, TableFormat, tabulate

from frontier.text_tables import page_blocks
from frontier.wording import one_line

if TYPE_CHECKING:
    from frontier.tables.styles import Field, Sheet

NUMBERS = re.compile(r"[<>] ?|-?\binf\b|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|±")
PLAIN = re.compile(r"(-?)(\d+)(?:\.(\d+))?(e[+-]?\d+)?")


LINE, LETTER = 397.0, 0.44
"""Points of a line of 5.5 inches, and ems of a letter of Computer Modern, digits and blanks among them."""
WIDER = 1.0
"""Ems that a column of broken lines has more, for words of wide letters; a tenth of a line is for them."""


PAGE, HEAD = 550.0, 60.0
"""Points of a page of text, and of the head and rules of a table."""


class Size(NamedTuple):
    """A size of letters: up to how many columns it is for, its points, between columns and between lines."""

    command: str
    most: float
    points: float
    gap: float
    line: float

    def room(self, columns: int) -> float:
        """Letters that the columns of a line hold."""
        return (LINE - 2 * self.gap * (columns - 1)) / (LETTER * self.points)

    @property
    def lines(self) -> float:
        """Lines that a page holds."""
        return (PAGE - HEAD) / self.line


SIZES = (
    Size("", 6, 10, 6, 12), Size(r"\footnotesize", 8, 8.5, 3, 9.5), Size(r"\scriptsize", math.inf, 7.85, 2, 8)
)  # fmt: skip
"""Small letters of Computer Modern are wider than their size says."""


RAGGED = r"\rightskip 0pt plus 1fil\relax "
"""Before a cell of broken lines. `\\raggedright` changes what ends a row, and in brackets, which end in a
`\\par`, it makes every cell a line higher."""


def latex_sheet(sheet: Sheet) -> str:
    """The sheet as a tabular, or a longtable, with caption and notes under it; see `latex_sheets`."""
    return latex_sheets([sheet])


def latex_sheets(sheets: Sequence[Sheet]) -> str:
    """Sheets one after the other; the first line says what a document needs for all of them.

    One that is too wide for a page is set smaller, then its words are broken into lines, then it is cut
    into blocks of columns, each with the columns that name its rows. One that is too long is a longtable.
    """
    sheets = [replace(sheet, long=sheet.long or _is_long(sheet)) for sheet in sheets]
    return "\n".join([f"% {needed(sheets)}", "\n\n\\bigskip\n\n".join(map(_drawn, sheets))])


def _layout(sheet: Sheet) -> tuple[Size, list[int], list[dict[int, int]]]:
    """The size of letters, the letters of each column, and the blocks of columns with their widths."""
    widths = [max(map(len, map(one_line, (f.header, *f.cells)))) for f in sheet.fields]
    count = len(widths)
    size = next((s for s in SIZES if count <= s.most and sum(widths) <= s.room(count)), SIZES[-1])
    blocks = [dict(enumerate(widths))]
    if sum(widths) > size.room(count):
        rows = list(zip(*(f.cells for f in sheet.fields), strict=True))
        blocks = page_blocks([f.header for f in sheet.fields], rows, int(0.9 * size.room(1)))
    return size, widths, blocks


def _is_long(sheet: Sheet) -> bool:
    """Whether a block of the sheet has more lines than a page."""
    size, _, blocks = _layout(sheet)

    def lines(block: Mapping[int, int], row: int) -> int:
        cells = ((len(one_line(sheet.fields[i].cells[row])), w) for i, w in block.items())
        return max((-(-letters // max(w, 1)) for letters, w in cells), default=1)

    rows = len(sheet.fields[0].cells) if sheet.fields else 0
    return any(sum(max(lines(block, row), 1) for row in range(rows)) > size.lines for block in blocks)


def _drawn(sheet: Sheet) -> str:
    """The table, caption and notes."""
    size, widths, blocks = _layout(sheet)
    table = "\n\n\\medskip\n\n".join(
        _sized(_tabular(sheet, {i: w if w < widths[i] else None for i, w in block.items()}), size)
        for block in blocks
    )
    return "\n".join([table, *_below(sheet)])


def _below(sheet: Sheet) -> list[str]:
    """Caption and notes: those with numbers in the table in one block, others a paragraph each."""
    caption = latex_text(sheet.caption)
    opening, end = r"\begingroup\footnotesize\sloppy\noindent", r"\par\endgroup"  # pages may break between
    if any(f.header == "Notes" for f in sheet.fields) or not sheet.notes:
        notes = [rf"\textsuperscript{{{i}}}\,{latex_text(note)}" for i, note in enumerate(sheet.notes, 1)]
        small = SIZES[1]
        if not sheet.long and len(caption) + sum(map(len, sheet.notes)) < small.lines * small.room(1):
            opening, end = r"\noindent\begin{minipage}{\linewidth}\footnotesize\sloppy", r"\end{minipage}"
    else:
        notes = [rf"\par\noindent\textbullet{{}} {latex_text(note)}" for note in sheet.notes]
    below = "\n".join([caption, *notes]).strip()
    return ["", r"\par\smallskip", opening, below, end] if below else []


def _sized(table: str, size: Size) -> str:
    start = r"\noindent"  # else the first column is indented as a paragraph is
    if not size.command:
        return f"{start}{table}"
    return f"\\begingroup{size.command}\\setlength{{\\tabcolsep}}{{{size.gap}pt}}{start}\n{table}\\endgroup"


def _tabular(sheet: Sheet, block: Mapping[int, int | None]) -> str:
    """Some columns of a sheet, those with a width in lines of so many letters."""
    fields, wrapped = [sheet.fields[i] for i in block], list(block.values())
    columns = [
        _column(f, sheet) if w is None else f"p{{{LETTER * w + WIDER:.2f}em}}"
        for f, w in zip(fields, wrapped, strict=True)
    ]
    cells = [
        _emphasised([_latex_cell(c, f, k, sheet.siunitx) for c in f.cells], sheet, is_s=k[0] == "S")
        for f, k in zip(fields, columns, strict=True)
    ]
    headers = [
        f"{{{h}}}" if k[0] == "S" else h
        for h, k in zip((_guarded(_symbols(latex_text(f.header))) for f in fields), columns, strict=True)
    ]
    ragged = [RAGGED + "{}" if w is not None else "{}" for w in wrapped]
    cells = [[form.format(c) if c else c for c in own] for own, form in zip(cells, ragged, strict=True)]
    headers = [form.format(h) for h, form in zip(headers, ragged, strict=True)]
    rows = [list(row) for row in zip(*cells, strict=True)]
    options = {"colalign": [f.align for f in fields]} if rows else {}
    form = (_longtable if sheet.long else _booktabs)("".join(columns))
    table = str(tabulate(rows, headers, tablefmt=form, disable_numparse=True, **options))
    if sheet.siunitx and any(sheet.emphasised):
        table = rf"\begingroup\sisetup{{mode=text, reset-text-shape=false}}%{chr(10)}{table}\endgroup"
    return table


def needed(sheets: Sequence[Sheet]) -> str:
    """What a document needs in its preamble for these tables, in words."""
    long, siunitx = any(s.long for s in sheets), any(s.siunitx for s in sheets)
    packages = ["booktabs", *(["longtable"] if long else []), *(["siunitx"] if siunitx else [])]
    return f"needs \\usepackage{{{','.join(packages)}}}" + (" (siunitx 3)" if siunitx else "")


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
