"""Folders of `sae-train`: files in them that hold no SAEs by design, and runs that are not evaluated yet."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from functools import cache
from typing import Any

from frontier.readers.found import printable

METRICS, BATCHES, FREQUENCIES = "metrics.parquet", "batches.parquet", "frequencies.safetensors"
"""What an evaluation saves: a row per SAE, sums per batch, and how often latents fire."""
CONFIG, ASKED = "config.toml", "asked.toml"
"""The configuration of a run, and that with target L0s from which pilots make it."""
SWEEP, LOGS, LOGGERS = "sweep.json", "log*.jsonl", ("wandb", "tensorboard")
_STEP = re.compile(rb'\{"step": (\d+)')


def without_ours(files: Iterable[str], folder: str) -> tuple[list[str], list[str]]:
    """Files of a folder that may hold SAEs, and a remark on each run in it that is not evaluated yet.

    Logs of such a run are left out: they have values of single training batches.
    """
    is_run, unfinished = cache(_is_run), cache(_is_unfinished)
    top = len(folder.rstrip(os.sep))
    kept, waiting = [], dict[str, None]()
    for path in files:
        place, name = os.path.split(path)
        run = next((p for p in _and_above(place, top) if is_run(p)), "")
        if run and unfinished(run):
            waiting[run] = None
            logger = os.path.relpath(path, run).split(os.sep)[0] in LOGGERS
            if logger or (place == run and fnmatch(name, LOGS)):
                continue
        by_batch = name == BATCHES and _has(place, METRICS) and _has(place, FREQUENCIES)
        if not (by_batch or (place == run and name == SWEEP)):
            kept.append(path)
    return kept, [_not_evaluated(run) for run in waiting]


def _and_above(place: str, top: int) -> Iterator[str]:
    """A folder and those above it, as far as their names have `top` letters."""
    while len(place) >= top:
        yield place
        place, below = os.path.dirname(place), place
        if place == below:
            return


def _is_run(place: str) -> bool:
    return _settings(place) is not None


def _has(place: str, name: str) -> bool:
    return os.path.isfile(os.path.join(place, name))


def _settings(place: str) -> dict[str, Any] | None:
    """The configuration of the run in a folder, empty where it is lost; None where no run is there."""
    name = next((name for name in (CONFIG, ASKED) if _has(place, name)), None)
    if name is None:
        return None
    try:
        with open(os.path.join(place, name), "rb") as file:
            content = file.read()
        found = tomllib.loads(content.strip(b"\0 \t\r\n").decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if not found or {"training", "families"} <= set(found) else None


def _is_unfinished(run: str) -> bool:
    begun = os.path.isdir(os.path.join(run, "checkpoints")) or any(_logs(run))
    return begun and _has(run, CONFIG) and not _has(run, METRICS)


def in_pilots(place: str) -> str:
    """What to type where the `asked.toml` in a folder is of a run of ours in its pilots; else nothing."""
    begun = os.path.isdir(os.path.join(place, "checkpoints")) or _has(place, METRICS)
    if begun or _has(place, CONFIG) or not _is_run(place):
        return ""
    name, word = printable(place), shlex.quote(printable(place))
    return (
        f"{name} is in the pilots of its target_l0 and has no SAEs yet: `sae-train status {word}`, or if it "
        f"was stopped `sae-train resume {word}`"
    )


def _logs(run: str) -> Iterator[str]:
    return (os.path.join(run, n) for n in sorted(os.listdir(run)) if fnmatch(n, LOGS) and _has(run, n))


def _not_evaluated(run: str) -> str:
    """That a run is not evaluated yet, how far it is, and the command that goes on."""
    training = (_settings(run) or {}).get("training")
    of = f" of {training['steps']}" if isinstance(training, dict) and "steps" in training else ""
    steps = [int(said[1]) for path in _logs(run) for said in _first_words(path)]
    how_far = f"its log ends at step {max(steps)}{of}" if steps else "no step is logged"
    name = printable(run)
    return f"{name} is not evaluated yet ({how_far}): `sae-train resume {shlex.quote(name)}`"


def _first_words(path: str) -> Iterator[re.Match[bytes]]:
    with suppress(OSError), open(path, "rb") as file:
        yield from filter(None, map(_STEP.match, file))
