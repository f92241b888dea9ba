"""Figures that take a penalty apart: direction, length, error and loss by L0, and the size of activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from frontier.figures.panels import (
    EDGE,
    column_label,
    family_handles,
    label_axes,
    new_axes,
    quiet_legend,
)
from frontier.figures.style import Style, log_axis, styles_for
from trainers.studies.activation_sizes import ActivationSizes

LABELS = {"fvu": "FVU", "ce_sae": "Cross-entropy (nats)"}
PARTS = ("cosine_similarity", "l2_ratio", "fvu", "ce_sae")


def plot_parts(
    table: pd.DataFrame,
    axes: Any = None,
    *,
    metrics: Sequence[str] = PARTS,
    reference: str | None = None,
    styles: Mapping[Any, Style] | None = None,
) -> np.ndarray:
    """One panel per metric, every family against L0, with a standard error over batches each way."""
    panels = np.ravel(new_axes(len(metrics), per_row=2) if axes is None else axes)
    looks = styles_for(dict.fromkeys(table["family"]), reference, styles)
    for ax, metric in zip(panels, metrics, strict=True):
        for family, rows in table.sort_values("l0").groupby("family", sort=False):
            look, error = looks[family], rows.get(f"{metric}_se")
            ax.errorbar(rows["l0"], rows[metric], error, color=look.colour, marker=look.marker,
                        linestyle=look.line, **EDGE)  # fmt: skip
        log_axis(ax.xaxis)
        label_axes(ax, column_label("l0"), LABELS.get(metric) or column_label(metric))
    if metrics[-1] == "ce_sae":
        panels[-1].axhline(float(table["ce_clean"].mean()), color="0.6", linewidth=0.6, linestyle=":")
    quiet_legend(panels[0], family_handles(looks, looks))
    return panels


def plot_activation_sizes(
    sizes: Mapping[str, ActivationSizes],
    ax: Axes | None = None,
    *,
    reference: str | None = None,
    styles: Mapping[Any, Style] | None = None,
    per_decade: int = 10,
) -> Axes:
    """Histograms of non-zero activations by name, over log size, with their medians as vertical lines."""
    ax = new_axes()[0] if ax is None else ax
    looks, handles = styles_for(sizes, reference, styles), {}
    shown = []
    for name, one in sizes.items():
        density, edges = one.histogram(per_decade)
        median = one.median()
        colour = looks[name].colour
        label = f"{name} (L0 {one.l0:.1f}), median {median.estimate:.3g}"
        handles[label] = ax.stairs(density, edges, color=colour, linewidth=1.1)
        ax.axvline(median.estimate, ymax=0.72, color=colour, linewidth=0.8, linestyle="--")
        shown += [edges[:-1][density > 0.002 * density.max()].min(), edges[1:][density > 0].max()]
    log_axis(ax.xaxis)
    ax.set_xlim(min(shown), max(shown))
    ax.set_ylim(0, 1.4 * ax.get_ylim()[1] / 1.05)
    label_axes(ax, "Activation, in units of the scaled input", "Activations per token and decade")
    quiet_legend(ax, handles)
    return ax
