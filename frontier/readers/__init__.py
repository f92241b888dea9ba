"""Readers: files of any tool in, the metrics table out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

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
    if isinstance(source, (str, Path)):
        path = Path(source)
        origin, frame = str(path), read_records(path)
    else:
        origin, frame = f"this {type(source).__name__}", source
    table = require_metrics(metrics_table(frame), origin)
    remark = set_aside_remark(table)
    return give_back(add_notes(table, remark) if remark else table, backend)


__all__ = ["SUFFIXES", "TableError", "pd", "read"]
