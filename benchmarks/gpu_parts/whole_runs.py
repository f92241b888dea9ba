"""A run from end to end on a language model of Pythia-70M's shape: harvest, steps, evaluation, memory."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from trainers.config import RunConfig, checked
from trainers.evaluate.runs import evaluate_run
from trainers.language_models.loading import SHIPPED_FOLDERS
from trainers.needs import needs_of
from trainers.run import build_run
from trainers.train import train


def language_model(folder: Path, small: bool) -> str:
    """A GPT-NeoX of random weights with the shipped tokenizer, as a folder."""
    import shutil

    from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

    shipped = next(f for f in SHIPPED_FOLDERS if (f / "config.json").is_file())
    width, layers = (64, 2) if small else (512, 6)
    vocabulary = len(AutoTokenizer.from_pretrained(shipped))
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers, num_attention_heads=8,
        intermediate_size=4 * width, max_position_embeddings=128,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    for path in shipped.glob("*token*"):
        shutil.copy(path, folder)
    return str(folder)


def config_of(model: str, device: torch.device, small: bool) -> RunConfig:
    """8 TopK and 8 ReLU SAEs on the middle of that model."""
    size, steps, batch = (128, 6, 256) if small else (4096, 300, 4096)
    return checked(
        {
            "model": {"name": model, "device": str(device)},
            "activations": {"site": "resid_post.1", "tokens": 8_000 if small else 400_000},
            "training": {
                "steps": steps, "batch_size": batch, "dictionary_size": size, "checkpoint_every": steps,
                "engine": "stacked",
            },
            "evaluation": {"windows": 16 if small else 128, "batch_size": 8},
            "families": [
                {"architecture": "topk", "settings": [1, 2, 4, 8, 12, 16, 24, 32]},
                {"architecture": "relu", "settings": [0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0]},
            ],
        }
    )  # fmt: skip


def from_end_to_end(device: torch.device, small: bool) -> dict[str, Any]:
    """Seconds of a run against those of its steps alone, and memory against what was said."""
    with tempfile.TemporaryDirectory() as place:
        config = config_of(language_model(Path(place) / "model", small), device, small)
        run = build_run(config, progress=False)
        needs = needs_of(run.families, run.engines, run.model, run.stream)
        alone = steps_alone(run, device)
        if device.type == "cuda":
            run.release()
            torch.cuda.reset_peak_memory_stats(device)
        start = time.perf_counter()
        trained = train(config, Path(place) / "run", progress=False)
        whole = time.perf_counter() - start
        trained.release()
        peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        start = time.perf_counter()
        evaluate_run(Path(place) / "run", model=trained.model, progress=False)
        return {
            "seconds": round(whole, 3), "steps_alone": round(alone, 3), "ratio": round(whole / alone, 3),
            "aim": 1.3, "evaluation_seconds": round(time.perf_counter() - start, 3),
            "needs_bytes": sum(needs.training.values()), "peak_bytes": peak,
        }  # fmt: skip


def read_ahead(device: torch.device, small: bool) -> dict[str, Any]:
    """Weights that differ in a bit when buffers are read meanwhile, recorded steps among them; seconds."""
    found, seconds = [], []
    with tempfile.TemporaryDirectory() as place:
        config = config_of(language_model(Path(place) / "model", small), device, small)
        rows = {"buffer_tokens": 2_000 if small else 65_536}
        config = config.model_copy(update={"activations": config.activations.model_copy(update=rows)})
        for ahead in (False, True):
            run = build_run(config, progress=False)
            run.stream.ahead.on = ahead
            start = time.perf_counter()
            for step in range(config.training.steps):
                batch = next(run.stream)
                for engine in run.engines:
                    engine.step(batch, step)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - start)
            found.append({k: v.cpu() for f in run.families for k, v in f.tensors().items()})
            run.release()
    differ = [k for k, v in found[0].items() if not torch.equal(v, found[1][k])]
    without, ahead = (round(s, 3) for s in seconds)
    return {"differ": differ, "right": not differ, "without_seconds": without, "ahead_seconds": ahead}


def steps_alone(run: Any, device: torch.device) -> float:
    """Seconds of the run's steps on one batch that is there, from the time of a tenth of them."""
    batch, count = next(run.stream), max(5, run.config.training.steps // 10)

    def some(first: int) -> float:
        start = time.perf_counter()
        for step in range(first, first + count):
            for engine in run.engines:
                engine.step(batch, step)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    some(0)
    return some(count) / count * run.config.training.steps
