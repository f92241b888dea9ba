"""Figures: frontiers, fits and ratios, each drawn into axes that come in and go out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from frontier._format import nearest, plural
from frontier.curve_fit import CurveFit, FrontierFits, GroupFailure
from frontier.curves import CURVES
from frontier.figure_panels import (
    EDGE,
    QUIET,
    finish_axes,
    handle,
    legend_above,
    new_axes,
    panel_titles,
    panels_for,
    quiet_legend,
    remark,
    share_labels,
)
from frontier.figure_style import (
    REFERENCE_COLOUR,
    Style,
    family_styles,
    figure_text,
    paper_style,
    save_figure,
)
from frontier.forest import plot_ratios
from frontier.metrics import default_y, group_codes, group_columns, metrics_table, values
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

HIGHER_IS_BETTER = (
    "loss_recovered",
    "loss_recovered_zero",
    "cosine_similarity",
    "alive_fraction",
    "sparsity",
    "relative_sparsity",
)
LINES = ("-", "--", ":", "-.")
FAINT = 0.3
REACH, LOG_REACH = 1.25, 1.5
"""Factors by which curves are drawn beyond the data of their panel, on linear and on log axes."""


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
) -> Axes:
    """Every SAE as a point, the Pareto set of each family solid and joined, the rest faint.

    Groups of several models, sites or layers share the axes and differ in the kind of line;
    `plot_frontiers` gives each its own panel. How many rows could not be drawn stands above the axes.

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
    y = _fidelity(table) if y is None else y
    goals = objectives or {name: "max" if name in HIGHER_IS_BETTER else "min" for name in (x, y)}
    marked = mark_pareto(table, by, objectives=goals, family=family)
    columns = group_columns(marked, by, family)
    xs, ys = values(marked, x), values(marked, y)
    shown = marked["excluded_because"].isna().to_numpy() & np.isfinite(xs) & np.isfinite(ys)
    shown &= (xs > 0) | (not log_x)
    shown &= (ys > 0) | (not log_y)
    codes, groups = group_codes(marked, columns)
    looks = _group_looks(groups, _family_column(columns, family), reference, styles)
    ax = new_axes()[0] if ax is None else ax
    for code, look in enumerate(looks):
        _draw_frontier(ax, xs, ys, (codes == code) & shown, marked["pareto_optimal"].to_numpy(), look)
    finish_axes(ax, x, y, log_x, log_y)
    if not shown.all():
        remark(ax, f"{plural(int((~shown).sum()), 'row')} not shown")
    if legend:
        quiet_legend(ax, _legend_entries(looks))
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
        One per panel; default a new figure, or new axes in `figure`.

    Returns
    -------
    ndarray of Axes, shape (panels,)
    """
    table = metrics_table(table)
    columns = group_columns(table, by, family)
    named = _family_column(columns, family)
    cells = [c for c in columns if c != named]
    codes, names = group_codes(table, cells)
    looks = _all_styles(table[named].dropna().unique() if named else [], reference, styles)
    panels, owned = panels_for(len(names), axes, figure)
    for code, (ax, title) in enumerate(zip(panels, panel_titles(names), strict=True)):
        plot_frontier(table[codes == code], ax, by=by, family=family, styles=looks, legend=False, **options)
        ax.set_title(title, loc="left")
    share_labels(panels)
    legend_above(panels, {figure_text(n): handle(s) for n, s in looks.items()}, owned)
    return panels


def plot_fit(
    fit: CurveFit,
    ax: Axes | None = None,
    *,
    band: bool = True,
    log: bool = False,
    reach: tuple[float, float] | None = None,
    colour: str = REFERENCE_COLOUR,
    marker: str = "o",
    label: str | None = None,
) -> Axes:
    """The points of one fit, its curve and the curve's confidence band; beyond the data dashed and without band.

    Parameters
    ----------
    fit : CurveFit
    ax : Axes, optional
        Default: the axes of a new pyplot figure.
    band : bool
        Pointwise, at the fit's level; the axes follow points and curve, not the band.
    log : bool
        Both axes logarithmic.
    reach : pair of float, optional
        Where the curve begins and ends; default from 0 to 1.25 times the largest x, on log axes from the
        smallest x / 1.5 to the largest x times 1.5.
    label : str, optional
        Name in a legend; default the group.
    """
    ax = new_axes()[0] if ax is None else ax
    low, high = _reach([fit], log) if reach is None else reach
    name = figure_text(fit.name if label is None else label)
    ax.plot(fit.x, fit.y, linestyle="none", marker=marker, color=colour, label=name, zorder=3, **EDGE)
    first, last = float(fit.x.min()), float(fit.x.max())
    _draw_curve(ax, fit, (first, last), log, color=colour, linestyle="-", label="_curve", zorder=2)
    for ends in ((low, first), (last, high)):
        if ends[1] > ends[0]:
            _draw_curve(
                ax, fit, ends, log, color=colour, linestyle=(0, (3, 2)), alpha=0.55, label="_beyond", zorder=2
            )
    if band:
        _draw_band(ax, fit, _between(first, last, log), log, colour)
    finish_axes(ax, fit.x_name, fit.y_name, log, log)
    return ax


def plot_fits(
    fits: FrontierFits,
    axes: Any = None,
    *,
    log: bool = False,
    band: bool = True,
    panels: Sequence[str] | str | None = None,
    figure: Figure | SubFigure | None = None,
    reference: Hashable | None = None,
    styles: Mapping[Any, Style] | None = None,
) -> np.ndarray:
    """All fits, families together in one panel per cell (site, layer, ...), under one legend.

    Groups without a fit are named in their panel.

    Parameters
    ----------
    fits : FrontierFits
    axes : Axes or array of Axes, optional
        One per panel; default a new figure, or new axes in `figure`.
    log : bool
        Both axes logarithmic.
    panels : column names, optional
        Which group columns make panels; default all but the family. [] draws everything in one.
    reference : family, optional
        Drawn in grey (see `family_styles`).
    styles : dict of family to Style, optional
        To keep a family's look over several figures.

    Returns
    -------
    ndarray of Axes, shape (panels,)

    Raises
    ------
    ValueError
        A panel column that the fits do not have, or another number of axes than panels.
    """
    everyone = (*fits.fits, *fits.failures)
    if not everyone:
        raise ValueError("there is no fit to draw")
    columns = _panel_columns(fits, panels)
    cells = list(dict.fromkeys(tuple(g.group.get(c) for c in columns) for g in everyone))
    names = _series_names([g.group for g in everyone], [c for c in fits.group_columns if c not in columns])
    looks = _all_styles(names, reference, styles)
    grid, owned = panels_for(len(cells), axes, figure)
    heads = panel_titles([dict(zip(columns, cell, strict=True)) for cell in cells])
    for ax, cell, title in zip(grid, cells, heads, strict=True):
        inside = [
            (g, n)
            for g, n in zip(everyone, names, strict=True)
            if tuple(g.group.get(c) for c in columns) == cell
        ]
        _draw_cell(ax, inside, looks, log, band)
        ax.set_title(title, loc="left")
    share_labels(grid)
    drawn = dict.fromkeys(n for g, n in zip(everyone, names, strict=True) if isinstance(g, CurveFit))
    legend_above(grid, {figure_text(n): handle(s) for n, s in looks.items() if n in drawn}, owned)
    return grid


class Look(NamedTuple):
    """How one group is drawn."""

    family: str
    cell: str
    style: Style
    line: str


def _group_looks(
    groups: list[dict[str, Any]], named: str, reference: Hashable | None, styles: Mapping[Any, Style] | None
) -> list[Look]:
    """Colour and marker by family, the kind of line by cell."""
    families = [g.get(named, "") for g in groups]
    looks = _all_styles(families, reference, styles)
    cells = panel_titles([{c: v for c, v in g.items() if c != named} for g in groups])
    kinds = {cell: LINES[i % len(LINES)] for i, cell in enumerate(dict.fromkeys(cells))}
    found = {f: Look(figure_text(f), "", s, "-") for f, s in looks.items()}
    return [found[f]._replace(cell=c, line=kinds[c]) for f, c in zip(families, cells, strict=True)]


def _legend_entries(looks: list[Look]) -> dict[str, Line2D]:
    """Families, then the kinds of line where there are several cells."""
    families = {
        look.family: handle(look.style)
        for look in sorted(looks, key=lambda l: l.style.colour != REFERENCE_COLOUR)
    }
    cells = {look.cell: Line2D([], [], color=QUIET, linestyle=look.line) for look in looks}
    return {**(families if len(families) > 1 else {}), **(cells if len(cells) > 1 else {})}


def _all_styles(
    names: Any, reference: Hashable | None, styles: Mapping[Any, Style] | None
) -> dict[Any, Style]:
    """The given styles, and ready ones for families that have none."""
    given = dict(styles or {})
    ready = family_styles(names, reference)
    return {n: Style(*given.get(n, s)) for n, s in ready.items()}


def _draw_frontier(
    ax: Axes, xs: np.ndarray, ys: np.ndarray, rows: np.ndarray, optimal: np.ndarray, look: Look
) -> None:
    points: dict[str, Any] = {"marker": look.style.marker, "color": look.style.colour, **EDGE}
    beaten = rows & ~optimal
    if beaten.any():
        ax.plot(xs[beaten], ys[beaten], linestyle="none", alpha=FAINT, label="_dominated", zorder=2, **points)
    front = np.flatnonzero(rows & optimal)
    front = front[np.lexsort([ys[front], xs[front]])]
    width = 0.8 * float(mpl.rcParams["lines.linewidth"])
    label = ", ".join(part for part in (look.family, look.cell) if part)
    ax.plot(xs[front], ys[front], linestyle=look.line, linewidth=width, label=label, zorder=3, **points)


def _fidelity(table: pd.DataFrame) -> str:
    found = default_y(table)
    return "loss_recovered" if found == "performance_hit" else found


def _family_column(columns: Sequence[str], family: str) -> str:
    return family if family in columns else ("architecture" if "architecture" in columns else "")


def _panel_columns(fits: FrontierFits, panels: Sequence[str] | str | None) -> list[str]:
    if panels is None:
        return [c for c in fits.group_columns if c != fits.family_column]
    columns = [panels] if isinstance(panels, str) else list(panels)
    for column in columns:
        if column not in fits.group_columns:
            raise ValueError(f"the fits have no group column {column!r}{nearest(column, fits.group_columns)}")
    return columns


def _series_names(groups: list[Any], columns: list[str]) -> list[Any]:
    """What tells the curves of one panel apart: the family alone, or with the columns that are not panels."""
    varying = [c for c in columns if len({str(g.get(c)) for g in groups}) > 1] or columns[:1]
    if len(varying) == 1:
        return [g.get(varying[0]) for g in groups]
    return [", ".join(str(g.get(c)) for c in varying) for g in groups]


def _draw_cell(
    ax: Axes,
    members: list[tuple[CurveFit | GroupFailure, Any]],
    looks: Mapping[Any, Style],
    log: bool,
    band: bool,
) -> None:
    fitted = [(f, name) for f, name in members if isinstance(f, CurveFit)]
    reach = _reach([f for f, _ in fitted], log) if fitted else None
    for f, name in fitted:
        colour, marker = looks[name]
        plot_fit(f, ax, band=band, log=log, reach=reach, colour=colour, marker=marker, label=str(name))
    missing = [figure_text(name) for f, name in members if not isinstance(f, CurveFit)]
    if missing:
        remark(ax, f"not fitted: {', '.join(missing)}")
    if not fitted:
        ax.set(xticks=[], yticks=[])


def _reach(fits: list[CurveFit], log: bool) -> tuple[float, float]:
    """Where curves begin and end, given all fits of a panel."""
    low, high = min(float(f.x.min()) for f in fits), max(float(f.x.max()) for f in fits)
    if log:
        return low / LOG_REACH, high * LOG_REACH
    if low <= 0 or low > 0.5 * high:
        margin = (REACH - 1) * (high - low)
        return low - margin, high + margin
    return (1e-6 * high if CURVES[fits[0].curve].log_x else 0.0), high * REACH


def _between(low: float, high: float, log: bool) -> np.ndarray:
    return np.geomspace(low, high, 200) if log else np.linspace(low, high, 200)


def _draw_curve(ax: Axes, fit: CurveFit, ends: tuple[float, float], log: bool, **style: Any) -> None:
    x = _between(*ends, log)
    y = fit.predict(x)
    ax.plot(x, np.where((y > 0) | (not log), y, np.nan), **style)


def _draw_band(ax: Axes, fit: CurveFit, x: np.ndarray, log: bool, colour: str) -> None:
    """A polygon that the axes' limits do not follow."""
    band = fit.band(x)
    floor = 1e-12 if log else -np.inf
    low, high = (np.maximum(band[c].to_numpy(), floor) for c in ("low", "high"))
    finite = np.isfinite(low) & np.isfinite(high)
    if finite.any():
        edge = np.r_[np.c_[x, low][finite], np.c_[x, high][finite][::-1]]
        ax.add_artist(Polygon(edge, facecolor=colour, alpha=0.16, linewidth=0, label="_band", zorder=1))
