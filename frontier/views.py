"""What a result shows: one screen first (headline rows, the worst doubts), all of it when asked."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from frontier.doubts import Doubt, grouped
from frontier.text_tables import paragraph, terminal_width, text_table
from frontier.wording import listed, one_line, plural

ROWS = 44
"""Rows of a table that one screen shows."""
LINES = 5
"""Remarks, and kinds of doubt, that one screen shows."""
IN_PYTHON = "print(result.to_text(verbose=True))"
NAMES = 10
"""Abbreviations that one screen explains."""


@dataclass(frozen=True)
class View:
    """What a result shows.

    Attributes
    ----------
    title : str
    headers, rows
        Ready cells.
    remarks : tuple of str
        What is said about the whole, most important first.
    doubts : tuple of (str, Doubt)
        Each with the place (cell, comparison) that it concerns; "" for the whole.
    details : tuple of View
        What is shown only when all is asked for.
    place : str
        What the places are: cells, groups, comparisons.
    """

    title: str
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    remarks: tuple[str, ...] = ()
    doubts: tuple[tuple[str, Doubt], ...] = ()
    details: tuple[View, ...] = ()
    place: str = "cell"

    def text(self, width: int | None = None, *, verbose: bool = False, all_with: str = IN_PYTHON) -> str:
        """The view for a terminal of `width` columns; `verbose` shows every row, remark, doubt and detail.

        `all_with` is said to show what one screen leaves out.
        """
        width = terminal_width() if width is None else width
        table, key, left = self._fitted(width, len(self.rows) if verbose else ROWS)
        said = "\n".join(paragraph(s, width, "* ") for s in self.said(verbose=verbose))
        if key:
            shown = listed(key, len(key) if verbose else NAMES, "; ")
            table += f"\n{paragraph(f'Short: {shown}.', width)}"
        parts = [paragraph(self.title, width), table, said]
        if verbose:
            parts += [v.text(width, verbose=True) for v in self.details]
        elif hidden := self.hidden(left):
            parts.append(paragraph(f"{hidden}: {all_with}", width, "… "))
        return "\n\n".join(p for p in parts if p)

    def without(self, remarks: Collection[str], doubts: Collection[tuple[str, Doubt]] = ()) -> View:
        """The view without remarks and doubts that were told already."""
        left = tuple(r for r in self.remarks if r not in remarks)
        return replace(self, remarks=left, doubts=tuple(d for d in self.doubts if d not in doubts))

    def _fitted(self, width: int, lines: int) -> tuple[str, list[str], int]:
        """The table in about so many lines, its key, and how many of its rows are left out."""
        rows = self.rows[:lines]
        table, key = text_table(self.headers, rows, width)
        if len(self.rows) > lines and (drawn := table.count("\n")) > lines + 4:  # cells or columns wrapped
            rows = rows[: lines * len(rows) // drawn]
            table, key = text_table(self.headers, rows, width)
        return table, key, len(self.rows) - len(rows)

    def said(self, *, verbose: bool = False) -> list[str]:
        """Remarks, then doubts by kind, the worst first."""
        remarks, groups = list(dict.fromkeys(self.remarks)), grouped(self.doubts, self.place)
        if verbose:
            return remarks + [line for g in groups for line in g.sentences]
        return remarks[:LINES] + [g.sentence for g in groups[:LINES]]

    def hidden(self, rows: int) -> str:
        """What one screen leaves out, `rows` of the table among it; empty where that is nothing."""
        groups, remarks = grouped(self.doubts), len(dict.fromkeys(self.remarks))
        doubts = sum(len(g.doubts) for g in groups)
        said = doubts if doubts > sum(len(g.doubts) == 1 for g in groups[:LINES]) else 0
        counts = {
            "more row": rows, "more remark": remarks - LINES, "doubt": said,
            "more table": len(self.details),
        }  # fmt: skip
        return ", ".join(plural(n, what) for what, n in counts.items() if n > 0)

    def html(self) -> str:
        """The view for a notebook, what one screen leaves out folded; every cell is escaped."""
        short = f"<p><strong>{html.escape(self.title)}</strong></p>{self._table(self.rows[:ROWS])}"
        short += _list(self.said())
        hidden = self.hidden(len(self.rows[ROWS:]))
        if not hidden:
            return f"<div>{short}</div>"
        rest = self._table(self.rows[ROWS:]) if len(self.rows) > ROWS else ""
        rest += _list(self.said(verbose=True)) + "".join(v.html() for v in self.details)
        return f"<div>{short}<details><summary>{hidden}</summary>{rest}</details></div>"

    def _table(self, rows: Sequence[Sequence[str]]) -> str:
        if not self.headers:
            return ""
        side = ' style="text-align:left"'
        head = "".join(f"<th{side}>{html.escape(h)}</th>" for h in self.headers)
        lines = ("".join(f"<td{side}>{html.escape(c)}</td>" for c in row) for row in rows)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return scrolled(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def scrolled(table: str) -> str:
    """A table of HTML that scrolls by itself where it is wider than the page."""
    return f'<div style="overflow-x: auto">{table}</div>'


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(one_line(s))}</li>' for s in lines)}</ul>" if lines else ""
