"""How often two equal families are told apart at a nominal 5 %: the seed as unit against other treatments.

3 seeds against 3, 8 sparsity settings, Gaussian noise of SD 1 % of the top per run; a share rho of its
variance is common to the 8 runs of a seed. Standard error of a rate at 2,000 trials: 0.5 points.

    python benchmarks/seeds_false_positives.py [trials]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np
import pandas as pd

from frontier.seeds import compare_seeds
from frontier.seeds.seed_comparison import SeedComparisons

SETTINGS = 8
SIGMA = 0.01


def null_trials(
    trials: int, rho: float, *, seeds: int = 3, jitter: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """Runs of two equal families, `trials` times over (column `model`); `jitter` is the SD of log L0."""
    rng = np.random.default_rng(seed)
    shape = (trials, 2, seeds, SETTINGS)
    trial, family, run, setting = (index.ravel() for index in np.indices(shape))
    l0 = np.geomspace(8, 256, SETTINGS)[setting] * np.exp(jitter * rng.standard_normal(setting.size))
    shared = np.broadcast_to(rng.standard_normal(shape[:3])[..., None], shape).ravel()
    noise = SIGMA * (np.sqrt(rho) * shared + np.sqrt(1 - rho) * rng.standard_normal(setting.size))
    # straight in log L0, so that interpolation adds no error of its own
    hit = 0.9 - 0.12 * np.log(l0) + noise
    return pd.DataFrame(
        {
            "model": np.char.add("trial ", trial.astype(str)),
            "architecture": np.array(["a", "b"])[family],
            "seed": run,
            "sparsity_setting": setting,
            "l0": l0,
            "loss_recovered": 1 - hit,
        }
    )


def share_below(p_values: Iterable[float]) -> float:
    """Share of p values below 5 %."""
    return float(np.mean(np.array(list(p_values)) < 0.05))


def bootstrap_rate(found: SeedComparisons) -> float:
    """How often 0 lies outside the percentile interval over all resamples of the seeds."""
    rejected = []
    for c in found:
        means = []
        for areas in (c.gap.areas, c.gap.reference_areas):
            numbers = np.array(list(areas.values()))
            picks = np.stack(np.meshgrid(*[numbers] * len(numbers)), axis=-1).reshape(-1, len(numbers))
            means.append(picks.mean(axis=1))
        low, high = np.quantile(np.subtract.outer(*means).ravel(), [0.025, 0.975])
        rejected.append(not low <= 0 <= high)
    return float(np.mean(rejected))


def rates(trials: int, rho: float, **options: float) -> dict[str, float]:
    """False-positive rate of each treatment."""
    table = null_trials(trials, rho, **options)
    unit = compare_seeds(table, "b")
    free = compare_seeds(table, "b", design="runs_independent")
    return {
        "Welch, gap": share_below(c.gap.p_value for c in unit),
        "Welch, L0 ratio": share_below(c.relative_potency.p_value for c in unit),
        "runs independent, gap": share_below(c.gap.p_value for c in free),
        "runs independent, L0 ratio": share_below(c.relative_potency.p_value for c in free),
        "seed bootstrap, percentile": bootstrap_rate(unit),
    }


def main() -> None:
    """Print the table."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    columns = {f"rho {rho:g}": rates(trials, rho) for rho in (0.0, 0.3, 0.7)}
    columns["rho 0, L0 +- 15 %"] = rates(trials, 0.0, jitter=0.15)
    columns["rho 0.7, L0 +- 15 %"] = rates(trials, 0.7, jitter=0.15)
    print(f"False positives at nominal 5 %, {trials} trials")
    print((100 * pd.DataFrame(columns)).round(1).to_string())


if __name__ == "__main__":
    main()
