"""Any metric against any other, by family: reconstruction by L0, high-frequency latents by loss, settings."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter

from frontier.arguments import checked
from frontier.figures.families import Look, group_values, legend_entries, looks_of
from frontier.figures.panels import (
    EDGE,
    LEAST_WIDTH,
    OWN_LABEL,
    QUIET,
    column_label,
    drawable,
    figure_legend,
    finish_axes,
    give_height,
    label_axes,
    legend_above,
    new_axes,
    panels_for,
    quiet_legend,
    say_hidden,
)
from frontier.figures.style import Style, figure_text, styles_for
from frontier.groups import Groups, group_codes
from frontier.guard import guard
from frontier.metrics import metrics_table, values
from frontier.metrics.checks import TableError
from frontier.wording import listed

RECONSTRUCTION = ("cosine_similarity", "l2_ratio", "shrinkage")
HIGH_FREQUENCY = ("frequency_above_10pct", "frequency_above_1pct")
PERFECT = {"cosine_similarity": 1.0, "l2_ratio": 1.0, "shrinkage": 1.0}
"""What a perfect reconstruction has: a thin line there."""
SHARES = (*HIGH_FREQUENCY, "frequency_below_1e5", "alive_fraction")
"""Columns whose axis counts per cent."""
SETTINGS = {
    "lambda": r"Sparsity coefficient $\lambda$",
    "k": "k (latents kept per token)",
    "target_l0": "Target L0",
}


@checked
def plot_metrics(
    table: Any,
    axes: Any = None,
    *,
    reference: Hashable | None = None,
    by: Sequence[str] | str | None = None,
    x: str = "l0",
    y: Sequence[str] | str,
    family: str = "family",
    across: Sequence[str] = (),
    log_x: bool = True,
    log_y: bool = False,
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """One metric or several against another: each SAE a point, the SAEs of a family joined in order of x.

    One panel per metric, under one legend. Runs of several seeds are joined seed by seed; groups of several
    models, sites or layers differ in the kind of line. How many SAEs could not be drawn stands above.

    Parameters
    ----------
    table : anything that `read` takes
    axes : Axes or array of Axes, optional
        One per metric; default a new pyplot figure, or new axes in `figure`.
    y : column name or names, derived ones included
    by, x, family, across, reference, log_x, log_y, styles, figure : as in `plot_frontiers`

    Returns
    -------
    ndarray of Axes, shape (metrics,)

    Raises
    ------
    TableError
        Unknown column, or rows of other protocols, ablations, places or sizes of evaluation in one group.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> axes = frontier.plot_metrics(table[table["layer"] == 20], y="alive_fraction")
    >>> [ax.get_ylabel() for ax in axes]
    ['Latents alive']
    """
    table = metrics_table(table)
    names = [y] if isinstance(y, str) else list(y)
    for name in names:
        values(table, name)  # a missing column is said before a figure is opened
    groups = Groups.of(table, by, family)
    on_axes = np.isfinite(values(table, x)) & np.isfinite([values(table, name) for name in names]).any(axis=0)
    guard(table[on_axes], groups.columns, across, groups.family)
    looks = styles_for(group_values(table, groups.family), reference, styles)
    mixed = len(group_codes(table, groups.cells)[1]) > 1
    grid, owned = panels_for(len(names), axes, figure, least=LEAST_WIDTH + OWN_LABEL)
    options: dict[str, Any] = {"by": groups.cells, "x": x, "family": family, "log_x": log_x, "log_y": log_y}
    for place, (ax, name) in enumerate(zip(grid, names, strict=True)):
        draw_metric(table, ax, y=name, styles=looks, legend=mixed and not owned and not place, **options)
        label_axes(ax, column_label(x), column_label(name), narrow=len(names) > 1)
    if not mixed:
        legend_above(grid, looks, looks, owned)
    elif owned:
        figure_legend(grid[0], legend_entries(looks_of(groups, reference, looks)), owned)
        give_height(grid)
    return grid


def draw_metric(
    table: Any,
    ax: Axes | None = None,
    *,
    y: str,
    x: str = "l0",
    by: Sequence[str] | str | None = None,
    family: str = "family",
    reference: Hashable | None = None,
    log_x: bool = True,
    log_y: bool = False,
    styles: Mapping[Any, Style] | None = None,
    legend: bool = True,
    title: str = "",
) -> Axes:
    """One panel of `plot_metrics`, whose parameters it takes."""
    table = metrics_table(table)
    xs, ys = values(table, x), values(table, y)
    groups = Groups.of(table, by, family)
    looks = looks_of(groups, reference, styles)
    shown = drawable(table, xs, ys, log_x, log_y)
    ax = new_axes()[0] if ax is None else ax
    if y in PERFECT:
        ax.axhline(PERFECT[y], color=QUIET, linewidth=0.7, zorder=1, label="_perfect")
    for code, look in enumerate(looks):
        _draw_group(ax, table, xs, ys, (groups.codes == code) & shown, look)
    finish_axes(ax, x, y, log_x, log_y)
    for name, axis in ((x, ax.xaxis), (y, ax.yaxis)):
        if name in SHARES and not (log_x if axis is ax.xaxis else log_y):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    say_hidden(ax, title, shown)
    if legend:
        quiet_legend(ax, legend_entries(looks))
    return ax


@checked
def plot_reconstruction(table: Any, axes: Any = None, **options: Any) -> np.ndarray:
    """Cosine similarity, L2 ratio and reconstruction bias by L0; a thin line where a perfect one lies.

    Parameters
    ----------
    table, axes, options : as in `plot_metrics`
        Of the three metrics those that the table has.

    Raises
    ------
    TableError
        When it has none of them.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> len(frontier.plot_reconstruction(table[table["layer"] == 20]))
    1
    """
    table = metrics_table(table)
    known = [c for c in RECONSTRUCTION if c in table and table[c].notna().any()]
    if not known:
        raise TableError(f"the table has none of {listed(RECONSTRUCTION)}")
    return plot_metrics(table, axes, y=known, **options)


@checked
def plot_high_frequency(table: Any, axes: Any = None, *, x: str = "delta_ce", **options: Any) -> np.ndarray:
    """Shares of latents that fire on more than 10 % and 1 % of tokens, against delta LM loss.

    Source: figure 5 of the JumpReLU paper (Rajamanoharan et al. 2024, arXiv 2407.14435).

    Parameters
    ----------
    table, axes, options : as in `plot_metrics`
    x : column name

    Examples
    --------
    >>> import frontier
    >>> shares = {"frequency_above_10pct": 0.01, "frequency_above_1pct": 0.05}
    >>> len(frontier.plot_high_frequency([{"l0": 9, "ce_sae": 3.3, "ce_clean": 3.1, **shares}]))
    2
    """
    return plot_metrics(table, axes, y=HIGH_FREQUENCY, x=x, **{"log_x": False, **options})


@checked
def plot_settings(
    table: Any,
    axes: Any = None,
    *,
    reference: Hashable | None = None,
    family: str = "family",
    across: Sequence[str] = (),
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
    **options: Any,
) -> np.ndarray:
    """L0 against the sparsity setting, one panel per kind of setting (lambda, k, ...).

    Parameters
    ----------
    table, axes, figure, family, across, reference, styles, options : as in `plot_metrics`

    Raises
    ------
    TableError
        When the table knows no sparsity setting, or as `plot_metrics`.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> frontier.plot_settings(table[table["layer"] == 20])[0].get_ylabel()
    'L0 (active latents per token)'
    """
    table = metrics_table(table)
    if "sparsity_setting" not in table or not table["sparsity_setting"].notna().any():
        raise TableError("no sparsity_setting in the table, so there is no curve from setting to L0")
    table = table[table["sparsity_setting"].notna()]
    groups = Groups.of(table, None, family)
    guard(table, groups.columns, across, groups.family)
    looks = styles_for(group_values(table, groups.family), reference, styles)
    kinds = _kinds(table)
    grid, owned = panels_for(len(set(kinds)), axes, figure, least=LEAST_WIDTH + OWN_LABEL)
    for ax, kind in zip(grid, dict.fromkeys(kinds), strict=True):
        chosen = {"x": "sparsity_setting", "y": "l0", "log_y": True, "by": groups.cells, **options}
        draw_metric(table[kinds == kind], ax, family=family, styles=looks, legend=False, **chosen)
        _widen_covered(ax)
        label_axes(ax, SETTINGS.get(kind) or f"Sparsity setting: {figure_text(kind)}", column_label("l0"))
    legend_above(grid, looks, looks, owned)
    return grid


def _widen_covered(ax: Axes) -> None:
    """Lines that others lie upon are broad enough to be seen around them (all TopK kinds have L0 = k)."""
    drawn = [line for line in ax.lines if line.get_marker() != "None"]
    places = [np.log(np.array(line.get_data(), dtype=float).T) for line in drawn]  # [points, 2]
    for i, line in enumerate(drawn):
        above = sum(_covers(other, places[i]) for other in places[i + 1 :])
        line.set_markersize(line.get_markersize() * (1 + above))
        line.set_linewidth(line.get_linewidth() * (1 + 2 * above))


def _covers(other: np.ndarray, points: np.ndarray) -> bool:
    """Whether half of the points or more have one of the others within 5 %."""
    gaps = np.abs(points[:, None] - other).max(2).min(1)
    return bool((gaps < 0.05).mean() >= 0.5)


def _kinds(table: pd.DataFrame) -> pd.Series:
    """What each row's setting is, the commonest first."""
    if "sparsity_name" not in table:
        return pd.Series("", index=table.index)
    return table["sparsity_name"].astype("string").fillna("unknown").astype(object)


def _draw_group(
    ax: Axes, table: pd.DataFrame, xs: np.ndarray, ys: np.ndarray, rows: np.ndarray, look: Look
) -> None:
    """Points of one group, each seed's joined."""
    style: dict[str, Any] = {"marker": look.style.marker, "color": look.style.colour, **EDGE}
    style |= {"linestyle": look.line, "linewidth": 0.8 * float(mpl.rcParams["lines.linewidth"]), "zorder": 3}
    label = ", ".join(part for part in (figure_text(look.family), look.cell) if part) or "_series"
    seeds = group_codes(table, ["seed"])[0] if "seed" in table else np.zeros(len(table), dtype=int)
    for seed in dict.fromkeys(seeds[rows]):
        own = np.flatnonzero(rows & (seeds == seed))
        own = own[np.lexsort([ys[own], xs[own]])]
        ax.plot(xs[own], ys[own], label=label, **style)
        label = "_seed"
