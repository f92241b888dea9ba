"""Data, a curve and its fixed parameters as the engine's arrays; estimates, and fits with one quantity held.

A quantity is what an interval is wanted for: a parameter, the x at which the curve reaches a height, or the
height at an x. Holding it is a matter of choosing the centre and fixing a, b or log top there, so profiles
of all of them run through the same engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frontier import engine
from frontier.curves import DEFAULT_FIXED, VANISHING, Array, Curve, curve_named
from frontier.errors import Errors, errors_model


@dataclass(frozen=True)
class Quantity:
    """What is estimated: `kind` is 'parameter', 'x_at' (at height `at`) or 'height' (at x = `at`)."""

    kind: str
    name: str = ""
    at: ArrayLike = np.nan


@dataclass(frozen=True, eq=False)
class Problem:
    """One curve to be fitted to each column of data.

    Attributes
    ----------
    x, y : (points, replicates); x may be (points, 1)
    weights : (points, replicates)
        Case weights; 0 leaves a point out, so that groups of different size stand side by side.
    errors : Errors
    fixed : dict of readable parameter to its value
        `vanishing_l0` may be one value or one per column.
    spent : float or (replicates,)
        Degrees of freedom spent on what is held at its estimate: vanishing_l0, the knee of two components.
    """

    curve: Curve
    x: Array
    y: Array
    weights: Array
    errors: Errors
    fixed: Mapping[str, Any]
    spent: ArrayLike = 0.0

    @classmethod
    def of(
        cls,
        curve: str | Curve,
        x: ArrayLike,
        y: ArrayLike,
        weights: ArrayLike | None = None,
        errors: str | Errors = "additive",
        fixed: Mapping[str, Any] | None = None,
        spent: ArrayLike = 0.0,
    ) -> Problem:
        """A problem from plain arrays; one-dimensional data are one replicate."""
        curve = curve_named(curve)
        x, y = (np.asarray(v, dtype=float) for v in (x, y))
        x, y = (v[:, None] if v.ndim == 1 else v for v in (x, y))
        w = np.ones_like(y) if weights is None else np.asarray(weights, dtype=float)
        w = np.broadcast_to(w[:, None] if w.ndim == 1 else w, y.shape)
        held = DEFAULT_FIXED[curve.name] if fixed is None else dict(fixed)
        return cls(curve, x, y, w, errors_model(errors), held, spent)

    @classmethod
    def stacked(
        cls,
        curve: str | Curve,
        groups: Sequence[tuple[Array, Array, Array]],
        errors: str | Errors,
        fixed: Mapping[str, Any],
        spent: ArrayLike = 0.0,
    ) -> Problem:
        """Groups of different size as columns: (x, y, weights) each, padded with points of weight 0."""
        shape = max(len(x) for x, _, _ in groups), len(groups)
        xs, ys, ws = np.ones(shape), np.ones(shape), np.zeros(shape)
        for column, (x, y, w) in enumerate(groups):
            count = len(x)
            xs[:count, column], ys[:count, column], ws[:count, column] = x, y, w
            if count:
                xs[count:, column], ys[count:, column] = x[0], y[0]
        return cls(curve_named(curve), xs, ys, ws, errors_model(errors), dict(fixed), spent)

    @property
    def replicates(self) -> int:
        """Number of columns."""
        return self.y.shape[1]

    @cached_property
    def n_points(self) -> Array:
        """Points of each column, those of weight 0 left out."""
        return (self.weights > 0).sum(axis=0).astype(float)

    @cached_property
    def abscissa(self) -> Array:
        """X(x) of the points, shape of x, or of y where columns vanish at L0 of their own."""
        return self.curve.abscissa(self.x - self.offset)

    @cached_property
    def offset(self) -> Array:
        """1 / vanishing_l0, 0 without: a number, or one per column."""
        return np.asarray(1 / np.asarray(self.fixed.get(VANISHING, np.inf), dtype=float))

    def offset_of(self, columns: NDArray[np.intp]) -> Array:
        """The same for some columns."""
        return self.offset[columns] if self.offset.ndim else self.offset

    def take(self, columns: NDArray[np.intp]) -> Problem:
        """The problem of some columns, repeats allowed."""
        x = self.x if self.x.shape[1] == 1 else self.x[:, columns]
        fixed = {k: v[columns] if np.ndim(v) else v for k, v in self.fixed.items()}
        spent = np.asarray(self.spent)[columns] if np.ndim(self.spent) else self.spent
        y, weights, errors = self.y[:, columns], self.weights[:, columns], self.errors.take(columns)
        return Problem(self.curve, x, y, weights, errors, fixed, spent)

    @cached_property
    def free_names(self) -> tuple[str, ...]:
        """Parameters that are estimated."""
        return tuple(p for p in self.curve.parameters if p not in self.fixed)

    @cached_property
    def free_theta(self) -> tuple[int, ...]:
        """Which of a, b, log top are estimated."""
        return tuple(i for i in range(3) if self.pins[2][i])

    @cached_property
    def df(self) -> Array:
        """Residual degrees of freedom."""
        return np.asarray(self.n_points - len(self.free_names) - np.asarray(self.spent))

    @cached_property
    def pins(self) -> tuple[Array, Array, tuple[bool, bool, bool]]:
        """Centre, template of theta (NaN = to be estimated), and which of theta are free."""
        curve, fixed = self.curve, self.fixed
        theta = np.full((3, self.replicates), np.nan)
        total = self.weights.sum(axis=0)
        centre = (self.weights * self.abscissa).sum(axis=0) / np.where(total > 0, total, 1.0)
        if curve.location in fixed:
            theta[0], centre[:] = curve.pin_location(fixed[curve.location])
        if curve.steepness in fixed:
            theta[1] = fixed[curve.steepness]
        if not curve.has_top:
            theta[2] = 0.0
        elif "top" in fixed:
            theta[2] = np.log(fixed["top"])
        free = (
            curve.location not in fixed,
            curve.steepness not in fixed,
            curve.has_top and "top" not in fixed,
        )
        return centre, theta, free

    def fit(self, start: Array | None = None, *, infimum: bool = False) -> Estimate:
        """Optimum of every column; `start` (3, replicates) in theta at this problem's centre.

        `infimum` counts a sum of squares that falls no further, though the parameters run off.
        """
        centre, template, free = self.pins
        theta = template.copy()
        if start is not None:
            theta = np.where(np.array(free)[:, None], start, template)
        solution = engine.solve(
            self.curve,
            self.abscissa - centre,
            self.y,
            self.weights,
            errors=self.errors,
            free=free,
            theta=theta,
            infimum=infimum,
        )
        return Estimate(self, solution, centre)


@dataclass(frozen=True, eq=False)
class Estimate:
    """Optima of a problem, read as parameters and quantities."""

    problem: Problem
    solution: engine.Solution
    centre: Array

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Which columns have an optimum."""
        return self.solution.converged

    def of_one(self, column: int, problem: Problem) -> Estimate:
        """The optimum of one column; `problem` is that column alone, without padding."""
        own = np.array([column])
        solution = self.solution.at(own)
        solution = replace(solution, weights=solution.weights[: len(problem.y)])
        return Estimate(problem, solution, self.centre[own])

    @cached_property
    def parameters(self) -> dict[str, Array]:
        """Readable parameters, (replicates,) each; fixed ones hold their value."""
        a, b, log_top = self.solution.theta
        values = self.problem.curve.to_readable(a, b, log_top, self.centre)
        held = {p: np.broadcast_to(v, self.problem.replicates) for p, v in self.problem.fixed.items()}
        return {**values, **held}

    @cached_property
    def variance(self) -> Array:
        """Residual variance rss / df on the scale of the errors; NaN without degrees of freedom."""
        df = self.problem.df
        return np.where(df > 0, self.solution.rss / np.where(df > 0, df, 1.0), np.nan)

    @cached_property
    def covariance(self) -> Array:
        """Covariance of theta, (3, 3, replicates): variance * (J'WJ)^-1, zero for fixed parameters.

        Source: Seber & Wild, Nonlinear Regression (1989), eq. 5.7.
        """
        return self.unscaled_covariance * self.variance

    @cached_property
    def unscaled_covariance(self) -> Array:
        """(J'WJ)^-1, (3, 3, replicates), zero for fixed parameters."""
        free = list(self.problem.free_theta)
        out = np.zeros((3, 3, self.problem.replicates))
        info = np.moveaxis(self.solution.information[np.ix_(free, free)], -1, 0)
        good = np.isfinite(info).all(axis=(1, 2))
        inverse = np.full_like(info, np.nan)
        if good.any() and free:
            scale = np.sqrt(np.maximum(np.einsum("rii->ri", info[good]), 1e-300))
            unit = info[good] / (scale[:, :, None] * scale[:, None, :])
            usable = np.linalg.cond(unit) < 1e14
            block = np.full_like(unit, np.nan)
            block[usable] = np.linalg.inv(unit[usable])
            inverse[good] = block / (scale[:, :, None] * scale[:, None, :])
        out[np.ix_(free, free)] = np.moveaxis(inverse, 0, -1)
        return out

    def working(self, quantity: Quantity) -> tuple[Array, Array]:
        """A quantity on the scale where it is estimated, with its delta-method standard error.

        Positive parameters and an x_at (power, Hill) are on the log scale, a height on the link's scale (log
        scale for a free top), the rest on their own.

        Returns
        -------
        value, standard error : (replicates,) each
        """
        value, gradient = self.value_and_gradient(quantity)
        spread = np.einsum("ir,ijr,jr->r", gradient, self.covariance, gradient)
        return value, np.sqrt(np.maximum(spread, 0.0))

    def jacobian(self, x: Array, column: int = 0) -> Array:
        """Derivatives of one column's curve at x by theta, on the scale of its errors, (3, len(x))."""
        problem, (a, b, log_top) = self.problem, self.solution.theta[:, [column]]
        errors = problem.errors.take(np.array([column]))
        u = problem.curve.abscissa(x - problem.offset_of(np.array([column]))) - self.centre[column]
        value, slope, _ = (v[:, 0] for v in errors.seen(problem.curve, (a + b * u)[:, None], log_top))
        by_top = np.ravel(errors.by_top(value[:, None])[0])
        return np.where(np.isfinite(value), np.stack([slope, slope * u, by_top]), np.nan)

    def jacobians(self, x: Array) -> Array:
        """Derivatives of every column's curve at the same x by theta, as `jacobian`, (3, len(x), columns)."""
        problem, (a, b, log_top) = self.problem, self.solution.theta
        u = problem.curve.abscissa(x[:, None] - problem.offset) - self.centre
        value, slope, _ = problem.errors.seen(problem.curve, a + b * u, log_top)
        per = problem.errors.step(value)
        return np.asarray(np.stack([slope, slope * u, problem.errors.by_top(value)[0] + 0 * u]) / per)

    def residuals(self, column: int = 0) -> Array:
        """One column's residuals on the scale of the engine, of the points of weight above 0."""
        problem, theta = self.problem, self.solution.theta[:, [column]]
        inside, errors = problem.weights[:, column] > 0, problem.errors.take(np.array([column]))
        x = problem.x[inside, min(column, problem.x.shape[1] - 1)] - problem.offset_of(np.array([column]))
        z = theta[0] + theta[1] * (problem.curve.abscissa(x) - self.centre[column])
        fitted = errors.seen(problem.curve, z[:, None], theta[2])[0][:, 0]
        return np.asarray(errors.scale(problem.y[inside, column]) - fitted)

    def readable(self, quantity: Quantity, working: Array) -> Array:
        """A value on the working scale as a user reads it; beyond the largest number it is infinite."""
        curve = self.problem.curve
        with np.errstate(over="ignore"):
            if quantity.kind == "x_at":
                return np.exp(working) + self.problem.offset if curve.log_x else np.asarray(working)
            if quantity.kind == "height":
                if self._free_top:
                    return np.exp(working)
                return np.exp(self.solution.theta[2]) * curve.link(np.asarray(working))[0]
            return np.exp(working) if quantity.name in curve.positive else np.asarray(working)

    @property
    def _free_top(self) -> bool:
        return self.problem.curve.has_top and "top" not in self.problem.fixed

    def value_and_gradient(self, quantity: Quantity) -> tuple[Array, Array]:
        """A quantity on its working scale, (replicates,), and its gradient in theta, (3, replicates)."""
        curve, (a, b, t), c = self.problem.curve, self.solution.theta, self.centre
        one, zero = np.ones_like(a), np.zeros_like(a)
        name = quantity.name if quantity.kind == "parameter" else quantity.kind
        with np.errstate(divide="ignore", invalid="ignore"):
            if name == curve.steepness:
                return b, np.stack([zero, one, zero])
            if name == "top":
                return t, np.stack([zero, zero, one])
            if name == "k":
                return c - a / b, np.stack([-1 / b, a / b**2, zero])
            if name in (curve.location, "height"):
                to = (
                    np.zeros_like(c)
                    if name == curve.location
                    else curve.abscissa(np.asarray(quantity.at, dtype=float) - self.problem.offset) + zero
                )
                z, gradient = a + b * (to - c), np.stack([one, to - c, zero])
                if name == "height" and self._free_top:
                    value, slope, _ = curve.log_link(z)
                    return t + value, slope * gradient + np.stack([zero, zero, one])
                return z, gradient
            share = np.asarray(quantity.at, dtype=float) / np.exp(t)
            q = curve.inverse_link(share)
            dq = -1 / (1 - share) if self._free_top else zero
            return c + (q - a) / b, np.stack([-1 / b, -(q - a) / b**2, dq / b])


def parameter(name: str) -> Quantity:
    """The quantity that is a parameter."""
    return Quantity("parameter", name)


def x_at(height: ArrayLike) -> Quantity:
    """The quantity that is the x at which the curve reaches `height`."""
    return Quantity("x_at", at=height)


def height(x: ArrayLike) -> Quantity:
    """The quantity that is the curve's height at `x`."""
    return Quantity("height", at=x)
