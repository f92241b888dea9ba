"""Harvested chunks on disk: one file per chunk, beside a manifest that says what they are activations of."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from frontier.writing import WriteError, file_name, whole_file, write_json
from trainers.activations.harvest import Harvest, Rows, read_together
from trainers.activations.sizes import readable
from trainers.tensor_files import write_tensors

MANIFEST = "activations.json"
OVERHEAD = 512
"""Bytes that a chunk's file needs beside its numbers, at most."""
DIGEST = "sha256"
"""In the metadata of a chunk's file: of its tensors."""


class CacheError(RuntimeError):
    """A cache folder that holds other activations, or cannot be written."""


class CachedHarvest:
    """A harvest that keeps its chunks on disk and reads them from there the next time.

    A chunk appears under its name only when it is complete; one that is torn, damaged or of another shape
    is made again. Where the limit allows only some chunks, the first ones are kept, the others harvested each
    time.

    Parameters
    ----------
    limit : int
        Bytes that the folder may hold.

    Raises
    ------
    CacheError
        If the folder holds the activations of another model, text or site (the differences are named).
    """

    def __init__(self, harvest: Harvest, folder: Path, limit: int) -> None:
        self.harvest, self.folder = harvest, Path(folder)
        self.remade: list[int] = []
        """Chunks that were found torn or damaged and made again."""
        self._compared: set[Path] = set()
        self._open()
        self.kept = self._chunks_within(limit)
        """Chunks below this number are kept on disk."""

    def found(self, chunk: int) -> Rows | None:
        """The activations of one chunk from disk; None if they are not there."""
        file = self._file(chunk)
        return self._load(file, chunk) if chunk < self.kept and file.is_file() else None

    def keep(self, chunk: int, rows: Rows) -> None:
        """Write a chunk, if it is one of those that are kept."""
        if chunk < self.kept:
            self._save(self._file(chunk), rows)

    def _file(self, chunk: int) -> Path:
        return self.folder / f"{chunk // 1000:03d}" / f"chunk_{chunk:06d}.safetensors"

    def _open(self) -> None:
        """Compare the manifest with the harvest, or write it."""
        file, ours = self.folder / MANIFEST, self.harvest.identity()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not file.is_file():
                if any(self.folder.iterdir()) and not self._has_only_drafts():
                    raise CacheError(
                        f"{self.folder} is not empty and has no {MANIFEST}; name an empty folder"
                    )
                write_json(file, ours, indent=2)
                return
            theirs = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CacheError(f"the activation cache {self.folder} cannot be opened: {error}") from error
        theirs = theirs if isinstance(theirs, dict) else {}
        differ = [
            f"{k} {theirs.get(k)!r} there, {ours.get(k)!r} here"
            for k in ours | theirs
            if theirs.get(k) != ours.get(k)
        ]
        if differ:
            raise CacheError(
                f"{self.folder} holds other activations ({'; '.join(differ)}): "
                "name another folder, or remove it"
            )

    def _has_only_drafts(self) -> bool:
        return all(p.name.startswith(".") for p in self.folder.iterdir())

    def _chunks_within(self, limit: int) -> int:
        """So many chunks fit the limit; a word if these are not all."""
        needed, kept = 0, 0
        for rows in self.harvest.rows:
            needed += rows * self.harvest.bytes_per_row + OVERHEAD
            kept += needed <= limit
        if kept < len(self.harvest):
            warnings.warn(
                f"the activation cache {self.folder} would need {readable(needed)}, its limit is "
                f"{readable(limit)}: {kept} of {len(self.harvest)} chunks are kept, the others are harvested "
                "each time; raise `cache_limit` or lower `tokens`",
                stacklevel=4,
            )
        return kept

    def _load(self, file: Path, chunk: int) -> Rows | None:
        """A chunk from its file; None if it is torn or of another shape."""
        rows, harvest = self.harvest.rows[chunk], self.harvest
        shapes = {"input": (rows, harvest.d_in)}
        if harvest.target_site is not None:
            shapes["target"] = (rows, harvest.d_out)
        try:
            found = self._read(file)
        except (OSError, SafetensorError):
            found = {}
        if {k: tuple(v.shape) for k, v in found.items()} != shapes or any(
            v.dtype != harvest.dtype for v in found.values()
        ):
            self.remade.append(chunk)
            return None
        return found["input"], found.get("target")

    def _read(self, file: Path) -> dict[str, Tensor]:
        """The tensors of a file, none if they are not as written; compared once, as they are read often."""
        with safe_open(file, framework="pt") as opened:
            found = {name: opened.get_tensor(name) for name in opened.keys()}
            wanted = (opened.metadata() or {}).get(DIGEST)
        if file in self._compared or wanted is None:  # caches of version 0.1 have no digests
            return found
        if digest_of(found) != wanted:
            return {}
        self._compared.add(file)
        return found

    def _save(self, file: Path, rows: Rows) -> None:
        """Write a chunk; when the disk is full nothing more is kept, with a word."""
        tensors = {k: v for k, v in zip(("input", "target"), rows, strict=True) if v is not None}
        try:
            with whole_file(file) as draft:
                write_tensors(tensors, draft, {DIGEST: digest_of(tensors)})
        except WriteError as error:
            self.kept = 0
            free = shutil.disk_usage(self.folder).free
            warnings.warn(
                f"{error} ({readable(free)} free). From here on activations are harvested each time",
                stacklevel=2,
            )


class Reader:
    """Chunks of harvests of one text: what no cache has is read in one pass of the language model."""

    def __init__(self, harvests: Sequence[Harvest], caches: Sequence[CachedHarvest] = ()) -> None:
        self.harvests, self.caches = list(harvests), list(caches)

    def read(self, chunk: int) -> list[Rows]:
        """The activations of one chunk, of each harvest."""
        if not self.caches:
            return read_together(self.harvests, chunk)
        found = {i: rows for i, cache in enumerate(self.caches) if (rows := cache.found(chunk)) is not None}
        lacking = [i for i in range(len(self.caches)) if i not in found]
        if lacking:
            read = read_together([self.harvests[i] for i in lacking], chunk)
            for i, rows in zip(lacking, read, strict=True):
                self.caches[i].keep(chunk, rows)
                found[i] = rows
        return [found[i] for i in range(len(self.caches))]

    def read_all(self, chunks: Sequence[int]) -> Iterator[list[Rows]]:
        """Chunks in their order; the next ones of a store are read meanwhile."""
        ahead = self.harvests[0].ahead
        if not ahead:
            yield from map(self.read, chunks)
            return
        with ThreadPoolExecutor(ahead) as pool:
            waiting: deque[Future[list[Rows]]] = deque()
            try:
                for chunk in chunks:
                    waiting.append(pool.submit(self.read, chunk))
                    if len(waiting) > ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for left in waiting:
                    left.cancel()


def caches_of(harvests: Sequence[Harvest], folder: Path, limit: int) -> list[CachedHarvest]:
    """The cache of each site; that of the only one is the folder itself."""
    if len(harvests) == 1:
        return [CachedHarvest(harvests[0], folder, limit)]
    return [CachedHarvest(h, folder / file_name(h.site.name), limit // len(harvests)) for h in harvests]


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors' names and bytes."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].contiguous().cpu().view(torch.uint8).numpy().data)
    return found.hexdigest()
