"""The figures of the pages on trained SAEs, from what their sections found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

import frontier
from frontier.figures.panels import column_label, label_axes, new_axes
from frontier.figures.style import log_axis, styles_for
from frontier.studies.evaluation import Evaluation
from frontier.studies.figures import (
    plot_densities,
    plot_finetuning,
    plot_inference_time,
    plot_pruning,
    plot_pruning_frontiers,
    plot_shares,
    plot_shrinkage,
)
from frontier.studies.frequency import nearest_l0
from trainers.studies.figures import plot_activation_sizes, plot_anatomy, plot_parts, plot_recovery

ROUGHLY = 8.0
"""L0 near which one SAE of each family is shown."""


def pruning(found: Evaluation, parent: str) -> Any:
    """Every method on one SAE, and the paths of one family under the global threshold."""
    axes = new_axes(2)
    plot_pruning(found, parent, axes[0])
    plot_pruning_frontiers(found, axes[1], base="relu")
    return axes


def shrinkage(found: Evaluation) -> Any:
    """γ of every family, and cross-entropy of ReLU, rescaled ReLU and Gated."""
    axes = new_axes(2)
    plot_shrinkage(found, axes[0], reference="relu")
    looks = styles_for(list(dict.fromkeys(found.table["family"])), "relu", None)
    kept = found.table[found.table["family"].isin(["relu", "relu + rescale and shift", "gated"])]
    for family, rows in kept.sort_values("l0").groupby("family", sort=False):
        axes[1].plot(rows["l0"], rows["ce_sae"], color=looks[family].colour, marker=looks[family].marker)
    log_axis(axes[1].xaxis)
    label_axes(axes[1], column_label("l0"), column_label("ce_sae"))
    return axes


def inference_time(found: Evaluation, chosen: Sequence[str]) -> Any:
    """Dictionaries with and without their encoders, in cross-entropy and in squared error."""
    axes = new_axes(2)
    for ax, metric in zip(axes, ("ce_sae", "fvu"), strict=True):
        plot_inference_time(found, ax, chosen=chosen, metric=metric, log_y=metric == "fvu", reference="relu")
    axes[1].get_legend().remove()
    return axes


def finetuning(found: Evaluation) -> Any:
    """What fine-tuning does to KL and to squared error."""
    axes = new_axes(2)
    for ax, metric in zip(axes, ("kl", "mse"), strict=True):
        plot_finetuning(found, ax, metric=metric)
    axes[0].get_legend().remove()
    low, high = axes[1].get_ylim()
    axes[1].set_ylim(low, high + 0.6 * (high - low))  # room for the legend
    return axes


def frequency_shares(table: pd.DataFrame) -> Any:
    """Shares of frequent latents against delta CE."""
    axes = new_axes(2)
    for ax, share in zip(axes, ("frequency_above_10pct", "frequency_above_1pct"), strict=True):
        plot_shares(table, share, ax, legend=share == "frequency_above_1pct")
    return axes


def frequency_densities(found: Evaluation) -> Any:
    """One SAE of each family near the same L0."""
    return plot_densities(found, nearest_l0(found.table, ROUGHLY))


def penalty_parts(table: pd.DataFrame) -> Any:
    """Direction, length, squared error and cross-entropy by L0, of one seed."""
    return plot_parts(table[table["seed"] == 0], reference="L1")


def penalty_activations(sizes: dict[str, Any]) -> Any:
    """Histograms of non-zero activations, one SAE of each penalty, with their medians."""
    return plot_activation_sizes(sizes, reference="L1")


def error_anatomy(table: pd.DataFrame) -> Any:
    """Error of TopK by dictionary size, its linear part and the rest, of one seed."""
    return plot_anatomy(table[table["seed"] == 0])


def true_l0(table: pd.DataFrame) -> Any:
    """Recovery and FVU against L0, a line per seed."""
    axes = new_axes(2)
    kept = table[table["family"].isin(["topk", "batch_topk", "jumprelu"])]
    plot_recovery(kept, ax=axes[0])
    plot_recovery(kept, "fvu", axes[1], best=False, legend=False)
    log_axis(axes[1].yaxis)
    return axes


def transcoders(table: pd.DataFrame) -> Any:
    """Power laws of the hits of transcoders against 1/L0."""
    return frontier.plot_fits(frontier.fit(table, "power"), log_axes=True)


def equal_compute(table: pd.DataFrame) -> Any:
    """Frontiers of Gated and of ReLU at its size and at its cost, a line per seed."""
    return frontier.plot_metrics(table, y="loss_recovered", reference="relu")
