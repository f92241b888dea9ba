"""What each curve leaves of real frontiers: the residual SD of log y, median over families."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

import frontier

CURVES = [
    ("linear", None), ("power", None), ("hill", None), ("power", "d_model"), ("hill", "d_model"),
    ("power", "fit"), ("power", "fit_by_family"), ("hill", "fit_by_family"),
]  # fmt: skip


def residual_spread(table: pd.DataFrame, by: Sequence[str], d_model: float) -> pd.DataFrame:
    """One row per curve: median residual SD (by df and by N), median L*, cells that it does not fit."""
    rows = []
    for curve, vanishing in CURVES:
        where = table.assign(d_model=d_model)
        fits = frontier.fit(where, curve, list(by), errors="log", vanishing_l0=vanishing, intervals="wald")
        at = [f["vanishing_l0"].estimate for f in fits] if vanishing else [np.inf]
        rejected = sum(g.rejected for g in fits.goodness)
        rows.append((
            curve, vanishing or "", len(fits), np.median([f.sigma for f in fits]),
            np.median([np.sqrt(f.rss / f.n_points) for f in fits]), np.median(at),
            f"{rejected} of {len(fits.goodness)}",
        ))  # fmt: skip
    names = ["curve", "vanishing", "fits", "sd", "rms", "L*", "cells not fitted"]
    return pd.DataFrame(rows, columns=names)
