"""What a training step will cost on a GPU, counted without one: milliseconds, bytes by kind, memory.

`python -m benchmarks.gpu_model` prints the table of the aims and writes `benchmarks/results/gpu_model.json`,
with an empty `measured_ms` beside each prediction until `benchmarks.training_gpu` fills it. A single family:
`--architecture topk --members 8 --d 4096 --size 65536 --batch 4096`, on any device of `--device` or on one
that `--bandwidth`, `--half`, `--single` and `--memory` describe.

Every operation of the real step is run on tensors without memory (`trainers.counting`). An operation takes
the longer of its bytes at the device's bandwidth and its floating-point operations at the device's rate; a
selection reads its input five times at `selection` bytes a second. Launches cost nothing (a CUDA graph),
caches save nothing, nothing overlaps. Rates are what large kernels reach, not what a data sheet says.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import RESULTS, arguments, between, circumstances, folder_of, write
from trainers.architectures import ARCHITECTURES, architecture
from trainers.counting import Counted, Operation, counted_step

SELECTION_PASSES = 5
K = 64.0


@dataclass(frozen=True)
class Device:
    """A GPU as the model sees it: what its large kernels reach."""

    bandwidth: float
    """Bytes a second."""
    half: float
    """Floating-point operations a second of bfloat16 products."""
    single: float
    """The same of float32 products (not TF32)."""
    selection: float
    """Bytes a second of one pass of a selection."""
    memory: float
    """Bytes."""

    def seconds(self, operation: Operation) -> float:
        """Of one operation."""
        if operation.kind == "selection":
            return SELECTION_PASSES * operation.read / self.selection
        rate = self.half if operation.half else self.single
        return max((operation.read + operation.written) / self.bandwidth, operation.flops / rate)


DEVICES = {
    "H200": Device(4.3e12, 700e12, 50e12, 2.0e12, 141e9),
    "H100": Device(3.0e12, 700e12, 50e12, 1.4e12, 80e9),
    "A100": Device(1.7e12, 250e12, 17e12, 0.8e12, 80e9),
    "RTX-4090": Device(0.9e12, 150e12, 60e12, 0.42e12, 24e9),
}
"""H200 as audited; the others from data sheets by the same shares (90 % of bandwidth, 70-80 % of rates)."""

PAGE = Path("docs/gpu.md")
SHAPES = [(512, 4096), (2048, 16384), (4096, 65536)]
MEMBERS, BATCH = 8, 4096
AIMS = {
    "relu": (4.5, 32, 240), "jumprelu": (4.5, 32, 240), "topk": (5, 30, 200), "batch_topk": (5, 30, 200),
    "gated": (6, 40, 300),
}  # fmt: skip
"""Milliseconds at each shape."""


@dataclass(frozen=True)
class Case:
    """A family on a device."""

    architecture: str
    d: int = 512
    size: int = 4096
    members: int = MEMBERS
    batch: int = BATCH
    half: bool = True
    closed_form: bool = True
    dead: bool = False


@cache
def counted(case: Case) -> Counted:
    """Its step, counted."""
    kind = architecture(case.architecture)
    setting = min(K, case.size) if kind.setting_name == "k" else 1.0
    return counted_step(
        kind, [setting] * case.members, case.d, case.size, case.batch, half=case.half,
        closed_form=case.closed_form, dead=case.dead,
    )  # fmt: skip


def by_kind(case: Case, device: Device) -> dict[str, tuple[float, float]]:
    """Bytes and seconds by kind; passes are over weights where they do not grow with the batch.

    The passes over codes are found by counting a batch of twice the size.
    """
    one, two = (_sums(counted(c), device) for c in (case, replace(case, batch=2 * case.batch)))
    codes = tuple(b - a for a, b in zip(one["pass"], two["pass"], strict=True))
    weights = tuple(a - c for a, c in zip(one.pop("pass"), codes, strict=True))
    return one | {"passes over codes": codes, "passes over weights": weights}  # type: ignore[dict-item]


def _sums(step: Counted, device: Device) -> dict[str, tuple[float, float]]:
    found = {kind: (0.0, 0.0) for kind in ("product", "selection", "optimiser", "pass")}
    for o in step.operations:
        size, seconds = found[o.kind]
        found[o.kind] = (size + o.read + o.written, seconds + device.seconds(o))
    return found


def predicted(case: Case, device: Device) -> dict[str, Any]:
    """One row of the result."""
    kinds, step = by_kind(case, device), counted(case)
    seconds = sum(s for _, s in kinds.values())
    return asdict(case) | {
        "predicted_ms": round(1e3 * seconds, 2), "measured_ms": None,
        "samples_per_second": round(case.batch / seconds),
        "gigabytes_moved": round(step.bytes / 1e9, 2), "teraflop": round(step.flops / 1e12, 3),
        "peak_gigabytes": round(step.peak / 1e9, 2), "fits": step.peak < device.memory,
        "gigabytes": {k: round(b / 1e9, 2) for k, (b, _) in kinds.items()},
        "ms": {k: round(1e3 * s, 2) for k, (_, s) in kinds.items()},
    }  # fmt: skip


def table() -> list[Case]:
    """The committed cases: the step as it is, with dead latents, and as autograd alone has it."""
    found = []
    for name in (*AIMS, "matryoshka", "p_anneal"):
        for d, size in SHAPES:
            case = Case(name, d, size)
            found += [case, replace(case, closed_form=False, dead=True)]
            found += [replace(case, dead=True)] if architecture(name).setting_name == "k" else []
    return list(dict.fromkeys(found))


def asked_device(asked: argparse.Namespace) -> Device:
    """The named device with what was said otherwise."""
    names = ("bandwidth", "half", "single", "selection", "memory")
    given = {k: getattr(asked, k) for k in names if getattr(asked, k) is not None}
    return replace(DEVICES[asked.device], **given)


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table."""
    columns = ("architecture", "d", "size", "closed_form", "dead", "predicted_ms", "measured_ms")
    columns += ("samples_per_second", "gigabytes_moved", "peak_gigabytes", "fits")
    lines = [[r[c] for c in columns] + [f"{v:.4g}" for v in r["ms"].values()] for r in rows]
    return tabulate(lines, headers=[*columns, *(f"{k}, ms" for k in rows[0]["ms"])])


def page(cells: Sequence[dict[str, Any]]) -> str:
    """The table of docs/gpu.md: a row per architecture and shape, with what autograd alone would take."""
    plain = {(r["architecture"], r["d"]): r for r in cells if not r["closed_form"]}
    rows = []
    for r in cells:
        if r["closed_form"]:
            other = plain[r["architecture"], r["d"]]
            aim = None if r["dead"] else AIMS.get(r["architecture"])
            place = [d for d, _ in SHAPES].index(r["d"])
            name = r["architecture"] + (", some dead" if r["dead"] else "")
            rows.append(
                [
                    name, f"{r['d']:,}", f"{r['size']:,}", f"{r['predicted_ms']:.3g}",
                    f"{aim[place]:g}" if aim else "–", r["measured_ms"] or "", f"{r['gigabytes_moved']:.3g}",
                    f"{r['peak_gigabytes']:.3g}", f"{other['predicted_ms']:.3g}",
                    f"{other['gigabytes_moved']:.3g}", f"{other['peak_gigabytes']:.3g}",
                ]
            )  # fmt: skip
    head = ["architecture", "d", "latents", "predicted, ms", "aim, ms", "measured, ms", "GB moved", "peak GB"]
    head += ["by autograd, ms", "GB moved", "peak GB"]
    return tabulate(rows, headers=head, tablefmt="github", disable_numparse=True) + "\n"


def main() -> None:
    """Count, print, write."""
    parser = arguments(__doc__, "one small case")
    parser.add_argument("--device", choices=DEVICES, default="H200")
    for name in ("bandwidth", "half", "single", "selection", "memory"):
        parser.add_argument(f"--{name}", type=float, help="instead of the device's")
    parser.add_argument("--architecture", choices=ARCHITECTURES, help="one family instead of the table")
    for name, value in (("d", 512), ("size", 4096), ("members", MEMBERS), ("batch", BATCH)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--dead", action="store_true", help="some latents are dead")
    parser.add_argument("--json", action="store_true", help="print every number")
    asked = parser.parse_args()
    device, folder = asked_device(asked), folder_of(asked)
    if asked.architecture:
        half = asked.precision == "bfloat16"
        cases = [
            Case(asked.architecture, asked.d, asked.size, asked.members, asked.batch, half, half, asked.dead)
        ]
    else:
        cases = [Case("relu", 32, 128, 2, 256)] if asked.quick else table()
    record = {**circumstances("torch"), "device": asked.device, **asdict(device), "aims_ms": AIMS}
    rows: list[dict[str, Any]] = []
    for case in cases:
        rows.append(predicted(case, device))
        if not asked.architecture:
            write("gpu_model", record | {"cells": rows}, folder)
    if folder == RESULTS and not asked.architecture:
        PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), "counted", page(rows)), encoding="utf-8")
    print(json.dumps(rows, indent=1) if asked.json else shown(rows))


if __name__ == "__main__":
    main()
