"""Per cent where a fraction is meant: told by a column's name, by its values, or by the signs of some."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd

from frontier.metrics.checks import add_text, numeric_columns, rows_named
from frontier.metrics.names import spec_of
from frontier.wording import number

PERCENT_MEDIAN = 1.5
"""A fraction column whose median magnitude exceeds this is in per cent."""

AXES = ("loss_recovered", "performance_hit")
"""Fractions that place a row on the frontier, and that may lie outside [0, 1]."""


def fractions(table: pd.DataFrame, said: Collection[str] = (), signed: Collection[str] = ()) -> Iterator[str]:
    """Per cent where a fraction is meant, decided for the column as a whole.

    `said` are the columns whose names in the source said per cent: there one value above
    `PERCENT_MEDIAN` is enough, elsewhere the median has to be. Values below 0 tell nothing where others are
    above: an SAE may lose many times what it recovers. Cells of `signed` said % themselves, and are read.
    """
    for name in numeric_columns(table):
        spec = spec_of(str(name))
        if spec is None or name in signed or str(name).endswith("_se"):
            continue
        if spec.kind != "fraction" and name not in said:
            continue
        values = table[name].to_numpy()
        sizes = np.abs(values)
        finite = sizes[np.isfinite(sizes) & ((values > 0) | ~(values > 0).any())]
        if not finite.size:
            continue
        typical = float(np.max(finite) if name in said else np.median(finite))
        percent = typical > PERCENT_MEDIAN and not (spec.high and typical > 100 * (1 + 1e-6))
        if percent:
            for column in (name, f"{name}_se"):
                if column in table:
                    table[column] = table[column] / 100
            yield f"{name}: values up to {number(float(np.max(finite)))} are per cent; divided by 100"
        elif name in said:
            yield f"{name}: the name says per cent, values up to {number(typical)} are read as fractions"
        if name in AXES:
            yield from _mixed_scales(table, name, sizes, percent)


def _mixed_scales(table: pd.DataFrame, name: str, sizes: np.ndarray, percent: bool) -> Iterator[str]:
    """Rows of an axis on the other scale than the rest of the column: nobody can say what they mean."""
    if percent:
        odd = _among_percents(sizes)
        word = "a fraction in a column of per cents"
    else:
        odd = np.isfinite(sizes) & (sizes > 5)
        word = "per cent in a column of fractions"
    if odd.any():
        yield f"{name}: {rows_named(odd, table)}: {word}? set aside"
        add_text(table, "excluded_because", odd, f"{name} looks like {word}")


def _among_percents(sizes: np.ndarray) -> np.ndarray:
    """Which sizes are fractions, it seems, in a column of per cents; none where it reaches down to 1 %."""
    return (sizes > 0) & (sizes <= 1) & ~((sizes > 1) & (sizes < 10)).any()


def without_sign(numbers: np.ndarray, signed: np.ndarray) -> bool:
    """Whether numbers without % beside others with it (`signed`, fractions by now) are per cent too.

    >>> [without_sign(np.array([0.1, x, 15]), np.array([True, False, False])) for x in (20, 0.2)]
    [True, False]
    """
    if not np.isfinite(numbers[signed]).any() or not np.isfinite(numbers[~signed]).any():
        return False
    bare = np.abs(numbers[~signed])
    return bool(np.nanmedian(bare) > PERCENT_MEDIAN and not _among_percents(bare).any())


def fvu_above_one(table: pd.DataFrame) -> Iterator[str]:
    """A reconstruction worse than the mean is real; where most are, they may be per cent."""
    if "fvu" not in table:
        return
    values = table["fvu"].to_numpy()
    above = values > 1
    if above.any():
        add_text(table, "doubts", above, "fvu above 1")
        most = np.nanmedian(values) > PERCENT_MEDIAN
        yield f"fvu above 1 in {int(above.sum())} rows; kept" + (
            " (if they are per cent, let the column's name end in %)" if most else ""
        )
