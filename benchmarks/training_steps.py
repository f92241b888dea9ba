"""One method's steps on one shape, timed against the dense floor; run in the method's own environment.

`python -m benchmarks.training` and `training_gpu` start it. It imports each library where it is used, and
prints a JSON line per cell.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor

WARM, STEPS = 2, 9
ARCHITECTURES = ("relu", "gated", "jumprelu", "topk", "batch_topk", "matryoshka")

torch.set_num_threads(1)


@dataclass(frozen=True)
class Shape:
    """What is trained, and on what."""

    d: int
    F: int
    members: int = 1
    batch: int = 2048
    device: str = "cpu"
    autocast: bool = False
    """bfloat16 products."""


class Clock:
    """An endless stream of one batch that times what happens between two of them, and a floor beside it.

    CPU time of the process on the CPU; on a GPU wall time, the device waited for.
    """

    def __init__(self, x: Tensor, floor: Callable[[], None]) -> None:
        self.x, self.floor = x, floor
        self.steps: list[float] = []
        self.floors: list[float] = []

    def now(self) -> float:
        if self.x.is_cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            start = self.now()
            self.floor()
            middle = self.now()
            yield self.x
            self.floors.append(middle - start)
            self.steps.append(self.now() - middle)

    def result(self) -> dict[str, float]:
        steps, floors = self.steps[WARM:], self.floors[WARM:]
        return {
            "ms": round(1e3 * median(steps), 2),
            "floor_ms": round(1e3 * median(floors), 2),
            "ratio": round(median(a / b for a, b in zip(steps, floors, strict=True)), 3),
        }


def activations(shape: Shape) -> Tensor:
    """Sparse sums of random directions, mean norm sqrt(d), `[B, d]`."""
    random, d = torch.Generator().manual_seed(0), shape.d
    codes = torch.rand(shape.batch, 4 * d, generator=random)
    codes *= torch.rand(shape.batch, 4 * d, generator=random) < 0.05
    x = codes @ torch.randn(4 * d, d, generator=random)
    x -= x.mean(0)
    return (x * (d**0.5 / x.norm(dim=1).mean())).to(shape.device)


def dense_floor(x: Tensor, size: int, members: int) -> Callable[[], None]:
    """The five products of a dense step, for so many members, into blocks that are there already."""
    d, like = x.shape[1], {"device": x.device, "dtype": x.dtype}
    encoder, g = torch.randn(d, size, **like) / d**0.5, torch.randn_like(x)
    decoder = encoder.T.contiguous()
    f, d_f, x_hat = torch.empty(len(x), size, **like), torch.empty(len(x), size, **like), torch.empty_like(x)
    d_dec, d_enc = torch.empty(size, d, **like), torch.empty(d, size, **like)

    def floor() -> None:
        for _ in range(members):
            torch.mm(x, encoder, out=f)
            torch.mm(f, decoder, out=x_hat)
            torch.mm(f.T, g, out=d_dec)
            torch.mm(g, decoder.T, out=d_f)
            torch.mm(x.T, d_f, out=d_enc)

    return floor


# ------------------------------------------------------------------------------------------------ ours


def ours(name: str, density: float, shape: Shape, clock: Clock) -> dict[str, Any]:
    """A family on the engine of its device."""
    from trainers.activations import Batch, Scaling
    from trainers.architectures import architecture
    from trainers.family import Family, Member, Schedule
    from trainers.steps import engine_for
    from trainers.steps.engine import StepOptions

    mean, k = clock.x.mean(0).cpu(), max(1, round(density * shape.F))
    setting = k if "topk" in name or name == "matryoshka" else 1.0
    family = Family(
        name, architecture(name), [Member(f"{name}{m}", setting, m, 1e-12) for m in range(shape.members)],
        d_in=shape.d, d_out=shape.d, dictionary_size=shape.F, scaling=Scaling(1.0, 1.0, mean, mean),
        device=torch.device(shape.device),
    )  # fmt: skip
    for p in family.leaves:
        place(name, p, clock.x, density)
    engine = engine_for(family, StepOptions(Schedule(1000), autocast=shape.autocast))
    for step, x in enumerate(iter(clock)):
        engine.step(Batch(x, x), step)
        if step == WARM + STEPS:
            break
    logs = engine.step(Batch(clock.x, clock.x), 0, log=True)
    return {"density_found": round(sum(e.l0 for e in logs if e) / len(logs) / shape.F, 4)}


def place(name: str, p: dict[str, Tensor], x: Tensor, density: float) -> None:
    """Set biases or thresholds so that each latent fires on this share of the tokens."""
    with torch.no_grad():
        z = (x[:2048] - p["b_dec"]) @ p["W_enc"]
        limits = torch.cat([some.quantile(1 - density, dim=0) for some in z.split(4096, dim=1)])
        if name == "jumprelu":
            p["threshold"].copy_(limits)
        elif name in ("relu", "gated"):
            p["b_enc" if name == "relu" else "b_gate"].copy_(-limits)


# ---------------------------------------------------------------------------------------------- others


def dictionary_learning(name: str, density: float, shape: Shape, clock: Clock) -> dict[str, Any]:
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
        "trainer": kinds[name], "steps": 10_000, "activation_dim": shape.d, "dict_size": shape.F,
        "layer": 0, "lm_name": "none", "device": shape.device, "warmup_steps": 1000,
    }  # fmt: skip
    if name in ARCHITECTURES[3:]:
        config["k"] = max(1, round(density * shape.F))
    if name == "matryoshka":
        config["group_fractions"] = [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
    trainSAE(
        iter(clock), [config | {"seed": m} for m in range(shape.members)], WARM + STEPS + 1,
        device=shape.device, autocast_dtype=torch.bfloat16 if shape.autocast else torch.float32,
    )  # fmt: skip
    return {}


def sae_lens_saes(name: str, density: float, shape: Shape) -> list[Any]:
    """So many of SAELens' training SAEs."""
    import sae_lens as sl

    kind = {
        "relu": "Standard", "gated": "Gated", "jumprelu": "JumpReLU", "topk": "TopK",
        "batch_topk": "BatchTopK", "matryoshka": "MatryoshkaBatchTopK",
    }[name]  # fmt: skip
    more: dict[str, Any] = {"k": max(1, round(density * shape.F))} if name in ARCHITECTURES[3:] else {}
    if name == "matryoshka":
        more["matryoshka_widths"] = [shape.F // n for n in (16, 8, 4, 2, 1)]
    config = getattr(sl, f"{kind}TrainingSAEConfig")(d_in=shape.d, d_sae=shape.F, device=shape.device, **more)
    return [getattr(sl, f"{kind}TrainingSAE")(config) for _ in range(shape.members)]


def sae_lens_config(steps: int, shape: Shape) -> Any:
    """SAELens' training options, their defaults."""
    from sae_lens.config import SAETrainerConfig

    return SAETrainerConfig(
        total_training_samples=shape.batch * steps, train_batch_size_samples=shape.batch, lr_end=3e-5,
        device=shape.device, autocast=shape.autocast,
    )  # fmt: skip


def sae_lens(name: str, density: float, shape: Shape, clock: Clock) -> dict[str, Any]:
    """One SAETrainer per member, one after the other on the same batch."""
    from sae_lens.training.sae_trainer import SAETrainer

    saes = sae_lens_saes(name, density, shape)
    trainers = [SAETrainer(sae_lens_config(100, shape), sae, iter(())) for sae in saes]
    for step, x in enumerate(iter(clock)):
        for trainer in trainers:
            trainer.maybe_reset_sparsity()
            trainer.step(x)
            trainer.n_training_steps += 1
        if step == WARM + STEPS:
            break
    return {}


def sae_lens_multi(name: str, density: float, shape: Shape, clock: Clock) -> dict[str, Any]:
    """`MultiSAETrainer` with so many SAEs on one hook."""
    from sae_lens.training.multi_sae_trainer import MultiSAETrainer

    saes = {str(m): s for m, s in enumerate(sae_lens_saes(name, density, shape))}
    batches, config = ({"hook": x} for x in clock), sae_lens_config(WARM + STEPS + 1, shape)
    MultiSAETrainer(config, saes, dict.fromkeys(saes, "hook"), batches).fit()
    return {}


def sparsify(name: str, density: float, shape: Shape, clock: Clock) -> dict[str, Any]:
    """sparsify's TopK coder with fused Adam, as its trainer uses it; on a GPU always in bfloat16."""
    from sparsify import SparseCoder, SparseCoderConfig

    config = SparseCoderConfig(num_latents=shape.F, k=max(1, round(density * shape.F)))
    coders = [SparseCoder(shape.d, config, device=shape.device) for _ in range(shape.members)]
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


def worker(method: str, shape: Shape, cells: list[tuple[str, float]]) -> None:
    """Measure the cells of one shape by one method; one JSON line each."""
    x = activations(shape)
    floor = dense_floor(x.bfloat16() if shape.autocast else x, shape.F, shape.members)
    for name, density in cells:
        clock = Clock(x, floor)
        torch.manual_seed(0)
        cell = {"method": method, "architecture": name, "density": density, **asdict(shape)}
        if x.is_cuda:
            torch.cuda.reset_peak_memory_stats()
        try:
            cell |= METHODS[method](name, density, shape, clock)
            cell |= clock.result()
            if x.is_cuda:
                cell["gigabytes"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        except Exception as error:  # a library that fails in one cell must not end the others
            cell["failed"] = f"{type(error).__name__}: {error}"[:200]
        print("CELL" + json.dumps(cell), flush=True)


if __name__ == "__main__":
    which, given, wanted = json.loads(sys.argv[1])
    worker(which, Shape(**given), wanted)
