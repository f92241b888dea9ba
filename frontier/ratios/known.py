"""What ratios rest on, made for many fits at once: optima, and intervals of the x that heights are met at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from frontier.fits.curve_fit import CurveFit
from frontier.fits.nuisance import KNEE
from frontier.fits.together import Reached, intervals_at, optima
from frontier.problems import Estimate, Quantity
from frontier.ratios.log_ratio import LogEstimate, log_estimate


@dataclass(frozen=True)
class Known:
    """Optima by the identity of a fit, and intervals of its x; what is not there is made for one fit."""

    estimates: dict[int, Estimate] = field(default_factory=dict)
    reached: Reached = field(default_factory=dict)

    @classmethod
    def of(cls, fits: Sequence[CurveFit]) -> Known:
        """The optima of these fits."""
        members = list({id(f): f for f in fits}.values())
        return cls(dict(zip(map(id, members), optima(members), strict=True)))

    def reaching(self, asked: Sequence[tuple[CurveFit, float]], level: float) -> Known:
        """The same, with the intervals of the x at which these fits reach these heights."""
        return replace(self, reached=intervals_at(asked, level))

    def logarithm(self, fit: CurveFit, other: CurveFit, quantity: Quantity, level: float) -> LogEstimate:
        """A quantity of a fit as a logarithm, beside another's; of a parameter by the interval it has."""
        estimate = self.estimates.get(id(fit))
        if quantity.kind == "parameter":
            own = (
                fit[quantity.name] if level == fit.level and not math.isnan(fit[quantity.name].low) else None
            )
        else:
            own = self.reached.get((id(fit), float(np.asarray(quantity.at))))
        method = "wald" if quantity.kind == "height" and not fit.shared else fit.interval_method
        if own is None and fit.shared:
            own = fit.interval_of(quantity, level=level, method=method)
        return log_estimate(
            fit.estimate if estimate is None else estimate, quantity, level, method, own,
            by_limits=counts_alone(fit, other),
        )  # fmt: skip


def counts_alone(fit: CurveFit, other: CurveFit) -> bool:
    """Whether a fit's standard errors beside another's must count what was estimated with its curve.

    An L* that both share moves both alike, and hardly their ratio; one of its own moves the ratio, and a knee
    its noise.
    """
    return any(n.name == KNEE or n not in other.shared for n in fit.shared)


NOTHING = Known()
