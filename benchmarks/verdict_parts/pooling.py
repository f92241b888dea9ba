"""How often a pooled ratio's prediction holds a further cell, and its interval the mean.

Truth: log ratios of m cells, normal with SD tau; standard errors estimated on df degrees of freedom, their
true values spread by a factor of e around 0.15.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from frontier.pooling import random_effects

SEED = 20261129
CELLS, TAUS, DFS = (5, 10), (0.1, 0.2, 0.3), (4, 6, 10)
STANDARD_ERROR = 0.15


def further_cell(tables: int = 2000) -> pd.DataFrame:
    """One row per m, tau and df: shares of tables whose further cell, and whose mean, is covered at 95 %."""
    rng = np.random.default_rng(SEED)
    rows = []
    for m, tau, df in itertools.product(CELLS, TAUS, DFS):
        ahead = covered = 0
        for _ in range(tables):
            sigma = STANDARD_ERROR * np.exp(rng.uniform(-0.5, 0.5, m))
            effects = tau * rng.standard_normal(m) + sigma * rng.standard_normal(m)
            variances = sigma**2 * rng.chisquare(df, m) / df
            found = random_effects(effects, variances, np.full(m, float(df)), 0.95)
            ahead += abs(tau * rng.standard_normal() - found.mean) <= found.ahead
            covered += abs(found.mean) <= found.reach
        rows.append((m, tau, df, ahead / tables, covered / tables))
    return pd.DataFrame(rows, columns=["cells", "tau", "df", "further cell covered", "mean covered"])
