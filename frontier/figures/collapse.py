"""The collapse: families shifted along L0 onto the one curve of their cell, and what it leaves over."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from frontier.arguments import checked
from frontier.comparison.comparison import Comparisons
from frontier.figures.panels import (
    EDGE,
    LEAST_WIDTH,
    QUIET,
    column_label,
    head,
    label_axes,
    legend_above,
    panel_titles,
    share_labels,
)
from frontier.figures.style import Style, figure_text, log_axis, styles_for
from frontier.shared_shape import SharedShape
from frontier.wording import plural

HEIGHTS = (2.5, 1.3)
"""Of the two panels of a cell, and so of their share of the figure."""
USUAL = 2.0
"""Standard deviations within which 95 % of residuals lie."""


@checked
def plot_collapse(
    shapes: SharedShape | Sequence[SharedShape] | Comparisons,
    axes: Any = None,
    *,
    reference: Hashable | None = None,
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """The families of each cell shifted onto their common curve, with the residuals below.

    Each SAE stands at its L0 times the relative potency of its family, so that all points lie on one curve
    where the families differ by a shift alone. What they do not share shows in the residuals, in standard
    deviations, as a slope or a bend of one family.

    Parameters
    ----------
    shapes : Comparisons, or the shared shape of one cell or of several
    axes : array of Axes, shape (cells, 2), optional
        For each cell the panel of the curve and that of the residuals; default a new pyplot figure, or new
        axes in `figure`.
    reference, styles, figure : as in `plot_fits`
        The reference is by default that of the shapes.

    Returns
    -------
    ndarray of Axes, shape (cells, 2)

    Raises
    ------
    ValueError
        Without a cell, or with another number of axes than two per cell.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> found = frontier.compare(table[table["layer"] == 20], "baseline")
    >>> frontier.plot_collapse(found).shape
    (3, 2)
    """
    several = shapes.shapes if isinstance(shapes, Comparisons) else shapes
    cells = [several] if isinstance(several, SharedShape) else list(several)
    if not cells:
        raise ValueError("there is no cell to draw")
    reference = cells[0].reference if reference is None else reference
    looks = styles_for([n for c in cells for n in c.names], reference, styles)
    grid, owned = _panels(len(cells), axes, figure)
    titles = panel_titles([c.group for c in cells])
    for (above, below), cell, title in zip(grid, cells, titles, strict=True):
        head(above, title, _draw_curve(above, cell, looks))
        _draw_residuals(below, cell, looks)
        label_axes(above, "", column_label(cell.y_name))
        label_axes(below, "L0 × relative potency", "Residual (SD)")
        above.tick_params(labelbottom=False)
    for panels in grid.T:
        share_labels(panels)
    if owned:
        grid[0, 0].figure.align_ylabels(grid.ravel())
    legend_above(grid[:, 0], looks, looks, owned)
    return grid


def _panels(count: int, axes: Any, figure: Figure | SubFigure | None) -> tuple[np.ndarray, bool]:
    """Two panels per cell, one below the other, and whether they were made here."""
    if axes is not None:
        given = np.asarray(axes, dtype=object)
        if given.size != 2 * count:
            raise ValueError(f"{plural(count, 'cell')} to draw in two panels each, found {given.size} axes")
        return given.reshape(count, 2), False
    width = float(mpl.rcParams["figure.figsize"][0]) if figure is None else figure.bbox.width / figure.dpi
    columns = max(1, min(count, 3, int(width / LEAST_WIDTH)))
    rows = math.ceil(count / columns)
    if figure is None:
        from matplotlib import pyplot as plt

        figure = plt.figure(figsize=(width, rows * 3.4 + 0.4), layout="constrained")
    places = figure.add_gridspec(2 * rows, columns, height_ratios=HEIGHTS * rows)
    grid = np.empty((count, 2), dtype=object)
    for i in range(count):
        row, column = 2 * (i // columns), i % columns
        above = figure.add_subplot(places[row, column])
        grid[i] = above, figure.add_subplot(places[row + 1, column], sharex=above)
    for ax in grid.ravel():
        ax.spines[["top", "right"]].set_visible(False)
    return grid, True


def _shifted(cell: SharedShape) -> np.ndarray:
    """L0 of every point as the reference would need it."""
    return np.exp(cell.z + np.array([cell.shifts[n] for n in cell.names]))


def _draw_curve(ax: Axes, cell: SharedShape, looks: Mapping[Any, Style]) -> str:
    """Points and curve; in words, how many points a log axis cannot show."""
    x, names = _shifted(cell), np.array(cell.names, dtype=object)
    for name in dict.fromkeys(cell.names):
        own = names == name
        marks: dict[str, Any] = {"color": looks[name].colour, "marker": looks[name].marker, **EDGE}
        ax.plot(x[own], cell.y[own], linestyle="none", label=figure_text(name), zorder=3, **marks)
    fine = np.geomspace(x.min(), x.max(), 200)
    ax.plot(fine, cell.expected(fine), color=QUIET, linewidth=1.0, label="_curve", zorder=2)
    log_axis(ax.xaxis)
    log_axis(ax.yaxis)
    hidden = int((cell.y <= 0).sum())
    return f"{plural(hidden, 'point')} at or below 0 not shown" if hidden else ""


def _draw_residuals(ax: Axes, cell: SharedShape, looks: Mapping[Any, Style]) -> None:
    """Residuals by family, joined in order of L0, around 0 and the range that 95 % keep to."""
    x, left, names = _shifted(cell), cell.residuals, np.array(cell.names, dtype=object)
    ax.axhspan(-USUAL, USUAL, color=QUIET, alpha=0.12, linewidth=0, label="_usual")
    ax.axhline(0, color=QUIET, linewidth=0.7, zorder=1, label="_zero")
    width = 0.6 * float(mpl.rcParams["lines.linewidth"])
    for name in dict.fromkeys(cell.names):
        own = np.flatnonzero(names == name)
        own = own[np.argsort(x[own])]
        look = looks[name]
        style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "linestyle": look.line, **EDGE}
        ax.plot(x[own], left[own], linewidth=width, label=figure_text(name), zorder=3, **style)
    farthest = 1.15 * max(USUAL, float(np.abs(left).max(initial=0)))
    ax.set_ylim(-farthest, farthest)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    log_axis(ax.xaxis)
