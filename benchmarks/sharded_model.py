"""One SAE of 16 million latents on 64 H200s, on paper: memory, time of a step, where the network limits.

`python -m benchmarks.sharded_model` counts the sharded step of TopK (bfloat16 products, autograd) on small
sizes on the CPU: bytes that are moved, held and selected from, and the flops of its products. All grow as
d·f, B·f and B·d, with f latents on a device, so that the counts of a few sizes give those of any. They are
priced for an H200; what goes over the network follows from the sizes of the collectives. No GPU has measured
any of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from benchmarks.gpu_model import DEVICES, SELECTION_PASSES
from benchmarks.measuring import RESULTS, arguments, between, circumstances, folder_of, write
from frontier.writing import write_text
from trainers.activations import Batch, Scaling
from trainers.architectures import TopK
from trainers.counting import Traffic
from trainers.family import Member, Schedule
from trainers.sharding import ShardedEngine, ShardedFamily, selection
from trainers.shards import Shards
from trainers.steps.engine import StepOptions

H200 = DEVICES["H200"]
NVLINK, BETWEEN, CALL = 450e9, 50e9, 30e-6
"""Bytes/s each way in a node (900 GB/s both ways), bytes/s of 400 Gb/s, and seconds to begin a call."""
NODE = 8
SIZES = ((128, 1024, 128), (128, 2048, 128), (128, 1024, 192), (192, 1024, 128), (192, 2048, 192))
"""d, f and B of what is counted; B is about d, as in what is asked: the peak is one of several moments."""
PAGE = Path("docs/sharding.md")


@dataclass(frozen=True)
class Setting:
    """d, latents of the whole SAE, tokens per step, devices, and k."""

    width: int = 4096
    latents: int = 2**24
    batch: int = 4096
    devices: int = 64
    k: int = 64

    @property
    def here(self) -> int:
        """Latents on a device."""
        return self.latents // self.devices


def count_of(width: int, latents: int, batch: int, dead: bool) -> dict[str, float]:
    """One step of one SAE, all of whose latents are here; with `dead`, half of them are and AuxK runs.

    `flops` of products, bytes `moved` by all but products and selections, bytes `selected` from, and bytes
    held at the `peak`.
    """
    scaling = Scaling(1.0, 1.0, torch.zeros(width), torch.zeros(width))
    family = ShardedFamily(
        "f", TopK(dead_after=1.0), [Member("m", 8, 0, 1e-3)], shards=Shards(), d_in=width, d_out=width,
        dictionary_size=latents, scaling=scaling,
    )  # fmt: skip
    engine = ShardedEngine(family, StepOptions(Schedule(10), autocast=True))
    x = torch.randn(batch, width, generator=torch.Generator().manual_seed(0))
    engine.step(Batch(x, x), 0)
    if dead:
        family.state["idle"][:, ::2] = 1e9
    with Traffic() as traffic:
        engine.step(Batch(x, x), 1)
    passes = [o for o in traffic.operations if o.kind in ("pass", "optimiser")]
    return {
        "flops": sum(o.flops for o in traffic.operations),
        "moved": sum(o.read + o.written for o in passes),
        "selected": sum(o.read for o in traffic.operations if o.kind == "selection"),
        "peak": traffic.peak,
    }


def per_entry(dead: bool) -> dict[str, np.ndarray]:
    """How flops, bytes moved, selected and held grow with B·d·f, d·f, B·f and B·d; least squares."""
    counts = [count_of(*size, dead) for size in SIZES]
    shape = np.array([[d * f, b * f, b * d] for d, f, b in SIZES], dtype=float)
    found = {
        name: np.linalg.lstsq(shape, [c[name] for c in counts], rcond=None)[0]
        for name in ("moved", "selected", "peak")
    }
    d, f, b = SIZES[0]
    return found | {"flops": np.array([counts[0]["flops"] / (b * d * f)])}


def network(s: Setting, dead: bool, nics: int) -> dict[str, float]:
    """Seconds on NVLink and between nodes in one step, with so many 400 Gb/s links per node.

    The activations go from the process that harvested them to all; x̂ is summed in three stages (in each node,
    between nodes an eighth by each GPU, in each node); offers go to all.
    """
    nodes, x_hat = s.devices // NODE, 4 * s.batch * s.width
    inside, outside = x_hat / NVLINK, x_hat / (nics * BETWEEN)
    calls = 6 + 3 * dead  # x, x̂, offers, b_dec's gradient, its copy, the norm; AuxK: x̂, offers, any dead
    for k in (s.k, s.width // 2)[: 1 + dead]:
        offer = 4 * s.batch * max(-(-selection.SHARE * k // s.devices), selection.LEAST)
        inside += (NODE - 1) * nodes * offer / NVLINK + 2 * (NODE - 1) / NODE * x_hat / NVLINK
        outside += (nodes - 1) * NODE * offer / (nics * BETWEEN)
        outside += 2 * (nodes - 1) / nodes * x_hat / (nics * BETWEEN)
    return {"NVLink": inside, "between nodes": outside, "calls": calls * CALL}


def step(s: Setting, dead: bool, nics: int, grows: dict[str, np.ndarray]) -> dict[str, float]:
    """Seconds of each part of a step, and bytes at its peak."""
    shape = np.array([s.width * s.here, s.batch * s.here, s.batch * s.width], dtype=float)
    weights = 12 * (2 * s.width + 2) * s.here  # float32 weights and Adam's two moments
    return {
        "products": float(grows["flops"][0]) * s.batch * s.width * s.here / H200.half,
        "passes": float(grows["moved"] @ shape) / H200.bandwidth,
        "selection": SELECTION_PASSES * float(grows["selected"] @ shape) / H200.selection,
        **network(s, dead, nics),
        "bytes": weights + float(grows["peak"] @ shape),
    }


def fewest_latents(s: Setting, nics: int) -> float:
    """Latents on a device at which what goes between nodes takes as long as the products."""
    seconds = network(s, False, nics)["between nodes"]
    return seconds * H200.half / (10 * s.batch * s.width)


def main() -> None:
    """Count, price, print, write."""
    asked = arguments(__doc__, "the same").parse_args()
    torch.set_num_threads(1)
    s, rows, cells = Setting(), [], []
    for dead in (False, True):
        grows = per_entry(dead)
        for nics in (NODE, 1):
            found = step(s, dead, nics, grows)
            held = found.pop("bytes")
            seconds = sum(found.values())
            cells.append({
                "aux_k": dead, "links_per_node": nics, "gigabytes": held / 1e9, "seconds": seconds,
                "parts": found, "microseconds_per_token": 1e6 * seconds / s.batch,
                "fewest_latents": fewest_latents(s, nics),
                "grows": {k: v.tolist() for k, v in grows.items()},
            })  # fmt: skip
            rows.append(_row(cells[-1]))
    head = ("AuxK", "links", "GB", "ms", *cells[0]["parts"], "µs / token", "network", "fewest latents")
    table = tabulate(rows, head, disable_numparse=True, tablefmt="github")
    print(table)
    record = {
        **circumstances("torch", "sae-frontier"), "note": "counted and priced, not measured on a GPU",
        "setting": asdict(s), "cells": cells,
    }  # fmt: skip
    folder = folder_of(asked)
    write("sharded_model", record, folder)
    if folder == RESULTS:
        write_text(PAGE, between(PAGE.read_text(encoding="utf-8"), "model", table + "\n"))


def _row(cell: dict[str, Any]) -> list[str]:
    parts = cell["parts"]
    share = (parts["NVLink"] + parts["between nodes"] + parts["calls"]) / cell["seconds"]
    return [
        "on" if cell["aux_k"] else "off", f"{cell['links_per_node']} × 400 Gb/s", f"{cell['gigabytes']:.0f}",
        f"{1e3 * cell['seconds']:.0f}", *(f"{1e3 * v:.1f}" for v in parts.values()),
        f"{cell['microseconds_per_token']:.0f}", f"{share:.1%}", f"{cell['fewest_latents']:,.0f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
