"""The frontier over training: relative potency budget by budget, and how it changes with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frontier.comparison.budget_comparison import BudgetChange, BudgetComparison, BudgetComparisons
from frontier.comparison.comparing import Compared, Task, task_of
from frontier.distributions import jackknife_error, t_quantile, two_sided
from frontier.fits.points import point_names
from frontier.groups import BUDGET, default_cells, saes_at_several, saes_of, varies
from frontier.metrics import metrics_table, usable
from frontier.metrics.checks import TableError
from frontier.metrics.finished import CHECKPOINT, EVERY_CHECKPOINT
from frontier.metrics.frames import to_pandas
from frontier.records import recorded
from frontier.results import Group
from frontier.shared_shape import MIDDLE, Pair
from frontier.wording import listed, nearest, plural

BUDGETS = (BUDGET, "steps_trained")
"""Columns that say how long an SAE was trained, the best first."""


@recorded
def compare_budgets(
    table: Any,
    reference: str | None = None,
    by: Sequence[str] | str | None = None,
    *,
    budget: str | None = None,
    rows: str = "auto",
    y: str | None = None,
    max_l0: float | None = None,
    level: float = 0.95,
    typical_seed_sd: float = 0.0,
    family: str = "family",
    across: Sequence[str] = (),
    better: Mapping[str, str] | str | None = None,
) -> BudgetComparisons:
    """Every family against the reference at each training budget, and how that changes from one to the next.

    A budget is compared by itself, as `compare` does it. Limits at a budget come from the scatter of that
    budget's SAEs about their shape. SAEs that are there at several budgets (checkpoints of one run, which
    `training.keep_at` keeps) err alike at all of them: the verdicts of five budgets are not five
    confirmations, and a change is surer than two bands suggest. Its limits are a jackknife over SAEs, each
    left out at both budgets; without SAEs that are at both, the two errors are added.

    Parameters
    ----------
    table : path, folder or data frame
        Anything that `compare` takes; of each SAE all checkpoints are used.
    budget : column name, optional
        Default: tokens_trained, else steps_trained.
    reference, by, rows, y, max_l0, level, typical_seed_sd, family, across, better
        As in `compare`.

    Raises
    ------
    TableError
        When there is no such column, or one budget only; else as `compare`.

    Examples
    --------
    >>> import frontier
    >>> rows = [
    ...     {"family": f, "l0": l0, "tokens_trained": t, "loss_recovered": 1 - a * (1 + c / t) * l0**-0.7}
    ...     for t in (1e6, 4e6)
    ...     for f, a, c in (("relu", 0.4, 3e6), ("topk", 0.3, 1e6))
    ...     for l0 in (5, 10, 20, 40)
    ... ]
    >>> found = frontier.compare_budgets(rows)
    >>> [round(c.potency.ratio, 2) for c in found], round(found.changes[0].ratio, 2)
    ([4.06, 2.44], 0.6)
    """
    whole = with_checkpoints(table)
    column = _budget(whole, budget)
    cells = [c for c in _cells(whole, by, family) if c != column]
    task = task_of(
        whole, reference, [*cells, column], rows=rows, y=y, max_l0=max_l0, at=None, level=level,
        typical_seed_sd=typical_seed_sd, family=family, across=across, better=better,
    )  # fmt: skip
    compared, remarks = task.analysed()
    found = task.told(compared, remarks)
    columns = [c for c in task.groups.columns if c != column]
    saes = dict(zip(point_names(task.chosen.table), saes_of(task.chosen.table, columns), strict=True))
    several = saes_at_several(task.chosen.table, column, columns)
    told = tuple(
        BudgetComparison(
            {k: v for k, v in c.group.items() if k != column}, c.family, c.reference, float(c.group[column]),
            c.verdict, c.potency, c.doubts,
        )
        for c in found
    )  # fmt: skip
    changes = tuple(_changes(task, compared, column, saes))
    place = {key: i for i, key in enumerate(dict.fromkeys(tuple(c.group.values()) for c in told))}
    return BudgetComparisons(
        tuple(sorted(told, key=lambda c: (place[tuple(c.group.values())], c.family, c.budget))), changes,
        tuple(cells), found.family_column, column, found.y_name, several, (*_said(several), *found.notes),
    )  # fmt: skip


def with_checkpoints(table: Any) -> pd.DataFrame:
    """The metrics table with the checkpoints that it would set aside."""
    if isinstance(table, (str, Path)):
        from frontier.readers import read

        return read(table, checkpoints="all")
    frame = to_pandas(table).copy()
    frame.attrs[EVERY_CHECKPOINT] = True
    if "excluded_because" in frame:
        frame.loc[frame["excluded_because"] == CHECKPOINT, "excluded_because"] = pd.NA
    return metrics_table(frame)


def _budget(table: pd.DataFrame, asked: str | None) -> str:
    """The column of budgets; a budget is a number above 0."""
    if asked is not None and asked not in table:
        raise TableError(f"no column {asked!r} of budgets{nearest(asked, [str(c) for c in table.columns])}")
    rows = usable(table)
    there = [c for c in ([asked] if asked else BUDGETS) if c in table and varies(rows[c])]
    if not there:
        raise TableError(
            f"all SAEs have one training budget, or none is known ({listed(BUDGETS)}); train with "
            "training.keep_at = [1000, 10000], or name the column of budgets"
        )
    wrong = rows[there[0]][~(pd.to_numeric(rows[there[0]], errors="coerce") > 0)]
    if len(wrong):
        raise TableError(f"{there[0]}: wanted a number above 0 for every SAE, found {wrong.iloc[0]}")
    return there[0]


def _cells(table: pd.DataFrame, by: Sequence[str] | str | None, family: str) -> list[str]:
    if by is None:
        return default_cells(table, family)
    return [] if by in ("none", []) else [by] if isinstance(by, str) else list(by)


def _said(several: int) -> Iterator[str]:
    if several:
        yield (
            f"{plural(several, 'SAE')} at several budgets: limits hold at each budget by itself, errors at "
            "neighbouring budgets are alike, and an SAE on its way has not seen the end of its schedule"
        )
    else:
        yield "limits hold at each budget by itself; no SAE is known to be at several budgets"


def _changes(
    task: Task, compared: list[Compared], column: str, saes: Mapping[str, int]
) -> Iterator[BudgetChange]:
    """From each budget of a pair to its next one, and from the first to the last."""
    found: dict[tuple[Any, ...], list[tuple[float, Group, Pair, dict[int, float]]]] = {}
    for group, members, _, analysis in compared:
        families = [str(m.group[task.groups.family]) for m in members]
        own = [saes[m.rows[i]] for m in members for i in np.argsort(m.x, kind="stable")]  # as in the cell
        named = min(own) >= 0 and len(set(own)) == len(own)
        for f, pair in enumerate(analysis.pairs if analysis else (), 1):
            left_out = dict(zip(own, pair.left_out.tolist(), strict=True)) if named else {}
            cell = {k: v for k, v in group.items() if k != column}
            one = float(group[column]), cell, pair, left_out
            found.setdefault((*map(str, cell.values()), families[f]), []).append(one)
    for key, budgets in sorted(found.items()):
        known = sorted((b for b in budgets if math.isfinite(b[2].potency[MIDDLE])), key=lambda b: b[0])
        pairs = [*pairwise(known), *([(known[0], known[-1])] if len(known) > 2 else [])]
        for (first, cell, before, out), (last, _, after, out_after) in pairs:
            log, se, paired = _difference(before, after, out, out_after)
            df = min(before.df, after.df)
            reach = float(t_quantile(df, task.level)) * se
            p = two_sided(log / se, df) if se > 0 else math.nan
            low, high = math.exp(min(log - reach, 700)), math.exp(min(log + reach, 700))
            yield BudgetChange(
                cell, key[-1], task.reference, first, last, math.exp(log), low, high, float(p), df, paired,
                task.level,
            )  # fmt: skip


def _difference(
    before: Pair, after: Pair, out: Mapping[int, float], out_after: Mapping[int, float]
) -> tuple[float, float, int]:
    """Difference of two log potencies, its standard error, and the number of SAEs that are in both.

    Where the same SAEs are in both, the jackknife over SAEs (Tukey 1958).
    """
    log = float(after.potency[MIDDLE] - before.potency[MIDDLE])
    if out.keys() == out_after.keys() and len(out) > 2:
        se = float(jackknife_error(np.array([out_after[k] - out[k] for k in out])))
        if math.isfinite(se):
            return log, se, len(out)
    se = math.hypot(float(before.potency_se[MIDDLE]), float(after.potency_se[MIDDLE]))
    return log, se, len(out.keys() & out_after.keys())
