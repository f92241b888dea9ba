"""Looking more than once at one error rate: which level each look may use.

A look at the share t of the budget may have spent, in all and on each side, 2 − 2 Φ(z / √t), z the normal
quantile of 1 − α / 4 (like O'Brien & Fleming: little at first, nearly all at the end). The level of a look is
such that test statistics with independent increments exceed their limit there, and did not before, with what
that look spends.

Sources: Lan & DeMets (1983), Biometrika 70, 659, for the spending function; Armitage, McPherson & Rowe
(1969), JRSS A 132, 235, for the recursion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

GRID = 801
"""Points at which the density of a statistic that goes on is kept (odd: Simpson's rule)."""
FARTHEST = 37.0
"""Beyond so many SDs nothing is left: a look that may spend nothing."""


def spent(share: float, alpha: float = 0.05) -> float:
    """The part of the error rate that may be spent at a share of the budget.

    >>> round(spent(0.5), 5), round(spent(1.0), 5)
    (0.00305, 0.05)
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share of the budget must be above 0 and at most 1, got {share:g}")
    return float(4 * ndtr(ndtri(alpha / 4) / math.sqrt(share)))


def look_levels(shares: Sequence[float], alpha: float = 0.05) -> list[float]:
    """The two-sided level of each look so far, from the shares of the budget at which they were made.

    A level depends on no later look.

    >>> [round(level, 4) for level in look_levels([0.5, 1.0])]  # limits 2.9626 and 1.9686
    [0.003, 0.049]
    """
    if any(b <= a for a, b in pairwise(shares)):
        raise ValueError(f"each look needs more of the budget than the one before, got {list(shares)}")
    limits: list[float] = []
    points, density = np.zeros(1), np.ones(1)  # the score process B(t) = Z √t, not yet stopped; starts at 0
    before = 0.0
    for i, share in enumerate(shares):
        step = math.sqrt(share - (shares[i - 1] if i else 0.0))
        spend = spent(share, alpha) - before
        limits.append(_limit(points, density, step, math.sqrt(share), spend))
        before += spend
        edge = limits[-1] * math.sqrt(share)
        points, density = _go_on(points, density, step, edge)
    return [float(2 * ndtr(-limit)) for limit in limits]


def _limit(points: np.ndarray, density: np.ndarray, step: float, root: float, spend: float) -> float:
    """The limit of |Z| that is first exceeded at this look with probability `spend`."""

    def excess(limit: float) -> float:
        edge = limit * root
        beyond = ndtr((points - edge) / step) + ndtr((-edge - points) / step)
        return float((density * beyond).sum()) - spend

    return float(brentq(excess, 0.0, FARTHEST, xtol=1e-10))


def _go_on(
    points: np.ndarray, density: np.ndarray, step: float, edge: float
) -> tuple[np.ndarray, np.ndarray]:
    """Places between the limits, and their probability (with the rule's weights) of being there unstopped."""
    places = np.linspace(-edge, edge, GRID)
    weights = np.full(GRID, 2.0)
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    weights *= (places[1] - places[0]) / 3
    steps = (places[:, None] - points) / step
    found = np.exp(-0.5 * steps**2) @ density / (step * math.sqrt(2 * math.pi))
    return places, found * weights
