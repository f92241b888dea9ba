"""Ratios of architectures: parameters, L0 at equal performance hit, performance hit at equal L0.

Direction: ratio = value(family) / value(reference), except relative potency, which is
L0(reference) / L0(family) at equal hit: 2.5 means that the family needs 2.5 times fewer active latents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from frontier.distributions import holm
from frontier.doubts import Doubt, Kind
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits
from frontier.metrics.axes import known_better
from frontier.problems import Array, Quantity, height, parameter, x_at
from frontier.ratios import log_ratio as lr
from frontier.ratios.known import NOTHING, Known
from frontier.ratios.pairs import (
    common_x,
    family_names,
    height_of,
    middle,
    named_pair,
    pair_doubts,
    pairs_with,
    reference_family,
    refuse_unlike,
    shared_group,
)
from frontier.ratios.ratio import Ratio, RatioTable
from frontier.ratios.simultaneous import joint_level, joint_p_values
from frontier.records import recorded
from frontier.renamed import parameters
from frontier.results import Group
from frontier.wording import listed, number

FAR = 3.0
"""A parameter read this many times outside the data gives a number, no verdict."""
NEAR = 1e-9
SPARSITY_AXES = ("sparsity", "relative_sparsity")


@parameters(method="intervals")
@recorded
def ratio_table(
    fits: FrontierFits,
    reference: str | None = None,
    *,
    at: float | Sequence[float] | None = None,
    level: float | None = None,
    intervals: str = "welch",
    simultaneous: str | None = None,
) -> RatioTable:
    """Every family's parameters against the reference family's, group by group, with the relative potency.

    Parameters
    ----------
    reference : name of a family
        Default: the one named relu, standard, vanilla or baseline, if there is exactly one.
    at : float or several, optional
        The hits for relative potency; default the geometric middle of each pair's common range.
    intervals : {"welch", "mover", "profile"}
    simultaneous : {None, "bonferroni", "dunnett"}
        Widens the intervals so that they hold together over all rows of one quantity.

    Returns
    -------
    RatioTable
        Where the curve does not fit a cell (`fits.goodness`), ratios of its parameters say so in verdict
        and doubts; relative potency inside the data stands.

    Raises
    ------
    ValueError
        Unknown reference, intervals or adjustment.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> ratios = frontier.ratio_table(fits, reference="baseline")
    >>> round(ratios["Resid", "k"].ratio, 1)
    6.0
    """
    lr.method_named(intervals)
    groups = [f.group for f in fits.fits] + [f.group for f in fits.failures]
    name = reference_family([g.get(fits.family_column, "") for g in groups], reference)
    pairs, notes = pairs_with(fits, name)
    asked = fits.fits[0].level if level is None and fits.fits else (level or 0.95)

    misfits = {_key(g.cell): (g.doubt,) for g in fits.goodness if g.rejected}
    hits = [at] if at is None or isinstance(at, (int, float)) else list(at)

    estimates = Known.of([f for p in pairs for f in p])

    def build(levels: dict[str, float]) -> list[Ratio]:
        rows = []
        own = levels.get("relative_potency", asked)
        places = [(p, height_of(*p, v)[0]) for p in pairs for v in hits]
        known = estimates.reaching([(f, v) for p, v in places for f in p], own)
        for fit, ref in pairs:
            free = [p for p in fit.problem.free_names if p in ref.problem.free_names]
            ratios = [
                parameter_ratio(fit, ref, p, level=levels.get(p, asked), method=intervals, known=known)
                for p in free
            ]
            rows += [replace(r, doubts=(*misfits.get(_key(r.group), ()), *r.doubts)) for r in ratios]
            rows += [_potency(fit, ref, v, own, intervals, known) for v in hits]
        return rows

    rows = build({})
    if simultaneous:
        rows = [replace(r, level=asked) for r in build(_joint_levels(rows, asked, simultaneous, pairs))]
        notes = [*notes, f"intervals hold together over the rows of each quantity ({simultaneous})"]
    columns = tuple(c for c in fits.group_columns if c != fits.family_column)
    adjusted = _adjusted(rows, lambda own: joint_p_values(own, simultaneous, pairs) if simultaneous else None)
    return RatioTable(
        tuple(adjusted), columns, (*notes, *fits.notes), adjustment=(simultaneous or "Holm").capitalize()
    )


def parameter_ratio(
    fit: CurveFit, reference: CurveFit, name: str, *, level: float | None = None, method: str = "welch",
    known: Known = NOTHING,
) -> Ratio:  # fmt: skip
    """value(family) / value(reference) of one parameter of two independent fits.

    A k (of a power law the scale, the hit at x = 1) that lies more than `FAR` times outside the data of one
    of the fits has a number and a factor, but no better side.
    """
    doubts = []
    better = {"k": "above 1", "slope": "below 1", "intercept": "below 1", "scale": "below 1"}.get(name, "")
    outside = {n: o for n, f in named_pair(fit, reference) if (o := _outside(f, name)) is not None}
    if outside:
        told = ", ".join(f"{n} {side} = {number(factor, 2)}" for n, (side, factor) in outside.items())
        factors = {n: factor for n, (_, factor) in outside.items()}
        text, who = f"{name} is extrapolated: {told}.", " and ".join(outside)
        if max(factors.values()) > FAR:
            text, better = f"{text[:-1]}; more than {FAR:g} times outside the data, it has no verdict.", ""
        kind = Kind.extrapolated_k if name == "k" else Kind.extrapolated
        doubts = [Doubt(kind, text, who, quantity=name, numbers=factors)]
    return _ratio(fit, reference, parameter(name), name, None, better, level, method, doubts, known)


def _outside(fit: CurveFit, name: str) -> tuple[str, float] | None:
    """On which side of the data the x of a location parameter lies, and by what factor; None inside."""
    if name not in ("k", "scale"):
        return None
    at = fit["k"].estimate if name == "k" else 1.0
    low, high, what = float(fit.shifted_x.min()), float(fit.shifted_x.max()), "k" if name == "k" else "1"
    if at > high * (1 + NEAR):
        return f"{what} / largest x", at / high
    return (f"smallest x / {what}", low / at) if at < low * (1 - NEAR) else None


@parameters(method="intervals")
@recorded
def relative_potency(
    fit: CurveFit,
    reference: CurveFit,
    at: float | None = None,
    *,
    level: float | None = None,
    intervals: str = "welch",
) -> Ratio:
    """L0(reference) / L0(family) at equal performance hit `at`; above 1, the family needs fewer latents.

    Parameters
    ----------
    at : float, optional
        A height (performance hit); default the geometric middle of the heights that both fits cover.
    intervals : {"welch", "mover", "profile"}
        How the interval of the ratio is made.

    Returns
    -------
    Ratio
        Doubts say where `at` lies outside the data of one of the fits.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> ratio = frontier.relative_potency(fits["Resid", "gated"], fits["Resid", "baseline"])
    >>> round(ratio.ratio, 2)
    2.57
    """
    return _potency(fit, reference, at, level, intervals)


def _potency(
    fit: CurveFit, reference: CurveFit, at: float | None, level: float | None, intervals: str,
    known: Known = NOTHING,
) -> Ratio:  # fmt: skip
    at, doubts = height_of(fit, reference, at)
    name, better = "relative_potency", "above 1"
    return _ratio(fit, reference, x_at(at), name, at, better, level, intervals, doubts, known)


@parameters(method="intervals")
@recorded
def hit_ratio(
    fit: CurveFit,
    reference: CurveFit,
    at: float | None = None,
    *,
    level: float | None = None,
    intervals: str = "welch",
) -> Ratio:
    """hit(family) / hit(reference) at equal L0 `at`; below 1, the family loses less.

    Parameters
    ----------
    at : float, optional
        An L0 (or a value of x, where x is no sparsity); default the geometric middle of the common range.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> ratio = frontier.hit_ratio(fits["Resid", "gated"], fits["Resid", "baseline"], at=50)
    >>> ratio.quantity, round(ratio.ratio, 2)
    ('hit_ratio', 0.51)
    """
    low, high = common_x(fit, reference)
    axis = "L0" if fit.x_name == "sparsity" else fit.x_name
    if at is None:
        x = middle(low, high)
        at = 1 / x if axis == "L0" else x
    else:
        if axis == "L0" and not at > 0:
            raise ValueError(f"at is the L0 at which hits are compared, above 0; found {at!r}")
        x = 1 / at if axis == "L0" else float(at)
    doubts = []
    if not low <= x <= high:
        text = f"{axis} = {number(at)} is outside the range that both cover."
        doubts = [Doubt(Kind.extrapolated, text, quantity="hit_ratio", numbers={"at": float(at)})]
    intervals = "welch" if intervals == "profile" else intervals
    return _ratio(fit, reference, height(x), "hit_ratio", at, "below 1", level, intervals, doubts, NOTHING)


def leave_one_out_ratios(fit: CurveFit, reference: CurveFit, quantity: Quantity) -> tuple[Array, list[str]]:
    """value(family) / value(reference) with each single SAE left out, and what that SAE is called."""
    one, two = (f.interval_of(quantity, method="wald").estimate for f in (fit, reference))
    values = np.concatenate([fit.jackknife(quantity) / two, one / reference.jackknife(quantity)])
    return values, [f"{name} row {r}" for name, f in named_pair(fit, reference) for r in f.rows]


def _ratio(
    fit: CurveFit, reference: CurveFit, quantity: Quantity, name: str, at: float | None,
    better: str, level: float | None, method: str, doubts: list[Doubt], known: Known,
) -> Ratio:  # fmt: skip
    level = fit.level if level is None else level
    refuse_unlike(fit, reference)
    one = known.logarithm(fit, reference, quantity, level)
    two = known.logarithm(reference, fit, quantity, level)
    on_log_scale = quantity.kind == "x_at" or name in fit.problem.curve.positive
    shifted = quantity.kind == "x_at" and bool(fit.problem.offset or reference.problem.offset)
    held = bool(fit.shared or reference.shared)  # a profile of both would hold what was estimated beside them
    if method == "profile" and on_log_scale and fit.problem.curve.log_x and not (shifted or held):
        found = lr.pooled_profile(fit.estimate, reference.estimate, quantity, level)
    elif method == "mover":
        found = lr.mover(one, two, level)
    else:
        method, found = "welch", lr.welch(one, two, level)
    if name == "relative_potency" and fit.x_name == "l0":
        found = found.reciprocal
    if not math.isfinite(found.value):
        found = replace(found, low=math.nan, high=math.nan)
        doubts = [*doubts, _no_ratio(fit, reference, name, at)]
    family, ref = family_names(fit, reference)
    return Ratio(
        shared_group(fit, reference), family, ref, name, at, _exp(found.value), _exp(found.low),
        _exp(found.high), found.p_value, found.df, _better(name, better, fit), level, method, fit.errors,
        (*doubts, *pair_doubts(fit, reference)), y_name=fit.y_name,
    )  # fmt: skip


def _no_ratio(fit: CurveFit, reference: CurveFit, name: str, at: float | None) -> Doubt:
    """Why a ratio has no logarithm."""
    if name == "relative_potency" and at is not None:
        short = [
            n for n, f in named_pair(fit, reference) if not np.isfinite(f.problem.curve.x_at(at, f.values))
        ]
        if short:
            text = f"The curve of {listed(short)} never reaches {fit.y_name} = {number(at)}."
            return Doubt(Kind.undefined, text, " and ".join(short), quantity=name, numbers={"at": at})
    text = f"{name} is not positive in one of the fits, so its ratio has no logarithm."
    return Doubt(Kind.undefined, text, quantity=name)


def _joint_levels(
    rows: list[Ratio], level: float, kind: str, pairs: list[tuple[CurveFit, CurveFit]]
) -> dict[str, float]:
    """Per quantity, the level of single intervals that hold together at `level`."""
    return {
        q: joint_level([r for r in rows if r.quantity == q], level, kind, pairs)
        for q in {r.quantity for r in rows}
    }


def _adjusted(rows: list[Ratio], joint: Callable[[list[Ratio]], Array | None]) -> list[Ratio]:
    """The rows with p values adjusted over their quantity: jointly, as the intervals, or Holm's."""
    out = list(rows)
    for quantity in {r.quantity for r in rows}:
        index = [i for i, r in enumerate(rows) if r.quantity == quantity]
        own = [rows[i] for i in index]
        together = joint(own)
        adjusted = holm(np.array([r.p_value for r in own])) if together is None else together
        for i, p in zip(index, adjusted, strict=True):
            out[i] = replace(rows[i], p_adjusted=float(p))
    return out


def _better(name: str, when: str, fit: CurveFit) -> str:
    """On which side of 1 a ratio is better, given what the axes mean; `when` is for y that falls with x."""
    side = fit.y_better or known_better(fit.y_name)
    if not side or fit.x_name not in (*SPARSITY_AXES, "l0"):
        return ""
    if name == "relative_potency":  # fewer latents at equal y
        return "above 1"
    if name == "hit_ratio":
        return "below 1" if side == "lower" else "above 1"
    return when if side == "lower" and fit.x_name in SPARSITY_AXES else ""


def _key(group: Group) -> tuple[tuple[str, object], ...]:
    return tuple(sorted(group.items()))


def _exp(value: float) -> float:
    return math.inf if value >= 700 else math.exp(value)  # NaN stays
