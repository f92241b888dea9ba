"""Levels of single intervals that hold together: Bonferroni, or Dunnett-type where a reference is shared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr, stdtrit

from frontier.distributions import multivariate_t_maxima
from frontier.problems import Array, parameter, x_at
from frontier.ratios.log_ratio import log_estimate
from frontier.wording import nearest

if TYPE_CHECKING:
    from frontier.fits.curve_fit import CurveFit
    from frontier.ratios.ratio import Ratio

KINDS = ("bonferroni", "dunnett")


def adjustment_named(kind: str) -> str:
    """The adjustment, if there is one of that name.

    Raises
    ------
    ValueError
    """
    if kind not in KINDS:
        raise ValueError(f"unknown adjustment {kind!r}{nearest(kind, KINDS)}")
    return kind


def joint_level(
    rows: Sequence[Ratio], level: float, kind: str, pairs: Sequence[tuple[CurveFit, CurveFit]]
) -> float:
    """The level at which each single interval must be drawn so that all of `rows` hold together at `level`.

    Dunnett-type: two families compared with one reference share its error, which lowers the price below
    Bonferroni's. The quantile is that of a multivariate t with those correlations and the smallest of the
    Welch degrees of freedom (conservative where they differ).
    Source: Dunnett (1955), with Hasler & Hothorn (2008) for unequal variances.

    Raises
    ------
    ValueError
        When `kind` is neither.
    """
    adjustment_named(kind)
    known = [r for r in rows if math.isfinite(r.df)]
    if len(known) < 2:
        return level
    bonferroni = 1 - (1 - level) / len(known)
    if kind == "bonferroni":
        return bonferroni
    df = min(r.df for r in known)
    critical = float(np.quantile(multivariate_t_maxima(_correlation(known, pairs), df), level))
    return min(float(1 - 2 * stdtr(df, -critical)), bonferroni)


def joint_p_values(rows: Sequence[Ratio], kind: str, pairs: Sequence[tuple[CurveFit, CurveFit]]) -> Array:
    """The p values of the same: one below 1 - level where the interval at the joint level excludes 1."""
    p = np.array([r.p_value for r in rows])
    known = [r for r in rows if math.isfinite(r.df)]
    bonferroni = np.minimum(p * max(len(known), 1), 1.0)
    if kind == "bonferroni" or len(known) < 2:
        return bonferroni
    df = min(r.df for r in known)
    largest = multivariate_t_maxima(_correlation(known, pairs), df)
    beyond = np.mean(largest > -stdtrit(df, p / 2)[:, None], axis=1)
    return np.where(np.isfinite(p), np.clip(beyond, p, bonferroni), np.nan)


def _correlation(rows: Sequence[Ratio], pairs: Sequence[tuple[CurveFit, CurveFit]]) -> Array:
    """Correlation of log ratios: families of one cell share the variance of its reference."""
    own, shared, cells = [], [], []
    by_key = {(tuple(sorted(f.group.items(), key=str))): (f, r) for f, r in pairs}
    for row in rows:
        fit, ref = next(
            (f, r) for key, (f, r) in by_key.items() if row.family in map(str, dict(key).values())
            and all(dict(key).get(k) == v for k, v in row.group.items())
        )  # fmt: skip
        quantity = (
            x_at(row.at)
            if row.quantity == "relative_potency" and row.at is not None
            else parameter(row.quantity)
        )
        v = [log_estimate(f.estimate, quantity, row.level, "wald").se ** 2 for f in (fit, ref)]
        own.append(v[0] + v[1])
        shared.append(v[1])
        cells.append(ref.group)
    n = len(rows)
    matrix = np.eye(n)
    for i in range(n):
        for j in range(n):
            if i != j and cells[i] == cells[j]:
                matrix[i, j] = math.sqrt(shared[i] * shared[j] / (own[i] * own[j]))
    return matrix
