"""Pareto sets: ours against moocore, paretoset, pymoo and one sort, in one process on one thread.

`python -m benchmarks.pareto_sets` prints the tables and writes `benchmarks/results/pareto_sets.json`.
Random points, and points that all lie on the front (where filters that compare each point with the front
are quadratic); one group and many. "ours" is the array kernel `frontier.pareto.nondominated`, which checks
that its input is finite; the peers do not. "table" is `frontier.pareto_set` on a data frame that it has
never seen: names, units, sentinels, duplicates and groups are checked, and slack and ties come with the
set. The peers live in an environment below `.bench/`, made at the first run. Medians of process CPU time
and of ratios within a round; all answers are compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
from tabulate import tabulate

import frontier
from benchmarks.measuring import (
    arguments,
    circumstances,
    environment,
    folder_of,
    medians,
    ratio,
    rounds,
    write,
)
from frontier.pareto import nondominated

SEED = 20261121
SIZES, QUICK = (100_000, 1_000_000), (4_000,)
GROUPED = ((10_000, 20), (1_000, 1_000), (100, 10_000))
QUICK_GROUPED = ((100, 20),)
SORTED = (1_000_000, 10_000)
"""Rows and families of the comparison with `sort_values`."""
TRAP = 20_000
"""Points on the front at which the quadratic filters are still shown."""
MILLION = 1_000_000
"""From here on three rounds are enough."""
AIM = {2: 1.1, 3: 1.2}
Mask = Callable[[np.ndarray], np.ndarray]


def points(kind: str, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform in the unit cube, or on a sphere so that no point beats another; all minimised."""
    if kind == "random":
        return rng.random((n, d))
    raw = np.abs(rng.standard_normal((n, d))) + 1e-9
    return 1 - raw / np.linalg.norm(raw, axis=1)[:, None]


def by_moocore(p: np.ndarray) -> np.ndarray:
    """moocore, equal points kept."""
    import moocore

    return moocore.is_nondominated(p, maximise=False, keep_weakly=True)


def by_paretoset(p: np.ndarray) -> np.ndarray:
    """paretoset with numba, equal points kept."""
    from paretoset import paretoset

    return paretoset(p, sense=["min"] * p.shape[1], distinct=False, use_numba=True)


def by_pymoo(p: np.ndarray) -> np.ndarray:
    """pymoo, which keeps equal points."""
    from pymoo.util.nds.non_dominated_sorting import find_non_dominated

    mask = np.zeros(len(p), dtype=bool)
    mask[find_non_dominated(p)] = True
    return mask


def lexsort(p: np.ndarray) -> None:
    """One sort, no set."""
    np.lexsort(p.T[::-1])


def looped(one: Mask, p: np.ndarray, g: np.ndarray) -> np.ndarray:
    """A filter applied to every group: one stable sort by group, then slices."""
    order = np.argsort(g.astype(np.uint16), kind="stable")
    edges = np.cumsum(np.bincount(g))[:-1]
    mask = np.empty(len(p), dtype=bool)
    for rows in np.split(order, edges):
        mask[rows] = one(p[rows])
    return mask


def moocore_once(p: np.ndarray, g: np.ndarray) -> np.ndarray:
    """One call of moocore: the columns g and -g make groups incomparable."""
    return by_moocore(np.column_stack([p, g, -g]))


def moocore_sets(p: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The grouped call of moocore."""
    import moocore

    return moocore.is_nondominated_within_sets(p, sets=g, maximise=False, keep_weakly=True)


def paretoset_diff(p: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The grouped call of paretoset."""
    from paretoset import paretoset

    table = pd.DataFrame({str(k): column for k, column in enumerate([*p.T, g])})
    return paretoset(table, sense=["min"] * p.shape[1] + ["diff"], distinct=False, use_numba=True)


def table_of(p: np.ndarray, g: np.ndarray | None = None) -> pd.DataFrame:
    """The points as a metrics table: L0 up to 500, fractions; the third objective is a plain extra column."""
    columns = {"l0": 1 + 499 * p[:, 0], "performance_hit": 0.5 * p[:, 1]}
    columns |= {f"objective_{k}": p[:, k] for k in range(2, p.shape[1])}
    return pd.DataFrame(columns | ({} if g is None else {"family": g}))


def by_table(table: pd.DataFrame, d: int) -> np.ndarray:
    """How many rows the table door keeps."""
    names = ["l0", "performance_hit", *(f"objective_{k}" for k in range(2, d))]
    by = ["family"] if "family" in table else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return len(frontier.pareto_set(table, by, objectives=dict.fromkeys(names, "min")))


def cell(
    kind: str, n: int, d: int, groups: int, count: int, rng: np.random.Generator, traps: bool
) -> dict[str, Any]:
    """One cell: every method's seconds, our ratio to the best peer, and whether all agree."""
    p = points(kind, n, d, rng)
    if groups == 1:
        table = table_of(p)
        methods: dict[str, Callable[[], Any]] = {
            "ours": lambda: nondominated(p), "moocore": lambda: by_moocore(p), "pymoo": lambda: by_pymoo(p),
        }  # fmt: skip
        if kind == "random" or traps:
            methods["paretoset"] = lambda: by_paretoset(p)
        methods["one lexsort"] = lambda: lexsort(p)
    else:
        g = rng.permutation(np.repeat(np.arange(groups), n // groups))
        table = table_of(p, g)
        methods = {
            "ours": lambda: nondominated(p, g), "moocore, loop": lambda: looped(by_moocore, p, g),
            "pymoo, loop": lambda: looped(by_pymoo, p, g),
        }  # fmt: skip
        if kind == "random" or n // groups < 100:
            methods["paretoset, loop"] = lambda: looped(by_paretoset, p, g)
        if traps:
            methods["moocore, one call"] = lambda: moocore_once(p, g)
            methods["moocore within_sets"] = lambda: moocore_sets(p, g)
            methods["paretoset diff"] = lambda: paretoset_diff(p, g)
        methods["one lexsort"] = lambda: lexsort(np.column_stack([g, p]))
    methods["table"] = lambda: by_table(table, d)
    by_paretoset(p[:10])  # compiled before it is timed
    times, found = rounds(methods, count if n < MILLION else min(count, 3))
    front = int(found["ours"].sum())
    masks = [v for v in found.values() if isinstance(v, np.ndarray)]
    middle = medians(times)
    peers = {k: v for k, v in middle.items() if k not in ("ours", "one lexsort", "table")}
    best = min(peers, key=peers.__getitem__)
    return {
        "points": kind, "objectives": d, "rows": n, "groups": groups, "front": front,
        "agree": all(np.array_equal(m, found["ours"]) for m in masks)
        and found["table"] == front,
        "seconds": middle, "best_peer": best, "to_best_peer": round(ratio(times, "ours", best), 3),
        "aim": AIM[d],
        "met": ratio(times, "ours", best) <= AIM[d],
        "to_one_lexsort": round(ratio(times, "ours", "one lexsort"), 3),
        "table_to_one_lexsort": round(ratio(times, "table", "one lexsort"), 2),
        "worst_peer": max(peers, key=peers.__getitem__),
        "worst_peer_to_ours": round(max(peers.values()) / middle["ours"], 1),
    }  # fmt: skip


def beside_sort(rows: int, families: int, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """`pareto_set` by family against `sort_values` of the same frame; names as text and as numbers."""
    found = []
    for kind in ("text", "number"):
        g = rng.integers(families, size=rows)
        table = table_of(rng.random((rows, 2)), g)
        if kind == "text":
            table["family"] = [f"family {v}" for v in g]
        times, _ = rounds(
            {
                "pareto_set": lambda table=table: by_table(table, 2),
                "sort_values": lambda table=table: table.sort_values(["family", "l0"]),
            },
            count,
        )
        to_sort = round(ratio(times, "pareto_set", "sort_values"), 2)
        found.append(
            {"family": kind, "rows": rows, "families": families, "seconds": medians(times), "ratio": to_sort,
             "aim": 3, "met": to_sort <= 3}
        )  # fmt: skip
    return found


def measure(quick: bool, count: int, folder: str) -> None:
    """All cells, in the environment of the peers."""
    rng = np.random.default_rng(SEED)
    cells = []

    def add(kind: str, n: int, d: int, groups: int = 1, traps: bool = False) -> None:
        found = cell(kind, n, d, groups, count, rng, traps)
        cells.append(found)
        times = {k: round(1e3 * v, 2) for k, v in found["seconds"].items()}
        print(
            f"{kind}, {d} objectives, {groups} × {n // groups}: "
            f"{found['to_best_peer']} of {found['best_peer']}; ms {times}",
            flush=True,
        )

    for d in (2, 3):
        for n in QUICK if quick else SIZES:
            add("random", n, d)
            add("front", n, d)
        add("front", QUICK[0] if quick else TRAP, d, traps=True)
        for groups, each in QUICK_GROUPED if quick else GROUPED:
            for kind in ("random", "front"):
                add(kind, groups * each, d, groups, traps=each < 100 and kind == "random")
    against_sort = beside_sort(*((20_000, 100) if quick else SORTED), count, rng)
    record = {
        **circumstances("numpy", "pandas", "moocore", "paretoset", "numba", "pymoo"),
        "rounds": count, "threads": 1, "cells": cells,
        "table_against_sort_values": against_sort,
    }  # fmt: skip
    print()
    head = (
        "points",
        "objectives",
        "rows",
        "groups",
        "ours, ms",
        "best peer",
        "ratio",
        "aim",
        "to one lexsort",
        "table to lexsort",
    )
    print(tabulate(
        [(c["points"], c["objectives"], c["rows"], c["groups"], round(1e3 * c["seconds"]["ours"], 2),
          c["best_peer"], c["to_best_peer"], c["aim"], c["to_one_lexsort"],
          c["table_to_one_lexsort"]) for c in cells], head,
    ))  # fmt: skip
    print(
        tabulate(
            [(c["family"], c["ratio"], c["aim"]) for c in against_sort],
            ("family", "pareto_set / sort_values", "aim"),
        )
    )
    write("pareto_sets", record, Path(folder))


def main() -> None:
    """Start the measurement in the environment of the peers."""
    parser = arguments(__doc__, "small sizes, one round")
    parser.add_argument(
        "--here", action="store_true", help="measure with this interpreter, which has the peers"
    )
    asked = parser.parse_args()
    out = str(folder_of(asked))
    if asked.here:
        measure(asked.quick, 1 if asked.quick else 5, out)
        return
    python = environment("pareto", "--editable", ".", "moocore", "paretoset", "numba", "pymoo")
    more = ["--quick"] if asked.quick else []
    sys.exit(
        subprocess.run(
            [str(python), "-m", "benchmarks.pareto_sets", "--here", "--out", out, *more]
        ).returncode
    )


if __name__ == "__main__":
    main()
