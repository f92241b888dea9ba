"""Figure of inference-time optimisation: SAEs, and what their dictionaries reach without encoders."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from frontier.figures.panels import EDGE, new_axes
from frontier.figures.style import Style, figure_text, log_axis, styles_for
from trainers.evaluate.results import Evaluation
from trainers.studies.figures.pruning import LABELS


def plot_inference_time(
    evaluation: Evaluation,
    ax: Axes | None = None,
    *,
    chosen: Sequence[str] | None = None,
    metric: str = "ce_sae",
    reference: Hashable | None = None,
    styles: Mapping[Any, Style] | None = None,
    log_y: bool = False,
) -> Axes:
    """Per family two lines: its SAEs with their encoders (faint), and dictionaries with pursued codes.

    Parameters
    ----------
    evaluation : Evaluation
        From `pursue`.
    chosen : list of run_id, optional
        Pursued rows to draw, such as those of `best_dictionaries`; default all.
    """
    ax = new_axes()[0] if ax is None else ax
    table = evaluation.table
    own = table[table["parent"].isna()]
    pursued = table[table["parent"].notna()]
    pursued = pursued if chosen is None else pursued[pursued["run_id"].isin(list(chosen))]
    base = pursued["parent"].map(own.set_index("run_id")["family"])
    looks = styles_for(list(dict.fromkeys(own["family"])), reference, styles)
    for family, style in looks.items():
        with_encoder = own[own["family"] == family].sort_values("l0")
        without = pursued[base == family].sort_values("l0")
        ax.plot(with_encoder["l0"], with_encoder[metric], color=style.colour, marker=style.marker, alpha=0.4,
                linestyle="--", **EDGE)  # fmt: skip
        line = "-" if chosen is not None else "none"
        ax.plot(
            without["l0"], without[metric], color=style.colour, marker=style.marker, linestyle=line, **EDGE
        )
    log_axis(ax.xaxis)
    if log_y:
        log_axis(ax.yaxis)
    ax.set_xlabel("L0")
    ax.set_ylabel(LABELS.get(metric, metric))
    handles = [Line2D([], [], color=s.colour, marker=s.marker, **EDGE) for s in looks.values()]
    handles += [Line2D([], [], color="0.4", linestyle="--", alpha=0.6), Line2D([], [], color="0.4")]
    labels = [*map(figure_text, looks), "with encoder", "pursued codes"]
    ax.legend(handles, labels, loc="best", borderaxespad=0.3)
    return ax
