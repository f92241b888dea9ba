"""What the intervals of fits cover: every fit taken for the truth, simulated, and fitted by the same code."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from frontier import intervals as ci
from frontier.calibration.coverage import Calibration, Coverage, coverage
from frontier.curves import VANISHING, curve_named
from frontier.distributions import welch_reach
from frontier.errors import Errors, TwoComponent, errors_model, stacked
from frontier.fits.curve_fit import CurveFit
from frontier.fits.errors_model import knees_of
from frontier.fits.frontier_fits import FrontierFits
from frontier.fits.nuisance import KNEE, OVER_SHARED, Nuisance, at_values, intervals_with
from frontier.fits.points import Points
from frontier.fits.vanishing import searched
from frontier.problems import Array, Estimate, Problem, Quantity, parameter, x_at
from frontier.ratios.log_ratio import error_of_limits
from frontier.ratios.pairs import common_y, middle, pairs_with, reference_family

REPLICATES, SEARCHED = 2000, 500
"""Tables of fits, and where a knee or an L* is searched for in each."""


@dataclass(frozen=True, eq=False)
class Truth:
    """A curve, the x at which it is observed, and the noise: all that a simulated group needs.

    `sigma` is the residual SD of a point of weight 1; `weights` default to 1. `spent` is as in `Problem`.
    """

    curve: str
    parameters: Mapping[str, float]
    x: Array
    sigma: float
    errors: str | Errors
    fixed: Mapping[str, float]
    weights: Array | None = None
    spent: float = 0.0

    @classmethod
    def of(cls, fit: CurveFit) -> Truth:
        """A fit taken for the truth."""
        return cls(
            fit.curve, fit.values, fit.x, fit.sigma, fit.problem.errors, fit.fixed, fit.weights, fit.spent
        )

    def simulate(self, replicates: int, rng: np.random.Generator) -> Problem:
        """`replicates` data sets at the same x and weights: normal noise on the scale of the errors model."""
        weights = np.ones_like(self.x) if self.weights is None else self.weights
        height = curve_named(self.curve).value(self.x, self.parameters)
        y = errors_model(self.errors).draw(rng, height, self.sigma, weights, replicates)
        return Problem.of(self.curve, self.x, y, weights, self.errors, self.fixed, self.spent)

    def working(self, quantity: Quantity) -> float:
        """The true value of a quantity on its working scale."""
        curve = curve_named(self.curve)
        if quantity.kind == "x_at":
            x = curve.x_at(float(np.asarray(quantity.at)), self.parameters)
            return float(curve.abscissa(x - 1 / self.parameters.get(VANISHING, np.inf)))
        value = self.parameters[quantity.name]
        return math.log(value) if quantity.name in curve.positive else value

    def logarithm(self, quantity: Quantity) -> float:
        """The logarithm of the true value; NaN where there is none."""
        if quantity.kind == "x_at":
            value = float(curve_named(self.curve).x_at(float(np.asarray(quantity.at)), self.parameters))
        else:
            value = self.parameters[quantity.name]
        return math.log(value) if value > 0 else math.nan


LogValues = tuple[Array, Array, Array]
"""Logarithms, their standard errors and degrees of freedom, (tables,) each."""


@dataclass(frozen=True)
class Simulated:
    """Simulated data of one group, fitted: optima, and what each table shares between its groups."""

    estimate: Estimate
    shared: Sequence[tuple[Nuisance, ...]]

    def limits(self, name: str, level: float, method: str) -> tuple[Array, Array]:
        """Limits of a parameter on its working scale, table by table."""
        quantity = parameter(name)
        if not any(self.shared):
            return ci.limits(self.estimate, quantity, level, method)
        found = intervals_with(self.estimate, self.shared, quantity, level, method)
        low, high = np.array([(i.low, i.high) for i in found]).T
        with np.errstate(divide="ignore", invalid="ignore"):
            positive = name in self.estimate.problem.curve.positive
            return (np.log(low), np.log(high)) if positive else (low, high)


def of_fits(
    fits: FrontierFits, reference: str | None, at: float | None, replicates: int | None, seed: int,
    progress: Callable[[str], None] | None,
) -> Calibration:  # fmt: skip
    """Coverage of every interval of `fits`."""
    rng = np.random.default_rng(seed)
    level = fits.fits[0].level if len(fits) else 0.95
    if replicates is None:
        replicates = SEARCHED if any(f.shared for f in fits) else REPLICATES
    found: list[Coverage] = []
    simulated: dict[int, Simulated] = {}
    for unit in _units(fits):
        simulated |= _simulated(unit, replicates, level, rng)
        for fit in unit:
            if progress:
                progress(fit.name)
            for name in fit.problem.free_names:
                limits = simulated[id(fit)].limits(name, level, fit.interval_method)
                truth = Truth.of(fit).working(parameter(name))
                found.append(coverage(fit.group, name, truth, *limits, level))
    for fit, ref in _pairs(fits, reference):
        pair = (simulated[id(fit)], simulated[id(ref)])
        height = middle(*common_y(fit, ref)) if at is None else at
        quantities = {"k ratio": parameter("k"), "relative potency": x_at(height)}
        if "k" not in fit.problem.free_names:
            del quantities["k ratio"]
        for label, quantity in quantities.items():
            gap = Truth.of(fit).logarithm(quantity) - Truth.of(ref).logarithm(quantity)
            if at is not None and label != "k ratio" and not math.isfinite(gap):
                raise ValueError(
                    f"at={at:g} is no hit that the curves of {fit.name} and {ref.name} both reach"
                )
            if math.isfinite(gap):
                low, high = _welch(*pair, quantity, level)
                found.append(coverage(fit.group, label, gap, low, high, level))
    return Calibration(tuple(found), level, seed)


def _units(fits: FrontierFits) -> list[list[CurveFit]]:
    """Fits that share something together, others alone."""
    units: dict[Any, list[CurveFit]] = {}
    for fit in fits:
        units.setdefault(fit.shared or id(fit), []).append(fit)
    return list(units.values())


def _simulated(
    unit: Sequence[CurveFit], tables: int, level: float, rng: np.random.Generator
) -> dict[int, Simulated]:
    """Tables of these fits, with what they share found anew in each, by the identity of the fit."""
    problems = [Truth.of(f).simulate(tables, rng) for f in unit]
    names = [n.name for n in unit[0].shared]
    groups = [_points(f, p) for f, p in zip(unit, problems, strict=True)]
    curve, fixed = problems[0].curve, {k: v for k, v in unit[0].fixed.items() if k != VANISHING}
    knees, offsets = np.full(tables, unit[0].knee), np.full(tables, np.nan)
    shared: list[tuple[Nuisance, ...]] = [()] * tables
    if KNEE in names:
        cells = [[g[t].shifted for g in groups] for t in range(tables)]
        found = knees_of(curve, cells, fixed, of_y=unit[0].weights_of_y)
        knees, shared = np.array([n.likeliest for n in found]), [(n,) for n in found]
    if VANISHING in names:
        flat = [replace(g[t], shared=shared[t]) for t in range(tables) for g in groups]
        errors = stacked([unit[0].problem.errors if KNEE not in names else TwoComponent(k)
                          for k in knees for _ in groups])  # fmt: skip
        own = np.repeat(np.arange(tables), len(groups))
        at = searched(flat, own, curve, errors, fixed, level)[:: len(groups)]
        offsets, shared = np.array([g.vanishing_l0 for g in at]), [g.shared for g in at]
    out = {}
    for fit, problem in zip(unit, problems, strict=True):
        if KNEE in names:
            problem = at_values(problem, KNEE, knees)
        if VANISHING in names:
            problem = at_values(problem, VANISHING, offsets)
        out[id(fit)] = Simulated(problem.fit(), shared)
    return out


def _points(fit: CurveFit, problem: Problem) -> list[Points]:
    """The simulated tables of one fit, at the L* that it has."""
    weights = fit.weights / fit.problem.errors.variance(fit.y) if fit.weights_of_y else fit.weights
    at = float(fit.fixed.get(VANISHING, math.inf))
    return [
        Points(fit.group, fit.x, y, weights, fit.rows, fit.runs, vanishing_l0=at, of_y=fit.weights_of_y)
        for y in problem.y.T
    ]


def _pairs(fits: FrontierFits, reference: str | None) -> list[tuple[CurveFit, CurveFit]]:
    """The pairs of fits whose ratios are calibrated; none where no reference is given or usual."""
    try:
        name = reference_family([str(f.group.get(fits.family_column, "")) for f in fits], reference)
        return pairs_with(fits, name)[0] if fits.family_column else []
    except ValueError:
        if reference is not None:
            raise
        return []


def _welch(one: Simulated, two: Simulated, quantity: Quantity, level: float) -> tuple[Array, Array]:
    """Limits of the log ratio as ratios of fits have them, table by table."""
    together = one.shared is two.shared
    a, b = (_logarithm(s, quantity, level, together=together) for s in (one, two))
    return _limits(a, b, level)


def _logarithm(simulated: Simulated, quantity: Quantity, level: float, *, together: bool) -> LogValues:
    """As `logarithms`; standard errors by limits where these count (`counts_alone`)."""
    estimate, shared = simulated.estimate, simulated.shared
    value, se, df = logarithms(estimate, quantity)
    if not any(n.name == KNEE or not together for n in shared[0]):
        return value, se, df
    found = intervals_with(estimate, shared, quantity, level, OVER_SHARED)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.log(np.array([(i.low, i.high) for i in found]).T)
    return value, error_of_limits(value, se, low, high, df, level), df


def logarithms(estimate: Estimate, quantity: Quantity) -> LogValues:
    """A positive quantity's logarithm, its standard error by the delta method, and its degrees of freedom."""
    working, se = estimate.working(quantity)
    readable = estimate.readable(quantity, working)
    log = quantity.kind == "x_at" or quantity.name in estimate.problem.curve.positive
    inner = np.exp(working) if log and estimate.problem.curve.log_x else np.ones_like(working)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(readable), np.abs(inner / readable) * se, estimate.problem.df


def _limits(one: LogValues, two: LogValues, level: float) -> tuple[Array, Array]:
    (a, sa, df_a), (b, sb, df_b) = one, two
    reach = welch_reach(sa**2, df_a, sb**2, df_b, level)
    return a - b - reach, a - b + reach


def welch_limits(one: Estimate, two: Estimate, quantity: Quantity, level: float) -> tuple[Array, Array]:
    """Limits of the log ratio of a positive quantity, column by column (`log_ratio.welch`)."""
    return _limits(logarithms(one, quantity), logarithms(two, quantity), level)
