"""Files opened with care: bounded in size, parsed as data and never as code."""

from __future__ import annotations

import ast
import codecs
import json
import os
import re
from typing import Any

from frontier.metrics.checks import TableError

LARGEST = 256 * 2**20
"""Bytes of a JSON file; a larger one is no result file."""

LARGEST_YAML = 8 * 2**20
DEEPEST_YAML = 50
LARGEST_CELL = 2**20
"""Characters of a dict written into a cell."""


def bounded(path: str, most: int = LARGEST) -> bytes:
    """The bytes of a regular file.

    Raises
    ------
    TableError
        When it is larger than `most`.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # fewer system calls than open()
    try:
        size = os.fstat(handle).st_size
        if size > most:
            raise TableError(too_large(size, most))
        content = os.read(handle, size)
        while len(content) < size and (more := os.read(handle, size - len(content))):
            content += more
        return content
    finally:
        os.close(handle)


def too_large(size: int, most: int = LARGEST) -> str:
    """Why a file of so many bytes is not read."""
    return f"it has {size / 2**20:.0f} MB; at most {most / 2**20:.0f} MB are read"


def json_file(path: str) -> Any:
    """The content of a JSON file; JSON lines under the wrong ending become a list."""
    return json_content(bounded(path))


def json_content(content: bytes) -> Any:
    """What the bytes of a JSON file say; JSON lines become a list."""
    if not content:
        raise TableError("it is empty")
    decoded = decode(content)
    try:
        return json.loads(decoded)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and "\n" in decoded.strip():
            return json_lines(decoded)
        raise TableError(_not_json(error, decoded)) from error
    except RecursionError:
        raise TableError("it is nested too deeply (recursion)") from None


def _not_json(error: json.JSONDecodeError, decoded: str) -> str:
    if error.pos >= len(decoded.rstrip()):
        return "it ends in the middle of a value: the file seems cut off"
    near = decoded[error.pos : error.pos + 20].split("\n")[0]
    return f"line {error.lineno}, column {error.colno} is not JSON, at {near!r}"


def decode(content: bytes) -> str:
    """UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    >>> decode("l0;größe".encode("utf-16-le")), decode("l0".encode("utf-8-sig"))
    ('l0;größe', 'l0')
    """
    if b"\0" in content[:4] or content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        content = content[: len(content) // 2 * 2]
        return content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
    return content.removeprefix(codecs.BOM_UTF8).decode()


def decode_table(content: bytes) -> tuple[str, str]:
    """As `decode`, or Windows' cp1252, in which spreadsheets save; and what to say about it.

    Raises
    ------
    TableError
        When it is none of them, or no text at all.
    """
    try:
        return decode(content), ""
    except UnicodeDecodeError:
        pass
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        text = "\0"
    if re.search(r"[\x00-\x08\x0e-\x1f]", text):
        raise TableError("it is no text in UTF-8, UTF-16 or Windows' cp1252")
    return text, "it is not UTF-8 text: read as Windows' cp1252"


def json_lines(content: str) -> list[Any]:
    """One JSON value per line, or one after the other over several lines each."""
    records, lines = [], content.split("\n")
    for i, line in enumerate(lines, start=1):
        if line.strip():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError as error:
                if not records and (values := _one_after_the_other(content)):
                    return values
                last = records and not "".join(lines[i:]).strip()
                hint = "; delete that line to read those above it" if last else ""
                raise TableError(f"line {i} is not JSON: {_not_json(error, line)}{hint}") from error
            except RecursionError:
                raise TableError(f"line {i} is nested too deeply (recursion)") from None
    return records


def _one_after_the_other(content: str) -> list[Any]:
    """The values of a text that holds nothing else, as jq prints them; none where it holds more."""
    decoder, values, place = json.JSONDecoder(), [], 0
    content = content.strip()
    try:
        while place < len(content):
            value, place = decoder.raw_decode(content, place)
            values.append(value)
            while place < len(content) and content[place].isspace():
                place += 1
    except (json.JSONDecodeError, RecursionError):
        return []
    return values


def yaml_content(content: bytes) -> Any:
    """What the bytes of a YAML file say: plain values only, no tags, no Python objects, no aliases."""
    import yaml

    if len(content) > LARGEST_YAML:
        raise TableError(too_large(len(content), LARGEST_YAML))
    said = decode(content)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    for event in yaml.parse(said, Loader=loader):  # the loader in C would overflow its stack on deep nesting
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST_YAML:
            raise TableError(f"it is nested more than {DEEPEST_YAML} deep")
        if isinstance(event, yaml.AliasEvent):  # they let a small file unfold into a huge one
            raise TableError("it has YAML aliases, which no list of SAEs has")
    return yaml.load(said, Loader=loader)  # noqa: S506  the safe loader, in C where it is built


def python_dict(cell: object) -> dict[str, Any]:
    """The dict that a cell's text spells, as Python or JSON writes it; never evaluated.

    >>> python_dict("{'l0': 3, 'mse': nan}")
    {'l0': 3, 'mse': None}

    Raises
    ------
    TableError
        When it is no dict, or too long.
    """
    if isinstance(cell, dict):
        return cell
    if not isinstance(cell, str) or not cell.strip():
        return {}
    if len(cell) > LARGEST_CELL:
        raise TableError(f"a cell has {len(cell)} characters, more than the {LARGEST_CELL} that are read")
    plain = re.sub(r"(?<=[:\[,(])(\s*)-?(?:nan|inf)(?=\s*[,}\])])", r"\1None", cell)
    try:
        found = ast.literal_eval(plain.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        try:
            found = json.loads(cell)
        except (ValueError, RecursionError):
            raise TableError(f"a cell is no dict of plain values: {cell[:40]!r}") from None
    if not isinstance(found, dict):
        raise TableError(f"a cell is {type(found).__name__}, expected a dict: {cell[:40]!r}")
    return found
