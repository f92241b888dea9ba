"""Weights & Biases, TensorBoard, Trackio: what a run logs there, under names that `frontier.read` knows."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pandas as pd

from frontier.readers.logged import EVALUATION, TRAINING, facts_and_numbers, facts_name, metric_name
from frontier.writing import write_text
from trainers import ranks
from trainers.run import Run, RunError
from trainers.steps.engine import MemberLog

PROJECT = "sae-frontier"
SESSION = "session.txt"
"""File of a run's folder with the id under which it logs, so that what comes later joins it."""

Values = Mapping[str, float | str]


class Logger(Protocol):
    """Takes numbers and texts by name at a step."""

    def log(self, values: Values, step: int) -> None:
        """Write them."""

    def close(self) -> None:
        """Write what is left."""


def open_logger(name: str, folder: Path) -> Logger | None:
    """The logger that a configuration names, in the first process; None where none is asked for.

    Raises
    ------
    RunError
        If it is not installed.
    """
    if name == "none" or not ranks.is_first():
        return None
    try:
        return LOGGERS[name](folder)
    except ImportError as error:
        raise RunError(
            f"training.logger is {name}, which is not installed: pip install 'sae-frontier[{name}]'"
        ) from error


def log_step(logger: Logger, run: Run, step: int, logs: Mapping[str, MemberLog]) -> None:
    """Every member on one batch: loss, L0, FVU, norm of the gradient, and its learning rate at that step."""
    values: dict[str, float | str] = {}
    for family, engine in zip(run.families, run.engines, strict=True):
        share = engine.options.schedule.learning_rate(step - 1)
        for member in family.members:
            if member.run_id in logs:
                now = logs[member.run_id]._asdict() | {"learning_rate": share * member.learning_rate}
                values |= {metric_name(TRAINING, member.run_id, k): float(v) for k, v in now.items()}
    logger.log(values, step)


def log_members(logger: Logger, run: Run) -> None:
    """What every member is: once, before its numbers."""
    known = [f.identity_of(m) for f in run.families for m in range(len(f.members))]
    rows = pd.DataFrame(known, dtype=object)  # numbers too are facts here
    facts, _ = facts_and_numbers(rows.drop(columns=["input_scale", "target_scale"], errors="ignore"))
    logger.log({facts_name(TRAINING, run_id): said for run_id, said in facts.items()}, run.step)


def log_evaluation(name: str, folder: Path, table: pd.DataFrame, step: int) -> None:
    """The metrics table of a run: every number of it, and what else a row says as one text."""
    logger = open_logger(name, folder)
    if logger is None:
        return
    facts, numbers = facts_and_numbers(table)
    values: dict[str, float | str] = {facts_name(EVALUATION, run_id): said for run_id, said in facts.items()}
    for run_id, row in numbers.items():
        values |= {metric_name(EVALUATION, run_id, column): value for column, value in row.items()}
    try:
        logger.log(values, step)
    finally:
        logger.close()


def session_of(folder: Path) -> str:
    """The id under which this run logs."""
    path = folder / SESSION
    if not path.is_file():
        write_text(path, uuid4().hex[:8] + "\n")
    return path.read_text(encoding="utf-8").strip()


class TensorBoard:
    """An event file in `tensorboard/`, numbers as doubles."""

    def __init__(self, folder: Path) -> None:
        self.writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(
            str(folder / "tensorboard")
        )

    def log(self, values: Values, step: int) -> None:
        """Write them."""
        for name, value in values.items():
            if isinstance(value, str):
                self.writer.add_text(name, value, step)
            else:
                self.writer.add_scalar(name, value, step, new_style=True, double_precision=True)
        self.writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


class WeightsAndBiases:
    """A run of the project sae-frontier; its files are in `wandb/`. Online or not is W&B's WANDB_MODE."""

    def __init__(self, folder: Path) -> None:
        wandb = importlib.import_module("wandb")
        quiet = wandb.Settings(  # no name of the machine, no picture of it, nothing of the console
            console="off", disable_git=True, save_code=False, silent=True, host="-", x_disable_meta=True,
            x_disable_machine_info=True, x_disable_stats=True,
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        session = session_of(folder)
        while list(folder.glob(f"wandb/*run-{time.strftime('%Y%m%d_%H%M%S')}-{session}")):
            time.sleep(0.1)  # two sessions of one second would have one folder
        self.session = wandb.init(
            project=PROJECT, dir=str(folder), id=session, name=folder.resolve().name,
            resume="allow", settings=quiet,
        )  # fmt: skip

    def log(self, values: Values, step: int) -> None:
        """Write them."""
        self.session.log(dict(values), step=step)

    def close(self) -> None:
        """Write what is left."""
        self.session.finish()


class Trackio:
    """A run of Trackio's project sae-frontier, where Trackio keeps them (TRACKIO_DIR)."""

    def __init__(self, folder: Path) -> None:
        trackio = importlib.import_module("trackio")
        name = f"{folder.resolve().name}-{session_of(folder)}"
        self.session = trackio.init(
            PROJECT, name=name, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )
        self.session.config["_Username"] = None  # it would be written beside the numbers

    def log(self, values: Values, step: int) -> None:
        """Write them."""
        self.session.log(dict(values), step=step)

    def close(self) -> None:
        """Write what is left."""
        self.session.finish()


LOGGERS: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases, "trackio": Trackio}
