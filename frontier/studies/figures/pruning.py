"""Figures of pruning: what each method costs one SAE, and the frontiers that pruning traces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from frontier.arguments import checked
from frontier.figures.panels import EDGE, column_label, label_axes, new_axes, quiet_legend
from frontier.figures.style import COLOURS, MARKERS, REFERENCE_COLOUR, Style, figure_text, log_axis
from frontier.studies.evaluation import Evaluation
from frontier.studies.paired_frontiers import LeftOut, estimate
from frontier.studies.pruning_costs import METHODS, pruned_rows

ORDER = ("global threshold", "quantile", "share of maximum", "top k")
STYLES = {m: Style(c, k) for m, c, k in zip(ORDER, COLOURS, MARKERS, strict=False)}
ADDED = {
    "ce_sae": "Added cross-entropy (nats per token)",
    "mse": "Added mean squared error",
    "fvu": "Added fraction of variance unexplained",
}


@checked
def plot_pruning(
    evaluation: Evaluation,
    parent: str,
    ax: Axes | None = None,
    *,
    metric: str = "ce_sae",
    level: float = 0.95,
) -> Axes:
    """The cost of pruning one SAE against the share of its L0 that is left, with paired intervals.

    Parameters
    ----------
    evaluation : Evaluation
        From `prune`.
    parent : str
        run_id of the SAE.
    """
    ax = new_axes()[0] if ax is None else ax
    rows, left = pruned_rows(evaluation), LeftOut(evaluation)
    rows = rows[rows["parent"] == parent]
    own, handles = left.metric(parent, metric), {}
    for method in [m for m in ORDER if m in set(rows["method"])]:
        ids = rows[rows["method"] == method].sort_values("l0")["run_id"]
        found = [estimate(left.metric(r, metric) - own, level) for r in ids]
        x = [float(left.metric(r, "l0")[0]) for r in ids]
        y, low, high = (np.array([getattr(e, k) for e in found]) for k in ("value", "low", "high"))
        style = STYLES[method]
        ax.fill_between(x, low, high, color=style.colour, alpha=0.15, linewidth=0)
        handles[method] = ax.plot(x, y, color=style.colour, marker=style.marker, **EDGE)[0]
    whole = float(left.metric(parent, "l0")[0])
    ax.axvline(whole / 2, color="0.75", linewidth=0.6, linestyle=":", zorder=0)
    ax.plot([whole], [0], color=REFERENCE_COLOUR, marker="o", linestyle="none", clip_on=False)
    least = min([whole / 2, *(float(left.metric(r, "l0")[0]) for r in rows["run_id"])])
    ax.set_xlim(0.8 * least, None)  # room for the legend beside the lines
    ax.set_ylim(min(0.0, ax.get_ylim()[0]), None)
    label_axes(ax, "L0 after pruning", ADDED.get(metric) or f"Added {figure_text(metric)}")
    quiet_legend(ax, handles)
    return ax


@checked
def plot_pruning_frontiers(
    evaluation: Evaluation,
    ax: Axes | None = None,
    *,
    method: str = "global threshold",
    base: str | None = None,
    metric: str = "ce_sae",
) -> Axes:
    """The frontier of trained SAEs and, from each of them, the path that one method of pruning takes.

    Parameters
    ----------
    base : str, optional
        Family that was pruned; needed where there are several.
    """
    ax = new_axes()[0] if ax is None else ax
    rows = pruned_rows(evaluation)
    rows = rows[rows["method"] == method]
    rows = rows if base is None else rows[rows["base"] == base]
    table = evaluation.table.set_index("run_id")
    parents = table.loc[list(dict.fromkeys(rows["parent"]))].sort_values("l0")
    style = STYLES[METHODS[-1] if method not in STYLES else method]
    for parent, path in rows.groupby("parent", sort=False):
        both = [*path.sort_values("l0")[["l0", metric]].to_numpy(float), table.loc[parent, ["l0", metric]]]
        x, y = np.array(both, dtype=float).T
        drawn = ax.plot(x, y, color=style.colour, linewidth=0.9, marker=style.marker, markersize=2.4, **EDGE)[
            0
        ]
    trained = ax.plot(parents["l0"], parents[metric], color=REFERENCE_COLOUR, marker="o", zorder=3, **EDGE)[0]
    log_axis(ax.xaxis)
    label_axes(ax, column_label("l0"), column_label(metric))
    quiet_legend(ax, {"as trained": trained, f"pruned by {method}": drawn})
    return ax


def draw(evaluation: Evaluation, parent: str, base: str, axes: Sequence[Axes]) -> None:
    """The page of the documentation: one SAE in CE, and the frontiers of its family."""
    plot_pruning(evaluation, parent, axes[0])
    plot_pruning_frontiers(evaluation, axes[1], base=base)
