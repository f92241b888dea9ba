"""Fits as figures: points, curve and band, families together in one panel per cell."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Polygon

from frontier.arguments import checked
from frontier.curves import CURVES
from frontier.figures.families import family_column
from frontier.figures.panels import (
    EDGE,
    finish_axes,
    head,
    legend_above,
    new_axes,
    panel_columns,
    panel_titles,
    panels_for,
    say_instead,
    share_labels,
)
from frontier.figures.style import REFERENCE_COLOUR, Style, figure_text, styles_for
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits, GroupFailure
from frontier.renamed import parameters
from frontier.wording import plural

REACH, LOG_REACH, FARTHEST = 1.25, 1.5, 3.0
"""Curves are drawn beyond the data of their panel by these factors, on linear and on log axes, but never
farther than by the last one beyond their own data."""
BEYOND: dict[str, Any] = {"linestyle": (0, (3, 2)), "alpha": 0.55, "label": "_beyond", "zorder": 2}
Member = tuple[CurveFit | GroupFailure, Any]
"""A fit, or a group without one, and the name of its series."""


@parameters(log="log_axes")
@checked
def plot_fits(
    fits: FrontierFits | CurveFit,
    axes: Any = None,
    *,
    reference: Hashable | None = None,
    log_axes: bool = False,
    band: bool = True,
    panels: Sequence[str] | str | None = None,
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """Points, curve and band of one fit or of all, in one panel per cell (site, layer, ...).

    Beyond its data a curve is dashed and has no band. Groups without a fit are named in their panel.

    Parameters
    ----------
    fits : FrontierFits or CurveFit
    axes : Axes or array of Axes, optional
        One per panel; default a new pyplot figure, or new axes in `figure`.
    reference : family, optional
        Drawn in grey (see `family_styles`).
    log_axes : bool
        Both axes logarithmic.
    band : bool
        Pointwise, at the fit's level; the axes follow points and curve, not the band.
    panels : column names, optional
        Which group columns make panels; default all but the family. [] draws everything in one.
    styles : dict of family to Style, optional
        To keep a family's look over several figures.
    figure : Figure or SubFigure, optional

    Returns
    -------
    ndarray of Axes, shape (panels,)

    Raises
    ------
    ValueError
        No fit at all, a panel column that the fits do not have, or another number of axes than panels.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> fits = frontier.fit(frontier.pareto_set(table[table["layer"] == 20]), "hill")
    >>> len(frontier.plot_fits(fits, reference="baseline")), len(frontier.plot_fits(fits[0]))
    (3, 1)
    """
    cells = cells_of(fits, panels)
    everyone = [m for _, members in cells for m in members]
    looks = styles_for([name for _, name in everyone], reference, styles)
    grid, owned = panels_for(len(cells), axes, figure)
    for ax, (title, members) in zip(grid, cells, strict=True):
        head(ax, title, _draw_cell(ax, members, looks, log_axes, band))
    share_labels(grid)
    legend_above(grid, [name for f, name in everyone if isinstance(f, CurveFit)], looks, owned)
    return grid


def cells_of(
    fits: FrontierFits | CurveFit, panels: Sequence[str] | str | None = None
) -> list[tuple[str, list[Member]]]:
    """Every panel's title and members: fits and failures, each with the name of its series.

    Raises
    ------
    ValueError
        No fit at all, or a panel column that the fits do not have.
    """
    if isinstance(fits, CurveFit):
        named = family_column(list(fits.group), "family")
        return [("", [(fits, fits.group.get(named, fits.name))])]
    columns = panel_columns(fits.group_columns, fits.family_column, panels)
    members = _members(fits, columns)
    cells = list(dict.fromkeys(_cell(m, columns) for m in members))
    titles = panel_titles([dict(zip(columns, cell, strict=True)) for cell in cells])
    return [(t, [m for m in members if _cell(m, columns) == c]) for t, c in zip(titles, cells, strict=True)]


def draw_fit(
    fit: CurveFit,
    ax: Axes | None = None,
    *,
    band: bool = True,
    log: bool = False,
    reach: tuple[float, float] | None = None,
    colour: str = REFERENCE_COLOUR,
    marker: str = "o",
    line: Any = "-",
    label: str | None = None,
) -> Axes:
    """One fit in one panel: its points, curve and confidence band; beyond the data dashed, without the band.

    Parameters
    ----------
    fit : CurveFit
    ax : Axes, optional
        Default: the axes of a new pyplot figure.
    band : bool
        Pointwise, at the fit's level; the axes follow points and curve, not the band.
    log : bool
        Both axes logarithmic.
    reach : pair of float, optional
        Where the curve is to begin and end; default from 0 to 1.25 times the largest x, on log axes from the
        smallest x / 1.5 to the largest x times 1.5. It stops at three times the fit's largest x, and on log
        axes at a third of its smallest.
    line : kind of line
        Of the curve within the data.
    label : str, optional
        Name in a legend; default the group.
    """
    given, ax = ax, new_axes()[0] if ax is None else ax
    low, high = _reach([fit], log) if reach is None else reach
    name = figure_text(fit.name if label is None else label)
    shown = _shown(fit, log)
    points: dict[str, Any] = {"marker": marker, "color": colour, "zorder": 3, **EDGE}
    ax.plot(fit.x[shown], fit.y[shown], linestyle="none", label=name, **points)
    first, last = float(fit.x[shown].min(initial=high)), float(fit.x[shown].max(initial=low))
    low, high = _within(low, high, first, last, log)
    _draw_curve(ax, fit, (first, last), log, color=colour, linestyle=line, label="_curve", zorder=2)
    for ends in ((low, first), (last, high)):
        _draw_curve(ax, fit, ends, log, color=colour, **BEYOND)
    if band and first < last:
        _draw_band(ax, fit, _between(first, last, log), log, colour)
    finish_axes(ax, fit.x_name, fit.y_name, log, log)
    if given is None:
        head(ax, "", not_shown([fit], log))
    return ax


def not_shown(fits: Sequence[CurveFit], log: bool) -> str:
    """How many points log axes cannot show, in words."""
    hidden = sum(int((~_shown(f, log)).sum()) for f in fits)
    return f"{plural(hidden, 'point')} at or below 0 not shown" if hidden else ""


def _shown(fit: CurveFit, log: bool) -> np.ndarray:
    return (fit.x > 0) & (fit.y > 0) if log else np.full(len(fit.x), True)


def _members(fits: FrontierFits, columns: list[str]) -> list[Member]:
    """Fits and failures, with the names that tell the curves of one panel apart."""
    everyone: list[CurveFit | GroupFailure] = [*fits.fits, *fits.failures]
    if not everyone:
        raise ValueError("there is no fit to draw")
    rest = [c for c in fits.group_columns if c not in columns]
    varying = [c for c in rest if len({str(g.group.get(c)) for g in everyone}) > 1] or rest[:1]
    if len(varying) == 1:
        return [(g, g.group.get(varying[0])) for g in everyone]
    return [(g, ", ".join(str(g.group.get(c)) for c in varying)) for g in everyone]


def _cell(member: Member, columns: list[str]) -> tuple[Any, ...]:
    return tuple(member[0].group.get(c) for c in columns)


def _draw_cell(ax: Axes, members: list[Member], looks: Mapping[Any, Style], log: bool, band: bool) -> str:
    """Draw the fits of one panel and return what could not be fitted."""
    fitted = [(f, name) for f, name in members if isinstance(f, CurveFit)]
    reach = _reach([f for f, _ in fitted], log) if fitted else None
    for f, name in fitted:
        draw_fit(f, ax, band=band, log=log, reach=reach, **looks[name]._asdict(), label=str(name))
    missing = [figure_text(name) for f, name in members if not isinstance(f, CurveFit)]
    if not fitted:
        say_instead(ax, "not fitted:", missing)
        return ""
    remarks = [f"not fitted: {', '.join(missing)}" if missing else "", not_shown([f for f, _ in fitted], log)]
    return "; ".join(remark for remark in remarks if remark)


def _reach(fits: list[CurveFit], log: bool) -> tuple[float, float]:
    """Where curves begin and end, given all fits of a panel."""
    xs = np.concatenate([f.x[f.x > 0] if log else f.x for f in fits])
    low, high = (float(xs.min()), float(xs.max())) if xs.size else (1.0, 1.0)
    if log:
        return low / LOG_REACH, high * LOG_REACH
    if low <= 0 or low > 0.5 * high:
        margin = (REACH - 1) * (high - low)
        return low - margin, high + margin
    return (1e-6 * high if CURVES[fits[0].curve].log_x else 0.0), high * REACH


def _within(low: float, high: float, first: float, last: float, log: bool) -> tuple[float, float]:
    """The reach of one curve, cut where it is an absurd extrapolation of its own data."""
    return (max(low, first / FARTHEST) if log else low), (min(high, last * FARTHEST) if first > 0 else high)


def _between(low: float, high: float, log: bool) -> np.ndarray:
    return np.geomspace(low, high, 200) if log else np.linspace(low, high, 200)


def _draw_curve(ax: Axes, fit: CurveFit, ends: tuple[float, float], log: bool, **style: Any) -> None:
    if ends[0] >= ends[1]:
        return
    x = _between(*ends, log)
    y = fit.predict(x)
    ax.plot(x, np.where((y > 0) | (not log), y, np.nan), **style)


def _draw_band(ax: Axes, fit: CurveFit, x: np.ndarray, log: bool, colour: str) -> None:
    """A polygon that the axes' limits do not follow."""
    band = fit.band(x)
    floor = 1e-12 if log else -np.inf
    low, high = (np.maximum(band[c].to_numpy(), floor) for c in ("low", "high"))
    finite = np.isfinite(low) & np.isfinite(high)
    if finite.any():
        edge = np.r_[np.c_[x, low][finite], np.c_[x, high][finite][::-1]]
        ax.add_artist(Polygon(edge, facecolor=colour, alpha=0.16, linewidth=0, label="_band", zorder=1))
