"""Columns of one family each, those of the families that are not compared: eliminated family by family.

Such a column is 0 but at its family's points, so that J'J is an arrow: the shared columns, and beside them
one small block per family. By blocks, a pair costs as much as the cell has points; solved whole, the square
of its families times that. Shared coefficients, their covariance and the residuals are those of the whole:
Frisch & Waugh, Econometrica 1 (1933) 387; Lovell, JASA 58 (1963) 993.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frontier.curves import Array

RIDGE = 1e-11
"""Of the mean square of a column: only rounding notices it."""
DEPENDENT = 1e-10
"""A column that keeps less of its length outside those before it adds nothing."""


class Coefficients(NamedTuple):
    """Of the shared columns, (cells, shared), and of each family's own, (cells, families, own)."""

    shared: Array
    own: Array


def sums(values: Array, sizes: tuple[int, ...]) -> Array:
    """Sums over the points of each family: axis 1 becomes one of families.

    >>> sums(np.array([[1.0, 2, 3, 4]]), (1, 3))
    array([[1., 9.]])
    """
    return np.add.reduceat(values, np.cumsum((0, *sizes[:-1])), axis=1)


@dataclass(frozen=True)
class Own:
    """Columns of single families, (cells, points, own), and how many of them each family has.

    Zeros stand where a family has fewer than the others, or none.
    """

    columns: Array
    sizes: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def none(cls, t: Array) -> Own:
        """No column beside points (cells, points)."""
        return cls(np.zeros((*t.shape, 0)), (t.shape[-1],), (0,))

    @property
    def width(self) -> int:
        """The most columns of one family."""
        return self.columns.shape[-1]

    @property
    def count(self) -> int:
        """The columns of all families of a cell."""
        return sum(self.counts)

    def apart(self, columns: Array) -> Array:
        """Columns (cells, points, own) with a column for each family's, (cells, points, `count`)."""
        families, each = np.nonzero(np.arange(self.width) < np.array(self.counts)[:, None])
        return columns[..., each] * (np.repeat(np.arange(len(self.sizes)), self.sizes)[:, None] == families)

    def take(self, rows: NDArray[np.intp]) -> Own:
        """Those of some cells."""
        return replace(self, columns=self.columns[rows])

    def weighted(self, root: Array) -> Own:
        """The columns, each point's times the root of its weight."""
        return replace(self, columns=self.columns * root[..., None]) if self.count else self

    def times(self, theta: Array) -> Array | float:
        """What they add to a curve, (cells, points)."""
        if not self.count:
            return 0.0
        return np.asarray((self.columns * np.repeat(theta, self.sizes, axis=1)).sum(-1))

    @cached_property
    def orthonormal(self) -> Array:
        """The same columns, made orthonormal within each family by Gram-Schmidt, twice."""
        found = np.zeros_like(self.columns)
        for j in range(self.width):
            new, before = self.columns[..., j], replace(self, columns=found[..., :j])
            least = DEPENDENT * np.sqrt(sums(new**2, self.sizes))
            for _ in range(2):
                new = new - before.times(sums(before.columns * new[..., None], self.sizes))
            length = np.sqrt(sums(new**2, self.sizes))
            length = np.where(length > least, length, np.inf)
            found[..., j] = new / np.repeat(length, self.sizes, axis=1)
        return found

    @property
    def log_determinant(self) -> Array | float:
        """Of J'J of these columns, (cells,)."""
        if not self.count:
            return 0.0
        blocks = sums(self.columns[..., :, None] * self.columns[..., None, :], self.sizes)
        _damp(blocks, np.einsum("cfii->cf", blocks) / self.width, None)
        return np.asarray(np.linalg.slogdet(blocks)[1].sum(-1))

    def outside(self, values: Array) -> Array:
        """Columns (cells, points, columns) less their projections on these."""
        if not self.count:
            return values
        q = self.orthonormal
        along = sums(q[..., :, None] * values[..., None, :], self.sizes)
        return values - (q[..., :, None] * np.repeat(along, self.sizes, axis=1)).sum(-2)


@dataclass(frozen=True)
class Basis:
    """An orthonormal basis of a fit's weighted columns: the shared ones outside the families' own, and these.

    Attributes
    ----------
    shared : (cells, points, shared)
    own : Own
        Weighted.
    """

    shared: Array
    own: Own

    @classmethod
    def of(cls, columns: Array, own: Own) -> Basis:
        """Of weighted columns."""
        return cls(np.linalg.qr(own.outside(columns))[0], own)

    def take(self, rows: NDArray[np.intp]) -> Basis:
        """That of some cells."""
        return Basis(self.shared[rows], self.own.take(rows))

    @property
    def rank(self) -> int:
        """Columns in all."""
        return self.shared.shape[-1] + self.own.count

    @cached_property
    def leverage(self) -> Array:
        """Of each point, (cells, points)."""
        shared = (self.shared**2).sum(-1)
        return shared + (self.own.orthonormal**2).sum(-1) if self.own.count else shared

    @cached_property
    def whole(self) -> Array:
        """All columns, (cells, points, `rank`)."""
        return np.concatenate([self.shared, self.own.apart(self.own.orthonormal)], -1)

    def left_of(self, residuals: Array) -> Array:
        """Residuals (cells, points) less their projections on all columns."""
        outside = self.own.outside(residuals[..., None])
        return np.asarray((outside - self.shared @ (np.swapaxes(self.shared, -1, -2) @ outside))[..., 0])

    def along_own(self, residuals: Array) -> Array | float:
        """Squared length of (cells, patterns, points) along the families' own columns, (cells, patterns)."""
        if not self.own.count:
            return 0.0
        starts, q = np.cumsum((0, *self.own.sizes[:-1])), np.moveaxis(self.own.orthonormal, -1, 0)
        parts = (np.add.reduceat(residuals * each[:, None], starts, axis=-1) for each in q)
        return np.asarray(sum((part**2).sum(-1) for part in parts))


def solved(columns: Array, own: Own, right: Array, damping: Array | None = None) -> Coefficients:
    """The θ of (J'J + D) θ = J'r, by blocks; D is a ridge, and `damping` (cells,) times the diagonal."""
    across = np.swapaxes(columns, -1, -2)
    if not own.count:
        theta = np.asarray(np.linalg.solve(normal(columns, damping), across @ right[..., None]), float)
        return Coefficients(theta[..., 0], np.zeros((len(columns), len(own.sizes), own.width)))
    beside, q = np.concatenate([columns, right[..., None]], -1), own.width
    everything = np.concatenate([own.columns, beside], -1)
    square, rows = across @ beside, sums(own.columns[..., None] * everything[..., None, :], own.sizes)
    total = np.trace(square, axis1=-2, axis2=-1) + np.trace(rows, axis1=-2, axis2=-1).sum(-1)
    mean = total / (columns.shape[-1] + own.count)
    _damp(square, mean, damping)
    _damp(rows, mean[:, None], None if damping is None else damping[:, None])
    arms = rows[..., q:].copy()
    for j in range(q):  # Gauss-Jordan; the blocks are positive definite
        row = rows[..., j, :] / rows[..., j, j, None]
        rows -= rows[..., j, None] * row[..., None, :]
        rows[..., j, :] = row
    square -= np.einsum("cfqg,cfqh->cgh", arms[..., :-1], rows[..., q:])
    shared = np.linalg.solve(square[..., :-1], square[..., -1:])
    return Coefficients(shared[..., 0], rows[..., -1] - (rows[..., q:-1] @ shared[:, None])[..., 0])


def normal(columns: Array, damping: Array | None = None) -> Array:
    """J'J with the same D."""
    square = np.swapaxes(columns, -1, -2) @ columns
    mean = np.einsum("cii->c", square) / columns.shape[-1]
    _damp(square, mean, damping)
    return np.asarray(square)


def _damp(square: Array, mean: Array, damping: Array | None) -> None:
    """Add D to the diagonals, in place; a column of zeros gets 1."""
    each = np.arange(square.shape[-2])
    diagonal = square[..., each, each]
    more = RIDGE * mean[..., None] + (diagonal == 0)
    if damping is not None:
        more = more + damping[..., None] * (diagonal + 1e-9 * mean[..., None])
    square[..., each, each] += more
