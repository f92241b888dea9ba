"""Figure of fine-tuning: what each SAE gained, by loss, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from frontier.arguments import checked
from frontier.figures.panels import EDGE, column_label, label_axes, new_axes, quiet_legend
from frontier.figures.style import Style, figure_text, log_axis, styles_for
from frontier.studies.evaluation import Evaluation, EvaluationError
from frontier.studies.paired_frontiers import LeftOut, estimate

NAMES = {"kl": "KL", "mse": "MSE", "ce_sae": "Cross-entropy", "fvu": "FVU"}


@checked
def plot_finetuning(
    evaluation: Evaluation,
    ax: Axes | None = None,
    *,
    metric: str = "kl",
    styles: Mapping[Any, Style] | None = None,
    level: float = 0.95,
) -> Axes:
    """The metric of each fine-tuned SAE as a share of its parent's, by its L0.

    Raises
    ------
    EvaluationError
        If the evaluation has no rows with a parent in it.
    """
    ax = new_axes()[0] if ax is None else ax
    table, left = evaluation.table, LeftOut(evaluation)
    tuned = table[table["parent"].isin(table["run_id"])] if "parent" in table else table[:0]
    if not len(tuned):
        raise EvaluationError("no fine-tuned SAE stands beside its parent in this evaluation")
    looks, handles = styles_for(list(dict.fromkeys(tuned["family"])), None, styles), {}
    ax.axhline(1, color="0.75", linewidth=0.6, linestyle=":", zorder=0)
    for family, rows in tuned.groupby("family", sort=False):
        rows, style = rows.sort_values("l0"), looks[family]
        pairs = zip(rows["run_id"], rows["parent"], strict=True)
        found = [estimate(left.metric(r, metric) / left.metric(p, metric), level) for r, p in pairs]
        y = np.array([e.value for e in found])
        bars = np.array([[e.value - e.low, e.high - e.value] for e in found]).T
        handles[figure_text(family)] = ax.errorbar(
            rows["l0"], y, bars, color=style.colour, marker=style.marker, elinewidth=0.7, **EDGE
        )
    log_axis(ax.xaxis)
    label_axes(ax, column_label("l0"), f"{NAMES.get(metric) or figure_text(metric)} after / before")
    quiet_legend(ax, handles)
    return ax
