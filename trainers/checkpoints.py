"""Checkpoints that survive a kill at any moment: written under a draft name, then renamed; two are kept."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trainers import ranks

KEPT = 2
"""So many checkpoints stay; older ones are removed once a newer one is complete."""


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, torn or of another run."""


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
    final, draft = folder / f"step_{step:09d}", folder / f".draft_{step:09d}"
    fault: Exception | None = None
    try:
        if ranks.is_first():
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
    except OSError as error:
        fault = error
    ranks.barrier()
    try:
        write_part(draft, tensors, state, f"part{ranks.rank()}")
    except (OSError, SafetensorError) as error:
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
    """Tensors and state of one process, on disk to the last byte."""
    save_file({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, draft / f"{part}.safetensors")
    (draft / f"{part}.json").write_text(json.dumps(state), encoding="utf-8")
    for name in (f"{part}.safetensors", f"{part}.json"):
        _to_disk(draft / name)


def publish(draft: Path, final: Path) -> None:
    """Give a complete draft its final name."""
    _to_disk(draft)
    if final.exists():  # a run that was resumed before this step writes it again
        shutil.rmtree(final)
    os.replace(draft, final)
    _to_disk(final.parent)


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    found = complete(folder)
    return found[-1] if found else None


def load(checkpoint: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and state of a checkpoint, of all its parts together.

    Raises
    ------
    CheckpointError
        If a file is missing or torn.
    """
    tensors: dict[str, torch.Tensor] = {}
    state: dict[str, Any] = {}
    parts = sorted(checkpoint.glob("*.json"))
    if not parts:
        raise CheckpointError(f"{checkpoint} has no state; wanted part0.json and part0.safetensors")
    for part in parts:
        try:
            content = json.loads(part.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"{part.name} is not a JSON object")
            for key, value in content.items():
                state[key] = state.get(key, {}) | value if isinstance(value, dict) else value
            tensors |= load_file(part.with_suffix(".safetensors"))
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(f"{part.parent} cannot be read: {error}") from error
    return tensors, state


def complete(folder: Path) -> list[Path]:
    """The complete checkpoints of a folder, oldest first."""
    return sorted(p for p in folder.glob("step_*") if p.is_dir())


def _to_disk(path: Path) -> None:
    """Flush a file or folder to the disk (folders cannot be flushed on every system)."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # a full disk may show only here
            raise
    finally:
        os.close(handle)
