"""SAEs of a run at named steps (`keep_at`): a folder of each step below `kept/`, beside the finished ones.

A row of such an SAE has its step in its `run_id`, the finished SAE as its `parent`, and its own
`steps_trained` and `tokens_trained`; a metrics table sets it aside as a checkpoint unless `checkpoints="all"`
asks for it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import pandas as pd

from frontier.wording import listed
from frontier.writing import file_name
from trainers.config import RunConfig
from trainers.sae import SAE
from trainers.sae_files import run_id_of, sae_folders, save_sae

KEPT = "kept"


def place(folder: Path, step: int) -> Path:
    """Where the SAEs of a step are, each in a folder of its own."""
    return folder / KEPT / f"step_{step}"


def ending(step: int) -> str:
    """What the names of the SAEs of a step end with."""
    return f"_step{step}"


def ending_in(folder: Path) -> str:
    """The same in the folder of a step; nothing in any other."""
    found = re.fullmatch(r"step_([0-9]+)", folder.name) if folder.parent.name == KEPT else None
    return ending(int(found[1])) if found else ""


def is_due(config: RunConfig, step: int) -> bool:
    """Whether SAEs are kept after a step; those of the last one are the finished ones."""
    return step in config.training.keep_at and step < config.training.steps


def keep(saes: Iterable[SAE], folder: Path, step: int) -> None:
    """Write the SAEs as they are after a step; a run that comes here again writes the same."""
    for sae in saes:
        parent = sae.identity["run_id"]
        named = sae.identity | {"run_id": parent + ending(step), "parent": parent}
        save_sae(
            SAE(sae.architecture, sae.parameters, named), place(folder, step) / file_name(named["run_id"])
        )


def kept_folders(folder: Path, config: RunConfig, finished: Collection[str]) -> Iterator[Path]:
    """Where the SAEs kept of members that finished are; what a member was before it diverged is no result."""
    for step in sorted({*config.training.keep_at}):
        if is_due(config, step) and place(folder, step).is_dir():
            names = {name + ending(step) for name in finished}
            yield from (p for p in sae_folders(place(folder, step)) if run_id_of(p) in names)


def say_missed(folder: Path, config: RunConfig, step: int) -> None:
    """A word on steps that were named when the run had passed them."""
    missed = [s for s in config.training.keep_at if s <= step and is_due(config, s)]
    missed = [s for s in sorted({*missed}) if not place(folder, s).is_dir()]
    if missed:
        warnings.warn(
            f"training.keep_at: the run is at step {step} and kept nothing at {listed(missed)}; to have "
            "those SAEs, train anew in another folder",
            stacklevel=3,
        )


def finished_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a run's metrics table that are no SAE on its way."""
    if "steps_trained" not in table:
        return table
    return table[table["steps_trained"].isna() | (table["steps_trained"] == table["steps_trained"].max())]
