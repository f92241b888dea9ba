"""Which rows belong together: cells, families inside them, runs of one setting; and what must not meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frontier.metrics import unread_columns, usable, values
from frontier.metrics.checks import TableError
from frontier.wording import listed, nearest

Codes = NDArray[np.integer[Any]]

IDENTITY = ("model", "site", "layer")
"""Default groups: rows that differ in one of these never share a frontier."""


PROTOCOL = ("protocol", "ablation", *IDENTITY)
"""Rows that differ in one of these never meet in one fit unless the column is named in `across`."""


RECIPE = (
    "family", "architecture", "dictionary_size", "sparsity_name", "sparsity_setting", "tokens_trained",
    "learning_rate", "lr",
)  # fmt: skip
"""Runs equal in these (L0 where the setting is unknown) differ by their seed only."""


CLEAN = 3
"""A column splits a group cleanly where each of its values stands in at least so many rows."""


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
        if not keys or table.groupby(keys, dropna=False)[str(family)].nunique(dropna=False).max() > 1:
            columns = [*columns, str(family)]
    return columns


def default_groups(table: pd.DataFrame, family: str = "family") -> list[str]:
    """Model, site and layer where present; dictionary_size as well where every size holds every family."""
    columns = [c for c in group_columns(table, None, family) if c != family]
    if "dictionary_size" in table and family in table and varies(table["dictionary_size"]):
        rows = usable(table)
        at_size = rows.groupby([*columns, "dictionary_size"], dropna=False)[family].transform("nunique")
        whole = rows.groupby(columns, dropna=False)[family].transform("nunique") if columns else (
            rows[family].nunique()
        )  # fmt: skip
        if (at_size == whole).all() and varies(rows[family]):
            columns.append("dictionary_size")
    return columns


def group_codes(table: pd.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """One integer per row, and the values that name each group, in order of first appearance.

    Missing group values form a group of their own.
    """
    if not columns:
        return np.zeros(len(table), dtype=np.int64), [{}] if len(table) else []
    codes = table.groupby(list(columns), sort=False, dropna=False).ngroup().to_numpy()
    first = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))  # numbered by first appearance
    names = table[list(columns)].iloc[first]
    rows = names.itertuples(index=False)
    return codes, [{c: _scalar(v) for c, v in zip(columns, row, strict=True)} for row in rows]


def setting_codes(table: pd.DataFrame, columns: Sequence[str] = ()) -> Codes:
    """One integer per row: equal for runs of one group (`columns`) that differ by their seed only.

    Runs are replicates when they agree in family, architecture, dictionary size and sparsity setting; where
    the setting is not known, when they agree in L0 (a TopK family).
    """
    keys = pd.DataFrame({c: table[c] for c in dict.fromkeys((*columns, *RECIPE)) if c in table})
    known = keys["sparsity_setting"].notna() if "sparsity_setting" in keys else pd.Series(False, keys.index)
    keys["_l0"] = np.where(known.to_numpy(), 0.0, values(table, "l0"))
    return keys.groupby(list(keys.columns), dropna=False, sort=False).ngroup().to_numpy()


def guard(table: pd.DataFrame, columns: list[str], across: Sequence[str]) -> None:
    """Refuse rows of different protocol, ablation, model, site or layer in one group.

    Missing differs from known: fill the column in where the rows do belong together.

    Raises
    ------
    TableError
        Names the column and what differs.
    """
    for column in [across] if isinstance(across, str) else across:
        if column not in table:
            near = nearest(column, [str(c) for c in table.columns])
            raise TableError(f"no column {column!r} for values to meet across{near}")
    checked = [c for c in PROTOCOL if c in table and c not in columns and c not in across]
    if table.empty:
        return
    for column in checked:
        text = as_text(table[column])
        counts = (
            text.groupby([table[c] for c in columns], dropna=False).nunique()
            if columns
            else pd.Series([text.nunique()])
        )
        if counts.max() > 1:
            found = sorted(text.unique())
            known = " (fill in the missing ones if they are equal)" if "(missing)" in found else ""
            raise TableError(
                f"rows with different {column} ({listed(found, 5)}) would be compared{known}; "
                f"add {column!r} to by (--by {','.join([*columns, column])}), keep one of them, or allow it "
                f"with across=[{column!r}] (--across {column})"
            )
    ask_of_unread(table, columns, across)


def ask_of_unread(table: pd.DataFrame, columns: Sequence[str], across: Sequence[str] = ()) -> None:
    """Ask about a text column that nobody reads and that would split a group cleanly.

    It may be the families, a further group or neither, and pooling what differs gives a clean wrong answer.

    Raises
    ------
    TableError
        Names the column, its values, and what to type.
    """
    own = [c for c in ("family", "architecture") if c in table]
    inside = list(dict.fromkeys([*columns, *own]))
    codes = group_codes(table, inside)[0]
    for column in unread_columns(table):
        if column in columns or column in across or not _is_text(table[column]):
            continue
        sizes = table.groupby([codes, table[column]], sort=False).size()
        per_group = sizes.groupby(level=0).agg(["size", "min"])
        clean = per_group[(per_group["size"] > 1) & (per_group["min"] >= CLEAN)]
        if len(clean):
            found = [f"{v} ({n} rows)" for v, n in sizes[clean.index[0]].items()]
            by = [*(c for c in columns if c not in own), column]
            families = f"columns={{{column!r}: 'family'}} (--map '{column}=family') if families, "
            raise TableError(
                f"the column {column!r} is not used, and would split one group into {listed(found, 6)}. "
                f"Say what it is: {'' if own else families}by={by} (--by '{','.join(by)}') if groups, "
                f"across=[{column!r}] (--across '{column}') if they may be pooled"
            )


def _is_text(column: pd.Series) -> bool:
    cells = column.dropna()
    return bool(len(cells)) and all(isinstance(cell, str) for cell in cells)


def varies(column: pd.Series) -> bool:
    """Whether a column holds more than one value, missing ones aside."""
    return len(column.dropna().unique()) > 1


def _scalar(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if pd.isna(value):
        return "(missing)"
    return int(value) if isinstance(value, float) and value.is_integer() else value


def as_text(column: pd.Series) -> pd.Series:
    """A column as text; missing differs from known."""
    return column.astype("string").fillna("(missing)")
