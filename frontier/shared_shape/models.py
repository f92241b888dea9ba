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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frontier.curves import Array
from frontier.errors import LOG, Errors
from frontier.shared_shape.descent import Fitted, Rows, descend
from frontier.shared_shape.own_columns import Coefficients, Own, solved

FEW = 16
"""Up to as many columns of other families the whole system is solved quicker than by blocks."""
DEGREES = (2, 3, 4, 5, 6)
"""Degrees of the shape that are tried; from 5 on where a family has twice as many points."""
LEAST_DF = 3
"""Degrees of freedom that a shape of degree 2 must leave, else it is a line."""
FURTHEST_SHIFT = 4.0
"""Shifts beyond this, in units of the cell's spread of log L0, are none that the points carry."""


@dataclass(frozen=True)
class Layout:
    """The structure that the cells of a batch share: how many points each family has, and the pair at hand.

    `distinct` counts the points of different L0 (three or more are all the same here). `moved` is placed
    relative to `base`; a family with few points deviates by a lower degree, and the one of the pair with
    more points is the base. `bend` is how many powers more the moved family has for itself;
    `places` how many places on its curve each family's points stand for, where that is fewer than points.
    """

    sizes: tuple[int, ...]
    distinct: tuple[int, ...]
    degree: int
    deviation: int
    base: int
    moved: int
    bend: int = 0
    places: tuple[int, ...] = ()

    @property
    def family(self) -> NDArray[np.intp]:
        """The family's index of each point."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def deviations(self, f: int) -> int:
        """Degree of a family's deviation: what its points, and those of its base, can carry."""
        most = self.deviation + self.bend * (f == self.moved)
        return min(most, self.degree, self.distinct[f] - 1, self.distinct[self.base] - 1)

    def columns(self, z: Array, *, moved: bool) -> Array:
        """Shared columns of the linear models, (cells, points, columns): common, or with `moved` free.

        Columns of `moved` are the last. Before them those of the other families, if they are few.
        """
        common, own = powers(z, self.degree), self._own(z)
        parts = [common, own.apart(own.columns)] if 0 < own.count <= FEW else [common]
        if moved:
            parts.append((self.family == self.moved)[:, None] * common[..., : self.tested])
        return np.concatenate(parts, -1) if len(parts) > 1 else common

    def own(self, z: Array) -> Own:
        """Columns of the families outside the pair, if they are many."""
        own = self._own(z)
        return own if own.count > FEW else Own.none(z)

    def _own(self, z: Array) -> Own:
        pair = self.base, self.moved
        counts = [0 if f in pair else self.deviations(f) + 1 for f in range(len(self.sizes))]
        return self._of_each(z, tuple(counts))

    def every(self, z: Array) -> Own:
        """Columns of each family's deviation, the pair's included."""
        return self._of_each(z, tuple(self.deviations(f) + 1 for f in range(len(self.sizes))))

    def _of_each(self, z: Array, counts: tuple[int, ...]) -> Own:
        on = np.arange(max(counts)) < np.array(counts)[self.family, None]
        return Own(on * powers(z, max(counts))[..., :-1], self.sizes, counts)

    @property
    def tested(self) -> int:
        """Columns by which the free model exceeds the common one."""
        return self.deviations(self.moved) + 1

    @property
    def n_free(self) -> int:
        """Coefficients of the free model."""
        families = [f for f in range(len(self.sizes)) if f != self.base]
        return self.degree + 1 + sum(self.deviations(f) + 1 for f in families)

    @property
    def leaves_df(self) -> bool:
        """Whether the places leave `LEAST_DF` degrees of freedom to the free model."""
        return sum(self.places or self.sizes) - self.n_free >= LEAST_DF


def fit_linear(columns: Array, t: Array, errors: Errors, own: Own | None = None) -> Fitted:
    """Least squares on the errors' scale, η linear in the columns; in closed form with log errors."""
    own = Own.none(t) if own is None else own
    theta = solved(columns, own, t if errors is LOG else _start(t, errors))
    if errors is LOG:
        residuals = t - (columns @ theta.shared[..., None])[..., 0] - own.times(theta.own)
        rss = (residuals**2).sum(-1)
        return Fitted(theta.shared, rss, residuals, np.ones_like(t), columns, theta.own, own)

    def curve(theta: Coefficients, rows: Rows) -> tuple[Array, Array, Own]:
        whole = len(rows) == len(columns)
        here, beside = (columns, own) if whole else (columns[rows], own.take(rows))
        return (here @ theta.shared[..., None])[..., 0] + beside.times(theta.own), here, beside

    return descend(curve, theta, t, errors)


def fit_shift(layout: Layout, z: Array, t: Array, errors: Errors) -> Fitted:
    """The shift model: the last coefficient is s, the others those of the common model."""
    linear, own = layout.columns(z, moved=False), layout.own(z)
    on, d = layout.family == layout.moved, layout.degree

    def curve(theta: Coefficients, rows: Rows) -> tuple[Array, Array, Own]:
        beta, s, beside = theta.shared[:, :-1], theta.shared[:, -1:], own.take(rows)
        columns = linear[rows]
        columns[..., : d + 1] = powers(z[rows] + on * s, d)
        slope = (columns[..., :d] * (np.arange(1, d + 1) * beta[:, None, 1 : d + 1])).sum(-1)
        eta = (columns * beta[:, None]).sum(-1) + beside.times(theta.own)
        return eta, np.concatenate([columns, (on * slope)[..., None]], -1), beside

    return descend(curve, _shift_start(layout, z, t, errors), t, errors)


def fit_moved(layout: Layout, z: Array, t: Array, errors: Errors, shift: Coefficients) -> Fitted:
    """The shift model with own powers of z + s/2 for the moved family, from the shift model's optimum.

    Half-way between both families' places, so that either of them may be the moved one. Coefficients: those
    of the common model, s, then those of the own powers (`tested` - 1 of them).
    """
    linear, own = layout.columns(z, moved=False), layout.own(z)
    on, d, common = (layout.family == layout.moved)[:, None], layout.degree, linear.shape[-1]

    def curve(theta: Coefficients, rows: Rows) -> tuple[Array, Array, Own]:
        beta, s, deviation = np.split(theta.shared, [common, common + 1], -1)
        at, columns, beside = z[rows], linear[rows], own.take(rows)
        columns[..., : d + 1] = powers(at + on[:, 0] * s, d)
        more, by_shift = moved_columns(at, s, beta[:, : d + 1], deviation)
        eta = (columns * beta[:, None]).sum(-1) + (on * more * deviation[:, None]).sum(-1)
        columns = np.concatenate([columns, on * by_shift[..., None], on * more], -1)
        return eta + beside.times(theta.own), columns, beside

    start = np.concatenate([shift.shared, np.zeros((len(z), layout.tested - 1))], -1)
    return descend(curve, Coefficients(start, shift.own), t, errors)


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
    d, sizes = layout.degree, layout.sizes
    on = (layout.family > 0)[:, None]

    def curve(theta: Coefficients, rows: Rows) -> tuple[Array, Array, Own]:
        columns = powers(z[rows] + np.repeat(theta.own[..., 0], sizes, axis=-1), d)
        slope = (columns[..., :d] * (np.arange(1, d + 1) * theta.shared[:, None, 1:])).sum(-1)
        eta = (columns * theta.shared[:, None]).sum(-1)
        return eta, columns, Own(on * slope[..., None], sizes, (0, *[1] * (len(sizes) - 1)))

    begin = np.concatenate([np.zeros((len(z), 1)), start], -1)
    placed = z + np.repeat(begin, sizes, axis=-1)
    shape = fit_linear(powers(placed, d), t, errors).theta
    fitted = descend(curve, Coefficients(shape, begin[..., None]), t, errors)
    return fitted.theta, fitted.own_theta[:, 1:, 0]


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
    constant = np.broadcast_to(np.where(layout.family > 0, 1.0, 0.0)[:, None], (*z.shape, 1))
    own = Own(constant, sizes, (0, *[1] * (m - 1)))
    raised = fit_linear(powers(z, degree), t, LOG, own).own_theta[:, 1:, 0]
    slope = np.minimum((z * (t - t.mean(-1, keepdims=True))).sum(-1) / (z**2).sum(-1), -0.05)
    _, found = fit_shifts(layout, z, t, LOG, np.clip(raised / slope[:, None], -1.5, 1.5))
    known = np.isfinite(found) & (np.abs(found) <= FURTHEST_SHIFT)
    return np.concatenate([np.zeros((len(z), 1)), np.where(known, found, 0.0)], -1)


def _shift_start(layout: Layout, z: Array, t: Array, errors: Errors) -> Coefficients:
    """A common curve with the moved family at a constant distance; the distance over the mean slope."""
    on = layout.family == layout.moved
    raised = np.concatenate([layout.columns(z, moved=False), np.broadcast_to(on, z.shape)[..., None]], -1)
    fitted = fit_linear(raised, t, errors, layout.own(z))
    theta, d = fitted.theta, layout.degree
    here = z[:, on].mean(-1)
    slope = (powers(here, d - 1) * np.arange(1, d + 1) * theta[:, 1 : d + 1]).sum(-1)
    safe = np.where(slope < -0.05, slope, np.minimum(theta[:, 1], -0.05))
    shift = np.clip(theta[:, -1] / safe, -1.5, 1.5)
    return Coefficients(np.concatenate([theta[:, :-1], shift[:, None]], -1), fitted.own_theta)


def _start(t: Array, errors: Errors) -> Array:
    """Logarithms of y to start from."""
    return _logs(errors.unscale(t))


def _logs(y: Array) -> Array:
    """Logarithms; a y that has none, or hardly one, is taken for a small one."""
    least = 0.1 * np.nanmin(np.where(y > 0, y, np.nan), axis=-1, keepdims=True)
    return np.log(np.maximum(y, least))
