"""The door: any kind of frame, or records of any shape, in; pandas inside; the asked kind of frame out."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from frontier.metrics.checks import TableError
from frontier.metrics.names import NESTED, canonical_name

LARGE = 50_000_000
"""Cells from which on a table that need not be loaded whole is loaded in part."""
LISTS = (list, tuple, np.ndarray, pd.Series)


def to_pandas(source: Any) -> pd.DataFrame:
    """`source` as a pandas frame: pandas, polars, pyarrow, a dict of columns or a list of records.

    Raises
    ------
    TableError
        When it is none of these.
    """
    if isinstance(source, pd.DataFrame):
        return _plain_columns(source.copy(deep=False))
    if isinstance(source, (dict, list)):
        return from_records(source)
    try:
        frame = nw.from_native(source)
    except TypeError:
        raise TableError(
            f"expected a table (pandas, polars, a path, a list of records), found {type(source).__name__}"
        ) from None
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    return frame.to_pandas()


def lazy_rows(source: Any) -> int | None:
    """How many rows a lazy frame of polars has, if it is a large one; None for anything else."""
    if type(source).__name__ != "LazyFrame" or not type(source).__module__.startswith("polars"):
        return None
    import polars as pl

    rows = source.select(pl.len()).collect().item()
    return rows if rows * len(source.collect_schema()) > LARGE else None


def _plain_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The frame with numpy columns for nullable and Arrow ones: their `pd.NA` is neither true nor false."""
    for i, kind in enumerate(table.dtypes):
        if isinstance(kind, pd.api.extensions.ExtensionDtype) and kind.na_value is pd.NA:
            table.isetitem(i, _plain_column(table.iloc[:, i]))  # type: ignore[arg-type]
    return table


def _plain_column(column: pd.Series) -> pd.Series:
    kind, missing = column.dtype, column.isna()
    whole = pd.api.types.is_bool_dtype(kind) or pd.api.types.is_integer_dtype(kind)
    if whole and not missing.any():
        return pd.Series(column.to_numpy(kind.numpy_dtype), column.index)  # type: ignore[union-attr]
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
        return pd.Series(column.to_numpy(dtype=float, na_value=np.nan), column.index)
    return column.astype(object).where(~missing.to_numpy(dtype=bool), None)


def give_back(table: pd.DataFrame, backend: str) -> Any:
    """The table as the asked kind of frame: 'pandas' or 'polars'.

    Raises
    ------
    ValueError
        When `backend` is neither.
    ImportError
        When polars is asked for and not installed.
    """
    if backend == "pandas":
        return table
    if backend != "polars":
        raise ValueError(f"backend must be 'pandas' or 'polars', found {backend!r}")
    import polars as pl

    return pl.DataFrame([_polars_column(str(name), table[name]) for name in table.columns])


def _polars_column(name: str, column: pd.Series) -> Any:
    import polars as pl

    if not pd.api.types.is_object_dtype(column.dtype):
        return pl.from_pandas(column.rename(name))
    missing = column.isna().to_numpy()
    cells = [None if gone else cell for cell, gone in zip(column, missing, strict=True)]
    if missing.all():
        return pl.Series(name, cells, dtype=pl.String)
    try:
        return pl.Series(name, cells, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):  # cells of several kinds
        return pl.Series(name, [None if cell is None else str(cell) for cell in cells])


def from_records(content: Any) -> pd.DataFrame:
    """Records, rows below one of names, columns, or records by name; nested keys become dotted names.

    Raises
    ------
    TableError
        When it is none of these, or columns differ in length.
    """
    found = f"a list of {type(content[0]).__name__}" if isinstance(content, list) and content else content
    if isinstance(content, dict):
        content = _from_dict(content)
    if isinstance(content, list) and all(isinstance(r, dict) for r in content):
        nested = any(isinstance(v, dict) for record in content for v in record.values())
        return pd.json_normalize(content, sep=".") if nested else _frame(content)
    if isinstance(content, pd.DataFrame):
        return content
    if isinstance(content, list) and content and all(isinstance(row, list) for row in content):
        names, *rows = content  # as Google Sheets' API gives them
        if all(isinstance(n, str) for n in names) and all(len(row) <= len(names) for row in rows):
            return _frame([[*row, *[None] * (len(names) - len(row))] for row in rows], columns=names)
    words = found if isinstance(found, str) and found.startswith("a list") else type(found).__name__
    raise TableError(f"expected a list of records or a dict of columns, found {words}")


def _from_dict(content: dict[Any, Any]) -> Any:
    """The frame or the records in a dict: columns, pandas' own layouts, records by name, or one record."""
    columns, data = content.get("columns"), content.get("data")
    if isinstance(columns, list) and isinstance(data, list):  # pandas: orient="split"
        return _frame(data, columns=columns)
    if isinstance(data, list) and "schema" in content:  # pandas: orient="table"
        return data
    kinds = {
        "list" if isinstance(v, LISTS) else "dict" if isinstance(v, dict) else "" for v in content.values()
    }
    named = any(isinstance(v, LISTS) and canonical_name(str(k)) for k, v in content.items())
    if kinds == {"list"} or (named and "dict" not in kinds):
        return _frame(content)
    if kinds != {"dict"} or any(NESTED.match(f"{key}.".lower()) for key in content):
        return [content]
    inner = {str(k) for record in content.values() for k in record}
    if _recognised(content) > _recognised(inner):  # pandas: orient="columns"
        return _frame(content)
    return [{"run_id": name, **record} for name, record in content.items()]


def _recognised(names: Any) -> int:
    return sum(canonical_name(str(name)) is not None for name in names)


def _frame(content: Any, **options: Any) -> pd.DataFrame:
    try:
        return pd.DataFrame(content, **options)
    except (ValueError, TypeError, OverflowError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise TableError(f"these records are not a table: {reason}") from error


def flat(table: pd.DataFrame) -> pd.DataFrame:
    """A new frame with one level of text names, rows counted from 0, and dicts in cells spread into columns.

    Named index levels become columns; nameless ones are dropped.

    Raises
    ------
    TableError
        When a column stands in the table twice.
    """
    names = [
        ".".join(str(part) for part in c if str(part)) if isinstance(c, tuple) else str(c)
        for c in table.columns
    ]
    table = table.set_axis(names, axis=1)
    levels = [n for n in table.index.names if isinstance(n, str) and n not in names]
    if levels and len(set(levels)) == len(levels):
        table = table.reset_index(level=levels)
    table = table.reset_index(drop=True)
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise TableError(f"column {twice[0]!r} stands in the table twice")
    for name in names:
        if _holds_dicts(table[name]):
            records = [cell if isinstance(cell, dict) else {} for cell in table[name]]
            spread = pd.json_normalize(records, sep=".").add_prefix(f"{name}.")
            spread = spread[[c for c in spread.columns if c not in table.columns]]
            table = pd.concat([table.drop(columns=name), spread], axis=1)
    return table


def _holds_dicts(column: pd.Series) -> bool:
    if not pd.api.types.is_object_dtype(column.dtype):
        return False
    first = next((c for c in column if c is not None and c is not pd.NA and not isinstance(c, float)), None)
    return isinstance(first, dict) and all(isinstance(c, dict) for c in column.dropna())
