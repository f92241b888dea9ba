"""Panels of a figure: how many and how large, their titles, labels, legends and quiet remarks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from frontier._format import plural
from frontier.figures.style import REFERENCE_COLOUR, SALT, Style, figure_text, log_axis
from frontier.metrics.columns import axis_label

QUIET = "0.4"
LETTERS = 24
"""Of a family's name in a legend."""
COLUMN_LABELS = {
    "cosine_similarity": r"Cosine similarity of $x$ and $\hat{x}$",
    "l2_ratio": r"L2 ratio, $\Vert\hat{x}\Vert\,/\,\Vert x\Vert$",
    "shrinkage": r"Reconstruction bias $\gamma$",
    "alive_fraction": "Latents alive",
    "frequency_above_10pct": "Latents firing on > 10 % of tokens",
    "frequency_above_1pct": "Latents firing on > 1 % of tokens",
    "frequency_below_1e5": "Latents firing on < 0.001 % of tokens",
    "ce_sae": "Cross-entropy with SAE (nats per token)",
    "loss_recovered_zero": "Loss recovered, against zero ablation",
}
"""Where the metrics table's own label is too long for an axis, or needs mathematics."""
EDGE: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}


def new_axes(count: int = 1, *, figure: Figure | SubFigure | None = None, per_row: int = 3) -> np.ndarray:
    """Axes for `count` panels, in a new pyplot figure of the current style's width unless one is given.

    Returns
    -------
    ndarray of Axes, shape (count,)
    """
    columns = min(count, per_row)
    rows = math.ceil(count / columns)
    if figure is None:
        from matplotlib import pyplot as plt

        figure = plt.figure(figsize=_figure_size(rows, columns), layout="constrained")
    grid = np.asarray(figure.subplots(rows, columns, squeeze=False)).ravel()
    for spare in grid[count:]:
        spare.remove()
    for ax in grid[:count]:
        ax.spines[["top", "right"]].set_visible(False)
    return grid[:count]


def _figure_size(rows: int, columns: int) -> tuple[float, float]:
    width, height = mpl.rcParams["figure.figsize"]
    if rows == columns == 1:
        return width, height
    if mpl.rcParams["svg.hashsalt"] != SALT:  # not in the paper style: as wide as the panels need
        width = max(width, 3.4 * columns)
    return width, rows * (0.8 * width / columns) + 0.45


def panels_for(count: int, axes: Any, figure: Figure | SubFigure | None) -> tuple[np.ndarray, bool]:
    """Axes for `count` panels, and whether they were made here.

    Raises
    ------
    ValueError
        When `axes` holds another number of axes.
    """
    if axes is None:
        return new_axes(count, figure=figure), True
    given = np.ravel(np.asarray(axes, dtype=object))
    if len(given) != count:
        raise ValueError(f"{plural(count, 'panel')} to draw, found {len(given)} axes")
    return given, False


def panel_titles(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells each panel from the others: the values of the columns that vary.

    >>> panel_titles([{"model": "gemma", "site": "MLP"}, {"model": "gemma", "site": "Attn"}])
    ['MLP', 'Attn']
    """
    varying = [c for c in (cells[0] if cells else {}) if len({str(cell[c]) for cell in cells}) > 1]
    return [figure_text(", ".join(named_value(c, cell[c]) for c in varying)) for cell in cells]


def named_value(column: str, value: Any) -> str:
    """A value that says what it is: a bare number gets its column's name."""
    return f"{column.replace('_', ' ')} {value}" if isinstance(value, (bool, int, float)) else str(value)


def finish_axes(ax: Axes, x: str, y: str, log_x: bool, log_y: bool) -> None:
    """Scales and labels."""
    if log_x:
        log_axis(ax.xaxis)
    if log_y:
        log_axis(ax.yaxis)
    label_axes(ax, column_label(x), column_label(y))


def column_label(column: str) -> str:
    """A column's label on an axis."""
    return COLUMN_LABELS.get(column) or figure_text(axis_label(column), 80)


def label_axes(ax: Axes, x: str, y: str, *, narrow: bool = False) -> None:
    """Axis labels, in two lines where one is too long; `narrow` where every panel has its own y label."""
    ax.set_xlabel(_in_lines(x, _column_width(ax) - (_ems(3) if narrow else 0)))
    ax.set_ylabel(_in_lines(y, ax.get_window_extent().height / ax.figure.dpi))


def _column_width(ax: Axes) -> float:
    """Inches from one panel to the next; labels may use the gap between panels."""
    place = ax.get_subplotspec()
    box = ax.get_window_extent() if place is None else ax.figure.bbox
    return float(box.width) / ax.figure.dpi / (1 if place is None else place.get_gridspec().ncols)


def _ems(length: float) -> float:
    """Inches of `length` times the current type size; a letter takes about half of it."""
    return length * float(mpl.rcParams["font.size"]) / 72


def _in_lines(label: str, room: float) -> str:
    """A label in two lines where it is longer than `room` inches."""
    if _ems(0.5 * len(re.sub(r"\\[A-Za-z]+|[${},]", "", label))) < room:
        return label
    for sign in (", ", " ("):
        if sign in label:
            head, tail = label.split(sign, 1)
            return f"{head}{sign[0].rstrip()}\n{sign[1:].strip()}{tail}"
    return label


def share_labels(panels: np.ndarray) -> None:
    """Axis labels only where the grid of panels has its left and bottom edges."""
    places = [ax.get_subplotspec() for ax in panels]
    lowest: dict[int, int] = {}
    for p in places:
        if p is not None:
            lowest[p.colspan.start] = max(lowest.get(p.colspan.start, 0), p.rowspan.stop)
    for ax, p in zip(panels, places, strict=True):
        if p is not None and not p.is_first_col():
            ax.set_ylabel("")
        if p is not None and p.rowspan.stop < lowest[p.colspan.start]:
            ax.set_xlabel("")


def handle(style: Style, line: Any = "-") -> Line2D:
    """A legend entry."""
    return Line2D([], [], color=style.colour, marker=style.marker, linestyle=line, **EDGE)


def legend_order(names: Iterable[Any], styles: Mapping[Any, Style]) -> list[Any]:
    """Families in order of appearance, the reference first."""
    return sorted(dict.fromkeys(names), key=lambda name: styles[name].colour != REFERENCE_COLOUR)


def legend_above(panels: np.ndarray, names: Iterable[Any], styles: Mapping[Any, Style], owned: bool) -> None:
    """One legend for all panels: above them in a figure made here, else in the first panel."""
    handles = {figure_text(n, LETTERS): handle(styles[n]) for n in legend_order(names, styles)}
    if len(handles) < 2:
        return
    if not owned:
        quiet_legend(panels[0], handles)
        return
    _outside_legend(panels[0].figure, handles)


def figure_legend(ax: Axes, handles: Mapping[str, Any], owned: bool) -> None:
    """A legend above the axes where the figure was made for them, else beside them."""
    if owned:
        _outside_legend(ax.figure, handles)
    else:
        ax.legend(
            list(handles.values()), list(handles), frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0)
        )


def _outside_legend(figure: Figure | SubFigure, handles: Mapping[str, Any]) -> None:
    """One legend above all panels of a figure, which grows by the rows that it needs."""
    width = figure.bbox.width / figure.dpi
    columns = _legend_columns([_ems(5 + 0.5 * len(name)) for name in handles], width)
    if isinstance(figure, Figure):
        figure.set_figheight(figure.get_figheight() + _ems(1.5) * (math.ceil(len(handles) / columns) - 1))
    options: dict[str, Any] = {"loc": "outside upper center", "borderpad": 0.1, "borderaxespad": 0.2}
    figure.legend(list(handles.values()), list(handles), ncols=columns, frameon=False, **options)


def _legend_columns(widths: Sequence[float], room: float) -> int:
    """How many columns of a legend: all in one row where they fit, else rows of nearly equal length."""
    if sum(widths) <= room:
        return len(widths)
    most = max(1, min(len(widths), int(room / max(widths))))
    return math.ceil(len(widths) / math.ceil(len(widths) / most))


def quiet_legend(ax: Axes, handles: Mapping[str, Any], *, most: int = 5) -> None:
    """A legend without a frame where the data leave room, or beside the axes when it is long."""
    if len(handles) < 2:
        return
    place: dict[str, Any] = {"loc": "best"}
    if len(handles) > most:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    ax.legend(list(handles.values()), list(handles), frameon=False, borderaxespad=0.3, **place)


def head(ax: Axes, title: str, remark: str = "") -> None:
    """A title at the left and a few grey words at the right, on two lines where one is too short."""
    remark = figure_text(remark, 80)
    length = _ems(0.45 * len(title) + 0.31 * len(remark) + 1)
    crowded = title and remark and length > 0.82 * _column_width(ax)
    if title:
        ax.set_title(f"{title}\n" if crowded else title, loc="left")
    if remark:
        ax.set_title(remark, loc="right", fontsize="x-small", color=QUIET)
