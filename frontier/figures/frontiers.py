"""Frontiers: every SAE as a point, the Pareto set of each family joined."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from frontier.arguments import checked
from frontier.figures.families import Look, fidelity, group_values, legend_entries, looks_of
from frontier.figures.panels import (
    EDGE,
    drawable,
    finish_axes,
    legend_above,
    new_axes,
    panel_columns,
    panel_titles,
    panels_for,
    quiet_legend,
    say_hidden,
    share_labels,
)
from frontier.figures.style import Style, figure_text, styles_for
from frontier.groups import Groups, group_codes
from frontier.guard import guard
from frontier.metrics import metrics_table, values
from frontier.metrics.axes import goal
from frontier.pareto.rows import chosen_rows

FAINT = 0.3


@checked
def plot_frontiers(
    table: Any,
    axes: Any = None,
    *,
    reference: Hashable | None = None,
    by: Sequence[str] | str | None = None,
    x: str = "l0",
    y: str | None = None,
    objectives: Mapping[str, str] | None = None,
    rows: str = "auto",
    family: str = "family",
    across: Sequence[str] = (),
    log_x: bool = True,
    log_y: bool = False,
    panels: Sequence[str] | str | None = None,
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """Every SAE as a point, those that make a family's frontier solid and joined, the rest faint.

    One panel per group (model, site, layer) under one legend. How many SAEs could not be drawn stands above
    each panel.

    Parameters
    ----------
    table : anything that `read` takes
    axes : Axes or array of Axes, optional
        One per panel; default a new pyplot figure, or new axes in `figure`.
    by : column names, optional
        Cells, as in `pareto_set`. Families are always kept apart.
    x, y : column names, derived ones included
        Default L0 against loss recovered (`fvu` where that is unknown).
    family : column name
        What names the families.
    reference : family, optional
        Drawn in grey (see `family_styles`).
    objectives : dict of column name to "min" or "max", optional
        What decides the Pareto set; default x and y, loss recovered and the like to be high, others low.
    rows : {"auto", "pareto", "all"}
        Which SAEs make a frontier; as in `chosen_rows`.
    across : column names
        Columns among protocol, ablation, model, site, layer whose values may meet in one frontier.
    log_x, log_y : bool
        Which axes are logarithmic.
    panels : column names, optional
        Which group columns make panels; default all of them. [] draws everything in one, where groups differ
        in the kind of line.
    styles : dict of family to Style, optional
        To keep a family's look over several figures.
    figure : Figure or SubFigure, optional

    Returns
    -------
    ndarray of Axes, shape (panels,)

    Raises
    ------
    TableError
        Unknown column or direction, no usable row, or rows of other protocols, ablations, places or sizes of
        evaluation in one group (`across`).
    ValueError
        A panel column that makes no group, or another number of axes than panels.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> axes = frontier.plot_frontiers(table[table["layer"] == 20], reference="baseline")
    >>> [ax.get_title("left") for ax in axes]
    ['Resid', 'MLP', 'Attn']
    """
    table = metrics_table(table)
    groups = Groups.of(table, by, family)
    cells = panel_columns(groups.columns, groups.family, panels)
    codes, names = group_codes(table, cells)
    looks = styles_for(group_values(table, groups.family), reference, styles)
    grid, owned = panels_for(len(names), axes, figure)
    mixed = not {*groups.cells} <= {*cells}
    options: dict[str, Any] = {
        "by": groups.cells, "x": x, "y": y, "family": family, "log_x": log_x, "log_y": log_y, "styles": looks,
        "legend": mixed,
    }  # fmt: skip
    goals = objectives or {name: goal(table, name) for name in (x, fidelity(table) if y is None else y)}
    solid = chosen_rows(table, groups, rows, objectives=goals).mask
    on_axes = np.isfinite([values(table, name) for name in goals]).all(axis=0)
    guard(table[on_axes], groups.columns, across, groups.family)
    for code, (ax, title) in enumerate(zip(grid, panel_titles(names), strict=True)):
        inside = codes == code
        draw_frontier(table[inside], ax, solid=solid[inside], title=title, **options)
    share_labels(grid)
    if not mixed:
        legend_above(grid, looks, looks, owned)
    return grid


def draw_frontier(
    table: Any,
    ax: Axes | None = None,
    *,
    by: Sequence[str] | str | None = None,
    x: str = "l0",
    y: str | None = None,
    family: str = "family",
    reference: Hashable | None = None,
    objectives: Mapping[str, str] | None = None,
    rows: str = "auto",
    solid: NDArray[np.bool_] | None = None,
    log_x: bool = True,
    log_y: bool = False,
    styles: Mapping[Any, Style] | None = None,
    legend: bool = True,
    title: str = "",
) -> Axes:
    """One panel of `plot_frontiers`, whose parameters it takes; several groups differ in the kind of line.

    `solid` names the rows that are joined, where they are chosen already.
    """
    table = metrics_table(table)
    y = fidelity(table) if y is None else y
    groups = Groups.of(table, by, family)
    if solid is None:
        goals = objectives or {name: goal(table, name) for name in (x, y)}
        solid = chosen_rows(table, groups, rows, objectives=goals).mask
    xs, ys = values(table, x), values(table, y)
    shown = drawable(table, xs, ys, log_x, log_y)
    looks = looks_of(groups, reference, styles)
    ax = new_axes()[0] if ax is None else ax
    for code, look in enumerate(looks):
        inside = (groups.codes == code) & shown
        _draw(ax, xs, ys, inside & solid, inside & ~solid, look)
    finish_axes(ax, x, y, log_x, log_y)
    say_hidden(ax, title, shown)
    if legend:
        quiet_legend(ax, legend_entries(looks))
    return ax


def _draw(
    ax: Axes, xs: np.ndarray, ys: np.ndarray, optimal: np.ndarray, beaten: np.ndarray, look: Look
) -> None:
    points: dict[str, Any] = {"marker": look.style.marker, "color": look.style.colour, **EDGE}
    if beaten.any():
        ax.plot(xs[beaten], ys[beaten], linestyle="none", alpha=FAINT, label="_beaten", zorder=2, **points)
    front = np.flatnonzero(optimal)
    front = front[np.lexsort([ys[front], xs[front]])]
    width = 0.8 * float(mpl.rcParams["lines.linewidth"])
    label = ", ".join(part for part in (figure_text(look.family), look.cell) if part) or "_frontier"
    ax.plot(xs[front], ys[front], linestyle=look.line, linewidth=width, label=label, zorder=3, **points)
