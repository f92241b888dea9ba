"""Joint regions of two parameters: which pairs of k and n the data allow together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Polygon

from frontier.arguments import checked
from frontier.figures.fits import cells_of
from frontier.figures.panels import (
    EDGE,
    QUIET,
    head,
    label_axes,
    legend_above,
    new_axes,
    panels_for,
    say_instead,
    share_labels,
)
from frontier.figures.style import REFERENCE_COLOUR, Style, figure_text, log_axis, styles_for
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits
from frontier.fits.joint import joint_region

LABELS = {
    "k": "k (sparsity at half the top)",
    "n": "Hill coefficient n",
    "top": "Top",
    "slope": "Slope",
    "intercept": "Intercept",
    "scale": "Scale",
    "exponent": "Exponent",
}
LOG = ("k", "scale")
WIDEST = 100.0
"""Regions are followed up to this factor beyond the estimates; what lies farther is cut by the axes."""


@checked
def plot_regions(
    fits: FrontierFits | CurveFit,
    axes: Any = None,
    *,
    reference: Hashable | None = None,
    level: float | None = None,
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """Estimate and joint likelihood region of the two free parameters of one fit or of all.

    Families stand together in one panel per cell (site, layer, ...), under one legend. A region is open where
    the data set no end; fits without a region are named in their panel.

    Parameters
    ----------
    fits : FrontierFits or CurveFit
    axes : Axes or array of Axes, optional
        One per panel; default a new pyplot figure, or new axes in `figure`.
    reference, styles, figure : as in `plot_fits`
    level : float, optional
        Of the regions; default the fits'.

    Returns
    -------
    ndarray of Axes, shape (panels,)

    Raises
    ------
    ValueError
        When no fit has a region (see `joint_region`).

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> fits = frontier.fit(frontier.pareto_set(table[table["layer"] == 20]), "hill")
    >>> frontier.plot_regions(fits)[0].get_xlabel()
    'k (sparsity at half the top)'
    """
    cells = cells_of(fits)
    found = {id(f): _region(f, level) for _, members in cells for f, _ in members if isinstance(f, CurveFit)}
    if all(isinstance(r, str) for r in found.values()):
        raise ValueError(next(iter(found.values()), "there is no fit to draw"))
    looks = styles_for([name for _, members in cells for _, name in members], reference, styles)
    grid, owned = panels_for(len(cells), axes, figure)
    for ax, (title, members) in zip(grid, cells, strict=True):
        drawn, missing = [], []
        for f, name in members:
            region = found.get(id(f), "")
            if isinstance(f, CurveFit) and isinstance(region, pd.DataFrame):
                _draw_region(ax, f, region, looks[name], figure_text(name))
                drawn.append((f, region))
            else:
                missing.append(figure_text(name))
        remarks = [f"no region: {', '.join(missing)}"] if missing and drawn else []
        if drawn:
            remarks.append(_finish(ax, list(drawn[0][1].columns[:2]), drawn))
        else:
            say_instead(ax, "no region:", missing)
        head(ax, title, "; ".join(r for r in remarks if r))
    share_labels(grid)
    legend_above(grid, [n for _, members in cells for _, n in members], looks, owned)
    return grid


def draw_region(
    fit: CurveFit,
    ax: Axes | None = None,
    *,
    level: float | None = None,
    colour: str = REFERENCE_COLOUR,
    marker: str = "o",
    line: Any = "-",
    label: str | None = None,
) -> Axes:
    """One fit of `plot_regions`.

    Parameters
    ----------
    fit : CurveFit
    ax : Axes, optional
        Default: the axes of a new pyplot figure.
    level : float, optional
        Of the region; default the fit's.
    label : str, optional
        Name in a legend; default the group.

    Raises
    ------
    ValueError
        When the fit has no such region (see `joint_region`).
    """
    region = joint_region(fit, level=level)
    ax = new_axes()[0] if ax is None else ax
    look = Style(colour, marker, line)
    _draw_region(ax, fit, region, look, figure_text(fit.name if label is None else label))
    head(ax, "", _finish(ax, list(region.columns[:2]), [(fit, region)]))
    return ax


def _region(fit: CurveFit, level: float | None) -> pd.DataFrame | str:
    """The region, or why there is none."""
    try:
        return joint_region(fit, level=level)
    except ValueError as error:
        return str(error)


def _draw_region(ax: Axes, fit: CurveFit, region: pd.DataFrame, look: Style, label: str) -> None:
    colour, marker, line = look
    one, two = region.columns[:2]
    edge = region[[one, two]].to_numpy()
    ax.add_artist(
        Polygon(edge, facecolor=colour, alpha=0.16, linewidth=0, label=f"_region {label}", zorder=1)
    )
    closed = np.where(region["open"].to_numpy()[:, None], np.nan, edge)
    ax.plot(*np.vstack([closed, closed[:1]]).T, color=colour, linestyle=line, label="_edge", zorder=2)
    style: dict[str, Any] = {"marker": marker, "color": colour, "linestyle": "none", "zorder": 3, **EDGE}
    ax.plot([fit.values[one]], [fit.values[two]], label=label, **style)


def _finish(ax: Axes, names: list[str], drawn: list[tuple[CurveFit, pd.DataFrame]]) -> str:
    """Scales, limits, labels; the end of the data as a dotted line where it is near, and a word on it."""
    one, two = names
    for name, axis, limits in ((one, ax.xaxis, ax.set_xlim), (two, ax.yaxis, ax.set_ylim)):
        log = name in LOG and all((r[name] > 0).all() for _, r in drawn)
        low, high = _limits([f.values[name] for f, _ in drawn], [r for _, r in drawn], name, log)
        if log:
            log_axis(axis)
        limits(low, high)
    last = max(float(f.x.max()) for f, _ in drawn)
    label_axes(ax, LABELS.get(one, one), LABELS.get(two, two))
    if one != "k" or not ax.get_xlim()[0] < last < ax.get_xlim()[1]:
        return ""
    ax.axvline(last, color=QUIET, linewidth=0.7, linestyle=":", zorder=1, label="_last")
    return "dotted: end of the data"


def _limits(estimates: list[float], regions: list[pd.DataFrame], name: str, log: bool) -> tuple[float, float]:
    """The closed parts of the regions and all estimates, with a margin."""
    closed = np.concatenate([r.loc[~r["open"], name].to_numpy() for r in regions])
    if log:
        near = (closed > min(estimates) / WIDEST) & (closed < max(estimates) * WIDEST)
        inside = np.log(np.r_[estimates, closed[near]])
    else:
        inside = np.r_[estimates, closed[np.isfinite(closed)]]
    margin = 0.07 * float(np.ptp(inside)) or 0.1
    low, high = float(inside.min()) - margin, float(inside.max()) + margin
    return (float(np.exp(low)), float(np.exp(high))) if log else (low, high)
