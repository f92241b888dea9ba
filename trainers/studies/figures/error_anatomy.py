"""Figure of the parts of SAEs' errors by dictionary size, one panel per L0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import t as student

from frontier.figures.panels import EDGE, label_axes, new_axes, share_labels
from frontier.figures.style import COLOURS, REFERENCE_COLOUR, log_axis
from trainers.studies.cross_fitted_maps import GROUPS

PARTS = {
    "fvu_rest": ("rest", COLOURS[1]),
    "fvu_from_input": ("linear in x", COLOURS[5]),
}
"""From the bottom up; with their labels."""


def plot_anatomy(table: pd.DataFrame, axes: Any = None, *, by: str = "sparsity_setting") -> np.ndarray:
    """Stacked parts of the error, as shares of the activations' variance, against dictionary size.

    One panel per value of `by`. The rest at the bottom is what no linear map of x predicts; where it does
    not fall, width does not help against it. Bars are 95 % intervals of the rest over groups of windows.
    """
    groups = list(table.groupby(by))
    panels = np.ravel(new_axes(len(groups), per_row=len(groups)) if axes is None else axes)
    top = 1.05 * float(table["fvu"].max())
    for ax, (value, rows) in zip(panels, groups, strict=True):
        _draw(ax, rows.sort_values("dictionary_size"))
        ax.set_ylim(0, top)
        ax.set_title(f"L0 {rows['l0'].mean():.3g}" if by == "sparsity_setting" else f"{value}")
        label_axes(ax, "Latents", "Share of variance")
    share_labels(panels)
    panels[-1].legend(loc="upper right", reverse=True, fontsize="small")
    return panels


def _draw(ax: Axes, rows: pd.DataFrame) -> None:
    size = rows["dictionary_size"].to_numpy(float)
    floor = np.zeros(len(rows))
    for name, (label, colour) in PARTS.items():
        upper = floor + rows[name].clip(lower=0).to_numpy(float)
        ax.fill_between(size, floor, upper, color=colour, alpha=0.55, linewidth=0, label=label)
        floor = upper
    ax.plot(size, rows["fvu"], color=REFERENCE_COLOUR, marker="o", **EDGE)
    error = student.ppf(0.975, GROUPS - 1) * rows["fvu_rest_se"]
    ax.errorbar(size, rows["fvu_rest"], error, color=COLOURS[1], marker="s", **EDGE)
    log_axis(ax.xaxis)
