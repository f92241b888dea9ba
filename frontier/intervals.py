"""Confidence intervals: profile likelihood, Wald, and the studentised bootstrap.

All three work on many fits at once and on the scale where a quantity is estimated (log k, n, ...), with
quantiles of t or F(1, N - p), never 1.96: at 5 points the latter covers 85 % where 95 is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frontier.distributions import t_quantile
from frontier.problems import Array, Estimate, Problem, Quantity
from frontier.profiles import constrained
from frontier.results import Result
from frontier.views import View
from frontier.wording import interval_cell, nearest

REACH = np.log(1e6)
"""A profile that stays below the threshold this far from the estimate (a factor of a million) is open."""
REFITTED = 64
"""Columns of more points are not refitted without each of them, but moved by one step."""
LEFT_OUT_BATCH = 2**24
"""Numbers in each array of a batch of such refits."""
METHODS = ("profile", "wald", "bootstrap")


@dataclass(frozen=True, eq=False)
class Interval(Result):
    """An estimate with its confidence limits; an infinite limit says that the data set none."""

    estimate: float
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        return "undefined" if math.isnan(self.estimate) else interval_cell(self.estimate, self.low, self.high)

    def __float__(self) -> float:
        return self.estimate

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __repr__(self) -> str:
        return (
            f"Interval({self.estimate:.6g}, low={self.low:.6g}, high={self.high:.6g}, level={self.level:g})"
        )

    def _view(self) -> View:
        return View(
            "", ("estimate", f"{100 * self.level:g} % interval"), ((f"{self.estimate:.6g}", str(self)),)
        )


def wald(estimate: Estimate, quantity: Quantity, level: float) -> tuple[Array, Array]:
    """Limits estimate +- t * standard error on the working scale; (replicates,) each.

    Source: Seber & Wild, Nonlinear Regression (1989), section 5.1.
    """
    value, se = estimate.working(quantity)
    reach = t_quantile(estimate.problem.df, level) * se
    return value - reach, value + reach


def profile(estimate: Estimate, quantity: Quantity, level: float) -> tuple[Array, Array]:
    """Limits where the profiled sum of squares reaches rss * (1 + t^2 / df); (replicates,) each.

    The quantity is held, the rest refitted. t^2 is the F(1, df) quantile. A side that never reaches the
    threshold is infinite; a side that could not be followed (no convergence) is NaN.

    Source: Bates & Watts, Nonlinear Regression Analysis (1988), section 6.1.2; the envelope theorem gives the
    slope of the profile, so each limit is a safeguarded Newton search on the signed root.
    """
    return profile_to(estimate, quantity, t_quantile(estimate.problem.df, level))


def profile_to(estimate: Estimate, quantity: Quantity, target: Array) -> tuple[Array, Array]:
    """Limits where the profiled sum of squares reaches rss * (1 + target^2 / df); (replicates,) each."""
    value, se = estimate.working(quantity)
    df, rss = estimate.problem.df, estimate.solution.rss
    usable = np.isfinite(value) & np.isfinite(se) & (se > 0) & (df > 0) & (rss > 0)
    limits = []
    for side in (-1.0, 1.0):
        limit = np.full(len(value), np.nan)
        columns = np.flatnonzero(usable)
        if columns.size:
            limit[columns] = _profile_side(estimate, quantity, side, columns, value, se, target)
        limits.append(limit)
    return limits[0], limits[1]


def _profile_side(
    estimate: Estimate,
    quantity: Quantity,
    side: float,
    columns: NDArray[np.intp],
    value: Array,
    se: Array,
    target: Array,
) -> Array:
    """One side of the profile of several columns: distances from the estimate, bracketed and refined."""
    problem = estimate.problem
    aim = target[columns]
    rss, variance = estimate.solution.rss[columns], estimate.variance[columns]
    near, far, beyond = np.zeros(len(columns)), *np.full((2, len(columns)), np.inf)
    distance = aim * se[columns]
    reach = _reach(quantity, problem, columns, value[columns], distance)
    found, failures = np.full(len(columns), np.nan), np.zeros(len(columns), int)
    live = np.arange(len(columns))
    for _ in range(120):
        d = distance[live]
        held = value[columns[live]] + side * d
        s, slope = constrained(estimate, quantity, held, columns[live])
        root = np.sqrt(np.maximum(s - rss[live], 0.0) / variance[live])
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = side * slope / (2 * variance[live] * root)
        known = np.isfinite(root)
        failures[live] += ~known
        over = known & (root >= aim[live])
        far[live] = np.where(over | ~known, np.minimum(far[live], d), far[live])
        beyond[live] = np.where(over, np.minimum(beyond[live], d), beyond[live])
        near[live] = np.where(known & ~over, np.maximum(near[live], d), near[live])
        with np.errstate(invalid="ignore", divide="ignore"):
            jump = d + (aim[live] - root) / rate
        inside = known & (rate > 0) & (jump > near[live]) & (jump < far[live]) & (jump < 4 * d)
        middle = np.where(np.isfinite(far[live]), 0.5 * (near[live] + far[live]), 2 * d)
        following = np.where(inside, jump, middle)
        close = known & (np.abs(root - aim[live]) <= 1e-9 * aim[live])
        narrow = np.isfinite(far[live]) & (
            far[live] - near[live] <= 1e-12 * (np.abs(value[columns[live]]) + far[live])
        )
        open_end = (following > reach[live]) & ~np.isfinite(far[live]) & (failures[live] == 0)
        gone = failures[live] > 30
        crossed = (narrow | gone) & (beyond[live] - near[live] <= 1e-4 * (1 + beyond[live]))
        found[live] = np.where(crossed, value[columns[live]] + side * beyond[live], found[live])
        found[live] = np.where(close, held, found[live])
        found[live] = np.where(open_end, side * np.inf, found[live])
        keep = ~(close | narrow | open_end | gone)
        distance[live] = following
        live = live[keep]
        if not live.size:
            break
    return found


def _reach(
    quantity: Quantity, problem: Problem, columns: NDArray[np.intp], value: Array, near: Array
) -> Array:
    """How far from the estimate, on the working scale, a limit is looked for; `near` is t standard errors."""
    curve = problem.curve
    if quantity.kind == "parameter" and (quantity.name in curve.positive):
        return np.maximum(REACH, 50 * near)
    if quantity.kind in ("x_at", "height") and curve.log_x:
        return np.maximum(REACH, 50 * near)
    if curve.has_top and quantity.name == curve.steepness:
        return np.maximum(_saturation(problem, columns) + np.abs(value), 2 * near)
    return np.maximum(1e6 * (np.abs(value) + 1e-12), 50 * near)


def _saturation(problem: Problem, columns: NDArray[np.intp]) -> Array:
    """Steepness beyond which at most one point lies on the rise, so that the sum of squares stays."""
    x = np.broadcast_to(problem.abscissa, problem.y.shape)[:, columns]
    x = np.sort(np.where(problem.weights[:, columns] > 0, x, np.inf), axis=0)
    with np.errstate(invalid="ignore"):
        gaps = np.diff(x, axis=0)
    return 40 / np.min(gaps, axis=0, where=(gaps > 1e-5) & np.isfinite(gaps), initial=1.0)


def bootstrap(
    estimate: Estimate, quantity: Quantity, level: float, *, replicates: int = 1999, seed: int = 0
) -> tuple[Array, Array]:
    """Studentised residual-bootstrap limits on the working scale; (columns,) each.

    Residuals are divided by sqrt(1 - leverage) and centred, resampled on the scale of the errors model, and
    every replicate is refitted with its own standard error. The random stream of a column depends on `seed`
    and the column's data alone, so the limits do not depend on which groups are fitted together.

    Source: Davison & Hinkley, Bootstrap Methods and their Application (1997), sections 2.4 and 6.3.
    """
    lows, highs = [], []
    for column in range(estimate.problem.replicates):
        low, high = _bootstrap_column(estimate, quantity, level, column, replicates, seed)
        lows.append(low)
        highs.append(high)
    return np.array(lows), np.array(highs)


def _bootstrap_column(
    estimate: Estimate, quantity: Quantity, level: float, column: int, replicates: int, seed: int
) -> tuple[float, float]:
    value, se = (v[column] for v in estimate.working(quantity))
    if not (np.isfinite(value) and np.isfinite(se) and se > 0):
        return np.nan, np.nan
    resampled = resample(estimate, column, replicates, np.random.default_rng(seed))
    refit = resampled.fit(np.repeat(estimate.solution.theta[:, [column]], replicates, axis=1))
    at = np.broadcast_to(np.asarray(quantity.at, dtype=float), (estimate.problem.replicates,))[column]
    v, s = refit.working(Quantity(quantity.kind, quantity.name, at))
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots = ((v - value) / s)[refit.converged]
    pivots = pivots[np.isfinite(pivots)]
    if len(pivots) < 0.9 * replicates:
        return np.nan, np.nan
    high_pivot, low_pivot = np.quantile(pivots, [0.5 + level / 2, 0.5 - level / 2], method="weibull")
    return float(value - high_pivot * se), float(value - low_pivot * se)


def resample(estimate: Estimate, column: int, replicates: int, rng: np.random.Generator) -> Problem:
    """A problem whose columns are one fitted curve plus resampled, leverage-corrected residuals."""
    problem, theta = estimate.problem, estimate.solution.theta[:, column]
    inside = problem.weights[:, column] > 0
    x = problem.x[:, min(column, problem.x.shape[1] - 1)][inside]
    y, w = problem.y[inside, column], problem.weights[inside, column]
    at = problem.curve.abscissa(x - problem.offset_of(np.array([column])))
    fitted = np.exp(theta[2]) * problem.curve.link(theta[0] + theta[1] * (at - estimate.centre[column]))[0]
    root = np.sqrt(w)
    errors = problem.errors.take(np.array([column]))
    residual = errors.residual(y, fitted) * root
    residual = residual / np.sqrt(np.maximum(1 - leverages(estimate, column), 1e-6))
    residual = residual - residual.mean()
    noise = rng.choice(residual, size=(len(y), replicates)) / root[:, None]
    simulated = errors.observed(fitted[:, None], noise)
    whole = problem.take(np.full(replicates, column))
    return replace(whole, x=x[:, None], y=simulated, weights=np.repeat(w[:, None], replicates, axis=1))


def leave_one_out(estimate: Estimate, quantity: Quantity) -> list[Array]:
    """A quantity, on its working scale, without each point in turn: per column one value per point.

    Columns of up to `REFITTED` points are refitted, others moved by one Gauss-Newton step from the optimum,
    whose error falls with the square of the number of points; memory grows with the number of points alone.
    Source: Belsley, Kuh & Welsch (1980), Regression Diagnostics, eq. 2.1, for the step.
    """
    problem = estimate.problem
    value, gradient = estimate.value_and_gradient(quantity)
    out: list[Array] = [np.empty(0)] * problem.replicates
    few = problem.n_points <= REFITTED
    for column in map(int, np.flatnonzero(~few)):
        inside = problem.weights[:, column] > 0
        jacobian = estimate.jacobian(_x(problem, column)[inside], column)
        direction = np.einsum(
            "i,ij,jp->p", gradient[:, column], estimate.unscaled_covariance[:, :, column], jacobian
        )
        pull = estimate.solution.weights[inside, column] * estimate.residuals(column)
        step = direction * pull / np.maximum(1 - leverages(estimate, column), 1e-6)
        out[column] = value[column] - step
    columns = np.flatnonzero(few)
    size = max(LEFT_OUT_BATCH // (REFITTED * max(len(problem.y), 1)), 1)
    for part in (columns[start : start + size] for start in range(0, len(columns), size)):
        left = _without_each(problem, part)
        values = left.working(quantity)[0]
        edges = np.cumsum(problem.n_points[part].astype(int))[:-1]
        for column, own in zip(part, np.split(values, edges), strict=True):
            out[column] = own
    return out


def _without_each(problem: Problem, columns: NDArray[np.intp]) -> Estimate:
    """Some columns fitted without each of their points in turn: columns in order, points within them."""
    inside = problem.weights[:, columns] > 0
    points, owner = (v.astype(np.intp) for v in np.nonzero(inside.T)[::-1])
    left = problem.take(columns[owner])
    weights = left.weights.copy()
    weights[points, np.arange(len(owner))] = 0.0
    rows = inside.any(axis=1)  # padding of longer columns is left out
    return replace(left, x=left.x[rows], y=left.y[rows], weights=weights[rows]).fit()


def _x(problem: Problem, column: int) -> Array:
    return problem.x[:, min(column, problem.x.shape[1] - 1)]


def leverages(estimate: Estimate, column: int) -> Array:
    """Diagonal of the hat matrix of the linearised fit, one per point of weight above 0."""
    problem = estimate.problem
    inside = problem.weights[:, column] > 0
    jacobian = estimate.jacobian(problem.x[:, min(column, problem.x.shape[1] - 1)][inside], column)
    spread = estimate.unscaled_covariance[:, :, column]
    return np.einsum("ip,ij,jp->p", jacobian, spread, jacobian) * estimate.solution.weights[inside, column]


def limits(estimate: Estimate, quantity: Quantity, level: float, method: str) -> tuple[Array, Array]:
    """Limits on the working scale by the named method; (replicates,) each.

    Raises
    ------
    ValueError
        When `method` is none of `METHODS`.
    """
    if method not in METHODS:
        raise ValueError(f"unknown interval method {method!r}{nearest(method, METHODS)}")
    return {"profile": profile, "wald": wald, "bootstrap": bootstrap}[method](estimate, quantity, level)


def intervals_of(estimate: Estimate, quantity: Quantity, level: float, method: str) -> list[Interval]:
    """Intervals of one quantity, one per column, on the readable scale."""
    value = estimate.readable(quantity, estimate.working(quantity)[0])
    low, high = (estimate.readable(quantity, v) for v in limits(estimate, quantity, level, method))
    return [
        Interval(float(v), float(lo), float(hi), level) for v, lo, hi in zip(value, low, high, strict=True)
    ]
