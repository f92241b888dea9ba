"""An endless, shuffled, resumable stream of batches of activations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frontier.progress import Callback
from frontier.wording import nearest
from trainers.activations.buffers import Buffer, agreed, filled, processes
from trainers.activations.cache import CachedHarvest
from trainers.activations.harvest import CHUNK_TOKENS, ActivationError, Harvest
from trainers.activations.positions import require_same, seeded
from trainers.activations.scaling import Batch, Scaling, scaling_of
from trainers.activations.sizes import bytes_of, readable
from trainers.activations.sources import Text, token_windows
from trainers.text import STANDARD_LIBRARY, TextError

BUFFER_ROWS = 2**19
"""Activations that are shuffled together where the whole text does not fit into memory."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def activation_stream(
    model: Any,
    site: str,
    text: Text = STANDARD_LIBRARY,
    *,
    target_site: str | None = None,
    split: str | None = "train",
    tokens: int | None = None,
    context_length: int | None = None,
    batch_size: int = 1024,
    seed: int = 0,
    buffer_tokens: int | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
    memory_limit: str | int = "2 GB",
    cache: str | Path | None = None,
    cache_limit: str | int = "10 GB",
    dtype: str = "float32",
    storage_device: str | torch.device | None = None,
    scaling: Scaling | None = None,
    centre: bool = True,
    progress: bool | Callback = True,
) -> ActivationStream:
    """The activations of a model on a text, as an endless stream of shuffled batches.

    Parameters
    ----------
    model : LanguageModel
    site, target_site : str
        What the SAE reads and what it shall rebuild; without a target site it rebuilds its input.
    text, split, tokens, context_length
        See `token_windows`. `tokens` limits the text; the stream goes over it again and again.
    batch_size : int
        Activations per batch.
    seed : int
        Decides the order; same seed, same stream.
    buffer_tokens : int, optional
        Activations that are harvested and shuffled together. By default all of them if they fit
        `memory_limit`: they are then harvested once and shuffled anew in each pass over the text.
    memory_limit : size
        Bound on the buffer, such as "2 GB".
    cache : path, optional
        Folder that keeps the activations between runs (unscaled), up to `cache_limit`.
    dtype : {"float32", "bfloat16", "float16"}
        What activations are stored in; batches are float32 always.
    storage_device : device, optional
        Where the buffer lies; default: where the model is. Batches are on the model's device.
    scaling : Scaling, optional
        Use this one instead of measuring it on the first buffer.
    centre : bool
        The mean of the site is taken off before scaling; see `trainers.activations.scaling`.
    progress : bool or callable
        A bar on the terminal while activations are harvested, or `callback(what, done, total)`.

    Raises
    ------
    TextError
        If the text is missing or too short.
    ActivationError, CacheError
        If activations are not finite; if the cache is of other activations.
    """
    if dtype not in DTYPES:
        raise ValueError(f"no storage type {dtype!r}{nearest(str(dtype), DTYPES)}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    windows = token_windows(
        model, text, split=split, context_length=context_length, tokens=tokens, progress=progress
    )
    harvest = Harvest(model, windows, site, target_site, chunk_tokens=chunk_tokens, dtype=DTYPES[dtype])
    if harvest.total_rows < batch_size:
        raise TextError(
            f"{windows.text} is too short: it has {harvest.total_rows:,} tokens that count, "
            f"a batch needs {batch_size:,}"
        )
    buffers = _buffer_count(harvest, buffer_tokens, bytes_of(memory_limit))
    cached = None if cache is None else CachedHarvest(harvest, Path(cache), bytes_of(cache_limit))
    device = model.device if storage_device is None else torch.device(storage_device)
    return ActivationStream(
        harvest,
        cached,
        batch_size=batch_size,
        seed=seed,
        buffers=buffers,
        storage_device=device,
        scaling=scaling,
        centre=centre,
        progress=progress,
    )


def _buffer_count(harvest: Harvest, buffer_tokens: int | None, memory: int) -> int:
    """Buffers per pass over the text."""
    fit = memory // harvest.bytes_per_row
    if buffer_tokens is None:
        if harvest.total_rows <= fit:
            return 1
        buffer_tokens = min(BUFFER_ROWS, fit)
    largest = max(harvest.rows)
    needed = max(buffer_tokens, largest)
    if buffer_tokens < 1 or needed > fit:
        raise ActivationError(
            f"a buffer of {needed:,} activations of {harvest.bytes_per_row:,} bytes needs "
            f"{readable(needed * harvest.bytes_per_row)}, memory_limit is {readable(memory)}; "
            f"raise it, or lower buffer_tokens (at least {largest:,}, the activations of one chunk)"
        )
    return math.ceil(len(harvest) / max(1, buffer_tokens // largest))


class ActivationStream:
    """Batches of scaled activations without end; made by `activation_stream`.

    The stream is a function of seed and position. In pass `epoch` over the text the chunks are ordered by a
    permutation from (seed, epoch) and dealt into `buffers`; the rows of a buffer are ordered by a permutation
    from (seed, epoch, buffer). Batches are cut from the buffers laid end to end: a batch may hold the end of
    one and the start of the next, so that each pass gives every activation exactly once.
    """

    def __init__(
        self,
        harvest: Harvest,
        cached: CachedHarvest | None,
        *,
        batch_size: int,
        seed: int,
        buffers: int,
        storage_device: torch.device,
        scaling: Scaling | None = None,
        centre: bool = True,
        progress: bool | Callback = True,
    ) -> None:
        self.harvest, self.batch_size, self.seed, self.buffers = harvest, batch_size, seed, buffers
        self.d_in, self.d_out = harvest.d_in, harvest.d_out
        self.site = harvest.site.name
        self.target_site = harvest.target_site.name if harvest.target_site else None
        self.device, self.storage_device = harvest.model.device, storage_device
        self._reader, self._progress, self._given = cached or harvest, progress, scaling
        self._centre = centre
        self._epoch, self._number, self._offset = 0, 0, 0
        self._buffer: Buffer | None = None
        self._rows: Tensor | None = None  # order of the current buffer's rows
        self._agreed = False

    def __repr__(self) -> str:
        target = f" to {self.target_site}" if self.target_site else ""
        rows, text = self.harvest.total_rows, self.harvest.windows.text
        return f"ActivationStream({self.site}{target} of {text}, {rows:,} activations per pass)"

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        scaling = self.scaling
        parts: list[tuple[Tensor, Tensor]] = []
        missing = self.batch_size
        while missing:
            buffer, order = self._current()
            index = order[self._offset : self._offset + missing]
            raw = buffer.input.index_select(0, index)
            parts.append((raw, raw if self.target_site is None else buffer.target.index_select(0, index)))
            self._offset += len(index)
            missing -= len(index)
        input = _gathered([p[0] for p in parts], self.device)
        target = None if self.target_site is None else _gathered([p[1] for p in parts], self.device)
        return scaling.batch(input, target)

    @cached_property
    def scaling(self) -> Scaling:
        """Centre, scale and means, measured on the first buffer of the stream (also after a resume)."""
        if self._given is not None:
            return self._given
        buffer = self._load(self._chunks(0, 0))
        names = (self.site, self.target_site or self.site)
        return scaling_of(buffer.input, buffer.target, names, self._centre).to(self.device)

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the stream is a function of, as JSON."""
        return self.harvest.identity() | {
            "batch_size": self.batch_size,
            "seed": self.seed,
            "buffers": self.buffers,
        }

    def state(self) -> dict[str, Any]:
        """The position, as JSON; `restore` goes on from it with the same batches."""
        return {
            "epoch": self._epoch,
            "buffer": self._number,
            "offset": self._offset,
            "stream": self.description,
            "input_scale": self.scaling.input_scale,
            "target_scale": self.scaling.target_scale,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same stream.

        Raises
        ------
        ActivationError
            If the state is of another stream: the differences are named.
        """
        require_same(state, self.description, ("epoch", "buffer", "offset"))
        for name in ("input_scale", "target_scale"):
            now, then = getattr(self.scaling, name), state.get(name)
            if then is not None and not math.isclose(now, then, rel_tol=1e-3):
                raise ActivationError(
                    f"the activations are not those of the state: {name} was {then:g}, is {now:g}"
                )
        self._epoch, self._number, self._offset = (int(state[k]) for k in ("epoch", "buffer", "offset"))
        self._rows = None

    def release(self) -> None:
        """Let go of the activations in memory; the stream reads them again if it goes on."""
        self._buffer = self._rows = None

    def _current(self) -> tuple[Buffer, Tensor]:
        """The buffer with rows left, and the order of its rows; the next one where this one is used up."""
        while True:
            if self._rows is None:
                self._load(self._chunks(self._epoch, self._number))
                assert self._buffer is not None
                generator = seeded(self.seed, "rows", self._epoch, self._number)
                rows = torch.randperm(len(self._buffer.input), generator=generator)
                self._rows = rows.to(self.storage_device)
            assert self._buffer is not None
            if self._offset < len(self._rows):
                return self._buffer, self._rows
            self._rows, self._offset, self._number = None, 0, self._number + 1
            if self._number == self.buffers:
                self._number, self._epoch = 0, self._epoch + 1

    def _chunks(self, epoch: int, number: int) -> tuple[int, ...]:
        """The chunks of one buffer, in ascending order."""
        generator = seeded(self.seed, "chunks", epoch)
        order = torch.randperm(len(self.harvest), generator=generator).numpy()
        return tuple(sorted(int(c) for c in np.array_split(order, self.buffers)[number]))

    def _load(self, chunks: tuple[int, ...]) -> Buffer:
        """The buffer of these chunks; the one in memory if it is that one."""
        if not self._agreed and processes()[1] > 1:
            agreed(self.description, self.device)
        self._agreed = True
        if self._buffer is None or self._buffer.chunks != chunks:
            self._buffer = None  # free the old one first
            self._buffer = filled(self.harvest, self._reader, chunks, self.storage_device, self._progress)
        return self._buffer


def _gathered(parts: list[Tensor], device: torch.device) -> Tensor:
    """Gathered rows in one float32 tensor on `device`."""
    rows = parts[0] if len(parts) == 1 else torch.cat(parts)
    return rows.to(device, torch.float32)
