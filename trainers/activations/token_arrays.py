"""Token ids that come as arrays: NumPy and safetensors files, checked before a model reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from trainers.text import TextError

ARRAY_FILES = (".npy", ".safetensors")
"""Endings of files that hold token ids."""


def read_array(file: Path) -> Any:
    """The token ids of a file; of an `.npy` only the rows that are used are read later.

    Raises
    ------
    TextError
        If the file is missing, is torn, holds Python objects, or holds several tensors and none is `tokens`.
    """
    if not file.is_file():
        raise TextError(f"no file of token ids at {file}")
    try:
        if file.suffix == ".npy":
            return np.load(file, mmap_mode="r", allow_pickle=False)
        with safe_open(file, framework="pt") as tensors:
            names = list(tensors.keys())
            if len(names) != 1 and "tokens" not in names:
                raise TextError(f"{file} holds {names}; wanted one tensor, or one named 'tokens'")
            return tensors.get_tensor("tokens" if "tokens" in names else names[0])
    except (ValueError, EOFError, SafetensorError) as error:
        if isinstance(error, TextError):
            raise
        raise TextError(f"{file} cannot be read as an array of token ids: {error}") from error


def checked_array(name: str, array: Any, vocabulary_size: int) -> np.ndarray:
    """Token ids as int32, if they are whole numbers inside the vocabulary.

    Raises
    ------
    TextError
        Names the dtype, or the first id outside the vocabulary and its place.
    """
    ids = array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
    if ids.dtype.kind not in "iu":
        raise TextError(f"{name} has dtype {ids.dtype}; wanted whole numbers (token ids)")
    outside = (ids < 0) | (ids >= vocabulary_size)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise TextError(
            f"{name} has token {ids[row, column]} in window {row} at position {column}; "
            f"the model's tokens are 0 to {vocabulary_size - 1}"
        )
    return ids.astype(np.int32)
