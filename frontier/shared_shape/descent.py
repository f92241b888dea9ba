"""Least squares on the errors' scale by Gauss-Newton, a batch of cells at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from frontier.curves import Array
from frontier.errors import LOG, Errors
from frontier.shared_shape.own_columns import Basis, Coefficients, Own, normal, solved

MAX_STEPS = 40
FURTHEST = 6.0
"""The longest step of a coefficient, in units of the cell's spread of log L0."""
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
class Fitted:
    """Optima of a batch: coefficients, rss on the errors' scale, residuals, √weights, and the columns.

    `theta` are the coefficients of the shared columns, `jacobian`; `own_theta` those of single families.
    """

    theta: Array
    rss: Array
    residuals: Array
    root_weights: Array
    jacobian: Array
    own_theta: Array
    own: Own

    @cached_property
    def covariance(self) -> Array:
        """Inverse of J'WJ, (cells, coefficients, coefficients): the covariance of `theta` up to σ²."""
        return np.asarray(np.linalg.inv(normal(self.weighted)), dtype=np.float64)

    @cached_property
    def weighted(self) -> Array:
        """The columns, each point's times the root of its weight, less what families' own ones explain."""
        return self._own_weighted.outside(self.jacobian * self.root_weights[..., None])

    @cached_property
    def basis(self) -> Basis:
        """An orthonormal basis of all weighted columns."""
        return self.basis_of(self.jacobian)

    def basis_of(self, columns: Array) -> Basis:
        """The same of other shared columns."""
        return Basis.of(columns * self.root_weights[..., None], self._own_weighted)

    @cached_property
    def _own_weighted(self) -> Own:
        return self.own.weighted(self.root_weights)

    @property
    def df(self) -> int:
        """Degrees of freedom that the fit leaves."""
        return self.residuals.shape[-1] - self.theta.shape[-1] - self.own.count


Rows = NDArray[np.intp]
Curve = Callable[[Coefficients, Rows], tuple[Array, Array, Own]]
"""From coefficients of some cells, and which they are, to η and its derivatives by the coefficients."""


def descend(curve: Curve, start: Coefficients, t: Array, errors: Errors) -> Fitted:
    """Gauss-Newton with Levenberg-Marquardt damping: all cells at once, each until it stands still."""

    def at(theta: Coefficients, rows: Rows) -> Fitted:
        eta, jacobian, families = curve(theta, rows)
        mean, root = of_log(own_errors, eta)
        residuals = own - mean
        return Fitted(theta.shared, (residuals**2).sum(-1), residuals, root, jacobian, theta.own, families)

    going, own, own_errors = np.arange(len(t)), t, errors
    now = at(start, going)
    best = None
    damping = np.full(len(t), 1e-4)
    for _ in range(MAX_STEPS):
        weighted = now.jacobian * now.root_weights[..., None]
        step = solved(weighted, now.own.weighted(now.root_weights), now.residuals, damping)
        tried = now.theta + np.clip(step.shared, -FURTHEST, FURTHEST)
        tried[:, -1] = np.clip(tried[:, -1], -1e6, 1e6)
        new = at(Coefficients(tried, now.own_theta + np.clip(step.own, -FURTHEST, FURTHEST)), going)
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
            now = _fitted([part[left] for part in _parts(now)], now.own)
    return now if best is None else _placed(best, len(t), going, now)


def either(here: NDArray[np.bool_], one: Fitted, other: Fitted) -> Fitted:
    """The first where `here` (cells,), else the second."""
    pairs = zip(_parts(one), _parts(other), strict=True)
    return _fitted([np.where(here.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs], one.own)


def _parts(fitted: Fitted) -> tuple[Array, ...]:
    f = fitted
    return f.theta, f.rss, f.residuals, f.root_weights, f.jacobian, f.own_theta, f.own.columns


def _fitted(parts: list[Array], own: Own) -> Fitted:
    theta, rss, residuals, root_weights, jacobian, own_theta, columns = parts
    own = replace(own, columns=columns)
    return Fitted(theta, rss, residuals, root_weights, jacobian, own_theta, own)


def _placed(whole: Fitted | None, cells: int, rows: Rows, some: Fitted) -> Fitted:
    """The whole batch with these cells' values."""
    if whole is None:
        whole = _fitted([np.empty((cells, *part.shape[1:])) for part in _parts(some)], some.own)
    for part, value in zip(_parts(whole), _parts(some), strict=True):
        part[rows] = value
    return whole
