"""Per cent where a fraction is meant: told by a column's name, by its values, or by the signs of some."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from frontier.metrics.checks import TableError, add_text, numeric_columns, rows_named
from frontier.metrics.columns import BY_NAME, Column
from frontier.metrics.names import (
    FRACTION,
    PER_CENT,
    bare_name,
    canonical_name,
    says_fraction,
    says_percent,
    spec_of,
)
from frontier.wording import in_shell, number

PERCENT_MEDIAN = 1.5
"""A fraction column whose median magnitude exceeds this is in per cent."""

AXES = ("loss_recovered", "performance_hit")
"""Fractions that place a row on the frontier, and that may lie outside [0, 1]."""

MANY = 0.25
"""Where a greater share of hits is above 1, so many SAEs would be worse than ablation: per cent, perhaps."""

OURS = "trainers"
"""Source of the rows of our own evaluation."""

SETTLED = "frontier_fractions"
"""Attribute of a table put together of checked ones: what is per cent has been divided."""


def fractions(
    table: pd.DataFrame, called: Mapping[str, str] | None = None, signed: Collection[str] = ()
) -> Iterator[str]:
    """Per cent where a fraction is meant, decided for the column as a whole.

    `called` are the names of the columns in the source. One that says per cent is believed, unless that is
    absurd: an SAE that recovers 0.98 % of the loss recovers 0.98 of it. Elsewhere the median decides. Values
    below 0 tell nothing where others are above: an SAE may lose many times what it recovers. Cells of
    `signed` said % themselves, and are read.

    Raises
    ------
    TableError
        When the values of an axis may be either, and no name tells.
    """
    called = called or {}
    if table.attrs.pop(SETTLED, False):
        return
    ours = (table["source"] == OURS).to_numpy(dtype=bool) if "source" in table else np.zeros(len(table), bool)
    if ours.any():  # what we measured are fractions, however bad
        if not ours.all():
            others = table[~ours].copy()
            yield from fractions(others, called, signed)
            for name in others:
                table.loc[~ours, name] = others[name]
        return
    yield from _errors_in_per_cent(table, called, signed)
    for name in numeric_columns(table):
        spec, theirs = spec_of(str(name)), called.get(name, name)
        if spec is None or name in signed or str(name).endswith("_se") or says_fraction(theirs):
            continue
        said = name in called and says_percent(theirs)
        if spec.kind != "fraction" and not said:
            continue
        sizes = np.abs(table[name].to_numpy())
        told = _telling(table[name])
        if not told.size:
            continue
        percent = _is_per_cent(spec, said, told)
        most = number(float(np.max(told)))
        if percent:
            divided(table, name, signed)
            errors = f", and so is {name}_se" if f"{name}_se" in table and f"{name}_se" not in signed else ""
            yield f"{name}: values up to {most} are per cent; divided by 100{errors}" + (
                f" (if they are fractions in spite of the name: {_mapped(theirs, name, FRACTION)})"
                if said and np.max(told) <= 1
                else ""
            )
        elif said:
            yield f"{name}: the name says per cent, values up to {most} are read as fractions"
        if name in AXES and not (said and spec.better == "lower"):
            yield from _mixed_scales(table, name, theirs, sizes, percent)


class Scale(NamedTuple):
    """A share in a file: its name there and here, whether its values are per cent, and the largest."""

    theirs: str
    ours: str
    percent: bool
    most: float


def scales(frame: pd.DataFrame) -> Iterator[Scale]:
    """The shares of a file's table that may be per cent, and the scale that they seem to have."""
    for theirs in map(str, frame.columns):
        spec, said = BY_NAME.get(canonical_name(theirs) or ""), says_percent(theirs)
        if spec is None or not (spec.kind == "fraction" or said) or says_fraction(theirs):
            continue
        told = _telling(frame[theirs]) if pd.api.types.is_numeric_dtype(frame[theirs].dtype) else np.empty(0)
        if told.size:
            yield Scale(theirs, spec.name, _is_per_cent(spec, said, told), float(np.max(told)))


def agreed(files: Mapping[str, Iterable[Scale]]) -> Iterator[tuple[str, str]]:
    """The file and our name of each share that other files of a folder show to be per cent as well.

    Raises
    ------
    TableError
        When a share that falls is per cent in one file by its values, and may be a fraction in another.
    """
    found: dict[str, dict[str, Scale]] = {}
    for path, shares in files.items():
        for scale in shares:
            found.setdefault(scale.theirs, {})[path] = scale
    for theirs, here in found.items():
        percent = [path for path, scale in here.items() if scale.percent]
        others = [path for path, scale in here.items() if not scale.percent]
        spec = BY_NAME[next(iter(here.values())).ours]
        if not percent or not others or (spec.better == "higher" and spec.place):
            continue  # a loss recovered of 0.9 is a fraction, whatever others are
        if spec.better != "higher":
            one, other = (f"up to {number(here[path[0]].most)} ({path[0]})" for path in (percent, others))
            raise _question(theirs, spec.name, f"values {one} are per cent, {other} they may be")
        yield from ((path, spec.name) for path in others)


def divided(table: pd.DataFrame, name: str, signed: Collection[str] = ()) -> None:
    """A column of per cents, and its standard errors, as fractions; cells of `signed` are that already."""
    for column in (name, f"{name}_se"):
        if column in table and column not in signed:
            table[column] = table[column] / 100


def as_share(
    table: pd.DataFrame, column: str, side: str, signed: Collection[str] = ()
) -> tuple[pd.DataFrame, str, list[str]]:
    """The table with a metric of a user's own in shares if its name says per cent; its name then, and notes.

    `signed` is as in `fractions`.

    Raises
    ------
    TableError
        When its values may be shares in spite of the name, or another column has the name of the share.

    >>> as_share(pd.DataFrame({"accuracy (%)": [62.0, 71.0]}), "accuracy (%)", "higher")[2]
    ["'accuracy (%)' read as accuracy: values up to 71 are per cent; divided by 100"]
    """
    told, name = _telling(table[column]), bare_name(column)
    if name == column or not told.size:
        return table, column, []
    if name in table:
        raise TableError(
            f"{column} and {name} are both there; leave one out: columns={{{column!r}: 'ignored'}}"
        )
    most = number(float(np.max(told)))
    if column not in signed and side == "higher" and np.max(told) <= PERCENT_MEDIAN:
        raise TableError(
            f"column {column}: the name says per cent, its values are up to {most}, and nothing tells which "
            f"is so; give shares of 1 in a column called {name}"
        )
    table = table.rename(columns={column: name, f"{column}_se": f"{name}_se"})
    divided(table, name, [name] if column in signed else ())
    scale = "" if column in signed else f": values up to {most} are per cent; divided by 100"
    return table, name, [f"{column!r} read as {name}{scale}"]


def _errors_in_per_cent(
    table: pd.DataFrame, called: Mapping[str, str], signed: Collection[str]
) -> Iterator[str]:
    """Standard errors whose name alone says per cent, of a metric whose name does not."""
    for column, theirs in called.items():
        name = column.removesuffix("_se")
        if name != column and says_percent(theirs) and not says_percent(called.get(name, name)):
            if name in table and column not in signed:
                table[column] = table[column] / 100
                yield f"{column}: per cent by its name; divided by 100"


def _telling(column: pd.Series) -> np.ndarray:
    """The sizes that tell the scale of a column."""
    values = column.to_numpy(dtype=float, na_value=np.nan)
    return np.abs(values[np.isfinite(values) & ((values > 0) | ~(values > 0).any())])


def _is_per_cent(spec: Column, said: bool, told: np.ndarray) -> bool:
    """Whether a column is per cent: `said` by its name, unless that is absurd, or by the median.

    >>> [_is_per_cent(spec_of(name), True, np.array([0.5, 0.98])) for name in ("fvu", "loss_recovered")]
    [True, False]
    """
    if said:
        typical = float(np.max(told))
        if spec.better != "higher":
            return not spec.high or typical <= 100 * (1 + 1e-6)
        least = (1 + 1e-6) * spec.high if spec.high else PERCENT_MEDIAN
    else:
        typical, least = float(np.median(told)), PERCENT_MEDIAN
    return typical > least and not (spec.high and typical > 100 * (1 + 1e-6))


def _mapped(theirs: str, ours: str, scale: str) -> str:
    """What to type where a column is on this scale."""
    target = f"{ours}{scale}"
    return f"read(..., columns={{{theirs!r}: {target!r}}}) or --map {in_shell(f'{theirs}={target}')}"


def _question(theirs: str, ours: str, seen: str) -> TableError:
    return TableError(
        f"column {theirs}: {seen}, and nothing tells; if all are per cent, say "
        f"{_mapped(theirs, ours, PER_CENT)}; if all are fractions, {ours + FRACTION!r} there"
    )


def _mixed_scales(
    table: pd.DataFrame, name: str, theirs: str, sizes: np.ndarray, percent: bool
) -> Iterator[str]:
    """Rows of an axis on the other scale than the rest of the column: nobody can say what they mean."""
    if percent:
        odd = _among_percents(sizes)
        word = "a fraction in a column of per cents"
    else:
        odd = np.isfinite(sizes) & (sizes > 5)
        word = "per cent in a column of fractions"
        if name == "performance_hit" and odd.any() and np.mean(sizes[np.isfinite(sizes)] > 1) > MANY:
            low, high = (number(float(f(sizes))) for f in (np.nanmin, np.nanmax))
            raise _question(theirs, name, f"values from {low} to {high} may be per cent or fractions")
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
