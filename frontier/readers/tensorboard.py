"""TensorBoard's event files, read by its own loader: the last value of every scalar, and texts."""

from __future__ import annotations

import os
from typing import Any

from frontier.metrics.checks import TableError
from frontier.readers.found import Found
from frontier.readers.logged import log_of
from frontier.readers.opening import too_large
from frontier.readers.optional import optional

KIND = "TensorBoard log"
MARK = "tfevents"
"""What the names of event files have in common."""
LARGEST = 4 * 2**30
"""Bytes of a file that are read, event by event."""


def is_events(name: str) -> bool:
    """Whether a file's name is that of an event file."""
    return MARK in name.lower()


def read_events(path: str, found: Found) -> str:
    """One event file into the log of its folder.

    Raises
    ------
    TableError
        When it is too large.
    ImportError
        When tensorboard is not installed.
    """
    loader: Any = optional("tensorboard.backend.event_processing.event_file_loader", "tensorboard")
    tensors: Any = optional("tensorboard.util.tensor_util", "tensorboard")
    if os.path.getsize(path) > LARGEST:
        raise TableError(too_large(os.path.getsize(path), LARGEST))
    folder = os.path.dirname(path)
    log = log_of(found, ("tensorboard", folder), _name(folder), path)
    for event in loader.EventFileLoader(path).Load():
        for value in event.summary.value:
            if not value.HasField("tensor"):
                continue
            plain = tensors.make_ndarray(value.tensor)
            if plain.size == 1:
                one = plain.reshape(-1)[0]
                log.values[value.tag] = (
                    one.decode("utf-8", "replace") if isinstance(one, bytes) else one.item()
                )
    return KIND


def _name(folder: str) -> str:
    """The run's name: that of the folder, or of the one above where it is called tensorboard."""
    above, own = os.path.split(os.path.abspath(folder))
    return os.path.basename(above) if own in ("tensorboard", "tb", "logs") else own
