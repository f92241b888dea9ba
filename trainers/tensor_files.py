"""Tensors on disk, as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}
"""What is written in parts, as safetensors calls it."""


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a draft, with the permissions that the umask gives (safetensors' own are 0600).

    Raises
    ------
    OSError
        If the system refuses.
    """
    path.touch()
    mode = path.stat().st_mode
    ready = {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
    try:
        save_file(ready, path, metadata)
    except SafetensorError as error:  # of the system, as a tensor has nothing else that can fail
        raise OSError(str(error)) from error
    path.chmod(mode)


def in_file_order(shapes: Mapping[str, tuple[torch.dtype, list[int]]]) -> list[str]:
    """The names of tensors as they lie in a file: the widest numbers first."""
    return sorted(shapes, key=lambda name: (-shapes[name][0].itemsize, name))


class TensorsInParts:
    """A file to which tensors are written a part at a time; in the end that which `write_tensors` writes.

    Parameters
    ----------
    shapes : mapping of str to (torch.dtype, sequence of int)
        Of the whole tensors.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[torch.dtype, list[int]]]) -> None:
        self._shapes, self._places = shapes, dict[str, int]()
        header, place = {}, 0
        for name in in_file_order(shapes):
            dtype, shape = shapes[name]
            end = place + prod(shape) * dtype.itemsize
            header[name] = {"dtype": TYPES[dtype], "shape": shape, "data_offsets": [place, end]}
            self._places[name], place = place, end
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        self._file = path.open("wb")
        self._file.write(len(text).to_bytes(8, "little") + text)
        self._start = self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, name: str, part: Tensor, dim: int | None, first: int = 0) -> None:
        """Write what begins at `first` along a dimension; without one the whole tensor."""
        _, shape = self._shapes[name]
        part = part.detach().cpu().contiguous()
        before = prod(shape[:dim]) if dim is not None else 1
        pieces = part.reshape(before, -1).numpy()
        stride = prod(shape) // before * part.element_size()  # from one piece to the next
        place = self._start + self._places[name]
        if dim is not None:
            place += first * prod(shape[dim + 1 :]) * part.element_size()
        for number, piece in enumerate(pieces):
            self._file.seek(place + number * stride)
            self._file.write(piece.data)
