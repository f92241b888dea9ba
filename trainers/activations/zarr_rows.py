"""Zarr arrays of activations: opened if nothing in them could run code and no chunk is missing."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from frontier.wording import listed
from trainers.activations.row_files import HeldRows, Part
from trainers.text import TextError

MARKS = ("zarr.json", ".zarray", ".zgroup")
CODECS = {
    "blosc", "bytes", "bz2", "crc32c", "endian", "gzip", "lz4", "lzma", "shuffle", "sharding_indexed",
    "transpose", "zlib", "zstd",
}  # fmt: skip
"""Codecs that do no more than pack numbers; others, pickle above all, are not run."""


class ZarrRows(HeldRows):
    """Rows of a Zarr array, which gives its fill value for a chunk that is gone."""

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows as float32, if their chunks are there."""
        found = super().rows(numbers)
        if (found == np.float32(self._array.fill_value)).all(1).any():
            require_chunks(self._array, self.name)
        return found


def require_chunks(array: Any, name: str) -> None:
    """Nothing, if every chunk is there.

    Raises
    ------
    TextError
        Says how many are not.
    """
    if array.nchunks_initialized < array.nchunks:
        lacking = array.nchunks - array.nchunks_initialized
        raise TextError(f"{name} lacks {lacking} of its {array.nchunks} chunks; write it whole")


def is_zarr(place: Path) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any((place / mark).is_file() for mark in MARKS)


def zarr_rows(place: Path) -> Part:
    """The rows of a Zarr array.

    Raises
    ------
    TextError
        If Zarr is not installed, the array has other codecs or lacks chunks, or the folder is a group.
    """
    strange = sorted(_codecs(place) - CODECS)
    if strange:
        raise TextError(f"{place} is packed by {listed(strange)}; read are {listed(sorted(CODECS), 20)}")
    try:
        zarr = import_module("zarr")
    except ImportError as error:
        raise TextError(f"{place} is read by Zarr: pip install 'sae-frontier[zarr]'") from error
    try:
        found = zarr.open(store=str(place), mode="r")
        if not hasattr(found, "dtype"):
            inside = listed(sorted(name for name, _ in found.arrays())) or "no arrays"
            raise TextError(f"{place} is a group of {inside}; name one of them: {place}/NAME")
        rows = ZarrRows(found, str(place))
        require_chunks(found, str(place))
        return rows
    except (ValueError, KeyError, OSError, TypeError) as error:
        if isinstance(error, TextError):
            raise
        raise TextError(f"{place} cannot be read as a Zarr array: {error}") from error


def _codecs(place: Path) -> set[str]:
    """What an array says it is packed by, in either version of the format."""
    found: set[str] = set()
    for mark in MARKS[:2]:
        if (place / mark).is_file():
            try:
                about = json.loads((place / mark).read_text(encoding="utf-8"))
                for key in ("codecs", "filters", "compressor"):
                    found |= _names(about.get(key))
            except (ValueError, AttributeError) as error:
                raise TextError(f"{place}/{mark} is torn: {error}") from error
    return found


def _names(said: Any) -> set[str]:
    """The codecs in a piece of metadata, and those inside them."""
    if isinstance(said, list):
        return set().union(*map(_names, said))
    if not isinstance(said, dict):
        return set()
    own = {str(said[k]).removeprefix("numcodecs.") for k in ("name", "id") if k in said}
    return own.union(*(_names(v) for v in said.values()))
