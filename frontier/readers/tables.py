"""Plain tables: CSV, TSV, Parquet, JSON and JSON lines."""

from __future__ import annotations

import codecs
import csv
import re
import warnings
from pathlib import Path

import pandas as pd

from frontier.metrics.checks import TableError
from frontier.metrics.columns import canonical_name
from frontier.metrics.frames import from_records
from frontier.readers.opening import bounded, decode, json_file, json_lines
from frontier.wording import listed, nearest

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".json", ".jsonl", ".ndjson")


def read_records(path: Path) -> pd.DataFrame:
    """The file as a frame under its own column names.

    Raises
    ------
    TableError
        One line that names the file and what was expected.
    """
    suffix = path.suffix.lower()
    if check_path(path):
        raise TableError(f"{path} is a folder; expected a file ending in {listed(SUFFIXES)}")
    try:
        return _READERS[suffix](path)
    except Exception as error:  # any bytes may stand in a file, and the parsers raise all sorts
        raise cannot_read(path, suffix, error) from error


def cannot_read(path: Path | str, suffix: str, error: Exception) -> TableError:
    """One line on why a file could not be read."""
    said = str(error).strip().splitlines()
    reason = said[0][:300] if said else type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        reason = "it is not UTF-8 text"
    elif isinstance(error, (KeyError, AttributeError, TypeError)):
        reason = f"its content is not as expected ({reason})"
    return TableError(f"{path} cannot be read as {suffix[1:]}: {reason}")


def check_path(path: Path, kinds: tuple[str, ...] = SUFFIXES) -> bool:
    """Whether the path is a folder; if it is a file, it is one of a known ending that holds something.

    Raises
    ------
    TableError
        When there is no such path, or the file is of another kind, or empty.
    """
    try:
        exists, folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise TableError(f"{str(path)[:80]!r} is no path: {type(error).__name__}") from error
    if not exists:
        files = path.parent.glob("*") if path.parent.is_dir() else ()
        siblings = sorted(p.name for p in files if p.suffix.lower() in kinds)
        raise TableError(f"no file {path}" + (nearest(path.name, siblings[:100]) if siblings else ""))
    if folder:
        return True
    suffix = path.suffix.lower()
    if suffix not in kinds:
        raise TableError(
            f"{path}: unknown kind of file {suffix or '(no ending)'!r}; expected {listed(kinds, 12)}"
        )
    if not path.stat().st_size:
        raise TableError(f"{path} is empty")
    return False


def _encoding(content: bytes) -> str:
    """UTF-8 with or without a byte-order mark, or UTF-16 with one, as spreadsheets save 'Unicode text'."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if wide else "utf-8-sig"


def _read_separated(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        encoding = _encoding(file.read(4))
    with path.open(encoding=encoding, newline="") as file:
        sample = file.read(1 << 16)
    head = sample.lstrip("\r\n").split("\n", 1)[0]
    tabs = path.suffix.lower() == ".tsv" and "\t" in head
    separator = "\t" if tabs else max(",;\t|", key=head.count)
    _refuse_twice(next(csv.reader([head], delimiter=separator), []))
    commas = separator == ";" and re.search(r"(?:^|;)\s*-?\d+,\d+\s*(?:;|\r?$)", sample, re.MULTILINE)
    with warnings.catch_warnings():
        # More cells than names would shift all columns by one; pandas only warns.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        table = pd.read_csv(
            path,
            sep=separator,
            encoding=encoding,
            skipinitialspace=True,
            index_col=False,
            low_memory=False,
            decimal="," if commas else ".",
        )
    return _without_nameless(table)


def _refuse_twice(names: list[str]) -> None:
    """Pandas would call the second of two equal names 'l0.1', and nobody would know."""
    known = [n.strip() for n in names if canonical_name(n)]
    for name in known:
        if known.count(name) > 1:
            raise TableError(f"column {name!r} stands in the header twice")


def _without_nameless(table: pd.DataFrame) -> pd.DataFrame:
    """The table without a nameless first column of row numbers (`to_csv`), and nameless empty ones."""
    nameless = [c for c in table.columns if re.fullmatch(r"Unnamed: \d+", str(c))]
    empty = [c for c in nameless if table[c].isna().all()]
    counts = [c for c in nameless if c == "Unnamed: 0" and pd.api.types.is_integer_dtype(table[c].dtype)]
    return table.drop(columns=[*empty, *counts])


def _read_json(path: Path) -> pd.DataFrame:
    return from_records(json_file(str(path)))


def _read_json_lines(path: Path) -> pd.DataFrame:
    return from_records(json_lines(decode(bounded(str(path)))))


def _read_parquet(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path, engine="pyarrow")
    table.attrs = {}  # a file cannot say that it was checked
    return table


_READERS = {
    ".csv": _read_separated,
    ".tsv": _read_separated,
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}
