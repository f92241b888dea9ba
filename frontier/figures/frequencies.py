"""How often latents fire: density histograms from firing counts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from frontier.arguments import checked
from frontier.figures.panels import EDGE, QUIET, figure_legend, label_axes, new_axes
from frontier.figures.style import Style, distinct_texts, log_axis, styles_for
from frontier.metrics.frequencies import PER_DECADE, frequency_bins, latents_by_frequency
from frontier.wording import number

LANDMARKS = {1e-5: "0.001 %", 0.01: "1 %", 0.1: "10 %"}
"""Firing frequencies that the literature counts latents below or above."""
LINES: tuple[Any, ...] = ("-", "--", "-.", ":")


@checked
def plot_frequencies(
    counts: Mapping[Any, ArrayLike],
    tokens: int,
    ax: Axes | None = None,
    *,
    per_decade: int = PER_DECADE,
    reference: Hashable | None = None,
    styles: Mapping[Any, Style] | None = None,
    legend: bool = True,
) -> Axes:
    """Share of latents by firing frequency, one line per SAE; those that never fired in the legend.

    A point is a bin of the histogram, at its middle.

    Parameters
    ----------
    counts : dict of name to array, shape (latents,)
        On how many tokens each latent fired.
    tokens : int
        How many tokens were counted.
    ax : Axes, optional
        Default: the axes of a new pyplot figure.
    per_decade : int
        Bins per factor of ten.
    reference : name, optional
        Drawn in grey (see `family_styles`).
    styles : dict of name to Style, optional

    Raises
    ------
    ValueError
        Without an SAE, with no tokens, or with counts above the number of tokens.

    Examples
    --------
    >>> import frontier
    >>> counts = {"relu": [0, 3, 40, 900], "topk": [2, 5, 80, 300]}
    >>> frontier.plot_frequencies(counts, tokens=10_000).get_xlabel()
    'Firing frequency (share of tokens)'
    """
    found = {name: np.asarray(c, dtype=float).ravel() for name, c in counts.items()}
    _check(found, tokens)
    looks = styles_for(found, reference, styles)
    owned = ax is None
    ax = new_axes()[0] if ax is None else ax
    edges = frequency_bins(tokens, per_decade)
    log_axis(ax.xaxis)
    handles = _draw(ax, found, tokens, per_decade, looks)
    for frequency in LANDMARKS:
        if edges[0] < 0.999 * frequency:
            ax.axvline(frequency, color=QUIET, linewidth=0.6, linestyle=":", zorder=1, label="_landmark")
    ax.set_xlim(edges[0], 1)
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.10g} %"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    label_axes(ax, "Firing frequency (share of tokens)", f"Latents, per 1/{per_decade} decade")
    if legend and len(handles) > 1:
        figure_legend(ax, handles, owned)
    return ax


def _draw(
    ax: Axes, counts: Mapping[Any, np.ndarray], tokens: int, per_decade: int, looks: Mapping[Any, Style]
) -> dict[str, Line2D]:
    """One histogram per SAE, each latent weighing one over all of them; the entries of the legend."""
    import seaborn as sns

    edges = frequency_bins(tokens, per_decade)
    labels = _labels(counts)
    shares = {
        labels[name]: latents_by_frequency(fired, tokens, per_decade) / len(fired)
        for name, fired in counts.items()
    }
    middles = np.sqrt(edges[1:] * edges[:-1])
    frame = pd.DataFrame({"frequency": middles, **shares})
    colours = {label: looks[name].colour for name, label in labels.items()}
    sns.histplot(
        frame.melt("frequency", var_name="name", value_name="share"), x="frequency", weights="share",
        hue="name", palette=colours, bins=list(np.log10(edges)), element="poly", fill=False,
        linewidth=float(mpl.rcParams["lines.linewidth"]), legend=False, ax=ax,
    )  # fmt: skip
    handles = {}
    for place, (name, drawn) in enumerate(zip(counts, reversed(ax.lines), strict=True)):
        handles[labels[name]] = drawn
        drawn.set_xdata(middles)  # seaborn's are those of a linear axis
        drawn.set(label=labels[name], linestyle=LINES[place % len(LINES)], marker=looks[name].marker, **EDGE)
    return handles


def _check(counts: Mapping[Any, np.ndarray], tokens: int) -> None:
    if not counts:
        raise ValueError("there is no SAE to draw the firing frequencies of")
    if tokens < 1:
        raise ValueError(f"tokens must be at least 1, found {tokens}")
    for name, fired in counts.items():
        if not len(fired) or fired.min() < 0 or fired.max() > tokens:
            raise ValueError(f"{name}: counts must lie between 0 and the {tokens} tokens, one per latent")


def _labels(counts: Mapping[Any, np.ndarray]) -> dict[Any, str]:
    """Every SAE's name, all different, and which share of its latents never fired."""
    dead = {name: number(100 * float((fired == 0).mean()), 2) for name, fired in counts.items()}
    texts = dict(zip(counts, distinct_texts(counts), strict=True))
    return {n: f"{text}: {dead[n]} % dead" if dead[n] != "0" else text for n, text in texts.items()}
