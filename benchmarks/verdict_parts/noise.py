"""Hits at or below zero: what they do to ratios, and whether fits with two-component noise cover.

Exact Hill curves whose k differ by 3, one hit of -0.0004; then tables with additive noise of 0.004, kept
where some hit is not positive.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import frontier
from frontier.calibration.coverage import coverage
from frontier.curves import HILL
from frontier.errors import stacked
from frontier.fits.errors_model import choose_errors
from frontier.intervals import profile
from frontier.problems import Problem, parameter

SEED = 20261129
L0 = 2.0 ** np.arange(3, 11)
K = {"relu": 0.05, "topk": 0.15}


def _table(hits: dict[str, np.ndarray]) -> pd.DataFrame:
    rows = [(f, a, b) for f, y in hits.items() for a, b in zip(L0, y, strict=True)]
    return pd.DataFrame(rows, columns=["family", "l0", "performance_hit"])


def _heights(n: float) -> dict[str, np.ndarray]:
    return {f: HILL.value(1 / L0, {"k": k, "n": n, "top": 1.0}) for f, k in K.items()}


def one_negative_hit() -> float:
    """The k ratio of exact curves, hits rounded to four digits, the last one -0.0004; the truth is 3."""
    hits = {f: np.round(y, 4) for f, y in _heights(1.1).items()}
    hits["topk"][-1] = -0.0004
    ratios = frontier.ratio_table(frontier.fit(_table(hits), "hill"), "relu")
    return next(r.ratio for r in ratios if r.quantity == "k")


def hits_below_zero(tables: int = 60) -> dict[str, float]:
    """Of so many noisy tables: share with an infinite limit, SD of the log potency, share covered."""
    rng = np.random.default_rng(SEED)
    heights, logs, infinite, covered = _heights(1.0), [], 0, 0
    while len(logs) < tables:
        hits = {f: y + 0.004 * rng.standard_normal(len(y)) for f, y in heights.items()}
        if all((y > 0).all() for y in hits.values()):
            continue
        ratios = list(frontier.ratio_table(frontier.fit(_table(hits), "hill"), "relu"))
        infinite += not np.isfinite([(r.ratio_low, r.ratio_high) for r in ratios]).all()
        potency = next(r for r in ratios if r.quantity == "relative_potency")
        logs.append(np.log(potency.ratio))
        covered += potency.ratio_low <= 3 <= potency.ratio_high
    return {"infinite": infinite / tables, "sd": float(np.std(logs)), "covered": covered / tables}


def coverage_by_noise(tables: int = 600) -> pd.DataFrame:
    """Coverage of k and n under `errors="auto"`: families of 6 to 8 SAEs, hits .005 to .3, four noises."""
    rng = np.random.default_rng(SEED)
    truth = {"k": 1.0, "n": 1.1, "top": 1.0}
    rows = []
    for points, families in ((6, 7), (8, 2)):
        x = np.geomspace(*HILL.x_at(np.array([0.005, 0.3]), truth), points)
        f = HILL.value(x, truth)[:, None, None]
        for share, amount in ((0.05, 0.0), (0.0, 0.004), (0.05, 0.002), (0.1, 0.0005)):
            shape = (points, families, tables)
            y = f * np.exp(share * rng.standard_normal(shape)) + amount * rng.standard_normal(shape)
            cells = [[(x, y[:, g, t], np.ones(points)) for g in range(families)] for t in range(tables)]
            chosen = [c.errors for c in choose_errors(HILL, cells, {"top": 1.0})]
            found = {"k": 0.0, "n": 0.0}
            for name in sorted({e.name for e in chosen}):
                own = [t for t, e in enumerate(chosen) if e.name == name]
                errors = stacked([chosen[t] for t in own])
                fits = Problem.stacked(HILL, [cells[t][0] for t in own], errors, {"top": 1.0}).fit()
                for q in found:
                    value = np.log(truth[q]) if q == "k" else truth[q]
                    c = coverage({}, q, value, *profile(fits, parameter(q), 0.95), 0.95)
                    found[q] += c.covered * len(own) / tables
            rows.append((points, families, share, amount, found["k"], found["n"]))
    return pd.DataFrame(rows, columns=["points", "families", "share", "amount", "k covered", "n covered"])
