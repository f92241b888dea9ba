"""Fits per second: the batched engine against loops over lmfit and scipy, in one run on one thread.

`python -m benchmarks.fits` prints the table and writes `benchmarks/results/fits.json`. All methods fit the
same data (Hill, log errors, N = 10, y 0.005-0.1, 10 % noise); optima are compared, failures counted. scipy
runs twice: with bounds (its trust-region method) and without (its quick one, on log k). R's figures are
those of an earlier measurement of our own, repeated here and not run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import lmfit
import numpy as np
from scipy.optimize import curve_fit
from tabulate import tabulate

from benchmarks.measuring import arguments, circumstances, folder_of, write
from frontier.curves import HILL, hill
from frontier.fits.lmfit_models import HillModel
from frontier.intervals import bootstrap, profile
from frontier.problems import Problem, parameter

SEED, POINTS, BATCH, LOOP, ROUNDS = 20261120, 10, 20_000, 200, 5
CHECKED = 100_000
R_FIGURES = {
    "measured": "20 Nov 2026, R 4.2.2, drc 3.0-1, drda 2.0.5, one core of a shared machine; not run here",
    "fits per second": {"nls": 1400, "drc drm": "190 to 220", "drda": 40},
    "profile intervals of both parameters per second": {"confint(nls)": 80, "lmfit conf_interval, 95 %": 26},
}


def data(replicates: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """x and lognormal y around a Hill curve, y 0.005-0.1."""
    ends = HILL.x_at(np.array([0.005, 0.1]), {"k": 1.0, "n": 1.1, "top": 1.0})
    x = np.geomspace(ends[0], ends[1], POINTS)
    return x, hill(x, 1.0, 1.1)[:, None] * np.exp(0.1 * rng.standard_normal((POINTS, replicates)))


def log_hill(x: np.ndarray, k: float, n: float) -> np.ndarray:
    """The model that the loops fit to log y."""
    return np.log(hill(x, k, n))


def timed(work: Callable[[], object], count: int) -> float:
    """Work items per CPU second."""
    start = time.process_time()
    work()
    return count / (time.process_time() - start)


def by_engine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """RSS of all columns, fitted at once."""
    return Problem.of("hill", x, y, None, "log").fit().solution.rss


def by_lmfit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """RSS of each column in turn, by lmfit from its own guess."""
    model, guess = lmfit.Model(log_hill, independent_vars=["x"]), HillModel()
    out = []
    for column in y.T:
        start = guess.guess(column, x=x)
        start.pop("top")
        out.append(model.fit(np.log(column), start, x=x).chisqr)
    return np.array(out)


def by_curve_fit(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """RSS of each column in turn, by scipy."""
    out = []
    for column in np.log(y.T):
        p, _ = curve_fit(log_hill, x, column, p0=(1.0, 1.0), bounds=((1e-9, 0), (np.inf, np.inf)))
        out.append(((column - log_hill(x, *p)) ** 2).sum())
    return np.array(out)


def by_lm(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """RSS of each column in turn, by scipy without bounds, in log k."""
    out = []
    for column in np.log(y.T):
        p, _ = curve_fit(lambda x, log_k, n: log_hill(x, np.exp(log_k), n), x, column, p0=(0.0, 1.0))
        out.append(((column - log_hill(x, np.exp(p[0]), p[1])) ** 2).sum())
    return np.array(out)


def race(x: np.ndarray, y: np.ndarray, loop: int = LOOP, rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Fits per second of each method, the engine's lead, and how far its optima are from theirs."""
    methods = {
        "engine, batched": (by_engine, y),
        "lmfit Model.fit, loop": (by_lmfit, y[:, :loop]),
        "scipy curve_fit, bounds, loop": (by_curve_fit, y[:, :loop]),
        "scipy curve_fit, no bounds, loop": (by_lm, y[:, :loop]),
    }
    speeds: dict[str, list[float]] = {name: [] for name in methods}
    optima: dict[str, np.ndarray] = {}
    for _ in range(rounds):
        for name, (work, columns) in methods.items():
            start = time.process_time()
            optima[name] = work(x, columns)
            speeds[name].append(columns.shape[1] / (time.process_time() - start))
    engine, lmfits, bounded, unbounded = optima.values()
    return {
        "fits_per_second": {name: median(v) for name, v in speeds.items()},
        "engine_is_faster_by": {
            name: median(e / s for e, s in zip(speeds["engine, batched"], v, strict=True))
            for name, v in speeds.items()
        },
        "largest_relative_difference_of_rss": {
            "lmfit": float(np.max(np.abs(engine[:loop] / lmfits - 1))),
            "curve_fit, bounds": float(np.max(np.abs(engine[:loop] / bounded - 1))),
            "curve_fit, no bounds": float(np.max(np.abs(engine[:loop] / unbounded - 1))),
        },
    }


def main() -> None:
    """Run, print, write."""
    asked = arguments(__doc__, "few fits").parse_args()
    rng = np.random.default_rng(SEED)
    found = race(*data(2_000, rng), loop=20, rounds=2) if asked.quick else race(*data(BATCH, rng))
    faster = found["engine_is_faster_by"]
    rows = [(name, f"{v:,.0f}", f"{faster[name]:.0f}") for name, v in found["fits_per_second"].items()]
    print(tabulate(rows, ("method", "fits/s", "engine is faster by")))
    apart = ", ".join(f"{n} {v:.1e}" for n, v in found["largest_relative_difference_of_rss"].items())
    print(f"largest relative difference of RSS: {apart}")
    rest = extras(rng, 1_800 if asked.quick else CHECKED)
    print(tabulate(rest.items(), ("what", "value")))
    record = {
        **circumstances("numpy", "scipy", "lmfit", "sae-frontier"), "threads": 1, "points": POINTS,
        **found, **rest,
        "bootstrap under 1 s": rest["bootstrap, 1,999 replicates x 20 groups, CPU s"] < 1,
        "R, documented": R_FIGURES,
    }  # fmt: skip
    write("fits", record, folder_of(asked))


def extras(rng: np.random.Generator, checked: int) -> dict[str, Any]:
    """Profiles per second, bootstrap time, and failures over many fits of all errors models."""
    x, y = data(5000, rng)
    estimate = Problem.of("hill", x, y, None, "log").fit()
    profiles = timed(lambda: profile(estimate, parameter("k"), 0.95), 5000)
    groups = Problem.of("hill", x, y[:, :20], None, "log").fit()
    start = time.process_time()
    bootstrap(groups, parameter("k"), 0.95)
    seconds = time.process_time() - start
    reported, silent = failures(rng, checked)
    return {
        "profile intervals of k per second": round(profiles),
        "bootstrap, 1,999 replicates x 20 groups, CPU s": round(seconds, 3),
        f"reported failures in {checked:,} mixed fits": reported, "unreported failures": silent,
    }  # fmt: skip


def failures(rng: np.random.Generator, checked: int) -> tuple[int, int]:
    """Fits that say they failed, and fits that say they converged where the gradient is not zero."""
    reported = silent = 0
    cells = [
        (heights, noise, errors)
        for heights in ((0.05, 0.85), (0.005, 0.1), (0.0005, 0.01))
        for noise in (0.05, 0.2)
        for errors in ("additive", "log", "relative")
    ]
    each = checked // len(cells) + 1
    for heights, noise, errors in cells:
        ends = HILL.x_at(np.array(heights), {"k": 1.0, "n": 1.1, "top": 1.0})
        x = np.geomspace(ends[0], ends[1], 8)
        y = hill(x, 1.0, 1.1)[:, None] * np.exp(noise * rng.standard_normal((8, each)))
        s = Problem.of("hill", x, y, None, errors).fit().solution
        reported += int((~s.converged).sum())
        size = np.sqrt(np.einsum("iir->ir", s.information[:2, :2]) * np.maximum(s.rss, 1e-300))
        silent += int(((np.abs(s.gradient[:2]) / size)[:, s.converged] > 1e-5).any(axis=0).sum())
    return reported, silent


if __name__ == "__main__":
    main()
