"""Excel workbooks as grids of cells, values only: no formula is computed, no macro looked at."""

from __future__ import annotations

import io
import zipfile

import pandas as pd

from frontier.metrics.checks import TableError
from frontier.metrics.identity import architecture_in
from frontier.metrics.names import canonical_name
from frontier.readers.headers import LOOKED_AT, named
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
    if sheet is not None or len(tables) == 1:
        return named(tables[sheet or next(iter(tables))])
    return _of_several({name: grid for name, grid in tables.items() if _names_l0(grid)}, list(tables))


def _of_several(tables: dict[str, pd.DataFrame], every: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The one sheet with an L0, or the sheets of several architectures as one table.

    Raises
    ------
    TableError
        When there are several others, or none.
    """
    kinds = [architecture_in(name) for name in tables]
    if len(tables) == 1:
        ((name, grid),) = tables.items()
        table, said = named(grid)
        return table, [f"sheet {name!r} is read, of {listed(every, 6)}", *said]
    if tables and all(kinds) and len(set(kinds)) == len(kinds):
        read = {name: named(grid) for name, grid in tables.items()}
        parts = {name: part for name, (part, _) in read.items()}
        said = [f"sheet {name!r}: {remark}" for name, (_, remarks) in read.items() for remark in remarks]
        known = {canonical_name(str(c)) for part in parts.values() for c in part}
        if not known & {"architecture", "family"}:
            parts = {name: part.assign(architecture=name) for name, part in parts.items()}
        together = f"one table of the sheets {listed(list(tables), 6)}"
        return pd.concat(list(parts.values()), ignore_index=True), [together, *said]
    held = f"{len(every)} sheets with cells ({listed(every, 6)})" if every else "no cells"
    first = next(iter([*tables, *every]), "")
    hint = f'; name one: rows_at="{first}" (--rows-at {in_shell(first)})' if every else ""
    raise TableError(f"this workbook holds {held}{hint}")


def _names_l0(grid: pd.DataFrame) -> bool:
    """Whether one of the cells in the first rows, or in the first column, is a name of L0."""
    cells = [*grid.head(LOOKED_AT).to_numpy().ravel(), *grid.iloc[:, 0]]
    return any(isinstance(cell, str) and canonical_name(cell) == "l0" for cell in cells)


def _grid(sheet: object) -> pd.DataFrame:
    rows = []
    for row in sheet.iter_rows(values_only=True):  # type: ignore[attr-defined]
        if len(row) > MOST_COLUMNS:
            raise TableError(f"a sheet has {len(row)} columns, more than the {MOST_COLUMNS} that are read")
        if any(cell is not None for cell in row):
            rows.append(row)
    return pd.DataFrame(rows, dtype=object)
