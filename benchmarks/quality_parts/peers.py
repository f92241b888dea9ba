"""SAEs of another package, trained in its own environment on given rows; no line of ours is imported.

`python -m benchmarks.quality` starts it with a job as JSON: method, file of rows, folder, and cells. After
each cell it prints a line, once the SAEs and what they make of the first rows lie in the folder.

Warm-up and decay of learning rates and penalties, and the time after which a latent counts as dead, are the
shares of the run that ours are; everything else is the package's default. Rows have E‖x‖ = √d, as SAELens
wants them; for dictionary_learning they are divided by a constant so that E‖x‖² = 1, as its `trainSAE` does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from torch import Tensor

WARMUP, DECAY, SPARSITY_WARMUP, DEAD = 0.05, 0.2, 0.25, 0.1
GROUPS = [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
"""Of the latents, for Matryoshka: as ours."""
CHECKED = 512
"""Rows whose reconstruction is kept, so that ours can be held against it."""

torch.set_num_threads(1)


class Rows:
    """Rows in a file, in the order of training."""

    def __init__(self, path: str, batch: int, steps: int) -> None:
        self.array, self.batch, self.steps = np.load(path, mmap_mode="r"), batch, steps

    @property
    def width(self) -> int:
        return self.array.shape[1]

    def first(self, count: int) -> Tensor:
        return torch.from_numpy(self.array[:count].copy())

    def __iter__(self) -> Iterator[Tensor]:
        for step in range(self.steps):
            yield torch.from_numpy(self.array[step * self.batch : (step + 1) * self.batch].copy())


def dictionary_learning(cell: dict[str, Any], setting: float, rows: Rows, folder: Path) -> Any:
    """A trainer of dictionary_learning, run as `trainSAE` with normalised activations runs it."""
    from dictionary_learning.trainers import (
        batch_top_k,
        gdm,
        jumprelu,
        matryoshka_batch_top_k,
        standard,
        top_k,
    )
    from dictionary_learning.utils import load_dictionary

    name, size, steps = cell["architecture"], cell["expansion"] * rows.width, rows.steps
    norm = float(rows.first(100 * rows.batch).square().sum(1).mean().sqrt())
    kind, options = {
        "relu": (standard.StandardTrainerAprilUpdate, {"l1_penalty": setting / norm}),
        "gated": (gdm.GatedSAETrainer, {"l1_penalty": setting / norm}),
        "jumprelu": (jumprelu.JumpReluTrainer, {"target_l0": setting}),
        "topk": (top_k.TopKTrainer, {"k": int(setting)}),
        "batch_topk": (batch_top_k.BatchTopKTrainer, {"k": int(setting)}),
        "matryoshka": (
            matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer,
            {"k": int(setting), "group_fractions": GROUPS},
        ),
    }[name]
    if "k" in options:
        options["threshold_start_step"] = steps // 2  # else 1000 steps, which may be the whole run
    else:
        options["sparsity_warmup_steps"] = int(SPARSITY_WARMUP * steps)
    trainer = kind(
        steps=steps, activation_dim=rows.width, dict_size=size, layer=0, lm_name="none", device="cpu",
        lr=cell["rate"], seed=cell["seed"], warmup_steps=int(WARMUP * steps),
        decay_start=int((1 - DECAY) * steps), **options,
    )  # fmt: skip
    trainer.dead_feature_threshold = DEAD * steps * rows.batch  # else 10 million
    for step, x in enumerate(rows):
        trainer.update(step, x / norm)
    trainer.ae.scale_biases(norm)
    torch.save(trainer.ae.state_dict(), folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps({"trainer": trainer.config}))
    return load_dictionary(str(folder), "cpu")[0]


def sae_lens(cell: dict[str, Any], setting: float, rows: Rows, folder: Path) -> Any:
    """A training SAE of SAELens, stepped as its `SAETrainer.fit` steps it."""
    import sae_lens as sl
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    name, size, steps = cell["architecture"], cell["expansion"] * rows.width, rows.steps
    ramp = int(SPARSITY_WARMUP * steps)
    kind, options = {
        "relu": ("Standard", {"l1_coefficient": setting, "l1_warm_up_steps": ramp}),
        "gated": ("Gated", {"l1_coefficient": setting, "l1_warm_up_steps": ramp}),
        "jumprelu": ("JumpReLU", {"l0_coefficient": setting, "l0_warm_up_steps": ramp}),
        "topk": ("TopK", {"k": int(setting)}),
        "batch_topk": ("BatchTopK", {"k": setting}),
        "matryoshka": (
            "MatryoshkaBatchTopK",
            {"k": setting, "matryoshka_widths": [size // n for n in (16, 8, 4, 2, 1)]},
        ),
    }[name]
    torch.manual_seed(cell["seed"])
    config = getattr(sl, f"{kind}TrainingSAEConfig")(d_in=rows.width, d_sae=size, device="cpu", **options)
    sae = getattr(sl, f"{kind}TrainingSAE")(config)
    how = SAETrainerConfig(
        total_training_samples=steps * rows.batch, train_batch_size_samples=rows.batch, lr=cell["rate"],
        lr_end=cell["rate"] / 10, lr_warm_up_steps=int(WARMUP * steps), lr_decay_steps=int(DECAY * steps),
        dead_feature_window=int(DEAD * steps), device="cpu",
    )  # fmt: skip
    trainer = SAETrainer(how, sae, iter(()))
    for x in rows:
        trainer.maybe_reset_sparsity()
        trainer.step(x)
        trainer.n_training_steps += 1
    sae.save_inference_model(str(folder))
    return sl.SAE.load_from_disk(str(folder))


METHODS = {f.__name__: f for f in (dictionary_learning, sae_lens)}


def trained(job: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Train the cells of a job; what is known of each, its SAEs lie in its folder."""
    rows = Rows(job["rows"], job["batch"], job["steps"])
    for number, cell in enumerate(job["cells"]):
        start, folder = time.process_time(), Path(job["folder"]) / str(number)
        for setting in cell["settings"]:
            own = folder / f"{setting:g}"
            own.mkdir(parents=True)
            sae = METHODS[job["method"]](cell, setting, rows, own)
            with torch.no_grad():
                np.save(own / "reconstructed.npy", sae(rows.first(CHECKED)).numpy())
        yield {"number": number, "cpu_seconds": round(time.process_time() - start, 1)}


if __name__ == "__main__":
    for found in trained(json.loads(sys.argv[1])):
        print("CELL" + json.dumps(found), flush=True)
