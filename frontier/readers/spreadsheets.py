"""Excel workbooks as grids of cells, values only: no formula is computed, no macro looked at."""

from __future__ import annotations

import io
import zipfile

import pandas as pd

from frontier.metrics.checks import TableError
from frontier.readers.headers import named
from frontier.readers.opening import LARGEST, too_large
from frontier.readers.separated import MOST_COLUMNS
from frontier.wording import in_shell, listed, nearest

SUFFIXES = (".xlsx", ".xlsm")


def read_workbook(content: bytes, sheet: str | None = None) -> tuple[pd.DataFrame, list[str]]:
    """The one sheet that holds a table, or the one that is named, and what was left out.

    Raises
    ------
    ImportError
        Without openpyxl.
    TableError
        When several sheets hold tables and none is named, or the workbook is too large when unpacked.
    """
    try:
        import openpyxl
    except ImportError:
        raise ImportError(
            "Excel files need openpyxl (pip install sae-frontier[excel]); or save the sheet as CSV"
        ) from None
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > LARGEST:
        raise TableError(f"unpacked {too_large(size)}")
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    try:
        tables = {name: found for name in book.sheetnames if len(found := _grid(book[name]))}
    finally:
        book.close()
    if sheet is not None and sheet not in tables:
        raise TableError(f"no sheet {sheet!r} in this workbook{nearest(sheet, list(tables))}")
    if sheet is None and len(tables) != 1:
        held = f"{len(tables)} sheets with cells ({listed(list(tables), 6)})" if tables else "no cells"
        first = next(iter(tables), "")
        hint = f'; name one: rows_at="{first}" (--rows-at {in_shell(first)})' if tables else ""
        raise TableError(f"this workbook holds {held}{hint}")
    return named(tables[sheet or next(iter(tables))])


def _grid(sheet: object) -> pd.DataFrame:
    rows = []
    for row in sheet.iter_rows(values_only=True):  # type: ignore[attr-defined]
        if len(row) > MOST_COLUMNS:
            raise TableError(f"a sheet has {len(row)} columns, more than the {MOST_COLUMNS} that are read")
        if any(cell is not None for cell in row):
            rows.append(row)
    return pd.DataFrame(rows, dtype=object)
