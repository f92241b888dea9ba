"""One table, four faces: text, Markdown, LaTeX and HTML, names from files made harmless in each."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from frontier.tables.latex import latex_number as latex_number
from frontier.tables.latex import latex_sheet
from frontier.tables.latex import latex_text as latex_text
from frontier.text_tables import paragraph, text_table
from frontier.views import View, scrolled
from frontier.wording import nearest, one_line


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
    """A table before it has a style: caption, columns and numbered notes.

    Attributes
    ----------
    emphasised : tuple of bool
        Rows in italics; in text, which has none, they are marked in a column of their own.
    emphasis : str
        What the italics mean: the header of that column.
    siunitx, long : bool
        Of LaTeX: numbers for the package siunitx, and a longtable.
    width : int or None
        Of text: columns that it must fit.
    """

    caption: str
    fields: tuple[Field, ...]
    notes: tuple[str, ...] = ()
    emphasised: tuple[bool, ...] = ()
    emphasis: str = ""
    siunitx: bool = False
    long: bool = False
    width: int | None = None

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


def sheets_of(view: View) -> tuple[Sheet, ...]:
    """What a result shows when nothing is left out, as tables."""
    cells = zip(*view.rows, strict=True) if view.rows else ((),) * len(view.headers)
    fields = tuple(Field(h, list(c)) for h, c in zip(view.headers, cells, strict=True))
    own = Sheet(view.title, fields, tuple(view.said(verbose=True)))
    return (own, *(sheet for detail in view.details for sheet in sheets_of(detail)))


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


def number_notes(said: Iterable[Sequence[object]]) -> tuple[list[str], list[str]]:
    """For every row the numbers of its notes (doubts or text), and the notes, each once as they appear.

    >>> number_notes([["a", "b"], [], ["b"]])
    (['1, 2', '', '2'], ['a', 'b'])
    """
    rows = [[n for n in notes if n] for notes in said]
    place = {n: i for i, n in enumerate(dict.fromkeys(n for row in rows for n in row), 1)}
    numbers = [", ".join(str(i) for i in sorted({place[n] for n in row})) for row in rows]
    return numbers, [one_line(n) for n in place]


def filled(fields: Iterable[Field]) -> tuple[Field, ...]:
    """Fields without the notes where there are none."""
    return tuple(f for f in fields if f.header != "Notes" or any(f.cells))


def _tabulated(sheet: Sheet, cells: list[list[str]], headers: list[str], style: str) -> str:
    rows = [list(row) for row in zip(*cells, strict=True)]
    options = {"colalign": [f.align for f in sheet.fields]} if rows else {}
    return str(tabulate(rows, headers, tablefmt=style, disable_numparse=True, **options))


def _text(sheet: Sheet) -> str:
    if any(sheet.emphasised):
        marks = Field(sheet.emphasis, ["yes" if e else "" for e in sheet.emphasised])
        places = len(sheet.fields) - (sheet.fields[-1].header == "Notes")
        sheet = replace(sheet, fields=(*sheet.fields[:places], marks, *sheet.fields[places:]))
    width = sheet.width or sys.maxsize
    headers, sides = [f.header for f in sheet.fields], [f.align for f in sheet.fields]
    table, key = text_table(headers, list(zip(*(f.cells for f in sheet.fields), strict=True)), width, sides)
    notes = [paragraph(note, width, f"{i}. ") for i, note in enumerate(sheet.notes, 1)]
    short = paragraph(f"Short: {'; '.join(key)}.", width) if key else ""
    parts = (paragraph(sheet.caption, width), table, short, "\n".join(notes))
    return "\n\n".join(part for part in parts if part)


def _markdown(sheet: Sheet) -> str:
    cells = [[one_line(c) if f.numeric else markdown_text(c) for c in f.cells] for f in sheet.fields]
    cells = [_in_italics(column, sheet, "*{}*") for column in cells]
    table = _tabulated(sheet, cells, [markdown_text(f.header) for f in sheet.fields], "pipe")
    notes = "\n".join(f"{i}. {markdown_text(note)}" for i, note in enumerate(sheet.notes, 1))
    return "\n\n".join(part for part in (markdown_text(sheet.caption), table, notes) if part)


def _html(sheet: Sheet) -> str:
    columns = [[html.escape(one_line(c)) for c in f.cells] for f in sheet.fields]
    columns = [_in_italics(column, sheet, "<em>{}</em>") for column in columns]
    sides = [f' style="text-align: {f.align};"' if f.align != "left" else "" for f in sheet.fields]
    heads = [html.escape(one_line(f.header)) for f in sheet.fields]
    caption = [f"<caption>{html.escape(one_line(sheet.caption))}</caption>"] if sheet.caption else []
    body = [_html_row(row, sides, "td") for row in zip(*columns, strict=True)]
    head = ["<thead>", _html_row(heads, sides, "th"), "</thead>"]
    table = "\n".join(["<table>", *caption, *head, "<tbody>", *body, "</tbody>", "</table>"])
    table = scrolled(table)
    notes = "\n".join(f"<li>{html.escape(note)}</li>" for note in sheet.notes)
    return f"{table}\n<ol>\n{notes}\n</ol>" if notes else table


def _html_row(cells: Sequence[str], sides: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}{s}>{c}</{tag}>" for c, s in zip(cells, sides, strict=True)) + "</tr>"


def _in_italics(cells: list[str], sheet: Sheet, form: str) -> list[str]:
    """Ready cells, those of emphasised rows in italics."""
    if not any(sheet.emphasised):
        return cells
    return [form.format(c) if e and c else c for c, e in zip(cells, sheet.emphasised, strict=True)]


STYLES = {"text": _text, "markdown": _markdown, "latex": latex_sheet, "html": _html}


def markdown_text(text: object) -> str:
    r"""A name in which nothing is Markdown or HTML.

    >>> print(markdown_text("a|b <i> relu_x [l](u)"))
    a\|b &lt;i> relu_x [l]\(u)
    """
    plain = one_line(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    plain = re.sub(r"([|*`~$])", r"\\\1", plain).replace("](", "]\\(")
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", plain)
