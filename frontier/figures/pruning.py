"""Pruned SAEs: the frontier that each SAE traces while its lowest activations are removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from frontier.arguments import checked
from frontier.figures.families import fidelity
from frontier.figures.panels import EDGE, drawable, finish_axes, new_axes, quiet_legend, say_hidden
from frontier.figures.style import REFERENCE_COLOUR, Style, figure_text, styles_for
from frontier.groups import group_codes
from frontier.metrics import metrics_table, values
from frontier.metrics.checks import TableError
from frontier.renamed import parameters
from frontier.wording import listed

TRAINED = "as trained"
COLUMNS = ("pruning", "pruning_method", "sparsity_name")
"""Column names that say how a row was pruned, unless one is given; the trainer uses the last."""


@parameters(method="pruning")
@checked
def plot_pruning(
    table: Any,
    ax: Axes | None = None,
    *,
    x: str = "l0",
    y: str | None = None,
    parent: str = "parent",
    pruning: str | None = None,
    log_x: bool = True,
    log_y: bool = False,
    styles: Mapping[Any, Style] | None = None,
    title: str = "",
) -> Axes:
    """One line per parent SAE and method, from the parent (large, grey) through its pruned versions.

    Source: Riggs Smith & Brinkmann, "Improving SAE's by Sqrt()-ing L1 & Removing Lowest Activating
    Features" (2024), whose sweeps these are.

    Parameters
    ----------
    table : anything that `metrics_table` takes
        Pruned rows name the `run_id` of their SAE in the column `parent`; rows without one are SAEs as
        trained.
    ax : Axes, optional
        Default: the axes of a new pyplot figure.
    x, y : column names, derived ones included
        Default L0 against loss recovered (`fvu` where that is unknown).
    pruning : column name, optional
        How a row was pruned; default the first of `COLUMNS` that the table has.
    styles : dict of method to Style, optional

    Raises
    ------
    TableError
        Without a column `parent`, or when no row has one.

    Examples
    --------
    >>> import frontier
    >>> table = [
    ...     {"run_id": "a", "l0": 20, "loss_recovered": 0.95},
    ...     {"run_id": "b", "parent": "a", "l0": 12, "loss_recovered": 0.93},
    ... ]
    >>> frontier.plot_pruning(table).get_ylabel()
    'Loss recovered'
    """
    table = metrics_table(table)
    if parent not in table or not table[parent].notna().any():
        raise TableError(f"no row has a {parent}; the table has {listed(list(table.columns), 30)}")
    y = fidelity(table) if y is None else y
    xs, ys = values(table, x), values(table, y)
    shown = drawable(table, xs, ys, log_x, log_y)
    parents = _text(table[parent])
    methods = _methods(table, pruning)
    pruned = (parents != "").to_numpy()
    looks = styles_for([m for m in dict.fromkeys(methods[pruned])], None, styles)
    ax = new_axes()[0] if ax is None else ax
    start = _text(table["run_id"]).to_numpy() if "run_id" in table else np.full(len(table), "")
    keys = pd.DataFrame({"parent": parents.to_numpy(), "method": methods})
    for code, group in enumerate(group_codes(keys, ["parent", "method"])[1]):
        if not group["parent"]:
            continue
        rows = (group_codes(keys, ["parent", "method"])[0] == code) & shown
        rows |= (start == group["parent"]) & ~pruned & shown
        _draw_line(ax, xs[rows], ys[rows], looks[group["method"]], figure_text(group["method"]))
    _draw_trained(ax, xs[shown & ~pruned], ys[shown & ~pruned])
    finish_axes(ax, x, y, log_x, log_y)
    say_hidden(ax, title, shown)
    quiet_legend(ax, _entries(ax))
    return ax


def _text(column: pd.Series) -> pd.Series:
    return column.astype("string").fillna("").astype(object)


def _methods(table: pd.DataFrame, method: str | None) -> np.ndarray:
    """How each row was pruned; one nameless method without a column."""
    if method is not None and method not in table:
        raise TableError(f"no column {method!r}; the table has {listed(list(table.columns), 30)}")
    column = method or next((c for c in COLUMNS if c in table), "")
    if not column:
        return np.full(len(table), "pruned", dtype=object)
    return table[column].astype("string").fillna("pruned").to_numpy(dtype=object)


def _draw_line(ax: Axes, x: np.ndarray, y: np.ndarray, look: Style, label: str) -> None:
    order = np.lexsort([y, x])
    width = 0.8 * float(mpl.rcParams["lines.linewidth"])
    size = 0.8 * float(mpl.rcParams["lines.markersize"])
    style: dict[str, Any] = {"color": look.colour, "marker": look.marker, "markersize": size, **EDGE}
    ax.plot(x[order], y[order], linewidth=width, label=label, zorder=3, **style)


def _draw_trained(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    if len(x):
        size = 1.6 * float(mpl.rcParams["lines.markersize"])
        style: dict[str, Any] = {"marker": "o", "color": REFERENCE_COLOUR, "markersize": size, **EDGE}
        ax.plot(x, y, linestyle="none", label=TRAINED, zorder=4, **style)


def _entries(ax: Axes) -> dict[str, Any]:
    """The first artist of every label, what was trained first."""
    handles, labels = ax.get_legend_handles_labels()
    found = dict(reversed(list(zip(labels, handles, strict=True))))
    return {name: found[name] for name in sorted(found, key=lambda n: (n != TRAINED, n))}
