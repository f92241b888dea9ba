"""Figures, each drawn into axes that come in and go out: frontiers here, fits and ratios beside."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from frontier.figures.families import Look, family_column, fidelity, group_values, legend_entries, looks_of
from frontier.figures.files import save_figure
from frontier.figures.fits import plot_fit, plot_fits
from frontier.figures.panels import (
    EDGE,
    drawable,
    finish_axes,
    legend_above,
    new_axes,
    panel_titles,
    panels_for,
    quiet_legend,
    say_hidden,
    share_labels,
)
from frontier.figures.ratios import plot_ratios
from frontier.figures.style import (
    Style,
    family_styles,
    figure_text,
    paper_style,
    styles_for,
)
from frontier.metrics import group_codes, group_columns, metrics_table, values
from frontier.metrics.columns import direction
from frontier.pareto import mark_pareto

__all__ = [
    "Style",
    "family_styles",
    "paper_style",
    "plot_fit",
    "plot_fits",
    "plot_frontier",
    "plot_frontiers",
    "plot_ratios",
    "save_figure",
]

FAINT = 0.3


def plot_frontier(
    table: Any,
    ax: Axes | None = None,
    *,
    by: Sequence[str] | str | None = None,
    x: str = "l0",
    y: str | None = None,
    family: str = "family",
    reference: Hashable | None = None,
    objectives: Mapping[str, str] | None = None,
    log_x: bool = True,
    log_y: bool = False,
    styles: Mapping[Any, Style] | None = None,
    legend: bool = True,
    title: str = "",
) -> Axes:
    """Every SAE as a point, the Pareto set of each family solid and joined, the rest faint.

    Groups of several models, sites or layers share the axes and differ in the kind of line;
    `plot_frontiers` gives each its own panel. How many SAEs could not be drawn stands above the axes.

    Parameters
    ----------
    table : anything that `metrics_table` takes
    ax : Axes, optional
        Default: the axes of a new pyplot figure.
    by : column names, optional
        Groups; default model, site and layer where present. Families are always kept apart.
    x, y : column names, derived ones included
        Default L0 against loss recovered (`fvu` where that is unknown).
    reference : family, optional
        Drawn in grey (see `family_styles`).
    objectives : dict of column name to "min" or "max", optional
        What decides the Pareto set; default x and y, loss recovered and the like to be high, others low.
    styles : dict of family to Style, optional
        To keep a family's look over several figures.

    Raises
    ------
    TableError
        Unknown column or direction, or no usable row.
    """
    table = metrics_table(table)
    y = fidelity(table) if y is None else y
    goals = objectives or {name: direction(name) for name in (x, y)}
    marked = mark_pareto(table, by, objectives=goals, family=family)
    columns = group_columns(marked, by, family)
    xs, ys = values(marked, x), values(marked, y)
    shown = drawable(marked, xs, ys, log_x, log_y)
    codes, groups = group_codes(marked, columns)
    looks = looks_of(groups, family_column(columns, family), reference, styles)
    ax = new_axes()[0] if ax is None else ax
    optimal = marked["pareto_optimal"].to_numpy()
    for code, look in enumerate(looks):
        rows = (codes == code) & shown
        _draw(ax, xs, ys, rows & optimal, rows & ~optimal, look)
    finish_axes(ax, x, y, log_x, log_y)
    say_hidden(ax, title, shown)
    if legend:
        quiet_legend(ax, legend_entries(looks))
    return ax


def plot_frontiers(
    table: Any,
    axes: Any = None,
    *,
    by: Sequence[str] | str | None = None,
    figure: Figure | SubFigure | None = None,
    family: str = "family",
    reference: Hashable | None = None,
    styles: Mapping[Any, Style] | None = None,
    **options: Any,
) -> np.ndarray:
    """`plot_frontier` in one panel per group, under one legend.

    Parameters
    ----------
    table, by, family, reference, styles, options : as in `plot_frontier`
    axes : array of Axes, optional
        One per panel; default a new pyplot figure, or new axes in `figure`.

    Returns
    -------
    ndarray of Axes, shape (panels,)
    """
    table = metrics_table(table)
    columns = group_columns(table, by, family)
    named = family_column(columns, family)
    cells = [c for c in columns if c != named]
    codes, names = group_codes(table, cells)
    looks = styles_for(group_values(table, named), reference, styles)
    grid, owned = panels_for(len(names), axes, figure)
    for code, (ax, title) in enumerate(zip(grid, panel_titles(names), strict=True)):
        rows = table[codes == code]
        plot_frontier(rows, ax, by=by, family=family, styles=looks, legend=False, title=title, **options)
    share_labels(grid)
    legend_above(grid, looks, looks, owned)
    return grid


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
