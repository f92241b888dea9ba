"""Parquet, and lazy frames: of a large one only what is used is loaded, columns by names, rows by `where`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import reduce
from operator import and_
from typing import Any

import pandas as pd

from frontier.metrics.asked import conditions_joined
from frontier.metrics.checks import TableError
from frontier.metrics.columns import FIDELITY
from frontier.metrics.finished import is_of_a_moment, looked_at
from frontier.metrics.frames import LARGE, lazy_rows
from frontier.metrics.names import canonical_name, spec_of
from frontier.metrics.table import unread_columns
from frontier.readers.found import Options
from frontier.wording import listed, plural

SUFFIXES = (".parquet", ".pq")
MOST_CELLS = 250_000_000
"""Cells that are read; a file may claim any number of rows in a few bytes."""
MEASURED = ("real", "fraction")
"""Kinds of columns whose numbers may be per cent or sentinels in the file: no row is left out by these.

Nor by steps and batches: which rows are SAEs is judged by all of them.
"""
COMPARISONS = {
    ast.Eq: "__eq__", ast.NotEq: "__ne__", ast.Lt: "__lt__", ast.LtE: "__le__", ast.Gt: "__gt__",
    ast.GtE: "__ge__", ast.In: "isin",
}  # fmt: skip


def read(source: str | bytes, options: Options) -> tuple[pd.DataFrame, list[str]]:
    """The table in a Parquet file, a path or its content, and what there is to say.

    Of one of more than `LARGE` cells, columns that play no part stay on the disk, and so do rows that `where`
    leaves out by columns of whole numbers.

    Raises
    ------
    TableError
        If what is used has more than `MOST_CELLS` cells.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds
    import pyarrow.fs
    import pyarrow.parquet as pq
    import pyarrow.types as kinds

    file = source if isinstance(source, str) else pa.BufferReader(source)
    facts = pq.read_metadata(file)
    schema, rows = facts.schema.to_arrow_schema(), facts.num_rows
    if rows * len(schema) <= LARGE:
        table, said = pd.read_parquet(file, engine="pyarrow"), list[str]()
    else:
        whole = [n for n in schema.names if kinds.is_integer(schema.field(n).type)]
        terms = _terms(schema.names, whole, options)
        kept = _joined([getattr(pc.field(n), how)(v) | pc.field(n).is_null() for n, how, v in terms])
        disk = pyarrow.fs.LocalFileSystem() if isinstance(source, str) else None
        count = ds.ParquetFileFormat().make_fragment(file, filesystem=disk).count_rows(filter=kept)
        texts = [n for n in schema.names if not kinds.is_primitive(schema.field(n).type)]
        columns, said = _used(schema.names, texts, rows, count, options)
        table = pd.read_parquet(file, engine="pyarrow", columns=columns, filters=kept)
    table.attrs = {}  # a file cannot say that it was checked
    return table, said


def collected(source: Any, options: Options) -> tuple[Any, list[str]]:
    """A lazy frame of polars with what is used of it, collected; anything else as it is."""
    rows = lazy_rows(source)
    if rows is None:
        return source, []
    import polars as pl

    schema = source.collect_schema()
    whole = [n for n, kind in schema.items() if kind.is_integer()]
    terms = _terms(list(schema), whole, options)
    polars_names = {"isin": "is_in"}
    kept = _joined(
        [getattr(pl.col(n), polars_names.get(how, how))(v) | pl.col(n).is_null() for n, how, v in terms]
    )
    chosen = source if kept is None else source.filter(kept)
    count = chosen.select(pl.len()).collect().item()
    texts = [n for n, k in schema.items() if not (k.is_numeric() or k.is_temporal() or k == pl.Boolean)]
    columns, said = _used(list(schema), texts, rows, count, options)
    return chosen.select(columns).collect(engine="streaming"), said


def _used(
    names: list[str], texts: list[str], rows: int, count: int, options: Options
) -> tuple[list[str], list[str]]:
    """The columns of a large table that are loaded, and what to say of what is not."""
    unread = set(unread_columns(pd.DataFrame(columns=names)))
    asked = {n: options.columns.get(n) for n in names}
    ours = {n: canonical_name(a or n) or a for n, a in asked.items()}
    called = {n: ours[n] or n for n in names}
    judged = looked_at(list(called.values()), [called[n] for n in texts])
    columns = [n for n in names if n not in unread or ours[n] or n in options.asked or called[n] in judged]
    there = set(ours.values())
    if not ("l0" in there and there & {*FIDELITY} and there & {"family", "architecture"}):
        columns = names  # what is missing may be told by others
    if count * len(columns) > MOST_CELLS:
        raise TableError(
            f"it has {count} rows of {len(columns)} columns that are used, more than the {MOST_CELLS} cells "
            'that are read: choose rows by whole numbers (where="layer == 3")'
        )
    said = []
    if left := [n for n in names if n not in columns]:
        said.append(f"a large table: {plural(len(left), 'column')} not loaded: {listed(left, 5)}")
    if count < rows:
        said.append(f"a large table: {count} of {rows} rows loaded, those that {options.where!r} may keep")
    return columns, said


def _joined(expressions: list[Any]) -> Any:
    """All of them; None where there are none."""
    return reduce(and_, expressions) if expressions else None


def _terms(names: list[str], whole: list[str], options: Options) -> Iterator[tuple[str, str, Any]]:
    """Column, comparison and value of the parts of the condition that whole numbers there can decide."""
    for part in conditions_joined(options.where):
        if not isinstance(part, ast.Compare) or len(part.ops) != 1 or not isinstance(part.left, ast.Name):
            continue
        word, how = part.left.id, COMPARISONS.get(type(part.ops[0]))
        columns = [n for n in names if word in (n, canonical_name(n), options.columns.get(n))]
        ours = canonical_name(word) or word
        spec = spec_of(ours)
        judged = is_of_a_moment(ours) or (spec is not None and spec.kind in MEASURED)
        if how is None or len(columns) != 1 or judged or columns[0] not in whole:
            continue
        try:
            value = ast.literal_eval(part.comparators[0])
        except ValueError:
            continue
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        if all(type(v) is int for v in values) and isinstance(value, int) == (how != "isin"):
            yield columns[0], how, values if how == "isin" else value
