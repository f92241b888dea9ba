"""Whether the scatter of runs has a one-sided part: the skewness of residuals against simulated ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from frontier.fits.curve_fit import CurveFit
from frontier.problems import Array

DRAWS, LEAST_DRAWS = 4999, 199
MOST_DRAWN = 1 << 22
"""Numbers drawn for one group; a group of more than 839 runs is held against fewer draws of them."""


def p_of_excess(ordinary: CurveFit) -> float:
    """P value of no excess: how often normal errors leave residuals at least as skewed as these.

    They are drawn (seeded by the number of runs) and lose what a fit of the same curve takes away; scale
    plays no part. The data count among the draws, so that the least p is 1 / (1 + draws). Of 400 tables
    without excess 4 to 6 % are rejected at 5 %, with 20 to 100 runs; the likelihood ratio against half a
    chi2(1) rejected 12, 10 and 7 % at 20, 30 and 50. At 5 % noise and 10 % mean excess this finds it in 24,
    28 and 42 % of tables, the likelihood ratio held to 5 % in 16, 32 and 44.

    Source: Schmidt & Lin (1984), Journal of Econometrics 24, 349; Coelli (1995), Journal of Productivity
    Analysis 6, 247; Phipson & Smyth (2010) for the p value.
    """
    free = list(ordinary.problem.free_theta)
    basis = np.linalg.qr(ordinary.estimate.jacobian(ordinary.x)[free].T)[0]
    drawn = _normal_errors(ordinary.n_points)
    null = _skewness(drawn - (drawn @ basis) @ basis.T)
    reached = int((null >= _skewness(ordinary.estimate.residuals())).sum())
    return (1 + reached) / (1 + len(drawn))


def _skewness(values: Array) -> Array:
    gap = values - values.mean(axis=-1, keepdims=True)
    square = gap * gap
    return np.asarray((square * gap).mean(axis=-1) / square.mean(axis=-1) ** 1.5)


@lru_cache(maxsize=4)
def _normal_errors(runs: int) -> Array:
    """Independent normal errors, (draws, runs)."""
    draws = min(DRAWS, max(LEAST_DRAWS, MOST_DRAWN // runs))
    return np.random.default_rng(runs).standard_normal((draws, runs))
