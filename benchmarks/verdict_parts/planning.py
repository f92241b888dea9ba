"""How often the SAEs that `plan` asks for halve the interval, when they are trained and the fits made anew.

Truth: Hill curves k = 1, n = 1.1 and k = 1.5, n = 1 between two heights, log errors; each table is noisy, the
plan is made from it, the planned SAEs are drawn from the truth.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import frontier
from frontier.curves import HILL

SEED = 20261129
TRUTHS = {"new": {"k": 1.0, "n": 1.1, "top": 1.0}, "relu": {"k": 1.5, "n": 1.0, "top": 1.0}}
CELLS = [(8, 0.05, (0.05, 0.85)), (8, 0.1, (0.005, 0.1)), (12, 0.1, (0.02, 0.3)), (6, 0.1, (0.05, 0.85))]


def _rows(x: dict[str, np.ndarray], noise: float, rng: np.random.Generator) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"family": f, "l0": 1 / at, "performance_hit":
                      HILL.value(at, TRUTHS[f]) * np.exp(noise * rng.standard_normal(len(at)))})
        for f, at in x.items()
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _halved(
    points: int, noise: float, heights: tuple[float, float], rng: np.random.Generator
) -> tuple[bool, int]:
    """Whether the plan from one noisy table reached its width, and how many SAEs it asked for."""
    x = np.geomspace(*HILL.x_at(np.array(heights), TRUTHS["new"]), points)
    table = _rows({f: x for f in TRUTHS}, noise, rng)
    fits = frontier.fit(table, "hill", errors="log", intervals="wald")
    made = frontier.plan(fits["new"], fits["relu"], most=600)
    at = frontier.relative_potency(fits["new"], fits["relu"]).at
    if not made.reached:
        return False, made.n_more
    more = {f: np.repeat([1 / a.at for a in made.additions if a.family == f],
                         [a.count for a in made.additions if a.family == f]) for f in TRUTHS}  # fmt: skip
    grown = pd.concat([table, _rows(more, noise, rng)], ignore_index=True)
    fits = frontier.fit(grown, "hill", errors="log", intervals="wald")
    found = frontier.relative_potency(fits["new"], fits["relu"], at)
    return float(np.log(found.ratio_high / found.ratio_low)) <= made.target, made.n_more


def halving(tables: int = 200) -> pd.DataFrame:
    """One row per N, noise and range: share of plans that reach their width, and their median size."""
    rng = np.random.default_rng(SEED)
    rows = []
    for points, noise, heights in CELLS:
        found = [_halved(points, noise, heights, rng) for _ in range(tables)]
        reached, more = zip(*found, strict=True)
        rows.append(
            (points, noise, f"{heights[0]:g}-{heights[1]:g}", np.mean(reached), float(np.median(more)))
        )
    return pd.DataFrame(rows, columns=["points", "noise", "hits", "reached", "median more"])
