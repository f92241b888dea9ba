"""The forest plot of ratios: one row per comparison, its interval on a log axis, and a line at 1."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from frontier.arguments import checked
from frontier.figures.lines import in_lines, letters_across
from frontier.figures.panels import QUIET, name_rows, telling_parts
from frontier.figures.style import Style, figure_text, log_axis, row_texts, styles_for
from frontier.tables import RATIO_COLUMNS, equal_height, ratio_frame
from frontier.wording import interval_cell, listed, nearest, number

LABEL_SHARE, AXIS_SHARE = 0.4, 0.68
"""Of the figure's width, for the names of the rows and for the words under the axis."""
WIDEST = 30.0
"""Limits further than this factor beyond all estimates are drawn as arrows, like infinite ones."""
SMALL = 0.55
"""Of the usual size: a marker. The ends of its interval are taller, so that a narrow one is seen."""
HOLLOW: dict[str, Any] = {"markerfacecolor": "white"}
AXIS = {
    "relative_potency": "L0 of {reference} / L0 of {family} at equal {height}",
    "hit_ratio": "{Height} of {family} / {reference} at equal L0",
}


def axis_words(quantity: str, family: str, reference: str, height: str) -> str:
    """What a ratio divides by what; `height` is the y axis in words."""
    pattern = AXIS.get(quantity, "{quantity} of {family} / {quantity} of {reference}")
    return pattern.format(
        quantity=quantity.replace("_", " "), family=family, reference=reference, height=height,
        Height=height[0].upper() + height[1:],
    )  # fmt: skip


@checked
def plot_ratios(
    ratios: Any,
    ax: Axes | None = None,
    *,
    quantity: str | None = None,
    reference: Hashable | None = None,
    styles: Mapping[Any, Style] | None = None,
) -> Axes:
    """Ratios with their intervals on a log axis, one row per comparison, numbers at the right.

    A limit that is infinite (or 0), or too far away to draw, ends in an arrow. A hollow marker has doubts,
    which the table of the ratios prints.

    Parameters
    ----------
    ratios : a ratio table, or its frame
        Columns `family`, `reference`, `quantity`, `ratio`, `ratio_low`, `ratio_high`; others name the rows.
    ax : Axes, optional
        Default: the axes of a new pyplot figure, as high as its rows need.
    quantity : str, optional
        Which ratio; default relative_potency where there is one, else the first.
    reference : family, optional
        Drawn in grey (see `family_styles`).
    styles : dict of family to Style, optional
        To keep a family's look over several figures.

    Raises
    ------
    ValueError
        When there is nothing of this quantity to draw.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> frontier.plot_ratios(frontier.ratio_table(fits)).get_xscale()
    'log'
    """
    frame = ratio_frame(ratios)
    quantity = _quantity(frame, quantity)
    frame = frame[frame["quantity"] == quantity].reset_index(drop=True)
    looks = styles_for([*frame["reference"], *frame["family"]], reference, styles)
    ax = _axes(len(frame)) if ax is None else ax
    low, high = _window(frame)
    ax.axvline(1, color=QUIET, linewidth=0.7, zorder=1, label="_one")
    for row, record in enumerate(frame.to_dict("records")):
        _draw_row(ax, row, record, looks[record["family"]], (low, high))
    ax.set_xlim(low, high)
    ax.set_ylim(len(frame) - 0.4, -0.6)
    log_axis(ax.xaxis)
    name_rows(ax, row_texts(_row_parts(frame), int(LABEL_SHARE * letters_across(ax))))
    ax.spines["left"].set_visible(False)
    words = _axis_text(frame, quantity)
    room = AXIS_SHARE * float(ax.figure.bbox.width) / ax.figure.dpi
    ax.set_xlabel("\n".join(in_lines(part, room, ax.xaxis.label) for part in words))
    return ax


def _quantity(frame: pd.DataFrame, wanted: str | None) -> str:
    if len(frame) and "quantity" not in frame:
        found = listed(list(map(str, frame.columns)), 12)
        raise ValueError(f"ratios have a column quantity, as those of frontier.ratio_table; found {found}")
    held = list(dict.fromkeys(frame["quantity"].astype(str))) if len(frame) else []
    if not held:
        raise ValueError("there is no ratio to draw: the table is empty")
    if wanted is None:
        return "relative_potency" if "relative_potency" in held else held[0]
    if wanted not in held:
        raise ValueError(f"there is no ratio of {wanted!r}{nearest(wanted, held)}")
    return wanted


def _axes(rows: int) -> Axes:
    from matplotlib import pyplot as plt

    width = mpl.rcParams["figure.figsize"][0]
    line = 2.0 * float(mpl.rcParams["font.size"]) / 72
    ax = plt.figure(figsize=(width, line * (rows + 1) + 0.75), layout="constrained").subplots()
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _window(frame: pd.DataFrame) -> tuple[float, float]:
    """Limits of the axis: 1, all estimates, and the interval limits that are not far beyond them."""
    ratios = frame["ratio"].to_numpy(dtype=float)
    ratios = np.r_[1.0, ratios[np.isfinite(ratios) & (ratios > 0)]]
    ends = frame[["ratio_low", "ratio_high"]].to_numpy(dtype=float).ravel()
    near = (ends >= ratios.min() / WIDEST) & (ends <= ratios.max() * WIDEST)
    inside = np.log(np.r_[ratios, ends[near]])
    margin = 0.06 * np.ptp(inside) + 0.1
    return float(np.exp(inside.min() - margin)), float(np.exp(inside.max() + margin))


def _draw_row(
    ax: Axes, row: int, record: dict[Hashable, Any], style: Style, window: tuple[float, float]
) -> None:
    ratio, low, high = (float(record[c]) for c in ("ratio", "ratio_low", "ratio_high"))
    colour, marker = style.colour, style.marker
    known = math.isfinite(ratio) and ratio > 0
    if known:
        ends = [ratio if math.isnan(v) else min(max(v, window[0]), window[1]) for v in (low, high)]
        ax.plot(ends, [row, row], color=colour, label="_interval", zorder=2, solid_capstyle="butt")
        shown = [v for v, end in zip((low, high), ends, strict=True) if v == end]
        width, size = float(mpl.rcParams["lines.linewidth"]), float(mpl.rcParams["lines.markersize"])
        line: dict[str, Any] = {"color": colour, "linestyle": "none"}
        ticks: dict[str, Any] = {"marker": "|", "markersize": 1.2 * size, "markeredgewidth": 0.6 * width}
        ax.plot(shown, [row] * len(shown), label="_ends", zorder=4, **line, **ticks)
        face = (HOLLOW if _is_doubted(record) else {}) | {"markeredgewidth": 0.5 * width}
        face |= {"marker": marker, "markersize": SMALL * size}
        ax.plot([ratio], [row], label=figure_text(record["family"]), zorder=3, **line, **face)
        for beyond, end, arrow in ((low < window[0], window[0], "<"), (high > window[1], window[1], ">")):
            if beyond:
                ax.plot([end], [row], marker=arrow, color=colour, clip_on=False, label="_arrow")
    words = interval_cell(ratio, low, high).replace("inf", "∞") if known else "no ratio"
    ax.text(1.04, row, words, transform=ax.get_yaxis_transform(), va="center", ha="left", fontsize="small")


def _is_doubted(record: Mapping[Hashable, Any]) -> bool:
    doubts = record.get("doubts", "")
    return bool(doubts) and not pd.isna(doubts)


def _row_parts(frame: pd.DataFrame) -> list[list[str]]:
    """What tells the rows apart: group columns that vary, then family and reference where they do."""
    groups = [c for c in frame.columns if c not in RATIO_COLUMNS]
    records: list[Any] = frame.to_dict("records")
    for record in records:
        record["reference"] = f"against {record['reference']}"
    parts = telling_parts([{c: r[c] for c in (*groups, "family", "reference")} for r in records])
    parts = [own or [str(r["family"])] for own, r in zip(parts, records, strict=True)]
    if "at" in frame and len({tuple(own) for own in parts}) < len(parts):
        return [[*own, f"at {number(float(v))}"] for own, v in zip(parts, frame["at"], strict=True)]
    return parts


def _axis_text(frame: pd.DataFrame, quantity: str) -> list[str]:
    sides = {}
    for side in ("family", "reference"):
        names = frame[side].astype(str).unique()
        sides[side] = figure_text(names[0]) if len(names) == 1 else f"the {side}"
    text = axis_words(quantity, sides["family"], sides["reference"], equal_height(frame))
    better = set(frame["better_when"].dropna().astype(str)) - {""} if "better_when" in frame else set()
    words = [f"{better.pop()}: {sides['family']} is better"] if len(better) == 1 else []
    words += ["hollow: with doubts"] if any(map(_is_doubted, frame.to_dict("records"))) else []
    return [text, f"({'; '.join(words)})"] if words else [text]
