"""Replicated runs: what the scatter between seeds says about a gap, a curve, and an evaluation.

The 8 runs of one seed share its luck, so the seed is the unit: each seed gives one number, and a t interval
over those numbers holds its level at 3 seeds (3-4 % false alarms for 5 %), where resampling the seeds gives
19 % (`benchmarks/seeds_false_positives.py`). No bootstrap here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import nctdtrinc

from frontier.distributions import holm, t_quantile, two_sided
from frontier.doubts import Doubt, Kind
from frontier.fits.own_facts import own_columns, own_doubts, own_facts
from frontier.groups import Groups, setting_codes
from frontier.guard import guard
from frontier.intervals import Interval
from frontier.metrics import metrics_table, set_aside_remark, usable, values, y_axis
from frontier.metrics.axes import goal
from frontier.metrics.checks import TableError
from frontier.problems import Array
from frontier.ratios.pairs import reference_in
from frontier.records import recorded
from frontier.renamed import parameters
from frontier.results import Group
from frontier.seeds.seed_comparison import SeedComparison, SeedComparisons, SeedDifference
from frontier.seeds.seed_curve import Runs, SeedCurve, local_gap, setting_variances, swapped, upright
from frontier.seeds.settings import lack_of_fit as lack_of_fit
from frontier.seeds.settings import paired_batches as paired_batches
from frontier.seeds.settings import within_setting as within_setting
from frontier.wording import listed, nearest, number, plural

DESIGNS = ("seed_is_unit", "paired", "runs_independent")
POWER = 0.8
"""Chance of finding the smallest detectable gap."""


@parameters(seed="run")
@recorded
def compare_seeds(
    table: Any,
    reference: str | None = None,
    by: Sequence[str] | str | None = None,
    *,
    y: str | None = None,
    run: str = "seed",
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
    sets, are compared: a Pareto set over seeds rewards luck. A verdict needs both.

    Parameters
    ----------
    table : anything that `metrics_table` takes
    reference : name of a family
        Default as in `ratio_table`.
    by : column names, optional
        Groups; default as in `compare`.
    run : column name
        What tells runs of a whole family apart.
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

    Examples
    --------
    >>> import frontier
    >>> recipes = {"relu": 0.5, "gated": 0.3}
    >>> table = [
    ...     {"family": f, "seed": s, "l0": l0, "loss_recovered": 1 - scale * (1 + 0.02 * s) * l0**-0.8}
    ...     for f, scale in recipes.items() for l0 in (5, 10, 20, 40) for s in (0, 1, 2)
    ... ]
    >>> found = frontier.compare_seeds(table, reference="relu")
    >>> len(found)
    1
    """
    if design not in DESIGNS:
        raise ValueError(f"unknown design {design!r}{nearest(design, DESIGNS)}")
    table = metrics_table(table)
    y = y_axis(table, y)
    if run not in table:
        raise TableError(f"no column {run!r} that tells seeds apart{nearest(run, list(table.columns))}")
    groups = Groups.of(table, by, family)
    guard(table, groups.cells, across, groups.family)
    if not groups.family:
        raise TableError("the table has no architecture or family column, so there is nothing to compare")
    rows = usable(table)
    known = np.isfinite(values(rows, y)) & (values(rows, "l0") > 0) & rows[groups.family].notna().to_numpy()
    lacking = f"{plural(int((~known).sum()), 'row')} left out: {y}, l0 or {groups.family} is missing"
    rows = rows[known]
    runs = Runs(
        rows[run].astype("string").fillna("").to_numpy(object), setting_codes(rows, groups.cells),
        np.log(values(rows, "l0")), values(rows, y),
    )  # fmt: skip
    inside = groups.on(rows)
    pairs, remarks = inside.pairs(reference_in(table, groups, y, reference))
    found: list[SeedComparison] = []
    for cell, *numbers in pairs:
        members = {str(inside.names[i][groups.family]): inside.codes == i for i in numbers}
        pair = {f: runs.where(m) for f, m in members.items()}
        unlike = _unlike(rows, members, groups.columns, across)
        found.append(_compare(cell, pair, y, goal(table, y) == "max", design, level, unlike))
    said = dict.fromkeys(
        r for r in (*groups.notes, set_aside_remark(table), "" if known.all() else lacking, *remarks) if r
    )
    return SeedComparisons(_adjusted(found), groups.cells, tuple(said))


def _compare(
    group: Group,
    pair: Mapping[str, Runs],
    y: str,
    rises: bool,
    design: str,
    level: float,
    facts: Sequence[Doubt],
) -> SeedComparison:
    doubts: list[Doubt] = []
    split = {n: _seeds(n, runs, doubts) for n, runs in pair.items()}
    if design == "paired" and len({frozenset(s) for s in split.values()}) > 1:
        have = " and ".join(f"{n} has {listed(sorted(s))}" for n, s in split.items())
        raise ValueError(f"a paired design needs the same seeds: {have}")
    positive = all((runs.y > 0).all() for runs in pair.values())
    found = []
    for ratio in (False, True):
        turn = swapped(positive, rises) if ratio else upright
        curves = {n: [turn(label, runs) for label, runs in seeds.items()] for n, seeds in split.items()}
        found.append(_difference(ratio, curves, design, level, positive, doubts))
    said = tuple(dict.fromkeys([*doubts, *facts]))
    one, two = pair
    return SeedComparison(
        group, one, two, y, design, found[0], found[1], said, "higher" if rises else "lower"
    )


def _unlike(
    rows: pd.DataFrame,
    members: Mapping[str, NDArray[np.bool_]],
    groups: Sequence[str],
    across: Sequence[str],
) -> list[Doubt]:
    """Doubts about training facts that differ between the two families."""
    doubts = []
    for fact in ("tokens_trained", "dictionary_size"):
        if fact in rows:
            known = {n: sorted(rows[fact][m].dropna().unique()) for n, m in members.items()}
            told = {n: listed([number(v) for v in values]) for n, values in known.items()}
            if len(set(told.values())) > 1 and all(told.values()):
                text = f"{fact} differs: {' and '.join(f'{v} in {n}' for n, v in told.items())}."
                one = {n: float(v[0]) for n, v in known.items() if len(v) == 1}
                doubts.append(Doubt(Kind.confounded, text, " and ".join(told), quantity=fact, numbers=one))
    theirs = own_columns(rows, groups, across)
    own = [own_facts(theirs, np.flatnonzero(m)) for m in members.values()]
    family, reference = members
    return [*doubts, *own_doubts((family, reference), (own[0], own[1]))]


def _seeds(name: str, runs: Runs, doubts: list[Doubt]) -> dict[str, Runs]:
    """Runs of one family by seed; seeds of one L0 and runs of unknown seed are left out aloud."""
    labels = runs.seed
    if (labels == "").all():
        labels = np.full(len(labels), "(missing)", object)
    unknown = int((labels == "").sum())
    if unknown:
        text = f"{plural(unknown, 'run')} of {name} without a seed left out."
        doubts.append(Doubt(Kind.left_out, text, name, numbers={"runs": unknown}))
    out = {}
    for label in dict.fromkeys(labels[labels != ""]):
        part = runs.where(labels == label)
        if len(np.unique(part.log_l0)) < 2:
            text = f"seed {label} of {name} has a single L0 and no curve; left out."
            doubts.append(Doubt(Kind.left_out, text, name, f"seed {label}"))
            continue
        twice = len(part.setting) - len(np.unique(part.setting))
        if twice:
            text = (
                f"seed {label} of {name} holds {plural(twice, 'setting')} more than once; name the column "
                "that tells those runs apart in by."
            )
            doubts.append(Doubt(Kind.repeated, text, name, f"seed {label}", numbers={"settings": twice}))
        out[str(label)] = part
    return out


def _difference(
    ratio: bool,
    curves: Mapping[str, list[SeedCurve]],
    design: str,
    level: float,
    positive: bool,
    doubts: list[Doubt],
) -> SeedDifference:
    nan, quantity = math.nan, "relative_potency" if ratio else "gap"
    families, names = tuple(curves.values()), " and ".join(curves)
    every = [s for family in families for s in family]
    low, high = max((s.x[0] for s in every), default=nan), min((s.x[-1] for s in every), default=nan)
    if not low < high or not all(families):
        text = f"{names} have no common range of {'y' if ratio else 'L0'}: nothing is extrapolated."
        doubts.append(Doubt(Kind.no_overlap, text, names, quantity=quantity))
        none, blank = (
            Interval(nan, nan, nan, level),
            [dict.fromkeys((s.label for s in f), nan) for f in families],
        )
        return SeedDifference(quantity, none, nan, nan, nan, nan, nan, nan, nan, nan, blank[0], blank[1])
    areas = [np.array([s.area_weights(low, high) @ s.run_y for s in family]) for family in families]
    se, df = _standard_error(design, families, areas, low, high)
    local = local_gap(families, low, high)
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
    curves: Mapping[str, list[SeedCurve]],
    design: str,
    df: float,
    local: Array,
    common: tuple[float, float],
) -> Iterator[Doubt]:
    names = " and ".join(curves)
    if not df > 0:
        single = " and ".join(n for n, family in curves.items() if len(family) < 2)
        other = "no setting was run twice" if design == "runs_independent" else "the seeds do not scatter"
        text = f"{f'{single}: one seed' if single else f'{names}: {other}'}: no interval."
        yield Doubt(Kind.no_interval, text, single or names)
    if ratio:
        return
    if local.min() < 0 < local.max():
        text = f"The mean curves of {names} cross: the gap averages over both sides."
        ends = {"from": float(local.min()), "to": float(local.max())}
        yield Doubt(Kind.crossing, text, names, quantity="gap", numbers=ends)
    spans = [(s.x[0], s.x[-1], f"seed {s.label} of {n}") for n, family in curves.items() for s in family]
    low, high = min(spans)[0], max(e[1] for e in spans)
    share = (common[1] - common[0]) / (high - low)
    if share < 0.5:
        limits = dict.fromkeys([max(spans)[2], min(spans, key=lambda e: e[1])[2]])
        text = (
            f"The common range is {number(100 * share, 2)} % of the L0 range run by {names} (log scale); "
            f"{' and '.join(limits)} limit{'s' if len(limits) == 1 else ''} it."
        )
        yield Doubt(Kind.small_overlap, text, names, " and ".join(limits), numbers={"share": float(share)})


def _standard_error(
    design: str, curves: Sequence[Sequence[SeedCurve]], areas: list[Array], low: float, high: float
) -> tuple[float, float]:
    """Standard error of the gap and its degrees of freedom; NaN where seeds or scatter are lacking."""
    nan = math.nan
    if design == "runs_independent":
        each = [setting_variances(family, low, high) for family in curves]
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


def _adjusted(found: list[SeedComparison]) -> tuple[SeedComparison, ...]:
    """The comparisons with Holm's p values over them, for each quantity."""
    for quantity in ("gap", "relative_potency"):
        p = holm(np.array([getattr(c, quantity).p_value for c in found]))
        found = [
            replace(c, **{quantity: replace(getattr(c, quantity), p_adjusted=float(v))})
            for c, v in zip(found, p, strict=True)
        ]
    return tuple(found)
