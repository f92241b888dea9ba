"""Quantiles and p values of the tests used everywhere (t, Welch, F, multivariate t, Holm); the jackknife."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri, fdtrc, fdtri, ndtri, stdtr, stdtrit

from frontier.arguments import in_range

Array = NDArray[np.float64]


def t_quantile(df: Array | float, level: float) -> Array:
    """Two-sided quantile of t: the `level` share lies within plus or minus it; NaN without df.

    Raises
    ------
    ValueError
        When `level` is no fraction between 0 and 1.
    """
    in_range("level", level)
    df = np.asarray(df, dtype=float)
    return np.where(df > 0, stdtrit(np.maximum(df, 1e-9), 0.5 + level / 2), np.nan)


def two_sided(t: float, df: float) -> float:
    """Two-sided p value of a t statistic."""
    return float(2 * stdtr(df, -abs(t)))


def welch_df(v1: ArrayLike, df1: ArrayLike, v2: ArrayLike, df2: ArrayLike) -> Array:
    """Degrees of freedom of a difference of two independent estimates with variances v1 and v2.

    Source: Satterthwaite (1946).
    """
    a, b = np.asarray(v1, dtype=float), np.asarray(v2, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((a + b) ** 2 / (a**2 / df1 + b**2 / df2))


def welch_reach(v1: Array, df1: ArrayLike, v2: Array, df2: ArrayLike, level: float) -> Array:
    """Half-width of the interval of a difference of two independent estimates; broadcasts."""
    return t_quantile(welch_df(v1, df1, v2, df2), level) * np.sqrt(v1 + v2)


def f_quantile(level: float, extra_df: float, df: float) -> float:
    """Quantile of F."""
    return float(fdtri(extra_df, df, level))


def f_test(extra: float, extra_df: float, rss: float, df: float) -> tuple[float, float]:
    """Extra-sum-of-squares F and its p value. Source: Bates & Watts (1988), section 3.10."""
    if not (df > 0 and rss > 0 and extra_df > 0):
        return math.nan, math.nan
    f = max(extra, 0.0) / extra_df / (rss / df)
    return f, float(fdtrc(extra_df, df, f))


def multivariate_t_maxima(correlation: Array, df: float) -> Array:
    """Draws of the largest |t|, quasi-random with a fixed seed: quantiles and shares have about 3 digits.

    SciPy's multivariate-t integral takes whole degrees of freedom only; Welch's are not whole.
    """
    from scipy.stats import qmc

    draws = qmc.Sobol(len(correlation) + 1, seed=1).random(2**15)
    draws = np.clip(draws, 1e-12, 1 - 1e-12)
    normal = ndtri(draws[:, :-1]) @ np.linalg.cholesky(correlation + 1e-12 * np.eye(len(correlation))).T
    chi = np.sqrt(chdtri(df, draws[:, -1]) / df)
    return np.asarray(np.abs(normal).max(axis=1) / chi)


def holm(p_values: Array) -> Array:
    """Holm-adjusted p values; missing ones stay missing. Source: Holm (1979).

    statsmodels' `multipletests` gives the same and collects garbage on every call (50 ms); the tests hold the
    two equal.
    """
    p = np.asarray(p_values, dtype=float)
    out = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return out


def between_classes(values: Array, index: np.ndarray) -> tuple[float, int]:
    """Sum of squares of the means of classes around 0, and its degrees of freedom, classes less one.

    Of residuals, whose mean is about 0: one-way analysis of variance.

    >>> between_classes(np.array([1.0, 3.0, -2.0, -2.0]), np.array([0, 0, 1, 1]))
    (16.0, 1)
    """
    count = np.bincount(index)
    sums = np.bincount(index, values)
    known = count > 0
    return float((sums[known] ** 2 / count[known]).sum()), int(known.sum()) - 1


def jackknife_error(left_out: np.ndarray) -> np.ndarray:
    """Standard errors from estimates `[n, ...]` that each leave one part out; missing for fewer than two.

    sqrt((n − 1)/n · Σ (θ₍₋i₎ − mean θ₍₋i₎)²), Efron & Tibshirani, An Introduction to the Bootstrap, eq. 11.5.

    >>> x = np.array([1.0, 2.0, 4.0, 9.0])  # of a mean it is the textbook standard error
    >>> float(jackknife_error((x.sum() - x) / 3)), float(x.std(ddof=1) / 2)
    (1.779513..., 1.779513...)
    """
    count = len(left_out)
    if count < 2:
        return np.full(left_out.shape[1:], np.nan)
    with np.errstate(invalid="ignore"):
        spread = np.square(left_out - left_out.mean(0)).sum(0)
        return np.sqrt((count - 1) / count * spread)
