"""Which two fits are compared: the reference, pairs of one group, what must be equal, what both cover."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy.special import fdtrc

from frontier.doubts import Doubt, Kind
from frontier.fits.curve_fit import CurveFit
from frontier.fits.facts import SHARED_PARENTS, TRAINING, UNLIKE_LOSSES
from frontier.fits.frontier_fits import FrontierFits
from frontier.fits.own_facts import own_doubts
from frontier.fits.points import MINIMUM_RUNS, SEEDS
from frontier.groups import PROTOCOL, Groups, as_text
from frontier.metrics import set_aside_remark, usable, values
from frontier.metrics.axes import known_axes
from frontier.metrics.columns import USUAL_REFERENCES
from frontier.metrics.finished import are_unequal, size_columns
from frontier.missing_families import missing
from frontier.problems import Array
from frontier.ratios.l0_units import unit_doubts
from frontier.results import Group, in_words
from frontier.wording import folded, listed, nearest, number, plural

FAIR = 1.5
"""A search of up to so many times the other's runs counts as equal. At twice, untreated, 6 % of 200 simulated
tables of equal families were told apart, and 89 % of limits held the truth."""
OTHER_TEXT = 0.01
"""The same model's loss differs by more than this share only on another text."""
SEEN_WIDER = 1.05
"""Widening of an interval, as a factor, from which it is worth a word."""


def reference_family(families: Sequence[Any], reference: Any = None) -> str:
    """The reference's name among the families.

    Raises
    ------
    ValueError
        When the named one does not exist, or none is named and the choice is not clear; lists the choices.
    """
    known = list(dict.fromkeys(str(f) for f in families))
    if reference is not None:
        reference = as_text(pd.Series([reference])).iloc[0]
        alike = [f for f in known if folded(f) == folded(reference)]
        if reference not in known and len(alike) == 1:
            return alike[0]
        if reference not in known:
            raise ValueError(f"no family {reference!r} to compare with{nearest(reference, known)}")
        return reference
    usual = [f for f in known if f.lower() in USUAL_REFERENCES]
    if len(known) == 1 and not usual:
        raise ValueError(f"there is one family only, {known[0]}, and nothing to compare it with")
    if len(usual) != 1:
        raise ValueError(
            f"name the reference family; there are {listed(known, 12)} (reference=, --reference)"
        )
    return usual[0]


def reference_in(table: pd.DataFrame, groups: Groups, y: str, reference: str | None = None) -> str:
    """The reference's name among the families whose rows have a number of y.

    Raises
    ------
    ValueError
        As `reference_family`; of a family that is there and has no such row it says so, and what to compare.
    """
    rows = usable(table)
    families = as_text(rows[groups.family]).where(rows[groups.family].notna())
    has = families[np.isfinite(values(rows, y)) & (values(rows, "l0") > 0)].dropna().tolist()
    everyone = as_text(table[groups.family]).where(table[groups.family].notna())
    try:
        name = reference_family(everyone.dropna().tolist(), reference)
    except ValueError:
        return reference_family(has, reference)
    if name in has:
        return name
    own = everyone == name
    why = set_aside_remark(table[own.fillna(False).to_numpy(dtype=bool)])
    lacks = f"none that can be used ({why})" if why else f"none with {y}"
    ways = other_axes(table, groups, name)
    raise ValueError(f"{name} has {plural(int(own.sum()), 'row')} and {lacks}{'; ' * bool(ways)}{ways}")


def other_axes(table: pd.DataFrame, groups: Groups, reference: str) -> str:
    """The known axes of which the reference and another family have numbers, and what to type; else empty."""
    rows = usable(table)
    families = as_text(rows[groups.family])
    there = {a: families[np.isfinite(values(rows, a))].drop_duplicates().tolist() for a in known_axes(rows)}
    both = [a for a, own in there.items() if reference in own and len(own) > 1]
    if not both:
        return ""
    others = [f for f in there[both[0]] if f != reference]
    return f"{listed(others, 4)} and {reference} have {listed(both, 4)}: y={both[0]!r} (--y {both[0]})"


def refuse_unlike(fit: CurveFit, reference: CurveFit) -> None:
    """Refuse to compare fits of different curve, errors, axes or evaluation protocol.

    Raises
    ------
    ValueError
        Names what differs.
    """
    for what in ("curve", "errors", "x_name", "y_name"):
        a, b = getattr(fit, what), getattr(reference, what)
        if a != b:
            raise ValueError(f"cannot compare {fit.name} and {reference.name}: {what} is {a} and {b}")
    for fact in (*PROTOCOL, *size_columns(reference.facts)):
        a, b = fit.facts.get(fact), reference.facts.get(fact)
        if a != b and (fact in PROTOCOL or are_unequal(a, b)):
            raise ValueError(
                f"cannot compare {fit.name} and {reference.name}: {fact} is {a!r} and {b!r}; "
                f"make the column equal in the table if they are, or fit with across=[{fact!r}]"
            )


def pairs_with(fits: FrontierFits, reference: str) -> tuple[list[tuple[CurveFit, CurveFit]], list[str]]:
    """Every other family's fit with the reference's of the same group; remarks on what cells lack."""
    column = fits.family_column
    if not column:
        raise ValueError(f"the fits have no family column; they are grouped by {listed(fits.group_columns)}")
    cells: dict[str, dict[str, CurveFit]] = {}
    for f in fits:
        cells.setdefault(_cell_of(f.group, column), {})[str(f.group[column])] = f
    unfitted: dict[str, list[str]] = {}
    for x in fits.failures:
        unfitted.setdefault(_cell_of(x.group, column), []).append(str(x.group[column]))
    pairs = [
        (f, members[reference])
        for members in cells.values()
        if reference in members
        for name, f in members.items()
        if name != reference
    ]
    return pairs, [*missing(cells, reference, "fit of", unfitted), *(x.reason for x in fits.failures)]


def _cell_of(group: Group, column: str) -> str:
    """The values of a group without that of the family, in words."""
    return in_words({k: v for k, v in group.items() if k != column}) or "the table"


def shared_group(fit: CurveFit, reference: CurveFit) -> Group:
    """The group that both belong to: columns with equal values."""
    return {k: v for k, v in fit.group.items() if reference.group.get(k) == v}


def family_names(fit: CurveFit, reference: CurveFit) -> tuple[str, str]:
    """What tells the two apart: the values of the group columns in which they differ."""
    differ = [k for k in fit.group if fit.group[k] != reference.group.get(k)]
    if not differ:
        return fit.name, reference.name
    one, two = (", ".join(str(f.group.get(k)) for k in differ) for f in (fit, reference))
    return one, two


def common_y(fit: CurveFit, reference: CurveFit) -> tuple[float, float]:
    """Largest of the smallest heights and smallest of the largest; reversed where the ranges do not meet."""
    one, two = (f.y[f.y > 0] if (f.y > 0).any() else f.y for f in (fit, reference))
    return _common(one, two)


def common_x(fit: CurveFit, reference: CurveFit) -> tuple[float, float]:
    """The same for x."""
    return _common(fit.x, reference.x)


def middle(low: float, high: float) -> float:
    """The geometric middle of a range, the arithmetic one where it does not lie above 0."""
    return math.sqrt(low * high) if low > 0 else 0.5 * (low + high)


def grid(low: float, high: float, points: int) -> Array:
    """Points from `low` to `high`, equally spaced in the logarithm where the range lies above 0."""
    return np.geomspace(low, high, points) if low > 0 else np.linspace(low, high, points)


def pair_doubts(fit: CurveFit, reference: CurveFit) -> list[Doubt]:
    """Why the two may not compare fairly."""
    names = family_names(fit, reference)
    both = " and ".join(names)
    doubts = []
    if _unequal_spread(fit, reference):
        one, two = (f.problem.errors.sigma_text(f.sigma) for f in (fit, reference))
        text = f"Residual SD {one} in {names[0]}, {two} in {names[1]}; Welch degrees of freedom used."
        spreads = dict(zip(names, (fit.sigma, reference.sigma), strict=True))
        doubts.append(Doubt(Kind.unequal_noise, text, both, numbers=spreads))
    return [*doubts, *design_doubts(names, fit, reference)]


class Sample(Protocol):
    """The runs that stand for one family: how many there were, how many are used, what they share."""

    @property
    def facts(self) -> dict[str, str]:
        """What must be equal for a fair comparison."""

    @property
    def runs(self) -> int:
        """Usable runs."""

    @property
    def n_points(self) -> int:
        """Runs that are used."""


def design_doubts(names: tuple[str, str], one: Sample, other: Sample, *, wider: float = 1.0) -> list[Doubt]:
    """Why two families may not compare fairly, whatever the curve: budgets, sizes, units of L0, search.

    `wider` is the factor by which intervals were widened for a search.
    """
    both, doubts = " and ".join(names), []
    for fact in TRAINING:
        a, b = one.facts.get(fact), other.facts.get(fact)
        if a != b and a and b:
            said = [f"{listed(v.split(', '), 3)} in {n}" for v, n in zip((a, b), names, strict=True)]
            text = f"{fact} differs: {said[0]}, {said[1]}."
            known = zip(names, map(_as_number, (a, b)), strict=True)
            values = {n: v for n, v in known if math.isfinite(v)}
            doubts.append(Doubt(Kind.confounded, text, both, quantity=fact, numbers=values))
    a, b = (s.facts.get("ce_clean", "") for s in (one, other))
    if a and b and abs(float(a) - float(b)) > OTHER_TEXT * abs(float(b)):
        text = f"ce_clean differs: {a} in {names[0]}, {b} in {names[1]}; they were evaluated on other texts."
        values = dict(zip(names, (float(a), float(b)), strict=True))
        doubts.append(Doubt(Kind.confounded, text, both, quantity="ce_clean", numbers=values))
    doubts += own_doubts(names, (one.facts, other.facts))
    doubts += unit_doubts(names, (one.facts, other.facts))
    for name, sample in zip(names, (one, other), strict=True):
        doubts += _doubts_of_one(name, sample, wider)
    fewer, more = sorted((one.runs, other.runs))
    searched = one.runs > one.n_points or other.runs > other.n_points
    if searched and fewer > 0 and more > FAIR * fewer:
        text = (
            f"{names[0]} was selected from {one.runs} runs, {names[1]} from {other.runs}: "
            "the longer search finds the luckier frontier."
        )
        runs = dict(zip(names, (one.runs, other.runs), strict=True))
        doubts.append(Doubt(Kind.unequal_search, text, both, numbers=runs))
    return doubts


def _doubts_of_one(name: str, sample: Sample, wider: float) -> Iterator[Doubt]:
    """Why the points of one family's fit are not independent draws of what it can do."""
    counts: dict[str, float] = {"points": sample.n_points, "runs": sample.runs}
    if SEEDS in sample.facts:
        yield Doubt(Kind.seeds_differ, f"{name}: {sample.facts[SEEDS]}", name)
    if UNLIKE_LOSSES in sample.facts:
        unlike, of, times = sample.facts[UNLIKE_LOSSES].split(", ")
        more = "" if times == "nan" else f", by which hits are {times} times as large"
        text = (
            f"{name}: loss_recovered contradicts the losses beside it in {unlike} of {of} SAEs{more}; "
            "without that column (--map theirs=ignored) the losses count."
        )
        numbers = {"contradicted": float(unlike), "points": float(of), "times": float(times)}
        yield Doubt(Kind.unlike_losses, text, name, quantity="loss_recovered", numbers=numbers)
    if SHARED_PARENTS in sample.facts:
        text = (
            f"{name}: {sample.facts[SHARED_PARENTS]} (column parent); they err alike, so the interval is too "
            "narrow: take the SAE, or batches of text, as the unit."
        )
        yield Doubt(Kind.dependent, text, name, numbers=counts)
    if sample.runs > sample.n_points:
        advice = " (fit_frontier uses all runs)" if sample.runs >= MINIMUM_RUNS else ""
        counted = ", which intervals do not count" if wider == 1 else ""
        if wider >= SEEN_WIDER:
            counted = f", for which intervals are {number(wider, 2)} times as wide"
            counts["wider"] = wider
        text = (
            f"{name} is fitted to the {sample.n_points} Pareto-optimal of {sample.runs} runs: winners "
            f"are lucky{counted}{advice}."
        )
        yield Doubt(Kind.selected, text, name, numbers=counts)


def _as_number(fact: str) -> float:
    """A fact's number; NaN for several, or words."""
    try:
        return float(fact)
    except ValueError:
        return math.nan


def _unequal_spread(fit: CurveFit, reference: CurveFit) -> bool:
    """Whether an F test rejects equal residual variances at 5 %."""
    f = (fit.sigma / reference.sigma) ** 2 if reference.sigma > 0 else math.nan
    if not (math.isfinite(f) and f > 0):
        return False
    tails = fdtrc(fit.df, reference.df, f), fdtrc(reference.df, fit.df, 1 / f)
    return bool(2 * min(tails) < 0.05)


def _common(one: Array, two: Array) -> tuple[float, float]:
    return max(float(one.min()), float(two.min())), min(float(one.max()), float(two.max()))


def height_of(fit: CurveFit, reference: CurveFit, at: float | None) -> tuple[float, list[Doubt]]:
    """The height at which a relative potency is read, and the doubt where it lies outside the data."""
    low, high = common_y(fit, reference)
    if at is not None and not (isinstance(at, (int, float)) and math.isfinite(at)):
        raise ValueError(f"at must be one number, a value of {fit.y_name}; found {at!r}")
    if low > high:
        one, two = (f"{number(float(f.y.min()))}-{number(float(f.y.max()))}" for f in (fit, reference))
        names = family_names(fit, reference)
        text = (
            f"{names[0]} covers y {one}, {names[1]} {two}: every comparison at equal y extrapolates at least "
            "one curve."
        )
        gap = {"from": high, "to": low}
        doubt = Doubt(Kind.no_overlap, text, " and ".join(names), quantity=fit.y_name, numbers=gap)
        return (middle(low, high) if at is None else at), [doubt]
    if at is None:
        return middle(low, high), []
    outside = [n for n, f in named_pair(fit, reference) if not f.y.min() <= at <= f.y.max()]
    if not outside:
        return at, []
    text = f"y = {number(at)} is outside the data of {listed(outside)}: extrapolated."
    return at, [Doubt(Kind.extrapolated, text, " and ".join(outside), numbers={"at": float(at)})]


def named_pair(fit: CurveFit, reference: CurveFit) -> list[tuple[str, CurveFit]]:
    """Both fits with the names of their families."""
    return list(zip(family_names(fit, reference), (fit, reference), strict=True))
