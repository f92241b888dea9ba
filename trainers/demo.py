"""The demonstration: families trained on the shipped model, measured, compared; then the published tables."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from rich.console import Console

from frontier import compare, read, terminal
from frontier import demo as published
from frontier.outputs import write_comparison
from trainers import recipes
from trainers.evaluate.runs import evaluate_run
from trainers.head_to_head import versus
from trainers.run import RunError
from trainers.train import train

REFERENCE, CANDIDATE = "relu", "topk"


def run(out: Path, console: Console, *, fast: bool = False, progress: bool = True) -> list[Path]:
    """Train, measure, compare; a head to head; then the published tables. Return the files in `out`."""
    config = recipes.demo(fast)
    start = time.monotonic()
    folder, second = out / "run", out / "versus"
    _cleared(folder, "config.toml", "run")
    _cleared(second, "versus.json", "head to head")
    published.say(
        console,
        "SAE families trained here, on the shipped language model",
        f"{len(config.families)} architectures × {len(config.families[0].settings or ())} sparsity settings "
        f"at {config.activations.site} of a byte-level GPT-2 trained on Python's standard library; "
        f"{config.training.steps} steps of {config.training.batch_size} activations, all on one stream.",
    )
    trained = train(config, folder, progress=progress)
    trained.release()
    middle = time.monotonic()
    evaluate_run(folder, model=trained.model, progress=progress)
    end = time.monotonic()
    table = read(folder / "metrics.parquet")
    found = compare(table, REFERENCE)
    terminal.show_result(found, all_with=f"{out}/comparison_trained.json")
    console.print(
        f"\nTrained in {middle - start:.0f} s, evaluated on {config.evaluation.windows} held-out windows in "
        f"{end - middle:.0f} s.",
        markup=False,
    )
    files = [folder / "metrics.parquet", *write_comparison(found, out, "_trained", table)]
    return [
        *files,
        *_head_to_head(second, console, progress),
        *published.run(out / "published", console),
    ]


def _cleared(folder: Path, mark: str, what: str) -> None:
    """Take away what the last demonstration left, and nothing else."""
    if folder.exists() and not (folder / mark).exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is in the way and holds no {what}; name another --out")
    shutil.rmtree(folder, ignore_errors=True)


def _head_to_head(folder: Path, console: Console, progress: bool) -> list[Path]:
    """Tune two architectures alike and train until it is decided which is better: half a minute."""
    small = recipes.demo(fast=True)
    changes = (
        f"activations.tokens={small.activations.tokens}", f"training.steps={small.training.steps}",
        f"training.dictionary_size={small.training.dictionary_size}",
        f"evaluation.windows={small.evaluation.windows}",
    )  # fmt: skip
    published.say(
        console,
        f"Is that fair? {CANDIDATE} against {REFERENCE}, tuned alike",
        "Above, every architecture had its default learning rate. Here both are tuned with as many pilots "
        f"and SAEs are trained until the pair is decided ({small.training.steps} steps, "
        f"{small.training.dictionary_size} latents): `sae-train versus`.",
    )
    found = versus(CANDIDATE, [REFERENCE], saes=16, out=folder, changes=changes, progress=progress)
    terminal.show_result(found, all_with=f"{folder}/result.md")
    console.print()
    terminal.show_result(found.fairness, verbose=True)
    return [folder / name for name in ("metrics.parquet", "report.html", "result.json", "result.md")]
