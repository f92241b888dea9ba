"""Time and memory of reading 10 million rows of Parquet, whole and with a condition, as a file and lazily.

Each call runs in a process of its own, which says its CPU seconds and the highest memory above the imports.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from benchmarks.measuring import RESULTS, arguments, between, circumstances, folder_of, write
from frontier.writing import write_text

PAGE = Path("docs/reliability.md")
ROWS = 10_000_000
FRESH = multiprocessing.get_context("spawn")
CALLS = {
    "the five columns alone, as a file": ("narrow", False, None),
    "beside 13 others, as a file": ("wide", False, None),
    "beside 13 others, where layer == 2": ("wide", False, "layer == 2"),
    "beside 13 others, as a LazyFrame": ("wide", True, None),
    "beside 13 others, as a LazyFrame, where layer == 2": ("wide", True, "layer == 2"),
}


def made(folder: Path, rows: int) -> None:
    """Two files of two families in four layers; one has 12 columns of numbers and one of text beside."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    import frontier

    rng, number = np.random.default_rng(0), np.arange(rows)
    l0 = np.exp(rng.uniform(np.log(10), np.log(500), rows))
    hit = frontier.hill(1.5 ** (number % 2) / l0, 0.25, 1.0) * np.exp(0.05 * rng.standard_normal(rows))
    columns: dict[str, Any] = {
        "family": pa.array(np.array(["relu", "topk"])[number % 2]),
        "layer": (number // 2 % 4).astype(np.int32),
        "l0": l0, "loss_recovered": 1 - hit, "fvu": hit.astype(np.float32),
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "narrow.parquet", row_group_size=rows // 10)
    columns |= {f"probe_{i}": rng.standard_normal(rows).astype(np.float32) for i in range(12)}
    columns["remark"] = pa.array(
        np.array([f"remark {i} of a long sweep" for i in range(1000)])[number % 1000]
    )
    pq.write_table(pa.table(columns), folder / "wide.parquet", row_group_size=rows // 10)


def measured(path: Path, lazily: bool, where: str | None, pipe: Any) -> None:
    """In a process of its own: seconds and memory of one call."""
    import polars as pl
    import pyarrow.dataset  # noqa: F401 (before the clock starts)

    import frontier

    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    table = frontier.read(pl.scan_parquet(path) if lazily else path, where=where)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    pipe.send((len(table), round(time.process_time() - start, 1), round(memory / 1024)))


def main() -> None:
    """Measure each call, print, write the result and the page's table."""
    asked = arguments(__doc__, "a hundredth of the rows").parse_args()
    found = []
    with tempfile.TemporaryDirectory() as place:
        rows = ROWS // 100 if asked.quick else ROWS
        process = FRESH.Process(target=made, args=(Path(place), rows))  # a child begins at its parent's peak
        process.start()
        process.join()
        for name, (file, lazily, where) in CALLS.items():
            ours, theirs = multiprocessing.Pipe()
            given = (Path(place) / f"{file}.parquet", lazily, where, theirs)
            process = FRESH.Process(target=measured, args=given)
            process.start()
            process.join()
            rows, seconds, memory = ours.recv()
            found.append({"read": name, "rows": f"{rows:,}", "CPU-s": seconds, "MB": f"{memory:,}"})
            print(json.dumps(found[-1]), flush=True)
    folder = folder_of(asked)
    write("parquet", circumstances("pandas", "polars", "pyarrow") | {"rows": found}, folder)
    if folder == RESULTS:
        table = tabulate(found, headers="keys", tablefmt="github", disable_numparse=True)
        write_text(PAGE, between(PAGE.read_text(encoding="utf-8"), "parquet", table + "\n"))


if __name__ == "__main__":
    main()
