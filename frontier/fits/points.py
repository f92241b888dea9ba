"""The points that a fit goes through: usable rows of a metrics table, group by group, in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frontier.errors import Errors
from frontier.fits.facts import Facts
from frontier.fits.nuisance import Nuisance
from frontier.groups import Groups, setting_codes
from frontier.intervals import Interval
from frontier.metrics import set_aside_remark, values
from frontier.metrics.checks import TableError
from frontier.metrics.standard_errors import standard_error_names, standard_errors
from frontier.problems import Array
from frontier.results import Group, in_words
from frontier.wording import listed, number, plural

SEEDS = "seeds differ"
"""A fact of groups whose seeds differ more than their runs scatter (`doubts.seeds_differ`)."""


MINIMUM_RUNS = 20
"""Of a frontier from all runs (`fit_frontier`). With fewer, the runs seldom tell excess from noise: at 5 %
noise and 10 % mean excess, 92 of 100 fits of 10 runs end at an edge (no excess, or no noise), 65 of 20 runs,
30 of 40, 6 of 80."""


@dataclass(frozen=True, eq=False)
class Points:
    """The data of one group."""

    group: Group
    x: Array
    y: Array
    weights: Array
    rows: tuple[str, ...]
    runs: int
    facts: dict[str, str] = field(default_factory=dict)
    known_se: float = 0.0
    """Median standard error of y, 0 where the table has none, or where the weights hold it."""
    d_model: float = math.nan
    """Width of the activations, where the rows have one."""
    vanishing_l0: float = math.inf
    """The L0 at which the curve reaches 0."""
    vanishing_interval: Interval | None = None
    shared: tuple[Nuisance, ...] = ()
    """What is estimated with the curves of the groups that share it: L*, the knee of two components."""
    spent: float = 0.0
    """This group's share of the degree of freedom that a fitted `vanishing_l0` costs."""
    seeds: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=int))
    """Shape of x: the seed's number where settings were run with several, else 0."""
    setting: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=int))
    """Shape of x: equal for runs that differ by their seed only."""
    of_y: bool = False
    """Whether the weights come from standard errors, and are those of y itself whatever the errors model."""

    @property
    def shifted(self) -> tuple[Array, Array, Array]:
        """Sparsity minus 1 / vanishing_l0, y and weights."""
        return self.x - 1 / self.vanishing_l0, self.y, self.weights

    def weights_under(self, errors: Errors) -> Array:
        """Weights of the squares on the scale of an errors model, up to one factor."""
        return errors.weights_of(self.y, self.weights) if self.of_y else self.weights

    @property
    def n_points(self) -> int:
        """Number of points."""
        return len(self.x)

    @property
    def n_settings(self) -> int:
        """Places on a curve that the points stand for; seeds of one setting are one, if L0 differs by chance.

        Where hardly a setting is known to be run again, as where every seed traces a frontier at L0s of its
        own, those of the fullest seed.
        """
        if not self.seeds.any():
            return len(self.x)
        fullest, settings = np.unique(self.seeds, return_counts=True)[1].max(), len(np.unique(self.setting))
        return settings if fullest == 1 or 2 * settings <= len(self.x) else int(fullest)

    @property
    def name(self) -> str:
        """The group in words."""
        return in_words(self.group) or "all rows"


def points_of(
    table: pd.DataFrame,
    groups: Groups,
    x_name: str,
    y_name: str,
    *,
    log_x: bool,
    max_l0: float | None = None,
    weights: str | None = None,
    across: Sequence[str] = (),
) -> tuple[list[Points], list[str]]:
    """The points of every group, and remarks on the rows left out.

    Parameters
    ----------
    table : a metrics table
    log_x : bool
        Whether the curve needs x > 0.
    max_l0, weights, across : as in `fit`

    Raises
    ------
    TableError
        Unknown column, or no usable row in any group.
    """
    x, y, w = values(table, x_name), values(table, y_name), _weights(table, y_name, weights)
    errors = standard_errors(table, y_name)
    se = np.zeros(len(table)) if errors is None else errors
    widths = values(table, "d_model") if "d_model" in table else np.full(len(table), np.nan)
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(w) & (w > 0)
    if log_x:
        known &= x > 0
    missing = f"{x_name} or {y_name} is missing{', or not positive' if log_x else ''}"
    if weights is not None:
        missing += f"; or the {'standard error' if weights == 'se' else weights} is not a positive number"
    inside, remarks = _inside(table, known, missing, max_l0)
    codes, names = groups.codes, groups.names
    labels = point_names(table)
    facts = Facts.read(table, groups.columns, y if y_name == "performance_hit" else None, across)
    runs = np.bincount(codes, inside, len(names))[codes]
    if "group_runs" in table:  # a Pareto set: the runs behind it, but for those above max_l0
        left = table["excluded_because"].isna().to_numpy() & ~inside
        runs = table["group_runs"].to_numpy() - np.bincount(codes, left, len(names))[codes]
    seeds, setting, said = _seeds(table, groups)
    remarks += [said] if said else []
    found = []
    rows_of = _rows_of(codes, inside, len(names))
    for code in _in_order(names):
        rows = rows_of[code]
        called = tuple(labels[i] for i in rows)
        count = int(runs[rows].max()) if rows.size else 0
        known_se = _median(se[rows]) if weights != "se" else 0.0
        width = np.unique(widths[rows])
        found.append(Points(
            names[code], x[rows], y[rows], w[rows], called, count, facts.of(rows), known_se,
            float(width[0]) if len(width) == 1 else math.nan, seeds=seeds[rows],
            setting=setting[rows], of_y=weights == "se",
        ))  # fmt: skip
    if not any(len(g.x) for g in found):
        why = "; ".join(r for r in remarks if r)
        raise TableError(f"no usable row to fit {y_name} against {x_name}; {why}")
    return found, remarks


def _rows_of(codes: NDArray[np.integer], inside: NDArray[np.bool_], groups: int) -> list[NDArray[np.intp]]:
    """The rows of each group that are inside, in the table's order."""
    rows = np.flatnonzero(inside)
    rows = rows[np.argsort(codes[rows], kind="stable")]
    return np.split(rows, np.cumsum(np.bincount(codes[rows], minlength=groups))[:-1])


def _seeds(table: pd.DataFrame, groups: Groups) -> tuple[NDArray[np.intp], NDArray[np.intp], str]:
    """The number of each row's seed in groups where seeds are a unit, 0 elsewhere; its setting; what is said.

    They are where a setting was run with several seeds, or several seeds have two SAEs or more each, as where
    every seed traces a frontier at its own L0. Rows without a seed beside others with one are one more seed.
    """
    none = np.zeros(len(table), dtype=int)
    if "seed" not in table or table["seed"].nunique(dropna=False) < 2:
        return none, none, ""
    numbers = pd.factorize(table["seed"])[0] + 2
    frame = pd.DataFrame({"group": groups.codes, "seed": numbers})
    frame["setting"] = setting_codes(table, groups.columns)
    settings = frame.groupby("setting")["seed"].transform("nunique") > 1
    runs = frame.groupby(["group", "seed"])["seed"].transform("size")
    seeds = frame["seed"].where(runs > 1).groupby(frame["group"]).transform("nunique") > 1
    several = (settings | seeds).groupby(frame["group"]).transform("any").to_numpy()
    unnamed = np.flatnonzero(several & table["seed"].isna().to_numpy())
    said = f"{plural(len(unnamed), 'row')} without a seed beside others with one taken as one more seed"
    where = f" (rows {listed(list(table.index[unnamed]), 6)})"
    setting = frame["setting"].to_numpy()
    return np.where(several, numbers, none), setting, said + where if len(unnamed) else ""


def _inside(
    table: pd.DataFrame, known: NDArray[np.bool_], missing: str, max_l0: float | None
) -> tuple[NDArray[np.bool_], list[str]]:
    """Which rows are fitted, and what is said of the others; `missing` says what a row not `known` lacks."""
    remarks = [set_aside_remark(table)]
    inside = table["excluded_because"].isna().to_numpy(copy=True)
    bad = inside & ~known
    if bad.any():
        where = listed(list(table.index[bad]), 6)
        remarks.append(f"{plural(int(bad.sum()), 'row')} left out of the fits: {missing} (rows {where})")
    inside &= known
    if max_l0 is not None:
        above = inside & (values(table, "l0") > max_l0)
        inside &= ~above
        if above.any():
            count = plural(int(above.sum()), "row")
            remarks.append(f"{count} with L0 above {number(max_l0)} left out as asked")
    return inside, remarks


def _in_order(names: Sequence[Group]) -> list[int]:
    """Groups ordered by their first column's values, then the second's, each in order of appearance."""
    ranks = [
        {v: i for i, v in enumerate(dict.fromkeys(g[c] for g in names))} for c in (names[0] if names else {})
    ]
    return sorted(
        range(len(names)), key=lambda i: [r[v] for r, v in zip(ranks, names[i].values(), strict=True)]
    )


def point_names(table: pd.DataFrame) -> list[str]:
    """What each row is called where it is a point of a fit: its index label and L0."""
    labels = [str(v) for v in table.index]
    if "l0" not in table:
        return labels
    return [f"{r} (L0 {number(float(v))})" for r, v in zip(labels, values(table, "l0"), strict=True)]


def _median(se: Array) -> float:
    known = se[np.isfinite(se) & (se > 0)]
    return float(np.median(known)) if known.size else 0.0


def _weights(table: pd.DataFrame, y_name: str, weights: str | None) -> Array:
    if weights is None:
        return np.ones(len(table))
    if weights != "se":
        return values(table, weights)
    se = standard_errors(table, y_name)
    if se is None:
        wanted, found = standard_error_names(y_name), listed(list(table.columns), 30)
        raise TableError(f"weights='se' needs the column {wanted}; the table has {found}")
    with np.errstate(divide="ignore"):
        w = 1 / se**2
    return w / np.nanmedian(w)
