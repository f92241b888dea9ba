"""Files of activations: where in each kind the numbers lie, and rows read when they are asked for.

=========================  ==================================================================================
`.npy`                     NumPy's arrays
`.safetensors`             one tensor, or the one called `activations`
`.bin`, `.dat`, `.raw`     numbers alone (`np.memmap`), with their form said: `float16[768]`
folder with `state.json`   a dataset of Hugging Face, such as SAELens' cached activations: `dataset_rows`
`.zarr`                    Zarr arrays, with `pip install 'sae-frontier[zarr]'`: `zarr_rows`
=========================  ==================================================================================

All but the last are plain numbers at some place of a file, and are read from there by their bytes: nothing is
held in memory, no pickle is opened, and a file that became shorter is an error and no crash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from frontier.wording import listed
from trainers.text import TextError

WANTED = "activations"
"""Name of the tensor in a safetensors file that holds several."""
RAW = (".bin", ".dat", ".raw")
RAW_FORM = r"^(float16|bfloat16|float32|float64)\[(\d+)(?:, ?(\d+))?\]$"
"""How the numbers of a file without a header are said."""
SAFETENSORS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}  # fmt: skip
"""Number formats of safetensors files, as torch calls them."""


class Part(Protocol):
    """Rows of one source, in float32.

    Attributes
    ----------
    name : str
        What it is called in errors.
    shape : (int, int)
        Rows and width.
    inner : int
        Rows of one window `[n, T, d]`; 1 where there are none.
    """

    name: str
    shape: tuple[int, int]
    inner: int

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The rows of these numbers."""


class PlainRows:
    """Rows `[N, d]` or `[n, T, d]` that lie one after the other in a file, from byte `start` on."""

    def __init__(self, place: Path, start: int, form: np.dtype | torch.dtype, shape: Sequence[int]) -> None:
        self.place, self.name, self._start, self._form = place, str(place), start, form
        self.shape, self.inner = flat(self.name, shape)
        self._row = self.shape[1] * form.itemsize
        self._size = place.stat().st_size
        if start + self.shape[0] * self._row > self._size:
            raise TextError(f"{place} is torn: it has {self._size:,} bytes, its header promises more")

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows as float32.

        Raises
        ------
        TextError
            If the file is another than when it was opened.
        """
        first, place = np.unique(numbers, return_inverse=True)
        data = np.empty(len(first) * self._row, dtype=np.uint8)
        view, done = data.data, 0
        try:
            with self.place.open("rb", buffering=0) as file:
                for run in neighbours(first):
                    file.seek(self._start + int(run[0]) * self._row)
                    done += _filled(file, view[done : done + len(run) * self._row])
        except OSError as error:
            raise TextError(f"{self.name} cannot be read any more: {error.strerror}") from error
        if done < len(data) or self.place.stat().st_size != self._size:
            raise TextError(
                f"{self.name} has another size than when it was opened; start again with whole files"
            )
        found = _numbers(data, self._form).reshape(len(first), self.shape[1])
        return found if np.array_equal(first, numbers) else found[place]


class HeldRows:
    """Rows of an array that is sliced: NumPy, torch, Zarr, h5py, or anything alike."""

    def __init__(self, array: Any, name: str = "an array") -> None:
        kind = getattr(array.dtype, "kind", None) or ("f" if array.dtype.is_floating_point else "i")
        if kind != "f":
            raise TextError(f"{name} holds {array.dtype}; wanted activations as floating-point numbers")
        self.name, self._array = name, array
        self.shape, self.inner = flat(name, array.shape)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows as float32."""
        outer, inner = np.divmod(numbers, self.inner)
        first, place = np.unique(outer, return_inverse=True)
        try:
            parts = [_array(self._array[int(r[0]) : int(r[-1]) + 1]) for r in neighbours(first)]
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise TextError(f"{self.name} cannot be read: {error}") from error
        found = np.concatenate(parts)[place]
        return found if found.ndim == 2 else found[np.arange(len(inner)), inner]


def flat(name: str, shape: Sequence[int]) -> tuple[tuple[int, int], int]:
    """Rows and width of `[N, d]` or `[n, T, d]`, and T (1 where there is none).

    Raises
    ------
    TextError
        If the shape is another, or empty.
    """
    if len(shape) not in (2, 3) or not np.prod(shape):
        raise TextError(
            f"{name} holds an array of shape {tuple(shape)}; wanted activations [N, d] or [n, T, d]"
        )
    return (int(np.prod(shape[:-1])), int(shape[-1])), int(shape[1]) if len(shape) == 3 else 1


def neighbours(numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Rising numbers in runs without a gap."""
    return iter(np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1))


def opened_file(place: Path, form: str | None = None) -> Part:
    """The rows of one file.

    Raises
    ------
    TextError
        If it cannot be read as activations: what it holds, and what was wanted.
    """
    try:
        return KINDS[place.suffix](place, form) if place.suffix in KINDS else _raw(place, form)
    except (ValueError, EOFError, OSError, KeyError, SafetensorError) as error:
        if isinstance(error, TextError):
            raise
        raise TextError(f"{place} cannot be read as an array of activations: {error}") from error


def _npy(place: Path, form: str | None) -> Part:
    array = np.load(place, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind != "f" or not array.flags.c_contiguous:
        return HeldRows(array, str(place))
    return PlainRows(place, array.offset, array.dtype, array.shape)


def _safetensors(place: Path, form: str | None) -> Part:
    with safe_open(place, framework="pt") as tensors:  # which looks through the header
        names = list(tensors.keys())
    if len(names) != 1 and WANTED not in names:
        raise TextError(f"{place} holds {listed(names, 5)}; wanted one tensor, or one named {WANTED!r}")
    with place.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        found = json.loads(file.read(length))[WANTED if WANTED in names else names[0]]
    if found["dtype"] not in SAFETENSORS:
        raise TextError(f"{place} holds {found['dtype']}; wanted activations as floating-point numbers")
    number = getattr(torch, SAFETENSORS[found["dtype"]])
    return PlainRows(place, 8 + length + found["data_offsets"][0], number, found["shape"])


def _raw(place: Path, form: str | None) -> Part:
    said = re.match(RAW_FORM, form or "")
    if said is None:
        raise TextError(
            f'{place} has no header; say its numbers as raw_format = "float16[768]" (a row of 768), or '
            '"float32[197, 768]" (197 rows a window)'
        )
    number = getattr(torch, said[1])
    inner = [int(n) for n in said.groups()[1:] if n]
    one, size = int(np.prod(inner)) * number.itemsize, place.stat().st_size
    if not one or not size or size % one:
        raise TextError(
            f"{place} has {size:,} bytes, which is no whole number of {form} ({one:,} bytes each)"
        )
    return PlainRows(place, 0, number, (size // one, *inner))


KINDS: dict[str, Callable[[Path, str | None], Part]] = {".npy": _npy, ".safetensors": _safetensors}


def _filled(file: Any, view: memoryview) -> int:
    """Bytes that could be read into a view: fewer where the file ends."""
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])
        if not count:
            break
        done += count
    return done


def _numbers(data: np.ndarray, form: np.dtype | torch.dtype) -> np.ndarray:
    """Bytes as float32."""
    if isinstance(form, torch.dtype):
        return torch.from_numpy(data).view(form).float().numpy()
    return data.view(form).astype(np.float32, copy=False)


def _array(values: Any) -> np.ndarray:
    """A piece of any array as float32."""
    if isinstance(values, torch.Tensor):
        return values.detach().cpu().float().numpy()
    return np.asarray(values, dtype=np.float32)
