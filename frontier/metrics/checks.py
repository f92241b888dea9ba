"""What can be wrong with a metrics table, found and said: sentinels, contradictions, impossible L0.

Each check takes the table being built (and may change it), and yields remarks in plain words. Rows that
cannot be used get a reason in `excluded_because`; odd but usable rows get a word in `doubts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from frontier.metrics.columns import DERIVED, derive
from frontier.metrics.names import spec_of
from frontier.wording import number

NOTES = "frontier_notes"
"""Attribute of a table: what there is to say of it."""


class TableError(ValueError):
    """A table that cannot be read as SAE metrics; the message is one line for the user.

    It is one printable line also where names from a file are not.
    """

    def __init__(self, message: str) -> None:
        printable = "".join(c if c.isprintable() else " " for c in message)
        super().__init__(printable if len(printable) <= 1500 else printable[:1497] + "...")


def rows_named(mask: np.ndarray, table: pd.DataFrame) -> str:
    """The rows of a mask, by index label: 'rows 3, 8 and 2 more'."""
    rows = np.flatnonzero(mask)
    return ("row " if len(rows) == 1 else "rows ") + _few(table.index[rows[:7]], len(rows), most=6)


def add_text(table: pd.DataFrame, column: str, mask: np.ndarray, text: str | pd.Series) -> None:
    """Append `text` to `column` where `mask`, after '; ' where something stands there already."""
    mask = np.asarray(mask, dtype=bool)
    if column not in table:
        table[column] = pd.Series(pd.NA, index=table.index, dtype=object)
    if not mask.any():
        return
    cells = table[column].astype(object).to_numpy(copy=True)
    texts = np.broadcast_to(np.asarray(text, dtype=object), cells.shape)
    empty = mask & pd.isna(cells)
    cells[empty] = texts[empty]
    for i in np.flatnonzero(mask & ~empty):
        if str(texts[i]) not in str(cells[i]).split("; "):
            cells[i] = f"{cells[i]}; {texts[i]}"
    table[column] = pd.Series(cells, index=table.index, dtype=object)


def numeric_columns(table: pd.DataFrame) -> list[str]:
    """The table's columns that hold numbers by contract, their `_se` companions included."""
    return [c for c in table.columns if _is_number_column(str(c))]


def _is_number_column(name: str) -> bool:
    spec = spec_of(name)
    return spec is not None and spec.kind != "identity"


def sentinels(table: pd.DataFrame) -> Iterator[str]:
    """Exactly -1 where a metric is meant is how several tools write 'missing'."""
    for name in numeric_columns(table):
        values = table[name].to_numpy()
        mask = values == -1
        if mask.any():
            table[name] = np.where(mask, np.nan, values)
            yield f"{name}: -1 in {rows_named(mask, table)} is a sentinel for missing; set to missing"


def hits_outside(table: pd.DataFrame) -> Iterator[str]:
    """Loss recovered above 1 or below 0 is real (Gated tables, transcoders): kept, and said."""
    if "loss_recovered" not in table:
        return
    values = table["loss_recovered"].to_numpy()
    for mask, text in ((values > 1, "loss_recovered above 1"), (values < 0, "loss_recovered below 0")):
        if not mask.any():
            continue
        rows = mask & table["excluded_because"].isna().to_numpy()
        if rows.any():
            add_text(table, "doubts", rows, text)
            yield f"{text} in {rows_named(rows, table)}; kept"


def known_bugs(table: pd.DataFrame) -> Iterator[str]:
    """Values that come from a known fault of the tool that wrote them."""
    if {"alive_fraction", "dictionary_size"} <= set(table.columns):
        alive, size = table["alive_fraction"].to_numpy(), table["dictionary_size"].to_numpy()
        bug = np.isclose(alive * size, 1.0, rtol=1e-3) & (size > 100)
        if bug.any():
            table["alive_fraction"] = np.where(bug, np.nan, alive)
            yield (
                f"alive_fraction is 1/dictionary_size in {rows_named(bug, table)}: the dictionary_learning "
                "bug of before 2024-12-18; set to missing"
            )
    yield from _l0_beside_k(table)


def _l0_beside_k(table: pd.DataFrame) -> Iterator[str]:
    """TopK fires exactly k latents: an L0 far from k was counted elsewhere (before TopK, in one fork)."""
    if not {"architecture", "sparsity_name", "sparsity_setting", "l0"} <= set(table.columns):
        return
    topk = table["architecture"].map({"topk": True, "TopK": True, "top_k": True}).eq(True)
    l0, k = table["l0"].to_numpy(), table["sparsity_setting"].to_numpy()
    far = topk.to_numpy(dtype=bool) & table["sparsity_name"].eq("k").to_numpy(dtype=bool)
    far &= np.abs(l0 - k) > 0.5 + 0.05 * k
    if far.any():
        add_text(table, "doubts", far, "l0 of a TopK SAE is not k")
        yield f"l0 of TopK SAEs is not k in {rows_named(far, table)}"


def other_meanings(table: pd.DataFrame) -> Iterator[str]:
    """A derived column's name over something else gives way: `sparsity` is 1/L0 here and nothing else."""
    for name, needs in DERIVED.items():
        if name not in table or not set(needs) <= set(table.columns):
            continue
        ours = derive(name, *(table[n].to_numpy(dtype=float, na_value=np.nan) for n in needs))
        try:
            theirs = table[name].to_numpy(dtype=float, na_value=np.nan)
        except (TypeError, ValueError):
            theirs = np.full(len(table), np.inf)
        both = np.isfinite(ours) & ~np.isnan(theirs)
        differ = both & ~np.isclose(theirs, ours, rtol=0.1, atol=1e-12)
        if 2 * differ.sum() > both.sum():
            table[f"source_{name}"] = table.pop(name)
            yield (
                f"{name!r} is not what {name} is here, computed from {' and '.join(needs)}; "
                f"carried along as 'source_{name}'"
            )


def fractional_counts(table: pd.DataFrame) -> Iterator[str]:
    """Counts are whole: '16.384' latents lost a thousands mark somewhere, and mean nothing now."""
    for name in numeric_columns(table):
        spec = spec_of(str(name))
        if spec is None or spec.kind != "count":
            continue
        values = table[name].to_numpy(dtype=float)
        bad = np.isfinite(values) & (np.abs(values) < 2**53) & (values % 1 != 0)
        if bad.any():
            table[name] = np.where(bad, np.nan, values)
            add_text(table, "doubts", bad, f"{name} was no whole number")
            yield (
                f"{name}: {few_numbers(values[bad])} in {rows_named(bad, table)} is no whole number (a mark "
                "between thousands taken for a decimal one?); set to missing"
            )


def whole_counts(table: pd.DataFrame) -> None:
    """Counts as integers where nothing is missing."""
    for name in numeric_columns(table):
        spec = spec_of(str(name))
        if spec is not None and spec.kind == "count":
            values = table[name].to_numpy()
            if (np.isfinite(values) & (values % 1 == 0) & (np.abs(values) < 2**53)).all():
                table[name] = values.astype(np.int64)


REPEATED = "repeats an earlier row"
PIECE = 2**20
"""Rows that are hashed at a time."""


def repeats(table: pd.DataFrame) -> Iterator[str]:
    """Rows that are one SAE again count once.

    They are equal in every column, or of one run_id with equal facts, or equal in every fact but the run_id
    where what was measured has so many digits that no two SAEs share them. The facts are the columns of the
    metrics table and other numbers (but row numbers); what a source adds (a path, a date) may differ. Under
    other seeds they are other SAEs, whatever their numbers.
    """
    usable = table["excluded_because"].isna().to_numpy()
    carried = [c for c in table.columns if c not in ("doubts", "excluded_because", "source")]
    numbers = set(numeric_columns(table))
    ours = [c for c in carried if spec_of(str(c)) or c in numbers]
    named = table["run_id"].notna().to_numpy() if "run_id" in table else np.zeros(len(table), dtype=bool)
    first = np.arange(len(table))
    for columns, rows in ((carried, usable), (ours, usable & named)):
        if columns:
            first = np.minimum(first, _first_equals(table[columns], np.flatnonzero(rows)))
    again = first < np.arange(len(table))
    if again.any():
        add_text(table, "excluded_because", again, REPEATED)
        one = table.index[first[again][0]]
        yield f"{rows_named(again, table)} repeat earlier rows (the first row {one}); set aside"
    more = [
        c for c in carried if c not in ours and is_numeric_dtype(table[c]) and not _numbers_rows(table[c])
    ]
    facts = [c for c in (*ours, *more) if c != "run_id"]
    exact = np.flatnonzero(usable & ~again & _exact(table[facts]))
    if exact.size:
        first = _first_equals(table[facts], exact)
        again = first < np.arange(len(table))
        if again.any():
            add_text(table, "excluded_because", again, REPEATED)
            one = table.index[first[again][0]]
            yield (
                f"{rows_named(again, table)} repeat the numbers of earlier rows to the last digit (the first "
                f"row {one}), under another name or date; set aside"
            )


def _numbers_rows(column: pd.Series) -> bool:
    """Whether a column of numbers counts rows, or tells a time: whole, and another in each row."""
    values = column.to_numpy(dtype=float)
    return bool(column.is_unique and np.isfinite(values).all() and (values == np.round(values)).all())


DIGITS = 7
"""Measured values with more significant digits are not those of two SAEs by chance."""
BITS = 11
"""Those of half precision (bfloat16 has 8): such values have many digits, and are alike by chance."""


def _exact(facts: pd.DataFrame) -> np.ndarray:
    """Rows whose measured values all are longer than `DIGITS` and `BITS`; whole and constant ones aside."""
    exact, some = np.ones(len(facts), dtype=bool), np.zeros(len(facts), dtype=bool)
    for name in facts:
        spec = spec_of(str(name))
        if spec is None or spec.kind not in ("real", "fraction") or name == "sparsity_setting":
            continue
        values = pd.to_numeric(facts[name], errors="coerce").to_numpy(dtype=float)
        known = np.isfinite(values) & (values != np.round(values))
        if not known.any() or (values[known] == values[known][0]).all():
            continue
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            shifted = values * 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.abs(values))))
            long = np.abs(shifted - np.round(shifted)) > 1e-4  # a float is within 1e-9 of a whole number here
            bits = np.frexp(values.astype(np.float32))[0] * 2**BITS
        long &= bits != np.round(bits)
        exact &= ~known | long
        some |= known & long
    return exact & some


def _first_equals(facts: pd.DataFrame, among: np.ndarray) -> np.ndarray:
    """For each row the first of the rows `among` that equals it; itself where there is none before it."""
    first = np.arange(len(facts))
    suspects = among[_equal_numbers(facts, among)]
    if not suspects.size:
        return first
    rows = facts.iloc[suspects]
    kind = [pd.factorize(_hashable(rows[c]), use_na_sentinel=True)[0] for c in rows]
    _, place, code = np.unique(np.column_stack(kind), axis=0, return_index=True, return_inverse=True)
    first[suspects] = suspects[place[code.reshape(-1)]]
    return first


def _hashable(column: pd.Series) -> np.ndarray:
    """A column's cells; as text where they are lists or dicts that a source carries along."""
    cells = column.to_numpy(dtype=object)
    try:
        pd.unique(cells)
    except TypeError:
        return column.astype(str).to_numpy(dtype=object)
    return cells


def _equal_numbers(facts: pd.DataFrame, among: np.ndarray) -> np.ndarray:
    """Positions in `among` of rows whose numbers hash as another's: comparing whole rows is far slower."""
    numbers = facts.select_dtypes("number")
    if not len(numbers.columns):
        return np.arange(len(among))
    if len(among) < len(facts):
        numbers = numbers.iloc[among]
    pieces = (numbers.iloc[start : start + PIECE] for start in range(0, max(len(numbers), 1), PIECE))
    hashes = np.concatenate([pd.util.hash_pandas_object(p, index=False).to_numpy() for p in pieces])
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return np.empty(0, dtype=np.intp)
    return np.flatnonzero(pd.Series(hashes).duplicated(keep=False).to_numpy())


def few_numbers(values: np.ndarray, most: int = 3) -> str:
    """The first of some values, and how many more there are."""
    return _few([number(float(v)) for v in values[: most + 1]], len(values), most)


def _few(first: Iterable[object], count: int, most: int) -> str:
    """As `listed`, for the first of very many."""
    shown = [str(v) for v in first][:most]
    return ", ".join(shown) + (f" and {count - most} more" if count > most else "")
