"""What the engine minimises, and its derivatives, for a batch of data sets at once.

With f the curve and w the case weights:

- additive errors: half the sum of w (y - f)^2;
- log errors: half the sum of w (log y - log f)^2;
- relative errors: the sum of w (y / f + log f), up to a constant. Its minimum is where least squares with
  weights w / f^2, iterated, comes to rest (quasi-likelihood of a variance proportional to f^2; McCullagh &
  Nelder, Generalized Linear Models, 1989, table 9.1). Where f is below a floor its weight is w / floor^2.

Arrays are laid out as (points, replicates). Sums run over points, so that replicates do not see each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frontier.curves import Array, Curve
from frontier.errors import Errors

ROUNDING = 1e-15
"""Residuals below this share of the data are rounding."""
RELATIVE_FLOOR = 1e-3
"""Relative errors: a fitted value below this share of the largest |y| counts as that share."""

GRADIENT = (2, 3, 10)
HESSIAN = ((4, 5, 11), (5, 6, 12), (11, 12, 13))
INFORMATION = ((7, 8, 14), (8, 9, 15), (14, 15, 16))
"""Rows of `sums`: 0 is the objective, 1 half the rss; those from 10 on belong to log top."""


@dataclass(frozen=True)
class Task:
    """What is fitted to what; the last axis of every array is the replicates (that of u may be 1).

    Attributes
    ----------
    free : which of a, b, log top are estimated
    target : y, or log y for log errors
    peak : (replicates,), the largest y (its magnitude where all are negative)
    floor : (replicates,), relative errors: fitted values below it count as it
    noise : (replicates,), half an rss that is zero to rounding
    anchor : (replicates,), the mean u of the points, by their weight in the sum of squares
    """

    curve: Curve
    errors: Errors
    free: tuple[int, ...]
    u: Array
    y: Array
    target: Array
    w: Array
    peak: Array
    floor: Array
    noise: Array
    anchor: Array

    @classmethod
    def of(cls, curve: Curve, errors: Errors, free: tuple[bool, ...], u: Array, y: Array, w: Array) -> Task:
        """A task from data; points of weight 0 may hold any numbers."""
        inside = w > 0
        if not inside.all():
            middle = np.sum(np.where(inside, u, 0.0), axis=0) / np.maximum(inside.sum(axis=0), 1)
            u, y = np.where(inside, u, middle), np.where(inside, y, 1.0)
        target = errors.scale(y)
        largest = np.max(np.abs(y), axis=0, where=inside, initial=1e-300)
        peak = np.max(y, axis=0, where=inside, initial=-np.inf)
        peak = np.where(peak > 0, peak, largest)
        size, positive = errors.size(y), np.maximum(y, 1e-3 * peak)
        noise = ROUNDING**2 * np.einsum("nr,nr,nr->r", w, size, size)
        weigh = w * (positive / errors.spread(positive)) ** 2
        anchor = (weigh * u).sum(axis=0) / weigh.sum(axis=0)
        which = tuple(i for i in range(3) if free[i])
        return cls(curve, errors, which, u, y, target, w, peak, RELATIVE_FLOOR * largest, noise, anchor)

    def take(self, columns: NDArray[np.intp]) -> Task:
        """The same for some of the replicates."""
        y = np.take(self.y, columns, axis=1)
        return replace(
            self,
            errors=self.errors.take(columns),
            u=self.u if self.u.shape[1] == 1 else np.take(self.u, columns, axis=1),
            y=y,
            target=y if self.target is self.y else np.take(self.target, columns, axis=1),
            w=np.take(self.w, columns, axis=1),
            peak=self.peak[columns],
            floor=self.floor[columns],
            noise=self.noise[columns],
            anchor=self.anchor[columns],
        )

    def weights_at(self, theta: Array) -> Array:
        """The weights of the squares at theta: w, or w / f^2 for relative errors."""
        if not self.errors.reweighted:
            return self.w
        value = self.errors.seen(self.curve, theta[0] + theta[1] * self.u, theta[2])[0]
        return self.w / np.maximum(value, self.floor) ** 2


def sums(task: Task, theta: Array, *, top: bool) -> Array:
    """Objective, half the rss, and their derivatives by theta, one column per replicate.

    Rows are those of GRADIENT, HESSIAN (of the objective) and INFORMATION (J'WJ); 10 of them without `top`,
    else 17. An objective that does not exist is infinite.
    """
    u = task.u
    z = theta[1] * u
    z += theta[0]
    value, d1, d2 = task.errors.seen(task.curve, z, theta[2])
    gap = task.target - value
    out = np.zeros((17 if top else 10, theta.shape[1]))
    w, bend = _relative(task, value, gap, out[0]) if task.errors.reweighted else (task.w, task.w)
    pull = w * gap
    slope, lean = pull * d1, w * d1
    info = lean * d1
    curvature = (info if bend is w else bend * d1 * d1) - pull * d2
    out[1] = 0.5 * np.einsum("nr,nr->r", pull, gap)
    if not task.errors.reweighted:
        out[0] = out[1]
    out[2], out[3] = -slope.sum(0), -np.einsum("nr,nr->r", slope, u)
    for row, terms in ((4, curvature), (7, info)):
        by_u = terms * u
        out[row], out[row + 1], out[row + 2] = terms.sum(0), by_u.sum(0), np.einsum("nr,nr->r", by_u, u)
    if top and task.curve.has_top:
        by_top, again = task.errors.by_top(value)
        excess = bend * by_top - again * pull
        out[10], out[13] = -(pull * by_top).sum(0), (excess * by_top).sum(0)
        out[16] = (w * by_top**2).sum(0)
        turn, lean = excess * d1, lean * by_top
        out[11], out[12] = turn.sum(0), (turn * u).sum(0)
        out[14], out[15] = lean.sum(0), (lean * u).sum(0)
    out[0] = np.where(np.isfinite(out[0]), out[0], np.inf)
    return out


def _relative(task: Task, value: Array, gap: Array, objective: Array) -> tuple[Array, Array]:
    """Relative errors: weights of first and of second derivatives; the objective goes to the last argument.

    It is computed as excess - log(1 + excess), with excess = y / f - 1, so that close fits keep their digits.
    """
    held = np.maximum(value, task.floor)
    excess = (task.y - held) / held
    terms = excess - np.log1p(excess)
    if (task.y <= 0).any():
        terms = np.where(task.y > 0, terms, 1 + excess + np.log(held / task.floor))
    below = value < task.floor
    if below.any():
        terms = np.where(below, terms + 0.5 * ((gap / task.floor) ** 2 - excess**2), terms)
    np.einsum("nr,nr->r", task.w, terms, out=objective)
    w = task.w / held**2
    return w, w * np.where(below, 1.0, 1 + 2 * gap / held)


# With a free top the search runs along (a, b, log height at an anchor among the points that weigh most). The
# data fix that height, while a and log top lie in one curved valley wherever y stays far below the top.


def to_search(task: Task, theta: Array) -> Array:
    """The parameters along which the search runs."""
    if 2 not in task.free:
        return theta
    a, b, log_top = theta
    return np.stack([a, b, log_top + task.curve.log_link(a + b * task.anchor)[0]])


def from_search(task: Task, place: Array) -> Array:
    """The inverse of `to_search`."""
    if 2 not in task.free:
        return place
    a, b, log_height = place
    return np.stack([a, b, log_height - task.curve.log_link(a + b * task.anchor)[0]])


def search_sums(task: Task, place: Array, found: Array | None = None) -> Array:
    """`sums` with derivatives by the search's parameters (chain rule for log top = log height - log h(z)).

    Where the height alone moves the curve, up to rounding, the second derivative by a is set to minus
    infinity: the top has run off to where it cannot be told.
    """
    out = sums(task, from_search(task, place), top=2 in task.free) if found is None else found
    if 2 not in task.free:
        return out
    _, d1, d2 = task.curve.log_link(place[0] + place[1] * task.anchor)
    whole, out = out[7], out.copy()
    by = (d1, d1 * task.anchor)
    for rows, bend in ((HESSIAN, d2 * out[10]), (INFORMATION, 0.0)):
        at, bt, tt = out[rows[0][2]], out[rows[1][2]], out[rows[2][2]]
        out[rows[0][0]] += by[0] * (by[0] * tt - 2 * at) - bend
        out[rows[0][1]] += by[0] * (by[1] * tt - bt) - by[1] * at - bend * task.anchor
        out[rows[1][1]] += by[1] * (by[1] * tt - 2 * bt) - bend * task.anchor**2
        out[rows[0][2]], out[rows[1][2]] = at - by[0] * tt, bt - by[1] * tt
    out[2], out[3] = out[2] - by[0] * out[10], out[3] - by[1] * out[10]
    if 0 in task.free:
        out[4] = np.where(out[7] > 1e-14 * whole, out[4], -np.inf)
    return out
