"""The figures as plain data: points, curves, bands, ratios; template/figures.js draws them with Plotly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from frontier.comparison import Comparisons
from frontier.curves import CURVES
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits, GroupFailure
from frontier.groups import group_codes
from frontier.html_report.answer import shortened
from frontier.html_report.contents import axis_title
from frontier.html_report.excerpt import SAES, Excerpt, excerpt, spread
from frontier.html_report.forest import collapses, ratio_figures, short
from frontier.metrics import values
from frontier.metrics.axes import better_of
from frontier.metrics.checks import TableError
from frontier.metrics.columns import BY_NAME, DERIVED, FIDELITY
from frontier.results import in_words
from frontier.tables.styles import header

SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "p": "pentagon",
    "<": "triangle-left", ">": "triangle-right", "h": "hexagon", "d": "diamond-tall", "8": "octagon",
    "H": "hexagon2",
}  # fmt: skip
"""Plotly's names of the markers in `frontier.figures.style`."""
ON_DARK = {
    "#4d4d4d": "#c9c9c9", "#0072b2": "#4aa3e8", "#d55e00": "#ff8a3d", "#009e73": "#2fc99a",
    "#cc79a7": "#e79cc6", "#e69f00": "#f2b632", "#56b4e9": "#a3dcff",
}  # fmt: skip
"""The same palette, lightened for a dark page."""
X_AXES = ("l0", "sparsity", "relative_sparsity")
NOT_AXES = frozenset({"l0", "dictionary_size", "d_model", "tokens_trained", "sparsity_setting", "ce_clean",
                      "ce_zero_ablation", "ce_mean_ablation"})  # fmt: skip
"""Known number columns that say nothing about how good an SAE is."""
GRID = 60
"""Points of each stretch of a curve."""


def figures(
    found: Comparisons, table: pd.DataFrame, y: str, *, curves: bool = True, part: Excerpt | None = None
) -> dict[str, Any]:
    """All figures of a page as JSON-ready values, with or without curves and the ratios of their parameters.

    Returns
    -------
    dict
        `families` (look of each), `reference`, `frontier` (axes and one panel per group),
        `collapse` (one per cell), `ratios` (a forest plot per quantity, relative potency first), `fits` (one
        panel per group).
    """
    families, part = _families(found, table), part or excerpt(found, table, y)
    most = SAES // max(part.told, 1)
    return {
        "families": families,
        "reference": found[0].reference if len(found) else None,
        "frontier": _frontier(part, y, [f["name"] for f in families]),
        "collapse": collapses(part.found, most),
        "ratios": ratio_figures(part.found, curves=curves),
        "fits": _fits(part.found.fits, most) if curves else None,
    }


def _families(found: Comparisons, table: pd.DataFrame) -> list[dict[str, str]]:
    from frontier.figures.style import styles_for

    column = found.family_column
    held = [g[column] for g in group_codes(table, [column])[1]] if column in table else []
    names = [str(n) for n in held]
    reference = found[0].reference if len(found) else None
    looks = styles_for(names, reference, None)
    ordered = sorted(looks, key=lambda n: n != reference)  # the reference first
    return [
        {
            "name": name, "colour": looks[name].colour,
            "dark": ON_DARK.get(looks[name].colour, looks[name].colour),
            "symbol": SYMBOLS.get(looks[name].marker, "circle"),
        }
        for name in ordered
    ]  # fmt: skip


def axes(table: pd.DataFrame, y: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The x and the y axes that a table knows, each with its numbers; the preferred first."""
    preferred = "loss_recovered" if y == "performance_hit" else y
    order = dict.fromkeys([preferred, y, *FIDELITY, *(d for d in DERIVED if d not in X_AXES), *BY_NAME])
    wanted = [c for c in order if c not in NOT_AXES and c not in X_AXES and c != "expansion_factor"]
    return _known(table, X_AXES), _known(table, wanted)


def _known(table: pd.DataFrame, columns: Iterable[str]) -> dict[str, np.ndarray]:
    found = {}
    for column in columns:
        if column in BY_NAME and BY_NAME[column].kind == "identity":
            continue
        try:
            numbers = values(table, column)
        except TableError:
            continue
        if np.isfinite(numbers).any():
            found[column] = numbers
    return found


def _frontier(part: Excerpt, y: str, names: list[str]) -> dict[str, Any]:
    found, table = part.found, part.table
    xs, ys = axes(table, y)
    labels = panel_names(part.groups)
    column = found.family_column
    family = [str(g[column]) for g in group_codes(table, [column])[1]] if column in table else [""]
    of = group_codes(table, [column])[0] if column in table else np.zeros(len(table), dtype=int)
    usable = table["excluded_because"].isna().to_numpy()
    panels = []
    titles = shortened(labels)
    for code, label in enumerate(labels):
        rows = np.flatnonzero((part.codes == code) & usable)
        panels.append(
            {
                "label": label,
                "short": titles[label],
                "family": [names.index(family[of[i]]) for i in rows],
                "name": [run_name(table, i) for i in rows],
                "values": {c: short(v[rows]) for c, v in (xs | ys).items()},
                "compared": [int(m) for m in part.marks[rows]],
            }
        )
    return {
        "x": [_axis(c, better_of(table, c)) for c in xs],
        "y": [_axis(c, better_of(table, c)) for c in ys],
        "panels": panels,
    }


def _axis(column: str, better: str) -> dict[str, str]:
    return {"name": column, "label": axis_title(column), "better": better}


def panel_names(groups: list[dict[str, Any]]) -> list[str]:
    """What tells the groups apart, with the column's name where the value is a number.

    >>> panel_names([{"model": "m", "layer": 3}, {"model": "m", "layer": 5}]), panel_names([{}])
    (['Layer 3', 'Layer 5'], ['All SAEs'])
    """
    columns = [c for c in (groups[0] if groups else {}) if len({str(g.get(c)) for g in groups}) > 1]
    named = []
    for g in groups:
        parts = [f"{header(c)} {g[c]}" if isinstance(g[c], int | float) else str(g[c]) for c in columns]
        named.append(", ".join(parts) or in_words(g) or "All SAEs")
    return named


def run_name(table: pd.DataFrame, i: Any) -> str:
    """What one SAE is called when it is pointed at: its run, else its row."""
    run = table["run_id"].iloc[i] if "run_id" in table else None
    return f"row {table.index[i]}" if run is None or pd.isna(run) else str(run)


def _fits(fits: FrontierFits, most: int) -> dict[str, Any] | None:
    if not len(fits):
        return None
    columns = [c for c in fits.group_columns if c != fits.family_column]
    everyone: list[CurveFit | GroupFailure] = [*fits.fits, *fits.failures]
    groups = {tuple(g.group.get(c) for c in columns): None for g in everyone}
    named: list[dict[str, Any]] = [dict(zip(columns, cell, strict=True)) for cell in groups]
    panels, labels = [], panel_names(named)
    titles = shortened(labels)
    for group, label in zip(named, labels, strict=True):
        own = [f for f in fits.fits if group.items() <= f.group.items()]
        lost = [f for f in fits.failures if group.items() <= f.group.items()]
        reach = max((float(f.x.max()) for f in own), default=1.0)
        drawn = [_fit(f, str(f.group.get(fits.family_column, f.name)), reach, most) for f in own]
        missing = [str(f.group.get(fits.family_column)) for f in lost]
        panels.append({"label": label, "short": titles[label], "fits": drawn, "missing": missing})
    first = fits.fits[0]
    axes_words = {"x": axis_title(first.x_name), "y": axis_title(first.y_name)}
    return {"panels": panels, "curve": fits.curve, "level": f"{100 * first.level:g} %", **axes_words}


def _fit(f: CurveFit, family: str, reach: float, most: int) -> dict[str, Any]:
    """Points (at most so many), the curve inside the data with its band, and its stretches beyond them."""
    from frontier.figures.fits import FARTHEST, LOG_REACH

    first, last = float(f.x.min()), float(f.x.max())
    inside = np.geomspace(first, last, GRID) if first > 0 else np.linspace(first, last, GRID)
    band = f.band(inside)
    end = min(reach * LOG_REACH, last * FARTHEST) if last > 0 else last
    below = np.array([])
    if first > 0:
        start = 1e-6 * last if CURVES[f.curve].log_x else 0.0
        below = np.unique(np.r_[np.linspace(start, first, GRID), np.geomspace(first / FARTHEST, first, GRID)])
    beyond = np.linspace(last, max(end, last), GRID)
    shown = spread(f.x, most)
    return {
        "family": family, "name": [str(f.rows[i]) for i in shown], "x": short(f.x[shown]),
        "y": short(f.y[shown]),
        "line": {"x": short(inside), "y": short(f.predict(inside))},
        "band": {"low": short(band["low"].to_numpy()), "high": short(band["high"].to_numpy())},
        "below": {"x": short(below), "y": short(f.predict(below)) if below.size else []},
        "beyond": {"x": short(beyond), "y": short(f.predict(beyond))},
        "words": "; ".join(f"{name} {cell}" for name, cell in zip(f.parameters, f.cells, strict=True)),
    }  # fmt: skip
