"""Figures of firing frequency: shares of frequent latents against delta CE, and density histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from frontier.arguments import checked
from frontier.figures.panels import (
    EDGE,
    LEAST_HEIGHT,
    QUIET,
    column_label,
    family_handles,
    label_axes,
    new_axes,
    quiet_legend,
)
from frontier.figures.style import Style, log_axis, styles_for
from frontier.studies.evaluation import Evaluation
from frontier.studies.frequency import delta_ce, densities, share_curves

DECADES = 10.0 ** np.arange(-9, 1)
NEVER: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": "x-small", "color": QUIET}


@checked
def plot_shares(
    table: pd.DataFrame,
    share: str = "frequency_above_1pct",
    ax: Axes | None = None,
    *,
    styles: Mapping[Any, Style] | None = None,
    legend: bool = True,
) -> Axes:
    """The share of frequent latents of every SAE against delta CE, with each family's curve and its band."""
    ax = new_axes()[0] if ax is None else ax
    looks = styles_for(dict.fromkeys(table["family"]), None, styles)
    curves = share_curves(table, share)
    for family, rows in table.groupby("family", sort=False):
        look = looks[family]
        ax.plot(delta_ce(rows), rows[share], look.marker, color=look.colour, linestyle="none", clip_on=False,
                zorder=3, **EDGE)  # fmt: skip
        if str(family) in curves:
            curve = curves[str(family)]
            band = curve.band(np.geomspace(min(curve.delta_ce), max(curve.delta_ce), 100))
            ax.plot(band["delta_ce"], band["share"], color=look.colour, linestyle=look.line)
            ax.fill_between(
                band["delta_ce"], band["low"], band["high"], color=look.colour, alpha=0.12, linewidth=0
            )
    log_axis(ax.xaxis)
    ax.set_ylim(0, min(1.0, 1.15 * float(table[share].max()) or 1.0))
    label_axes(ax, column_label("delta_ce"), column_label(share))
    if legend:
        quiet_legend(ax, family_handles(looks, looks))
    return ax


@checked
def plot_densities(
    evaluation: Evaluation,
    run_ids: Sequence[str],
    axes: Any = None,
    *,
    per_decade: int = 4,
    styles: Mapping[Any, Style] | None = None,
) -> np.ndarray:
    """One density histogram per SAE, below each other, over log firing frequency; silent latents at the left.

    Dotted lines are the limits 1 in 100,000, 1 % and 10 %.
    """
    found = densities(evaluation, per_decade)
    found = found[found["run_id"].isin(run_ids)]
    panels = _below_each_other(len(run_ids)) if axes is None else np.ravel(axes)
    looks = styles_for(dict.fromkeys(evaluation.table["family"]), None, styles)
    most = float(found["share"].max())
    for ax, run_id in zip(panels, run_ids, strict=True):
        rows = found[found["run_id"] == run_id]
        _draw_density(ax, rows, looks[rows["family"].iloc[0]].colour, 1.08 * most)
    label_axes(panels[-1], "Share of tokens on which a latent fires", "")
    for ax in panels[:-1]:
        ax.tick_params(labelbottom=False)
    if axes is None:
        panels[0].figure.supylabel("Share of latents", fontsize=mpl.rcParams["axes.labelsize"])
    else:
        panels[len(panels) // 2].set_ylabel("Share of latents")
    return panels


def _below_each_other(count: int) -> np.ndarray:
    """Low panels, one per row, as high as their words need."""
    panels = new_axes(count, per_row=1)
    panels[0].figure.set_figheight(count * (LEAST_HEIGHT - 0.05) + 0.5)
    return panels


def _draw_density(ax: Axes, rows: pd.DataFrame, colour: str, top: float) -> None:
    fired, silent = rows[rows["high"] > 0], float(rows.loc[rows["high"] == 0, "share"].iloc[0])
    log_axis(ax.xaxis)
    ax.stairs(fired["share"], [*fired["low"], fired["high"].iloc[-1]], color=colour, fill=True, alpha=0.75)
    lowest = float(fired["low"].min())
    ax.xaxis.set_major_locator(FixedLocator([t for t in DECADES if t >= 2 * lowest]))
    ax.bar(lowest * 0.45, silent, width=lowest * 0.35, color="white", edgecolor=colour, linewidth=0.8)
    for limit in (1e-5, 1e-2, 1e-1):
        ax.axvline(limit, color="0.6", linewidth=0.6, linestyle=":", zorder=0)
    ax.set(xlim=(lowest * 0.2, 1.3), ylim=(0, top))
    name = f"{rows['family'].iloc[0]}, L0 {rows['l0'].iloc[0]:.1f}"
    ax.text(
        0.14,
        0.9,
        f"{name}\nnever: {100 * silent:.1f} %",
        ha="left",
        va="top",
        transform=ax.transAxes,
        fontsize="small",
    )
    ax.text(lowest * 0.45, -0.05, "never", transform=ax.get_xaxis_transform(), **NEVER)
