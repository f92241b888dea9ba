"""Quantile curves of a group of runs, and of its bootstrap resamples, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from frontier.fits.curve_fit import CurveFit
from frontier.inefficiency.stochastic import Search
from frontier.problems import Array

CANDIDATES = 4000
"""Curves through two runs that the quantile bootstrap chooses from, the best on all runs first."""


@dataclass(frozen=True)
class QuantileFrontier:
    """Quantile curves of a group and of its case-bootstrap resamples: (a, b), each (1 + replicates,)."""

    a: Array
    b: Array
    centre: float

    @classmethod
    def of(cls, ordinary: CurveFit, quantile: float, replicates: int, seed: int) -> QuantileFrontier:
        """All curves through as many runs as there are free parameters, scored on every resample at once.

        A quantile curve passes through that many runs (Koenker & Bassett 1978, theorem 3.1; for a Hill curve
        to the order of its bend between runs).
        """
        search = Search.of(ordinary)
        curve, target = search.likelihood.curve, search.likelihood.target
        u = search.likelihood.position - search.centre
        a, b = _through(u, curve.inverse_link(np.exp(target)), search)
        residual = target - curve.log_link(a[:, None] + b[:, None] * u)[0]
        loss = residual * (quantile - (residual < 0))
        kept = np.argsort(loss.sum(axis=1), kind="stable")[:CANDIDATES]
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(len(u), np.full(len(u), 1 / len(u)), size=replicates)
        score = loss[kept] @ np.vstack([np.ones(len(u)), counts]).T
        chosen = kept[np.argmin(score, axis=0)]
        return cls(a[chosen], b[chosen], search.centre)

    def interval(
        self, value: Callable[[Array, Array, float], Array], level: float
    ) -> tuple[float, float, float]:
        """A function of (a, b, centre) for the group, and its percentiles over resamples."""
        v = value(self.a, self.b, self.centre)
        low, high = np.quantile(v[1:], [0.5 - level / 2, 0.5 + level / 2])
        return float(v[0]), float(low), float(high)


def _through(u: Array, height: Array, search: Search) -> tuple[Array, Array]:
    """(a, b) of the rising curves through the points (u, height on the link's scale)."""
    a, b = search.start[0, 0], search.start[1, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        if search.free == (0, 1, 2):
            i, j = np.triu_indices(len(u), 1)
            steep = (height[j] - height[i]) / (u[j] - u[i])
            at = height[i] - steep * u[i]
        elif 0 in search.free:
            at, steep = height - b * u, np.full(len(u), b)
        else:
            at, steep = np.full(len(u), a), (height - a) / u
    good = np.isfinite(at) & np.isfinite(steep) & (steep > 0)
    return at[good], steep[good]
