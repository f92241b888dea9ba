"""One falling shape per cell, and each family's place on it: the models that are compared, in batches.

With z = log L0 (centred and scaled over the cell) and η = log of the expected hit,

    free     η_f = P(z) + d_f(z)    a common polynomial of degree D, a deviation of degree q per family
    common   the same, with one family of a pair on the other's curve (d = 0)
    shift    the same, with η_f(z) = P(z + s) for it: exp(s) is its relative potency, at every hit

Errors are `errors.LOG` or `errors.TwoComponent`: both sides, y and exp(η), are taken to the errors' scale
(Carroll & Ruppert 1984), where residuals have one SD.

A batch holds cells of one structure: arrays (cells, points), points ordered by family. Shifts of a common
shape: Lawton, Sylvestre & Maggio, Technometrics 14 (1972), self-modelling regression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from frontier.curves import Array
from frontier.errors import LOG, Errors

DEGREES = (2, 3, 4, 5, 6)
"""Degrees of the shape that are tried; from 5 on where a family has twice as many points."""
LEAST_DF = 3
"""Degrees of freedom that a shape of degree 2 must leave, else it is a line."""
MAX_STEPS = 40
RIDGE = 1e-11
FURTHEST = 6.0
"""The longest step of a coefficient, in units of the cell's spread of log L0."""
FURTHEST_SHIFT = 4.0
"""Shifts beyond this, in the same units, are none that the points carry."""
STEEPEST = 200.0
"""Logarithms of hits beyond this are cut, so that their exponentials stay finite."""
EXACT = 1e-20
"""Mean squares below this are rounding: the points lie on the curve."""


def of_log(errors: Errors, eta: Array) -> tuple[Array, Array]:
    """An expected hit exp(η) on the errors' scale, and the derivative by η: the root of a point's weight.

    >>> import numpy as np
    >>> of_log(LOG, np.array([0.5]))
    (array([0.5]), array([1.]))
    """
    eta = np.clip(eta, -STEEPEST, STEEPEST)
    f = np.exp(eta)
    return (eta if errors is LOG else errors.scale(f)), f / errors.spread(f)


@dataclass(frozen=True)
class Layout:
    """The structure that the cells of a batch share: how many points each family has, and the pair at hand.

    `distinct` counts the points of different L0 (three or more are all the same here). `moved` is placed
    relative to `base`; a family with few points deviates by a lower degree, and the one of the pair with
    more points is the base.
    """

    sizes: tuple[int, ...]
    distinct: tuple[int, ...]
    degree: int
    deviation: int
    base: int
    moved: int

    @property
    def family(self) -> NDArray[np.intp]:
        """The family's index of each point."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def deviations(self, f: int) -> int:
        """Degree of a family's deviation: what its points, and those of its base, can carry."""
        return min(self.deviation, self.degree, self.distinct[f] - 1, self.distinct[self.base] - 1)

    def columns(self, z: Array, *, moved: bool) -> Array:
        """Columns of the linear models, (cells, points, columns): common, or with `moved` free.

        Columns of `moved` are the last.
        """
        family = self.family
        parts = [z**j for j in range(self.degree + 1)]
        others = [f for f in range(len(self.sizes)) if f not in (self.base, self.moved)]
        for f in [*others, *([self.moved] if moved else [])]:
            parts += [(family == f) * z**j for j in range(self.deviations(f) + 1)]
        return np.stack(np.broadcast_arrays(*parts), -1)

    @property
    def tested(self) -> int:
        """Columns by which the free model exceeds the common one."""
        return self.deviations(self.moved) + 1

    @property
    def n_free(self) -> int:
        """Coefficients of the free model."""
        families = [f for f in range(len(self.sizes)) if f != self.base]
        return self.degree + 1 + sum(self.deviations(f) + 1 for f in families)


@dataclass(frozen=True)
class Fitted:
    """Optima of a batch: coefficients, rss on the errors' scale, residuals, √weights, and the columns."""

    theta: Array
    rss: Array
    residuals: Array
    root_weights: Array
    jacobian: Array

    @cached_property
    def covariance(self) -> Array:
        """Inverse of J'WJ, (cells, coefficients, coefficients): the covariance up to σ²."""
        return np.asarray(np.linalg.inv(_normal(self.weighted)), dtype=np.float64)

    @cached_property
    def weighted(self) -> Array:
        """The columns, each point's times the root of its weight."""
        return self.jacobian * self.root_weights[..., None]

    @cached_property
    def basis(self) -> Array:
        """An orthonormal basis of the weighted columns."""
        return np.linalg.qr(self.weighted)[0]


def fit_linear(columns: Array, t: Array, errors: Errors) -> Fitted:
    """Least squares on the errors' scale, η linear in `columns`; in closed form with log errors."""
    theta = _solve(columns, t if errors is LOG else _start(t, errors))

    def curve(theta: Array, rows: Rows) -> tuple[Array, Array]:
        own = columns if len(rows) == len(columns) else columns[rows]
        return (own @ theta[..., None])[..., 0], own

    if errors is LOG:
        residuals = t - (columns @ theta[..., None])[..., 0]
        return Fitted(theta, (residuals**2).sum(-1), residuals, np.ones_like(t), columns)
    return _descend(curve, theta, t, errors)


def fit_shift(layout: Layout, z: Array, t: Array, errors: Errors) -> Fitted:
    """The shift model: the last coefficient is s, the others those of the common model."""
    linear = layout.columns(z, moved=False)
    on = layout.family == layout.moved
    d = layout.degree

    def curve(theta: Array, rows: Rows) -> tuple[Array, Array]:
        beta, s = theta[:, :-1], theta[:, -1:]
        u = z[rows] + on * s
        columns = linear[rows]
        columns[..., : d + 1] = powers(u, d)
        slope = (columns[..., :d] * (np.arange(1, d + 1) * beta[:, None, 1 : d + 1])).sum(-1)
        eta = (columns * beta[:, None]).sum(-1)
        return eta, np.concatenate([columns, (on * slope)[..., None]], -1)

    return _descend(curve, _shift_start(layout, z, t, errors), t, errors)


def fit_moved(layout: Layout, z: Array, t: Array, errors: Errors, shift: Fitted) -> Fitted:
    """The shift model with own powers of z + s/2 for the moved family, from the shift model's optimum.

    Half-way between both families' places, so that either of them may be the moved one. Coefficients: those
    of the common model, s, then those of the own powers (`tested` - 1 of them).
    """
    linear, on = layout.columns(z, moved=False), (layout.family == layout.moved)[:, None]
    common, d, own = linear.shape[-1], layout.degree, layout.tested - 1

    def curve(theta: Array, rows: Rows) -> tuple[Array, Array]:
        s, at = theta[:, common, None], z[rows]
        columns = linear[rows]
        columns[..., : d + 1] = powers(at + on[:, 0] * s, d)
        more, by_shift = moved_columns(at, s, theta[:, : d + 1], theta[:, common + 1 :])
        eta = (columns * theta[:, None, :common]).sum(-1) + (on * more * theta[:, None, common + 1 :]).sum(-1)
        return eta, np.concatenate([columns, on * by_shift[..., None], on * more], -1)

    return _descend(curve, np.concatenate([shift.theta, np.zeros((len(z), own))], -1), t, errors)


def moved_columns(
    z: Array, s: Array, shape: Array, own: Array, *, slope: bool = False
) -> tuple[Array, Array]:
    """Own powers of the moved family at log L0 `z`, and the derivative of its curve by s (or both by z)."""
    d, q, at = shape.shape[-1] - 1, own.shape[-1], z + s / 2
    more = powers(at, q, slope=slope)[..., 1:]
    along = powers(z + s, d - 1, slope=slope) * np.arange(1, d + 1) * shape[:, None, 1:]
    half = (
        powers(at, q - 1, slope=slope) * np.arange(1, q + 1) * own[:, None] / 2 if q else np.zeros((1, 1, 1))
    )
    return more, along.sum(-1) + half.sum(-1)


def powers(at: Array, degree: int, *, slope: bool = False) -> Array:
    """Powers 0 to `degree` of `at` (or their derivatives), along a last axis."""
    found = np.empty((*at.shape, degree + 1))
    found[..., 0] = 0.0 if slope else 1.0
    last = np.ones_like(at)
    for j in range(1, degree + 1):
        found[..., j] = j * last if slope else last * at
        last = last * at
    return found


def fit_shifts(layout: Layout, z: Array, t: Array, errors: Errors, start: Array) -> tuple[Array, Array]:
    """All families on one shape: its coefficients, and the shift of each family but the reference.

    `start` (cells, families - 1) holds shifts to begin with.
    """
    d, m = layout.degree, len(layout.sizes)
    on = layout.family[None, :, None] == np.arange(1, m)

    def curve(theta: Array, rows: Rows) -> tuple[Array, Array]:
        beta, s = theta[:, : d + 1], theta[:, d + 1 :]
        columns = powers(z[rows] + (on * s[:, None]).sum(-1), d)
        slope = (columns[..., :d] * (np.arange(1, d + 1) * beta[:, None, 1:])).sum(-1)
        return (columns * beta[:, None]).sum(-1), np.concatenate([columns, on * slope[..., None]], -1)

    placed = z + (on * start[:, None]).sum(-1)
    shape = fit_linear(placed[..., None] ** np.arange(d + 1), t, errors).theta
    fitted = _descend(curve, np.concatenate([shape, start], -1), t, errors)
    return fitted.theta[:, : d + 1], fitted.theta[:, d + 1 :]


def placed_shifts(sizes: tuple[int, ...], levels: int, z: Array, y: Array) -> Array:
    """Where each family lies on one shape, roughly: shifts (cells, families) of z, 0 for the first.

    Of a shape of degree 3 at most, below the number of different L0 (`levels`), with log errors; what has no
    logarithm is taken for a small hit. They say where the other families of a cell stand; a pair's own shift
    is estimated anew.
    """
    m, points = len(sizes), z.shape[-1]
    degree = min(3, levels - 1, points - m)
    if degree < 1 or m < 2:
        return np.zeros((len(z), m))
    t = _logs(y)
    layout = Layout(sizes, tuple(min(s, 3) for s in sizes), degree, 0, 0, 1)
    raised = fit_linear(layout.columns(z, moved=True), t, LOG).theta
    slope = np.minimum((z * (t - t.mean(-1, keepdims=True))).sum(-1) / (z**2).sum(-1), -0.05)
    order = [*range(2, m), 1]  # as the columns of a layout are
    start = np.zeros((len(z), m))
    start[:, order] = np.clip(raised[:, degree + 1 :] / slope[:, None], -1.5, 1.5)
    _, found = fit_shifts(layout, z, t, LOG, start[:, 1:])
    known = np.isfinite(found) & (np.abs(found) <= FURTHEST_SHIFT)
    return np.concatenate([np.zeros((len(z), 1)), np.where(known, found, 0.0)], -1)


def _shift_start(layout: Layout, z: Array, t: Array, errors: Errors) -> Array:
    """A common curve with the moved family at a constant distance; the distance over the mean slope."""
    on = (layout.family == layout.moved).astype(float)
    columns = layout.columns(z, moved=False)
    raised = np.concatenate([columns, np.broadcast_to(on, z.shape)[..., None]], -1)
    theta = fit_linear(raised, t, errors).theta
    d = layout.degree
    here = z[:, layout.family == layout.moved].mean(-1)
    powers = here[:, None] ** np.arange(d)
    slope = (powers * np.arange(1, d + 1) * theta[:, 1 : d + 1]).sum(-1)
    safe = np.where(slope < -0.05, slope, np.minimum(theta[:, 1], -0.05))
    return np.concatenate([theta[:, :-1], np.clip(theta[:, -1] / safe, -1.5, 1.5)[:, None]], -1)


def _start(t: Array, errors: Errors) -> Array:
    """Logarithms of y to start from."""
    return _logs(errors.unscale(t))


def _logs(y: Array) -> Array:
    """Logarithms; a y that has none, or hardly one, is taken for a small one."""
    least = 0.1 * np.nanmin(np.where(y > 0, y, np.nan), axis=-1, keepdims=True)
    return np.log(np.maximum(y, least))


Rows = NDArray[np.intp]
Curve = Callable[[Array, Rows], tuple[Array, Array]]
"""From coefficients of some cells, and which they are, to η and its derivatives by the coefficients."""


def _descend(curve: Curve, theta: Array, t: Array, errors: Errors) -> Fitted:
    """Gauss-Newton with Levenberg-Marquardt damping: all cells at once, each until it stands still."""

    def at(theta: Array, rows: Rows) -> Fitted:
        eta, jacobian = curve(theta, rows)
        mean, root = of_log(own_errors, eta)
        residuals = own - mean
        return Fitted(theta, (residuals**2).sum(-1), residuals, root, jacobian)

    going, own, own_errors = np.arange(len(t)), t, errors
    now = at(theta, going)
    best = None
    damping = np.full(len(t), 1e-4)
    for _ in range(MAX_STEPS):
        weighted = now.jacobian * now.root_weights[..., None]
        across = np.swapaxes(weighted, -1, -2)
        step = np.linalg.solve(_normal(weighted, damping), across @ now.residuals[..., None])[..., 0]
        tried = now.theta + np.clip(step, -FURTHEST, FURTHEST)
        tried[:, -1] = np.clip(tried[:, -1], -1e6, 1e6)
        new = at(tried, going)
        better = new.rss <= now.rss
        still = np.abs(now.rss - new.rss) <= 1e-11 * now.rss
        now = new if better.all() else either(better, new, now)
        damping = np.where(better, damping / 8, np.minimum(damping * 8, 1e8))
        left = ~(still | (damping >= 1e7))
        if not left.any():
            break
        if not left.all():
            best = _placed(best, len(t), going, now)
            going, damping = going[left], damping[left]
            own, own_errors = t[going], errors.take(going)
            now = Fitted(*(part[left] for part in _parts(now)))
    return now if best is None else _placed(best, len(t), going, now)


def _parts(fitted: Fitted) -> tuple[Array, ...]:
    return fitted.theta, fitted.rss, fitted.residuals, fitted.root_weights, fitted.jacobian


def either(here: NDArray[np.bool_], one: Fitted, other: Fitted) -> Fitted:
    """The first where `here` (cells,), else the second."""
    pairs = zip(_parts(one), _parts(other), strict=True)
    return Fitted(*(np.where(here.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs))


def _placed(whole: Fitted | None, cells: int, rows: Rows, some: Fitted) -> Fitted:
    """The whole batch with these cells' values."""
    if whole is None:
        whole = Fitted(*(np.empty((cells, *part.shape[1:])) for part in _parts(some)))
    for part, value in zip(_parts(whole), _parts(some), strict=True):
        part[rows] = value
    return whole


def _normal(columns: Array, damping: Array | None = None) -> Array:
    """J'J with a ridge that only rounding notices, and `damping` times its diagonal where that is given."""
    square = np.swapaxes(columns, -1, -2) @ columns
    each = np.arange(square.shape[-1])
    diagonal = square[:, each, each]
    mean = diagonal.mean(-1, keepdims=True)
    square[:, each, each] += RIDGE * mean
    if damping is not None:
        square[:, each, each] += damping[:, None] * (diagonal + 1e-9 * mean)
    return square


def _solve(columns: Array, t: Array) -> Array:
    right = np.swapaxes(columns, -1, -2) @ t[..., None]
    return np.asarray(np.linalg.solve(_normal(columns), right)[..., 0], dtype=np.float64)
