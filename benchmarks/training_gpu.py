"""Families on a GPU: samples per second, share of the measured matrix-product rate, memory; ours and others'.

`python -m benchmarks.training_gpu` prints the table and writes `benchmarks/results/training_gpu.json`;
without a CUDA device it says so and measures nothing. Each library runs in its own environment, with bfloat16
products and with its own defaults, on one batch over and over, as in `benchmarks.training`; the others at one
number of members. The rate of the machine is that of one square bf16 product of side 8,192; a dense step
counts 10 B d F floating-point operations per member (five products). Medians of wall time, the device waited
for.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.measuring import arguments, circumstances, folder_of, write
from benchmarks.training import PEERS, python_of, run, version_of
from benchmarks.training_steps import Shape

SHAPES = [
    *(Shape(512, 4096, members, 4096, "cuda", True) for members in (8, 16, 32)),
    *(Shape(1024, 16384, members, 4096, "cuda", True) for members in (8, 16)),
    Shape(2048, 65536, 8, 4096, "cuda", True),
    Shape(4096, 65536, 8, 4096, "cuda", True),
]
OTHERS_MEMBERS = 8
CELLS = [("relu", 0.03), ("jumprelu", 0.03), ("topk", 64.0), ("batch_topk", 64.0)]
"""Architecture, and density of its codes or k."""


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


def main() -> None:
    """Measure, print, write after each shape; or say that there is nothing to measure on."""
    asked = arguments(__doc__, "ours alone, one small shape on any device").parse_args()
    if not torch.cuda.is_available() and not asked.quick:
        print("no CUDA device here: nothing was measured")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    record: dict[str, Any] = {
        **circumstances("torch"), "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "product_rate": product_rate(device, 256 if asked.quick else 8192), "skipped": {}, "cells": [],
    }  # fmt: skip
    others = {} if asked.quick else peers(record)
    for shape in [Shape(32, 128, 2, 256, device)] if asked.quick else SHAPES:
        cells = [(name, v if v < 1 else v / shape.F) for name, v in CELLS]
        tried = [("ours", Path(sys.executable), shape)]
        if shape.members == OTHERS_MEMBERS:
            plain = Shape(shape.d, shape.F, shape.members, shape.batch, device)
            tried += [(m, python, s) for m, python in others.items() for s in (shape, plain)]
        for method, python, one in tried:
            some = [c for c in cells if method != "sparsify" or c[0] == "topk"]
            record["cells"] += [
                derived(cell, record["product_rate"]) for cell in run(python, method, one, some)
            ]
        write("training_gpu", record, folder_of(asked))
    print(tabulate(record["cells"], headers="keys"))


if __name__ == "__main__":
    main()
