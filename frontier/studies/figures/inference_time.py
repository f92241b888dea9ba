"""Figure of inference-time optimisation: SAEs, and what their dictionaries reach without encoders."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from frontier.arguments import checked
from frontier.figures.panels import (
    EDGE,
    QUIET,
    column_label,
    family_handles,
    label_axes,
    new_axes,
    quiet_legend,
)
from frontier.figures.style import Style, log_axis, styles_for
from frontier.studies.evaluation import Evaluation


@checked
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
    label_axes(ax, column_label("l0"), column_label(metric))
    handles: dict[str, Any] = family_handles(looks, looks)
    handles["with encoder"] = Line2D([], [], color=QUIET, linestyle="--", alpha=0.6)
    points: dict[str, Any] = {"marker": "o", "linestyle": "none"} if chosen is None else {"linestyle": "-"}
    handles["pursued codes"] = Line2D([], [], color=QUIET, **points)
    quiet_legend(ax, handles)
    return ax
