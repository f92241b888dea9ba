"""Whether the probability that `select_curve` prints is one: how often choices printed with it are right.

Truth: linear, power or Hill, equally often, through the same two heights at the ends of the data, log errors.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import frontier
from frontier.curves import HILL

SEED = 20261129
HEIGHTS = ((0.005, 0.1), (0.02, 0.3), (0.05, 0.85))
NOISES, POINTS = (0.05, 0.1, 0.2), (6, 8, 12)
BINS = (0.0, 0.4, 0.5, 0.6, 0.7, 0.9, 1.0)


def truth(
    curve: str, low: float, high: float, points: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The x and heights of one curve; the Hill curve's n is spread around 1.1."""
    n = float(rng.uniform(0.7, 1.5))
    ends = HILL.x_at(np.array([low, high]), {"k": 1.0, "n": n, "top": 1.0})
    x = np.geomspace(*ends, points)
    if curve == "hill":
        return x, HILL.value(x, {"k": 1.0, "n": n, "top": 1.0})
    if curve == "power":
        return x, np.geomspace(low, high, points)
    return x, low + (x - x[0]) * (high - low) / (x[-1] - x[0])


def printed_probability(tables: int = 2000, replicates: int = 300) -> pd.DataFrame:
    """Choices by what was printed: how many, the mean that was printed, and the share that is right."""
    rng = np.random.default_rng(SEED)
    rows = []
    for i in range(tables):
        curve = ("linear", "power", "hill")[i % 3]
        low, high = HEIGHTS[rng.integers(3)]
        x, f = truth(curve, low, high, int(rng.choice(POINTS)), rng)
        y = f * np.exp(float(rng.choice(NOISES)) * rng.standard_normal(len(x)))
        try:
            fit = frontier.fit_points(x, y, "power", errors="log", intervals="wald")
        except ValueError:
            continue
        found = frontier.select_curve(fit, replicates=replicates, seed=i)
        if found.best is not None:
            rows.append((found.probability_right, found.best.curve == curve))
    frame = pd.DataFrame(rows, columns=["printed", "right"])
    frame["bin"] = pd.cut(frame["printed"], BINS)
    return frame.groupby("bin", observed=True).agg(
        tables=("right", "size"), printed=("printed", "mean"), right=("right", "mean")
    ).reset_index()  # fmt: skip
