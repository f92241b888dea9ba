"""Frontiers over seeds: what the best, the median and the worst run of a family attains."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from frontier.arguments import checked
from frontier.figures.families import fidelity, legend_entries, looks_of
from frontier.figures.panels import EDGE, finish_axes, head, new_axes, quiet_legend, sparse_marks
from frontier.figures.style import Style, figure_text
from frontier.groups import Groups
from frontier.metrics import metrics_table
from frontier.pareto.uncertain import attainment
from frontier.wording import plural


@checked
def plot_attainment(
    table: Any,
    ax: Axes | None = None,
    *,
    reference: Hashable | None = None,
    by: Sequence[str] | str | None = None,
    y: str | None = None,
    run: str = "seed",
    family: str = "family",
    across: Sequence[str] = (),
    log_x: bool = True,
    log_y: bool = False,
    styles: Mapping[Any, Style] | None = None,
    legend: bool = True,
    title: str = "",
) -> Axes:
    """The median attainment surface of each family, in the band between its best and its worst run.

    Descriptive: a gap between bands is not a test (see `compare_seeds`).

    Parameters
    ----------
    table : anything that `metrics_table` takes
    ax : Axes, optional
        Default: the axes of a new pyplot figure.
    by, family, reference, styles : as in `draw_frontier`
    y : column name, derived ones included
        Default loss recovered (`fvu` where that is unknown).
    run : column name
        What tells runs of a whole family apart.
    across : column names
        As in `attainment`.

    Raises
    ------
    TableError
        As `attainment`.

    Examples
    --------
    >>> import frontier
    >>> recipes = {"relu": 0.5, "gated": 0.3}
    >>> table = [
    ...     {"family": f, "seed": s, "l0": l0, "loss_recovered": 1 - scale * (1 + 0.02 * s) * l0**-0.8}
    ...     for f, scale in recipes.items() for l0 in (5, 10, 20, 40) for s in (0, 1, 2)
    ... ]
    >>> frontier.plot_attainment(table).get_ylabel()
    'Loss recovered'
    """
    table = metrics_table(table)
    y = fidelity(table) if y is None else y
    frame = attainment(table, by, y=y, run=run, family=family, across=across)
    groups = Groups.of(table, by, family).on(frame)
    looks = looks_of(groups, reference, styles)
    ax = new_axes()[0] if ax is None else ax
    end = float(frame["l0"].max()) * (1.1 if log_x else 1.02)
    for code, look in enumerate(looks):
        levels = {str(name): rows for name, rows in frame[groups.codes == code].groupby("level")}
        x = np.append(np.unique(frame["l0"][groups.codes == code]), end)
        steps = {name: _staircase(rows, x) for name, rows in levels.items()}
        label = ", ".join(part for part in (figure_text(look.family), look.cell) if part) or "_median"
        colour = look.style.colour
        band: dict[str, Any] = {"step": "post", "facecolor": colour, "alpha": 0.2, "linewidth": 0}
        ax.fill_between(x, steps["worst"], steps["best"], label=f"_band {label}", **band)
        line: dict[str, Any] = {"drawstyle": "steps-post", "color": colour, "linestyle": look.line, **EDGE}
        marks = sparse_marks(np.isfinite(steps["median"][:-1]))
        ax.plot(x, steps["median"], marker=look.style.marker, markevery=marks, label=label, zorder=3, **line)
    finish_axes(ax, "l0", y, log_x, log_y)
    head(ax, title, f"best to worst of {_counts(frame)}")
    if legend:
        quiet_legend(ax, legend_entries(looks))
    return ax


def _staircase(corners: pd.DataFrame, x: np.ndarray) -> np.ndarray:
    """The surface's height at x: that of the last corner at or before it; missing before the first."""
    corners = corners.sort_values("l0")
    place = np.searchsorted(corners["l0"].to_numpy(), x, side="right") - 1
    return np.where(place < 0, np.nan, corners["y"].to_numpy()[np.maximum(place, 0)])


def _counts(frame: pd.DataFrame) -> str:
    low, high = int(frame["runs"].min()), int(frame["runs"].max())
    return plural(low, "run") if low == high else f"{low} to {high} runs"
