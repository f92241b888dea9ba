"""A finished run evaluated: its SAEs, the held-out text, and the rows of the metrics table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from trainers import ranks
from trainers.activations import evaluation_windows
from trainers.config import RunConfig, read_config
from trainers.evaluate import Evaluation, evaluate
from trainers.language_models import LanguageModel, load_language_model
from trainers.run import RunError, chosen_device
from trainers.sae_files import SAEFileError, load_saes


def evaluate_run(
    folder: str | Path, *, model: LanguageModel | None = None, progress: bool = True
) -> pd.DataFrame:
    """Every metric of every SAE below `folder`, written there as `metrics.parquet` with its companions.

    Raises
    ------
    RunError
        If the folder holds no finished run.
    """
    folder = Path(folder)
    config = read_config(folder / "config.toml")
    try:
        saes = list(load_saes(folder / "saes"))
    except SAEFileError as error:
        raise RunError(
            f"{folder} has no trained SAEs yet ({error}); `sae-train resume {folder}` goes on"
        ) from error
    if model is None:
        device = chosen_device(config.model.device)
        model = load_language_model(config.model.name, device=device, dtype=config.model.dtype)
    part = folder / f".evaluation_{ranks.rank()}"
    mine = ranks.mine(saes)
    if mine:
        evaluated(mine, model, config, progress and ranks.is_first()).save(part)
    ranks.barrier()
    if ranks.is_first():
        parts = [folder / f".evaluation_{r}" for r in range(min(ranks.world_size(), len(saes)))]
        found = joined([Evaluation.load(p) for p in parts])
        found.save(folder)
        for done in parts:
            shutil.rmtree(done)
    ranks.barrier()
    return pd.read_parquet(folder / "metrics.parquet")


def joined(parts: list[Evaluation]) -> Evaluation:
    """Evaluations of different SAEs on the same text, as one; rows in the order of run_id."""
    table = pd.concat([p.table for p in parts]).sort_values("run_id", ignore_index=True)
    batches = pd.concat([p.batches for p in parts], ignore_index=True)
    frequencies = {k: v for p in parts for k, v in p.frequencies.items()}
    return Evaluation(table, batches, frequencies, parts[0].tokens)


def evaluated(saes: list, model: LanguageModel, config: RunConfig, progress: bool) -> Evaluation:
    """These SAEs on the held-out text of a configuration."""
    given = config.evaluation
    length = config.activations.context_length
    tokens, protocol = evaluation_windows(model, given.text, given.windows, length, progress=progress)
    return evaluate(
        [s.to(model.device) for s in saes], model, tokens, config.activations.site,
        config.activations.target_site, batch_size=given.batch_size, protocol=protocol, progress=progress,
    )  # fmt: skip
