"""Plain tables: CSV, TSV, Parquet, JSON and JSON lines."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd

from frontier._format import listed, nearest
from frontier.checks import TableError

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".json", ".jsonl", ".ndjson")


def read_records(path: Path) -> pd.DataFrame:
    """The file as a frame under its own column names.

    Raises
    ------
    TableError
        One line that names the file and what was expected.
    """
    if not path.exists():
        siblings = [p.name for p in path.parent.glob("*") if p.suffix.lower() in SUFFIXES] if path.parent.is_dir() else []
        raise TableError(f"no file {path}" + (nearest(path.name, siblings) if siblings else ""))
    if path.is_dir():
        raise TableError(f"{path} is a folder; expected a file ending in {listed(SUFFIXES)}")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TableError(f"{path}: unknown kind of file {suffix or '(no ending)'!r}; expected {listed(SUFFIXES)}")
    if not path.stat().st_size:
        raise TableError(f"{path} is empty")
    try:
        return _READERS[suffix](path)
    except TableError:
        raise
    except (ValueError, OSError, RecursionError, csv.Error, pd.errors.ParserError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableError(f"{path} cannot be read as {suffix[1:]}: {reason}") from error


def _read_separated(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline()
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
    return pd.read_csv(path, sep=separator, encoding="utf-8-sig", skipinitialspace=True, low_memory=False)


def _read_json(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig") as file:
        return _frame(json.load(file), path)


def _read_json_lines(path: Path) -> pd.DataFrame:
    records = []
    with path.open(encoding="utf-8-sig") as file:
        for i, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise TableError(f"{path}: line {i} is not JSON: {error}") from error
    return _frame(records, path)


def _frame(content: Any, path: Path) -> pd.DataFrame:
    """Records, or a dict of columns, or a dict of records; nested keys become dotted names."""
    if isinstance(content, dict):
        if content and all(isinstance(v, list) for v in content.values()):
            return pd.DataFrame(content)
        if content and all(isinstance(v, dict) for v in content.values()):
            content = [{"run_id": name, **record} for name, record in content.items()]
        else:
            content = [content]
    if not isinstance(content, list) or not all(isinstance(r, dict) for r in content):
        raise TableError(f"{path}: expected a list of records or a dict of columns, found {type(content).__name__}")
    return pd.json_normalize(content, sep=".")


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow

    try:
        return pd.read_parquet(path, engine="pyarrow")
    except pyarrow.ArrowException as error:
        raise TableError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error


_READERS = {
    ".csv": _read_separated,
    ".tsv": _read_separated,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}
