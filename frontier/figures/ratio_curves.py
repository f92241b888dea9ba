"""One ratio at every level: relative potency by hit, hit ratio by L0, with bands and ranges."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from frontier.arguments import checked
from frontier.figures.panels import (
    EDGE,
    QUIET,
    head,
    label_axes,
    legend_above,
    panel_titles,
    panels_for,
    share_labels,
    sparse_marks,
)
from frontier.figures.style import Style, figure_text, log_axis, styles_for
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits
from frontier.ratios.bands import hit_ratio_curve, relative_potency_curve
from frontier.ratios.pairs import family_names, pairs_with, reference_family, shared_group

Pair = tuple[CurveFit, CurveFit]
BARS = " (bars: data range)"
STRIP, PITCH = 0.35, 1.15
"""Room of the bars under a panel: at most this share of its height, and of each bar in sizes of a marker."""
WIDEST = 3.0
"""The axis follows the band up to this factor beyond the curves."""


@checked
def plot_potencies(
    fits: FrontierFits | CurveFit,
    axes: Any = None,
    *,
    reference: Hashable | CurveFit | None = None,
    level: float | None = None,
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """L0(reference) / L0(family) at every hit, with its pointwise band, one panel per cell.

    A curve is solid where both families have data and dashed, without a band, where one is extrapolated;
    bars in a strip under the panel show which hits each family covers.

    Parameters
    ----------
    fits : FrontierFits, or one CurveFit with the CurveFit of its reference
    axes : Axes or array of Axes, optional
        One per panel; default a new pyplot figure, or new axes in `figure`.
    reference : family or CurveFit, optional
        Default: the family called relu, standard, vanilla or baseline.
    level : float, optional
        Of the bands; default the fits'.
    styles, figure : as in `plot_fits`

    Returns
    -------
    ndarray of Axes, shape (panels,)

    Raises
    ------
    ValueError
        When the reference is not clear, or no family can be compared with it.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> fits = frontier.fit(frontier.pareto_set(table[table["layer"] == 20]), "hill")
    >>> frontier.plot_potencies(fits)[0].get_ylabel()
    'L0 of baseline / L0 of gated'
    """
    return _plot(_potency, fits, axes, reference, level, styles, figure)


@checked
def plot_hit_ratios(
    fits: FrontierFits | CurveFit,
    axes: Any = None,
    *,
    reference: Hashable | CurveFit | None = None,
    level: float | None = None,
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """hit(family) / hit(reference) at every L0, with its pointwise band, one panel per cell.

    Parameters
    ----------
    fits, axes, reference, level, styles, figure : as in `plot_potencies`

    Returns
    -------
    ndarray of Axes, shape (panels,)

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> fits = frontier.fit(frontier.pareto_set(table[table["layer"] == 20]), "hill")
    >>> ax, = frontier.plot_hit_ratios(fits["MLP", "gated"], reference=fits["MLP", "baseline"])
    >>> ax.get_xlabel()
    'L0 (bars: data range)'
    """
    return _plot(_hit_ratio, fits, axes, reference, level, styles, figure)


def draw_potency(
    fit: CurveFit,
    reference: CurveFit,
    ax: Axes | None = None,
    *,
    level: float | None = None,
    styles: Mapping[Any, Style] | None = None,
) -> Axes:
    """One pair of `plot_potencies`."""
    return _plot(_potency, fit, ax, reference, level, styles, None)[0]


def draw_hit_ratio(
    fit: CurveFit,
    reference: CurveFit,
    ax: Axes | None = None,
    *,
    level: float | None = None,
    styles: Mapping[Any, Style] | None = None,
) -> Axes:
    """One pair of `plot_hit_ratios`."""
    return _plot(_hit_ratio, fit, ax, reference, level, styles, None)[0]


def _potency(fit: CurveFit, reference: CurveFit, level: float | None) -> tuple[pd.DataFrame, list[str]]:
    names = [figure_text(n, 24) for n in family_names(fit, reference)]
    ratio = f"L0 of {names[1]} / L0 of {names[0]}"
    return relative_potency_curve(fit, reference, level=level), [_words(fit.y_name) + BARS, ratio]


def _hit_ratio(fit: CurveFit, reference: CurveFit, level: float | None) -> tuple[pd.DataFrame, list[str]]:
    names = [figure_text(n, 24) for n in family_names(fit, reference)]
    x = "L0" if fit.x_name in ("sparsity", "l0") else _words(fit.x_name)
    return hit_ratio_curve(fit, reference, level=level), [
        x + BARS,
        f"{_words(fit.y_name)}: {names[0]} / {names[1]}",
    ]


Curve = Callable[[CurveFit, CurveFit, "float | None"], "tuple[pd.DataFrame, list[str]]"]


def _words(column: str) -> str:
    return figure_text(column.replace("_", " ").capitalize(), 40)


def _plot(
    curve: Curve,
    fits: FrontierFits | CurveFit,
    axes: Any,
    reference: Hashable | CurveFit | None,
    level: float | None,
    styles: Mapping[Any, Style] | None,
    figure: Figure | SubFigure | None,
) -> np.ndarray:
    base, cells = _cells(fits, reference)
    families = dict.fromkeys(family_names(*pair)[0] for _, pairs in cells for pair in pairs)
    looks = styles_for([base, *families], base, styles)
    grid, owned = panels_for(len(cells), axes, figure)
    strip = 0.0
    for ax, (title, members) in zip(grid, cells, strict=True):
        drawn = [(family_names(*pair)[0], *curve(*pair, level)) for pair in members]
        frames = {name: frame for name, frame, _ in drawn}
        _draw(ax, frames, looks)
        strip = max(strip, _draw_ranges(ax, frames, base, looks))
        x, y = drawn[0][2]
        label_axes(ax, x, y.replace(figure_text(drawn[0][0], 24), "family") if len(families) > 1 else y)
        head(ax, title)
    share_labels(grid)
    legend_above(grid, looks, looks, owned)
    _make_room(grid, strip, owned)
    return grid


def _cells(
    fits: FrontierFits | CurveFit, reference: Hashable | CurveFit | None
) -> tuple[Any, list[tuple[str, list[Pair]]]]:
    """The reference family, and every panel's title and pairs."""
    if isinstance(fits, CurveFit):
        if not isinstance(reference, CurveFit):
            raise ValueError(
                f"one fit is compared with one fit: reference must be a CurveFit, found {reference!r}"
            )
        return family_names(fits, reference)[1], [("", [(fits, reference)])]
    base = reference_family([f.group.get(fits.family_column) for f in fits], reference)
    pairs, notes = pairs_with(fits, base)
    if not pairs:
        raise ValueError(f"no family to compare with {base}: {'; '.join(notes) or 'it is the only one'}")
    cells: dict[tuple[Any, ...], list[Pair]] = {}
    for pair in pairs:
        cells.setdefault(tuple(shared_group(*pair).items()), []).append(pair)
    titles = panel_titles([dict(cell) for cell in cells])
    return base, list(zip(titles, cells.values(), strict=True))


def _draw(ax: Axes, frames: Mapping[Any, pd.DataFrame], looks: Mapping[Any, Style]) -> None:
    """Curves with bands, and a line at 1."""
    ax.axhline(1, color=QUIET, linewidth=0.7, zorder=1, label="_one")
    for name, frame in frames.items():
        _draw_curve(ax, frame, figure_text(name), looks[name])
    ax.set_ylim(*_window(list(frames.values())))
    log_axis(ax.xaxis)
    log_axis(ax.yaxis)


def _draw_ranges(
    ax: Axes, frames: Mapping[Any, pd.DataFrame], reference: Any, looks: Mapping[Any, Style]
) -> float:
    """The bars of the ranges, between the curves' axes and the x axis; the inches that they take."""
    bars = [(reference, next(iter(frames.values())), "in_reference")]
    bars += [(name, frame, "in_family") for name, frame in frames.items()]
    size, width = float(mpl.rcParams["lines.markersize"]), float(mpl.rcParams["lines.linewidth"])
    height = 72 * float(ax.get_window_extent().height) / ax.figure.dpi
    pitch = min(PITCH * size, STRIP * height / len(bars))
    ends: dict[str, Any] = {"linewidth": min(2.2 * width, 0.6 * pitch), "markersize": min(size, 0.9 * pitch)}
    ends |= {"solid_capstyle": "butt", "zorder": 2, **EDGE}
    for place, (name, frame, inside) in enumerate(bars):
        at = frame["at"][frame[inside]]
        if len(at):
            down = ScaledTranslation(0, -(place + 1) * pitch / 72, ax.figure.dpi_scale_trans)
            where = blended_transform_factory(ax.transData, ax.transAxes + down)
            look: dict[str, Any] = {"color": looks[name].colour, "marker": looks[name].marker}
            look["transform"] = where
            (bar,) = ax.plot(
                [at.min(), at.max()], [0, 0], label=f"_range {figure_text(name)}", **look, **ends
            )
            bar.set_clip_path(Rectangle((0, -9), 1, 9, transform=ax.transAxes))
    ax.spines["bottom"].set_position(("outward", (len(bars) + 1) * pitch))
    return (len(bars) + 1) * pitch / 72


def _make_room(panels: np.ndarray, strip: float, owned: bool) -> None:
    """Inches under every panel: of a taller figure, or of given axes themselves that nothing lays out."""
    figure, place = panels[0].figure, panels[0].get_subplotspec()
    if owned and isinstance(figure, Figure) and place is not None:
        figure.set_figheight(figure.get_figheight() + place.get_gridspec().nrows * strip)
    elif not owned and figure.get_layout_engine() is None:
        for ax in panels:
            box, share = ax.get_position(), strip * figure.dpi / figure.bbox.height
            ax.set_position((box.x0, box.y0 + share, box.width, box.height - share))
            ax.set_in_layout(True)  # which giving a place takes away


def _draw_curve(ax: Axes, frame: pd.DataFrame, name: str, look: Style) -> None:
    """Solid with a band where both have data, dashed beyond; a few markers as in the legend."""
    colour = look.colour
    at, ratio = frame["at"].to_numpy(), frame["ratio"].to_numpy()
    both = (frame["in_family"] & frame["in_reference"]).to_numpy()
    marks: dict[str, Any] = {"color": colour, "marker": look.marker, **EDGE}
    solid = np.where(both, ratio, np.nan)
    places = sparse_marks(np.isfinite(solid))
    ax.plot(at, solid, linestyle=look.line, markevery=places, label=name, zorder=3, **marks)
    beyond = np.where(both & np.roll(both, 1) & np.roll(both, -1), np.nan, ratio)
    places = [] if places else sparse_marks(np.isfinite(beyond))
    style: dict[str, Any] = {"linestyle": (0, (3, 2)), "alpha": 0.55, "label": "_beyond", "zorder": 2}
    ax.plot(at, beyond, markevery=places, **marks, **style)
    rows = frame[both & np.isfinite(frame["ratio_low"]) & np.isfinite(frame["ratio_high"])]
    if len(rows):
        edge = np.r_[rows[["at", "ratio_low"]].to_numpy(), rows[["at", "ratio_high"]].to_numpy()[::-1]]
        patch = Polygon(edge, facecolor=colour, alpha=0.16, linewidth=0, label=f"_band {name}", zorder=1)
        ax.add_artist(patch)


def _window(frames: list[pd.DataFrame]) -> tuple[float, float]:
    """The y axis: 1, the curves, and their bands where both families have data and they are not too wide."""
    whole = pd.concat(frames)
    both = whole[whole["in_family"] & whole["in_reference"]]
    curves = whole["ratio"].to_numpy() if both.empty else both["ratio"].to_numpy()
    curves = np.r_[1.0, curves[np.isfinite(curves) & (curves > 0)]]
    low, high = curves.min(), curves.max()
    bands = np.r_[both["ratio_low"].to_numpy(), both["ratio_high"].to_numpy()]
    bands = bands[np.isfinite(bands) & (bands > 0)]
    low = max(low / WIDEST, bands.min(initial=low))
    high = min(high * WIDEST, bands.max(initial=high))
    margin = (high / low) ** 0.06
    return float(low / margin), float(high * margin)
