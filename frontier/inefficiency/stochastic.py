"""The stochastic frontier's likelihood, its optimum, and profiles of quantities along it.

log y = log f(x) + v + u, v normal, u half-normal and never negative. The likelihood is nearly flat in the
ratio of excess to noise, so that ratio is a grid, with the curve and the scale fitted at every ratio at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import erfcx, log_ndtr

from frontier.curves import CURVES, Curve
from frontier.distributions import t_quantile
from frontier.fits.curve_fit import CurveFit
from frontier.inefficiency.skewness import p_of_excess
from frontier.intervals import REACH, Interval
from frontier.problems import Array, Quantity

STEEPEST = math.atan(10.0)
"""Largest arctan(sigma_u / sigma_v) that is looked at. A bound of 30 lets a few low runs carry the frontier:
its intervals cover 2 points less."""
SLOPES = np.linspace(0.0, STEEPEST, 21)
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Likelihood:
    """Minus the log-likelihood of runs around a frontier, for several sigma_u / sigma_v at once.

    theta = (a, b, log sigma, slope): the curve is top * h(a + b (X - centre)), sigma^2 = sigma_u^2 +
    sigma_v^2, slope = sigma_u / sigma_v; shape (4, columns).
    """

    curve: Curve
    position: Array
    target: Array

    def __call__(self, theta: Array, centre: float) -> tuple[Array, Array, Array]:
        """Value (columns,), gradient (4, columns) and Hessian (4, 4, columns)."""
        a, b, log_sigma, slope = theta
        u = (self.position - centre)[:, None]
        height, d1, d2 = self.curve.log_link(a + b * u)
        sigma = np.exp(log_sigma)
        r = (self.target[:, None] - height) / sigma
        q = slope * r
        mills = math.sqrt(2 / math.pi) / erfcx(-q / math.sqrt(2))
        value = len(u) * (log_sigma + _HALF_LOG_2PI - math.log(2)) + (0.5 * r**2 - log_ndtr(q)).sum(axis=0)
        bend = mills * (q + mills)
        p1, p2 = r - slope * mills, 1 + slope**2 * bend
        dr = np.stack([-d1 / sigma, -d1 * u / sigma, -r])
        cross = -mills + q * bend
        gradient = np.concatenate([(p1 * dr).sum(axis=1), -(mills * r).sum(axis=0)[None]])
        gradient[2] += len(u)
        second = np.zeros((4, 4, theta.shape[1]))
        second[:3, :3] = np.einsum("nc,inc,jnc->ijc", p2, dr, dr)
        curved, tilted = p1 * d2 / sigma, p1 * d1 / sigma
        moments = [(curved * u**i).sum(axis=0) for i in range(3)]
        second[:2, :2] -= np.array([moments[:2], moments[1:]])
        second[:2, 2] += [tilted.sum(0), (tilted * u).sum(0)]
        second[2, :2] = second[:2, 2]
        second[2, 2] += (p1 * r).sum(axis=0)
        second[3, :3] = second[:3, 3] = (cross * dr).sum(axis=1)
        second[3, 3] = (r**2 * bend).sum(axis=0)
        return value, gradient, second

    def minimise(self, start: Array, centre: float, free: tuple[int, ...]) -> tuple[Array, Array]:
        """Damped Newton in the rows `free` of theta, every column on its own; values and thetas."""
        theta, damping = start.copy(), np.full(start.shape[1], 1e-3)
        rows = list(free)
        with np.errstate(all="ignore"):
            value, gradient, second = self(theta, centre)
            for _ in range(60):
                block = np.moveaxis(second[np.ix_(rows, rows)], -1, 0)
                scale = np.abs(np.einsum("cii->ci", block)) + 1e-12
                block = block + np.eye(len(rows)) * (damping[:, None] * scale)[:, None, :]
                step = np.linalg.solve(block, -gradient[rows].T[..., None])[..., 0].T
                if (np.abs((gradient[rows] * step).sum(axis=0)) < 1e-10).all():
                    break
                trial = theta.copy()
                trial[rows] += np.clip(step, -2, 2)
                new = self(trial, centre)
                better = new[0] < value
                theta, value = np.where(better, trial, theta), np.where(better, new[0], value)
                gradient, second = np.where(better, new[1], gradient), np.where(better, new[2], second)
                damping = np.where(better, damping / 10, damping * 6)
        return value, theta


@dataclass(frozen=True)
class Search:
    """The stochastic frontier of one group: its optimum, and profiles of quantities around it."""

    likelihood: Likelihood
    centre: float
    start: Array
    free: tuple[int, ...]

    @classmethod
    def of(cls, ordinary: CurveFit) -> Search:
        """Starts of every slope: the ordinary curve lowered by the mean excess that its scatter implies."""
        estimate, curve = ordinary.estimate, CURVES[ordinary.curve]
        a, b, log_top = estimate.solution.theta[:, 0]
        centre, position = float(estimate.centre[0]), curve.abscissa(ordinary.x)
        _, d1, _ = curve.log_link(a + b * (position - centre))
        slope = np.tan(SLOPES)
        share = slope**2 / (1 + slope**2)
        sigma = np.sqrt(ordinary.rss / ordinary.n_points / (1 - 2 / math.pi * share))
        fixed = ordinary.fixed
        free = tuple(i for i, name in enumerate((curve.location, curve.steepness)) if name not in fixed)
        lowered = a - sigma * np.sqrt(2 / math.pi * share) / d1.mean() * (0 in free)
        start = np.stack([lowered, np.full_like(slope, b), np.log(sigma), slope])
        return cls(Likelihood(curve, position, np.log(ordinary.y) - log_top), centre, start, (*free, 2))

    def best(self) -> tuple[float, Array, float]:
        """Smallest minus log-likelihood, theta (4,) there, and the value without excess (slope 0)."""
        value, theta = self.likelihood.minimise(self.start, self.centre, self.free)
        i = int(np.argmin(value))
        around = SLOPES[max(i - 1, 0)], SLOPES[min(i + 1, len(SLOPES) - 1)]

        def at(angle: float) -> tuple[float, Array]:
            start = theta[:, [i]].copy()
            start[3] = math.tan(angle)
            v, t = self.likelihood.minimise(start, self.centre, self.free)
            return float(v[0]), t[:, 0]

        angle = minimize_scalar(
            lambda v: at(v)[0], bounds=around, method="bounded", options={"xatol": 1e-5}
        ).x
        fine = min((at(v) for v in (angle, SLOPES[i])), key=lambda found: found[0])
        return *fine, float(value[0])

    def profile(self, hold: Callable[[float], tuple[int, float, float]]) -> Callable[[float], float]:
        """Minus the log-likelihood with one quantity held, over all slopes.

        `hold` gives for a value of the quantity the row of theta that it fixes, that row's value, and the
        centre. Between slopes of the grid the minimum is that of a parabola.
        """
        warm = self.start.copy()
        warm[0] -= warm[1] * self.centre  # the intercept at X = 0, so that the centre may move

        def value(held: float) -> float:
            row, fixed, centre = hold(held)
            start = warm.copy()
            start[0] += start[1] * centre
            start[row] = fixed
            free = tuple(i for i in self.free if i != row)
            v, theta = self.likelihood.minimise(start, centre, free)
            warm[:] = theta
            warm[0] -= warm[1] * centre
            return _lowest(v)

        return value


def _lowest(v: Array) -> float:
    i = int(np.argmin(v))
    if not 0 < i < len(v) - 1:
        return float(v[i])
    left, middle, right = v[i - 1 : i + 2]
    bend = left - 2 * middle + right
    return float(middle - (left - right) ** 2 / (8 * bend)) if bend > 0 else float(middle)


@dataclass(frozen=True)
class Wanted:
    """A quantity as a function of (a, b, centre), and how holding it fixes one row of theta."""

    working: Callable[[Any, Any, float], Any]
    hold: Callable[[float], tuple[int, float, float]]
    log: bool

    def interval(self, estimate: float, low: float, high: float, level: float) -> Interval:
        """The limits as a user reads them."""
        with np.errstate(over="ignore"):
            v = np.exp([estimate, low, high]) if self.log else np.array([estimate, low, high])
        return Interval(float(v[0]), float(v[1]), float(v[2]), level)


def wanted_of(quantity: Quantity, ordinary: CurveFit) -> Wanted:
    """A parameter, or the x at a height, of the curve that `ordinary` fits.

    Raises
    ------
    ValueError
        When the curve never reaches the height.
    """
    curve, centre = CURVES[ordinary.curve], float(ordinary.estimate.centre[0])
    pinned, _, log_top = ordinary.estimate.solution.theta[:, 0]
    if quantity.name == curve.steepness:
        return Wanted(lambda a, b, c: b, lambda v: (1, v, centre), log=False)
    if quantity.name == "scale":
        return Wanted(lambda a, b, c: a - b * c, lambda v: (0, v, 0.0), log=True)
    level = 0.0 if quantity.name == "k" else float(curve.inverse_link(np.exp(np.log(quantity.at) - log_top)))
    if math.isnan(level):
        raise ValueError(f"the {curve.name} curve never reaches y = {quantity.at}")

    def hold(v: float) -> tuple[int, float, float]:
        """Through (v, level): by the height at v, or by the steepness where the location is fixed."""
        return (
            (1, (level - pinned) / (v - centre), centre)
            if curve.location in ordinary.fixed
            else (0, level, v)
        )

    return Wanted(lambda a, b, c: c + (level - a) / b, hold, log=True)


@dataclass(frozen=True)
class StochasticFrontier:
    """The stochastic frontier of one group, as its likelihood tells it."""

    search: Search
    value: float
    theta: Array
    p_excess: float
    wrong_skew: bool
    margin: float

    @classmethod
    def of(cls, ordinary: CurveFit, level: float) -> StochasticFrontier:
        """The optimum; the ordinary fit where its residuals have the wrong skew (Waldman 1982)."""
        search = Search.of(ordinary)
        value, theta, without = search.best()
        runs, df = ordinary.n_points, ordinary.n_points - len(search.free) - 1
        margin = 0.5 * runs * math.log1p(float(t_quantile(df, level)) ** 2 / df)
        residual = np.log(ordinary.y / ordinary.predict(ordinary.x))
        wrong = float(((residual - residual.mean()) ** 3).sum()) <= 0 and without - value < margin
        theta = search.start[:, 0] if wrong else theta
        return cls(search, value, theta, p_of_excess(ordinary), wrong, margin)

    def interval(self, wanted: Wanted, step: float, level: float) -> Interval:
        """Where the profiled likelihood falls by the margin; infinite where it never does (factor 1e6)."""
        a, b, *_ = self.theta
        estimate = float(wanted.working(a, b, self.search.centre))
        limits = []
        for side in (-1.0, 1.0):
            profile = self.search.profile(wanted.hold)

            def above(d: float, side: float = side, profile: Callable[[float], float] = profile) -> float:
                return profile(estimate + side * d) - self.value - self.margin

            limits.append(estimate + side * _root(above, step))
        return wanted.interval(estimate, limits[0], limits[1], level)

    def standard_error(self, wanted: Wanted) -> float:
        """By the observed Hessian, on the working scale; NaN at an edge of the slope."""
        if not 0 < self.theta[3] < 0.999 * math.tan(STEEPEST):
            return math.nan
        rows = [*self.search.free, 3]
        a, b, c = self.theta[0], self.theta[1], self.search.centre
        _, _, second = self.search.likelihood(self.theta[:, None], c)
        tilt = 1e-6 * np.eye(2)
        ends = [[float(wanted.working(a + s * t[0], b + s * t[1], c)) for s in (1, -1)] for t in tilt]
        gradient = np.array([(up - down) / 2e-6 for up, down in ends] + [0.0, 0.0])[rows]
        variance = float(gradient @ np.linalg.pinv(second[np.ix_(rows, rows)][..., 0]) @ gradient)
        return math.sqrt(variance) if variance > 0 else math.nan


def _root(above: Callable[[float], float], step: float) -> float:
    """The distance at which a rising function reaches 0, sought from `step` on; infinite beyond `REACH`."""
    near, far = 0.0, step
    while above(far) < 0:
        near, far = far, 2 * far
        if far > REACH:
            return math.inf
    return float(brentq(above, near, far, xtol=1e-5)) if above(near) < 0 else near
