"""Loss recovered against the losses that it is made of: computed, compared with the print, or replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from frontier.metrics.checks import add_text, rows_named
from frontier.wording import listed, number, plural

ABLATIONS = ("mean", "zero")
"""In order of preference where the table does not say which was meant."""


WEAK = 0.01
"""Nats that ablation must cost for loss recovered to be more than noise: the standard error of a loss over
128 batches is about 0.003 nats, which is then a third of the whole range."""


UNLIKE = "loss_recovered contradicts the losses"
"""A word in `doubts` of rows whose printed loss recovered is kept."""


class _Bounds(NamedTuple):
    """Loss recovered as the losses give it, and how far their rounding lets it be from that."""

    low: np.ndarray
    value: np.ndarray
    high: np.ndarray

    def contradict(self, printed: np.ndarray, half_unit: np.ndarray) -> np.ndarray:
        slack = half_unit + 1e-9
        return (printed < self.low - slack) | (printed > self.high + slack)


def recovered_from_losses(table: pd.DataFrame) -> Iterator[str]:
    """Loss recovered against the losses: computed where missing, kept or recomputed where it differs.

    A printed value is kept where it differs by no more than the rounding of the losses allows (interval
    arithmetic over half a unit in the last printed digit). Each source (column `source`; without one the
    table is one) is judged by its own rows, so that what stands beside them changes nothing. Where most of
    two or more rows differ, the definition is another one and all are recomputed as a ratio of means; where
    few do, or a row stands alone, those rows are named.
    """
    sources = _source_codes(table)
    bounds = _bounds_by_ablation(table, sources)
    if not bounds:
        return
    missing = np.full(len(table), np.nan)
    printed = table["loss_recovered"].to_numpy(copy=True) if "loss_recovered" in table else missing
    half_unit = _half_unit(printed, sources)
    ablation, used = _used_bounds(table, bounds, printed, half_unit, sources)
    computable = np.isfinite(used.value)
    empty = np.isnan(printed) & computable
    both = computable & ~np.isnan(printed)
    apart = both & used.contradict(printed, half_unit)
    if empty.any():
        yield f"loss_recovered: computed from the losses in {plural(int(empty.sum()), 'row')}"
    count = _counts(both, sources)
    replaced = both & (count > 1) & (2 * _counts(apart, sources) > count)
    if replaced.any():
        differ = apart & replaced
        worst = float(np.max(np.abs(printed - used.value)[differ]))
        yield (
            f"loss_recovered: {int(differ.sum())} of {int(replaced.sum())} printed values differ from "
            f"(ce_ablated - ce_sae)/(ce_ablated - ce_clean) by up to {number(worst)}: another definition "
            f"(mean of ratios?); recomputed from the losses{_in_sources(table, replaced)}"
        )
    kept = apart & ~replaced
    if kept.any():
        yield (
            f"loss_recovered: {rows_named(kept, table)} contradict the printed losses by more than "
            f"rounding; the printed value is kept{_in_sources(table, kept)}"
        )
        add_text(table, "doubts", kept, UNLIKE)
    if computable.any():
        table["loss_recovered"] = np.where(empty | replaced, used.value, printed)
        yield from _say_ablation(table, np.where(computable, ablation, ""))


def hits_by_losses(table: pd.DataFrame) -> np.ndarray:
    """1 - loss recovered as the losses of each row give it, NaN where they do not."""
    found = np.full(len(table), np.nan)
    if not {"ce_clean", "ce_sae", "ablation"} <= set(table.columns):
        return found
    clean, sae = table["ce_clean"].to_numpy(), table["ce_sae"].to_numpy()
    for name in ABLATIONS:
        if f"ce_{name}_ablation" in table:
            rows = (_said_ablation(table) == name) & np.isnan(found)
            with np.errstate(divide="ignore", invalid="ignore"):
                hits = (sae - clean) / (table[f"ce_{name}_ablation"].to_numpy() - clean)
            found = np.where(rows, hits, found)
    return found


def _source_codes(table: pd.DataFrame) -> np.ndarray:
    """One integer per row, equal for rows of one source."""
    if "source" not in table:
        return np.zeros(len(table), dtype=np.intp)
    return pd.factorize(table["source"], use_na_sentinel=False)[0]


def _counts(mask: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Per row: in how many rows of its source the mask holds."""
    return np.bincount(sources, mask)[sources]


def _in_sources(table: pd.DataFrame, mask: np.ndarray) -> str:
    """' in a.csv, b.csv': the sources of the rows of a mask; empty where no column tells."""
    named = table["source"][mask].dropna().unique() if "source" in table else ()
    return f" in {listed(list(named), 3)}" if len(named) else ""


def weak_ablations(table: pd.DataFrame) -> Iterator[str]:
    """Loss recovered where ablation lowers the loss, or hardly changes it: a ratio of two numbers near zero.

    Where it lowers the loss the ratio is one of two negatives and means nothing: it becomes missing. Where it
    raises the loss by less than `WEAK` nats the value stays, in doubt.
    """
    ablated = [f"ce_{name}_ablation" for name in ABLATIONS if f"ce_{name}_ablation" in table]
    if not ablated or "ce_clean" not in table:
        return
    harm = pd.DataFrame({c: table[c] - table["ce_clean"] for c in ablated}).max(axis="columns").to_numpy()
    if "loss_recovered" not in table:
        none = np.isfinite(harm) & (harm <= 0)
        if none.any():
            where = rows_named(none, table)
            yield f"loss_recovered: not computed, as ablation does not raise the loss in {where}"
        return
    known = np.isfinite(harm) & table["loss_recovered"].notna().to_numpy()
    lower, weak = known & (harm <= 0), known & (harm > 0) & (harm < WEAK)
    if lower.any():
        table["loss_recovered"] = table["loss_recovered"].mask(lower)
        if "performance_hit" in table:
            table["performance_hit"] = table["performance_hit"].mask(lower)
        add_text(table, "doubts", lower, "loss_recovered is undefined: ablation does not raise the loss")
        where = rows_named(lower, table)
        yield f"loss_recovered: ablation does not raise the loss in {where}; set to missing"
    if weak.any():
        least = number(float(harm[weak].min()))
        add_text(table, "doubts", weak, f"ablation raises the loss by less than {WEAK} nats")
        yield (
            f"loss_recovered: ablation raises the loss by {least} nats only in {rows_named(weak, table)}, so "
            "its noise is as large as itself; delta_ce does not divide by that"
        )


def hits_given(table: pd.DataFrame) -> Iterator[str]:
    """A performance hit without a loss recovered is one: loss_recovered = 1 - performance_hit."""
    if "performance_hit" not in table or table.get("loss_recovered", pd.Series(dtype=float)).notna().any():
        return
    table["loss_recovered"] = 1 - table["performance_hit"]
    yield "loss_recovered: computed as 1 - performance_hit"


def _bounds_by_ablation(table: pd.DataFrame, sources: np.ndarray) -> dict[str, _Bounds]:
    if not {"ce_clean", "ce_sae"} <= set(table.columns):
        return {}
    clean, sae = table["ce_clean"].to_numpy(), table["ce_sae"].to_numpy()
    columns = {name: f"ce_{name}_ablation" for name in ABLATIONS}
    return {
        name: _bounds(table[c].to_numpy(), sae, clean, sources) for name, c in columns.items() if c in table
    }


def _bounds(ablated: np.ndarray, sae: np.ndarray, clean: np.ndarray, sources: np.ndarray) -> _Bounds:
    """The losses' own loss recovered, and its range over half a unit in their last digits.

    Missing where the ablated loss exceeds the clean one by no more than rounding: nothing could be lost.
    """
    da, ds, dc = (_half_unit(losses, sources) for losses in (ablated, sae, clean))
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
    table: pd.DataFrame,
    bounds: dict[str, _Bounds],
    printed: np.ndarray,
    half_unit: np.ndarray,
    sources: np.ndarray,
) -> tuple[np.ndarray, _Bounds]:
    """Per row: which ablation, and its bounds; where the table is silent, the one that its source fits."""
    ablation = _said_ablation(table)
    silent, most = ablation == "", np.full(len(table), -1.0)
    for name, b in bounds.items():  # mean before zero where both fit as many rows
        known = np.isfinite(b.value)
        fits = _counts(known & ~np.isnan(printed) & ~b.contradict(printed, half_unit), sources)
        better = silent & known & (fits > most)
        ablation[better], most[better] = name, fits[better]
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


def _half_unit(values: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Half a unit in the last printed digit: of the source's column where it is rounded, else of each number.

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
    most = np.ones(sources.max(initial=-1) + 1)
    np.maximum.at(most, sources[finite], decimals[finite])
    most = most[sources]
    decimals = np.where(np.isfinite(most), most, decimals)  # 2.54 among four decimals is a printed 2.5400
    return np.maximum(0.5 * 10.0**-decimals, noise)
