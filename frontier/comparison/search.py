"""What a longer search is worth by luck alone."""

from __future__ import annotations

import math

from scipy.special import ndtri

from frontier.fits.points import Points
from frontier.ratios.pairs import FAIR

UNSELECTED = 1.4
"""SD of runs over that of winners, which is what residuals show: by integration 1.21 of two normal
runs, 1.43 of four, 1.64 of eight."""


def search_sd(one: Points, other: Points, sigma: float) -> float:
    """What luck may put between two families' log hits, as a seed-to-seed SD; 0 where searches are alike.

    The winner of m runs lies m's expected largest normal deviate below their mean (Blom 1958); `sigma` is the
    residual SD of winners as a share of y.
    """
    fewer, more = sorted((one.runs, other.runs))
    searched = one.runs > one.n_points or other.runs > other.n_points
    if not searched or more <= FAIR * fewer:
        return 0.0
    luck = [_expected_largest(p.runs / p.n_points) for p in (one, other)]
    return sigma * UNSELECTED * abs(luck[0] - luck[1]) / math.sqrt(2)


def _expected_largest(runs: float) -> float:
    """Of so many normal deviates, to 1 %; Blom, Statistical Estimates and Transformed Beta-Variables (1958).

    >>> round(_expected_largest(2), 2), round(_expected_largest(8), 2)  # exactly 0.56 and 1.42
    (0.59, 1.43)
    """
    return float(ndtri((runs - 0.375) / (runs + 0.25)))
