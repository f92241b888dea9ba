"""Checkpoints that survive a kill at any moment: written under a draft name, then renamed; two are kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open

from frontier.writing import DRAFT, DamagedError, check_sums, naming, to_disk, write_sums
from trainers import ranks
from trainers.tensor_files import write_tensors

T = TypeVar("T")

KEPT = 2
"""So many checkpoints stay; older ones are removed once a newer one is complete."""
FORMAT = 2
"""From 2 on a checkpoint has digests of its files, and without them it is not read."""
NEEDED = {"step": int, "stream": dict, "diverged": dict, "config": dict}
"""What the state of a run must hold."""
SECTIONS = {"model", "activations", "training", "families"}
"""What its configuration must hold."""


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, torn, damaged or of another run."""


def save(folder: Path, step: int, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> Path:
    """Write one checkpoint; it appears under its final name only when it is complete.

    Under torchrun every process writes its part, and the checkpoint appears when all parts are there.

    Parameters
    ----------
    tensors : dict of str to Tensor
        Saved as safetensors.
    state : dict
        What else is needed to go on, as JSON.

    Raises
    ------
    CheckpointError
        If the disk is full or the folder cannot be written; the earlier checkpoints are untouched.
    """
    final, draft = folder / f"step_{step:09d}", folder / f"{DRAFT}{step:09d}"
    fault: Exception | None = None
    try:
        if ranks.is_first():
            shutil.rmtree(draft, ignore_errors=True)
            with naming(draft, "no part of it was written"):
                draft.mkdir(parents=True)
    except OSError as error:
        fault = error
    ranks.barrier()
    try:
        write_part(draft, tensors, state, f"part{ranks.rank()}")
    except OSError as error:
        fault = fault or error
    failed = ranks.any_true(fault is not None)
    try:
        if ranks.is_first() and not failed:
            publish(draft, final)
    except OSError as error:
        fault = error
    if ranks.any_true(fault is not None):
        shutil.rmtree(draft, ignore_errors=True)
        left = latest(folder)
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written to {folder}: "
            f"{fault or 'another process failed'}; "
            + (f"{left.name} is intact" if left else "there is no earlier one")
        ) from fault
    if ranks.is_first():
        for old in complete(folder)[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    return final


def write_part(draft: Path, tensors: dict[str, torch.Tensor], state: dict[str, Any], part: str) -> None:
    """Tensors, state and digests of one process, on disk to the last byte."""
    names = [f"{part}.safetensors", f"{part}.json"]
    about = {"format": FORMAT, "processes": ranks.world_size(), **state}
    with naming(draft, "it was taken away again"):
        write_tensors(tensors, draft / names[0])
        (draft / names[1]).write_text(json.dumps(about), encoding="utf-8")
        write_sums(draft, names, f"{part}.sha256")


def publish(draft: Path, final: Path) -> None:
    """Give a complete draft its final name."""
    to_disk(draft)
    if final.exists():  # a run that was resumed before this step writes it again
        shutil.rmtree(final)
    os.replace(draft, final)
    to_disk(final.parent)


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    found = complete(folder)
    return found[-1] if found else None


class Stored(Mapping[str, torch.Tensor]):
    """The tensors of a checkpoint by name; each is read when it is asked for, and by nobody else.

    A process that holds an eighth of the members thus reads an eighth.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = [safe_open(str(f), "pt") for f in files]
        self._places = {name: file for file in self._files for name in file.keys()}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._places[name].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def load(checkpoint: Path) -> tuple[Stored, dict[str, Any]]:
    """Tensors and state of a checkpoint, of all its parts together.

    Raises
    ------
    CheckpointError
        If a file is missing, torn, or not as it was written.
    """
    return _read(checkpoint, _checked(checkpoint))


def load_together(checkpoint: Path) -> tuple[Stored, dict[str, Any]]:
    """The same in every process of a run: each hashes its share of the parts, and all go on, or none.

    Raises
    ------
    CheckpointError
        In every process, with what the first says that found a fault, also if the state is not that of a run.
    """
    parts = _agreed(lambda: _checked(checkpoint, ranks.mine))
    tensors, state = _agreed(lambda: _read(checkpoint, parts))
    whole_state(checkpoint, state)
    return tensors, state


def _agreed(find: Callable[[], T]) -> T:
    """What is found, unless it is a fault in any process."""
    fault: CheckpointError | None = None
    try:
        found = find()
    except CheckpointError as error:
        fault = error
    if said := ranks.of_any(str(fault or "")):
        raise CheckpointError(said) from fault
    return found


def _checked(checkpoint: Path, share: Callable[[list[Path]], list[Path]] = list) -> list[Path]:
    """The parts of a checkpoint, if the files of those in the share are as they were written."""
    parts = sorted(checkpoint.glob("part*.json"), key=lambda p: (len(p.name), p.name))  # by their numbers
    if not parts:
        raise CheckpointError(f"{checkpoint} has no state; wanted part0.json and part0.safetensors")
    with _reading(checkpoint):
        for part in share(parts):
            listed = check_sums(checkpoint, f"{part.stem}.sha256")
            wanted = {part.name, part.with_suffix(".safetensors").name}
            if _content(part).get("format", 1) >= FORMAT and not wanted <= set(listed):
                raise DamagedError(f"{part.stem}.sha256 is missing or lists other files")
    return parts


def _read(checkpoint: Path, parts: list[Path]) -> tuple[Stored, dict[str, Any]]:
    """Tensors and state of parts that were checked."""
    state: dict[str, Any] = {}
    with _reading(checkpoint):
        for part in parts:
            for key, value in _content(part).items():
                state[key] = state.get(key, {}) | value if isinstance(value, dict) else value
        tensors = Stored([part.with_suffix(".safetensors") for part in parts])
    if len(parts) != state.pop("processes", len(parts)):
        raise CheckpointError(f"{checkpoint} has {len(parts)} of its parts, the others are missing")
    state.pop("format", None)
    return tensors, state


def _content(part: Path) -> dict[str, Any]:
    """The state in one part."""
    content = json.loads(part.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{part.name} is not a JSON object")
    return content


@contextmanager
def _reading(checkpoint: Path) -> Iterator[None]:
    """Name the checkpoint of which something cannot be read."""
    try:
        yield
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{checkpoint} cannot be read: {error}") from error


def whole_state(checkpoint: Path, state: dict[str, Any]) -> None:
    """Nothing, if the state of a run has all that it needs.

    Raises
    ------
    CheckpointError
        Names what is missing or of another kind.
    """
    wrong = [k for k, kind in NEEDED.items() if not isinstance(state.get(k), kind)]
    if "config" not in wrong and not SECTIONS <= state["config"].keys():
        wrong.append("config")
    if wrong:
        raise CheckpointError(f"{checkpoint} cannot be read: its state has no usable {', '.join(wrong)}")


def complete(folder: Path) -> list[Path]:
    """The complete checkpoints of a folder, oldest first."""
    return sorted(p for p in folder.glob("step_*") if p.is_dir())
