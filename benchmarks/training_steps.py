"""One method's steps on one shape, timed against the dense floor; run in the method's own environment.

`python -m benchmarks.training` starts it. It imports each library where it is used, and prints a JSON
line per cell.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor

BATCH, WARM, STEPS = 2048, 2, 9
ARCHITECTURES = ("relu", "gated", "jumprelu", "topk", "batch_topk", "matryoshka")

torch.set_num_threads(1)


class Clock:
    """An endless stream of one batch that times what happens between two of them, and a floor beside it."""

    def __init__(self, x: Tensor, floor: Callable[[], None]) -> None:
        self.x, self.floor = x, floor
        self.steps: list[float] = []
        self.floors: list[float] = []

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            start = time.process_time()
            self.floor()
            middle = time.process_time()
            yield self.x
            self.floors.append(middle - start)
            self.steps.append(time.process_time() - middle)

    def result(self) -> dict[str, float]:
        steps, floors = self.steps[WARM:], self.floors[WARM:]
        return {
            "ms": round(1e3 * median(steps), 2),
            "floor_ms": round(1e3 * median(floors), 2),
            "ratio": round(median(a / b for a, b in zip(steps, floors, strict=True)), 3),
        }


def activations(d: int) -> Tensor:
    """Sparse sums of random directions, mean norm sqrt(d), `[BATCH, d]`."""
    random = torch.Generator().manual_seed(0)
    codes = (torch.rand(BATCH, 4 * d, generator=random) < 0.05) * torch.rand(BATCH, 4 * d, generator=random)
    x = codes @ torch.randn(4 * d, d, generator=random)
    x -= x.mean(0)
    return x * (d**0.5 / x.norm(dim=1).mean())


def dense_floor(x: Tensor, size: int, members: int) -> Callable[[], None]:
    """The five products of a dense step, for so many members, into blocks that are there already."""
    d = x.shape[1]
    encoder, g = torch.randn(d, size) / d**0.5, torch.randn_like(x)
    decoder = encoder.T.contiguous()
    f, d_f, x_hat = torch.empty(len(x), size), torch.empty(len(x), size), torch.empty_like(x)
    d_dec, d_enc = torch.empty(size, d), torch.empty(d, size)

    def floor() -> None:
        for _ in range(members):
            torch.mm(x, encoder, out=f)
            torch.mm(f, decoder, out=x_hat)
            torch.mm(f.T, g, out=d_dec)
            torch.mm(g, decoder.T, out=d_f)
            torch.mm(x.T, d_f, out=d_enc)

    return floor


# ------------------------------------------------------------------------------------------------ ours


def ours(name: str, density: float, size: int, members: int, clock: Clock) -> dict[str, Any]:
    """A family on the CPU engine."""
    from trainers.activations import Batch, Scaling
    from trainers.architectures import architecture
    from trainers.family import Family, Member, Schedule
    from trainers.steps import LoopEngine
    from trainers.steps.engine import StepOptions

    d, mean = clock.x.shape[1], clock.x.mean(0)
    setting = max(1, round(density * size)) if "topk" in name or name == "matryoshka" else 1.0
    family = Family(
        name, architecture(name), [Member(f"{name}{m}", setting, m, 1e-12) for m in range(members)], d_in=d,
        d_out=d, dictionary_size=size, scaling=Scaling(1.0, 1.0, mean, mean),
    )  # fmt: skip
    for p in family.leaves:
        place(name, p, clock.x, density)
    engine = LoopEngine(family, StepOptions(Schedule(1000)))
    for step, x in enumerate(iter(clock)):
        engine.step(Batch(x, x), step)
        if step == WARM + STEPS:
            break
    logs = engine.step(Batch(clock.x, clock.x), 0, log=True)
    return {"density_found": round(sum(e.l0 for e in logs if e) / len(logs) / size, 4)}


def place(name: str, p: dict[str, Tensor], x: Tensor, density: float) -> None:
    """Set biases or thresholds so that each latent fires on this share of the tokens."""
    with torch.no_grad():
        limits = ((x - p["b_dec"]) @ p["W_enc"]).quantile(1 - density, dim=0)
        if name == "jumprelu":
            p["threshold"].copy_(limits)
        elif name in ("relu", "gated"):
            p["b_enc" if name == "relu" else "b_gate"].copy_(-limits)


# ---------------------------------------------------------------------------------------------- others


def dictionary_learning(name: str, density: float, size: int, members: int, clock: Clock) -> dict[str, Any]:
    """`trainSAE` with so many trainers."""
    from dictionary_learning.trainers import (
        batch_top_k,
        gdm,
        jumprelu,
        matryoshka_batch_top_k,
        standard,
        top_k,
    )
    from dictionary_learning.training import trainSAE

    kinds = {
        "relu": standard.StandardTrainerAprilUpdate, "gated": gdm.GatedSAETrainer,
        "jumprelu": jumprelu.JumpReluTrainer, "topk": top_k.TopKTrainer,
        "batch_topk": batch_top_k.BatchTopKTrainer,
        "matryoshka": matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer,
    }  # fmt: skip
    # A long schedule: they assert that their warm-ups end within the run.
    config: dict[str, Any] = {
        "trainer": kinds[name], "steps": 10_000, "activation_dim": clock.x.shape[1], "dict_size": size,
        "layer": 0, "lm_name": "none", "device": "cpu", "warmup_steps": 1000,
    }  # fmt: skip
    if name in ARCHITECTURES[3:]:
        config["k"] = max(1, round(density * size))
    if name == "matryoshka":
        config["group_fractions"] = [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
    trainSAE(iter(clock), [config | {"seed": m} for m in range(members)], WARM + STEPS + 1, device="cpu")
    return {}


def sae_lens_saes(name: str, density: float, size: int, members: int, d: int) -> list[Any]:
    """So many of SAELens' training SAEs."""
    import sae_lens as sl

    kind = {
        "relu": "Standard", "gated": "Gated", "jumprelu": "JumpReLU", "topk": "TopK",
        "batch_topk": "BatchTopK", "matryoshka": "MatryoshkaBatchTopK",
    }[name]  # fmt: skip
    more: dict[str, Any] = {"k": max(1, round(density * size))} if name in ARCHITECTURES[3:] else {}
    if name == "matryoshka":
        more["matryoshka_widths"] = [size // 16, size // 8, size // 4, size // 2, size]
    config = getattr(sl, f"{kind}TrainingSAEConfig")(d_in=d, d_sae=size, device="cpu", **more)
    return [getattr(sl, f"{kind}TrainingSAE")(config) for _ in range(members)]


def sae_lens_config(steps: int) -> Any:
    """SAELens' training options, their defaults."""
    from sae_lens.config import SAETrainerConfig

    return SAETrainerConfig(total_training_samples=BATCH * steps, train_batch_size_samples=BATCH, lr_end=3e-5)


def sae_lens(name: str, density: float, size: int, members: int, clock: Clock) -> dict[str, Any]:
    """One SAETrainer per member, one after the other on the same batch."""
    from sae_lens.training.sae_trainer import SAETrainer

    saes = sae_lens_saes(name, density, size, members, clock.x.shape[1])
    trainers = [SAETrainer(sae_lens_config(100), sae, iter(())) for sae in saes]
    for step, x in enumerate(iter(clock)):
        for trainer in trainers:
            trainer.maybe_reset_sparsity()
            trainer.step(x)
            trainer.n_training_steps += 1
        if step == WARM + STEPS:
            break
    return {}


def sae_lens_multi(name: str, density: float, size: int, members: int, clock: Clock) -> dict[str, Any]:
    """`MultiSAETrainer` with so many SAEs on one hook."""
    from sae_lens.training.multi_sae_trainer import MultiSAETrainer

    saes = {str(m): s for m, s in enumerate(sae_lens_saes(name, density, size, members, clock.x.shape[1]))}
    batches = ({"hook": x} for x in clock)
    MultiSAETrainer(sae_lens_config(WARM + STEPS + 1), saes, dict.fromkeys(saes, "hook"), batches).fit()
    return {}


def sparsify(name: str, density: float, size: int, members: int, clock: Clock) -> dict[str, Any]:
    """sparsify's TopK coder with fused Adam, as its trainer uses it."""
    from sparsify import SparseCoder, SparseCoderConfig

    k = max(1, round(density * size))
    coders = [SparseCoder(clock.x.shape[1], SparseCoderConfig(num_latents=size, k=k)) for _ in range(members)]
    optimizers = [torch.optim.Adam(c.parameters(), fused=True) for c in coders]
    for step, x in enumerate(iter(clock)):
        for coder, optimizer in zip(coders, optimizers, strict=True):
            coder.set_decoder_norm_to_unit_norm()
            coder(x).fvu.backward()
            coder.remove_gradient_parallel_to_decoder_directions()
            optimizer.step()
            optimizer.zero_grad()
        if step == WARM + STEPS:
            break
    return {}


METHODS = {f.__name__: f for f in (ours, dictionary_learning, sae_lens, sae_lens_multi, sparsify)}


def worker(method: str, d: int, size: int, members: int, cells: list[tuple[str, float]]) -> None:
    """Measure the cells of one shape by one method; one JSON line each."""
    x = activations(d)
    floor = dense_floor(x, size, members)
    for name, density in cells:
        clock = Clock(x, floor)
        torch.manual_seed(0)
        cell = {
            "method": method,
            "architecture": name,
            "density": density,
            "d": d,
            "F": size,
            "members": members,
        }
        try:
            cell |= METHODS[method](name, density, size, members, clock)
            cell |= clock.result()
        except Exception as error:  # a library that fails in one cell must not end the others
            cell["failed"] = f"{type(error).__name__}: {error}"[:200]
        print("CELL" + json.dumps(cell), flush=True)


if __name__ == "__main__":
    worker(*json.loads(sys.argv[1]))
