"""Replicated runs: what the scatter between seeds says about a gap, a curve, and an evaluation.

The 8 runs of one seed share its luck, so the seed is the unit: each seed gives one number, and a t interval
over those numbers holds its level at 3 seeds, where resampling 3 seeds gives 20 % false alarms for 5 %
(`benchmarks/seeds_false_positives.py`). No bootstrap here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import fdtrc, nctdtrinc

from frontier._format import View, listed, nearest, number, p_value_cell, plural
from frontier.checks import TableError
from frontier.comparison import default_groups
from frontier.curve_fit import CurveFit
from frontier.fits import guard
from frontier.intervals import Interval, t_quantile
from frontier.log_ratio import holm, two_sided
from frontier.metrics import (
    default_y,
    give_back,
    group_codes,
    group_columns,
    metrics_table,
    set_aside_remark,
    usable,
    values,
)
from frontier.problems import Array
from frontier.ratios import HIGHER_IS_BETTER, reference_family
from frontier.results import Group, Result

Codes = NDArray[np.integer[Any]]

DESIGNS = ("seed_is_unit", "paired", "runs_independent")
POWER = 0.8
"""Chance of finding the smallest detectable gap."""
RECIPE = ("family", "architecture", "dictionary_size", "sparsity_name", "sparsity_setting")
"""Runs equal in these (L0 where the setting is unknown) differ by their seed only."""


@dataclass(frozen=True)
class SeedDifference(Result):
    """A family against the reference in one quantity, from one number per seed.

    Attributes
    ----------
    quantity : {"gap", "relative_potency"}
        mean y(family) - mean y(reference) at equal L0, or L0(reference) / L0(family) at equal y.
    value : Interval
        Without limits (NaN) where there is one seed.
    low, high : float
        The common range of all seeds: of L0 (gap), of y (relative potency).
    smallest_detectable : float
        The gap (ratio) that as many seeds with this scatter find with probability 0.8.
    local_low, local_high : float
        Extremes over the common range of the gap (ratio) between the mean curves.
    areas, reference_areas : dict of seed to its number
        Mean y over the range of log L0; geometric mean L0 over the range of y.
    """

    quantity: str
    value: Interval
    p_value: float
    p_adjusted: float
    df: float
    smallest_detectable: float
    low: float
    high: float
    local_low: float
    local_high: float
    areas: dict[str, float]
    reference_areas: dict[str, float]

    def _view(self) -> View:
        headers = ("quantity", f"{100 * self.value.level:g} % interval", "over", "df", "p", "finds")
        cells = (str(self.value), f"{number(self.low)} to {number(self.high)}", number(self.df))
        finds = number(self.smallest_detectable)
        return View("", headers, ((self.quantity, *cells, p_value_cell(self.p_value), finds),))


@dataclass(frozen=True, repr=False)
class SeedComparison(Result):
    """One family against the reference in one group, seeds as units.

    `gap` in units of y at equal L0; `relative_potency` = L0(reference) / L0(family) at equal y.
    """

    group: Group
    family: str
    reference: str
    y_name: str
    design: str
    gap: SeedDifference
    relative_potency: SeedDifference
    doubts: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """'better', 'worse' or 'not separable' by the interval of the gap; empty without one."""
        low, high = self.gap.value.low, self.gap.value.high
        if math.isnan(low):
            return ""
        if low <= 0 <= high:
            return "not separable"
        return "better" if (low > 0) == (self.y_name in HIGHER_IS_BETTER) else "worse"

    @property
    def sentence(self) -> str:
        """The gap, its range, the number of seeds, and what they can find."""
        g, where = self.gap, ", ".join(map(str, self.group.values()))
        head = f"{where + ': ' if where else ''}{self.family} against {self.reference}: "
        if math.isnan(g.value.estimate):
            return f"{head}not compared"
        text = f"{head}gap in {self.y_name} {g.value} over L0 {number(g.low)} to {number(g.high)}"
        text += f" ({len(g.areas)} and {plural(len(g.reference_areas), 'seed')}"
        if math.isnan(g.df):
            return f"{text}); no interval"
        return f"{text}, df {number(g.df)}); 4 times in 5 it finds a gap of {number(g.smallest_detectable)}"

    def to_frame(self) -> pd.DataFrame:
        """One row: the columns of `SeedComparisons.to_frame`."""
        return pd.DataFrame([_record(self)])

    def _view(self) -> View:
        return SeedComparisons((self,), tuple(self.group))._view()


@dataclass(frozen=True, repr=False)
class SeedComparisons(Result):
    """All comparisons of a table; Holm-adjusted p values over them, per quantity."""

    comparisons: tuple[SeedComparison, ...]
    group_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[SeedComparison]:
        return iter(self.comparisons)

    def __len__(self) -> int:
        return len(self.comparisons)

    def __getitem__(self, key: Any) -> SeedComparison:
        if isinstance(key, (int, np.integer)):
            return self.comparisons[key]
        wanted = key if isinstance(key, tuple) else (key,)
        found = [c for c in self.comparisons if all(w in (c.family, *c.group.values()) for w in wanted)]
        if len(found) != 1:
            raise KeyError(f"{len(found)} comparisons match {key!r}; name group values and family")
        return found[0]

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per comparison.

        Returns
        -------
        DataFrame
            Group columns, `family`, `reference`, `verdict`, `seeds`, `reference_seeds`; for q in `gap` and
            `relative_potency` the columns q, q_low, q_high, q_p, q_p_adjusted, q_df, q_detectable, q_from,
            q_to; `design`, `doubts`.
        """
        return give_back(pd.DataFrame([_record(c) for c in self.comparisons]), backend)

    def _view(self) -> View:
        varying = [c for c in self.group_columns if len({str(x.group.get(c)) for x in self.comparisons}) > 1]
        rows = tuple(
            (
                *(str(c.group[v]) for v in varying),
                c.family,
                c.verdict,
                *_cells(c.gap),
                *_cells(c.relative_potency),
            )
            for c in self.comparisons
        )
        first = self.comparisons[0] if self.comparisons else None
        y = first.y_name if first else "y"
        headers = (
            *varying,
            "family",
            "is",
            f"gap in {y}",
            "over L0",
            "p",
            "relative potency",
            f"over {y}",
            "p",
        )
        said = [
            *(c.sentence for c in self.comparisons),
            *self.notes,
            *(d for c in self.comparisons for d in c.doubts),
        ]
        title = f"Seeds compared with {first.reference} ({first.design})" if first else "Seeds compared"
        return View(title, headers, rows, tuple(dict.fromkeys(said)))


@dataclass(frozen=True)
class _Runs:
    """Single runs as arrays; an unknown seed is ""."""

    seed: NDArray[np.object_]
    setting: Codes
    log_l0: Array
    y: Array

    def where(self, keep: NDArray[np.bool_]) -> _Runs:
        return _Runs(self.seed[keep], self.setting[keep], self.log_l0[keep], self.y[keep])


@dataclass(frozen=True)
class _Seed:
    """One seed's curve: knots (x ascending), and for each run its knot, setting, x and y."""

    label: str
    x: Array
    y: Array
    knot: Codes
    setting: Codes
    run_x: Array
    run_y: Array

    def area_weights(self, low: float, high: float) -> Array:
        """Weights of the runs' y in the mean height over [low, high]: the exact trapezoid."""
        at = np.unique(np.concatenate([[low, high], self.x[(self.x > low) & (self.x < high)]]))
        hats = np.stack([np.interp(at, self.x, unit) for unit in np.eye(len(self.x))], axis=1)
        step = np.diff(at)
        weights = (np.append(step, 0) + np.append(0, step)) / 2 @ hats / (high - low)
        return (weights / np.bincount(self.knot))[self.knot]


def compare_seeds(
    table: Any,
    reference: str | None = None,
    by: Sequence[str] | str | None = None,
    *,
    y: str | None = None,
    seed: str = "seed",
    design: str = "seed_is_unit",
    level: float = 0.95,
    family: str = "family",
    across: Sequence[str] = (),
) -> SeedComparisons:
    """Every family against the reference, with the seed as the unit of observation.

    Per seed, y is interpolated linearly in log L0 and averaged over the range of log L0 that all seeds of
    both families cover; the gap is the difference of the means over seeds. With the axes exchanged, log L0 is
    interpolated in log y (y, where some y <= 0) after adjacent runs out of order have been averaged
    (isotonic regression), which gives the ratio of L0 at equal y. Nothing is extrapolated. Runs, not Pareto
    sets, are compared: a Pareto set over seeds rewards luck.

    Parameters
    ----------
    table : anything that `metrics_table` takes
    reference : name of a family
        Default as in `ratio_table`.
    by : column names, optional
        Groups; default as in `compare`.
    design : {"seed_is_unit", "paired", "runs_independent"}
        Welch's t on the numbers of the seeds; t on their differences where both families share the same
        seeds; or, if you can vouch that every run is an independent training (no data order or
        initialisation in common within a seed), variances within settings. The last is narrower, and wrong
        (25-40 % false alarms for 5 %) where a seed's runs share anything.
    across : column names
        Columns among protocol, ablation, model, site, layer whose values may meet in one comparison.

    Raises
    ------
    TableError
        No seed column, unusable table, or rows that must not be compared.
    ValueError
        Unknown reference or design, or a paired design without common seeds.

    Notes
    -----
    Sources: Welch (1947), Biometrika 34, 28; Satterthwaite (1946), Biometrics 2, 110, for the degrees of
    freedom; Holm (1979) for several comparisons. The smallest detectable gap inverts the noncentral t.
    """
    if design not in DESIGNS:
        raise ValueError(f"unknown design {design!r}{nearest(design, DESIGNS)}")
    table = metrics_table(table)
    y = default_y(table) if y is None else y
    if seed not in table:
        raise TableError(f"no column {seed!r} that tells seeds apart{nearest(seed, list(table.columns))}")
    by = default_groups(table, family) if by is None else by
    columns = [c for c in group_columns(table, by, family) if c not in (family, "architecture")]
    guard(usable(table), columns, across)
    column = family if family in table else "architecture"
    if column not in table:
        raise TableError("the table has no architecture or family column, so there is nothing to compare")
    rows = usable(table)
    rows = rows[np.isfinite(values(rows, y)) & (values(rows, "l0") > 0)]
    name = reference_family([str(v) for v in rows[column].dropna()], reference)
    codes, groups = group_codes(rows, columns)
    family_code, families = pd.factorize(rows[column].astype("string"))
    runs = _Runs(
        rows[seed].astype("string").fillna("").to_numpy(object), setting_codes(rows, columns),
        np.log(values(rows, "l0")), values(rows, y),
    )  # fmt: skip
    found: list[SeedComparison] = []
    remarks = [r for r in (set_aside_remark(table),) if r]
    for code, group in enumerate(groups):
        cell = codes == code
        members = {
            str(families[f]): cell & (family_code == f) for f in pd.unique(family_code[cell]) if f >= 0
        }
        if name not in members:
            remarks.append(f"no {name} in {listed(list(group.values())) or 'the table'}: not compared")
            continue
        for other in (f for f in members if f != name):
            pair = {f: runs.where(members[f]) for f in (other, name)}
            facts = _unlike(rows, {f: members[f] for f in pair})
            found.append(_compare(group, pair, y, design, level, facts))
    return SeedComparisons(_adjusted(found), tuple(columns), tuple(remarks))


def setting_codes(table: pd.DataFrame, columns: Sequence[str] = ()) -> Codes:
    """One integer per row: equal for runs of one group (`columns`) that differ by their seed only.

    Runs are replicates when they agree in family, architecture, dictionary size and sparsity setting; where
    the setting is not known, when they agree in L0 (a TopK family).
    """
    keys = pd.DataFrame({c: table[c] for c in dict.fromkeys((*columns, *RECIPE)) if c in table})
    known = keys["sparsity_setting"].notna() if "sparsity_setting" in keys else pd.Series(False, keys.index)
    keys["_l0"] = np.where(known.to_numpy(), 0.0, values(table, "l0"))
    return keys.groupby(list(keys.columns), dropna=False, sort=False).ngroup().to_numpy()


def _compare(
    group: Group, pair: Mapping[str, _Runs], y: str, design: str, level: float, facts: Sequence[str]
) -> SeedComparison:
    doubts: list[str] = []
    split = {n: _seeds(n, runs, doubts) for n, runs in pair.items()}
    if design == "paired" and len({frozenset(s) for s in split.values()}) > 1:
        have = " and ".join(f"{n} has {listed(sorted(s))}" for n, s in split.items())
        raise ValueError(f"a paired design needs the same seeds: {have}")
    positive = all((runs.y > 0).all() for runs in pair.values())
    found = []
    for ratio in (False, True):
        turn = _swapped(positive, y in HIGHER_IS_BETTER) if ratio else _upright
        curves = {n: [turn(label, runs) for label, runs in seeds.items()] for n, seeds in split.items()}
        found.append(_difference(ratio, curves, design, level, positive, doubts))
    said = tuple(dict.fromkeys([*doubts, *facts]))
    one, two = pair
    return SeedComparison(group, one, two, y, design, found[0], found[1], said)


def _unlike(rows: pd.DataFrame, members: Mapping[str, NDArray[np.bool_]]) -> list[str]:
    """Doubts about training facts that differ between the two families."""
    doubts = []
    for fact in ("tokens_trained", "dictionary_size"):
        if fact in rows:
            told = {
                n: listed([number(v) for v in sorted(rows[fact][m].dropna().unique())])
                for n, m in members.items()
            }
            if len(set(told.values())) > 1 and all(told.values()):
                doubts.append(f"{fact} differs: {' and '.join(f'{v} in {n}' for n, v in told.items())}.")
    return doubts


def _seeds(name: str, runs: _Runs, doubts: list[str]) -> dict[str, _Runs]:
    """Runs of one family by seed; seeds of one L0 and runs of unknown seed are left out aloud."""
    labels = runs.seed
    if (labels == "").all():
        labels = np.full(len(labels), "(missing)", object)
    unknown = int((labels == "").sum())
    if unknown:
        doubts.append(f"{plural(unknown, 'run')} of {name} without a seed left out.")
    out = {}
    for label in dict.fromkeys(labels[labels != ""]):
        part = runs.where(labels == label)
        if len(np.unique(part.log_l0)) < 2:
            doubts.append(f"seed {label} of {name} has a single L0 and no curve; left out.")
            continue
        twice = len(part.setting) - len(np.unique(part.setting))
        if twice:
            doubts.append(
                f"seed {label} of {name} holds {plural(twice, 'setting')} more than once; name the column "
                "that tells those runs apart in by."
            )
        out[str(label)] = part
    return out


def _upright(label: str, runs: _Runs) -> _Seed:
    """Heights against log L0; runs of equal L0 are averaged."""
    knot = np.unique(runs.log_l0, return_inverse=True)[1]
    return _Seed(
        label, _means(runs.log_l0, knot), _means(runs.y, knot), knot, runs.setting, runs.log_l0, runs.y
    )


def _swapped(log: bool, rising: bool) -> Callable[[str, _Runs], _Seed]:
    """Log L0 against log y (or y); adjacent runs whose y is out of order are averaged first."""

    def curve(label: str, runs: _Runs) -> _Seed:
        height = np.log(runs.y) if log else runs.y
        order = np.argsort(runs.log_l0, kind="stable")
        blocks = isotonic_regression(height[order], increasing=rising).blocks
        block = np.empty(len(order), int)
        block[order] = np.repeat(np.arange(len(blocks) - 1), np.diff(blocks))
        knot = np.unique(_means(height, block), return_inverse=True)[1][block]
        return _Seed(
            label, _means(height, knot), _means(runs.log_l0, knot), knot, runs.setting, height, runs.log_l0
        )

    return curve


def _means(v: Array, index: Codes) -> Array:
    return np.bincount(index, v) / np.bincount(index)


def _difference(
    ratio: bool,
    curves: Mapping[str, list[_Seed]],
    design: str,
    level: float,
    positive: bool,
    doubts: list[str],
) -> SeedDifference:
    nan, quantity = math.nan, "relative_potency" if ratio else "gap"
    families, names = tuple(curves.values()), " and ".join(curves)
    every = [s for family in families for s in family]
    low, high = max((s.x[0] for s in every), default=nan), min((s.x[-1] for s in every), default=nan)
    if not low < high or not all(families):
        doubts.append(f"{names} have no common range of {'y' if ratio else 'L0'}: nothing is extrapolated.")
        none, blank = (
            Interval(nan, nan, nan, level),
            [dict.fromkeys((s.label for s in f), nan) for f in families],
        )
        return SeedDifference(quantity, none, nan, nan, nan, nan, nan, nan, nan, nan, blank[0], blank[1])
    areas = [np.array([s.area_weights(low, high) @ s.run_y for s in family]) for family in families]
    se, df = _standard_error(design, families, areas, low, high)
    local = _local_gap(families, low, high)
    doubts += _pair_doubts(ratio, curves, design, df, local, (low, high))
    sign, show = (-1.0, math.exp) if ratio else (1.0, float)
    value, local = sign * float(areas[0].mean() - areas[1].mean()), sign * local
    critical = float(t_quantile(df, level))
    finds = show(float(nctdtrinc(df, 1 - POWER, critical)) * se) if df > 0 else nan
    interval = Interval(show(value), show(value - critical * se), show(value + critical * se), level)
    p = two_sided(value / se, df) if df > 0 else nan
    onto = math.exp if positive or not ratio else float
    shown = [
        {s.label: show(a) for s, a in zip(f, v, strict=True)} for f, v in zip(families, areas, strict=True)
    ]
    return SeedDifference(
        quantity, interval, p, nan, df, finds, onto(low), onto(high), show(local.min()), show(local.max()),
        shown[0], shown[1],
    )  # fmt: skip


def _pair_doubts(
    ratio: bool,
    curves: Mapping[str, list[_Seed]],
    design: str,
    df: float,
    local: Array,
    common: tuple[float, float],
) -> Iterator[str]:
    names = " and ".join(curves)
    if not df > 0:
        single = " and ".join(n for n, family in curves.items() if len(family) < 2)
        other = "no setting was run twice" if design == "runs_independent" else "the seeds do not scatter"
        yield f"{f'{single}: one seed' if single else f'{names}: {other}'}: no interval."
    if ratio:
        return
    if local.min() < 0 < local.max():
        yield f"The mean curves of {names} cross: the gap averages over both sides."
    ends = [(s.x[0], s.x[-1], f"seed {s.label} of {n}") for n, family in curves.items() for s in family]
    low, high = min(ends)[0], max(e[1] for e in ends)
    share = (common[1] - common[0]) / (high - low)
    if share < 0.5:
        limits = dict.fromkeys([max(ends)[2], min(ends, key=lambda e: e[1])[2]])
        yield (
            f"The common range is {number(100 * share, 2)} % of the L0 range run by {names} (log scale); "
            f"{' and '.join(limits)} limit{'s' if len(limits) == 1 else ''} it."
        )


def _local_gap(curves: Sequence[Sequence[_Seed]], low: float, high: float) -> Array:
    """Difference of the families' mean curves at every knot of the common range."""
    knots = [s.x[(s.x > low) & (s.x < high)] for family in curves for s in family]
    at = np.unique(np.concatenate([[low, high], *knots]))
    one, two = (np.mean([np.interp(at, s.x, s.y) for s in family], axis=0) for family in curves)
    return one - two


def _standard_error(
    design: str, curves: Sequence[Sequence[_Seed]], areas: list[Array], low: float, high: float
) -> tuple[float, float]:
    """Standard error of the gap and its degrees of freedom; NaN where seeds or scatter are lacking."""
    nan = math.nan
    if design == "runs_independent":
        each = [_setting_variances(family, low, high) for family in curves]
        parts = each[0] + each[1] if all(each) else []
    elif design == "paired":
        places = [{s.label: i for i, s in enumerate(family)} for family in curves]
        gaps = np.array([areas[0][i] - areas[1][places[1][label]] for label, i in places[0].items()])
        parts = [(gaps.var(ddof=1) / len(gaps), len(gaps) - 1)] if len(gaps) > 1 else []
    else:
        enough = all(len(a) > 1 for a in areas)
        parts = [(a.var(ddof=1) / len(a), len(a) - 1) for a in areas] if enough else []
    variances, df = np.array(parts, dtype=float).reshape(-1, 2).T
    total = float(variances.sum())
    if not total > 0:
        return nan, nan
    return math.sqrt(total), total**2 / float((variances**2 / df).sum())


def _setting_variances(family: Sequence[_Seed], low: float, high: float) -> list[tuple[float, int]]:
    """Per setting, the variance it adds to the family's mean area, and its degrees of freedom.

    Deviations are taken from the slope of the mean curve, as a run that lies further along the same curve
    does not change the area.
    """
    x, y = (np.concatenate([getattr(s, name) for s in family]) for name in ("run_x", "run_y"))
    weights = np.concatenate([s.area_weights(low, high) for s in family]) / len(family)
    code = np.unique(np.concatenate([s.setting for s in family]), return_inverse=True)[1]
    runs, mean_x, mean_y = np.bincount(code), _means(x, code), _means(y, code)
    order = np.argsort(mean_x)
    slope = np.zeros(len(runs))
    if (np.diff(mean_x[order]) > 0).all():
        slope[order] = np.gradient(mean_y[order], mean_x[order])
    deviation = y - mean_y[code] - slope[code] * (x - mean_x[code])
    again = runs > 1
    spread = np.bincount(code, deviation**2)
    typical = spread[again].sum() / max((runs[again] - 1).sum(), 1)
    variance = np.where(again, spread / np.maximum(runs - 1, 1), typical)
    df = np.where(again, runs - 1, max((runs[again] - 1).sum(), 1))
    added = variance * np.bincount(code, weights**2)
    return [(float(v), int(d)) for v, d in zip(added, df, strict=True)] if again.any() else []


def _adjusted(found: list[SeedComparison]) -> tuple[SeedComparison, ...]:
    """The comparisons with Holm's p values over them, for each quantity."""
    for quantity in ("gap", "relative_potency"):
        p = holm(np.array([getattr(c, quantity).p_value for c in found]))
        found = [
            replace(c, **{quantity: replace(getattr(c, quantity), p_adjusted=float(v))})
            for c, v in zip(found, p, strict=True)
        ]
    return tuple(found)


def _cells(d: SeedDifference) -> tuple[str, str, str]:
    where = "" if math.isnan(d.low) else f"{number(d.low)} to {number(d.high)}"
    return str(d.value), where, p_value_cell(d.p_value)


def _record(c: SeedComparison) -> dict[str, Any]:
    row: dict[str, Any] = {**c.group, "family": c.family, "reference": c.reference, "verdict": c.verdict}
    row |= {"seeds": len(c.gap.areas), "reference_seeds": len(c.gap.reference_areas)}
    for d in (c.gap, c.relative_potency):
        row[d.quantity] = d.value.estimate
        parts = {
            "low": d.value.low, "high": d.value.high, "p": d.p_value, "p_adjusted": d.p_adjusted, "df": d.df,
            "detectable": d.smallest_detectable, "from": d.low, "to": d.high,
        }  # fmt: skip
        row |= {f"{d.quantity}_{k}": v for k, v in parts.items()}
    return {**row, "design": c.design, "doubts": " ".join(c.doubts)}


@dataclass(frozen=True, repr=False)
class SettingScatter(Result):
    """Scatter between runs of one setting, pooled over the settings of each group; one entry per group.

    Attributes
    ----------
    settings, runs, df : tuple of int
        Settings with two or more runs, their runs, and runs - settings.
    sd, relative_sd, l0_sd : tuple of float
        Pooled standard deviation of y, of log y (NaN where some y <= 0) and of log L0.
    """

    y_name: str
    groups: tuple[Group, ...]
    settings: tuple[int, ...]
    runs: tuple[int, ...]
    df: tuple[int, ...]
    sd: tuple[float, ...]
    relative_sd: tuple[float, ...]
    l0_sd: tuple[float, ...]

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per group: group columns, `settings`, `runs`, `df`, `sd`, `relative_sd`, `l0_sd`."""
        names = ("settings", "runs", "df", "sd", "relative_sd", "l0_sd")
        return give_back(
            pd.DataFrame(list(self.groups)).assign(**{n: list(getattr(self, n)) for n in names}), backend
        )

    def _view(self) -> View:
        frame = self.to_frame()
        rows = tuple(tuple(number(v) for v in row) for row in frame.to_numpy(dtype=object).tolist())
        return View(f"{self.y_name}: scatter between runs of one setting", tuple(frame.columns), rows)


def within_setting(
    table: Any, by: Sequence[str] | str | None = None, *, y: str | None = None, family: str = "family"
) -> SettingScatter:
    """How much runs of the same family and setting differ, pooled over settings: variance = SS / (N - m).

    Settings are told apart as by `setting_codes`; those with one run tell nothing and are left out.

    Raises
    ------
    TableError
        When no setting was run twice.
    """
    table = metrics_table(table)
    y = default_y(table) if y is None else y
    columns = group_columns(table, by, family)
    rows = usable(table)
    rows = rows[np.isfinite(values(rows, y)) & (values(rows, "l0") > 0)]
    setting = setting_codes(rows, columns)
    keep = np.bincount(setting, minlength=1)[setting] > 1
    if not keep.any():
        raise TableError("no setting was run more than once, so there is no scatter within settings")
    rows, setting = rows[keep], setting[keep]
    codes, groups = group_codes(rows, columns)
    height, l0 = values(rows, y), values(rows, "l0")
    found = []
    for code in range(len(groups)):
        part = codes == code
        index = np.unique(setting[part], return_inverse=True)[1]
        df = len(index) - int(index.max()) - 1
        logs = np.log(height[part]) if (height[part] > 0).all() else np.full(len(index), math.nan)
        spreads = [math.sqrt(_within(v, index) / df) for v in (height[part], logs, np.log(l0[part]))]
        found.append((int(index.max()) + 1, len(index), df, *spreads))
    return SettingScatter(y, tuple(groups), *zip(*found, strict=True))


def _within(v: Array, index: Codes, weights: Array | None = None) -> float:
    """Weighted sum of squares of deviations from the mean of each class."""
    w = np.ones(len(v)) if weights is None else weights
    means = np.bincount(index, w * v) / np.bincount(index, w)
    return float((w * (v - means[index]) ** 2).sum())


@dataclass(frozen=True, repr=False)
class LackOfFit(Result):
    """F test of a curve against the scatter within settings; a small p says that the curve does not fit."""

    name: str
    curve: str
    errors: str
    f: float
    p_value: float
    df_lack: int
    df_within: int
    ss_lack: float
    ss_within: float

    def _view(self) -> View:
        spread = number(math.sqrt(self.ss_within / self.df_within))
        row = (number(self.f), f"{self.df_lack}, {self.df_within}", p_value_cell(self.p_value), spread)
        title = f"Lack of fit of the {self.curve} curve of {self.name} ({self.errors} errors)"
        return View(title, ("F", "df", "p", "SD within settings"), (row,))


def lack_of_fit(fit: CurveFit, table: Any = None) -> LackOfFit:
    """Does the curve miss the settings' means by more than runs of one setting scatter?

    F = ((SSR - SSpe) / (m - p)) / (SSpe / (N - m)): residuals on the scale of the errors model, SSpe their
    sum of squares around the mean of each of m settings, p free parameters. Exact for additive errors, a
    straight line and equal x within settings. Fit all runs, not a Pareto set, to use it. A seed that moves
    all its settings together adds to SSpe and makes the test conservative.

    Source: Draper & Smith, Applied Regression Analysis (1998), section 2.1;
    Seber & Wild, Nonlinear Regression (1989), section 2.1.3.

    Parameters
    ----------
    table : the table that was fitted, optional
        Its sparsity settings tell which points are replicates (see `setting_codes`); without it, points of
        equal x are.

    Raises
    ------
    ValueError
        No replicates, too few settings, or a table that is not the fitted one.
    """
    code = np.unique(fit.x if table is None else _settings_of(fit, table), return_inverse=True)[1]
    settings, points, free = int(code.max()) + 1, fit.n_points, len(fit.problem.free_names)
    if settings == points:
        raise ValueError(
            f"no setting of {fit.name} was run more than once; pass the fitted table if x differs"
        )
    if settings <= free:
        raise ValueError(
            f"{plural(settings, 'setting')} of {fit.name} cannot test a curve of {free} parameters"
        )
    fitted = fit.predict(fit.x)
    gap = fit.y - fitted
    residual = {
        "log": lambda: np.log(fit.y / fitted),
        "relative": lambda: gap / fitted,
        "additive": lambda: gap,
    }[fit.errors]()
    within = _within(residual, code, fit.weights)
    lack = max(float((fit.weights * residual**2).sum()) - within, 0.0)
    if not within > 0:
        raise ValueError(f"runs of {fit.name} do not scatter within settings, so nothing measures the misfit")
    f = (lack / (settings - free)) / (within / (points - settings))
    p = float(fdtrc(settings - free, points - settings, f))
    return LackOfFit(fit.name, fit.curve, fit.errors, f, p, settings - free, points - settings, lack, within)


def _settings_of(fit: CurveFit, table: Any) -> Codes:
    """Setting of each fitted point, found by the index that the fit noted for it."""
    checked = metrics_table(table)
    place = {str(label): i for i, label in enumerate(checked.index)}
    rows = [place.get(r.split(" (L0 ")[0], -1) for r in fit.rows]
    same = min(rows) >= 0 and all(
        np.array_equal(values(checked, name)[rows], v)
        for name, v in ((fit.x_name, fit.x), (fit.y_name, fit.y))
    )
    if not same:
        raise ValueError(f"this is not the table that {fit.name} was fitted to: its rows hold other values")
    return setting_codes(checked)[rows]


@dataclass(frozen=True, repr=False)
class PairedBatches(Result):
    """Mean difference of two SAEs on the same batches, and what forgetting the pairing would have given."""

    difference: Interval
    p_value: float
    df: int
    unpaired: Interval
    correlation: float
    doubts: tuple[str, ...] = ()

    def _view(self) -> View:
        rows = (
            ("paired", str(self.difference), number(self.df), p_value_cell(self.p_value)),
            ("as if independent", str(self.unpaired), "", ""),
        )
        title = f"Mean difference over {self.df + 1} batches (correlation {number(self.correlation)})"
        return View(
            title,
            ("treatment", f"difference [{100 * self.difference.level:g} %]", "df", "p"),
            rows,
            self.doubts,
        )


def paired_batches(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> PairedBatches:
    """mean(a - b) of per-batch values on the same evaluation text, with a t interval (df = batches - 1).

    Text that is hard for one SAE is hard for the other, so differences scatter far less than values do;
    `unpaired` is Welch's interval, which ignores that. Batches must be of equal size and independent.

    Raises
    ------
    ValueError
        When the two are not vectors of one length of two or more finite numbers.
    """
    one, two = (np.asarray(v, dtype=float) for v in (a, b))
    if one.shape != two.shape or one.ndim != 1 or len(one) < 2 or not np.isfinite([one, two]).all():
        raise ValueError(
            f"expected two vectors of finite values, one per batch, found shapes {one.shape} and {two.shape}"
        )
    n, gap = len(one), one - two
    mean = float(gap.mean())
    se = float(gap.std(ddof=1)) / math.sqrt(n)
    reach = float(t_quantile(n - 1, level)) * se
    v = np.array([one.var(ddof=1), two.var(ddof=1)]) / n
    wide = (
        float(t_quantile(v.sum() ** 2 * (n - 1) / (v**2).sum(), level) * math.sqrt(v.sum()))
        if v.any()
        else 0.0
    )
    p = two_sided(mean / se, n - 1) if se > 0 else (0.0 if mean else 1.0)
    correlation = float(np.corrcoef(one, two)[0, 1]) if (v > 0).all() else math.nan
    centred = gap - mean
    serial = float((centred[1:] * centred[:-1]).sum() / (centred**2).sum()) if se > 0 else 0.0
    doubts: tuple[str, ...] = ()
    if n >= 10 and serial > 2 / math.sqrt(n):
        doubts = (f"Neighbouring batches' differences correlate ({number(serial, 2)}): interval too narrow.",)
    paired, unpaired = (Interval(mean, mean - r, mean + r, level) for r in (reach, wide))
    return PairedBatches(paired, p, n - 1, unpaired, correlation, doubts)
