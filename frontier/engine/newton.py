"""Thousands of curve fits in one call: batched Newton with a Levenberg-Marquardt safeguard.

Every curve is top * h(a + b u) with u = X(x) - centre (see `curves.py`), so one engine serves the line, the
power law and the Hill curve with two or three parameters, any of them held fixed. What is minimised stands in
`objective.py`. Arrays are laid out as (points, replicates), and blocks of replicates stay in cache.

Steps use the exact gradient and Hessian; where the Hessian is not positive definite, or a step would raise
the objective, growing damping takes over. A replicate that does not come to rest at a minimum within reach
is reported as not converged and its numbers are NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from frontier.curves import Array, Curve
from frontier.engine.objective import (
    GRADIENT,
    HESSIAN,
    INFORMATION,
    Task,
    from_search,
    search_sums,
    sums,
    to_search,
)
from frontier.engine.starts import distinct, started
from frontier.errors import Errors, errors_model

Bools = NDArray[np.bool_]
Columns = NDArray[np.intp]

BLOCK = 2**17
"""Numbers in each array of a block: large enough to hide the cost of a call, small enough for the cache."""
MAX_STEPS = 80
NEAR = 1e-9
"""The last step but one promises to lower the objective by less than this share of half the rss."""
DECREMENT = 1e-14
"""At an optimum, one more step promises less than this share: about 1e-7 standard errors."""
STILL = 1e-3
"""A step that promises next to nothing, but moves a parameter by more than this share, runs to infinity."""
FLAT = 1e-10
"""An rss that changes by less than this share, when parameters move by their own size, falls no further."""
TOP_STARTS = (1.2, 10.0)
"""Free top: starting values, as multiples of the largest y; the best fit of them is kept."""


def _keep_freed_memory() -> None:
    """Allocate and free one large array, after which glibc keeps freed arrays of block size for the next use.

    Its thresholds follow the largest array freed so far. Below them every intermediate array is given back to
    the system and fetched again as zeroed pages, which made fits three times slower (measured).
    """
    np.empty(1 << 21)


_keep_freed_memory()


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
    converged: Bools

    def at(self, columns: Columns) -> Solution:
        """The optima of some columns."""
        return Solution(**{f.name: getattr(self, f.name)[..., columns] for f in fields(Solution)})

    def replaced(self, columns: Columns, other: Solution) -> Solution:
        """The same batch with the optima of `columns` taken from `other`."""
        out = {}
        for field in fields(Solution):
            out[field.name] = getattr(self, field.name).copy()
            out[field.name][..., columns] = getattr(other, field.name)
        return Solution(**out)


def solve(
    curve: Curve,
    u: Array,
    y: Array,
    weights: Array | None = None,
    *,
    errors: str | Errors = "additive",
    free: tuple[bool, bool, bool] = (True, True, False),
    theta: Array | None = None,
    reweight: bool = True,
    infimum: bool = False,
) -> Solution:
    """Least-squares optima of `curve`, one per column.

    Parameters
    ----------
    u : (points, replicates) or (points, 1)
        X(x) - centre.
    y : (points, replicates)
    weights : like y, optional
        Case weights, one over a known variance up to a factor; 0 leaves a point out.
    errors : errors model, or its name
    free : which of a, b, log top are estimated
    theta : (3, replicates), optional
        Values of the fixed parameters and starting values of the free ones; NaN where a start is to be found.
        Where a given start leads to no optimum, one is found. Default: all NaN but log top = 0.
    reweight : with relative errors, whether the weights follow the fit (else `weights` already hold them).
    infimum : whether an rss that can fall no further counts, though the parameters run off. Their values then
        mean nothing; a profile needs the rss alone.

    Returns
    -------
    Solution
    """
    points, replicates = y.shape
    weights = np.broadcast_to(1.0 if weights is None else weights, y.shape)
    if theta is None:
        theta = np.array([[np.nan], [np.nan], [0.0]]) + np.zeros(replicates)
    errors = errors_model(errors) if reweight else errors_model(errors).held
    parts = []
    with np.errstate(all="ignore"):
        for block in _blocks(points, replicates):
            ub = u if u.shape[1] == 1 else u[:, block]
            own = errors.take(np.arange(replicates)[block])
            task = Task.of(curve, own, free, ub, y[:, block], weights[:, block])
            parts.append(_solution(task, _best(task, theta[:, block], infimum)))
    if len(parts) == 1:
        return parts[0]
    names = [field.name for field in fields(Solution)]
    return Solution(**{name: np.concatenate([getattr(p, name) for p in parts], axis=-1) for name in names})


def _blocks(points: int, replicates: int) -> Iterator[slice]:
    size = max(1, BLOCK // max(points, 1))
    for start in range(0, max(replicates, 1), size):
        yield slice(start, min(start + size, replicates))


@dataclass(frozen=True)
class _Found:
    """Where a search ended: theta, the `sums` there (17 rows), whether it will do, and whether it is flat."""

    theta: Array
    sums: Array
    converged: Bools
    flat: Bools

    def put(self, columns: Columns, other: _Found) -> None:
        """Take over `other`, which holds these columns."""
        self.theta[:, columns], self.sums[:, columns] = other.theta, other.sums
        self.converged[columns], self.flat[columns] = other.converged, other.flat

    def improve(self, columns: Columns, other: _Found) -> None:
        """Take over those of `other` that are better."""
        worse = ~self.converged[columns] | (other.sums[0] < self.sums[0, columns] * (1 - 1e-9))
        take = np.flatnonzero(other.converged & worse)
        theta, total = other.theta[:, take], other.sums[:, take]
        self.put(columns[take], _Found(theta, total, other.converged[take], other.flat[take]))


def _solution(task: Task, found: _Found) -> Solution:
    theta, total = found.theta, found.sums
    weights = task.weights_at(theta)
    if not found.converged.all():
        theta[:, ~found.converged], total[:, ~found.converged] = np.nan, np.nan
    information = total[np.array(INFORMATION)]
    return Solution(theta, 2 * total[1], 2 * total[list(GRADIENT)], information, weights, found.converged)


def _best(task: Task, theta: Array, infimum: bool) -> _Found:
    """The best fit of all starts."""
    if 2 not in task.free or not np.isnan(theta[2]).any():
        return _fit(task, theta, infimum)
    best: _Found | None = None
    for multiple in TOP_STARTS:
        trial = theta.copy()
        trial[2] = np.where(np.isnan(theta[2]), np.log(multiple * task.peak), theta[2])
        found = _newton(task, started(task, trial), infimum)
        if best is None:
            best = found
        else:
            best.improve(np.arange(theta.shape[1]), found)
    assert best is not None
    best.converged[:] &= distinct(task) >= len(task.free)
    return best


def _fit(task: Task, theta: Array, infimum: bool) -> _Found:
    """The minimum next to the start; a second start where there is none, or where points exceed the top."""
    found = _newton(task, started(task, theta), infimum)
    doubtful = ~found.converged | found.flat
    if task.curve.has_top:
        doubtful |= task.peak > np.exp(theta[2])
    columns = np.flatnonzero(doubtful)
    if columns.size:
        rest, fresh = task.take(columns), theta[:, columns]
        fresh[[i for i in task.free if i < 2]] = np.nan
        found.improve(columns, _newton(rest, started(rest, fresh, plain=True), infimum))
    return found


def _newton(task: Task, start: Array, infimum: bool, goal: float = NEAR) -> _Found:
    """The minimum that Newton's method reaches, tested on fresh derivatives there."""
    place, arrived = _descend(task, to_search(task, start), goal)
    theta = from_search(task, place)
    total = sums(task, theta, top=True)
    _, promise = _step(search_sums(task, place, total), task.free, None)
    converged = arrived & (promise <= np.maximum(DECREMENT * total[1], task.noise))
    flat = _flat(task, place, total) & ~converged if infimum else np.zeros_like(converged)
    found = _Found(theta, total, converged | flat, flat)
    late = np.flatnonzero(arrived & ~converged & ~flat)
    if late.size and goal > DECREMENT:
        found.put(late, _newton(task.take(late), theta[:, late], infimum, DECREMENT))
    return found


def _still(step: Array, place: Array) -> Bools:
    return np.asarray(np.max(np.abs(step) / (1 + np.abs(place)), axis=0) <= STILL)


def _flat(task: Task, place: Array, total: Array) -> Bools:
    """Whether moving the parameters by their own size changes the rss by less than the share FLAT."""
    change = sum(np.abs(total[GRADIENT[i]]) * (1 + np.abs(place[i])) for i in task.free)
    return np.asarray(change <= FLAT * total[1])


def _descend(task: Task, place: Array, goal: float) -> tuple[Array, Bools]:
    """Place after the last step of each replicate, and whether that step promised less than `goal`.

    Finished replicates leave the arrays once they are a quarter of them; until then they idle along.
    """
    out, arrived = place.copy(), np.zeros(place.shape[1], bool)
    live, damping = np.arange(place.shape[1]), np.zeros(place.shape[1])
    total = search_sums(task, place)
    done = ~np.isfinite(total[0])
    for _ in range(MAX_STEPS):
        step, promise = _step(total, task.free, damping)
        calm, lost = _verdict(task, place, total, step, promise, damping, goal)
        new = (calm | lost) & ~done
        if new.any():
            out[:, live[new]] = place[:, new] + np.where(calm[new], step[:, new], 0.0)
            arrived[live[new]] = calm[new]
            done |= new
        count = np.count_nonzero(done)
        if count == len(done):
            break
        if 4 * count > len(done):
            keep = np.flatnonzero(~done)
            task, live, place, total = task.take(keep), live[keep], place[:, keep], total[:, keep]
            step, damping, done = step[:, keep], damping[keep], done[keep]
        trial = search_sums(task, place + step)
        accept = trial[0] <= total[0] + np.sqrt(task.noise * (total[1] + task.noise))
        if accept.all():
            place, total = place + step, trial
        else:
            place, total = np.where(accept, place + step, place), np.where(accept, trial, total)
        if damping.any() or not accept.all():
            eased = np.where(damping > 0.02, damping * 0.2, 0.0)
            damping = np.where(accept, eased, np.maximum(damping * 4, 0.1))
    out[:, live[~done]] = place[:, ~done]
    return out, arrived


def _verdict(
    task: Task, place: Array, total: Array, step: Array, promise: Array, damping: Array, goal: float
) -> tuple[Bools, Bools]:
    """Which replicates need no step after this one, and which will never come to rest."""
    calm = (promise <= np.maximum(goal * total[1], task.noise)) & (damping == 0)
    lost = (damping > 1e10) | np.isneginf(total[4])
    if calm.any():
        still = _still(step, place)
        lost |= calm & ~still & (promise <= np.maximum(DECREMENT * total[1], task.noise))
        calm &= still
    return calm, lost


def _step(total: Array, free: tuple[int, ...], damping: Array | None) -> tuple[Array, Array]:
    """Damped Newton step, and the decrease that it promises.

    Where the Hessian is not positive definite, the step is Gauss-Newton's and the promise infinite.
    """
    step, promise = np.zeros((3, total.shape[1])), np.zeros(total.shape[1])
    if not free:
        return step, promise
    gradient = [total[GRADIENT[i]] for i in free]
    diagonal = [total[INFORMATION[i][i]] for i in free]
    hessian = [[total[HESSIAN[i][j]] for j in free] for i in free]
    ridge = [damping * d for d in diagonal] if damping is not None and damping.any() else None
    solved, positive = _cholesky_solve(hessian, ridge, gradient)
    if not positive.all():
        least = np.maximum(0.0 if damping is None else damping, 1e-9)
        information = [[total[INFORMATION[i][j]] for j in free] for i in free]
        usual, _ = _cholesky_solve(information, [least * d for d in diagonal], gradient)
        solved = [np.where(positive, s, g) for s, g in zip(solved, usual, strict=True)]
    for i, s, g in zip(free, solved, gradient, strict=True):
        finite = np.isfinite(s)
        positive &= finite
        step[i] = np.where(finite, -s, 0.0)
        promise += s * g
    return step, np.where(positive, np.abs(0.5 * promise), np.inf)


def _cholesky_solve(
    m: list[list[Array]], ridge: list[Array] | None, g: list[Array]
) -> tuple[list[Array], Bools]:
    """Solve (m + diag(ridge)) s = g per replicate, 1 to 3 unknowns; and whether m was positive definite."""
    size, positive = len(g), np.ones(len(g[0]), bool)
    lower: dict[tuple[int, int], Array] = {}
    for i in range(size):
        for j in range(i + 1):
            rest = m[i][j] + ridge[i] if ridge and i == j else m[i][j]
            for k in range(j):
                rest = rest - lower[i, k] * lower[j, k]
            if i == j:
                positive &= rest > 1e-14 * np.abs(m[i][i])
                lower[i, i] = np.sqrt(rest)
            else:
                lower[i, j] = rest / lower[j, j]
    solved: list[Array] = []
    for i in range(size):
        rest = g[i]
        for k in range(i):
            rest = rest - lower[i, k] * solved[k]
        solved.append(rest / lower[i, i])
    for i in reversed(range(size)):
        rest = solved[i]
        for k in range(i + 1, size):
            rest = rest - lower[k, i] * solved[k]
        solved[i] = rest / lower[i, i]
    return solved, positive
