"""A buffer: the activations of many chunks, filled by all processes together and the same in each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from frontier.progress import Callback, reported
from trainers.activations.harvest import ActivationError, Harvest, Rows, check_finite


class ChunkReader(Protocol):
    """A harvest, live or cached."""

    def read(self, chunk: int) -> Rows:
        """The activations of one chunk."""


@dataclass(frozen=True, eq=False)
class Buffer:
    """Raw activations of some chunks, in the order of the chunks."""

    chunks: tuple[int, ...]
    input: Tensor
    """[n, d_in]"""
    target: Tensor
    """[n, d_out]; the same object as `input` for an autoencoder."""


def processes() -> tuple[int, int]:
    """Number of this process, and how many there are (torch.distributed, if it is initialised)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def filled(
    harvest: Harvest,
    reader: ChunkReader,
    chunks: Sequence[int],
    device: torch.device,
    progress: bool | Callback,
) -> Buffer:
    """The buffer of some chunks: each process reads its share, then all hand theirs to all.

    Raises
    ------
    ActivationError
        If an activation is not finite (in every process alike).
    """
    rank, world = processes()
    rows = np.cumsum([0, *(harvest.rows[c] for c in chunks)])
    shares = np.array_split(np.arange(len(chunks)), world)
    input = torch.empty(int(rows[-1]), harvest.d_in, dtype=harvest.dtype, device=device)
    target = None
    if harvest.target_site is not None:
        target = torch.empty(int(rows[-1]), harvest.d_out, dtype=harvest.dtype, device=device)
    mine = shares[rank]
    with reported(progress, "harvesting activations", len(mine)) as report:
        for done, place in enumerate(mine, start=1):
            found = reader.read(chunks[place])
            part = slice(int(rows[place]), int(rows[place + 1]))
            input[part] = found[0]
            if target is not None and found[1] is not None:
                target[part] = found[1]
            report(done)
    if world > 1:
        bounds = [(int(rows[s[0]]), int(rows[s[-1] + 1])) if len(s) else (0, 0) for s in shares]
        for tensor in (input, target):
            if tensor is not None:
                _exchange(tensor, bounds, harvest.model.device)
    check_finite(harvest, chunks, input, target)
    return Buffer(tuple(chunks), input, input if target is None else target)


def agreed(description: dict[str, Any], device: torch.device) -> None:
    """Nothing, if all processes read the same stream.

    Raises
    ------
    ActivationError
        If a process has another text, model, site or seed than the first one.
    """
    rank, world = processes()
    if world == 1:
        return
    text = json.dumps(description, sort_keys=True)
    mine = torch.tensor(int(hashlib.sha256(text.encode()).hexdigest()[:15], 16), device=_carrier(device))
    first = mine.clone()
    dist.broadcast(first, src=0)
    differ = (mine != first).long()
    dist.all_reduce(differ)
    if int(differ):
        raise ActivationError(
            f"{int(differ)} of {world} processes read another stream than the first; "
            f"process {rank} reads {text}"
        )


def _exchange(rows: Tensor, bounds: list[tuple[int, int]], device: torch.device) -> None:
    """Fill every process's share of `rows` from the process that has it, as bytes."""
    carrier = _carrier(device)
    for source, (begin, end) in enumerate(bounds):
        if begin == end:
            continue
        part = rows[begin:end].view(torch.uint8)
        sent = part.to(carrier)
        dist.broadcast(sent, src=source)
        if sent is not part:
            part.copy_(sent)


def _carrier(device: torch.device) -> torch.device:
    """Where tensors have to be for a broadcast: NCCL carries only those on a GPU, gloo those on the CPU."""
    nccl = device.type == "cuda" and "nccl" in str(dist.get_backend_config())
    return device if nccl else torch.device("cpu")
