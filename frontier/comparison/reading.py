"""The ratios of one pair, read off its numbers: potency at a hit, at all hits, and the hit ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from frontier.comparison.comparison import PotencyBand
from frontier.distributions import f_quantile, t_quantile, two_sided
from frontier.problems import Array
from frontier.ratios.ratio import Ratio
from frontier.results import Group
from frontier.shared_shape import HITS, MIDDLE, Pair


@dataclass(frozen=True)
class Reading:
    """One pair with what its ratios are called; `seed_sd` is a known seed-to-seed SD of the log hit."""

    pair: Pair
    group: Group
    family: str
    reference: str
    y: str
    errors: str
    level: float
    seed_sd: float

    @property
    def once(self) -> float:
        """Standard errors to a limit of a ratio that was chosen beforehand."""
        return float(t_quantile(self.pair.df, self.level))

    @property
    def everywhere(self) -> float:
        """Standard errors to limits that hold at all hits."""
        return reach_everywhere(self.pair, self.level)

    @property
    def offset(self) -> float:
        """SD of the difference of two families' log hits by their seeds."""
        return math.sqrt(2) * self.seed_sd

    @property
    def offset_per_l0(self) -> float:
        """The same as a difference of log L0."""
        return self.offset / abs(self.pair.slope) if self.pair.slope else 0.0

    def middle(self) -> Ratio:
        """Relative potency at the middle of the common hits."""
        return self._potency(MIDDLE, self.pair.potency_se, self.once)

    def ends(self) -> tuple[Ratio, Ratio]:
        """Relative potency at both ends of the common hits."""
        low, high = (self._potency(at, self.pair.robust_se, self.everywhere) for at in (0, HITS - 1))
        return low, high

    def hit_ratio(self) -> Ratio:
        """Hit(family) / hit(reference) at the middle of the common L0."""
        p = self.pair
        se = math.hypot(p.hit_ratio_se, self.offset)
        return self._ratio("hit_ratio", p.hit_ratio_l0, p.hit_ratio, se, self.once, "below 1")

    def band(self) -> PotencyBand:
        """Relative potency at every common hit, with limits that hold at all of them."""
        known = np.isfinite(self.pair.potency)
        logs = self.pair.potency[known]
        reach = self.everywhere * np.hypot(self.pair.robust_se[known], self.offset_per_l0)
        limits = (np.exp(np.minimum(logs + s * reach, 700)) for s in (-1, 1))
        return PotencyBand(self.pair.hits[known], np.exp(logs), *limits)

    def _potency(self, at: int, errors: Array, reach: float) -> Ratio:
        hit, log, se = (float(v[at]) for v in (self.pair.hits, self.pair.potency, errors))
        return self._ratio("relative_potency", hit, log, math.hypot(se, self.offset_per_l0), reach, "above 1")

    def _ratio(self, quantity: str, at: float, log: float, se: float, reach: float, better: str) -> Ratio:
        low, high = (exp(log + s * se * reach) for s in (-1, 1))
        p = two_sided(log / se, self.pair.df) if se > 0 else math.nan
        return Ratio(
            self.group, self.family, self.reference, quantity, at, exp(log), low, high, p, self.pair.df,
            better, self.level, "shared shape", self.errors, y_name=self.y,
        )  # fmt: skip


def reach_everywhere(pair: Pair, level: float) -> float:
    """Standard errors to limits that hold at all hits, of curves that differ in `own` coefficients.

    Source: Working & Hotelling (1929); Scheffé (1959), section 3.5.
    """
    return math.sqrt(pair.own * f_quantile(level, pair.own, pair.df))


def p_of_band(ratio: float, low: float, high: float, pair: Pair, level: float) -> float:
    """The p value of 1 that belongs to a band: below 1 - level where its limits at a hit leave 1 out."""
    if not 0 < low < high < math.inf:
        return math.nan
    per_se = math.log(high / low) / 2 / reach_everywhere(pair, level)
    return float(fdtrc(pair.own, pair.df, (math.log(ratio) / per_se) ** 2 / pair.own))


def exp(log: float) -> float:
    """The exponential, of at most 700; NaN stays.

    >>> exp(0.0), exp(1e9) == math.exp(700)
    (1.0, True)
    """
    return math.exp(min(log, 700.0)) if not math.isnan(log) else math.nan
