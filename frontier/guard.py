"""What must not meet in one comparison unasked: rows of other protocols, places, sizes of evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frontier.groups import PROTOCOL, Codes, as_text, group_codes
from frontier.metrics import may_group, says_nothing, set_aside_remark, unread_columns, usable
from frontier.metrics.asked import in_condition, is_equal
from frontier.metrics.checks import TableError
from frontier.metrics.finished import UNEQUAL, size_columns
from frontier.metrics.identity import architecture_in
from frontier.metrics.one_sae import KNOBS, last_word
from frontier.metrics.parts import below_common, comparable, name_columns, parts_of_names, told_again
from frontier.metrics.unread import is_measured, is_place, is_recipe
from frontier.wording import in_shell, listed, nearest, number

CLEAN = 3
"""A column splits a group cleanly where each of its values stands in at least so many rows."""


def guard(table: pd.DataFrame, columns: Sequence[str], across: Sequence[str] = (), family: str = "") -> None:
    """Refuse rows of different protocol, ablation, model, site, layer or size of evaluation in one group.

    Rows that are set aside play no part. `family` is the column that names families, which may meet.

    Missing differs from known: fill the column in where the rows do belong together.

    Raises
    ------
    TableError
        Names the column and what differs; or says why every row is set aside.
    """
    across = [across] if isinstance(across, str) else across
    for column in across:
        if column not in table:
            near = nearest(column, [str(c) for c in table.columns])
            raise TableError(f"no column {column!r} for values to meet across{near}")
    rows = usable(table)
    if rows.empty:
        raise TableError(f"no usable row: {set_aside_remark(table) or 'the table is empty'}")
    asked = _unlike(rows, columns, across) or _unequal_sizes(rows, columns, across)
    asked = asked or _unread(rows, columns, across, family)
    if asked:
        raise TableError(asked)


def _unread(table: pd.DataFrame, columns: Sequence[str], across: Sequence[str], family: str) -> str:
    """What to ask of columns that nobody reads, and of files and names, which may split one group."""
    own = [c for c in dict.fromkeys((family, "family", "architecture")) if c in table]
    codes = group_codes(table, list(dict.fromkeys([*columns, *own])))[0]
    told_apart = any(len(table[c].dropna().unique()) > 1 for c in own)
    groups, saes = [c for c in columns if c not in own], comparable(table, codes)
    for column in unread_columns(table):
        if column not in (*columns, *across, family) and not says_nothing(column):
            if asked := _column_question(table, column, groups, codes, saes, told_apart):
                return asked
    return _again(table, saes, columns, across, bool(own))


def _unlike(table: pd.DataFrame, columns: Sequence[str], across: Sequence[str]) -> str:
    """What to ask where rows of one group differ in a column of the protocol; empty where they do not."""
    codes = group_codes(table, columns)[0]
    for column in [c for c in PROTOCOL if c in table and c not in columns and c not in across]:
        text = as_text(table[column])
        if text.groupby(codes).nunique().max() > 1:
            found = sorted(text.unique())
            known = " (fill in the missing ones if they are equal)" if "(missing)" in found else ""
            usual = table[column].mode().iloc[0]
            return f"rows with different {column} ({listed(found, 5)}) would be compared{known}; " + _ways(
                columns, [column], f"keep one of them, say {usual}", is_equal(column, usual)
            )
    return ""


def _unequal_sizes(table: pd.DataFrame, columns: Sequence[str], across: Sequence[str]) -> str:
    """What to ask where SAEs of one group were evaluated on twice as much as others, or more."""
    codes = group_codes(table, columns)[0]
    found: dict[str, tuple[float, float]] = {}
    for column in [c for c in size_columns(table.columns) if c not in columns and c not in across]:
        sizes = pd.to_numeric(table[column], errors="coerce")
        spread = sizes.where(sizes > 0).groupby(codes).agg(["min", "max"])
        if (spread["max"] >= UNEQUAL * spread["min"]).any():
            found[column] = float(sizes.min()), float(sizes.max())
    if not found:
        return ""
    said = [f"{c} from {number(low, 6)} to {number(high, 6)}" for c, (low, high) in found.items()]
    first, (_, most) = next(iter(found.items()))
    larger = f"{in_condition(first)} > {most / UNEQUAL:.15g}"
    return (
        f"SAEs evaluated on unequal amounts ({listed(said, 3)}) would be compared: the fewer are noisier, "
        f"and on other texts; {_ways(columns, list(found), 'keep those on more', larger)}"
    )


def _again(
    table: pd.DataFrame, saes: pd.DataFrame, columns: Sequence[str], across: Sequence[str], known: bool
) -> str:
    """What to ask where files, or names of several kinds, hold the same SAEs again with other numbers.

    `saes` are the rows as `comparable` has them; `known` says whether a column has families.
    """
    again = (
        "the same families at the same settings with other numbers: other layers, models, seeds or "
        "evaluations? Say so in a column, or"
    )
    names = name_columns(table)
    others = [c for c in unread_columns(table) if c not in names and may_group(c) and _is_text(table[c])]
    for column in ["source", *names, *others]:
        if column not in table or column in (*columns, *across):
            continue
        whole = column not in names
        for part in [table[column]] if whole else parts_of_names(table[column]):
            if not (found := told_again(saes, part)):
                continue
            if whole:
                short = listed(["/".join(parts) for parts in below_common(found)])
                ways = _ways(columns, [column], "keep one of them", is_equal(column, found[0]))
                families = in_shell(f"{column}=family")
                meant = (
                    f": columns={{{column!r}: 'family'}} (--map {families}) if they are families; else they "
                )
                return f"{short} ({column}){' ' if known or column == 'source' else meant}hold {again} {ways}"
            kinds = listed([repr(kind) for kind in found])
            return (
                f"names in {column!r} are of several kinds, {kinds}, which hold {again} allow it with "
                f"across={[column]} (--across {in_shell(column)})"
            )
    return ""


def _ways(columns: Sequence[str], differ: list[str], kept: str, condition: str) -> str:
    """The three ways out where rows of one group differ in some columns: apart, some of them, or together."""
    by, together = ",".join([*columns, *differ]), ",".join(differ)
    return (
        f"add {listed([repr(c) for c in differ])} to by (--by {in_shell(by)}), {kept} "
        f"(--where {in_shell(condition)}), or allow it with across={differ} (--across {in_shell(together)})"
    )


def _column_question(
    table: pd.DataFrame, column: str, groups: list[str], codes: Codes, saes: pd.DataFrame, told_apart: bool
) -> str:
    """What to ask of a column of words, yes and no, or few numbers, that splits a group cleanly; or nothing.

    It may be the families, a further group or neither, and pooling what differs gives a clean wrong answer.
    `told_apart` says whether families are known, so that words are none.
    """
    cells = table[column]
    numbers = pd.api.types.is_numeric_dtype(cells.dtype) and not _is_yes_or_no(cells)
    if numbers and not (1 < cells.nunique() <= len(cells) / CLEAN):
        return ""
    is_grid = numbers and _is_grid(cells, codes)
    if numbers and not is_grid and not _splits(cells, saes):
        return ""
    if not numbers and not _is_text(cells) and not _is_yes_or_no(cells):
        return ""
    sizes = table.groupby([codes, cells], sort=False).size()
    per_group = sizes.groupby(level=0).agg(["size", "min"])
    clean = per_group[(per_group["size"] > 1) & (per_group["min"] >= CLEAN)]
    if not len(clean):
        return ""
    found = [f"{v} ({n} rows)" for v, n in sizes[clean.index[0]].items()]
    by = [*groups, column]
    ignored = in_shell(f"{column}=ignored")
    return (
        f"the column {column!r} is not used, and would split one group into {listed(found, 6)}. "
        f"Say what it is: {_meanings(table, column, numbers, is_grid, told_apart)}by={by} "
        f"(--by {in_shell(','.join(by))}) if groups, "
        f"columns={{{column!r}: 'ignored'}} (--map {ignored}) if it does not matter"
    )


def _meanings(table: pd.DataFrame, column: str, numbers: bool, is_grid: bool, told_apart: bool) -> str:
    """What a column may be, and what to type then: families, layers, seeds, evaluations."""
    if numbers and is_measured(column):
        one = is_equal(column, table[column].mode().iloc[0])
        return f"--where {in_shell(one)} if one of them is meant, "
    ours = {"family": "families"} if not told_apart else {}
    if numbers:
        ours = {c: f"{c}s" for c in ("layer", "seed") if c not in table and (c == "layer" or is_grid)}
    return "".join(
        f"columns={{{column!r}: {name!r}}} (--map {in_shell(f'{column}={name}')}) if {several}, "
        for name, several in ours.items()
    )


def _is_grid(column: pd.Series, codes: Codes) -> bool:
    """Whether a column of whole numbers is crossed with the groups: each of few values as often in each."""
    if not pd.api.types.is_integer_dtype(column.dtype) or last_word(column.name) in KNOBS:
        return False
    if column.nunique() * len(np.unique(codes)) > len(column):
        return False
    counts = pd.crosstab(codes, column).to_numpy()
    return bool((counts == counts[:, :1]).all())


def _splits(column: pd.Series, saes: pd.DataFrame) -> bool:
    """Whether a column of numbers tells evaluations or places apart, or frontiers over the same L0."""
    name = str(column.name)
    if is_recipe(name):
        return False
    return is_measured(name) or is_place(name) or bool(told_again(saes, column, hits_too=True))


def nothing_to_compare(table: pd.DataFrame) -> str:
    """What to type where no column names the families."""
    texts = [c for c in (*unread_columns(table), "run_id") if c in table and _is_text(table[c])]
    theirs = min(texts, key=lambda c: _unlikely(table, c), default="theirs")
    if theirs in table and _unlikely(table, theirs)[0]:
        theirs = "theirs"
    return (
        "the table has no architecture or family column, so there is nothing to compare; name the column "
        f"that has them: columns={{{theirs!r}: 'family'}} (--map {in_shell(f'{theirs}=family')})"
    )


def _unlikely(table: pd.DataFrame, column: str) -> tuple[bool, bool, bool]:
    """Why a column of text is not that of families: one value in each row, or for all; no architecture."""
    cells = usable(table)[column].dropna()
    different = [str(cell) for cell in cells.unique()]
    each = not 1 < len(different) <= max(len(cells) // 2, 1)
    return each, not any(map(architecture_in, different)), says_nothing(column)


def _is_text(column: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return False
    cells = column.dropna()
    return bool(len(cells)) and all(isinstance(cell, str) for cell in cells)


def _is_yes_or_no(column: pd.Series) -> bool:
    return pd.api.types.is_bool_dtype(column.dropna().infer_objects().dtype)
