"""Figure of how well known features are found, against L0, with the true L0 marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from frontier.figures.panels import EDGE, family_handles, label_axes, new_axes, quiet_legend
from frontier.figures.style import Style, log_axis, styles_for
from trainers.studies.true_l0 import best_l0

LABELS = {
    "mean_max_cosine": "Mean max cosine to true features",
    "matched_cosine": "Mean matched cosine",
    "recovered_share": "True features recovered",
    "fvu": "FVU",
}


def plot_recovery(
    table: pd.DataFrame,
    measure: str = "mean_max_cosine",
    ax: Axes | None = None,
    *,
    styles: Mapping[Any, Style] | None = None,
    best: bool = True,
    legend: bool = True,
) -> Axes:
    """A measure of recovery against L0: one faint line per seed, the mean over seeds as points.

    Parameters
    ----------
    best : bool
        Mark each family's best L0 with its interval below the curves.
    """
    ax = new_axes()[0] if ax is None else ax
    looks = styles_for(dict.fromkeys(table["family"]), None, styles)
    ax.axvline(float(table["true_l0"].mean()), color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    for family, rows in table[table["l0"] > 0].groupby("family", sort=False):
        look = looks[family]
        for _, part in rows.sort_values("l0").groupby("seed"):
            ax.plot(part["l0"], part[measure], color=look.colour, linewidth=0.5, alpha=0.5)
        mean = rows.groupby("sparsity_setting")[["l0", measure]].mean().sort_values("l0")
        ax.plot(mean["l0"], mean[measure], look.marker, color=look.colour, linestyle="none", **EDGE)
    if best:
        _mark_best(ax, table, measure, looks)
    log_axis(ax.xaxis)
    label_axes(ax, "L0 (dashed: the true one)", LABELS.get(measure, measure))
    if legend:
        quiet_legend(ax, family_handles(looks, looks))
    return ax


def _mark_best(ax: Axes, table: pd.DataFrame, measure: str, looks: Mapping[Any, Style]) -> None:
    low, high = ax.get_ylim()
    step = 0.04 * (high - low)
    for place, (family, found) in enumerate(best_l0(table, measure).items(), start=1):
        best, look = found.best, looks[family]
        reach = [[best.estimate - best.low], [best.high - best.estimate]]
        ax.errorbar(
            best.estimate,
            low - place * step,
            xerr=reach,
            color=look.colour,
            marker=look.marker,
            capsize=2,
            **EDGE,
        )
    ax.set_ylim(low - (len(looks) + 1) * step, high)
