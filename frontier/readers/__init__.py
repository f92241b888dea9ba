"""Readers: files of any tool in, the metrics table out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from frontier.checks import TableError
from frontier.metrics import add_notes, give_back, metrics_table, require_metrics, set_aside_remark
from frontier.readers.tables import SUFFIXES, read_records


def read(source: Any, *, backend: str = "pandas") -> Any:
    """The metrics table behind a path or a data frame.

    Parameters
    ----------
    source : path, or pandas/polars frame, or list of records
        Files: CSV, TSV, Parquet, JSON (records or columns), JSON lines.
    backend : {"pandas", "polars"}
        The kind of frame to give back.

    Returns
    -------
    DataFrame
        One row per SAE under this project's names; `frontier.notes(table)` lists every mapping, change and
        row set aside.

    Raises
    ------
    TableError
        When the file is missing or broken, or has no L0 or no fidelity column.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        origin = str(path)
        table = _named(origin, read_records(path))
    else:
        origin = f"this {type(source).__name__}"
        table = metrics_table(source)
    require_metrics(table, origin)
    remark = set_aside_remark(table)
    return give_back(add_notes(table, remark) if remark else table, backend)


def _named(origin: str, frame: Any) -> Any:
    """The metrics table of a file's frame; an error names the file."""
    try:
        return metrics_table(frame)
    except TableError as error:
        raise TableError(f"{origin}: {error}") from error


__all__ = ["SUFFIXES", "TableError", "read"]
