"""What must not meet in one comparison unasked: rows of other protocols, places, sizes of evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from frontier.groups import PROTOCOL, Codes, as_text, group_codes
from frontier.metrics import may_group, says_nothing, set_aside_remark, unread_columns, usable, values
from frontier.metrics.asked import in_condition, is_equal
from frontier.metrics.axes import known_axes
from frontier.metrics.checks import TableError
from frontier.metrics.finished import UNEQUAL, size_columns
from frontier.metrics.identity import architecture_in
from frontier.metrics.one_sae import ALIKE, KNOBS, last_word
from frontier.metrics.parts import below_common, name_columns, parts_of_names, told_again
from frontier.metrics.unread import is_measured, is_place, is_recipe
from frontier.wording import in_shell, listed, nearest, number

CLEAN = 3
"""A column splits a group cleanly where each of its values stands in at least so many rows."""
NEAR_L0 = 1.02
"""L0s that differ by less are one, of SAEs whose setting nobody knows."""
UNLIKE = 1.1
"""Hits at one L0 that differ by more are of two frontiers."""


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
    asked = asked or unread_question(rows, columns, across, family) or _again(rows, columns, across, family)
    if asked:
        raise TableError(asked)


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


def _again(table: pd.DataFrame, columns: Sequence[str], across: Sequence[str], family: str) -> str:
    """What to ask where files, or names of several kinds, hold the same SAEs again with other numbers."""
    own = [c for c in dict.fromkeys((*columns, family, "family", "architecture")) if c in table]
    codes = group_codes(table, own)[0]
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
            if not (found := told_again(table, part, codes)):
                continue
            if whole:
                short = listed(["/".join(parts) for parts in below_common(found)])
                ways = _ways(columns, [column], "keep one of them", is_equal(column, found[0]))
                families = in_shell(f"{column}=family")
                meant = (
                    f": columns={{{column!r}: 'family'}} (--map {families}) if they are families; else they "
                )
                known = column == "source" or any(c in table for c in (family, "family", "architecture"))
                return f"{short} ({column}){' ' if known else meant}hold {again} {ways}"
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


def unread_question(
    table: pd.DataFrame, columns: Sequence[str], across: Sequence[str] = (), family: str = ""
) -> str:
    """What to ask of a column of words, or of yes and no, that nobody reads and that splits a group cleanly.

    It may be the families, a further group or neither, and pooling what differs gives a clean wrong answer.
    Empty where there is none.
    """
    own = [c for c in dict.fromkeys((family, "family", "architecture")) if c in table]
    told_apart = any(len(table[c].dropna().unique()) > 1 for c in own)
    codes = group_codes(table, list(dict.fromkeys([*columns, *own])))[0]
    for column in unread_columns(table):
        if column in (*columns, *across, family) or says_nothing(column):
            continue
        is_grid = _is_grid(table[column], codes)
        whole = is_grid or _splits(table, column, codes)
        if not whole and not _is_text(table[column]) and not _is_yes_or_no(table[column]):
            continue
        sizes = table.groupby([codes, table[column]], sort=False).size()
        per_group = sizes.groupby(level=0).agg(["size", "min"])
        clean = per_group[(per_group["size"] > 1) & (per_group["min"] >= CLEAN)]
        if len(clean):
            found = [f"{v} ({n} rows)" for v, n in sizes[clean.index[0]].items()]
            by = [*(c for c in columns if c not in own), column]
            groups = in_shell(",".join(by))
            as_family, ignored = in_shell(f"{column}=family"), in_shell(f"{column}=ignored")
            families = f"columns={{{column!r}: 'family'}} (--map {as_family}) if families, "
            if whole and is_measured(column):
                one = is_equal(column, table[column].mode().iloc[0])
                families = f"--where {in_shell(one)} if one of them is meant, "
            elif whole:
                families = "".join(
                    f"columns={{{column!r}: {ours!r}}} (--map {in_shell(f'{column}={ours}')}) if {ours}s, "
                    for ours in ("layer", "seed")
                    if ours not in table and (ours == "layer" or is_grid)
                )
            return (
                f"the column {column!r} is not used, and would split one group into {listed(found, 6)}. "
                f"Say what it is: {'' if told_apart and not whole else families}by={by} (--by {groups}) "
                f"if groups, columns={{{column!r}: 'ignored'}} (--map {ignored}) if it does not matter"
            )
    return ""


def _is_grid(column: pd.Series, codes: Codes) -> bool:
    """Whether a column of whole numbers is crossed with the groups: each of few values as often in each."""
    if not pd.api.types.is_integer_dtype(column.dtype) or last_word(column.name) in KNOBS:
        return False
    counts = pd.crosstab(codes, column).to_numpy()
    return 1 < counts.shape[1] <= len(column) / CLEAN and bool((counts == counts[:, :1]).all())


def _splits(table: pd.DataFrame, column: str, codes: Codes) -> bool:
    """Whether a column of few numbers tells evaluations or places apart, or frontiers over the same L0."""
    cells = table[column]
    if not pd.api.types.is_numeric_dtype(cells.dtype) or _is_yes_or_no(cells) or is_recipe(column):
        return False
    if not 1 < cells.nunique() <= len(cells) / CLEAN:
        return False
    return is_measured(column) or is_place(column) or covered_twice(table, cells, codes)


def covered_twice(table: pd.DataFrame, column: pd.Series, codes: Codes) -> bool:
    """Whether rows of one group with two values of a column have about the same L0s and plainly other hits.

    Of the shorter part of a group most rows must have a partner of the same setting or L0, each on the same
    side, by a factor of `UNLIKE` in the middle.

    >>> rows = pd.DataFrame({"l0": [8, 16, 32] * 2, "loss_recovered": [0.6, 0.8, 0.9, 0.8, 0.9, 0.95]})
    >>> covered_twice(rows, pd.Series([0.25] * 3 + [0.83] * 3), np.zeros(6, int))
    True
    """
    axes = known_axes(table)
    if not axes:
        return False
    setting = table.get("sparsity_setting", pd.Series(np.nan, table.index)).to_numpy(float, na_value=np.nan)
    rows = pd.DataFrame({"l0": values(table, "l0"), "y": values(table, axes[0]), "setting": setting})
    rows = rows[(rows["l0"] > 0) & (rows["y"] > 0)]
    places = [rows.index[codes[rows.index] == code] for code in np.unique(codes)]
    for own in places:
        parts = [part for _, part in rows.loc[own].groupby(column.to_numpy()[own]) if len(part) >= CLEAN]
        if any(_unlike_over_l0(one, other) for one, other in combinations(parts, 2)):
            return True
    return False


def _unlike_over_l0(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two sweeps have mostly the same L0s, and one hit above the other at each."""
    short, long = sorted((one, other), key=len)
    apart = np.abs(np.log(short["l0"].to_numpy()[:, None] / long["l0"].to_numpy()))
    same = short["setting"].to_numpy()[:, None] == long["setting"].to_numpy()
    apart = np.where((apart < np.log(NEAR_L0)) | (same & (apart < np.log(ALIKE))), apart, np.inf)
    partner, found = apart.argmin(axis=1), np.isfinite(apart.min(axis=1))
    gaps = np.log(short["y"].to_numpy() / long["y"].to_numpy()[partner])[found]
    enough = len(gaps) >= max(CLEAN, len(short) * 2 / 3)
    return bool(enough and abs(np.sign(gaps).sum()) == len(gaps) and np.median(abs(gaps)) > np.log(UNLIKE))


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
