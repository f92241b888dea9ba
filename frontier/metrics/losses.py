"""Loss recovered against the losses that it is made of: computed, compared with the print, or replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from frontier._format import number, plural
from frontier.metrics.checks import add_text, rows_named

ABLATIONS = ("mean", "zero")
"""In order of preference where the table does not say which was meant."""


class _Bounds(NamedTuple):
    """Loss recovered as the losses give it, and how far their rounding lets it be from that."""

    low: np.ndarray
    value: np.ndarray
    high: np.ndarray

    def contradict(self, printed: np.ndarray) -> np.ndarray:
        slack = _half_unit(printed) + 1e-9
        return (printed < self.low - slack) | (printed > self.high + slack)


def recovered_from_losses(table: pd.DataFrame) -> Iterator[str]:
    """Loss recovered against the losses: computed where missing, kept or recomputed where it differs.

    A printed value is kept where it differs by no more than the rounding of the losses allows (interval
    arithmetic over half a unit in the last printed digit). Where most rows differ, the definition is
    another one and the column is recomputed as a ratio of means; where few do, those rows are named.
    """
    bounds = _bounds_by_ablation(table)
    if not bounds:
        return
    missing = np.full(len(table), np.nan)
    printed = table["loss_recovered"].to_numpy(copy=True) if "loss_recovered" in table else missing
    ablation, used = _used_bounds(table, bounds, printed)
    computable = np.isfinite(used.value)
    empty = np.isnan(printed) & computable
    both = computable & ~np.isnan(printed)
    apart = both & used.contradict(printed)
    if empty.any():
        yield f"loss_recovered: computed from the losses in {plural(int(empty.sum()), 'row')}"
    replaced = both & (2 * apart.sum() > both.sum())
    if replaced.any():
        worst = float(np.max(np.abs(printed - used.value)[apart]))
        yield (
            f"loss_recovered: {int(apart.sum())} of {int(both.sum())} printed values differ from "
            f"(ce_ablated - ce_sae)/(ce_ablated - ce_clean) by up to {number(worst)}: another definition "
            "(mean of ratios?); recomputed from the losses"
        )
    elif apart.any():
        yield (
            f"loss_recovered: {rows_named(apart, table)} contradict the printed losses by more than "
            "rounding; the printed value is kept"
        )
        add_text(table, "doubts", apart, "loss_recovered contradicts the losses")
    if computable.any():
        table["loss_recovered"] = np.where(empty | replaced, used.value, printed)
        yield from _say_ablation(table, np.where(computable, ablation, ""))


def hits_given(table: pd.DataFrame) -> Iterator[str]:
    """A performance hit without a loss recovered is one: loss_recovered = 1 - performance_hit."""
    if "performance_hit" not in table or table.get("loss_recovered", pd.Series(dtype=float)).notna().any():
        return
    table["loss_recovered"] = 1 - table["performance_hit"]
    yield "loss_recovered: computed as 1 - performance_hit"


def _bounds_by_ablation(table: pd.DataFrame) -> dict[str, _Bounds]:
    if not {"ce_clean", "ce_sae"} <= set(table.columns):
        return {}
    clean, sae = table["ce_clean"].to_numpy(), table["ce_sae"].to_numpy()
    columns = {name: f"ce_{name}_ablation" for name in ABLATIONS}
    return {name: _bounds(table[c].to_numpy(), sae, clean) for name, c in columns.items() if c in table}


def _bounds(ablated: np.ndarray, sae: np.ndarray, clean: np.ndarray) -> _Bounds:
    """The losses' own loss recovered, and its range over half a unit in their last digits.

    Missing where the ablated loss exceeds the clean one by no more than rounding: nothing could be lost.
    """
    da, ds, dc = _half_unit(ablated), _half_unit(sae), _half_unit(clean)
    with np.errstate(divide="ignore", invalid="ignore"):
        known = ablated - clean > da + dc
        value = np.where(known, (ablated - sae) / (ablated - clean), np.nan)
        corners = [
            (ablated + i * da - sae - j * ds) / (ablated + i * da - clean - k * dc)
            for i in (-1, 1)
            for j in (-1, 1)
            for k in (-1, 1)
        ]
    sure = ablated - clean > 2 * (da + dc)
    low = np.where(sure, np.min(corners, axis=0), -np.inf)
    high = np.where(sure, np.max(corners, axis=0), np.inf)
    return _Bounds(low, value, high)


def _used_bounds(
    table: pd.DataFrame, bounds: dict[str, _Bounds], printed: np.ndarray
) -> tuple[np.ndarray, _Bounds]:
    """Per row: which ablation, and its bounds; where the table is silent, the one that the print fits."""
    said = _said_ablation(table)

    def fits(name: str) -> int:
        b = bounds[name]
        return int((np.isfinite(b.value) & ~np.isnan(printed) & ~b.contradict(printed)).sum())

    ablation = said.copy()
    for name in sorted(bounds, key=fits, reverse=True):  # stable: mean before zero where equal
        ablation[(ablation == "") & np.isfinite(bounds[name].value)] = name
    used = _Bounds(*(np.full(len(table), np.nan) for _ in range(3)))
    for name, b in bounds.items():
        rows = ablation == name
        for column, source in zip(used, b, strict=True):
            column[rows] = source[rows]
    return ablation, used


def _said_ablation(table: pd.DataFrame) -> np.ndarray:
    """Per row 'mean', 'zero', another word of the table's, or '' where it says nothing."""
    if "ablation" not in table:
        return np.full(len(table), "", dtype=object)
    kinds = {}
    for word in table["ablation"].dropna().unique():
        kinds[word] = next((name for name in ABLATIONS if name in str(word).lower()), str(word))
    said = table["ablation"].map(kinds).to_numpy(dtype=object, copy=True)
    said[pd.isna(said)] = ""
    return said


def _say_ablation(table: pd.DataFrame, ablation: np.ndarray) -> Iterator[str]:
    old = (
        table["ablation"].astype(object)
        if "ablation" in table
        else pd.Series(pd.NA, table.index, dtype=object)
    )
    silent = old.isna() & (ablation != "")
    if silent.any():
        table["ablation"] = old.where(~silent, pd.Series(ablation, table.index))
        for name in ABLATIONS:
            count = int((silent & (ablation == name)).sum())
            if count:
                yield f"ablation: {name}, by the losses given, in {plural(count, 'row')}"


def _half_unit(values: np.ndarray) -> np.ndarray:
    """Half a unit in the last printed digit: of the column where it is rounded, else of each number.

    At least float32 noise, which is all that there is in numbers printed in full.
    """
    noise = 1e-6 * np.abs(values)
    finite = np.isfinite(values)
    decimals = np.full(values.shape, np.inf)
    for places in range(6, 0, -1):
        rounded = finite & (np.abs(np.round(values, places) - values) <= 0.1 * noise + 1e-10)
        decimals[rounded] = places
        if not rounded.any():
            break
    most = np.max(decimals[finite], initial=1)
    if np.isfinite(most):  # 2.54 in a column of four decimals was printed as 2.5400
        decimals[:] = most
    return np.maximum(0.5 * 10.0**-decimals, noise)
