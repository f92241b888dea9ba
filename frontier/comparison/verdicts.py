"""Verdicts by a closed procedure, from the numbers of the shared shape.

1. Gate: one common curve for the family and the reference. Not rejected: not separable. Holm's step-down over
   the families of a cell sets the level of each gate, and every later step of that family keeps it.
2. Parallel curves: not rejected, the shift decides, where the family's own curve agrees.
3. Rejected: the sign of the difference over the common range; both signs, each significant, are a crossing.

What contradicts the interpolated points is withheld, and so is a crossing of a shape that does not fit, and
whatever is said of numbers in two units.
Sources: Marcus, Peritz & Gabriel (1976), closed testing; Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frontier.distributions import holm, t_quantile
from frontier.ratios.observed import ObservedRatio
from frontier.shared_shape import MIDDLE, Pair
from frontier.shared_shape.scatter import Scatter

VERDICTS = ("better", "worse", "crossing", "not separable", "withheld", "not comparable")
UNTOLD = ("withheld", "not comparable")
"""Those whose potency is not shown."""

CONTRADICTED = "the curve contradicts the points"
MISFIT = "the shape does not fit"
ONE_SIDE = "curves seem to cross, but the ratios at both ends of the common hits lie on one side of 1"
RISES = "a hit does not fall with L0"
UNITS = "their units seem to differ"
APART = "they share neither hits nor L0"
SEARCHED = "one was searched for so much longer that luck may explain the difference"
SEEDS = "seeds may differ by as much"


@dataclass(frozen=True)
class Decision:
    """A verdict, why it is none where it is none, and how firmly it stands.

    Attributes
    ----------
    verdict : one of `VERDICTS`
    why : str
        What withholds a verdict, or makes a pair not comparable; else empty.
    p_adjusted : float
        Holm's p value of the gate.
    level : float
        Error rate that this pair's tests kept.
    tipping : float
        Seed-to-seed SD, as a share of the hit, up to which the verdict holds; NaN where there is none.
    """

    verdict: str
    why: str
    p_adjusted: float
    level: float
    tipping: float


def decisions(
    pairs: Sequence[Pair],
    observed: Sequence[ObservedRatio | None],
    scatter: Scatter,
    *,
    alpha: float = 0.05,
    typical_seed_sd: float = 0.0,
    search_sds: Sequence[float] = (),
    units_differ: Sequence[bool] = (),
) -> list[Decision]:
    """Verdicts of the families of one cell, in their order.

    Parameters
    ----------
    pairs, observed : each family against the reference, and its observed relative potency
    alpha : float
        Share of cells without any difference in which a verdict other than not separable may be passed.
    typical_seed_sd : float
        Known seed-to-seed SD of a hit, as a share of it.
    search_sds : sequence of float
        Of each pair, what an unequal search may do (`search.search_sd`), as a seed-to-seed SD.
    units_differ : sequence of bool
        Of each pair, whether its L0 or hits are plainly in two units, so that no verdict stands.
    """
    gates = np.array([p.p_gate for p in pairs])
    adjusted = holm(gates)
    order = np.argsort(gates, kind="stable")
    out: list[Decision | None] = [None] * len(pairs)
    for rank, i in enumerate(order):
        level = alpha / (len(pairs) - rank)
        rejected = adjusted[i] < alpha
        verdict, why = _verdict(pairs[i], level, rejected)
        verdict, why = _vetoed(verdict, why, pairs[i], observed[i], scatter, 1 - alpha)
        tipping = math.nan if scatter.widened.by_seed else tipping_point(pairs[i], verdict, level)
        search = search_sds[i] if search_sds else 0.0
        if tipping < math.hypot(typical_seed_sd, search):
            verdict, why = "not separable", SEEDS if tipping < typical_seed_sd else SEARCHED
        if units_differ and units_differ[i] and verdict != "not comparable":
            verdict, why, tipping = "withheld", UNITS, math.nan
        out[i] = Decision(verdict, why, float(adjusted[i]), level, tipping)
    return [d for d in out if d is not None]


def parallel_rejected(p: float, level: float) -> bool:
    """Whether parallel curves are rejected (never where the points carry no own slopes: p is NaN)."""
    return p < level


def _verdict(pair: Pair, level: float, rejected: bool) -> tuple[str, str]:
    shares_hits, shares_l0 = math.isfinite(pair.potency[MIDDLE]), math.isfinite(pair.hit_ratio)
    if not pair.falls:
        return "not comparable", RISES
    if not shares_hits and not shares_l0:
        return "not comparable", APART
    if not rejected:
        return "not separable", ""
    if not parallel_rejected(pair.p_parallel, level) and shares_hits:
        shift = _over(pair.shift, pair.shift_se)
        own = _over(float(pair.potency[MIDDLE]), float(pair.potency_se[MIDDLE]))
        sure = abs(shift) > _reach(pair.shift_df, level) and abs(own) > _reach(pair.df, level)
        agree = sure and shift * own > 0
        return (("better" if shift > 0 else "worse") if agree else "not separable"), ""
    lower, higher = _sides(pair, level)
    if lower and higher:
        return "crossing", ""
    return ("better" if lower else "worse" if higher else "not separable"), ""


def _over(value: float, se: float) -> float:
    """A value over its standard error; exact points leave none.

    >>> _over(0.5, 0.25), _over(-0.5, 0.0), _over(0.0, 0.0)
    (2.0, -inf, 0.0)
    """
    if se > 0:
        return value / se
    return math.copysign(math.inf, value) if value else 0.0


def _sides(pair: Pair, level: float) -> tuple[bool, bool]:
    """Whether the family's hit is significantly lower, and higher, somewhere in the common range.

    In the range of L0 that both cover; where there is none, in the range of hits.
    """
    reach = _reach(pair.df, level)
    if math.isfinite(pair.hit_ratio):
        return pair.lower.t > reach, pair.higher.t > reach
    t = pair.potency / pair.potency_se
    return bool(t.max() > reach), bool(t.min() < -reach)


def _vetoed(
    verdict: str, why: str, pair: Pair, seen: ObservedRatio | None, scatter: Scatter, level: float
) -> tuple[str, str]:
    """The verdict, unless the observed points or the shape's own fit contradict it."""
    known = seen is not None and math.isfinite(seen.ratio)
    if verdict == "crossing":
        if known and seen is not None and not seen.crosses:
            return "withheld", CONTRADICTED
        if pair.potency[0] * pair.potency[-1] > 0:  # NaN where no hit is shared
            return "withheld", ONE_SIDE
        if scatter.p_lack_of_fit < 1 - level:
            return "withheld", MISFIT
    elif verdict in ("better", "worse") and known and seen is not None:
        low, high = potency_limits(pair, MIDDLE, level)
        if low > seen.ratio_max or high < seen.ratio_min:
            return "withheld", CONTRADICTED
    return verdict, why


def potency_limits(pair: Pair, at: int, level: float) -> tuple[float, float]:
    """Confidence limits of the relative potency at one of the pair's hits."""
    reach = float(t_quantile(pair.df, level)) * pair.potency_se[at]
    return math.exp(pair.potency[at] - reach), math.exp(min(pair.potency[at] + reach, 700))


def tipping_point(pair: Pair, verdict: str, level: float) -> float:
    """Seed-to-seed SD of a family's log hit up to which a verdict stays significant; NaN without a verdict.

    Both families' offsets add 2 SD² to the variance of their difference d: |d| = t √(SE² + 2 SD²).
    """
    reach = _reach(pair.df, level)

    def room(t: float, se: float) -> float:
        return se * math.sqrt(max((t / reach) ** 2 - 1, 0.0) / 2)

    if verdict == "crossing":
        return min(room(s.t, s.se) for s in (pair.lower, pair.higher))
    if verdict not in ("better", "worse"):
        return math.nan
    if math.isfinite(pair.potency[MIDDLE]) and not parallel_rejected(pair.p_parallel, level):
        se = pair.potency_se[MIDDLE]
        return room(abs(pair.potency[MIDDLE]) / se, se * abs(pair.slope)) if se > 0 else math.inf
    side = pair.lower if verdict == "better" else pair.higher
    return room(side.t, side.se)


def _reach(df: float, level: float) -> float:
    """The t quantile of a two-sided test."""
    return float(t_quantile(df, 1 - level))
