"""How far architectures stand apart on the shipped model, at two training budgets.

`python -m benchmarks.separation` trains five architectures × four settings × three seeds at `mlp_out` of the
last layer, for 300 and for 900 steps. The performance hit (against mean ablation) at an L0 of 8 is read from
each seed's frontier by log-log interpolation. Relative potency against ReLU comes with an interval twice:
by `compare`, from one fit to the best SAEs of all seeds, and by `compare_seeds`, with the seed as the unit
(what they say: docs/looking_inside.md). Writes `benchmarks/results/separation.json`.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import frontier
from trainers.config import checked
from trainers.evaluate.runs import evaluate_run
from trainers.recipes import AS_QUOTED, as_quoted
from trainers.train import train

RESULT = Path(__file__).parent / "results" / "separation.json"
SETTINGS = {
    "relu": [1.5, 2.5, 4.5, 8.0],
    "gated": [2.0, 3.0, 4.5, 7.0],
    "topk": [2, 4, 8, 16],
    "batch_topk": [2, 4, 8, 16],
    "jumprelu": [0.15, 0.5, 1.5, 4.0],
}
AT = 8.0


def table_of(steps: int, seeds: list[int]) -> pd.DataFrame:
    """The metrics table of one training budget."""
    config = checked(
        {
            "activations": AS_QUOTED | {"tokens": 200_000},
            "training": {"steps": steps, "dictionary_size": 512, "seeds": seeds, "checkpoint_every": steps},
            "families": as_quoted([{"architecture": name, "settings": s} for name, s in SETTINGS.items()]),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        run = train(config, Path(folder) / "run", progress=True)
        return evaluate_run(Path(folder) / "run", model=run.model, progress=False)


def hits_at(table: pd.DataFrame, at: float) -> dict[str, list[float]]:
    """Per architecture and seed, the hit at an L0, between the neighbouring SAEs on log axes."""
    found: dict[str, list[float]] = {}
    for (family, _), rows in table.groupby(["family", "seed"], sort=False):
        rows = rows.sort_values("l0")
        hit = 1 - rows["loss_recovered"]
        found.setdefault(family, []).append(
            float(np.exp(np.interp(np.log(at), np.log(rows["l0"]), np.log(hit))))
        )
    return found


def potencies(table: pd.DataFrame) -> dict[str, list[float]]:
    """Relative potency against ReLU with its 95 % limits; all seeds in one fit."""
    frame = frontier.compare(table, "relu").ratios.to_frame()
    frame = frame[frame["quantity"] == "relative_potency"]
    return {
        str(r.family): [round(float(v), 3) for v in (r.ratio, r.ratio_low, r.ratio_high)]
        for r in frame.itertuples()
    }


def seed_by_seed(table: pd.DataFrame) -> dict[str, list[float]]:
    """Relative potency against ReLU with its 95 % limits; the seed is the unit."""
    frame = frontier.compare_seeds(table, "relu").to_frame().set_index("family")
    names = [f"relative_potency{end}" for end in ("", "_low", "_high")]
    return {
        str(f): [round(float(v), 3) for v in row]
        for f, row in zip(frame.index, frame[names].to_numpy(), strict=True)
    }


def main() -> None:
    """Measure both budgets, print them, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[300, 900])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    result = {
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "budgets": {},
    }
    for steps in given.steps:
        start = time.process_time()
        table = table_of(steps, list(range(given.seeds)))
        hits = {
            k: {"mean": float(np.mean(v)), "sd": float(np.std(v, ddof=1))}
            for k, v in hits_at(table, AT).items()
        }
        result["budgets"][steps] = {
            "hit_at_l0_8": hits, "relative_potency_against_relu": potencies(table),
            "relative_potency_by_seed": seed_by_seed(table),
            "cpu_seconds": round(time.process_time() - start),
        }  # fmt: skip
        print(f"{steps} steps")
        for name, v in hits.items():
            potency = result["budgets"][steps]["relative_potency_against_relu"].get(name)
            spread = v["sd"] / v["mean"]
            print(f"  {name:12s} hit at L0 8: {v['mean']:.3f} (seed SD {spread:.1%})  potency {potency}")
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
