"""Families on a GPU: samples per second, share of the measured matrix-product rate, memory.

`python -m benchmarks.training_gpu` prints the table and writes `benchmarks/results/training_gpu.json`;
without a CUDA device it says so and measures nothing. ReLU and TopK families on the stacked engine (bf16
products, float32 weights, CUDA graph), one batch over and over. The rate of the machine is that of one square
bf16 product of side 8,192; a dense step counts 10 B d F floating-point operations per member (five products).
Medians of synchronised wall time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from tabulate import tabulate

from benchmarks.measuring import arguments, circumstances, folder_of, write
from trainers.activations import Batch, Scaling
from trainers.architectures import architecture
from trainers.family import Family, Member, Schedule
from trainers.steps import engine_for
from trainers.steps.engine import StepOptions

SHAPES = [
    (members, d, size)
    for members in (8, 16, 32)
    for d, size in ((512, 4096), (1024, 16384), (2048, 65536), (4096, 65536))
]
KINDS = {"relu": 0.1, "topk": 64.0}
BATCH, WARM, STEPS = 4096, 5, 10


def seconds(work: Callable[[], Any], device: torch.device, warm: int = WARM, steps: int = STEPS) -> float:
    """Median seconds of a piece of work, the device waited for."""
    found = []
    for i in range(warm + steps):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if i >= warm:
            found.append(time.perf_counter() - start)
    return median(found)


def product_rate(device: torch.device, side: int) -> float:
    """Floating-point operations per second of one square bf16 product."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / seconds(lambda: a @ a, device)


def measure(kind: str, shape: tuple[int, int, int], batch: int, device: torch.device) -> dict[str, Any]:
    """One family's step."""
    members, d, size = shape
    cell: dict[str, Any] = {"architecture": kind, "members": members, "d": d, "F": size, "batch": batch}
    x, zero = torch.randn(batch, d, device=device), torch.zeros(d)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    plan = [Member(f"{kind}{m}", KINDS[kind], m, 1e-4) for m in range(members)]
    try:
        family = Family(
            kind, architecture(kind), plan, d_in=d, d_out=d, dictionary_size=size,
            scaling=Scaling(1.0, 1.0, zero, zero), device=device,
        )  # fmt: skip
        options = StepOptions(Schedule(1000), autocast=device.type == "cuda")
        engine = engine_for(family, options, "stacked")
        steps = iter(range(1000))
        used = seconds(lambda: engine.step(Batch(x, x), next(steps)), device)
    except torch.OutOfMemoryError:
        return cell | {"failed": "out of memory"}
    cell |= {"ms": round(1e3 * used, 3), "samples_per_second": round(batch / used)}
    cell["operations_per_second"] = 10 * batch * d * size * members / used
    if device.type == "cuda":
        cell["gigabytes"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 2)
    return cell


def main() -> None:
    """Measure, print, write; or say that there is nothing to measure on."""
    asked = arguments(__doc__, "one small shape on any device").parse_args()
    if not torch.cuda.is_available() and not asked.quick:
        print("no CUDA device here: nothing was measured")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rate = product_rate(device, 256 if asked.quick else 8192)
    cells = []
    for shape in [(2, 32, 128)] if asked.quick else SHAPES:
        for kind in KINDS:
            cell = measure(kind, shape, 256 if asked.quick else BATCH, device)
            if "failed" not in cell:
                cell["share_of_product_rate"] = round(cell["operations_per_second"] / rate, 4)
            cells.append(cell)
            print(cell, flush=True)
    print(tabulate(cells, headers="keys"))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    record = circumstances("torch") | {"device": name, "product_rate": rate, "cells": cells}
    write("training_gpu", record, folder_of(asked))


if __name__ == "__main__":
    main()
