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

from frontier.groups import REMEMBERED, Groups
from frontier.guard import guard
from frontier.metrics import add_notes, default_y, give_back, metrics_table, set_aside_remark, values
from frontier.metrics.checks import TableError, add_text
from frontier.pareto.dominance import Dominance, nondominated
from frontier.records import recorded
from frontier.renamed import parameters
from frontier.wording import known, listed, nearest, plural

__all__ = [
    "hypervolume",
    "is_pareto_optimal",
    "mark_pareto",
    "nondominated",
    "pareto_set",
]


@recorded
def pareto_set(
    table: Any,
    by: Sequence[str] | str | None = None,
    *,
    objectives: Mapping[str, str] | None = None,
    family: str | None = "family",
    across: Sequence[str] = (),
    backend: str = "pandas",
) -> Any:
    """Rows that no other row of the same group beats, sorted by group and first objective.

    Parameters
    ----------
    table : anything that `metrics_table` takes
        Not changed.
    by : column names, optional
        Cells, as in `frontier.groups.Groups.of`: default model, site and layer where present, and
        dictionary_size where every size holds every family; "none" for one cell. Families are kept apart as
        well, unless `family` is None.
    objectives : dict of column name to "min" or "max", optional
        Default {"l0": "min", "performance_hit": "min"} (`fvu` where loss recovered is unknown). Two or more.
    across : column names
        Columns among protocol, ablation, model, site, layer whose values may meet in one group.
    backend : {"pandas", "polars"}

    Returns
    -------
    DataFrame
        A new table with `pareto_optimal` (True) and `slack` (see `mark_pareto`). The source's own mark stays
        in `source_pareto_optimal`. `frontier.notes` counts what was set aside.

    Raises
    ------
    TableError
        Unknown column or direction, no usable row, or rows of one group that must not be compared unasked.

    Examples
    --------
    >>> import frontier
    >>> table = {"l0": [5, 9, 9], "loss_recovered": [0.8, 0.9, 0.7]}
    >>> frontier.pareto_set(table)["l0"].tolist()
    [5.0, 9.0]
    """
    found, groups = _compared(table, by, objectives, family, across)
    first = next(iter(objectives)) if objectives else "l0"
    inside = found["pareto_optimal"].to_numpy()
    optimal = found[inside]
    order = np.lexsort([values(optimal, first), groups.codes[inside]])
    return give_back(optimal.iloc[order].reset_index(drop=True), backend)


def is_pareto_optimal(
    table: Any,
    by: Sequence[str] | str | None = None,
    *,
    objectives: Mapping[str, str] | None = None,
    family: str | None = "family",
    across: Sequence[str] = (),
) -> pd.Series:
    """True for the rows of `pareto_set`, aligned with the rows of `table`.

    Examples
    --------
    >>> import frontier
    >>> table = {"l0": [5, 9, 9], "loss_recovered": [0.8, 0.9, 0.7]}
    >>> frontier.is_pareto_optimal(table)
    0     True
    1     True
    2    False
    Name: pareto_optimal, dtype: bool
    """
    found = mark_pareto(table, by, objectives=objectives, family=family, across=across)
    index = table.index if isinstance(table, pd.DataFrame) else found.index
    return pd.Series(found["pareto_optimal"].to_numpy(), index=index, name="pareto_optimal")


@recorded
def mark_pareto(
    table: Any,
    by: Sequence[str] | str | None = None,
    *,
    objectives: Mapping[str, str] | None = None,
    family: str | None = "family",
    across: Sequence[str] = (),
    backend: str = "pandas",
) -> Any:
    """The whole table with `pareto_optimal`, `slack` and `tie_id`; rows set aside are marked False.

    `slack` is in units of the last objective: how much worse the row may become in it before another row
    that is no worse in the others beats it (positive, infinite where there is no such row), or by how much it
    must improve to join the set (negative). `tie_id` numbers rows that are equal in all objectives.
    `group_runs` counts the usable rows of the group: how long the search was behind its frontier.

    Raises
    ------
    TableError
        As `pareto_set`.

    Examples
    --------
    >>> import frontier
    >>> table = {"l0": [5, 9, 9], "loss_recovered": [0.8, 0.9, 0.7]}
    >>> frontier.mark_pareto(table)["pareto_optimal"].tolist()
    [True, True, False]
    """
    return give_back(_compared(table, by, objectives, family, across)[0], backend)


def _compared(
    table: Any,
    by: Sequence[str] | str | None,
    objectives: Mapping[str, str] | None,
    family: str | None,
    across: Sequence[str],
) -> tuple[pd.DataFrame, Groups]:
    """As `marked`; refuses rows of one group that must not be compared unasked."""
    found, groups = marked(table, by, objectives, family)
    guard(found, groups.columns, across, groups.family)
    return found, groups


def marked(
    table: Any,
    by: Sequence[str] | str | None,
    objectives: Mapping[str, str] | None,
    family: str | None,
) -> tuple[pd.DataFrame, Groups]:
    """The table of `mark_pareto`, and its groups; nothing is asked."""
    table = metrics_table(table)
    goals = _goals(table, objectives)
    groups = Groups.of(table, by, family)
    points = np.column_stack([_signed(table, name, sense) for name, sense in goals.items()])
    _set_aside(table, points, list(goals))
    codes = groups.codes
    inside = table["excluded_because"].isna().to_numpy()
    if not inside.any():
        raise TableError(f"no usable row for a Pareto set: {set_aside_remark(table) or 'the table is empty'}")
    optimal, slack, ties = np.zeros(len(table), bool), np.full(len(table), np.nan), np.full(len(table), -1)
    found = Dominance.of(points[inside], codes[inside])
    optimal[inside], slack[inside], ties[inside] = found.optimal(), found.slack(), found.ties()
    table["pareto_optimal"], table["slack"] = optimal, slack
    table["tie_id"] = pd.arrays.IntegerArray(ties.astype(np.int64), ties < 0)
    if "group_runs" not in table:  # a Pareto set taken again keeps the count of the first search
        table["group_runs"] = np.bincount(codes[inside], minlength=len(groups.names))[codes]
    if by is None:
        table.attrs[REMEMBERED] = groups.cells
    remarks = [*groups.notes, set_aside_remark(table), *_suspicions(groups, inside, optimal)]
    return add_notes(table, *(r for r in remarks if r)), groups


@parameters(reference="worst", log="log_of")
def hypervolume(
    table: Any,
    worst: Mapping[str, float],
    by: Sequence[str] | str | None = None,
    *,
    objectives: Mapping[str, str] | None = None,
    log_of: Sequence[str] = (),
    family: str | None = "family",
    across: Sequence[str] = (),
) -> pd.DataFrame:
    """Volume between each group's Pareto set and a reference point (moocore), one row per group.

    The sign of a difference of hypervolumes can change with the reference and with the scale of L0, so both
    stand in the result: columns `hypervolume`, `reference`, `log_scaled`.

    Parameters
    ----------
    worst : dict of objective to its worst value
    log_of : objectives measured on a log scale
    across : as in `pareto_set`

    Raises
    ------
    TableError
        As `pareto_set`; when an objective has no reference, a row lies beyond it (it would be ignored in
        silence), or `log_of` names something that is no objective or has no logarithm.

    Examples
    --------
    >>> import frontier
    >>> table = {"l0": [5, 9, 9], "loss_recovered": [0.8, 0.9, 0.7]}
    >>> found = frontier.hypervolume(table, {"l0": 10, "performance_hit": 1})
    >>> found["hypervolume"].tolist()
    [4.1]
    """
    import moocore

    found, groups = _compared(table, by, objectives, family, across)
    goals = _goals(found, objectives)
    for name in log_of:
        if name not in goals:
            raise TableError(f"log_of names {name!r}, which is no objective{nearest(name, goals)}")
    missing = [g for g in goals if g not in worst]
    if missing:
        raise TableError(f"hypervolume needs a reference for {listed(missing)}, found {dict(worst)}")
    inside = found["excluded_because"].isna().to_numpy()
    usable, codes = found[inside], groups.codes[inside]
    scaled = [_scaled(usable, n, sense, float(worst[n]), n in log_of) for n, sense in goals.items()]
    matrix, corner = np.column_stack([column for column, _ in scaled]), [worst for _, worst in scaled]
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    volumes = {codes[rows[0]]: float(moocore.hypervolume(matrix[rows], ref=corner)) for rows in parts}
    shown = list(dict.fromkeys(codes))
    frame = pd.DataFrame([groups.names[code] for code in shown], index=range(len(shown)))
    frame["hypervolume"] = [volumes[code] for code in shown]
    frame["reference"] = ", ".join(f"{k} {v:g}" for k, v in worst.items())
    frame["log_scaled"] = ", ".join(log_of)
    return frame


def _scaled(
    table: pd.DataFrame, name: str, sense: str, worst: float, log: bool
) -> tuple[NDArray[np.float64], float]:
    """An objective and its reference, to be minimised, on a log scale if asked."""
    column, sign = values(table, name), 1 if sense == "min" else -1
    beyond = sign * (column - worst) > 1e-12 * max(abs(worst), 1.0)  # 1 - 0.7 is 0.3 but for rounding
    if beyond.any():
        rows, first = plural(int(beyond.sum()), "row"), column[beyond][0]
        raise TableError(f"reference {name} = {worst:g} does not cover {rows}, e.g. {first:g}")
    if not log:
        return sign * column, sign * worst
    if not (column > 0).all() or worst <= 0:
        low = min(float(column.min()), worst)
        raise TableError(f"{name} has no logarithm at {low:g}; leave it out of log_of")
    return sign * np.log(column), sign * float(np.log(worst))


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


def _suspicions(groups: Groups, inside: NDArray[np.bool_], optimal: NDArray[np.bool_]) -> list[str]:
    """Groups whose set is one row of several: the objectives do not trade off, or a direction is wrong."""
    size, front = (np.bincount(groups.codes[r], minlength=len(groups.names)) for r in (inside, optimal))
    few = np.flatnonzero((front == 1) & (size > 2))
    lone = [listed(list(known(groups.names[g]).values())) or "all rows" for g in few]
    if not lone:
        return []
    return [f"one row beats all others in {listed(lone, 4)}: check the directions of the objectives"]
