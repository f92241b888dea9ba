"""Time and memory of the analysis at many rows: in few groups, and in many. Both should grow as the rows do.

Each call runs in a process of its own, which says its CPU seconds and the highest memory above that before.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

import frontier
from benchmarks.measuring import RESULTS, arguments, between, circumstances, folder_of, write
from frontier.writing import write_text

PAGE = Path("docs/reliability.md")
FAMILIES = ("relu", "topk")
SIZES = {"1e4 rows, 4 groups": (10_000, 4), "1e5 rows, 4 groups": (100_000, 4),
         "1e6 rows, 4 groups": (1_000_000, 4), "1.2e5 rows, 1e4 groups": (120_000, 10_000)}  # fmt: skip


def table(rows: int, groups: int) -> pd.DataFrame:
    """Two families on Hill curves in each layer, the second 1.5 times as potent, hits with 5 % noise."""
    rng = np.random.default_rng(0)
    family, layer = np.arange(rows) % 2, np.arange(rows) // 2 % groups
    l0 = np.exp(rng.uniform(np.log(10), np.log(500), rows))
    hit = frontier.hill(1.5**family / l0, 0.25, 1.0) * np.exp(0.05 * rng.standard_normal(rows))
    return pd.DataFrame(
        {"family": np.array(FAMILIES)[family], "layer": layer, "l0": l0, "loss_recovered": 1 - hit}
    )


def calls(path: Path) -> dict[str, Callable[[], Any]]:
    """What is measured, from the file on."""
    return {
        "read": lambda: frontier.read(path),
        "pareto_set": lambda: frontier.pareto_set(frontier.read(path)),
        "fit": lambda: frontier.fit(frontier.read(path), "hill"),
        "compare": lambda: frontier.compare(frontier.read(path), "relu"),
        "report": lambda: frontier.report(path, path.with_suffix(".html"), "relu"),
    }


def measured(path: Path, name: str, pipe: Any) -> None:
    """In a process of its own: seconds and memory of one call."""
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        calls(path)[name]()
        said = ""
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    pipe.send(
        {"seconds": round(time.process_time() - start, 2), "megabytes": round(memory / 1024), "said": said}
    )


def one(path: Path, name: str) -> dict[str, Any]:
    """One call in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=measured, args=(path, name, theirs))
    process.start()
    process.join()
    return ours.recv() if ours.poll() else {"said": f"ended with {process.exitcode}"}


def on_page(text: str, rows: list[dict[str, Any]]) -> str:
    """A page with its table made anew: seconds and megabytes, a row for each size."""
    shown = [
        {"size": size}
        | {
            r["call"]: r["said"] or f"{r['seconds']:.3g} s, {r['megabytes']:,} MB"
            for r in rows
            if r["size"] == size
        }
        for size in dict.fromkeys(r["size"] for r in rows)
    ]
    return between(text, "rows", tabulate(shown, headers="keys", tablefmt="github") + "\n")


def main() -> None:
    """Measure each call at each size, print, write the result."""
    asked = arguments(__doc__, "the smallest size alone").parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for size, (count, groups) in list(SIZES.items())[: 1 if asked.quick else None]:
            path = Path(place) / "sweep.csv"
            table(count, groups).to_csv(path, index=False)
            for name in calls(path):
                rows.append({"call": name, "size": size, **one(path, name)})
                print(json.dumps(rows[-1]), flush=True)
    folder = folder_of(asked)
    write("rows", circumstances("numpy", "pandas") | {"rows": rows}, folder)
    if folder == RESULTS:
        write_text(PAGE, on_page(PAGE.read_text(encoding="utf-8"), rows))


if __name__ == "__main__":
    main()
