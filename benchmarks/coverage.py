"""Coverage of every interval, measured: `python -m benchmarks.coverage` prints the table and writes its JSON.

Truth: Hill curves k = 1, n = 1.1 (family) and k = 1.5, n = 1.0 (reference), lognormal noise, x equally
spaced in log x over the range where the family's curve lies between two heights; fits on log y. The seed is
fixed here, before any run. Cells: N x range x noise for k and n of one fit and for ratios of two equal
groups, then ratios of groups with unequal N and noise.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track

from frontier.calibration import Truth, welch_limits
from frontier.calibration.coverage import coverage
from frontier.curves import HILL
from frontier.intervals import profile
from frontier.problems import parameter, x_at

SEED = 20261120
FAMILY = {"k": 1.0, "n": 1.1, "top": 1.0}
REFERENCE = {"k": 1.5, "n": 1.0, "top": 1.0}
RANGES = {"0.05-0.85": (0.05, 0.85, 0.3), "0.005-0.1": (0.005, 0.1, 0.02)}
POINTS = (4, 5, 8, 15, 40)
NOISES = (0.05, 0.10, 0.20)
UNEQUAL = [
    ((5, 0.20), (15, 0.05)),
    ((15, 0.20), (5, 0.05)),
    ((8, 0.05), (8, 0.20)),
    ((4, 0.10), (15, 0.10)),
    ((4, 0.05), (15, 0.20)),
]
LEVEL = 0.95


def truth(parameters: dict[str, float], heights: tuple[float, float], points: int, noise: float) -> Truth:
    """A group of `points` SAEs whose family curve runs between two heights."""
    ends = HILL.x_at(np.array(heights), FAMILY)
    return Truth("hill", parameters, np.geomspace(ends[0], ends[1], points), noise, "log", {"top": 1.0})


def cells(tables: int, points: tuple[int, ...] = POINTS, noises: tuple[float, ...] = NOISES) -> pd.DataFrame:
    """Coverage of k, n (profile) and of the k ratio and relative potency (log scale, Welch), cell by cell."""
    rng = np.random.default_rng(SEED)
    rows = []
    equal = [(r, (n, s), (n, s)) for r in RANGES for n in points for s in noises]
    unequal = [(r, a, b) for r in RANGES for a, b in UNEQUAL] if points == POINTS else []
    for name, one, two in track(equal + unequal, description="cells"):
        low, high, at = RANGES[name]
        a, b = truth(FAMILY, (low, high), *one), truth(REFERENCE, (low, high), *two)
        fits = [t.simulate(tables, rng).fit() for t in (a, b)]
        cell = {"y": name, "N": f"{one[0]}/{two[0]}", "noise": f"{one[1]:.0%}/{two[1]:.0%}"}
        if one == two:
            for q in ("k", "n"):
                found = coverage(
                    cell, q, a.working(parameter(q)), *profile(fits[0], parameter(q), LEVEL), LEVEL
                )
                rows.append({**found.group, "quantity": q, **_numbers(found)})
        for label, quantity in (("k ratio", parameter("k")), ("relative potency", x_at(at))):
            gap = a.working(quantity) - b.working(quantity)
            found = coverage(cell, label, gap, *welch_limits(fits[0], fits[1], quantity, LEVEL), LEVEL)
            rows.append({**found.group, "quantity": label, **_numbers(found)})
    return pd.DataFrame(rows)


def _numbers(found) -> dict[str, float]:
    return {
        "covered": found.covered,
        "se": found.standard_error,
        "missing": found.missing,
        "open": found.open,
        "width": found.width,
    }


def main() -> None:
    """Print the table, name the worst cells, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=10_000, help="simulated data sets per cell")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/coverage.json"))
    arguments = parser.parse_args()
    start = time.perf_counter()
    frame = cells(arguments.tables)
    seconds = time.perf_counter() - start
    table = (
        frame.pivot_table(index=["y", "N", "noise"], columns="quantity", values="covered", sort=False) * 100
    )
    print(table.round(1).to_string())
    worst = {}
    for quantity, part in frame.groupby("quantity"):
        row = part.loc[(part["covered"] - LEVEL).abs().idxmax()]
        worst[quantity] = {k: row[k] for k in ("y", "N", "noise", "covered")}
        where = f"y {row['y']}, N {row['N']}, noise {row['noise']}"
        print(f"worst {quantity}: {100 * row['covered']:.2f} % at {where}")
    print(
        f"no interval in {100 * frame['missing'].max():.3f} % of the sets of the worst cell; {seconds:.0f} s"
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "seed": SEED, "tables": arguments.tables, "seconds": round(seconds, 1),
        "machine": platform.processor() or platform.machine(), "python": platform.python_version(),
        "numpy": np.__version__, "worst": worst, "cells": frame.round(5).to_dict("records"),
    }  # fmt: skip
    arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
