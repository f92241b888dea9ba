"""How a result was made: the call, a digest of its data, the versions; kept so that it can be made again.

A record is plain JSON. No path of a machine stands in it: a file has its name, a place on the network the
last part of its address.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
import platform
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from frontier.arguments import checks_of
from frontier.metrics.checks import TableError
from frontier.metrics.frames import lazy_rows, to_pandas
from frontier.places import address_of, name_of
from frontier.wording import one_line, plural

F = TypeVar("F", bound=Callable[..., Any])
Record = dict[str, Any]

MADE = "frontier_made"
"""Under this name a frame carries its record, as JSON text."""
PACKAGES = ("numpy", "scipy", "pandas", "lmfit", "moocore", "statsmodels", "plotly")
SHOWN = ("sae-frontier", "Python", "numpy", "scipy", "pandas")
"""Versions that the line under a table names; the record has all."""
PLAIN = (str, int, float, np.ndarray)
"""Values that carry no record."""
SILENT = ("backend", "progress")
"""Arguments that change no number."""
SOURCES = ("table", "source")
"""Arguments whose text is a path."""

_inside: ContextVar[bool] = ContextVar("inside a recorded call", default=False)


def recorded(function: F) -> F:
    """Let what a public function returns carry the record of the call that made it; arguments are checked.

    >>> from frontier import load_dataset
    >>> spoken(record_of(load_dataset("gated_gemma7b")))
    "frontier.load_dataset('gated_gemma7b')"
    """
    signature = inspect.signature(function)
    check = checks_of(function)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if _inside.get():
            return function(*arguments, **options)
        check(arguments, options)
        token = _inside.set(True)
        try:
            result = function(*arguments, **options)
            keep(result, _call(function.__name__, signature.bind(*arguments, **options)))
        finally:
            _inside.reset(token)
        return result

    call.is_recorded = True  # type: ignore[attr-defined]
    return cast(F, call)


def keep(result: Any, made: Record) -> None:
    """Write the record to a result (and to the results it consists of) or to a pandas frame."""
    if isinstance(result, pd.DataFrame):
        result.attrs[MADE] = json.dumps(made)
    elif is_dataclass(type(result)) and hasattr(result, "__dict__"):
        own = vars(result)
        own["_made"] = made  # also of a frozen one
        for name in _fields(cast(Hashable, type(result))):
            if not isinstance(own.get(name), PLAIN):
                _keep_part(getattr(result, name), made, [name])


@functools.cache
def _fields(kind: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cast(Any, kind)))


def part(result: Any, name: str, value: Any) -> Any:
    """What a property of a result gives, with the record of the result it is a part of."""
    made = record_of(result)
    if made is not None:
        _keep_part(value, made, [name])
    return value


def _keep_part(value: Any, made: Record, way: list[str | int]) -> None:
    if isinstance(value, tuple):
        for i, one in enumerate(value):
            if hasattr(one, "to_dict"):
                _keep_part(one, made, [*way, i])
    elif hasattr(value, "to_dict") and is_dataclass(value):
        keep(value, {"part": [*made.get("part", ()), *way], "of": made.get("of", made)})


def is_record(made: Any) -> bool:
    """Whether what a file says of how it was made has the form of a record."""
    if not isinstance(made, dict):
        return False
    if "part" in made:
        return (
            isinstance(made["part"], list) and "part" not in made.get("of", {}) and is_record(made.get("of"))
        )
    return isinstance(made.get("call"), str) and isinstance(made.get("arguments"), dict)


def record_of(thing: Any) -> Record | None:
    """The record that a result or a pandas frame carries."""
    if isinstance(thing, pd.DataFrame):
        said = thing.attrs.get(MADE)
        return json.loads(said) if isinstance(said, str) else None
    found = getattr(thing, "__dict__", {}).get("_made")
    return found if isinstance(found, dict) else None


def _call(name: str, bound: inspect.BoundArguments) -> Record:
    defaults = {k: p.default for k, p in bound.signature.parameters.items()}
    given = {
        k: _file(os.fspath(v)) if k in SOURCES and isinstance(v, (str, os.PathLike)) else _argument(v)
        for k, v in bound.arguments.items()
        if k not in SILENT and v is not defaults[k]
    }
    return {"call": name, "arguments": given, "versions": dict(versions())}


def _argument(value: Any) -> Any:
    """An argument as JSON; what is no plain value stands in a dict under a name with $."""
    made = None if isinstance(value, pd.DataFrame) else record_of(value)
    if made is not None:
        return {"$made": _bare(made)}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping) and not any(
        isinstance(v, (list, tuple, np.ndarray)) for v in value.values()
    ):
        return {"$values": {str(k): _argument(v) for k, v in value.items()}}
    if isinstance(value, Sequence) and not (value and isinstance(value[0], Mapping)):
        return [_argument(v) for v in value]
    try:
        if lazy_rows(value) is not None:  # a digest would load what nobody uses
            return {"$unknown": "a large LazyFrame"}
        return {"$data": _data(value)}
    except (TableError, TypeError):
        return {"$unknown": type(value).__name__}


def _bare(made: Record) -> Record:
    """A record inside another one, whose versions are the same."""
    return {k: _bare(v) if k == "of" else v for k, v in made.items() if k != "versions"}


def _data(value: Any) -> Record:
    """A table: its digest, and, where it is known, the call that gave it and which of those rows it has."""
    frame = to_pandas(value)
    made = record_of(value)
    found: Record = {"sha256": digest(frame), "rows": len(frame)}
    if made is not None:
        found["made"] = _bare(made)
        labels = frame.index
        if pd.api.types.is_integer_dtype(labels.dtype) and not labels.equals(pd.RangeIndex(len(frame))):
            found["labels"] = _stretches(labels.to_numpy())
    return found


def _stretches(labels: Any) -> list[list[int]]:
    """Whole numbers as stretches [first, last].

    >>> _stretches(np.array([3, 4, 5, 9]))
    [[3, 5], [9, 9]]
    """
    cuts = np.flatnonzero(np.diff(labels) != 1) + 1
    return [[int(s[0]), int(s[-1])] for s in np.split(labels, cuts) if len(s)]


def _file(path: str) -> Record:
    """A file or a folder by its name below the working folder, else by its last part; with its sha256."""
    if address := address_of(path):
        return {"$file": name_of(address)}
    given, here = Path(path).expanduser(), Path.cwd()
    whole, typed = given.resolve(), Path(os.path.abspath(given))
    inside = [p for p in (typed, whole) if p.is_relative_to(here) and p.resolve() == whole]  # also by a link
    name = inside[0].relative_to(here).as_posix() if inside else whole.name
    found: Record = {"$file": name}
    if whole.is_file():
        with whole.open("rb") as file:
            found["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def digest(table: pd.DataFrame) -> str:
    """SHA-256 of a table's content: columns by name, numbers as float64, all else as text; no row labels.

    >>> digest(pd.DataFrame({"a": [1, 2]})) == digest(pd.DataFrame({"a": [1.0, 2.0]}, index=[7, 8]))
    True
    """
    found = hashlib.sha256()
    for name, i in sorted((str(c), i) for i, c in enumerate(table.columns)):
        column = table.iloc[:, i]
        found.update(f"\x1d{name}\x1d{len(column)}\x1d".encode("utf-8", "replace"))
        if pd.api.types.is_numeric_dtype(column.dtype):
            numbers = column.to_numpy(dtype="<f8", na_value=np.nan) + 0.0  # -0 becomes 0
            found.update(np.where(np.isnan(numbers), np.nan, numbers).tobytes())
        else:
            cells = zip(column.astype(object), column.isna(), strict=True)
            text = "\x1f".join("\x1e" if missing else str(cell) for cell, missing in cells)
            found.update(text.encode("utf-8", "replace"))
    return found.hexdigest()


@functools.cache
def versions() -> tuple[tuple[str, str], ...]:
    """The tools that made the numbers, with their versions."""
    from frontier import __version__

    found = [("sae-frontier", __version__), ("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, installed(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def made_line(thing: Any) -> str:
    """What stands under a table: versions, digests of the data, the call; empty where it is not known."""
    made = record_of(thing)
    if made is None:
        return ""
    whole = made.get("of", made)
    known = dict(whole.get("versions") or {})
    tools = ", ".join(f"{name} {known[name]}" for name in SHOWN if name in known)
    seen = dict.fromkeys(f"{d['sha256']!s:.16}{_rows(d)}" for d in _datas(whole) if "sha256" in d)
    data = f"; data sha256 {', '.join(seen)}" if seen else ""
    return one_line(f"Made with {tools}{data}; {spoken(made)}")


def _rows(data: Record) -> str:
    return f" ({plural(data['rows'], 'row')})" if isinstance(data.get("rows"), int) else ""


def _datas(record: Any) -> list[Record]:
    """The tables and files that a call was given, outermost first."""
    if isinstance(record, dict):
        own = [record["$data"]] if "$data" in record else [record] if "$file" in record else []
        return own + [d for k, v in record.items() if k != "$data" for d in _datas(v)]
    return [d for v in record for d in _datas(v)] if isinstance(record, list) else []


def spoken(record: Any) -> str:
    """A record as one would type it in Python.

    >>> spoken({"call": "fit", "arguments": {"table": {"$file": "a.csv"}, "curve": "hill"}})
    "frontier.fit('a.csv', curve='hill')"
    """
    if isinstance(record, list):
        return f"[{', '.join(map(spoken, record))}]"
    if not isinstance(record, dict):
        return repr(record)
    if "part" in record:
        steps = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in record["part"])
        return spoken(record["of"]) + steps
    if "call" in record:
        parts = [
            f"{'' if i == 0 else f'{k}='}{spoken(v)}" for i, (k, v) in enumerate(record["arguments"].items())
        ]
        return f"frontier.{record['call']}({', '.join(parts)})"
    if "$made" in record:
        return spoken(record["$made"])
    if "$file" in record:
        return repr(record["$file"])
    if "$values" in record:
        return "{" + ", ".join(f"{k!r}: {spoken(v)}" for k, v in record["$values"].items()) + "}"
    if "$data" in record:
        data = record["$data"]
        table = spoken(data["made"]) if "made" in data else "table"
        return f"{table}[{_rows(data).strip(' ()')}]" if "labels" in data else table
    return f"<{record.get('$unknown', 'unknown')}>"
