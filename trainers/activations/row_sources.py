"""What activations may be given as: files, folders, datasets, Zarr arrays, arrays, and rows of one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from frontier.wording import listed
from trainers.activations.dataset_rows import arrow_rows, dataset_files, is_dataset
from trainers.activations.row_files import KINDS, RAW, HeldRows, Part, opened_file
from trainers.activations.zarr_rows import MARKS, is_zarr, zarr_rows
from trainers.text import TextError

ENDINGS = (*KINDS, ".arrow", ".zarr")
MANIFEST = "store.json"
"""In a folder that is a store (`store`)."""
SAMPLED = 64
"""Pieces of a large file, files of a folder, or rows of what is no file, that a digest is made of."""
PIECE = 2**16


class Sources(NamedTuple):
    """Parts in their order, and what is said of them."""

    parts: list[Part]
    names: list[str]
    digest: str
    files: dict[str, str]
    """Digests of each by its name."""
    column: str
    """Of a dataset."""


def sources_of(files: Any, form: str | None, column: str) -> Sources:
    """The parts of what was given.

    Raises
    ------
    TextError
        If something is missing, torn, or no activations.
    """
    parts, names, digest, seen = list[Part](), list[str](), _Digest(), set[Path]()
    for given in files if isinstance(files, list | tuple) else [files]:
        if isinstance(given, str | Path):
            for place in _places(Path(given), form):
                if place.resolve() in seen:
                    raise TextError(
                        f"{place} is named twice: its rows would be trained on and held out; name it once"
                    )
                seen.add(place.resolve())
                found, column = _opened(place, form, column)
                parts += found
                names.append(place.name)
                _digest_place(digest.of(place.name), place)
        else:
            parts.append(_of_ones_own(given, f"array {len(parts)}"))
            names.append(parts[-1].name)
            _digest_rows(digest.of(names[-1]), parts[-1])
    if not parts:
        raise TextError("no file of activations is named")
    return Sources(parts, names, digest.whole.hexdigest(), digest.each(), column)


class _Digest:
    """The digest of everything that is taken in, and that of each source."""

    def __init__(self) -> None:
        self.whole, self._own = hashlib.sha256(), list[tuple[str, Any]]()

    def of(self, name: str) -> _Digest:
        """The same, at a new source."""
        self._own.append((name, hashlib.sha256()))
        return self

    def update(self, data: bytes) -> None:
        """Take in bytes of the source."""
        self.whole.update(data)
        self._own[-1][1].update(data)

    def each(self) -> dict[str, str]:
        """Twelve digits of each source; of several of one name the later have a number too."""
        found: dict[str, str] = {}
        for number, (name, own) in enumerate(self._own, 1):
            found[f"{name} ({number})" if name in found else name] = own.hexdigest()[:12]
        return found


def _opened(place: Path, form: str | None, column: str) -> tuple[list[Part], str]:
    """The parts of a file or of a Zarr array; of a dataset also the column that was taken."""
    if place.suffix == ".arrow":
        column, parts = arrow_rows(place, column)
        return parts, column
    return [zarr_rows(place) if place.is_dir() else opened_file(place, form)], column


def _of_ones_own(given: Any, name: str) -> Part:
    """Rows that are there already: an array, or something that has `rows`."""
    if all(hasattr(given, needed) for needed in ("rows", "shape", "inner")):
        return given
    if hasattr(given, "dtype") and hasattr(given, "shape"):
        return HeldRows(given, name)
    advice = "ComputedRows(function, items)" if callable(given) else "write_rows(batches, folder)"
    raise TextError(
        f"activations cannot be read from a {type(given).__name__}; wanted paths or arrays. `{advice}` of "
        "trainers.activations makes them of functions and iterators"
    )


def _places(place: Path, form: str | None) -> list[Path]:
    """The files, or Zarr arrays, that a path names; those of a folder in the order of their names."""
    if (place / MANIFEST).is_file():
        raise TextError(f"{place} is a store of activations; name it alone, as one path")
    if place.is_dir() and is_dataset(place):
        return dataset_files(place)
    if place.is_dir() and not is_zarr(place):
        endings = (*ENDINGS, *RAW) if form else ENDINGS
        found = sorted(p for p in place.iterdir() if p.suffix in endings)
    else:
        found = [place]
    if not found or not all(p.is_file() or is_zarr(p) for p in found):
        raise TextError(f"no activations at {place}: wanted a file or folder of {listed(ENDINGS)}")
    if wrong := [p for p in found if p.is_file() and p.suffix not in (*ENDINGS, *RAW)]:
        raise TextError(f"{wrong[0]}: activations are read from {listed((*ENDINGS, *RAW))} files")
    return found


def _digest_place(digest: Any, place: Path) -> None:
    """Take in a file; of a folder its metadata, some files spread evenly, and the sizes of the others."""
    files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
    step = -(-len(files) // SAMPLED)
    for number, file in enumerate(files):
        if number % step == 0 or file.name in MARKS:
            _digest_file(digest, file)
        else:
            digest.update(str(file.stat().st_size).encode())


def _digest_file(digest: Any, place: Path) -> None:
    """Take in the size and pieces spread evenly over a file, all of a small one."""
    size = place.stat().st_size
    digest.update(str(size).encode())
    starts = np.unique(np.linspace(0, max(size - PIECE, 0), SAMPLED).astype(np.int64))
    with place.open("rb") as raw:
        for start in starts.tolist() if size > SAMPLED * PIECE else range(0, size, PIECE):
            raw.seek(start)
            digest.update(raw.read(PIECE))


def _digest_rows(digest: Any, part: Part) -> None:
    """Take in the shape and some rows, spread evenly; of windows `[n, T, d]` the first of four."""
    count = SAMPLED if part.inner == 1 else 4
    windows = np.unique(np.linspace(0, part.shape[0] // part.inner - 1, count).astype(np.int64))
    digest.update(f"{part.shape} {part.inner}".encode())
    digest.update(np.ascontiguousarray(part.rows(windows * part.inner)).tobytes())


def edges_of(parts: Sequence[Part]) -> np.ndarray:
    """The number of the first row of each part, and of the end."""
    return np.cumsum([0, *(part.shape[0] for part in parts)])


def checked_rows(part: Part, numbers: np.ndarray) -> np.ndarray:
    """Rows of a part.

    Raises
    ------
    TextError
        If one holds NaN or infinity: the first is named.
    """
    rows = part.rows(numbers)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(rows.sum()):  # which a single value that is not finite spoils
            return rows
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        first = int(numbers[~finite].min())
        raise TextError(
            f"{part.name} is not finite: row {first} holds NaN or infinity, the first of "
            f"{int((~finite).sum()):,} among {len(rows):,} rows that were read; write it anew without them"
        )
    return rows
