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
from trainers.run import RunError
from trainers.train import train

REFERENCE = "relu"


def run(out: Path, console: Console, *, fast: bool = False, progress: bool = True) -> list[Path]:
    """Train, evaluate, compare with ReLU, write tables and figures to `out`; return the files."""
    config = recipes.demo(fast)
    start = time.monotonic()
    folder = out / "run"
    if folder.exists() and not (folder / "config.toml").exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is in the way and holds no run; name another --out")
    shutil.rmtree(folder, ignore_errors=True)
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
    return files + published.run(out / "published", console)
