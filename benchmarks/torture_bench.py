"""A finished run, and copies of it to spoil: what `benchmarks.torture` works on."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from frontier.writing import DRAFT
from trainers import load_saes
from trainers.config import RunConfig, checked, write_config
from trainers.train import train

SEED = 20261129


def small() -> RunConfig:
    """Three SAEs, 40 steps, seven checkpoints: about a second after the imports."""
    sizes = {"steps": 40, "batch_size": 256, "dictionary_size": 64, "checkpoint_every": 6, "threads": 1}
    return checked(
        {
            "activations": {"tokens": 6000, "buffer_tokens": 4096},
            "training": sizes,
            "evaluation": {"windows": 8, "batch_size": 2},
            "families": [
                {"architecture": "relu", "settings": [1.0, 4.0]},
                {"architecture": "topk", "settings": [4]},
            ],
        }
    )


class Bench:
    """A finished run, and copies of it to spoil.

    Attributes
    ----------
    seconds : float
        How long the command takes for it, imports included.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.draw, self.count = place, random.Random(SEED), 0
        self.config = place / "c.toml"
        write_config(small(), self.config)
        start = time.monotonic()
        if ended(self.command("run", self.config, "--out", self.run)):
            raise SystemExit("the run itself failed")
        self.seconds = time.monotonic() - start
        self.weights = weights(self.run)

    @property
    def run(self) -> Path:
        """The finished run."""
        return self.place / "run"

    def fresh(self) -> Path:
        """A new folder's name."""
        self.count += 1
        return self.place / f"try{self.count}"

    def copy(self) -> Path:
        """A copy of the finished run."""
        return shutil.copytree(self.run, self.fresh())

    def command(self, *words: Any, limit: int = 0) -> subprocess.Popen[str]:
        """The command in a process of its own; with a limit on the size of files."""
        import resource

        def limited() -> None:
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.Popen(
            [sys.executable, "-m", "trainers", *map(str, words), "--quiet"], text=True, preexec_fn=limited,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def goes_on(self, folder: Path) -> bool:
        """Whether `resume`, or `run` where nothing had begun, ends with the same bits."""
        begun = (folder / "config.toml").exists()
        words = ("resume", folder) if begun else ("run", self.config, "--out", folder)
        return ended(self.command(*words)) == 0 and self.is_whole(folder)

    def trained_on(self, folder: Path) -> bool:
        """The same within this process."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            train(small(), folder, progress=False, resume=True)
        return self.is_whole(folder)

    def is_whole(self, folder: Path) -> bool:
        """Whether a folder has the finished run's weights, and no drafts."""
        found = weights(folder)
        same = found.keys() == self.weights.keys() and all(
            torch.equal(value, found[run][name])
            for run, own in self.weights.items()
            for name, value in own.items()
        )
        return same and not list(folder.rglob(f"{DRAFT}*"))

    def spoilt(self, file: Path, truncate: bool = False) -> None:
        """Flip one bit of a file, or cut it short."""
        data = bytearray(file.read_bytes())
        if truncate:
            data = data[: self.draw.randrange(len(data))]
        else:
            data[self.draw.randrange(len(data))] ^= 1 << self.draw.randrange(8)
        file.write_bytes(data)


def ended(process: subprocess.Popen[str]) -> int:
    """Wait for a command; its exit code."""
    process.communicate()
    return process.returncode


def weights(folder: Path) -> dict[str, Any]:
    """Every SAE's parameters, by run_id."""
    return {s.identity["run_id"]: s.parameters for s in load_saes(folder / "saes")}


def refused(read: Callable[[], Any], *errors: type[Exception]) -> bool:
    """Whether a reader refuses in one of its own words."""
    try:
        read()
    except errors:
        return True
    return False
