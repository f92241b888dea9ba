"""What a run says while it trains: a progress display, JSON lines, and other loggers where asked for."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Literal

import torch
from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from frontier.writing import naming, write_json
from trainers import ranks
from trainers.config_sizes import sizes_in_words
from trainers.log_lines import forget_after, heading, log_table, shown
from trainers.loggers import log_members, log_step, open_logger
from trainers.origin import record_of
from trainers.run import Run
from trainers.steps.engine import MemberLog


class RunLog:
    """Open for the time of a run: `write` after each step."""

    def __init__(self, run: Run, folder: Path, progress: bool | Literal["bar"], first: str = "") -> None:
        self.run, self.folder, self.progress = run, folder, bool(progress) and ranks.is_first()
        self.first_lines: list[str] = []
        if progress is True:
            self.first_lines += sizes_in_words(run.families, run.stream.widths) + [first] * bool(first)
        self.known_diverged: set[str] = set()
        self.console = Console(stderr=True)

    def __enter__(self) -> RunLog:
        suffix = "" if ranks.world_size() == 1 else f".{ranks.rank()}"
        path = self.folder / f"log{suffix}.jsonl"
        with naming(path):
            forget_after(path, self.run.step)
            self.file: IO[str] = path.open("a", encoding="utf-8")
        self.other = open_logger(self.run.config.training.logger, self.folder)
        if self.other:
            log_members(self.other, self.run)
        if self.progress:
            for line in self.first_lines:
                self.console.print(line, markup=False, highlight=False)
        self.bar = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
            TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[speed]}"),
        )  # fmt: skip
        self.task = self.bar.add_task(
            "", total=self.run.config.training.steps, completed=self.run.step, speed=""
        )
        self.live = Live(self.bar, console=self.console, refresh_per_second=4, transient=True)
        if self.progress and self.console.is_terminal:
            self.live.start()
        self.start, self.first = time.monotonic(), self.run.step
        return self

    def write(self, step: int, logs: dict[str, MemberLog] | None) -> None:
        """Move the bar; where a log is due, write a line and show every member."""
        if logs is None:
            self.bar.update(self.task, completed=step)
            return
        passed = max(time.monotonic() - self.start, 1e-9)
        speed = (step - self.first) * self.run.config.training.batch_size / passed
        self.bar.update(self.task, completed=step, speed=f"{speed:,.0f} tokens/s")
        self.live.update(Group(self.bar, member_table(step, logs)))
        line = {
            "step": step, "tokens": self.run.tokens, "tokens_per_second": round(speed, 1),
            "members": {k: v._asdict() for k, v in logs.items()},
        }  # fmt: skip
        new = {k: v for k, v in self.run.told().items() if k not in self.known_diverged}
        for run_id, when in new.items():
            self.known_diverged.add(run_id)
            self.console.print(
                f"{run_id} diverged at step {when + 1} (its loss or gradient is not finite): stopped and "
                f"left out; "
                "the others go on",
                style="red", markup=False,
            )  # fmt: skip
        if new:
            line["diverged"] = new
        with naming(Path(self.file.name), "the checkpoints are intact"):
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
        if self.other:
            log_step(self.other, self.run, step, logs)

    def __exit__(self, *_: object) -> None:
        if self.live.is_started:
            self.live.stop()
        if self.other:
            self.other.close()
        with suppress(OSError):  # of a full disk, which has been said
            self.file.close()


def member_table(step: int, logs: dict[str, MemberLog]) -> Group:
    """L0 and FVU of every member on the batch of a step."""
    table = log_table()
    for run_id, entry in logs.items():
        table.add_row(run_id, *shown(entry._asdict()))
    return Group(heading(step), table)


installed = cache(version)
"""The version of a package, its metadata read once."""


def environment(path: Path, run: Run, held_out: Mapping[str, Any]) -> None:
    """What the run ran in: versions, machine, data."""
    names = ("torch", "transformers", "safetensors", "numpy", "pandas", "sae-frontier")
    device = run.model.device
    about = {
        "python": sys.version.split()[0], "platform": platform.platform(), "processes": ranks.world_size(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "packages": {n: installed(n) for n in names},
        "activations": run.stream.description,
        "model": record_of(run.model), "held_out": held_out,
    }  # fmt: skip
    write_json(path, about, indent=2, default=str)
