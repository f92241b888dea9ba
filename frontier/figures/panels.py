"""Panels of a figure: how many and how large, their titles, labels, legends and quiet remarks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, ScalarFormatter

from frontier.figures.lines import ems, fitted_title, in_lines, inches
from frontier.figures.style import REFERENCE_COLOUR, SALT, Style, distinct_texts, figure_text, log_axis
from frontier.metrics.names import axis_label
from frontier.wording import MISSING, nearest, plural

QUIET = "0.4"
LEAST_WIDTH, LEAST_HEIGHT = 1.5, 0.95
"""Inches of a panel: its share of the figure's width, and what its y axis keeps of the height."""
OWN_LABEL = 0.3
"""Inches that a panel needs more where each has its own y label."""
BESIDE, BELOW = 4.6, 6.0
"""Ems of a panel's share of the figure that tick labels and gaps take, across and upwards."""
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


def new_axes(
    count: int = 1,
    *,
    figure: Figure | SubFigure | None = None,
    per_row: int = 3,
    least: float = LEAST_WIDTH,
) -> np.ndarray:
    """Axes for `count` panels, in a new pyplot figure of the current style's width unless one is given.

    There are at most `per_row` beside each other, fewer where the figure has not `least` inches for each.

    Returns
    -------
    ndarray of Axes, shape (count,)
    """
    columns = min(count, per_row)
    width = _width(columns) if figure is None else float(figure.bbox.width) / figure.dpi
    columns = max(1, min(columns, int(width / least)))
    rows = math.ceil(count / columns)
    if figure is None:
        from matplotlib import pyplot as plt

        figure = plt.figure(figsize=(width, _height(rows, columns, width)), layout="constrained")
    grid = np.asarray(figure.subplots(rows, columns, squeeze=False)).ravel()
    for spare in grid[count:]:
        spare.remove()
    for ax in grid[:count]:
        ax.spines[["top", "right"]].set_visible(False)
        for spine in ax.spines.values():
            spine.set_in_layout(False)  # the axes and their tick labels reach farther
    return grid[:count]


def _width(columns: int) -> float:
    """Of a new figure; outside of the paper style as wide as its panels need."""
    width = float(mpl.rcParams["figure.figsize"][0])
    in_paper = mpl.rcParams["svg.hashsalt"] == SALT
    return width if columns == 1 or in_paper else max(width, 3.4 * columns)


def _height(rows: int, columns: int, width: float) -> float:
    if rows == columns == 1:
        return float(mpl.rcParams["figure.figsize"][1])
    return rows * max(min(0.8 * width / columns, 2.3 if rows == 1 else 1.7), 1.3) + 0.45


def give_height(panels: np.ndarray) -> None:
    """Make a figure so high that every panel keeps `LEAST_HEIGHT` beside titles, labels and the legend."""
    figure, place = panels[0].figure, panels[0].get_subplotspec()
    if not isinstance(figure, Figure) or place is None:
        return
    rows = place.get_gridspec().nrows
    if _height_left(figure, panels, rows) < LEAST_HEIGHT + ems(0.75):  # laying out takes as long as drawing
        lay_out(figure)
        least = min(ax.get_window_extent().height for ax in panels) / figure.dpi
        missing = rows * max(0.0, LEAST_HEIGHT - least)
        figure.set_figheight(figure.get_figheight() + missing)


def _height_left(figure: Figure, panels: np.ndarray, rows: int) -> float:
    """About how many inches the lowest panel keeps, from the lines of words above and below it."""
    legends = sum(legend.get_window_extent().height for legend in figure.legends) / figure.dpi
    words = [(ax.get_xlabel(), ax.get_title("left"), ax.get_title("right")) for ax in panels]
    counts = [[text.count("\n") + bool(text) for text in texts] for texts in words]
    lines = max(below + max(above) for below, *above in counts)
    return (figure.get_figheight() - legends) / rows - ems(1.3 * lines + 2.7)


def lay_out(figure: Figure) -> None:
    """Give every axes its place, which matplotlib does no earlier than it draws."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def panels_for(
    count: int, axes: Any, figure: Figure | SubFigure | None, *, least: float = LEAST_WIDTH
) -> tuple[np.ndarray, bool]:
    """Axes for `count` panels, and whether they were made here.

    Raises
    ------
    ValueError
        When `axes` holds another number of axes.
    """
    if axes is None:
        return new_axes(count, figure=figure, least=least), True
    given = np.ravel(np.asarray(axes, dtype=object))
    if len(given) != count:
        raise ValueError(f"{plural(count, 'panel')} to draw, found {len(given)} axes")
    return given, False


def panel_columns(columns: Sequence[str], named: str, wanted: Sequence[str] | str | None) -> list[str]:
    """The group columns that make panels: those that are wanted, by default all but the family's.

    Raises
    ------
    ValueError
        A column that makes no groups.
    """
    if wanted is None:
        return [c for c in columns if c != named]
    found = [wanted] if isinstance(wanted, str) else list(wanted)
    for column in found:
        if column not in columns:
            raise ValueError(f"no group column {column!r}{nearest(column, columns)}")
    return found


def panel_titles(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells each panel from the others: the values of the columns that vary.

    >>> panel_titles([{"model": "gemma", "site": "MLP"}, {"model": "gemma", "site": "Attn"}])
    ['MLP', 'Attn']
    """
    return distinct_texts([", ".join(parts) for parts in telling_parts(cells)], 60)


def telling_parts(cells: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The values of the columns that vary, without the dotted path that all values of a column share.

    >>> telling_parts([{"hook": "blocks.3.hook_mlp_out", "layer": 3}, {"hook": "blocks.3.ln1", "layer": 4}])
    [['hook_mlp_out', 'layer 3'], ['ln1', 'layer 4']]
    """
    varying = [c for c in (cells[0] if cells else {}) if len({str(cell[c]) for cell in cells}) > 1]
    columns = []
    for column in varying:
        found = [named_value(column, cell[column]) for cell in cells]
        shared = _shared_path(found)
        columns.append([value[shared:] for value in found])
    rows = zip(*columns, strict=True) if columns else [() for _ in cells]
    return [[part for part in row if part != MISSING] or list(row) for row in rows]


def _shared_path(names: Sequence[str]) -> int:
    """How many letters of a path such as `blocks.12.` all names begin with, a word following in each."""
    ends = [m.end() for m in re.finditer(r"[./]", names[0])]
    shared = [e for e in ends if len({name[:e] for name in names}) == 1]
    return max((e for e in shared if all(name[e : e + 1].isalpha() for name in names)), default=0)


def named_value(column: str, value: Any) -> str:
    """A value that says what it is: a bare number gets its column's name."""
    return f"{column.replace('_', ' ')} {value}" if isinstance(value, (bool, int, float)) else str(value)


def finish_axes(ax: Axes, x: str, y: str, log_x: bool, log_y: bool) -> None:
    """Scales, ticks that stand for themselves, and labels."""
    for axis, log in ((ax.xaxis, log_x), (ax.yaxis, log_y)):
        form = axis.get_major_formatter()
        if log:
            log_axis(axis)
        elif isinstance(form, ScalarFormatter):
            form.set_useOffset(False)
    label_axes(ax, column_label(x), column_label(y))


def column_label(column: str) -> str:
    """A column's label on an axis."""
    return COLUMN_LABELS.get(column) or figure_text(axis_label(column), 80)


def label_axes(ax: Axes, x: str, y: str, *, narrow: bool = False) -> None:
    """Axis labels, in several lines where one is too long; `narrow` where every panel has its own y label."""
    width, height = _panel_size(ax)
    ax.set_xlabel(in_lines(x, width - (ems(2.5) if narrow else 0), ax.xaxis.label))
    ax.set_ylabel(in_lines(y, height, ax.yaxis.label))


def _panel_size(ax: Axes) -> tuple[float, float]:
    """Inches that labels and titles may fill: the panel's share of the figure less tick labels and gaps."""
    place, dpi = ax.get_subplotspec(), ax.figure.dpi
    if place is None:
        box = ax.get_window_extent()
        return box.width / dpi, box.height / dpi
    grid, whole = place.get_gridspec(), ax.figure.bbox
    width, height = whole.width / dpi / grid.ncols, whole.height / dpi / grid.nrows
    return width - ems(BESIDE), max(height - ems(BELOW), LEAST_HEIGHT)


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


def handle(style: Style) -> Line2D:
    """A legend entry."""
    return Line2D([], [], color=style.colour, marker=style.marker, linestyle=style.line, **EDGE)


def family_handles(names: Iterable[Any], styles: Mapping[Any, Style]) -> dict[str, Line2D]:
    """Legend entries of families, the reference first."""
    order = legend_order(names, styles)
    return {t: handle(styles[n]) for t, n in zip(distinct_texts(order, LETTERS), order, strict=True)}


def sparse_marks(shown: np.ndarray, most: int = 5) -> list[int]:
    """Places of a few markers along a line that is shown at some of its points."""
    places = np.flatnonzero(shown)
    step = max(1, math.ceil(len(places) / most))
    return [int(i) for i in places[(len(places) - 1) % step // 2 :: step]]


def legend_order(names: Iterable[Any], styles: Mapping[Any, Style]) -> list[Any]:
    """Families in the order that every figure of them has: the reference first, then by name."""
    return sorted(dict.fromkeys(names), key=lambda n: (styles[n].colour != REFERENCE_COLOUR, str(n)))


def legend_above(panels: np.ndarray, names: Iterable[Any], styles: Mapping[Any, Style], owned: bool) -> None:
    """One legend for all panels: above them in a figure made here, else in the first panel."""
    handles = family_handles(names, styles)
    if len(handles) > 1 and owned:
        _outside_legend(panels[0].figure, handles)
    elif len(handles) > 1:
        quiet_legend(panels[0], handles)
    if owned and len(panels) > 1:
        give_height(panels)


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
    columns = _legend_columns([ems(5) + inches(name) for name in handles], width)
    if isinstance(figure, Figure):
        figure.set_figheight(figure.get_figheight() + ems(1.5) * (math.ceil(len(handles) / columns) - 1))
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


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Names at 0, 1, ... of the y axis, without ticks."""
    ax.yaxis.set_major_locator(FixedLocator(range(len(names))))
    ax.yaxis.set_major_formatter(FixedFormatter(names))
    ax.tick_params(axis="y", length=0)


def say_instead(ax: Axes, what: str, names: Sequence[str]) -> None:
    """Words in a panel that has nothing to draw, in place of its axes."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    words: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": "small", "color": QUIET}
    ax.text(0.5, 0.5, "\n".join([what, *names]), transform=ax.transAxes, **words)


def drawable(table: pd.DataFrame, x: np.ndarray, y: np.ndarray, log_x: bool, log_y: bool) -> np.ndarray:
    """Rows that can be drawn: not set aside, both values finite, and above 0 on a log axis."""
    shown = table["excluded_because"].isna().to_numpy() & np.isfinite(x) & np.isfinite(y)
    return shown & ((x > 0) | (not log_x)) & ((y > 0) | (not log_y))


def say_hidden(ax: Axes, title: str, shown: np.ndarray) -> None:
    """The title of a panel, and how many rows it leaves out."""
    hidden = int((~shown).sum())
    head(ax, title, f"{hidden} not shown" if hidden else "")


def head(ax: Axes, title: str, remark: str = "") -> None:
    """A title at the left and a few grey words at the right, in as many lines as they need."""
    room = _panel_size(ax)[0]
    quiet: dict[str, Any] = {"fontsize": "x-small", "color": QUIET}
    beside = ax.set_title(figure_text(remark, 80), loc="right", **quiet)
    beside.set_text(in_lines(beside.get_text(), room, beside))
    text, size = fitted_title(title, room, ax.title)
    crowded = title and remark and inches(text, ax.title) + inches(beside.get_text(), beside) > 0.9 * room
    below = "\n" * math.ceil(0.75 * len(beside.get_text().split("\n"))) if crowded else ""
    ax.set_title(text + below, loc="left", fontsize=size)
