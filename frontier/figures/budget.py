"""Relative potency over training: one line per family through its budgets, with limits at each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from frontier.arguments import checked
from frontier.comparison.budget_comparison import BudgetComparison, BudgetComparisons
from frontier.comparison.budgets import compare_budgets
from frontier.figures.panels import (
    EDGE,
    QUIET,
    head,
    label_axes,
    legend_above,
    panel_titles,
    panels_for,
    share_labels,
)
from frontier.figures.style import Style, figure_text, log_axis, styles_for

UNITS = ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"))
SURE = ("better", "worse", "crossing")
HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.0}
WIDEST = 4.0
"""The axis follows limits up to this factor beyond the potencies."""


@checked
def plot_budget(
    budgets: Any,
    axes: Any = None,
    *,
    reference: Hashable | None = None,
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """L0(reference) / L0(family) at equal hit by training budget, one panel per cell and a line per family.

    Bands are the limits at each budget by itself, joined. Where the SAEs of a run are there at several
    budgets, their errors are alike at all: neither is the band one for the whole line, nor is each budget a
    confirmation of its own; the changes between budgets have limits of their own in the result. A marker is
    filled where the budget has a verdict (better, worse, crossing), hollow where it has none.

    Parameters
    ----------
    budgets : BudgetComparisons, or what `compare_budgets` takes
    axes : Axes or array of Axes, optional
        One per panel; default a new pyplot figure, or new axes in `figure`.
    reference : family, optional
        Of a table; default the family called relu, standard, vanilla or baseline.
    styles, figure : as in `plot_fits`

    Returns
    -------
    ndarray of Axes, shape (panels,)

    Raises
    ------
    ValueError
        When no family could be compared at any budget; of a table as `compare_budgets`.

    Examples
    --------
    >>> import frontier
    >>> rows = [
    ...     {"family": f, "l0": l0, "tokens_trained": t, "loss_recovered": 1 - a * (1 + c / t) * l0**-0.7}
    ...     for t in (1e6, 4e6)
    ...     for f, a, c in (("relu", 0.4, 3e6), ("topk", 0.3, 1e6))
    ...     for l0 in (5, 10, 20, 40)
    ... ]
    >>> frontier.plot_budget(frontier.compare_budgets(rows))[0].get_ylabel()
    'L0 of relu / L0 of topk'
    """
    if not isinstance(budgets, BudgetComparisons):
        budgets = compare_budgets(budgets, None if reference is None else str(reference))
    shown = [c for c in budgets if c.is_told]
    if not shown:
        raise ValueError("no family could be compared with the reference at any budget")
    cells: dict[tuple[str, ...], list[BudgetComparison]] = {}
    for c in shown:
        cells.setdefault(tuple(map(str, c.group.values())), []).append(c)
    families = list(dict.fromkeys(c.family for c in shown))
    base = shown[0].reference
    looks = styles_for([base, *families], base, styles)
    grid, owned = panels_for(len(cells), axes, figure)
    unit, words = _unit(max(c.budget for c in shown), budgets.budget_column)
    meaning = f"({100 * shown[0].potency.level:g} % at each budget; hollow: no verdict)"
    family = figure_text(families[0], 24) if len(families) == 1 else "family"
    y = f"L0 of {figure_text(base, 24)} / L0 of {family}"
    titles = panel_titles([members[0].group for members in cells.values()])
    window = _window(shown)
    ends = min(c.budget for c in shown) / unit, max(c.budget for c in shown) / unit
    margin = (ends[1] / ends[0]) ** 0.05
    for ax, title, members in zip(grid, titles, cells.values(), strict=True):
        _draw(ax, members, looks, unit, window)
        if margin > 1:
            ax.set_xlim(ends[0] / margin, ends[1] * margin)
        label_axes(ax, meaning, y)
        ax.set_xlabel(f"{words}\n{ax.get_xlabel()}")
        head(ax, title)
    share_labels(grid)
    legend_above(grid, looks, looks, owned)
    return grid


def _unit(most: float, column: str) -> tuple[float, str]:
    """What a budget is divided by, and the words of its axis."""
    what = {"tokens_trained": "Training tokens", "steps_trained": "Training steps"}
    word = what.get(column, figure_text(column.replace("_", " ").capitalize(), 40))
    unit, name = next(((u, n) for u, n in UNITS if most >= u and column == "tokens_trained"), (1.0, ""))
    return unit, f"{word} ({name})" if name else word


def _draw(
    ax: Axes,
    members: list[BudgetComparison],
    looks: Mapping[Any, Style],
    unit: float,
    window: tuple[float, float],
) -> None:
    """Every family's line, band and markers, and the reference at 1."""
    low, high = window
    base, every = members[0].reference, sorted({c.budget / unit for c in members})
    ax.axhline(1, color=QUIET, linewidth=0.7, zorder=1, label="_one")
    one: dict[str, Any] = {"color": looks[base].colour, "marker": looks[base].marker, **EDGE}
    ax.plot(every, np.ones(len(every)), label=figure_text(base), zorder=2, **one)
    for family in dict.fromkeys(c.family for c in members):
        own = [c for c in members if c.family == family]
        look, name = looks[family], figure_text(family)
        x = np.array([c.budget / unit for c in own])
        ratio, below, above = (
            np.array([getattr(c.potency, k) for c in own]) for k in ("ratio", "ratio_low", "ratio_high")
        )
        ends = np.clip(below, low / WIDEST, None), np.clip(above, None, high * WIDEST)
        band: dict[str, Any] = {"facecolor": look.colour, "alpha": 0.12, "linewidth": 0, "zorder": 1}
        ax.fill_between(x, *ends, label=f"_band {name}", **band)
        edge: dict[str, Any] = {"color": look.colour, "alpha": 0.5, "linewidth": 0.5, "zorder": 2}
        for end in ends:
            ax.plot(x, end, label="_edge", **edge)
        if len(own) == 1:  # no band shows at one budget
            ax.vlines(x, *ends, label=f"_bar {name}", **edge | {"linewidth": 1.0})
        ax.plot(
            x, ratio, color=look.colour, linestyle=look.line, marker=look.marker, label=name, zorder=3, **EDGE
        )
        for at, value, c in zip(x, ratio, own, strict=True):
            if c.verdict not in SURE:
                face = HOLLOW | {"markeredgecolor": look.colour}
                ax.plot([at], [value], marker=look.marker, linestyle="none", zorder=4, label="_open", **face)
    log_axis(ax.xaxis)
    ax.set_ylim(low, high)
    log_axis(ax.yaxis)


def _window(members: list[BudgetComparison]) -> tuple[float, float]:
    """The y axis: 1, the potencies, and the limits that are not far beyond them."""
    ratios = np.array([1.0, *(c.potency.ratio for c in members)])
    ends = np.array([v for c in members for v in (c.potency.ratio_low, c.potency.ratio_high)])
    near = ends[(ends >= ratios.min() / WIDEST) & (ends <= ratios.max() * WIDEST)]
    low, high = float(np.min([*ratios, *near])), float(np.max([*ratios, *near]))
    margin = (high / low) ** 0.05
    return low / margin, high * margin
