"""Pareto sets per group: which SAEs no other SAE of the same group beats.

A row is beaten when another row of its group is no worse in every objective and better in at least one.
Rows equal in all objectives share their fate, so the answer does not depend on the order of rows. NaN,
infinities and rows set aside never take part: one NaN row empties the front in most packages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frontier._format import listed, plural
from frontier.checks import TableError, add_text
from frontier.metrics import (
    add_notes,
    default_y,
    give_back,
    group_codes,
    group_columns,
    metrics_table,
    set_aside_remark,
    values,
)

Bools = NDArray[np.bool_]


def pareto_set(
    table: Any,
    by: Sequence[str] | str | None = None,
    *,
    objectives: Mapping[str, str] | None = None,
    family: str | None = "family",
    backend: str = "pandas",
) -> Any:
    """Rows that no other row of the same group beats, sorted by group and first objective.

    Parameters
    ----------
    table : anything that `metrics_table` takes
        Not changed.
    by : column names, optional
        Groups; default model, site and layer where present. Families are kept apart as well, unless
        `family` is None.
    objectives : dict of column name to "min" or "max", optional
        Default {"l0": "min", "performance_hit": "min"} (`fvu` where loss recovered is unknown). Two or more.
    backend : {"pandas", "polars"}

    Returns
    -------
    DataFrame
        A new table with `pareto_optimal` (True) and `slack` (see `mark_pareto`). The source's own mark stays
        in `source_pareto_optimal`. `frontier.notes` counts what was set aside.

    Raises
    ------
    TableError
        Unknown column or direction, or no usable row.
    """
    marked = mark_pareto(table, by, objectives=objectives, family=family)
    first = next(iter(objectives)) if objectives else "l0"
    columns = group_columns(marked, by, family)
    optimal = marked[marked["pareto_optimal"].to_numpy()]
    codes, _ = group_codes(marked, columns)
    order = np.lexsort([values(optimal, first), codes[marked["pareto_optimal"].to_numpy()]])
    return give_back(optimal.iloc[order].reset_index(drop=True), backend)


def is_pareto_optimal(
    table: Any,
    by: Sequence[str] | str | None = None,
    *,
    objectives: Mapping[str, str] | None = None,
    family: str | None = "family",
) -> pd.Series:
    """True for the rows of `pareto_set`, aligned with the rows of `table`."""
    marked = mark_pareto(table, by, objectives=objectives, family=family)
    index = table.index if isinstance(table, pd.DataFrame) else marked.index
    return pd.Series(marked["pareto_optimal"].to_numpy(), index=index, name="pareto_optimal")


def mark_pareto(
    table: Any,
    by: Sequence[str] | str | None = None,
    *,
    objectives: Mapping[str, str] | None = None,
    family: str | None = "family",
) -> pd.DataFrame:
    """The whole table with `pareto_optimal`, `slack` and `tie_id`; rows set aside are marked False.

    `slack` is in units of the last objective: how much worse the row may become in it before another row
    that is no worse in the others beats it (positive, infinite where there is no such row), or by how much it
    must improve to join the set (negative). `tie_id` numbers rows that are equal in all objectives.
    `group_runs` counts the usable rows of the group: how long the search was behind its frontier.

    Raises
    ------
    TableError
        As `pareto_set`.
    """
    table = metrics_table(table)
    goals = _goals(table, objectives)
    columns = group_columns(table, by, family)
    points = np.column_stack([_signed(table, name, sense) for name, sense in goals.items()])
    _set_aside(table, points, list(goals))
    codes, names = group_codes(table, columns)
    inside = table["excluded_because"].isna().to_numpy()
    if not inside.any():
        raise TableError(f"no usable row for a Pareto set: {set_aside_remark(table) or 'the table is empty'}")
    optimal, slack = np.zeros(len(table), bool), np.full(len(table), np.nan)
    kept, groups = points[inside], codes[inside]
    optimal[inside] = nondominated(kept, groups)
    slack[inside] = _slack(kept, groups)
    table["pareto_optimal"], table["slack"] = optimal, slack
    table["tie_id"] = _tie_ids(points, codes, inside)
    if "group_runs" not in table:  # a Pareto set taken again keeps the count of the first search
        table["group_runs"] = np.bincount(codes[inside], minlength=len(names))[codes]
    remarks = [set_aside_remark(table), *_suspicions(names, codes, inside, optimal, points)]
    return add_notes(table, *(r for r in remarks if r))


def nondominated(points: NDArray[np.float64], groups: NDArray[np.int64] | None = None) -> Bools:
    """True for the points that no point of the same group beats; every objective is minimised.

    Parameters
    ----------
    points : shape (rows, objectives), finite
    groups : shape (rows,), optional

    Raises
    ------
    ValueError
        When a value is NaN or infinite, or there are fewer than two objectives.
    """
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(f"points must have shape (rows, two or more objectives), found {points.shape}")
    if not np.isfinite(points).all():
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        raise ValueError(f"points must be finite; rows {listed(bad.tolist())} are not")
    if groups is None:
        groups = np.zeros(len(points), dtype=np.int64)
    if points.shape[1] == 2:
        return _nondominated_2d(points[:, 0], points[:, 1], groups)
    import moocore

    optimal = np.zeros(len(points), dtype=bool)
    for rows in _rows_by_group(groups):
        optimal[rows] = moocore.is_nondominated(points[rows], maximise=False, keep_weakly=True)
    return optimal


def hypervolume(
    table: Any,
    reference: Mapping[str, float],
    by: Sequence[str] | str | None = None,
    *,
    objectives: Mapping[str, str] | None = None,
    log: Sequence[str] = (),
    family: str | None = "family",
) -> pd.DataFrame:
    """Volume between each group's Pareto set and a reference point (moocore), one row per group.

    The sign of a difference of hypervolumes can change with the reference and with the scale of L0, so both
    stand in the result: columns `hypervolume`, `reference`, `log_scaled`.

    Parameters
    ----------
    reference : dict of objective to its worst value
    log : objectives measured on a log scale

    Raises
    ------
    TableError
        When an objective has no reference, or a row lies beyond it (it would be ignored in silence).
    """
    import moocore

    marked = mark_pareto(table, by, objectives=objectives, family=family)
    goals = _goals(marked, objectives)
    missing = [g for g in goals if g not in reference]
    if missing:
        raise TableError(f"hypervolume needs a reference for {listed(missing)}, found {dict(reference)}")
    marked = marked[marked["excluded_because"].isna()]
    columns = group_columns(marked, by, family)
    codes, names = group_codes(marked, columns)
    points, corner = [], []
    for name, sense in goals.items():
        worst, column = float(reference[name]), values(marked, name)
        beyond = column > worst if sense == "min" else column < worst
        if beyond.any():
            raise TableError(
                f"reference {name} = {worst:g} does not cover {plural(int(beyond.sum()), 'row')}, e.g. {column[beyond][0]:g}"
            )
        scale = np.log if name in log else np.asarray
        points.append((1 if sense == "min" else -1) * scale(column))
        corner.append((1 if sense == "min" else -1) * float(scale(worst)))
    matrix = np.column_stack(points)
    rows = [
        {**name, "hypervolume": float(moocore.hypervolume(matrix[codes == code], ref=corner))}
        for code, name in enumerate(names)
    ]
    frame = pd.DataFrame(rows)
    frame["reference"] = ", ".join(f"{k} {v:g}" for k, v in reference.items())
    frame["log_scaled"] = ", ".join(log)
    return frame


def _goals(table: pd.DataFrame, objectives: Mapping[str, str] | None) -> dict[str, str]:
    goals = dict(objectives) if objectives else {"l0": "min", default_y(table): "min"}
    if len(goals) < 2:
        raise TableError(f"a Pareto set needs two or more objectives, found {listed(list(goals))}")
    for name, sense in goals.items():
        if sense not in ("min", "max"):
            raise TableError(f"direction of {name} must be 'min' or 'max', found {sense!r}")
    return goals


def _signed(table: pd.DataFrame, name: str, sense: str) -> NDArray[np.float64]:
    column = values(table, name)
    return column if sense == "min" else -column


def _set_aside(table: pd.DataFrame, points: NDArray[np.float64], names: list[str]) -> None:
    for column, name in zip(points.T, names, strict=True):
        bad = ~np.isfinite(column) & table["excluded_because"].isna().to_numpy()
        if bad.any():
            add_text(table, "excluded_because", bad, f"{name} is missing or infinite")


def _nondominated_2d(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> Bools:
    """Sort by group and x, then one segmented running minimum of y; all exact ties kept."""
    if not len(x):
        return np.zeros(0, dtype=bool)
    order, new, best, run_group, before = _staircase(x, y, groups)
    first = np.ones(len(best), dtype=bool)
    first[1:] = run_group[1:] != run_group[:-1]
    keeps = first | (best < before)
    run = np.cumsum(new) - 1
    optimal = np.empty(len(x), dtype=bool)
    optimal[order] = keeps[run] & (y[order] == best[run])
    return optimal


def _staircase(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows in order of (group, x); where a run of equal x starts; each run's best y and the best y before it."""
    order = np.argsort(x)
    narrow = groups[order].astype(np.uint16) if groups.max(initial=0) < 65536 else groups[order]
    order = order[np.argsort(narrow, kind="stable")]
    xs, ys, gs = x[order], y[order], groups[order]
    new = np.ones(len(xs), dtype=bool)
    new[1:] = (gs[1:] != gs[:-1]) | (xs[1:] != xs[:-1])
    starts = np.flatnonzero(new)
    best, run_group = np.minimum.reduceat(ys, starts), gs[starts]
    edges = np.flatnonzero(np.r_[True, run_group[1:] != run_group[:-1], True])
    running, step = best.copy(), 1
    while step < np.diff(edges).max():  # segmented running minimum by doubling
        same = run_group[step:] == run_group[:-step]
        running[step:] = np.where(same, np.minimum(running[step:], running[:-step]), running[step:])
        step *= 2
    before = np.full(len(best), np.inf)
    same = run_group[1:] == run_group[:-1]
    before[1:][same] = running[:-1][same]
    return order, new, best, run_group, before


def _slack(points: NDArray[np.float64], groups: np.ndarray) -> np.ndarray:
    """Smallest last objective among the group's other rows that are no worse in the rest, minus the row's own."""
    slack = np.full(len(points), np.inf)
    if points.shape[1] == 2:
        x, y = points.T
        order, new, best, _, before = _staircase(x, y, groups)
        run = np.cumsum(new) - 1
        ys = y[order]
        at_best = ys == best[run]
        counts = np.bincount(run, weights=at_best)
        second = np.full(len(best), np.inf)
        np.minimum.at(second, run[~at_best], ys[~at_best])
        beside = np.where(at_best & (counts[run] < 2), second[run], best[run])
        slack[order] = np.minimum(beside, before[run]) - ys
        return slack
    for rows in _rows_by_group(groups):
        p = points[rows]
        for i, row in enumerate(p):
            rivals = (p[:, :-1] <= row[:-1]).all(axis=1)
            rivals[i] = False
            if rivals.any():
                slack[rows[i]] = p[rivals, -1].min() - row[-1]
    return slack


def _tie_ids(points: np.ndarray, codes: np.ndarray, inside: Bools) -> pd.Series:
    keys = pd.DataFrame(np.column_stack([codes, points])[inside])
    groups = keys.groupby(list(keys.columns), sort=False)
    tied = groups[0].transform("size").to_numpy() > 1
    ids = pd.Series(pd.NA, index=range(len(codes)), dtype="Int64")
    numbers = groups.ngroup().to_numpy()[tied]
    ids.iloc[np.flatnonzero(inside)[tied]] = np.unique(numbers, return_inverse=True)[1]
    return ids


def _rows_by_group(groups: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def _suspicions(
    names: list[dict[str, Any]], codes: np.ndarray, inside: Bools, optimal: Bools, points: np.ndarray
) -> list[str]:
    """Groups whose set is one row of several: the objectives do not trade off, or a direction is wrong."""
    size = np.bincount(codes[inside], minlength=len(names))
    front = np.bincount(codes[optimal], minlength=len(names))
    lone = [listed(list(names[g].values())) or "all rows" for g in np.flatnonzero((front == 1) & (size > 2))]
    if not lone:
        return []
    return [f"one row beats all others in {listed(lone, 4)}: check the directions of the objectives"]
