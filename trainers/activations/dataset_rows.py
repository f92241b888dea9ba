"""Datasets of Hugging Face on disk, such as SAELens' cached activations: where their numbers lie.

Such a folder has `state.json` and Arrow files. A column of windows `[T, d]` is one block of plain numbers for
each batch of its records; these blocks are found here once, and read as those of any other file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from frontier.wording import listed
from trainers.activations.row_files import Part, PlainRows
from trainers.text import TextError

STATE = "state.json"


def is_dataset(place: Path) -> bool:
    """Whether a folder is a dataset that was saved to disk."""
    return (place / STATE).is_file()


def dataset_files(place: Path) -> list[Path]:
    """The Arrow files of a dataset, in its order.

    Raises
    ------
    TextError
        If the folder's `state.json` says none, or one is missing.
    """
    try:
        state = json.loads((place / STATE).read_text(encoding="utf-8"))
        found = [place / Path(one["filename"]).name for one in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TextError(f"{place}/{STATE} does not say which files the dataset has: {error}") from error
    lacking = [p.name for p in found if not p.is_file()]
    if lacking or not found:
        raise TextError(f"{place} lacks {listed(lacking, 3) or 'any file'}, which {STATE} names")
    if state.get("_indices_files"):
        raise TextError(f"{place} was shuffled or filtered without being written anew; save it flattened")
    return found


def arrow_rows(place: Path, column: str) -> tuple[str, list[Part]]:
    """The column of activations in an Arrow file, and its rows, a part for each batch of records.

    Parameters
    ----------
    column : str
        Taken where several columns could be it.

    Raises
    ------
    TextError
        If the file is torn, or no column or several are activations.
    """
    try:
        with pa.memory_map(str(place)) as source:
            whole = source.read_buffer()
            table = pa.ipc.open_stream(whole).read_all()
            fits = [name for name, kind in zip(table.column_names, table.schema.types, strict=True)
                    if _is_rows(kind)]  # fmt: skip
            if len(fits) != 1 and column not in fits:
                raise TextError(
                    f"{place} has {listed(fits) or 'no column'} of activations, among "
                    f"{listed(table.column_names)}; wanted one, or the one that activations.site names"
                )
            name = fits[0] if len(fits) == 1 else column
            chunks = table.column(name).chunks
            return name, [one for chunk in chunks for one in _parts(place, chunk, whole)]
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, TextError):
            raise
        raise TextError(f"{place} cannot be read as a dataset of activations: {error}") from error


def _is_rows(kind: pa.DataType) -> bool:
    """Whether a column holds lists of floating-point numbers, or lists of such lists."""
    kind = _plain(kind)
    depth = 0
    while _is_list(kind):
        kind, depth = _plain(kind.value_type), depth + 1
    return depth in (1, 2) and pa.types.is_floating(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.ExtensionType) else kind


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _parts(place: Path, array: Any, whole: pa.Buffer) -> Iterator[Part]:
    """The rows of one batch of records, as a block of the file."""
    shape = [len(array)]
    if not len(array):
        return
    while True:
        array = array.storage if isinstance(array, pa.ExtensionArray) else array
        if array.null_count:
            raise TextError(f"{place} has missing values")
        if not _is_list(array.type):
            break
        values = array.flatten()
        lengths = np.unique(np.asarray(array.value_lengths()))
        if len(lengths) != 1:
            raise TextError(f"{place} has rows of {lengths[0]} to {lengths[-1]} numbers; wanted one width")
        shape.append(int(lengths[0]))
        array = values
    form = np.dtype(array.type.to_pandas_dtype())
    block = array.buffers()[1]
    start = block.address - whole.address
    if not 0 <= start < whole.size:
        raise TextError(f"{place} is compressed; save the dataset without")
    yield PlainRows(place, start + array.offset * form.itemsize, form, shape)
