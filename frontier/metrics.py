"""The metrics table: one row per trained SAE, the one shape of data that travels between all steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from frontier import checks
from frontier._format import listed, nearest, plural
from frontier.checks import TableError
from frontier.columns import COLUMNS, DERIVED, FIDELITY, canonical_name

CHECKED = "frontier_checked"
NOTES = "frontier_notes"
IDENTITY = ("model", "site", "layer")
"""Default groups: rows that differ in one of these never share a frontier."""


def metrics_table(source: Any) -> pd.DataFrame:
    """A checked copy of `source` under this project's column names.

    Columns under other tools' names are renamed, per cent becomes fractions, text and sentinels become
    missing, loss recovered is computed from or held against the losses. No row is dropped: one that cannot
    be used has its reason in `excluded_because`, an odd one a word in `doubts`. What was done is listed by
    `notes(table)`. A table that was checked before comes back as a plain copy.

    Parameters
    ----------
    source : pandas, polars or other narwhals-readable data frame, list of dict, or dict of lists

    Raises
    ------
    TableError
        When it is no table, a number column holds only text, or two columns claim one name.
    """
    table = to_pandas(source)
    if table.attrs.get(CHECKED):
        table = table.copy()
        found: list[str] = list(checks.impossible_l0(table))
        return _noted(table, [n for n in found if n not in notes(table)])
    table = table.reset_index(drop=True)
    remarks = list(_rename(table))
    for column in ("excluded_because", "doubts"):
        checks.add_text(table, column, np.zeros(len(table), dtype=bool), "")
    for check in (
        checks.read_numbers,
        checks.sentinels,
        checks.impossible_l0,
        checks.fractions,
        checks.impossible_values,
        checks.recovered_from_losses,
        checks.known_bugs,
        checks.hits_outside,
        checks.duplicates,
    ):
        remarks += check(table)
    if "family" not in table and "architecture" in table:
        table["family"] = table["architecture"]
    return _noted(_ordered(table), remarks)


def to_pandas(source: Any) -> pd.DataFrame:
    """`source` as a pandas frame: pandas, polars, pyarrow, a dict of columns or a list of records."""
    if isinstance(source, pd.DataFrame):
        return source.copy(deep=False)
    if isinstance(source, (dict, list)):
        try:
            return pd.DataFrame(source)
        except (ValueError, TypeError) as error:
            raise TableError(f"these records are not a table: {error}") from error
    try:
        frame = nw.from_native(source)
    except TypeError:
        raise TableError(
            f"expected a table (pandas, polars, a path, a list of records), found {type(source).__name__}"
        ) from None
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    return frame.to_pandas()


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

    return pl.from_pandas(table)


def notes(table: pd.DataFrame) -> tuple[str, ...]:
    """What was recognised, changed, flagged and set aside when the table was read."""
    return tuple(table.attrs.get(NOTES, ()))


def add_notes(table: pd.DataFrame, *remarks: str) -> pd.DataFrame:
    """The same table with further notes."""
    table.attrs[NOTES] = [*notes(table), *(r for r in remarks if r not in notes(table))]
    return table


def usable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows without a reason in `excluded_because`."""
    return table[table["excluded_because"].isna()] if "excluded_because" in table else table


def set_aside(table: pd.DataFrame) -> dict[str, int]:
    """How many rows are set aside, by reason."""
    if "excluded_because" not in table:
        return {}
    return {str(k): int(v) for k, v in table["excluded_because"].value_counts().items()}


def set_aside_remark(table: pd.DataFrame) -> str:
    """One sentence on the rows set aside; empty when there are none."""
    counts = set_aside(table)
    if not counts:
        return ""
    reasons = "; ".join(f"{count} because {reason}" for reason, count in counts.items())
    return f"{sum(counts.values())} of {plural(len(table), 'row')} set aside: {reasons}"


def values(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column's numbers, derived ones (sparsity, performance_hit, ...) computed on demand.

    Returns
    -------
    ndarray of float, shape (rows,)

    Raises
    ------
    TableError
        When the table has neither the column nor what it is derived from; nearest names are offered.
    """
    needs = DERIVED.get(column)
    if needs and all(n in table for n in needs):
        with np.errstate(divide="ignore", invalid="ignore"):
            return _derive(column, *(table[n].to_numpy(dtype=float) for n in needs))
    if column in table:
        try:
            return table[column].to_numpy(dtype=float)
        except (TypeError, ValueError):
            raise TableError(f"column {column} holds text, expected numbers") from None
    if needs:
        lacking = [n for n in needs if n not in table]
        raise TableError(f"{column} needs {listed(lacking)}; the table has {listed(list(table.columns), 30)}")
    raise TableError(f"no column {column!r}{nearest(column, [*table.columns, *DERIVED])}")


def default_y(table: pd.DataFrame) -> str:
    """`performance_hit` where loss recovered is known, else `fvu`, else `mse`.

    Raises
    ------
    TableError
        When there is none of them.
    """
    for column, source in (("performance_hit", "loss_recovered"), ("fvu", "fvu"), ("mse", "mse")):
        if source in table and table[source].notna().any():
            return column
    raise TableError(
        f"no fidelity column ({listed(FIDELITY)}); the table has {listed(list(table.columns), 30)}"
    )


def group_columns(
    table: pd.DataFrame, by: Sequence[str] | str | None, family: str | None = "family"
) -> list[str]:
    """The columns that name a group: `by` (default model, site, layer where present), families apart.

    The family column is added unless `by` already tells families apart, or `family` is None.

    Raises
    ------
    TableError
        When a named column does not exist.
    """
    if by is None:
        columns = [c for c in IDENTITY if c in table and table[c].notna().any()]
    else:
        columns = [by] if isinstance(by, str) else list(by)
    named = columns if by is not None else []
    for column in [*named, *([family] if family not in (None, "family") else [])]:
        if column not in table:
            raise TableError(f"no column {column!r} to group by{nearest(str(column), list(table.columns))}")
    if family in table and family not in columns:
        keys = [c for c in columns if c in ("family", "architecture")] if family == "family" else []
        if not keys or table.groupby(keys, dropna=False)[family].nunique(dropna=False).max() > 1:
            columns = [*columns, str(family)]
    return columns


def group_codes(table: pd.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """One integer per row, and the values that name each group, in order of first appearance.

    Missing group values form a group of their own.
    """
    if not columns:
        return np.zeros(len(table), dtype=np.int64), [{}] if len(table) else []
    codes = table.groupby(list(columns), sort=False, dropna=False).ngroup().to_numpy()
    _, first = np.unique(codes, return_index=True)
    names = table[list(columns)].iloc[np.sort(first)]
    return codes, [{c: _scalar(v) for c, v in zip(columns, row, strict=True)} for row in names.itertuples(index=False)]


def require_metrics(table: pd.DataFrame, origin: str) -> pd.DataFrame:
    """`table` itself, if it can be placed on a frontier.

    Raises
    ------
    TableError
        When L0 or every fidelity column is missing; the message lists what was found.
    """
    found = listed([str(c) for c in table.columns if c not in ("excluded_because", "doubts")], 30)
    if "l0" not in table:
        raise TableError(f"{origin}: no L0 column (l0, L0, l0_norm, ...) among {found or 'no columns'}")
    if not any(c in table for c in FIDELITY):
        raise TableError(f"{origin}: no fidelity column ({listed(FIDELITY)}) among {found}")
    if not len(table):
        raise TableError(f"{origin}: no rows")
    return table


def _derive(column: str, *sources: np.ndarray) -> np.ndarray:
    if column == "sparsity":
        return 1 / sources[0]
    if column in ("relative_sparsity", "expansion_factor"):
        return sources[0] / sources[1]
    if column == "performance_hit":
        return 1 - sources[0]
    return sources[0] - sources[1]


def _scalar(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return "(missing)" if pd.isna(value) else value


def _rename(table: pd.DataFrame) -> Iterable[str]:
    taken: dict[str, str] = {str(c): str(c) for c in table.columns if canonical_name(str(c)) == str(c)}
    mapping: dict[Any, str] = {}
    for column in table.columns:
        name = canonical_name(str(column))
        if name is None or name == str(column):
            continue
        if name in taken:
            yield f"{column!r} also reads as {name}; {taken[name]!r} is used, {column!r} is carried along"
            continue
        taken[name] = str(column)
        mapping[column] = name
        yield f"{column!r} read as {name}"
    table.rename(columns=mapping, inplace=True)
    if table.columns.duplicated().any():
        raise TableError(f"column {table.columns[table.columns.duplicated()][0]!r} stands in the table twice")


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    known = [c.name for c in COLUMNS if c.name in table]
    rest = [c for c in table.columns if c not in known and c not in ("excluded_because", "doubts")]
    return table[[*known, *rest, "excluded_because", "doubts"]]


def _noted(table: pd.DataFrame, remarks: Iterable[str]) -> pd.DataFrame:
    table.attrs[CHECKED] = True
    return add_notes(table, *remarks)
