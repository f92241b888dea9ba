"""How cost grows: time and memory against members, dictionary, tokens, rows, groups and replicates.

`python -m benchmarks.scaling` prints the table and writes `benchmarks/results/scaling.json`. Each size runs
in a child process of its own, twice; the least CPU time and the highest growth of its resident memory
count. Power laws are fitted to them with our own tool (`frontier.fit_points`, curve "power", log errors); an
exponent is the growth over the sizes that were measured and takes in the constant part of the cost, which is
why it may lie below that of large sizes.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import torch

import frontier
from benchmarks.evaluation import SITE, saes
from benchmarks.measuring import arguments, circumstances, folder_of, write
from frontier.curves import HILL, hill
from frontier.intervals import bootstrap
from frontier.problems import Problem, parameter
from trainers.activations import Batch, Scaling, evaluation_windows
from trainers.architectures import architecture
from trainers.evaluate import evaluate
from trainers.family import Family, Member, Schedule
from trainers.language_models import load_language_model
from trainers.steps import LoopEngine
from trainers.steps.engine import StepOptions

REPEATS, WIDTH = 2, 128
LEAST_MEGABYTES = 4.0
"""Growth of memory below this is not told from noise and left out of a fit."""

torch.set_num_threads(1)
model = load_language_model(device="cpu")
Work = Callable[[], Any]


def training(members: int = 4, dictionary: int = 1024, tokens: int = 2048, steps: int = 3) -> Work:
    """Steps of a ReLU family; `tokens` in a batch."""

    def work() -> None:
        x, zero = torch.randn(tokens, WIDTH, generator=torch.Generator().manual_seed(0)), torch.zeros(WIDTH)
        plan = [Member(f"member {m}", 0.1, m, 1e-4) for m in range(members)]
        family = Family(
            "relu", architecture("relu"), plan, d_in=WIDTH, d_out=WIDTH, dictionary_size=dictionary,
            scaling=Scaling(1.0, 1.0, zero, zero),
        )  # fmt: skip
        engine = LoopEngine(family, StepOptions(Schedule(1000)))
        for step in range(steps):
            engine.step(Batch(x, x), step)

    return work


def evaluating(members: int = 8, dictionary: int = 1024, windows: int = 8) -> Work:
    """One evaluation on the shipped model, windows of 128 tokens."""
    tokens, protocol = evaluation_windows(model, windows=windows, progress=False)
    return lambda: evaluate(
        saes(members, dictionary, WIDTH), model, tokens, SITE, batch_size=16, protocol=protocol
    )


def pareto(rows: int = 100_000, groups: int = 100) -> Work:
    """`pareto_set` of a table."""

    def work() -> None:
        rng = np.random.default_rng(0)
        l0 = rng.uniform(1, 500, rows)
        hit = 0.5 * np.exp(-l0 / 200) * rng.uniform(0.5, 1, rows)
        table = pd.DataFrame({"family": rng.integers(groups, size=rows), "l0": l0, "performance_hit": hit})
        start = time.process_time()
        frontier.pareto_set(table, "family")
        return time.process_time() - start

    return work


def fitting(groups: int = 100) -> Work:
    """`frontier.fit`: Hill curves with profile intervals, eight SAEs a group."""

    def work() -> None:
        rng = np.random.default_rng(0)
        x = np.tile(np.geomspace(5, 200, 8), groups)
        hit = hill(1 / x, 0.2, 1.1) * np.exp(0.1 * rng.standard_normal(len(x)))
        table = pd.DataFrame({"family": np.repeat(np.arange(groups), 8), "l0": x, "performance_hit": hit})
        frontier.fit(table, "hill", errors="log")

    return work


def comparing(groups: int = 200, families: int = 2) -> Work:
    """`frontier.compare` of families with seven SAEs each."""

    def work() -> None:
        rng = np.random.default_rng(0)
        rows = groups * families * 7
        l0 = np.tile(np.geomspace(8, 128, 7), groups * families) * rng.uniform(0.95, 1.05, rows)
        hit = 0.1 * (l0 / 16) ** -0.6 * np.exp(0.05 * rng.standard_normal(rows))
        names = [f"family {f}" for f in range(families)]
        family, group = np.tile(np.repeat(names, 7), groups), np.arange(rows) // (7 * families)
        table = pd.DataFrame({"family": family, "layer": group, "l0": l0, "performance_hit": hit})
        frontier.compare(table, reference=names[0], by="layer")

    return work


def resampling(replicates: int = 1999) -> Work:
    """Studentised bootstrap of one parameter in 20 groups of ten."""

    def work() -> None:
        rng = np.random.default_rng(0)
        ends = HILL.x_at(np.array([0.005, 0.1]), {"k": 1.0, "n": 1.1, "top": 1.0})
        x = np.geomspace(ends[0], ends[1], 10)
        y = hill(x, 1.0, 1.1)[:, None] * np.exp(0.1 * rng.standard_normal((10, 20)))
        bootstrap(Problem.of("hill", x, y, None, "log").fit(), parameter("k"), 0.95, replicates=replicates)

    return work


SUBJECTS: list[tuple[str, str, Callable[..., Work], list[int]]] = [
    ("train, 3 steps", "members", training, [1, 2, 4, 8, 16]),
    ("train, 3 steps", "dictionary", training, [256, 512, 1024, 2048, 4096]),
    ("train, 3 steps", "tokens", training, [512, 1024, 2048, 4096, 8192]),
    ("train", "steps", training, [1, 2, 4, 8, 16]),
    ("evaluate", "members", evaluating, [2, 4, 8, 16, 32]),
    ("evaluate", "dictionary", evaluating, [256, 512, 1024, 2048, 4096]),
    ("evaluate", "windows", evaluating, [2, 4, 8, 16, 32]),
    ("pareto_set", "rows", pareto, [10_000, 30_000, 100_000, 300_000, 1_000_000]),
    ("pareto_set", "groups", pareto, [10, 100, 1_000, 10_000]),
    ("fit", "groups", fitting, [10, 30, 100, 300, 1_000]),
    ("compare", "groups", comparing, [100, 200, 400, 800, 1600]),
    ("compare, 4 groups", "families", lambda families: comparing(4, families), [4, 8, 16, 32, 64]),
    ("bootstrap, 20 groups", "replicates", resampling, [500, 1_000, 2_000, 4_000, 8_000, 16_000]),
]
QUICK = [("bootstrap, 20 groups", "replicates", resampling, [250, 500, 1_000, 2_000])]


def once(work: Work) -> tuple[float, float]:
    """CPU seconds and growth of resident megabytes of one run, in a forked child.

    Raises
    ------
    RuntimeError
        If the child ends without an answer.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            page = os.sysconf("SC_PAGE_SIZE")
            before = int(Path("/proc/self/statm").read_text().split()[1]) * page
            start = time.process_time()
            inner = work()
            used = inner if isinstance(inner, float) else time.process_time() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            os.write(writing, json.dumps([used, max(0, peak - before) / 1e6]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    if not text:
        raise RuntimeError("a run ended without an answer")
    return tuple(json.loads(text))


def exponent(sizes: list[int], costs: list[float]) -> dict[str, Any] | None:
    """The power law through these costs; None where too few are left, or they do not grow."""
    if len(sizes) < 4 or np.polyfit(np.log(sizes), np.log(costs), 1)[0] < 1e-9:
        return None
    fit = frontier.fit_points(sizes, costs, "power", errors="log")
    n = fit[next(name for name in fit.parameters if name in ("exponent", "n"))]
    return {
        "exponent": round(n.estimate, 3),
        "low": round(n.low, 3),
        "high": round(n.high, 3),
        "sigma": round(fit.sigma, 3),
    }


def measure(subject: str, along: str, make: Callable[..., Work], sizes: list[int]) -> dict[str, Any]:
    """All sizes of one subject, and the two exponents."""
    work = [make(**{along: size}) for size in sizes]
    work[0]()  # what is imported and built once
    found = [[once(w) for w in work] for _ in range(REPEATS)]
    seconds = [min(round_[i][0] for round_ in found) for i in range(len(sizes))]
    memory = [max(round_[i][1] for round_ in found) for i in range(len(sizes))]
    seen = [i for i in range(len(sizes)) if memory[i] >= LEAST_MEGABYTES]
    return {
        "subject": subject, "along": along, "sizes": sizes, "seconds": [round(s, 5) for s in seconds],
        "megabytes": [round(m, 1) for m in memory], "time": exponent(sizes, seconds),
        "memory": exponent([sizes[i] for i in seen], [memory[i] for i in seen]),
    }  # fmt: skip


def shown(fit: dict[str, Any] | None) -> str:
    """An exponent with its 95 % interval."""
    return "–" if fit is None else f"{fit['exponent']:.2f} ({fit['low']:.2f} to {fit['high']:.2f})"


def main() -> None:
    """Measure, print, write."""
    asked = arguments(__doc__, "one small subject").parse_args()
    subjects = []
    for what in QUICK if asked.quick else SUBJECTS:
        found = measure(*what)
        subjects.append(found)
        print(
            f"{found['subject']}, {found['along']}: "
            f"time {shown(found['time'])}, memory {shown(found['memory'])}",
            flush=True,
        )
    record = {
        **circumstances("sae-frontier", "numpy", "pandas", "torch"), "threads": 1, "repeats": REPEATS,
        "subjects": subjects,
    }  # fmt: skip
    folder = folder_of(asked)
    write("scaling", record, folder)


if __name__ == "__main__":
    main()
