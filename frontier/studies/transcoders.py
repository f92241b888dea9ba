"""Whether the hit grows faster or slower than linearly in 1/L0, as was observed for transcoders.

A transcoder is trained like an SAE, with `target_site` in the configuration. Its hit may lie below zero or
above one; such rows are kept (under errors models that can take them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from frontier import Interval, fit, select_curve
from frontier.fits.curve_fit import CurveFit
from frontier.results import Result
from frontier.views import View
from frontier.wording import number

CURVES = ("linear(intercept=0)", "linear", "power", "hill(n=1)", "hill")


@dataclass(frozen=True, eq=False, repr=False)
class Steepness(Result):
    """How the hit of one family depends on 1/L0.

    Attributes
    ----------
    exponent : Interval
        Of the power law; 1 is a line through the origin.
    n : Interval
        Of the Hill curve with top 1.
    growth : {"faster", "slower", "undecided"}
        Than linear: both intervals above 1, both below 1, or neither.
    weights : dict of str to float
        Share of the evidence of each curve (AICc).
    outside : int
        SAEs with a hit below 0 or above 1; all are in the fits whose errors model is not log.
    """

    family: str
    exponent: Interval
    n: Interval
    growth: str
    weights: dict[str, float]
    errors: str
    points: int
    outside: int

    def _view(self) -> View:
        best = max(self.weights, key=self.weights.__getitem__) if self.weights else ""
        row = (
            self.family,
            str(self.exponent),
            str(self.n),
            self.growth,
            f"{best}, {number(self.weights.get(best, 0.0))}",
        )
        return View(
            "Growth of the hit", ("family", "exponent", "n", "than linear", "best curve, weight"), (row,)
        )


def steepness(
    table: Any, *, curves: Sequence[str] = CURVES, errors: str = "auto", level: float = 0.95, **options: Any
) -> list[Steepness]:
    """Every family's exponent and n with intervals, and the evidence between the curves.

    `options` are those of `frontier.fit` (`max_l0`, `by`, ...).
    """
    powers = fit(table, "power", errors=errors, level=level, **options)
    chosen = {f.errors for f in powers}
    hills = fit(table, "hill", errors=chosen.pop() if len(chosen) == 1 else errors, level=level, **options)
    return [_steepness(p, h, curves) for p, h in zip(powers, hills, strict=True)]


def _steepness(power: CurveFit, hill: CurveFit, curves: Sequence[str]) -> Steepness:
    exponent, n = power["exponent"], hill["n"]
    if min(exponent.low, n.low) > 1:
        growth = "faster"
    else:
        growth = "slower" if max(exponent.high, n.high) < 1 else "undecided"
    weighed = select_curve(power, curves, replicates=0)
    weights = {c.curve: c.weight for c in weighed.candidates}
    hits = power.y
    outside = int(((hits < 0) | (hits > 1)).sum())
    family = str(power.group.get("family", ""))
    return Steepness(family, exponent, n, growth, weights, power.errors, power.n_points, outside)
