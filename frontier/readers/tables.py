"""Plain tables: separated text, Markdown, Excel, Parquet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

import frontier.readers.columnar as columnar
import frontier.readers.compressed as compressed
import frontier.readers.spreadsheets as spreadsheets
from frontier.csv_cells import unquoted_frame
from frontier.metrics.checks import TableError
from frontier.readers.found import Options
from frontier.readers.headers import named
from frontier.readers.opening import decode_table
from frontier.readers.separated import read_grid
from frontier.readers.tensorboard import is_events
from frontier.wording import listed, nearest

SUFFIXES = (".csv", ".tsv", *columnar.SUFFIXES, ".json", ".jsonl", ".ndjson", *spreadsheets.SUFFIXES)
TEXTS = (".txt", ".md", ".markdown", ".dat")
"""Endings of files that are read as tables where they are named, and not looked into in folders."""

HINTS = {
    "a pickle, which can run code and is never opened": (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"),
    "an array file without column names": (".npy", ".npz", ".safetensors", ".h5", ".hdf5"),
    "an old or another spreadsheet": (".xls", ".xlsb", ".ods", ".numbers"),
    "a web page": (".html", ".htm"),
    "another column file": (".feather", ".arrow", ".orc", ".dta", ".sav", ".rds"),
    "a picture or a document": (".pdf", ".png", ".jpg", ".jpeg", ".svg", ".docx", ".ipynb"),
}
"""What files of other endings are, for those who try them."""

BEGINNINGS = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook: let its name end in .zip or .xlsx"),
    (b"\x1f\x8b", "compressed with gzip: let its name end in .gz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard: let its name end in .zst"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save it as .xlsx or CSV"),
    (b"PAR1", "Parquet: let its name end in .parquet"),
    (b"%PDF", "a PDF: copy its table into a CSV file"),
    (b"\x89PNG", "a picture"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'"),
    (b"<!doctype", "a web page: download the raw file instead"),
    (b"<", "a web page or XML: download the raw file instead"),
    (b"{", "JSON: let its name end in .json"),
    (b"[{", "JSON: let its name end in .json"),
)
"""First bytes of what is saved under a wrong ending, and what to do."""


def read_table(suffix: str, content: bytes, options: Options) -> tuple[pd.DataFrame, list[str]]:
    """The table in a file's bytes, under its own column names, and what there is to say.

    Raises
    ------
    TableError
        When there is none; it says what was found and what would make it readable.
    """
    if not content:
        raise TableError("it is empty")
    return _READERS[suffix](suffix, content, options)


def cannot_read(path: Path | str, suffix: str, error: Exception) -> TableError:
    """One line on why a file could not be read."""
    said = str(error).strip().splitlines()
    reason = said[0][:600] if said else type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        reason = "it is not UTF-8 text"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror.lower()
    elif not isinstance(error, (TableError, ImportError, OSError)):
        reason = f"its content is not as expected ({reason[:200]})"
    return TableError(f"{path} cannot be read as {suffix[1:]}: {reason}")


def check_path(path: Path, kinds: tuple[str, ...]) -> bool:
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
        siblings = sorted(p.name for p in files if p.name.lower().endswith(kinds))
        raise TableError(f"no file {path}" + (nearest(path.name, siblings[:100]) if siblings else ""))
    if folder:
        return True
    if not path.name.lower().endswith((*kinds, *TEXTS)) and not is_events(path.name):
        raise TableError(f"{path}: {_unknown(path)}; expected {listed(list(kinds[:11]))}, compressed or not")
    if not path.stat().st_size:
        raise TableError(f"{path} is empty")
    return False


def _unknown(path: Path) -> str:
    stem = path.with_suffix("") if path.suffix.lower() in compressed.SUFFIXES else path
    suffix = stem.suffix.lower()
    known = next((what for what, endings in HINTS.items() if suffix in endings), "")
    hint = f", {known}: save its table as CSV or Parquet" if known else ""
    return f"unknown kind of file {suffix or '(no ending)'!r}{hint}"


def _read_text(suffix: str, content: bytes, options: Options) -> tuple[pd.DataFrame, list[str]]:
    for beginning, what in BEGINNINGS:
        if content[:40].lstrip().lower().startswith(beginning.lower()):
            raise TableError(f"it is {what}")
    text, encoding = decode_table(content)
    grid = read_grid(text, tabs=suffix == ".tsv")
    table, said = named(grid.cells, grid.names)
    if "'" in text:
        table = unquoted_frame(table)
    return table, [*([encoding] if encoding else []), *grid.remarks, *said]


def _read_workbook(suffix: str, content: bytes, options: Options) -> tuple[pd.DataFrame, list[str]]:
    return spreadsheets.read_workbook(content, options.rows_at)


def _read_parquet(suffix: str, content: bytes, options: Options) -> tuple[pd.DataFrame, list[str]]:
    return columnar.read(content, options)


_Reader = Callable[[str, bytes, Options], tuple[pd.DataFrame, list[str]]]
_READERS: dict[str, _Reader] = {
    **dict.fromkeys((".csv", ".tsv", *TEXTS), _read_text),
    **dict.fromkeys(columnar.SUFFIXES, _read_parquet),
    **dict.fromkeys(spreadsheets.SUFFIXES, _read_workbook),
}
