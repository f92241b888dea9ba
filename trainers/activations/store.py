"""A store of activations: shards of safetensors and a manifest, read by ranges, here or over a network.

The rows of a shard are chunks of the harvest that made them (`harvest.Harvest`), one after the other, so that
a stream of a store has the order of the stream of the model itself. What is held out has shards of its own.

=====================  ======================================================================================
`store.json`           the harvest (model, site, text, ...), rows per chunk, shards: name, rows, digest
`train_00000...`       shards of what is trained on: one tensor, `activations` [rows, width]
`held_out_00000...`    the windows of the held-out text, in their order; the manifest has the rows of each
=====================  ======================================================================================

The header of a shard has the SHA-256 of each of its chunks, and the manifest that of these, so that each
chunk is compared when it is first read, and no shard has to be read whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any

import fsspec
import numpy as np
import torch
from torch import Tensor

from frontier.places import address_of, name_of
from frontier.readers.remote import open_address, reason_of, tried
from frontier.writing import DamagedError
from trainers.activations.ahead import carried
from trainers.activations.harvest import DTYPES, ActivationError, Harvest, Rows
from trainers.activations.row_files import WANTED
from trainers.activations.row_sources import MANIFEST
from trainers.activations.sources import TokenWindows, require
from trainers.activations.stored import StoredActivations
from trainers.language_models.left_out import LeftOut
from trainers.language_models.sites import Site

FORMAT = "sae-frontier activation store 1"
CHUNKS = "chunks"
"""In the metadata of a shard: rows and digests of its chunks, as JSON."""
ANEW = "`sae-train harvest` with the configuration of the store makes it anew, and it alone"


def is_store(place: Any) -> bool:
    """Whether activations lie there as a store: a folder with a manifest, or any address."""
    return isinstance(place, str | Path) and (bool(address_of(place)) or (Path(place) / MANIFEST).is_file())


class ActivationStore(StoredActivations):
    """Activations that `sae-train harvest` wrote; in the place of the model that they are of.

    Parameters
    ----------
    place : path or address
        A folder, or `s3://...`, `gs://...`, `hf://...`, and what else fsspec knows.
    device : device
        Where rows are handed over.

    Raises
    ------
    ActivationError
        If there is no store, or one that is not complete.
    """

    def __init__(self, place: str | Path, *, device: str | torch.device = "cpu") -> None:
        files = Files(place)
        about = self.about = manifest_of(files)
        made = about["harvest"]
        self.device, self.place = torch.device(device), files.name
        self.name, self.revision = made["model"], made["revision"]
        self.text, self._protocol = made["text"], about["held_out"]["protocol"]
        self.context_length = made["context_length"]
        self.dtype = DTYPES[made["dtype"]]
        self._site = Site(made["site"], layer=about["layer"], width=about["width"])
        self.train, self.held_out = (Shards(files, about, part) for part in ("train", "held_out"))
        self._windows: list[int] = about["held_out"]["windows"]
        self._last: tuple[int, Tensor] | None = None
        self.left_out = LeftOut()

    cut, inner = False, 1
    files: Mapping[str, str] = MappingProxyType({})

    def __repr__(self) -> str:
        return (
            f"ActivationStore({len(self):,} rows of {self._site.width} from {self._site.name}, {self.text})"
        )

    def __len__(self) -> int:
        return sum(self.train.rows)

    @property
    def vocabulary_size(self) -> int:
        """Held-out rows are numbered from 0; the number after the last stands where a window has no row."""
        return sum(self._windows) + 1

    def windows(self) -> np.ndarray:
        """The numbers of the held-out rows of each window of the text, `[n, T]`, those that count first."""
        counts = np.array(self._windows, dtype=np.int64)[:, None]
        places = np.arange(counts.max(initial=1), dtype=np.int64)
        return np.where(places < counts, counts.cumsum()[:, None] - counts + places, counts.sum())

    def counted(self, tokens: Tensor) -> Tensor:
        """Where there is a row; what the harvest left out is in no store."""
        return tokens < sum(self._windows)

    def protocol_of(self, text: str, windows: int, length: int) -> str:
        """That of the text that was harvested, as the model's own evaluation calls it, if all are used."""
        whole = windows == len(self._windows)
        return self._protocol if whole else f"{self._protocol}, {windows:,} of its windows"

    def capture(self, tokens: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
        """The held-out rows of these numbers, `[batch, T, width]` in float32, under every name."""
        numbers = tokens.cpu().numpy().ravel().clip(max=sum(self._windows) - 1)
        edges = np.cumsum([0, *self.held_out.rows])
        rows = torch.empty(len(numbers), self._site.width)
        chunks = np.searchsorted(edges, numbers, side="right") - 1
        for chunk in np.unique(chunks).tolist():
            if self._last is None or self._last[0] != chunk:
                self._last = chunk, self.held_out.read(chunk)
            own = torch.from_numpy(chunks == chunk)
            rows[own] = self._last[1][torch.from_numpy(numbers[chunks == chunk] - edges[chunk])].float()
        return dict.fromkeys(sites, rows.to(self.device).unflatten(0, tuple(tokens.shape)))


class StoredChunks(Harvest):
    """The chunks of a store in the place of a harvest: nothing is computed, chunks are read from shards."""

    ahead = 4

    def __init__(self, store: ActivationStore, tokens: int | None = None) -> None:
        ends = list(accumulate(store.train.rows))
        if tokens is not None:
            require(store.place, ends[-1], 1, tokens, tokens, unit="rows")
        used = len(ends) if tokens is None else next(i for i, end in enumerate(ends, 1) if end >= tokens)
        self.model, self.dtype = store, store.dtype
        self.windows = TokenWindows(torch.from_numpy(store.windows()), store.text)
        self.site, self.target_site = store.site(""), None
        self.d_in = self.d_out = self.site.width
        self.rows = store.train.rows[:used]
        self.bytes_per_row = self.d_in * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, chunk: int) -> Rows:
        """The activations of one chunk, on the device."""
        return carried(self.model.train.read(chunk), self.model.device), None

    def windows_of(self, chunk: int) -> list[int]:
        """No window of the text is known any more."""
        return []

    def identity(self) -> dict[str, Any]:
        """That of the harvest, and how many rows are used."""
        return self.model.about["harvest"] | {"activations": self.total_rows}


class Shards:
    """One part of a store, `train` or `held_out`: its chunks, each read by its range and compared once."""

    def __init__(self, files: Files, about: dict[str, Any], part: str) -> None:
        self.rows: list[int] = about[part]["rows"]
        self._files, self._width = files, about["width"]
        self._dtype = DTYPES[about["harvest"]["dtype"]]
        self._shards: list[dict[str, Any]] = about[part]["shards"]
        self._starts = np.array([s["chunks"][0] for s in self._shards])
        self._headers: dict[int, tuple[int, list[str]]] = {}
        self._compared: set[int] = set()

    def read(self, chunk: int) -> Tensor:
        """The rows of a chunk.

        Raises
        ------
        DamagedError
            If they are not as they were written.
        ActivationError
            If they cannot be read.
        """
        number = int(np.searchsorted(self._starts, chunk, side="right")) - 1
        shard = self._shards[number]
        if number not in self._headers:
            self._headers[number] = self._header(shard)
        start, digests = self._headers[number]
        first = shard["chunks"][0]
        size = self._width * self._dtype.itemsize
        begin = start + sum(self.rows[first:chunk]) * size
        data = self._files.read(shard["name"], begin, begin + self.rows[chunk] * size)
        if chunk not in self._compared:
            if hashlib.sha256(data).hexdigest() != digests[chunk - first]:
                raise self._damaged(shard)
            self._compared.add(chunk)
        return torch.frombuffer(bytearray(data), dtype=self._dtype).view(-1, self._width)

    def _header(self, shard: dict[str, Any]) -> tuple[int, list[str]]:
        """Where the numbers begin, and the digests of the chunks."""
        try:
            start, found = header_of(self._files, shard["name"])
            if chunks_digest(found) == shard["sha256"]:
                return start, json.loads(found)["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, ActivationError):
                raise
        raise self._damaged(shard)

    def _damaged(self, shard: dict[str, Any]) -> DamagedError:
        return DamagedError(
            f"{self._files.name}/{shard['name']} is not as it was written (SHA-256); copy it again, or "
            f"remove it: {ANEW}"
        )


class Files:
    """The files of a folder, here or at an address, read by ranges."""

    def __init__(self, place: str | Path) -> None:
        address = address_of(place)
        self.name = name_of(address) if address else str(place)
        self._scheme = address.partition("://")[0]
        self._system: Any = fsspec.filesystem("file")
        self._root = str(place)
        if address:
            self._system, self._root = open_address(address, self._scheme, self.name)

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Bytes `start` to `end` of a file; a network that fails is asked again.

        Raises
        ------
        ActivationError
            If they cannot be had; of an address nothing is said but its last part.
        """
        try:
            return tried(lambda: self._system.cat_file(f"{self._root}/{name}", start=start, end=end))
        except Exception as error:
            if isinstance(error, FileNotFoundError) and not self._scheme and name != MANIFEST:
                lacking = f"{self.name}/{name} is not there; copy it again, or leave it: {ANEW}"
                raise ActivationError(lacking) from None
            why = reason_of(error, self._scheme)
            raise ActivationError(f"{self.name}/{name} cannot be read: {why}") from None


def manifest_of(files: Files) -> dict[str, Any]:
    """What the manifest of a complete store says.

    Raises
    ------
    ActivationError
        If it is missing, torn, or lacks shards; what to type is said.
    """
    try:
        about = json.loads(files.read(MANIFEST))
        if about["format"] != FORMAT or not about["held_out"]["windows"]:
            raise KeyError("format")
        shards = about["train"]["shards"] + about["held_out"]["shards"]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ActivationError):
            raise
        raise ActivationError(f"{files.name}/{MANIFEST} is no manifest of a store of activations") from error
    lacking = sum("sha256" not in s for s in shards)
    if lacking:
        raise ActivationError(
            f"{files.name} is not complete: its {len(shards)} shards are not all written; the same "
            "`sae-train harvest` goes on"
        )
    return about


def header_of(files: Files, name: str) -> tuple[int, str]:
    """Where the numbers of a shard begin, and what its header says of its chunks."""
    length = int.from_bytes(files.read(name, 0, 8), "little")
    if length > 2**27:
        raise ValueError(f"a header of {length} bytes")
    header = json.loads(files.read(name, 8, 8 + length))
    return 8 + length + header[WANTED]["data_offsets"][0], header["__metadata__"][CHUNKS]


def chunks_digest(said: str) -> str:
    """The digest of a shard: that of what its header says of its chunks."""
    return hashlib.sha256(said.encode()).hexdigest()
