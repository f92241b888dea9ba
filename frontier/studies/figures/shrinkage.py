"""Shrinkage γ by L0, one line per family."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from matplotlib.axes import Axes

from frontier.arguments import checked
from frontier.distributions import t_quantile
from frontier.figures.panels import EDGE, column_label, label_axes, new_axes, quiet_legend
from frontier.figures.style import Style, figure_text, log_axis, styles_for
from frontier.studies.evaluation import Evaluation
from frontier.wording import nearest

GAMMA = r"$\gamma = E\Vert\hat{x}\Vert^2\,/\,E[\hat{x}\cdot x]$"


@checked
def plot_shrinkage(
    evaluation: Evaluation,
    ax: Axes | None = None,
    *,
    metric: str = "shrinkage",
    reference: Hashable | None = None,
    styles: Mapping[Any, Style] | None = None,
    level: float = 0.95,
    legend: bool = True,
) -> Axes:
    """γ = E‖x̂‖² / E[x̂ · x] of every SAE by its L0, with intervals over batches; 1 is unbiased.

    Parameters
    ----------
    metric : str
        Another column, such as `l2_ratio`.
    """
    ax = new_axes()[0] if ax is None else ax
    table = evaluation.table
    if metric not in table:
        raise ValueError(f"no column {metric!r}{nearest(metric, list(table.columns))}")
    looks = styles_for(list(dict.fromkeys(table["family"])), reference, styles)
    batches = int(evaluation.batches["batch"].nunique())
    half = float(t_quantile(float(batches - 1), level))
    ax.axhline(1, color="0.75", linewidth=0.6, linestyle=":", zorder=0)
    handles = {}
    for family, rows in table.groupby("family", sort=False):
        rows, style = rows.sort_values("l0"), looks[family]
        found = ax.errorbar(
            rows["l0"], rows[metric], half * rows[f"{metric}_se"], color=style.colour, marker=style.marker,
            elinewidth=0.7, **EDGE,
        )  # fmt: skip
        handles[figure_text(family)] = found
    log_axis(ax.xaxis)
    label_axes(ax, column_label("l0"), GAMMA if metric == "shrinkage" else column_label(metric))
    if legend:
        quiet_legend(ax, handles)
    return ax
