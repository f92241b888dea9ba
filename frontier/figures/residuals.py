"""Residuals of fits: what the curve leaves, by sparsity, families together in one panel per cell."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from frontier.arguments import checked
from frontier.figures.fits import cells_of
from frontier.figures.panels import (
    EDGE,
    QUIET,
    column_label,
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
from frontier.fits.residuals import residuals


@checked
def plot_residuals(
    fits: FrontierFits | CurveFit,
    axes: Any = None,
    *,
    reference: Hashable | None = None,
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """Residuals of one fit or of all on the scale of the errors model, in order of x, around a line at 0.

    Families stand together in one panel per cell (site, layer, ...), under one legend.

    Parameters
    ----------
    fits : FrontierFits or CurveFit
    axes : Axes or array of Axes, optional
        One per panel; default a new pyplot figure, or new axes in `figure`.
    reference, styles, figure : as in `plot_fits`

    Returns
    -------
    ndarray of Axes, shape (panels,)

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> fits = frontier.fit(frontier.pareto_set(table[table["layer"] == 20]), "hill")
    >>> frontier.plot_residuals(fits)[0].get_title("left")
    'Resid'
    """
    cells = cells_of(fits)
    looks = styles_for([name for _, members in cells for _, name in members], reference, styles)
    grid, owned = panels_for(len(cells), axes, figure)
    for ax, (title, members) in zip(grid, cells, strict=True):
        missing = [figure_text(name) for f, name in members if not isinstance(f, CurveFit)]
        for f, name in members:
            if isinstance(f, CurveFit):
                draw_residual(f, ax, **looks[name]._asdict(), label=str(name))
        if len(missing) == len(members):
            say_instead(ax, "not fitted:", missing)
            missing = []
        head(ax, title, f"not fitted: {', '.join(missing)}" if missing else "")
    share_labels(grid)
    legend_above(grid, [n for _, members in cells for _, n in members], looks, owned)
    return grid


def draw_residual(
    fit: CurveFit,
    ax: Axes | None = None,
    *,
    colour: str = REFERENCE_COLOUR,
    marker: str = "o",
    line: Any = "-",
    label: str | None = None,
) -> Axes:
    """One fit of `plot_residuals`.

    Parameters
    ----------
    fit : CurveFit
    ax : Axes, optional
        Default: the axes of a new pyplot figure.
    label : str, optional
        Name in a legend; default the group.
    """
    ax = new_axes()[0] if ax is None else ax
    if not any(line.get_label() == "_zero" for line in ax.get_lines()):
        ax.axhline(0, color=QUIET, linewidth=0.7, zorder=1, label="_zero")
    width = 0.6 * float(mpl.rcParams["lines.linewidth"])
    style: dict[str, Any] = {"marker": marker, "color": colour, "linewidth": width, "zorder": 3, **EDGE}
    style |= {"linestyle": line}
    ax.plot(np.sort(fit.x), residuals(fit), label=figure_text(fit.name if label is None else label), **style)
    if (fit.x > 0).all():
        log_axis(ax.xaxis)
    y = figure_text(fit.y_name.replace("_", " "))
    label_axes(ax, column_label(fit.x_name), fit.problem.errors.residual_name.format(y=y))
    return ax
