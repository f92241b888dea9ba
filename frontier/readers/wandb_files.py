"""Local runs of Weights & Biases (`wandb/offline-run-*/run-*.wandb`), read with its own message classes.

The file is a log of records as LevelDB writes it: blocks of 32 KiB; each piece has a CRC-32, a length and a
kind (whole, first, middle, last). Source: LevelDB's doc/log_format.md.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from frontier.metrics.checks import TableError
from frontier.readers.found import Found
from frontier.readers.logged import log_of
from frontier.readers.opening import bounded
from frontier.readers.optional import optional

SUFFIX = ".wandb"
LARGEST = 2**30
"""Bytes of a file that are read."""
MAGIC = b":W&B"
BLOCK, START, PIECE = 32768, 7, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_log(path: str, found: Found) -> str:
    """The last values and the configuration of one file into the log of its run.

    Raises
    ------
    TableError
        When it is no such file.
    ImportError
        When wandb is not installed.
    """
    messages: Any = optional("wandb.proto.wandb_internal_pb2", "wandb")
    content = bounded(path, LARGEST)
    if content[:4] != MAGIC:
        raise TableError("it is no file of Weights & Biases")
    values: dict[str, Any] = {}
    config: dict[str, Any] = {}
    name = key = ""
    doubt = "run has no end in its log"
    for raw in records(content):
        record = messages.Record()
        record.ParseFromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            name, key = record.run.display_name or record.run.run_id, record.run.run_id
            _take(config, record.run.config.update)
        elif kind == "config":
            _take(config, record.config.update)
        elif kind == "history":
            _take(values, record.history.item)
        elif kind == "summary":
            _take(values, record.summary.update)
        elif kind == "exit":
            doubt = f"run ended with exit code {record.exit.exit_code}" if record.exit.exit_code else ""
    log = log_of(found, ("wandb", key or path), name or path, path)
    log.values |= {k: v for k, v in sorted(values.items()) if not k.startswith("_wandb")}
    log.config |= {k: v for k, v in config.items() if k != "_wandb"}
    log.doubt = doubt
    return "Weights & Biases run"


def records(content: bytes) -> Iterator[bytes]:
    """The records of a log; one that a kill has cut short ends it.

    Raises
    ------
    TableError
        When a piece does not have the checksum that it says.
    """
    position, pieces = START, b""
    while position + PIECE <= len(content):
        left = BLOCK - position % BLOCK
        if left < PIECE:
            position += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", content, position)
        piece = content[position + PIECE : position + PIECE + length]
        position += PIECE + length
        if len(piece) < length or not (kind or length):
            return
        if zlib.crc32(bytes([kind]) + piece) != checksum:
            raise TableError(f"it is damaged near byte {position - length}")
        pieces = piece if kind in (WHOLE, FIRST) else pieces + piece
        if kind in (WHOLE, LAST):
            yield pieces


def _take(into: dict[str, Any], items: Any) -> None:
    """Values that are JSON text, under their names; nested ones under dotted names."""
    for item in items:
        try:
            into[".".join(item.nested_key) or item.key] = json.loads(item.value_json)
        except (ValueError, RecursionError):
            continue
