"""One ratio of two independent estimates: log scale, Welch degrees of freedom, exact reciprocity.

Everything here works with log(family) - log(reference), so that exchanging the two changes the sign and
nothing else: the ratio becomes its reciprocal and the p value stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize_scalar
from scipy.special import fdtrc

from frontier.distributions import t_quantile, two_sided, welch_df
from frontier.intervals import Interval, intervals_of
from frontier.problems import Array, Estimate, Quantity
from frontier.profiles import constrained
from frontier.wording import nearest

METHODS = ("welch", "mover", "profile")


@dataclass(frozen=True)
class LogEstimate:
    """A positive quantity's logarithm, its standard error and degrees of freedom.

    `low` and `high` are the limits of its own interval on the log scale (infinite where open).
    """

    value: float
    se: float
    df: float
    low: float
    high: float


@dataclass(frozen=True)
class LogRatio:
    """log ratio with limits, p value of ratio = 1 and degrees of freedom."""

    value: float
    low: float
    high: float
    p_value: float
    df: float

    @property
    def reciprocal(self) -> LogRatio:
        """The ratio the other way round."""
        return LogRatio(-self.value, -self.high, -self.low, self.p_value, self.df)


def log_estimate(
    estimate: Estimate,
    quantity: Quantity,
    level: float,
    method: str,
    own: Interval | None = None,
    *,
    by_limits: bool = False,
) -> LogEstimate:
    """`quantity` of a one-column estimate as a logarithm, with the limits of its own interval.

    `own` is that interval, where it is known already; `by_limits` takes the standard error from it too.
    """
    working, se = (float(v[0]) for v in estimate.working(quantity))
    readable = float(estimate.readable(quantity, np.array([working]))[0])
    if not readable > 0 or not math.isfinite(readable):
        nan = float("nan")
        return LogEstimate(nan, nan, nan, nan, nan)
    own = intervals_of(estimate, quantity, level, method)[0] if own is None else own
    with np.errstate(divide="ignore", invalid="ignore"):
        low = float(np.log(max(own.low, 0.0)))
        high = float(np.log(own.high)) if own.high > 0 else math.nan
    slope = _log_slope(estimate, quantity, working, readable)
    value, df, se = math.log(readable), float(estimate.problem.df[0]), abs(slope) * se
    se = float(error_of_limits(value, se, low, high, df, level)) if by_limits else se
    return LogEstimate(value, se, df, low, high)


def error_of_limits(
    value: ArrayLike, se: ArrayLike, low: ArrayLike, high: ArrayLike, df: ArrayLike, level: float
) -> Array:
    """The standard error that limits tell, their mean distance over t, where that is more than `se`.

    Of limits that count what the delta method does not: a knee, or an L*, that was estimated. Where one is
    open, the other one's distance.
    """
    value, low, high = (np.asarray(v, dtype=float) for v in (value, low, high))
    below, above = value - low, high - value
    below, above = np.where(np.isfinite(below), below, above), np.where(np.isfinite(above), above, below)
    with np.errstate(invalid="ignore"):
        far = (below + above) / 2
    far = np.where(np.isfinite(far), far, np.nan)
    return np.fmax(se, far / t_quantile(np.asarray(df, dtype=float), level))


def welch(one: LogEstimate, two: LogEstimate, level: float) -> LogRatio:
    """Ratio of two independent estimates with unequal variances.

    Where either one's own limit is infinite, so is the ratio's limit on that side.
    Source: Welch (1938), Satterthwaite (1946) degrees of freedom, on the log scale.
    """
    value = one.value - two.value
    v1, v2 = one.se**2, two.se**2
    if not (math.isfinite(value) and v1 + v2 > 0):
        return LogRatio(value, math.nan, math.nan, math.nan, math.nan)
    df = float(welch_df(v1, one.df, v2, two.df))
    se = math.sqrt(v1 + v2)
    reach = float(t_quantile(df, level)) * se
    low = -math.inf if one.low == -math.inf or two.high == math.inf else value - reach
    high = math.inf if one.high == math.inf or two.low == -math.inf else value + reach
    return _consistent(LogRatio(value, low, high, two_sided(value / se, df), df), level)


def mover(one: LogEstimate, two: LogEstimate, level: float) -> LogRatio:
    """Ratio's limits from the two separate intervals (MOVER-R on the log scale); conservative, no refit.

    Source: Donner & Zou (2012), Statistical Methods in Medical Research 21, 347, eq. 8 for a difference.
    """
    by_welch = welch(one, two, level)
    below = math.hypot(one.value - one.low, two.high - two.value)
    above = math.hypot(one.high - one.value, two.value - two.low)
    found = LogRatio(
        by_welch.value, by_welch.value - below, by_welch.value + above, by_welch.p_value, by_welch.df
    )
    return _consistent(found, level)


def _consistent(found: LogRatio, level: float) -> LogRatio:
    """Without its p value, where that says the opposite of the interval (an open or MOVER limit)."""
    inside = found.low <= 0 <= found.high
    if inside == (found.p_value > 1 - level) or math.isnan(found.p_value):
        return found
    return replace(found, p_value=math.nan)


def pooled_profile(one: Estimate, two: Estimate, quantity: Quantity, level: float) -> LogRatio:
    """Ratio by profile likelihood of both fits together, one residual variance for both.

    Only for quantities estimated on the log scale (k, scale, top, x_at). The difference of logs is held and
    both curves are refitted; limits where the sum of squares exceeds its minimum by F(1, df) times the pooled
    variance.
    Source: Bates & Watts (1988), section 6.1.2, for the difference as the parameter.
    """
    a, b = (float(e.working(quantity)[0][0]) for e in (one, two))
    df = float(one.problem.df[0] + two.problem.df[0])
    least = float(one.solution.rss[0] + two.solution.rss[0])
    variance = least / df
    column = np.zeros(1, dtype=np.intp)

    def held(e: Estimate, at: float) -> float:
        return float(constrained(e, quantity, np.array([at]), column)[0][0])

    def joint(difference: float) -> float:
        """Smallest total RSS with log one - log two = difference; its optimum lies between the estimates."""
        low, high = sorted((b, a - difference))
        if high - low < 1e-12:
            return least
        best = minimize_scalar(
            lambda at: held(one, at + difference) + held(two, at),
            bounds=(low, high), method="bounded", options={"xatol": 1e-9 * (high - low)},
        )  # fmt: skip
        return float(best.fun)

    threshold = least + variance * float(t_quantile(df, level)) ** 2
    low, high = (_reached(joint, a - b, side, threshold) for side in (-1.0, 1.0))
    p = float(fdtrc(1, df, max(joint(0.0) - least, 0.0) / variance))
    return LogRatio(a - b, low, high, p, df)


def _reached(rss: Callable[[float], float], start: float, side: float, threshold: float) -> float:
    """Where `rss` reaches the threshold on one side of `start`; infinite where it never does."""
    step = 0.1
    while rss(start + side * step) < threshold and step < 20:
        step *= 2
    if step >= 20:
        return side * math.inf
    low, high = sorted((start, start + side * step))
    return float(brentq(lambda d: rss(d) - threshold, low, high, xtol=1e-10))


def method_named(method: str) -> str:
    """The method, if there is one of that name.

    Raises
    ------
    ValueError
    """
    if method not in METHODS:
        raise ValueError(f"unknown ratio method {method!r}{nearest(method, METHODS)}")
    return method


def _log_slope(estimate: Estimate, quantity: Quantity, working: float, readable: float) -> float:
    """Derivative of log(readable) with respect to working."""
    curve = estimate.problem.curve
    if quantity.kind == "x_at":
        return 1.0 - float(estimate.problem.offset) / readable if curve.log_x else 1.0 / readable
    if quantity.kind == "height":
        if curve.has_top and "top" not in estimate.problem.fixed:
            return 1.0
        return float(curve.log_link(np.array([working]))[1][0])
    return 1.0 if quantity.name in curve.positive else 1.0 / readable
