"""Families that err unequally: each family's own variance, where that is larger than one for all of a cell.

A family that errs three times as much as the others, with fewer SAEs, is told apart by chance where one
variance is taken for all. Each family's residuals tell its own, and degrees of freedom are those of
Satterthwaite (1946), Biometrics 2, 110, as in Welch's t; several columns together are held against F with the
degrees of freedom of the mixture of their variances. It only ever widens: what a few points of a family say
of its noise may be less than the truth. Between two families no test of equal variances comes before: it lets
through the tables whose noisy family looks quiet by chance, which are those that are told apart. Three and
more families may vouch for one variance.

Sources: Delacre, Lakens & Leys, International Review of Social Psychology 30 (2017) 92, for Welch without a
test before; Bartlett (1937), Proceedings of the Royal Society A 160, 268, for the test; Horn, Horn & Duncan,
JASA 70 (1975) 380, for the degrees of freedom that a fit leaves to a part of the points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc

from frontier.curves import Array
from frontier.shared_shape.descent import EXACT, Fitted
from frontier.shared_shape.own_columns import Basis, sums

UNEQUAL = 0.05
"""Level at which families are said to err unequally."""
DENIED = 2.0
"""Over the number of families: level at which one variance for all is given up. Among the cells of
`make verdicts` are five and seven families; without this test intervals of seven are too wide."""
LOUD = 3.0
"""Times the median SD of a cell's families: the others are compared without a family that errs more. Of 400
cells of families that err alike, one is set apart in 2 % (three families of five SAEs) or none (five of six);
at 2 in 11 and 8 %.
"""
LEAST_DF = 1.0 + 1e-6
"""Degrees of freedom below which a family's residuals tell no variance: it is taken to err as all do. With
0.5, three SAEs had limits of [0.20, 5.5], now [0.88, 1.23] (Matryoshka in docs/learning_rates.md). One, which
three SAEs on a line have, is below it, whatever rounding makes of it.
"""


def own_variances(residuals: Array, leverage: Array, family: NDArray[np.intp]) -> tuple[Array, Array]:
    """Mean squares of each family about a fit, and the degrees of freedom that it left, (cells, families).

    Arrays are (cells, points).

    >>> import numpy as np
    >>> leverage = np.full((1, 4), 0.25)
    >>> variance, df = own_variances(np.array([[1.0, -1, 2, -2]]), leverage, np.array([0, 0, 1, 1]))
    >>> variance.round(3).tolist(), df.tolist()
    ([[1.333, 5.333]], [[1.5, 1.5]])
    """
    df, square = _by_family(1 - leverage, family), _by_family(residuals**2, family)
    df_all = df.sum(-1, keepdims=True)
    pooled = square.sum(-1, keepdims=True) / np.maximum(df_all, 1e-9)
    told = df >= LEAST_DF
    return np.where(told, square / np.where(told, df, 1.0), pooled), np.where(told, df, df_all)


def counted(residuals: Array, basis: Basis, family: NDArray[np.intp]) -> tuple[Array, Array]:
    """The same, but one variance for all in the cells of three and more families that do not deny it."""
    variance, df = own_variances(residuals, basis.leverage, family)
    alike = (bartlett(variance, df) > DENIED / variance.shape[-1])[:, None]
    total = float(residuals.shape[-1] - basis.rank)
    pooled = (residuals**2).sum(-1, keepdims=True) / total
    return np.where(alike, pooled, variance), np.where(alike, total, df)


def bartlett(variance: Array, df: Array) -> Array:
    """P values of one variance for all, (cells,), from mean squares and their degrees of freedom."""
    total, less = df.sum(-1), variance.shape[-1] - 1
    pooled = np.maximum((variance * df).sum(-1) / total, EXACT)
    logs = np.log(np.maximum(variance, EXACT * pooled[:, None]))
    gap = total * np.log(pooled) - (df * logs).sum(-1)
    inexact = ((1 / df).sum(-1) - 1 / total) / (3 * less)
    return np.where(pooled > EXACT, chdtrc(less, np.maximum(gap, 0.0) / (1 + inexact)), 1.0)


def unequal(fitted: Fitted, family: NDArray[np.intp]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """P values of one variance for all families, (cells,); SDs of each, and who is loud, (cells, families).

    Loud is whose SD is more than `LOUD` times the median over the families that tell one.
    """
    leverage = fitted.basis.leverage
    variance, df = own_variances(fitted.residuals, leverage, family)
    told, sd = _by_family(1 - leverage, family) >= LEAST_DF, np.sqrt(variance)
    quiet = np.ma.median(np.ma.masked_array(sd, ~told), axis=-1).filled(np.inf)
    return bartlett(variance, df), sd, told & (sd > LOUD * np.reshape(quiet, (-1, 1)))


def combined(fitted: Fitted, design: Array, family: NDArray[np.intp], df: float) -> tuple[Array, Array]:
    """Variances of linear combinations of coefficients, and their degrees of freedom, (cells, designs).

    From one variance of all points, or from that of each family where the result is larger. `design` is
    (cells, designs, coefficients).
    """
    variance = (design @ fitted.covariance * design).sum(-1) * (fitted.rss / df)[:, None]
    along = fitted.weighted @ fitted.covariance @ np.swapaxes(design, -1, -2)
    of, left = counted(fitted.residuals, fitted.basis, family)
    parts = _by_family(along**2, family) * of[..., None]
    apart = parts.sum(1)
    mixed = apart**2 / np.maximum((parts**2 / left[..., None]).sum(1), 1e-300)
    freedom = np.where(apart > variance, np.minimum(mixed, df), float(df))
    return np.maximum(np.maximum(variance, apart), 0.0), freedom


def p_of_added(
    residuals: Array, basis: Basis, added: int, family: NDArray[np.intp], inflation: Array, df: Array
) -> Array:
    """P values of the last `added` shared columns, each family with its own variance, (cells,).

    `residuals` are those of the model without them; `df` the most degrees of freedom.
    """
    new = basis.shared[..., -added:]
    variance, freedom = counted(basis.left_of(residuals), basis, family)
    parts = _by_family(new[..., :, None] * new[..., None, :], family)
    parts *= variance[..., None, None]
    inverse = np.linalg.pinv(parts.sum(1))
    estimate = (np.swapaxes(new, -1, -2) @ residuals[..., None])[..., 0]
    f = (estimate[:, None] @ inverse @ estimate[..., None])[:, 0, 0] / added / inflation
    share = np.trace(inverse[:, None] @ parts, axis1=-2, axis2=-1) / added
    return fdtrc(added, np.minimum(df, 1 / (share**2 / freedom).sum(-1)), f)


def _by_family(values: Array, family: NDArray[np.intp]) -> Array:
    return sums(values, tuple(np.bincount(family).tolist()))
