"""Thousands of curve fits in one call: batched Newton with a Levenberg-Marquardt safeguard.

Every curve is top * h(a + b u) with u = X(x) - centre (see `curves.py`), so one engine serves the line, the
power law and the Hill curve with two or three parameters, any of them held fixed. Arrays are laid out as
(points, replicates): sums over points run over the first axis, and blocks of replicates stay in cache.

The objective is half the weighted sum of squares of y - f (additive errors; relative errors are additive
ones with weights 1 / fitted^2, iterated) or of log y - log f (log errors). Steps use the exact gradient and
Hessian; where the Hessian is not positive definite, or a step would raise the objective, the Gauss-Newton
matrix with growing damping takes over. A replicate that does not reach the convergence test is reported as
not converged and its numbers are NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frontier.curves import Curve

Array = NDArray[np.float64]

BLOCK = 2048
MAX_STEPS = 80
MAX_REWEIGHTS = 100
DECREMENT = 1e-14
"""A step is the last one when the decrease it promises is below this share of the objective."""
LOOSE_DECREMENT = 1e-8
"""Accepted where rounding stops the descent earlier."""
RELATIVE_FLOOR = 1e-3
"""Relative errors: a fitted value below this share of the largest |y| counts as that share."""
TOP_STARTS = (1.05, 1.5, 4.0, 30.0)
"""Free top: starting values, as multiples of the largest y; the best fit of them is kept."""


@dataclass(frozen=True)
class Solution:
    """Optima of a batch.

    Attributes
    ----------
    theta : (3, replicates), the internal parameters a, b, log top
    rss : (replicates,), weighted sum of squares (of logarithms for log errors)
    gradient : (3, replicates), derivative of rss with respect to all three, the fixed ones included
    information : (3, 3, replicates), sum of weighted products of first derivatives (J'WJ)
    weights : (points, replicates), the weights at the optimum
    converged : (replicates,)
    """

    theta: Array
    rss: Array
    gradient: Array
    information: Array
    weights: Array
    converged: NDArray[np.bool_]

    def replaced(self, columns: NDArray[np.intp], other: Solution) -> Solution:
        """The same batch with the optima of `columns` taken from `other`."""
        out = {}
        for name in ("theta", "rss", "gradient", "information", "weights", "converged"):
            out[name] = getattr(self, name).copy()
            out[name][..., columns] = getattr(other, name)
        return Solution(**out)


def solve(
    curve: Curve,
    u: Array,
    y: Array,
    weights: Array | None = None,
    *,
    errors: str = "additive",
    free: tuple[bool, bool, bool] = (True, True, False),
    theta: Array | None = None,
    reweight: bool = True,
) -> Solution:
    """Least-squares optima of `curve`, one per column.

    Parameters
    ----------
    u : (points, replicates) or (points, 1)
        X(x) - centre.
    y : (points, replicates)
    weights : like y, optional
        Case weights, one over a known variance up to a factor; 0 leaves a point out.
    errors : {"additive", "log", "relative"}
    free : which of a, b, log top are estimated
    theta : (3, replicates), optional
        Values of the fixed parameters and starting values of the free ones; NaN where a start is to be found.
        Default: all NaN but log top = 0.
    reweight : with relative errors, whether the weights follow the fit (else `weights` already hold them).

    Returns
    -------
    Solution
    """
    points, replicates = y.shape
    weights = np.ones_like(y) if weights is None else np.broadcast_to(weights, y.shape)
    if theta is None:
        theta = np.full((3, replicates), np.nan)
        theta[2] = 0.0
    u = np.broadcast_to(u, (points, u.shape[1] if u.ndim == 2 else 1))
    parts = []
    for block in _blocks(replicates):
        ub = u if u.shape[1] == 1 else u[:, block]
        parts.append(_solve_block(curve, ub, y[:, block], weights[:, block], errors, free, theta[:, block], reweight))
    if len(parts) == 1:
        return parts[0]
    joined = {
        name: np.concatenate([getattr(p, name) for p in parts], axis=-1)
        for name in ("theta", "rss", "gradient", "information", "weights", "converged")
    }
    return Solution(**joined)


def _blocks(replicates: int) -> Iterator[slice]:
    for start in range(0, max(replicates, 1), BLOCK):
        yield slice(start, min(start + BLOCK, replicates))


def _solve_block(
    curve: Curve, u: Array, y: Array, w: Array, errors: str, free: tuple[bool, ...], theta: Array, reweight: bool
) -> Solution:
    if free[2] and np.isnan(theta[2]).any():
        return _best_of_tops(curve, u, y, w, errors, free, theta, reweight)
    start = _started(curve, u, y, w, free, theta)
    if errors != "relative" or not reweight:
        return _newton(curve, u, y, w, errors == "log", free, start)
    return _reweighted(curve, u, y, w, free, start)


def _best_of_tops(
    curve: Curve, u: Array, y: Array, w: Array, errors: str, free: tuple[bool, ...], theta: Array, reweight: bool
) -> Solution:
    peak = np.max(np.where(w > 0, y, -np.inf), axis=0)
    best: Solution | None = None
    for multiple in TOP_STARTS:
        trial = theta.copy()
        trial[2] = np.where(np.isnan(theta[2]), np.log(np.maximum(multiple * peak, 1e-300)), theta[2])
        found = _solve_block(curve, u, y, w, errors, free, trial, reweight)
        best = found if best is None else _better(best, found)
    assert best is not None
    return best


def _better(one: Solution, two: Solution) -> Solution:
    take = two.converged & (~one.converged | (two.rss < one.rss))
    pick = {
        name: np.where(take, getattr(two, name), getattr(one, name))
        for name in ("theta", "rss", "gradient", "information", "weights", "converged")
    }
    return Solution(**pick)


def _started(curve: Curve, u: Array, y: Array, w: Array, free: tuple[bool, ...], theta: Array) -> Array:
    """`theta` with NaN starts filled: one straight line through the transformed points."""
    start = theta.copy()
    empty_a, empty_b = np.isnan(theta[0]), np.isnan(theta[1])
    if not (empty_a.any() or empty_b.any()):
        return start
    a, b = curve.start(u, y, w, theta[2])
    start[0] = np.where(empty_a, a, theta[0])
    start[1] = np.where(empty_b, b, theta[1])
    if not free[0]:
        full_u = np.broadcast_to(u, y.shape)
        through = (w * full_u * (a + b * full_u - theta[0])).sum(0) / np.maximum((w * full_u**2).sum(0), 1e-300)
        start[1] = np.where(empty_b, through, theta[1])
    elif not free[1]:
        mean_u = (w * u).sum(0) / w.sum(0)
        start[0] = np.where(empty_a, a + (b - theta[1]) * mean_u, theta[0])
    if curve.name == "linear":  # log errors need a positive line to start from
        flat = (w * y).sum(0) / w.sum(0)
        below = (start[0] + start[1] * u <= 0).any(axis=0) if free[0] and free[1] else np.zeros(len(flat), bool)
        start[0] = np.where(below, flat, start[0])
        start[1] = np.where(below, 0.0, start[1])
    return start


def _reweighted(curve: Curve, u: Array, y: Array, w: Array, free: tuple[bool, ...], theta: Array) -> Solution:
    """Relative errors: weights 1 / fitted^2 follow the fit until the parameters stand still."""
    floor = RELATIVE_FLOOR * np.max(np.abs(np.where(w > 0, y, 0.0)), axis=0)
    fitted = np.maximum(np.abs(y), floor)
    settled = np.zeros(y.shape[1], bool)
    found = _newton(curve, u, y, w / fitted**2, False, free, theta)
    for _ in range(MAX_REWEIGHTS):
        previous = found.theta
        z = previous[0] + previous[1] * u
        fitted = np.maximum(np.exp(previous[2]) * curve.link(z)[0], floor)
        found = _newton(curve, u, y, w / fitted**2, False, free, np.where(found.converged, previous, theta))
        with np.errstate(invalid="ignore"):
            move = np.abs(found.theta - previous).max(axis=0)
            settled = move <= 1e-10 * (1 + np.abs(previous).max(axis=0))
        if (settled | ~found.converged).all():
            break
    return _masked(found, found.converged & settled)


def _masked(s: Solution, keep: NDArray[np.bool_]) -> Solution:
    nan = np.where(keep, 0.0, np.nan)
    return Solution(s.theta + nan, s.rss + nan, s.gradient + nan, s.information + nan, s.weights, keep)


def _newton(
    curve: Curve, u: Array, y: Array, w: Array, log: bool, free: tuple[bool, ...], start: Array
) -> Solution:
    replicates = y.shape[1]
    target = np.log(y) if log else y
    scale = (w * (np.ones_like(target) if log else target**2)).sum(axis=0)
    which = [i for i in range(3) if free[i]]
    theta_out, rss_out = start.copy(), np.full(replicates, np.nan)
    gradient_out, info_out = np.full((3, replicates), np.nan), np.full((3, 3, replicates), np.nan)
    converged = np.zeros(replicates, bool)

    live = np.arange(replicates)
    uu, tt, ww, theta, sc = u, target, w, start.copy(), scale
    state = _evaluate(curve, uu, tt, ww, log, theta)
    damping = np.zeros(replicates)
    for _ in range(MAX_STEPS):
        step, decrement = _step(state, which, damping)
        goal = np.maximum(DECREMENT * state.objective, 1e-30 * sc)
        finished = (decrement <= goal) & (damping == 0)
        stuck = (damping > 1e10) & (decrement <= LOOSE_DECREMENT * state.objective + 1e-28 * sc)
        lost = ((damping > 1e14) & ~stuck) | ~np.isfinite(state.objective)
        done = finished | stuck | lost
        if done.any():
            where = live[done]
            theta_out[:, where] = theta[:, done] + np.where(finished[done], step[:, done], 0.0)
            converged[where] = (finished | stuck)[done]
            if done.all():
                live = live[:0]
                break
            keep = ~done
            live, theta, tt, ww, sc = live[keep], theta[:, keep], tt[:, keep], ww[:, keep], sc[keep]
            uu = uu if uu.shape[1] == 1 else uu[:, keep]
            step, decrement, damping, state = step[:, keep], decrement[keep], damping[keep], state.take(keep)
        trial = _evaluate(curve, uu, tt, ww, log, theta + step)
        rounding = (damping == 0) & (decrement <= LOOSE_DECREMENT * state.objective)
        accept = trial.objective <= state.objective * np.where(rounding, 1 + 1e-12, 1.0)
        theta = np.where(accept, theta + step, theta)
        state = state.where(accept, trial)
        eased = np.where(damping > 0.05, damping * 0.1, 0.0)
        damping = np.where(accept, eased, np.maximum(damping * 8, 0.05))
    final = _evaluate(curve, u, target, w, log, np.where(converged, theta_out, start))
    rss_out, gradient_out, info_out = 2 * final.objective, 2 * final.gradient, final.information
    solution = Solution(theta_out, rss_out, gradient_out, info_out, np.asarray(w), converged)
    return _masked(solution, converged & np.isfinite(rss_out))


@dataclass(frozen=True)
class _State:
    """Objective (half the rss) and its derivatives at one theta per replicate."""

    objective: Array
    gradient: Array
    hessian: Array
    information: Array

    def take(self, keep: NDArray[np.bool_]) -> _State:
        return _State(
            self.objective[keep], self.gradient[:, keep], self.hessian[:, :, keep], self.information[:, :, keep]
        )

    def where(self, accept: NDArray[np.bool_], other: _State) -> _State:
        return _State(
            np.where(accept, other.objective, self.objective),
            np.where(accept, other.gradient, self.gradient),
            np.where(accept, other.hessian, self.hessian),
            np.where(accept, other.information, self.information),
        )


def _evaluate(curve: Curve, u: Array, target: Array, w: Array, log: bool, theta: Array) -> _State:
    a, b, t = theta
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        value, d1, d2 = (curve.log_link if log else curve.link)(a + b * u)
        if log:
            value = value + t
        elif curve.has_top:
            top = np.exp(t)
            value, d1, d2 = top * value, top * d1, top * d2
        residual = w * (target - value)
        objective = 0.5 * (residual * (target - value)).sum(axis=0)
        wd = w * d1
        slope = residual * d1
        info = wd * d1
        curvature = info - residual * d2
        gradient = np.stack([-slope.sum(0), -(slope * u).sum(0), np.zeros_like(objective)])
        hessian = np.zeros((3, 3, len(objective)))
        information = np.zeros_like(hessian)
        for matrix, terms in ((hessian, curvature), (information, info)):
            matrix[0, 0], matrix[0, 1] = terms.sum(0), (terms * u).sum(0)
            matrix[1, 1] = (terms * u * u).sum(0)
        if curve.has_top:
            dt = np.ones_like(value) if log else value
            cross = wd * dt
            turn = cross if log else cross - slope
            gradient[2] = -(residual * dt).sum(0)
            information[0, 2], information[1, 2] = cross.sum(0), (cross * u).sum(0)
            information[2, 2] = (w * dt * dt).sum(0)
            hessian[0, 2], hessian[1, 2] = turn.sum(0), (turn * u).sum(0)
            hessian[2, 2] = information[2, 2] - (0.0 if log else (residual * dt).sum(0))
        for matrix in (hessian, information):
            matrix[1, 0], matrix[2, 0], matrix[2, 1] = matrix[0, 1], matrix[0, 2], matrix[1, 2]
    objective = np.where(np.isfinite(objective), objective, np.inf)
    return _State(objective, gradient, hessian, information)


def _step(state: _State, which: list[int], damping: Array) -> tuple[Array, Array]:
    """Damped Newton step, and the decrease that it promises; Gauss-Newton where the Hessian is not positive."""
    step = np.zeros_like(state.gradient)
    if not which:
        return step, np.zeros_like(state.objective)
    g = state.gradient[which]
    diagonal = np.stack([state.information[i, i] for i in which])
    exact = _submatrix(state.hessian, which)
    solved, positive = _cholesky_solve(exact, damping * diagonal, g)
    if not positive.all():
        usual, _ = _cholesky_solve(_submatrix(state.information, which), np.maximum(damping, 1e-9) * diagonal, g)
        solved = np.where(positive, solved, usual)
    solved = np.where(np.isfinite(solved), solved, 0.0)
    decrement = 0.5 * (solved * g).sum(axis=0)
    step[which] = -solved
    return step, np.where(positive, np.abs(decrement), np.inf)


def _submatrix(matrix: Array, which: list[int]) -> list[list[Array]]:
    return [[matrix[i, j] for j in which] for i in which]


def _cholesky_solve(m: list[list[Array]], ridge: Array, g: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Solve (m + diag(ridge)) s = g per replicate for 1 to 3 unknowns; also whether it was positive definite."""
    size = len(g)
    lower: list[list[Array]] = [[np.empty(0)] * size for _ in range(size)]
    positive = np.ones(g.shape[1], bool)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for i in range(size):
            for j in range(i + 1):
                rest = m[i][j] + (ridge[i] if i == j else 0.0)
                for k in range(j):
                    rest = rest - lower[i][k] * lower[j][k]
                if i == j:
                    positive &= rest > 1e-14 * np.abs(m[i][i])
                    lower[i][i] = np.sqrt(np.where(rest > 0, rest, np.nan))
                else:
                    lower[i][j] = rest / lower[j][j]
        forward: list[Array] = []
        for i in range(size):
            rest = g[i]
            for k in range(i):
                rest = rest - lower[i][k] * forward[k]
            forward.append(rest / lower[i][i])
        solved: list[Array] = [np.empty(0)] * size
        for i in reversed(range(size)):
            rest = forward[i]
            for k in range(i + 1, size):
                rest = rest - lower[k][i] * solved[k]
            solved[i] = rest / lower[i][i]
    return np.stack(solved), positive
