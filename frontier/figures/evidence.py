"""Model evidence: which curve the points support, as one bar per group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from frontier.arguments import checked
from frontier.figures.lines import letters_across
from frontier.figures.panels import QUIET, figure_legend, name_rows, telling_parts
from frontier.figures.style import COLOURS, REFERENCE_COLOUR, row_texts
from frontier.selection.curve_selection import ALL_GROUPS, CurveSelection, CurveSelections, label

HATCHES = ("", "////", "....", "xxxx", "----", "++++")
"""Beside the colours, for readers who cannot tell them apart."""
LABEL_SHARE = 0.4
"""Of the figure's width, for the names of the bars."""
LEAST = 0.12
"""Smallest weight that is written into its part of the bar."""


@checked
def plot_evidence(selections: CurveSelection | CurveSelections, ax: Axes | None = None) -> Axes:
    """Each candidate's share of the evidence, one bar per group.

    At the right: how often the likeliest candidate is chosen in data simulated from it.

    Parameters
    ----------
    selections : CurveSelection or CurveSelections
        Of several groups, the last bar holds all of them together.
    ax : Axes, optional
        Default: the axes of a new pyplot figure, as high as its bars need.

    Raises
    ------
    ValueError
        When no group has weights.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> frontier.plot_evidence(frontier.select_curve(fits, replicates=0)).get_xlabel()
    'Share of the evidence (Akaike weight)'
    """
    rows = _rows(selections)
    names = _names([s for _, s in rows])
    if not names:
        raise ValueError("no group has evidence weights: the candidates cannot be compared")
    owned = ax is None
    ax = _axes(len(rows)) if ax is None else ax
    for row, (_, selection) in enumerate(rows):
        _draw_bar(ax, row, selection, names)
    ax.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
    name_rows(ax, row_texts([parts for parts, _ in rows], int(LABEL_SHARE * letters_across(ax))))
    ax.spines[["left", "top", "right"]].set_visible(False)
    ax.set_xlabel("Share of the evidence (Akaike weight)")
    if any(not math.isnan(s.probability_right) for _, s in rows):
        words: Any = {"transform": ax.transAxes, "fontsize": "x-small", "color": QUIET}
        ax.text(1.02, 1.0, "right if true", va="bottom", **words)
    figure_legend(ax, {name: _patch(names.index(name)) for name in names}, owned)
    return ax


def _rows(selections: CurveSelection | CurveSelections) -> list[tuple[list[str], CurveSelection]]:
    """Every bar's label in parts, and what it shows."""
    if isinstance(selections, CurveSelection):
        return [([selections.name], selections)]
    parts = telling_parts([s.group for s in selections])
    rows = [(own or [s.name], s) for own, s in zip(parts, selections, strict=True)]
    return [*rows, ([ALL_GROUPS], selections.pooled)] if len(rows) > 1 else rows


def _names(selections: Sequence[CurveSelection]) -> list[str]:
    """Candidates with a weight anywhere; simple curves first, whichever wins."""
    found = {label(c, s.candidates) for s in selections for c in s.candidates if not math.isnan(c.weight)}
    order = ("linear", "power", "hill")
    places = {n: next((i for i, o in enumerate(order) if n.startswith(o)), len(order)) for n in found}
    return sorted(found, key=lambda n: (places[n], n))


def _axes(rows: int) -> Axes:
    from matplotlib import pyplot as plt

    width = mpl.rcParams["figure.figsize"][0]
    line = 2.0 * float(mpl.rcParams["font.size"]) / 72
    return plt.figure(figsize=(width, line * (rows + 1) + 0.85), layout="constrained").subplots()


def _patch(place: int) -> Any:
    from matplotlib.patches import Patch

    return Patch(**_look(place))


def _look(place: int) -> dict[str, Any]:
    colours = (REFERENCE_COLOUR, *COLOURS)
    look = {"facecolor": colours[place % len(colours)], "hatch": HATCHES[place % len(HATCHES)]}
    return {**look, "edgecolor": "white", "linewidth": 0.5}


def _draw_bar(ax: Axes, row: int, selection: CurveSelection, names: list[str]) -> None:
    weights = {label(c, selection.candidates): c.weight for c in selection.candidates}
    left = 0.0
    for place, name in enumerate(names):
        weight = weights.get(name, math.nan)
        if math.isnan(weight):
            continue
        ax.barh(row, weight, 0.62, left=left, label=f"_{name}", **_look(place))
        if weight >= LEAST:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
            middle = left + weight / 2
            ax.text(middle, row, f"{weight:.2f}", ha="center", va="center", fontsize="x-small", bbox=box)
        left += weight
    beside: Any = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": "small"}
    if not left:
        ax.text(0.02, row, "no weights", color=QUIET, **beside)
    elif not math.isnan(selection.probability_right):
        ax.text(1.02, row, f"{100 * selection.probability_right:.0f} %", **beside)
