"""Which rows of each group a curve goes through: every run, or the Pareto set where a family was searched.

Selection is a cure for a search over other settings, and a disease where every run is one sparsity setting:
winners of noisy runs are lucky, and a curve through them lies too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frontier.groups import HYPERPARAMETERS, Codes, Groups, setting_codes
from frontier.metrics import add_notes, set_aside_remark, values
from frontier.pareto.sets import marked as marked_rows
from frontier.results import Group
from frontier.wording import listed, nearest, plural

ROWS = ("auto", "pareto", "all")


SEVERAL = "several runs per setting"


@dataclass(frozen=True)
class Choice:
    """How the rows of one group were chosen: `rule` is "all" or "pareto"; `why` says what shows a search."""

    group: Group
    rule: str
    kept: int
    runs: int
    why: str = ""

    @property
    def dropped(self) -> int:
        """Usable runs that the curve does not go through."""
        return self.runs - self.kept


@dataclass(frozen=True, eq=False)
class ChosenRows:
    """The chosen rows as a table, by group and L0 as in `pareto_set`, and how each group's were chosen.

    `mask` says which rows of the whole table they are; `set_aside` which others are not usable, `note` which
    runs a search dropped, both in words.
    """

    table: pd.DataFrame
    mask: NDArray[np.bool_]
    choices: tuple[Choice, ...]
    set_aside: str = ""
    note: str = ""


def chosen_rows(
    table: pd.DataFrame,
    groups: Groups,
    rows: str = "auto",
    *,
    objectives: Mapping[str, str] | None = None,
) -> ChosenRows:
    """The rows of a metrics table that speak for each group's frontier.

    Auto: all runs of a family with at most one run per sparsity setting, the Pareto set of a family that was
    searched. Runs are of one setting when `sparsity_name` and `sparsity_setting` agree, or L0 where the
    setting is unknown (which speaks for that group alone). A family was searched when, in any of its groups,
    runs of one setting differ in a hyperparameter (dictionary size, tokens, learning rate) or are not told
    apart by their seeds, when hyperparameters differ among runs of unknown setting, or when its source marks
    Pareto-optimal rows. Seeds are no search.

    Parameters
    ----------
    table : a metrics table, and `groups` its groups
    rows : {"auto", "pareto", "all"}
    objectives : as in `pareto_set`

    Returns
    -------
    ChosenRows
        The table has the columns of `mark_pareto`; `group_runs` counts the runs that each group had.

    Raises
    ------
    ValueError
        Unknown rule.
    TableError
        As `pareto_set`.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.metrics_table({"family": ["topk"] * 3, "l0": [8, 16, 32], "fvu": [0.3, 0.31, 0.1]})
    >>> [len(chosen_rows(table, Groups.of(table), rule).table) for rule in ROWS]
    [3, 2, 3]
    """
    if rows not in ROWS:
        raise ValueError(f"unknown rows {rows!r}{nearest(str(rows), ROWS)}")
    marked, _ = marked_rows(table, groups.cells, objectives, groups.family or None)
    inside = marked["excluded_because"].isna().to_numpy()
    names = [str(g.get(groups.family, "")) for g in groups.names]
    searched = _searched(marked[inside], groups) if rows == "auto" else [""] * len(names)
    select = np.array([rows == "pareto" or bool(why) for why in searched], dtype=bool)
    keep = inside & (marked["pareto_optimal"].to_numpy() | ~select[groups.codes])
    kept, runs = (np.bincount(groups.codes[r], minlength=len(names)) for r in (keep, inside))
    choices = tuple(
        Choice(group, "pareto" if by_set else "all", int(k), int(n), why)
        for group, why, by_set, k, n in zip(groups.names, searched, select, kept, runs, strict=True)
    )
    chosen = marked[keep]
    first = next(iter(objectives)) if objectives else "l0"
    order = np.lexsort([values(chosen, first), groups.codes[keep]])
    note = _note(choices, names)
    chosen = chosen.iloc[order]  # by its own row numbers, which name a point
    return ChosenRows(
        add_notes(chosen, *([note] if note else [])), keep, choices, set_aside_remark(marked), note
    )


def _searched(rows: pd.DataFrame, groups: Groups) -> list[str]:
    """What shows that a group's family was searched; empty where nothing does.

    A family is searched everywhere or nowhere, but that two runs of unknown setting have one L0, which may be
    chance, speaks for their own group only.
    """
    found = groups.on(rows)
    family = np.array([str(g.get(groups.family, "")) for g in found.names], dtype=object)[found.codes]
    setting = setting_codes(rows, groups.columns, ignoring=HYPERPARAMETERS)
    repeated = np.bincount(setting)[setting] > 1 if len(setting) else np.zeros(0, dtype=bool)
    if repeated.any():
        repeated &= _told_by_more_than_seeds(rows, groups, setting)
    unknown = rows["sparsity_setting"].isna() if "sparsity_setting" in rows else pd.Series(True, rows.index)
    tuned = [c for c in HYPERPARAMETERS if c in rows]
    varied = np.zeros(len(rows), dtype=bool)
    if tuned and unknown.any():
        tried = rows[unknown.to_numpy()].groupby(found.codes[unknown.to_numpy()])[tuned].nunique().max(axis=1)
        varied = np.isin(found.codes, tried.index[tried > 1])
    marks = "source_pareto_optimal"
    marked = rows[marks].notna().to_numpy() if marks in rows else np.zeros(len(rows), dtype=bool)
    known = ~unknown.to_numpy()
    shown = (
        (marked, "its source marks a Pareto set"),
        (varied, "its hyperparameters vary"),
        (repeated & known, SEVERAL),
    )
    families = {str(name): why for mask, why in shown for name in dict.fromkeys(family[mask])}
    tied = {tuple(found.names[i].values()) for i in np.unique(found.codes[repeated & ~known])}
    return [
        families.get(str(g.get(groups.family, ""))) or (SEVERAL if tuple(g.values()) in tied else "")
        for g in groups.names
    ]


def _told_by_more_than_seeds(rows: pd.DataFrame, groups: Groups, setting: Codes) -> NDArray[np.bool_]:
    """Where runs of one setting differ in a hyperparameter, or several have one seed, (rows,)."""
    frame = pd.DataFrame({"setting": setting, "recipe": setting_codes(rows, groups.columns)})
    frame["seed"] = rows["seed"].to_numpy(dtype=object) if "seed" in rows else None
    each = frame.groupby("setting")
    recipes, seeds = each["recipe"].nunique(), each["seed"].nunique(False)
    return ((recipes > 1) | (seeds < each.size())).to_numpy()[setting]


def _note(choices: tuple[Choice, ...], names: list[str]) -> str:
    """What was dropped, in words; empty where every run was kept."""
    by_set = [(n, c) for n, c in zip(names, choices, strict=True) if c.rule == "pareto"]
    if not any(c.dropped for _, c in by_set):
        return ""
    kept, runs = sum(c.kept for _, c in by_set), sum(c.runs for _, c in by_set)
    some = {n for n, _ in by_set}
    whole = list(
        dict.fromkeys(n for n, c in zip(names, choices, strict=True) if c.rule == "all" and n not in some)
    )
    why = listed(list(dict.fromkeys(c.why for _, c in by_set if c.why)))
    said = f"rows: the Pareto set of {listed(list(dict.fromkeys(n for n, _ in by_set)), 6)}"
    said = said.removesuffix(" of ") + f", {kept} of {plural(runs, 'SAE')}" + (f" ({why})" if why else "")
    return said + (f"; every run of {listed(whole, 6)}" if whole else "")
