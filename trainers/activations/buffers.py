"""A buffer: the activations of many chunks, filled by all processes together and the same in each."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from frontier.progress import Callback, reported
from trainers.activations.harvest import ActivationError, Harvest, Rows, carrier, check_finite
from trainers.activations.sizes import readable

BUFFER_ROWS = 2**19
"""Activations that are shuffled together where the whole text does not fit into memory."""


class ChunkReader(Protocol):
    """Harvests of one text, live or cached."""

    def read_all(self, chunks: Sequence[int]) -> Iterator[list[Rows]]:
        """The activations of chunks, in their order, of each harvest."""


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


def buffer_count(harvests: Sequence[Harvest], buffer_tokens: int | None, memory: int) -> int:
    """Buffers per pass over the text."""
    harvest, per_row = harvests[0], sum(h.bytes_per_row for h in harvests)
    fit = memory // per_row
    if buffer_tokens is None:
        if harvest.total_rows <= fit:
            return 1
        buffer_tokens = min(BUFFER_ROWS, fit // 2)  # there is room for the next one
    largest = max(harvest.rows)
    needed = max(buffer_tokens, largest)
    if buffer_tokens < 1 or needed > fit:
        raise ActivationError(
            f"a buffer of {needed:,} activations of {per_row:,} bytes needs "
            f"{readable(needed * per_row)}, memory_limit is {readable(memory)}; "
            f"raise it, or lower buffer_tokens (at least {largest:,}, the activations of one chunk)"
        )
    return math.ceil(len(harvest) / max(1, buffer_tokens // largest))


def filled(harvests: Sequence[Harvest], chunks: Sequence[int], read: list[list[Tensor]]) -> list[Buffer]:
    """The buffers of some chunks, one of each harvest: what each process has `read` it hands to all.

    Raises
    ------
    ActivationError
        If an activation is not finite (in every process alike).
    """
    if processes()[1] > 1:
        rows, shares = _shares(harvests, chunks)
        bounds = [(int(rows[s[0]]), int(rows[s[-1] + 1])) if len(s) else (0, 0) for s in shares]
        for tensor in (t for own in read for t in own):
            _exchange(tensor, bounds, harvests[0].model.device)
    for harvest, own in zip(harvests, read, strict=True):
        check_finite(harvest, chunks, own[0], own[1] if len(own) == 2 else None)
    return [Buffer(tuple(chunks), own[0], own[-1]) for own in read]


def share_of(
    harvests: Sequence[Harvest],
    reader: ChunkReader,
    device: torch.device,
    chunks: Sequence[int],
    stopped: Callable[[], bool] = lambda: False,
    progress: bool | Callback = False,
) -> list[list[Tensor]]:
    """Room for the buffers of some chunks, with the share of this process in it; less, if it is stopped."""
    rows, shares = _shares(harvests, chunks)
    tensors = [_empty(h, int(rows[-1]), device) for h in harvests]
    mine = shares[processes()[0]]
    with reported(progress, "harvesting activations", len(mine)) as report:
        found_all = reader.read_all([chunks[place] for place in mine])
        for done, (place, found) in enumerate(zip(mine, found_all, strict=True), start=1):
            part = slice(int(rows[place]), int(rows[place + 1]))
            for own, read in zip(tensors, found, strict=True):
                own[0][part] = read[0]
                if read[1] is not None:
                    own[1][part] = read[1]
            report(done)
            if stopped():
                break
    return tensors


def _shares(harvests: Sequence[Harvest], chunks: Sequence[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Where the rows of each chunk begin, and the places of the chunks that each process reads."""
    rows = np.cumsum([0, *(harvests[0].rows[c] for c in chunks)])
    return rows, np.array_split(np.arange(len(chunks)), processes()[1])


def _empty(harvest: Harvest, rows: int, device: torch.device) -> list[Tensor]:
    """Room for the input, and for the target where it is another site."""
    widths = [harvest.d_in] + [harvest.d_out] * (harvest.target_site is not None)
    return [torch.empty(rows, width, dtype=harvest.dtype, device=device) for width in widths]


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
    mine = torch.tensor(int(hashlib.sha256(text.encode()).hexdigest()[:15], 16), device=carrier(device))
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
    place = carrier(device)
    for source, (begin, end) in enumerate(bounds):
        if begin == end:
            continue
        part = rows[begin:end].view(torch.uint8)
        sent = part.to(place)
        dist.broadcast(sent, src=source)
        if sent is not part:
            part.copy_(sent)
