"""Errors that are a share of the excess over a floor: y whose best value is not 0, as a cross-entropy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frontier.curves import Array
from frontier.errors import LOG, Errors, TwoComponent

TINY = 1e-9
"""Of the floor: where a curve below it is held."""


class Excess(Errors):
    """Spread in proportion to the height over a floor below all points: log(y − floor) = log(f − floor) + e.

    A Box-Cox transformation with a shift (Box & Cox 1964, section 2, λ₁ = 0), taken on both sides.

    >>> errors = Excess(3.0)
    >>> float(errors.spread(3.5)), float(errors.unscale(errors.scale(3.5)))
    (0.5, 3.5)
    """

    name = "excess"
    residual_name = "Residual of log excess of {y}"

    def __init__(self, floor: ArrayLike) -> None:
        self.floor = np.asarray(floor, dtype=float)

    def take(self, columns: NDArray[np.intp]) -> Errors:
        """The same, each column with its own floor."""
        return Excess(self.floor[columns]) if self.floor.ndim else self

    def scale(self, y: ArrayLike) -> Array:
        """The logarithm of the excess."""
        return np.log(self.spread(y))

    def unscale(self, s: ArrayLike) -> Array:
        """The floor and the exponential."""
        return np.asarray(self.floor + np.exp(s))

    def spread(self, fitted: ArrayLike) -> Array:
        """The excess."""
        return np.maximum(np.asarray(fitted, dtype=float) - self.floor, TINY * self.floor)

    def log_jacobian(self, y: ArrayLike) -> Array:
        """Minus the logarithm of the excess."""
        return -self.scale(y)


def errors_of(constant: ArrayLike) -> Errors:
    """Log errors where the constant is 0, two components with it as the knee above 0, a floor of −it below.

    Of a batch of cells, (cells, 1), all are of one kind.
    """
    value = np.asarray(constant, dtype=float)
    first = float(value.flat[0])
    return LOG if first == 0 else TwoComponent(value) if first > 0 else Excess(-value)


def name_of(constant: float) -> str:
    """What users call these errors.

    >>> name_of(0.0), name_of(-3.2)
    ('log', 'excess')
    """
    return errors_of(constant).name


def share_of_y(constant: float, y: Array) -> float:
    """What the SD of residuals is multiplied by to be a share of y: the median over y above 0.

    >>> share_of_y(0.0, np.array([0.1, 0.2])), round(share_of_y(-3.2, np.array([3.3, 3.3])), 4)
    (1.0, 0.0303)
    """
    above = y[y > 0]
    return float(np.median(errors_of(constant).spread(above) / above))
