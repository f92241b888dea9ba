"""What the intervals of fits cover: every fit taken for the truth, simulated, and fitted by the same code."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from frontier import intervals as ci
from frontier.calibration.coverage import Calibration, Coverage, coverage
from frontier.curves import VANISHING, curve_named
from frontier.distributions import welch_reach
from frontier.errors import Errors, errors_model
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits
from frontier.problems import Array, Estimate, Problem, Quantity, parameter, x_at
from frontier.ratios.pairs import common_y, middle, pairs_with, reference_family


@dataclass(frozen=True, eq=False)
class Truth:
    """A curve, the x at which it is observed, and the noise: all that a simulated group needs.

    `sigma` is the residual SD of a point of weight 1; `weights` default to 1. A knee or a vanishing L0 that
    was estimated is taken as known, at the degrees of freedom that it cost (`spent`).
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


def of_fits(
    fits: FrontierFits, reference: str | None, at: float | None, replicates: int, seed: int,
    progress: Callable[[str], None] | None,
) -> Calibration:  # fmt: skip
    """Coverage of every interval of `fits`."""
    say = progress or (lambda _: None)
    rng = np.random.default_rng(seed)
    level = fits.fits[0].level if len(fits) else 0.95
    found: list[Coverage] = []
    simulated: dict[int, Estimate] = {}
    for fit in fits:
        say(fit.name)
        truth = Truth.of(fit)
        estimate = simulated[id(fit)] = truth.simulate(replicates, rng).fit()
        for name in fit.problem.free_names:
            quantity = parameter(name)
            low, high = ci.limits(estimate, quantity, level, fit.interval_method)
            found.append(coverage(fit.group, name, truth.working(quantity), low, high, level))
    for fit, ref in _pairs(fits, reference):
        pair = (simulated[id(fit)], simulated[id(ref)])
        height = middle(*common_y(fit, ref)) if at is None else at
        quantities = {"k ratio": parameter("k"), "relative potency": x_at(height)}
        if "k" not in fit.problem.free_names:
            del quantities["k ratio"]
        for label, quantity in quantities.items():
            gap = Truth.of(fit).working(quantity) - Truth.of(ref).working(quantity)
            if math.isfinite(gap):
                low, high = welch_limits(*pair, quantity, level)
                found.append(coverage(fit.group, label, gap, low, high, level))
    return Calibration(tuple(found), level, seed)


def _pairs(fits: FrontierFits, reference: str | None) -> list[tuple[CurveFit, CurveFit]]:
    """The pairs of fits whose ratios are calibrated; none where no reference is given or usual."""
    try:
        name = reference_family([str(f.group.get(fits.family_column, "")) for f in fits], reference)
        return pairs_with(fits, name)[0] if fits.family_column else []
    except ValueError:
        if reference is not None:
            raise
        return []


def welch_limits(one: Estimate, two: Estimate, quantity: Quantity, level: float) -> tuple[Array, Array]:
    """Limits of the difference of working values, column by column (the log ratio of `log_ratio.welch`)."""
    (a, sa), (b, sb) = one.working(quantity), two.working(quantity)
    reach = welch_reach(sa**2, one.problem.df, sb**2, two.problem.df, level)
    return a - b - reach, a - b + reach
