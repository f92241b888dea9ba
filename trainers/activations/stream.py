"""An endless, shuffled, resumable stream of batches of activations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frontier.progress import Callback
from frontier.wording import listed, nearest
from trainers.activations.ahead import Ahead, carried
from trainers.activations.buffers import Buffer, agreed, buffer_count, filled, processes, share_of
from trainers.activations.cache import CachedHarvest, Reader, caches_of
from trainers.activations.harvest import CHUNK_TOKENS, DTYPES, ActivationError, Harvest, distinct_sites
from trainers.activations.positions import require_same, seeded
from trainers.activations.scaling import Batch, Scaling, scaling_of
from trainers.activations.sizes import bytes_of
from trainers.activations.sources import Text, require_places, token_windows
from trainers.activations.store import ActivationStore, StoredChunks
from trainers.text import STANDARD_LIBRARY, TextError


def activation_stream(
    model: Any,
    site: str | Sequence[str],
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
    prefetch: bool | None = None,
    progress: bool | Callback = True,
) -> ActivationStream:
    """The activations of a model on a text, as an endless stream of shuffled batches.

    Parameters
    ----------
    model : LanguageModel, StoredActivations or ActivationStore
        Of a store the text, its windows, chunks and number format are those that it was made with.
    site, target_site : str
        What the SAE reads and what it shall rebuild; without a target site it rebuilds its input. Several
        sites are read in one pass of the model, in the same order of rows; see `ActivationStream.batches`.
    text, split, tokens, context_length
        See `token_windows`. `tokens` limits the text; the stream goes over it again and again.
    batch_size : int
        Activations per batch.
    seed : int
        Decides the order; same seed, same stream.
    buffer_tokens : int, optional
        Activations that are harvested and shuffled together. By default all of them if they fit
        `memory_limit`: they are then harvested once and shuffled anew in each pass over the text. Else half
        of what fits, so that there is room for the next ones.
    memory_limit : size
        Bound on the activations in memory, such as "2 GB".
    cache : path, optional
        Folder that keeps the activations between runs (unscaled), up to `cache_limit`; several sites have a
        folder and an equal part of the limit each.
    dtype : {"float32", "bfloat16", "float16"}
        What activations are stored in; batches are float32 always.
    storage_device : device, optional
        Where the buffer lies; default: where the model is. Batches are on the model's device.
    scaling : Scaling, optional
        Use this one instead of measuring it on the first buffer.
    centre : bool
        The mean of the site is taken off before scaling; see `trainers.activations.scaling`.
    prefetch : bool, optional
        Read the next buffer while batches of this one are used; the batches are the same. By default where
        that saves time (on a GPU, and where rows are read and not computed) and two buffers fit the limit.
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
    sites = distinct_sites(model, [site] if isinstance(site, str) else site)
    if target_site is not None and len(sites) > 1:
        raise ValueError("several sites are those of autoencoders; a target site is for one")
    if isinstance(model, ActivationStore):
        harvest: Harvest = StoredChunks(model, tokens)
        harvests = [harvest]
    else:
        windows = token_windows(
            model, text, split=split, context_length=context_length, tokens=tokens, progress=progress
        )
        require_places(model, windows)
        made = partial(Harvest, model, windows, chunk_tokens=chunk_tokens, dtype=DTYPES[dtype])
        harvest = made(sites[0], target_site)
        harvests = [harvest, *(made(site, counted=harvest.counted) for site in sites[1:])]
    if harvest.total_rows < batch_size:
        raise TextError(
            f"{harvest.windows.text} is too short: it has {harvest.total_rows:,} tokens that count, "
            f"a batch needs {batch_size:,}"
        )
    limit = bytes_of(memory_limit)
    buffers = buffer_count(harvests, buffer_tokens, limit)
    caches = [] if cache is None else caches_of(harvests, Path(cache), bytes_of(cache_limit))
    device = model.device if storage_device is None else torch.device(storage_device)
    stream = ActivationStream(
        harvests,
        caches,
        batch_size=batch_size,
        seed=seed,
        buffers=buffers,
        storage_device=device,
        scaling=scaling,
        centre=centre,
        progress=progress,
    )
    saves = model.device.type == "cuda" or not model.predicts
    fits = 2 * stream.bytes_held <= limit
    stream.ahead.on = buffers > 1 and (fits and saves if prefetch is None else prefetch)
    return stream


class ActivationStream:
    """Batches of scaled activations without end; made by `activation_stream`.

    The stream is a function of seed and position. In pass `epoch` over the text the chunks are ordered by a
    permutation from (seed, epoch) and dealt into `buffers`; the rows of a buffer are ordered by a permutation
    from (seed, epoch, buffer). Batches are cut from the buffers laid end to end: a batch may hold the end of
    one and the start of the next, so that each pass gives every activation exactly once.

    Of several sites `batches` gives the same rows of each. `site`, `d_in` and the other attributes that are
    of one site are those of the first.
    """

    def __init__(
        self,
        harvests: Sequence[Harvest],
        caches: Sequence[CachedHarvest] = (),
        *,
        batch_size: int,
        seed: int,
        buffers: int,
        storage_device: torch.device,
        scaling: Scaling | None = None,
        centre: bool = True,
        progress: bool | Callback = True,
    ) -> None:
        self.harvests, harvest = list(harvests), harvests[0]
        self.harvest, self.batch_size, self.seed, self.buffers = harvest, batch_size, seed, buffers
        self.d_in, self.d_out = harvest.d_in, harvest.d_out
        self.site = harvest.site.name
        self.target_site = harvest.target_site.name if harvest.target_site else None
        self.device, self.storage_device = harvest.model.device, storage_device
        self.sites = [h.site.name for h in self.harvests]
        self._reader, self._progress, self._given = Reader(self.harvests, caches), progress, scaling
        self._read = partial(share_of, self.harvests, self._reader, storage_device)
        self.ahead = Ahead(self._read, self.device)
        self._centre = centre
        self._epoch, self._number, self._offset = 0, 0, 0
        self._buffer: list[Buffer] = []  # of each site
        self._rows: Tensor | None = None  # order of the current buffer's rows
        self._agreed = False

    def __repr__(self) -> str:
        target = f" to {self.target_site}" if self.target_site else ""
        rows, text = self.harvest.total_rows, self.harvest.windows.text
        return f"ActivationStream({listed(self.sites)}{target} of {text}, {rows:,} activations per pass)"

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if len(self.sites) > 1:
            raise TypeError(f"a stream of {len(self.sites)} sites gives `batches()`, one of each site")
        return self.batches()[self.site]

    def batches(self) -> dict[str, Batch]:
        """The next batch at every site: the same positions of the text."""
        scalings = self.scalings
        inputs: list[list[Tensor]] = [[] for _ in self.sites]
        targets: list[list[Tensor]] = [[] for _ in self.sites]
        missing = self.batch_size
        while missing:
            buffers, order = self._current()
            index = order[self._offset : self._offset + missing]
            for place, buffer in enumerate(buffers):
                inputs[place].append(buffer.input.index_select(0, index))
                if self.target_site is not None:
                    targets[place].append(buffer.target.index_select(0, index))
            self._offset += len(index)
            missing -= len(index)
        found = {}
        for site, own, others in zip(self.sites, inputs, targets, strict=True):
            target = _gathered(others, self.device) if others else None
            found[site] = scalings[site].batch(_gathered(own, self.device), target)
        return found

    @property
    def scaling(self) -> Scaling:
        """That of the only site, or of the first."""
        return self.scalings[self.site]

    @cached_property
    def scalings(self) -> dict[str, Scaling]:
        """Centre, scale and means by site, from the first buffer of the stream (also after a resume)."""
        if self._given is not None:
            return dict.fromkeys(self.sites, self._given)
        found = {}
        for harvest, buffer in zip(self.harvests, self._load(self._chunks(0, 0)), strict=True):
            sites = (harvest.site, harvest.target_site or harvest.site)
            scaling = scaling_of(buffer.input, buffer.target, sites, self._centre)
            found[harvest.site.name] = scaling.to(self.device)
        return found

    @property
    def widths(self) -> dict[str, tuple[int, int]]:
        """d_in and d_out by site."""
        return {h.site.name: (h.d_in, h.d_out) for h in self.harvests}

    @property
    def bytes_held(self) -> int:
        """Of a buffer, or two, over all sites."""
        rows = -(-self.harvest.total_rows // self.buffers)
        return (1 + self.ahead.on) * rows * sum(h.bytes_per_row for h in self.harvests)

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the stream is a function of, as JSON."""
        several = {"site": self.sites} if len(self.sites) > 1 else {}
        return (
            self.harvest.identity()
            | several
            | {
                "batch_size": self.batch_size,
                "seed": self.seed,
                "buffers": self.buffers,
            }
        )

    def state(self) -> dict[str, Any]:
        """The position, as JSON; `restore` goes on from it with the same batches."""
        return {
            "epoch": self._epoch,
            "buffer": self._number,
            "offset": self._offset,
            "stream": self.description,
        } | self._scales()

    def _scales(self) -> dict[str, float]:
        """Scales by name; with several sites their names come first."""
        return {
            name if len(self.sites) == 1 else f"{site} {name}": getattr(scaling, name)
            for site, scaling in self.scalings.items()
            for name in ("input_scale", "target_scale")
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same stream.

        Raises
        ------
        ActivationError
            If the state is of another stream: the differences are named.
        """
        require_same(state, self.description, ("epoch", "buffer", "offset"))
        for name, now in self._scales().items():
            then = state.get(name)
            if then is not None and not math.isclose(now, then, rel_tol=1e-3):
                raise ActivationError(
                    f"the activations are not those of the state: {name} was {then:g}, is {now:g}"
                )
        self._epoch, self._number, self._offset = (int(state[k]) for k in ("epoch", "buffer", "offset"))
        self._rows = None

    def release(self) -> None:
        """Let go of the activations in memory; the stream reads them again if it goes on."""
        self._buffer, self._rows = [], None
        self.ahead.drop()

    def _current(self) -> tuple[list[Buffer], Tensor]:
        """The buffers with rows left, and the order of its rows; the next one where this one is used up."""
        while True:
            if self._rows is None:
                buffers = self._load(self._chunks(self._epoch, self._number))
                generator = seeded(self.seed, "rows", self._epoch, self._number)
                rows = torch.randperm(len(buffers[0].input), generator=generator)
                self._rows = rows.to(self.storage_device)
                self.ahead.begin(self._chunks(*self._following()))
            if self._offset < len(self._rows):
                return self._buffer, self._rows
            self._rows, self._offset = None, 0
            self._epoch, self._number = self._following()

    def _following(self) -> tuple[int, int]:
        """Pass and number of the next buffer."""
        last = self._number + 1 == self.buffers
        return (self._epoch + 1, 0) if last else (self._epoch, self._number + 1)

    def _chunks(self, epoch: int, number: int) -> tuple[int, ...]:
        """The chunks of one buffer, in ascending order."""
        generator = seeded(self.seed, "chunks", epoch)
        order = torch.randperm(len(self.harvest), generator=generator).numpy()
        return tuple(sorted(int(c) for c in np.array_split(order, self.buffers)[number]))

    def _load(self, chunks: tuple[int, ...]) -> list[Buffer]:
        """The buffers of these chunks; those in memory if they are that."""
        if not self._agreed and processes()[1] > 1:
            agreed(self.description, self.device)
        self._agreed = True
        if not self._buffer or self._buffer[0].chunks != chunks:
            self._buffer = []  # free the old ones first
            read = self.ahead.take(chunks) or self._read(chunks, progress=self._progress)
            self._buffer = filled(self.harvests, chunks, read)
        return self._buffer


def _gathered(parts: list[Tensor], device: torch.device) -> Tensor:
    """Gathered rows in one float32 tensor on `device`."""
    rows = parts[0] if len(parts) == 1 else torch.cat(parts)
    return carried(rows, device).to(torch.float32)
