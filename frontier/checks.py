"""What can be wrong with a metrics table, found and said: sentinels, per cent, contradictions, impossible L0.

Each check takes the table being built (and may change it), and yields remarks in plain words. Rows that
cannot be used get a reason in `excluded_because`; odd but usable rows get a word in `doubts`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from frontier._format import listed, number, plural
from frontier.columns import BY_NAME

PERCENT_MEDIAN = 1.5
"""A fraction column whose median magnitude exceeds this is in per cent."""


def rows_named(mask: np.ndarray, table: pd.DataFrame) -> str:
    """The rows of a mask, by index label: 'rows 3, 8 and 2 more'."""
    labels = list(table.index[np.asarray(mask)])
    return ("row " if len(labels) == 1 else "rows ") + listed(labels, most=6)


def add_text(table: pd.DataFrame, column: str, mask: np.ndarray, text: str | pd.Series) -> None:
    """Append `text` to `column` where `mask`, after '; ' where something stands there already."""
    mask = np.asarray(mask)
    if column not in table:
        table[column] = pd.Series(pd.NA, index=table.index, dtype=object)
    if not mask.any():
        return
    old = table[column].astype(object).to_numpy(copy=True)
    new = np.broadcast_to(np.asarray(text, dtype=object), old.shape)
    for i in np.flatnonzero(mask):
        if pd.isna(old[i]):
            old[i] = new[i]
        elif str(new[i]) not in str(old[i]).split("; "):
            old[i] = f"{old[i]}; {new[i]}"
    table[column] = pd.Series(old, index=table.index, dtype=object)


def numeric_columns(table: pd.DataFrame) -> list[str]:
    """The table's columns that hold numbers by contract, their `_se` companions included."""
    numbers = {c.name for c in BY_NAME.values() if c.kind != "identity"}
    return [c for c in table.columns if c in numbers or (str(c).endswith("_se") and str(c)[:-3] in numbers)]


def read_numbers(table: pd.DataFrame) -> Iterator[str]:
    """Text in number columns: '97.5%' is read, other text becomes missing and is named."""
    for name in numeric_columns(table):
        column = table[name]
        if pd.api.types.is_bool_dtype(column.dtype):
            raise TableError(f"column {name} holds true/false, expected numbers")
        if pd.api.types.is_numeric_dtype(column.dtype):
            table[name] = column.astype(float)
            continue
        text = column.astype("string").str.strip()
        percent = text.str.endswith("%").fillna(False).to_numpy(dtype=bool)
        plain = text.str.replace("%", "", regex=False)
        values = pd.to_numeric(plain, errors="coerce").astype(float)
        values = values.where(~percent, values / 100)
        missing = text.isna() | text.str.lower().isin(MISSING_WORDS)
        bad = (values.isna() & ~missing).to_numpy(dtype=bool)
        if bad.any() and not values.notna().any():
            raise TableError(
                f"column {name} holds text, expected numbers; "
                f"{rows_named(bad, table)} hold {listed(sorted({repr(v) for v in text[bad]}), 3)}"
            )
        table[name] = values
        if percent.any():
            yield f"{name}: {plural(int(percent.sum()), 'value')} written with % read as fractions"
        if bad.any():
            words = listed(sorted({repr(v) for v in text[bad]}), 3)
            yield f"{name}: text {words} in {rows_named(bad, table)} is not a number; set to missing"
            add_text(table, "doubts", bad, f"{name} was text")


MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "none", "null", "missing", "-", "--", "—", "–", "?"})


class TableError(ValueError):
    """A table that cannot be read as SAE metrics; the message is one line for the user."""


def sentinels(table: pd.DataFrame) -> Iterator[str]:
    """Exactly -1 where a metric is meant is how several tools write 'missing'."""
    for name in numeric_columns(table):
        if name in {"seed", "sparsity_setting"}:
            continue
        mask = (table[name] == -1).to_numpy()
        if mask.any():
            table.loc[mask, name] = np.nan
            yield f"{name}: -1 in {rows_named(mask, table)} is a sentinel for missing; set to missing"


def fractions(table: pd.DataFrame) -> Iterator[str]:
    """Per cent where a fraction is meant, decided for the column as a whole."""
    for name in numeric_columns(table):
        base = name.removesuffix("_se")
        if BY_NAME[base].kind != "fraction" or base != name:
            continue
        values = table[name].to_numpy(dtype=float)
        finite = values[np.isfinite(values)]
        if not finite.size:
            continue
        if np.median(np.abs(finite)) > PERCENT_MEDIAN:
            table[name] = values / 100
            if f"{name}_se" in table:
                table[f"{name}_se"] = table[f"{name}_se"] / 100
            yield f"{name}: values around {number(float(np.median(finite)))} are per cent; divided by 100"
            odd = np.isfinite(values) & (np.abs(values) <= 1) & (values != 0)
            word = "a fraction in a column of per cents?"
        else:
            odd = np.isfinite(values) & (np.abs(values) > 5)
            word = "per cent in a column of fractions?"
        if odd.any():
            yield f"{name}: {rows_named(odd, table)}: {word}"
            add_text(table, "excluded_because", odd, f"{name} looks like {word.rstrip('?')}")


def recovered_from_losses(table: pd.DataFrame) -> Iterator[str]:
    """Loss recovered against the losses: computed where missing, kept or recomputed where it differs.

    A printed value is kept where it differs by no more than the rounding of the losses allows (interval
    arithmetic over half a unit in the last printed digit). Where most rows differ, the definition is
    another one and the column is recomputed as a ratio of means; where few do, those rows are named.
    """
    which = _ablated_loss(table)
    if which is None or not {"ce_clean", "ce_sae"} <= set(table.columns):
        return
    ablation, ablated = which
    low, value, high = _recovered_bounds(table, ablated)
    computable = np.isfinite(value)
    if not computable.any():
        return
    if "loss_recovered" not in table:
        table["loss_recovered"] = np.nan
    printed = table["loss_recovered"].to_numpy(dtype=float, copy=True)
    empty = np.isnan(printed) & computable
    if empty.any():
        yield (
            f"loss_recovered: computed from the losses ({ablation} ablation) in "
            f"{plural(int(empty.sum()), 'row')}"
        )
    slack = 0.5 * _unit(printed) + 1e-9
    both = computable & np.isfinite(printed)
    apart = both & ((printed < low - slack) | (printed > high + slack))
    if apart.sum() * 2 > both.sum():
        worst = float(np.max(np.abs(printed - value)[apart]))
        yield (
            f"loss_recovered: {int(apart.sum())} of {int(both.sum())} printed values differ from "
            f"(ce_ablated - ce_sae)/(ce_ablated - ce_clean) by up to {number(worst)}: another definition "
            f"(mean of ratios?); recomputed from the losses, {ablation} ablation"
        )
        printed[both] = value[both]
    elif apart.any():
        yield (
            f"loss_recovered: {rows_named(apart, table)} contradict the printed losses by more than "
            "rounding; the printed value is kept"
        )
        add_text(table, "doubts", apart, "loss_recovered contradicts the losses")
    printed[empty] = value[empty]
    table["loss_recovered"] = printed
    unknown = np.full(len(table), True) if "ablation" not in table else table["ablation"].isna().to_numpy()
    if (unknown & computable).any():
        old = table["ablation"].astype(object) if "ablation" in table else pd.Series(pd.NA, table.index, object)
        table["ablation"] = old.where(~(unknown & computable), ablation)


def _ablated_loss(table: pd.DataFrame) -> tuple[str, np.ndarray] | None:
    said = set(table["ablation"].dropna().astype(str)) if "ablation" in table else set()
    for name in ("mean", "zero"):
        column = f"ce_{name}_ablation"
        if column in table and said <= {name} and table[column].notna().any():
            return name, table[column].to_numpy(dtype=float)
    return None


def _recovered_bounds(table: pd.DataFrame, ablated: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    clean, sae = table["ce_clean"].to_numpy(dtype=float), table["ce_sae"].to_numpy(dtype=float)
    half = [0.5 * _unit(v) + 1e-6 * np.nanmax(np.abs(v), initial=0.0) * (_unit(v) == 0) for v in (ablated, sae, clean)]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (ablated - sae) / (ablated - clean)
        corners = [
            (ablated + i * half[0] - sae - j * half[1]) / (ablated + i * half[0] - clean - k * half[2])
            for i in (-1, 1)
            for j in (-1, 1)
            for k in (-1, 1)
        ]
    sure = ablated - clean > 2 * (half[0] + half[2])
    value = np.where(ablated == clean, np.nan, value)
    low = np.where(sure, np.min(corners, axis=0), -np.inf)
    high = np.where(sure, np.max(corners, axis=0), np.inf)
    return low, value, high


def _unit(values: np.ndarray) -> float:
    """The last decimal place that the numbers of a column were printed with; 0 where they are not rounded."""
    finite = values[np.isfinite(values)]
    for decimals in range(1, 8):
        if np.allclose(np.round(finite, decimals), finite, rtol=0, atol=1e-10):
            return float(10.0**-decimals)
    return 0.0


def hits_outside(table: pd.DataFrame) -> Iterator[str]:
    """Loss recovered above 1 or below 0 is real (Gated tables, transcoders): kept, and said."""
    if "loss_recovered" not in table:
        return
    values = table["loss_recovered"]
    for mask, text in ((values > 1, "loss_recovered above 1"), (values < 0, "loss_recovered below 0")):
        rows = (mask & table["excluded_because"].isna()).to_numpy(dtype=bool)
        if rows.any():
            add_text(table, "doubts", rows, text)
            yield f"{text} in {rows_named(rows, table)}; kept"


def known_bugs(table: pd.DataFrame) -> Iterator[str]:
    """Columns that are constant because of a known fault of the tool that wrote them."""
    if {"alive_fraction", "dictionary_size"} <= set(table.columns):
        bug = np.isclose(table["alive_fraction"] * table["dictionary_size"], 1.0, rtol=1e-3)
        bug &= (table["dictionary_size"] > 100).to_numpy()
        if bug.any():
            table.loc[bug, "alive_fraction"] = np.nan
            yield (
                f"alive_fraction is 1/dictionary_size in {rows_named(bug, table)}: the dictionary_learning "
                "bug of before 2024-12-18; set to missing"
            )


def duplicates(table: pd.DataFrame) -> Iterator[str]:
    """Rows equal in every column are kept (ties are real), and said."""
    facts = table.drop(columns=[c for c in ("doubts", "excluded_because") if c in table])
    try:
        twice = facts.duplicated(keep="first").to_numpy()
    except TypeError:  # unhashable cells (lists) in a carried column
        twice = facts.astype(str).duplicated(keep="first").to_numpy()
    if twice.any():
        add_text(table, "doubts", twice, "equal to an earlier row in every column")
        yield f"{rows_named(twice, table)} repeat an earlier row in every column; kept"


def impossible_l0(table: pd.DataFrame) -> Iterator[str]:
    """L0 that is missing, infinite, negative or zero: the row cannot be placed on a frontier."""
    if "l0" not in table:
        return
    l0 = table["l0"].to_numpy(dtype=float)
    for mask, reason in (
        (np.isnan(l0), "l0 is missing"),
        (np.isinf(l0), "l0 is infinite"),
        (l0 == 0, "l0 is 0, so 1/l0 is undefined"),
        (np.isfinite(l0) & (l0 < 0), "l0 is negative"),
    ):
        if mask.any():
            add_text(table, "excluded_because", mask, reason)
            values = "" if reason.endswith(("missing", "infinite", "undefined")) else f" ({listed([number(v) for v in l0[mask]])})"
            yield f"{reason}{values} in {rows_named(mask, table)}; set aside"


def impossible_values(table: pd.DataFrame) -> Iterator[str]:
    """Infinities, and negative values where a metric cannot be negative, become missing."""
    for name in numeric_columns(table):
        spec = BY_NAME[name.removesuffix("_se")]
        if name == "l0":
            continue
        values = table[name].to_numpy(dtype=float)
        bad = np.isinf(values)
        if spec.low is not None:
            bad |= values < spec.low - 1e-9
        if bad.any():
            table.loc[bad, name] = np.nan
            yield f"{name}: impossible {listed([number(v) for v in values[bad]], 3)} in {rows_named(bad, table)}; set to missing"
            add_text(table, "doubts", bad, f"{name} was impossible")
