"""Rows of any model from Python: computed when they are asked for, or written to files as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frontier.writing import whole_folder
from trainers.activations.row_files import WANTED, flat
from trainers.tensor_files import write_tensors
from trainers.text import TextError

AT_ONCE = 64
"""Items that a function is asked for together."""
FILE_BYTES = 2**28
"""Of a file, about."""


class ComputedRows:
    """Rows that a function computes: `read(items)` gives `[k, d]` or `[k, T, d]` for k numbers of items.

    Parameters
    ----------
    read : callable
        Takes numbers of items (images, clips, proteins, ...), an array of integers; the same item must give
        the same rows each time.
    items : int
        How many there are.
    at_once : int
        Items per call, at most.

    Examples
    --------
    >>> rows = ComputedRows(lambda items: np.sin(np.outer(items + 1, np.arange(1, 5))), 100, name="waves")
    >>> rows.shape, rows.rows(np.array([99, 0])).shape
    ((100, 4), (2, 4))
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], Any],
        items: int,
        *,
        name: str = "a function",
        at_once: int = AT_ONCE,
    ) -> None:
        self.name, self._read, self._at_once = name, read, at_once
        first = as_rows(read(np.zeros(1, dtype=np.int64)), name)
        self._one = first.shape[1:]
        self.shape, self.inner = flat(name, (items, *self._one))

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows as float32; each item is asked for once."""
        outer, inner = np.divmod(numbers, self.inner)
        items, place = np.unique(outer, return_inverse=True)
        parts = []
        for some in np.split(items, range(self._at_once, len(items), self._at_once)):
            found = as_rows(self._read(some), self.name)
            if found.shape != (len(some), *self._one):
                raise TextError(
                    f"{self.name} gives {list(found.shape)} for {len(some)} items; wanted "
                    f"{[len(some), *self._one]}, as for the first"
                )
            parts.append(found)
        found = np.concatenate(parts)[place]
        return found if found.ndim == 2 else found[np.arange(len(inner)), inner]


def write_rows(
    batches: Iterable[Any], folder: str | Path, *, dtype: str = "float32", file_bytes: int = FILE_BYTES
) -> Path:
    """Write batches of rows `[k, d]` or `[k, T, d]`, as they come, to a folder that `files` takes.

    The folder appears when all are there, or not at all. The memory that it needs is that of one file.

    Parameters
    ----------
    batches : iterable of array or Tensor
        Of one width.
    dtype : {"float32", "float16", "bfloat16"}
        What is written.

    Raises
    ------
    TextError
        If a batch has another width or window than the first, holds NaN or infinity, or there is none.
    """
    with whole_folder(Path(folder)) as draft:
        written = 0
        for number, rows in enumerate(_together(_checked(batches, getattr(torch, dtype)), file_bytes)):
            write_tensors({WANTED: rows}, draft / f"rows_{number:05d}.safetensors")
            written += len(rows)
        if not written:
            raise TextError("no batch of activations came")
    return Path(folder)


def _checked(batches: Iterable[Any], dtype: torch.dtype) -> Iterator[Tensor]:
    """Batches as they are written, if they fit together."""
    one: tuple[int, ...] | None = None
    for number, batch in zip(count(), batches, strict=False):
        name = f"batch {number}"
        rows = torch.from_numpy(as_rows(batch, name)).to(dtype)
        one = one or tuple(rows.shape[1:])
        if tuple(rows.shape[1:]) != one:
            raise TextError(
                f"{name} has rows {list(rows.shape[1:])}, those before {list(one)}; wanted one width"
            )
        if not bool(rows.isfinite().all()):
            first = int((~rows.isfinite()).flatten(1).any(1).nonzero()[0])
            raise TextError(f"{name} has NaN or infinity in row {first} (in {dtype})".replace("torch.", ""))
        yield rows


def _together(batches: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Batches in pieces of about so many bytes."""
    held, there = list[Tensor](), 0
    for rows in batches:
        held.append(rows)
        there += rows.nbytes
        if there >= size:
            yield torch.cat(held)
            held, there = [], 0
    if held:
        yield torch.cat(held)


def as_rows(values: Any, name: str) -> np.ndarray:
    """An array of two or three dimensions as float32.

    Raises
    ------
    TextError
        If it is none.
    """
    found = values.detach().cpu().float().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if found.dtype.kind != "f":
        raise TextError(f"{name} gives {found.dtype}; wanted activations as floating-point numbers")
    flat(name, found.shape)
    return np.ascontiguousarray(found, dtype=np.float32)
