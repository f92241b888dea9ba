"""Which families a figure shows, and how each is drawn: colour and marker, and the kind of line by cell."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.lines import Line2D

from frontier.figures.panels import QUIET, family_handles, panel_titles
from frontier.figures.style import Style, styles_for
from frontier.groups import Groups, group_codes
from frontier.metrics import default_y

LINES = ("-", "--", ":", "-.")


class Look(NamedTuple):
    """How one group is drawn."""

    family: Any
    cell: str
    style: Style
    line: Any


def group_values(table: pd.DataFrame, column: str) -> list[Any]:
    """The values of one group column, as `group_codes` writes them; one nameless value without a column."""
    return [g[column] for g in group_codes(table, [column])[1]] if column else [""]


def looks_of(
    groups: Groups,
    reference: Hashable | None = None,
    styles: Mapping[Any, Style] | None = None,
) -> list[Look]:
    """Colour and marker by family; the kind of line by cell where there are several, else by family."""
    families = [g.get(groups.family, "") for g in groups.names]
    found = styles_for(families, reference, styles)
    cells = panel_titles([groups.cell_of(g) for g in groups.names])
    kinds = {cell: LINES[i % len(LINES)] for i, cell in enumerate(dict.fromkeys(cells))}
    if len(kinds) > 1:
        found = {f: style._replace(line="-") for f, style in found.items()}
        return [Look(f, c, found[f], kinds[c]) for f, c in zip(families, cells, strict=True)]
    return [Look(f, c, found[f], found[f].line) for f, c in zip(families, cells, strict=True)]


def legend_entries(looks: list[Look]) -> dict[str, Line2D]:
    """Families, then the kinds of line where there are several cells."""
    styles = {look.family: look.style for look in looks}
    families = family_handles(styles, styles)
    cells = {look.cell: Line2D([], [], color=QUIET, linestyle=look.line) for look in looks}
    return {**(families if len(families) > 1 else {}), **(cells if len(cells) > 1 else {})}


def fidelity(table: pd.DataFrame) -> str:
    """The fidelity that a frontier shows: loss recovered, or what the table has in its place."""
    found = default_y(table)
    return "loss_recovered" if found == "performance_hit" else found


def family_column(columns: Sequence[str], family: str) -> str:
    """The column among `columns` that names the family; empty without one."""
    return family if family in columns else ("architecture" if "architecture" in columns else "")
