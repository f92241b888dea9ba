"""What a GPU has to show, in ten minutes, most important first: is it right, how fast, does a run keep up.

`python -m benchmarks.training_gpu` writes `benchmarks/results/training_gpu.json` after each part; without a
CUDA device it says so and measures nothing, and `--device cpu --small` runs every part on small shapes, to
see that it runs. The parts: gradients of every architecture against float64, with unwritten memory poisoned;
recorded steps equal eager ones; a resumption across a recording; no question to the device in a step; the
steps of the counted model, whose `measured_ms` are filled in; a run with buffers read ahead, beside recorded
steps, against one that waits for them; a run on a language model of Pythia-70M's shape from end to end; last
the steps of other libraries, each in its own environment, with its own defaults, in bfloat16 and, at the
first shape, in float32.

Steps are timed on one batch over and over, as in `benchmarks.training`: medians of wall time, the device
waited for. The rate of the machine is that of one square bfloat16 product of side 8,192; a dense step counts
10 B d F floating-point operations per member (five products).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.gpu_parts.checks import gradients, graphs, questions, resumed
from benchmarks.gpu_parts.whole_runs import from_end_to_end, read_ahead
from benchmarks.measuring import arguments, circumstances, folder_of, write
from benchmarks.training import PEERS, python_of, run, version_of
from benchmarks.training_steps import Shape

SHAPES = [Shape(d, size, 8, 4096, "cuda", True) for d, size in ((512, 4096), (2048, 16384), (4096, 65536))]
"""Those of the counted model."""
CELLS = [("relu", 0.03), ("jumprelu", 0.03), ("topk", 64.0), ("batch_topk", 64.0), ("gated", 0.03)]
"""Architecture, and density of its codes or k."""
SECONDS = 600
"""No part begins after so many."""


def product_rate(device: str, side: int, rounds: int = 10) -> float:
    """Floating-point operations per second of one square bf16 product."""
    a, found = torch.randn(side, side, device=device, dtype=torch.bfloat16), []
    for _ in range(rounds):
        start = time.perf_counter()
        torch.mm(a, a)
        if a.is_cuda:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return 2 * side**3 / median(found[rounds // 2 :])


def derived(cell: dict[str, Any], rate: float) -> dict[str, Any]:
    """The cell with samples per second and the share of the machine's rate that a dense step would have."""
    if "ms" not in cell:
        return cell
    seconds, batch = cell["ms"] / 1e3, cell["batch"]
    operations = 10 * batch * cell["d"] * cell["F"] * cell["members"] / seconds
    return cell | {
        "samples_per_second": round(batch / seconds), "share_of_product_rate": round(operations / rate, 4),
    }  # fmt: skip


def peers(record: dict[str, Any]) -> dict[str, Path]:
    """Interpreters of the other libraries; one that cannot be installed is named in the record."""
    found = {}
    for method, package in PEERS.items():
        try:
            found[method] = python_of(package)
            record["versions"][package] = version_of(found[method], package)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            record["skipped"][method] = str(error)
    return found


def cells_of(python: Path, method: str, shape: Shape, rate: float) -> list[dict[str, Any]]:
    """The cells of one shape by one method."""
    cells = [(name, v if v < 1 else min(v, shape.F / 2) / shape.F) for name, v in CELLS]
    some = [c for c in cells if method != "sparsify" or c[0] == "topk"]
    return [derived(cell, rate) for cell in run(python, method, shape, some)]


def fill_in(cells: list[dict[str, Any]], folder: Path) -> None:
    """Write our times beside the counted model's predictions, where there are some in the folder."""
    path = folder / "gpu_model.json"
    if not path.exists():
        return
    record = json.loads(path.read_text(encoding="utf-8"))
    places = ("architecture", "d", "members", "batch")
    measured = {(*(c[k] for k in places), c["F"]): c["ms"] for c in cells if "ms" in c and c["autocast"]}
    for row in record["cells"]:
        if row["half"] and row["closed_form"] and not row["dead"]:
            row["measured_ms"] = measured.get((*(row[k] for k in places), row["size"]))
    write("gpu_model", record, folder)


def parts_of(asked: argparse.Namespace, record: dict[str, Any], folder: Path) -> dict[str, Callable[[], Any]]:
    """What is checked and measured, in order."""
    device, small = torch.device(asked.device), asked.small or asked.quick
    shapes = [Shape(32, 128, 2, 256, asked.device)] if small else SHAPES

    def steps() -> None:
        record["product_rate"] = product_rate(asked.device, 256 if small else 8192)
        for shape in shapes:
            record["cells"] += cells_of(Path(sys.executable), "ours", shape, record["product_rate"])
            write("training_gpu", record, folder)
        if not small:
            fill_in(record["cells"], folder)

    def others() -> None:
        for method, python in peers(record).items():
            for shape in (*shapes, replace(shapes[0], autocast=False)):
                record["cells"] += cells_of(python, method, shape, record["product_rate"])
                write("training_gpu", record, folder)

    if asked.quick:
        return {"steps": steps}
    checks = {f.__name__: partial(f, device) for f in (gradients, graphs, resumed, questions)}
    whole = {f.__name__: partial(f, device, small) for f in (read_ahead, from_end_to_end)}
    measured = {"steps": steps, **whole}
    return {**checks, **measured, **({} if small else {"others": others})}


def main() -> None:
    """Check, measure, write after each part; or say that there is nothing to measure on."""
    parser = arguments(__doc__, "ours alone, one small shape on any device")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="every part on small shapes, on any device")
    asked = parser.parse_args()
    if not asked.device.startswith("cuda") and not (asked.quick or asked.small):
        print("no CUDA device here: nothing was measured")
        return
    asked.quick, small = asked.quick and not asked.small, asked.small
    folder = asked.out or (Path(tempfile.mkdtemp()) if small else folder_of(asked))
    on_gpu = asked.device.startswith("cuda")
    record: dict[str, Any] = {
        **circumstances("torch"), "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "skipped": {}, "cells": [], "parts": {},
    }  # fmt: skip
    begin = time.monotonic()
    for name, part in parts_of(asked, record, folder).items():
        passed = time.monotonic() - begin
        if passed > SECONDS:
            record["skipped"][name] = f"not begun: {passed:.0f} s had passed"
            continue
        try:
            found = part()
        except Exception as error:  # the others are still to be seen
            found = {"failed": f"{type(error).__name__}: {error}"[:300]}
        record["parts"][name] = {"seconds": round(time.monotonic() - begin - passed, 1), "found": found}
        write("training_gpu", record, folder)
        print(name, json.dumps(record["parts"][name]), flush=True)
    print(tabulate(record["cells"], headers="keys"))


if __name__ == "__main__":
    main()
