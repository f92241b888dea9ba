"""Does a model with more columns fit better than chance? An F test and a sign-flip test that must agree.

The F test is exact where all residuals have one SD. The sign-flip test holds where they have not (one family
noisier than another, noise that depends on the hit in another way than was modelled): under the null model a
residual may have either sign, so the statistic is computed again under random signs. Where both hold, both
reject together; where one fails, the other one keeps the error rate.

Sources: Hemerik, Goeman & Finos, JRSS B 82 (2020) 841, sign-flipped scores; Davidson & Flachaire, Journal of
Econometrics 146 (2008) 162, residuals of the null model divided by √(1 − leverage), with Rademacher signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from frontier.curves import Array
from frontier.shared_shape.descent import EXACT, Fitted
from frontier.shared_shape.noise import p_of_added
from frontier.shared_shape.own_columns import Basis

FLIPS = 499
ALL_UP_TO = 9
"""Points up to which every pattern of signs is taken."""
REACHED = 5
"""Of `FLIPS` drawn patterns: fewer that reach a statistic tell a share only to a factor of 2 or worse (95 %
limits of a Poisson count of 5: 1.6 to 11.7), and the F test's p value counts. One of them is 1 / 499, more
than Holm allows among 26 families: a potency of 3 was not told apart there.
"""
MOST_ALIKE = 0.05
"""With k points of the pair, a share of 1 / 2^(k − 1) of the patterns turns these alike, whatever becomes of
the others' points: fewer that reach a statistic are none but itself. Holm asks the first of seven families
for .007, which 1 / 32, the share of three SAEs against three, never is. Larger shares count as p values all
the same: by the F test alone, equal families of which one errs six times as much were told apart in 14 % of
tables of six families of two SAEs, in 20 of eight of three.
"""
FAR = 0.25
"""Signs are flipped where the F test's p value is below this: the larger one of both counts."""
MOST_LEVERAGE = 0.99
BLOCK = 1 << 22
"""Numbers in one block of flipped residuals."""


def added_columns(
    null: Fitted,
    columns: Array,
    ranks: NDArray[np.intp],
    inflation: Array | None = None,
    df: Array | None = None,
    family: NDArray[np.intp] | None = None,
    *,
    pair: int | None = None,
) -> tuple[Array, Array]:
    """The p value of the columns that `columns` has beyond the null model's, and their F statistic.

    Parameters
    ----------
    null : fits of the null model
    columns : (cells, points, columns)
        The null model's first, then those beyond.
    ranks : (cells, points)
        Which column of the sign patterns a point takes: the same whatever the order of families.
    inflation : (cells,), optional
        How many times the variance of a mean exceeds that under independent errors.
    df : (cells,), optional
        Degrees of freedom of the variance, where they are fewer than the residuals'.
    family : (points,), optional
        The family of each point: the F test with a variance for each (`noise`) counts where its p value is
        larger.
    pair : int, optional
        Points of the two families that are compared; all, unless others' are among them.

    Returns
    -------
    p, f : (cells,)
        The larger of both tests' p values; that of the F test where it is above `FAR` or few flips reach the
        statistic.
    """
    basis, before = null.basis_of(columns), null.theta.shape[-1]
    p, f, observed = _f_test(null, basis, before, inflation, df, family)
    leverage = np.minimum(Basis(basis.shared[..., :before], basis.own).leverage, MOST_LEVERAGE)
    spread = null.residuals / np.sqrt(1 - leverage)
    square, reached = (spread**2).sum(-1), np.zeros(len(p))
    signs, near = flips(spread.shape[-1]), np.flatnonzero(p < FAR)
    for part, some in blocks(len(near), *signs.shape):
        cells = near[part]
        turned = spread[cells, None] * np.swapaxes(signs[some][:, ranks[cells]], 0, 1)
        gain = _gain(turned, square[cells], basis.take(cells), before)
        reached[cells] += (gain >= observed[cells, None]).sum(-1)
    least = _least(spread.shape[-1], pair)
    return np.where(reached >= least, np.maximum(p, reached / len(signs)), p), f


def _least(points: int, pair: int | None) -> float:
    """Patterns that must reach a statistic, so that their share is a p value."""
    if points <= ALL_UP_TO:
        return 1
    alike = FLIPS / 2 ** ((pair or points) - 1)
    return max(REACHED, alike if alike <= MOST_ALIKE * FLIPS else 0)


def added_column(null: Fitted, column: Array, inflation: Array, df: Array, family: NDArray[np.intp]) -> Array:
    """The p value of one more column, (cells, points), by the F test alone; else as `added_columns`.

    For a column whose weight lies on few points: turning their signs hardly ever reaches the statistic.
    """
    columns = np.concatenate([null.jacobian, column[..., None]], -1)
    return _f_test(null, null.basis_of(columns), null.theta.shape[-1], inflation, df, family)[0]


def _f_test(
    null: Fitted, basis: Basis, before: int, inflation: Array | None, df: Array | None,
    family: NDArray[np.intp] | None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """P values, F statistics and gains of the shared columns of `basis` after the first `before`."""
    df1, df2 = basis.shared.shape[-1] - before, null.residuals.shape[-1] - basis.rank
    wide = np.ones(len(null.residuals)) if inflation is None else inflation
    square = (null.residuals**2).sum(-1)
    observed = _gain(null.residuals[:, None], square, basis, before)[:, 0] / wide
    f = observed * df2 / df1
    most = np.full(len(f), float(df2)) if df is None else np.minimum(df, df2)
    p = fdtrc(df1, most, f)
    near = np.flatnonzero(p < FAR)
    if family is not None and len(near):
        apart = p_of_added(null.residuals[near], basis.take(near), df1, family, wide[near], most[near])
        p[near] = np.maximum(p[near], apart)
    return p, f, observed


def blocks(cells: int, patterns: int, points: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of cells, or where one cell is large, of its patterns: `BLOCK` numbers at the most."""
    many = max(1, BLOCK // (patterns * points))
    some = max(1, min(patterns, BLOCK // points))
    for i in range(0, cells, many):
        for j in range(0, patterns, some):
            yield slice(i, i + many), slice(j, j + some)


def ranks_of(z: Array, y: Array) -> NDArray[np.intp]:
    """Each point's place in its cell by L0, then by hit, (cells, points)."""
    return np.argsort(np.lexsort((y, z), axis=-1), axis=-1)


def _gain(residuals: Array, square: Array, basis: Basis, before: int) -> Array:
    """Share by which the shared columns beyond the first lower the rss, over what is left, (cells, flips).

    `square` (cells,) is that of the residuals, which signs do not change.
    """
    along = (residuals @ basis.shared) ** 2
    gained = along[..., before:].sum(-1)
    left = square[:, None] - basis.along_own(residuals) - along[..., :before].sum(-1) - gained
    return gained / np.maximum(left, EXACT * residuals.shape[-1])


@lru_cache(maxsize=256)
def flips(points: int) -> NDArray[np.int8]:
    """Patterns of signs, (flips, points): all with few points, else `FLIPS` drawn once and for all."""
    if points <= ALL_UP_TO:
        turned = np.arange(1, 2 ** (points - 1))[:, None] >> np.arange(points) & 1
    else:
        rng = np.random.default_rng(points)
        turned = np.stack([rng.integers(0, 2, points).astype(np.int8) for _ in range(FLIPS)])
    return (1 - 2 * turned).astype(np.int8)
