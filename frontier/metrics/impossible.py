"""Numbers that no SAE has: an L0 of nothing, sizes beyond reckoning, values outside a metric's range."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from frontier.metrics.checks import add_text, few_numbers, numeric_columns, rows_named
from frontier.metrics.names import spec_of

LARGEST = 1e100
"""Sizes beyond this, or below one over it, belong to no measurement, and their squares to no float."""


def _beyond_reckoning(values: np.ndarray) -> np.ndarray:
    """Which sizes no measurement has, and whose squares and quotients leave the range of numbers.

    >>> _beyond_reckoning(np.array([0.0, 1e-9, 1e9, 1e300, -1e-300, np.inf, np.nan])).tolist()
    [False, False, False, True, True, False, False]
    """
    size = np.abs(values.astype(float))
    return np.isfinite(size) & ((size > LARGEST) | ((size > 0) & (size < 1 / LARGEST)))


def impossible_l0(table: pd.DataFrame) -> Iterator[str]:
    """L0 that is missing, infinite, negative or zero: the row cannot be placed on a frontier."""
    if "l0" not in table:
        return
    l0 = table["l0"].to_numpy(dtype=float, na_value=np.nan)
    for mask, reason in (
        (np.isnan(l0), "l0 is missing"),
        (np.isinf(l0), "l0 is infinite"),
        (l0 == 0, "l0 is 0, so 1/l0 is undefined"),
        (np.isfinite(l0) & (l0 < 0), "l0 is negative"),
        ((l0 > 0) & _beyond_reckoning(l0), "l0 is of no possible size"),
    ):
        if mask.any():
            add_text(table, "excluded_because", mask, reason)
            found = f" ({few_numbers(l0[mask])})" if reason.endswith(("negative", "size")) else ""
            nominal = _k_would_do(table, mask) if reason == "l0 is missing" else ""
            yield f"{reason}{found} in {rows_named(mask, table)}; set aside{nominal}"
    known = l0[np.isfinite(l0) & (l0 > 0)]
    if known.size > 1 and (known < 1).all():
        add_text(table, "doubts", np.isfinite(l0), "l0 below 1")
        yield "l0 is below 1 in every row: a share of the dictionary, or a logarithm? expected active latents"
    if "dictionary_size" in table:
        more = l0 > table["dictionary_size"].to_numpy(dtype=float, na_value=np.nan)
        if more.any():
            add_text(table, "doubts", more, "l0 exceeds dictionary_size")
            yield f"l0 exceeds dictionary_size in {rows_named(more, table)}"


def _k_would_do(table: pd.DataFrame, missing: np.ndarray) -> str:
    """What to say where rows without an L0 have the k of TopK."""
    if not {"sparsity_name", "sparsity_setting"} <= set(table.columns):
        return ""
    k = pd.to_numeric(table["sparsity_setting"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    known = missing & (k > 0) & table["sparsity_name"].eq("k").to_numpy(dtype=bool, na_value=False)
    return (
        f" (k counts active latents in {rows_named(known, table)}: as l0 it would do)" if known.any() else ""
    )


def impossible_values(table: pd.DataFrame) -> Iterator[str]:
    """Infinities, sizes beyond reckoning, and values outside a metric's range become missing."""
    for name in numeric_columns(table):
        if name == "l0":
            continue
        spec = spec_of(str(name))
        low, high = (
            (0.0, None) if spec is None or str(name).endswith("_se") else (spec.low, spec.high)
        )  # a standard error is at least 0
        values = table[name].to_numpy()
        bad = np.isinf(values) | ((spec is not None) & _beyond_reckoning(values))
        if low is not None:
            bad |= values < low - 1e-6
        if high is not None:
            bad |= values > high + 1e-6
        if bad.any():
            table[name] = np.where(bad, np.nan, values)
            yield (
                f"{name}: impossible {few_numbers(values[bad])} in {rows_named(bad, table)}; set to missing"
            )
            add_text(table, "doubts", bad, f"{name} was impossible")
