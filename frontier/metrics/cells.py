"""What stands in a cell: text read as numbers, words for missing, names cleaned."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from frontier.metrics.checks import TableError, add_text, numeric_columns, rows_named
from frontier.metrics.columns import BY_NAME, COLUMNS, Column
from frontier.wording import listed, plural

MISSING_WORDS = frozenset(
    {"", "na", "n/a", "nan", "none", "null", "<na>", "missing", "-", "--", "—", "–", "?"}
)
SCALES = {"k": 1e3, "m": 1e6, "b": 1e9}
_SCALED = re.compile(r"(\d+(?:\.\d+)?)\s*([kmb])")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(,\d{3})+")


def number_in(text: str, spec: Column) -> float:
    """The number that a cell's text means in column `spec`; NaN when it means none.

    Per cent becomes a fraction where the column has no unit, '1,024' and '16k' are read in counts; a width of
    '16k' is 16384, as everybody means it.

    >>> from frontier.metrics.columns import BY_NAME as column
    >>> number_in("97.5 %", column["loss_recovered"]), number_in("16k", column["dictionary_size"])
    (0.975, 16384.0)
    >>> number_in("500M", column["tokens_trained"]), number_in("1,024", column["l0"])
    (500000000.0, nan)
    """
    text = text.strip().replace("−", "-")
    if text.endswith("%") and not spec.unit:
        return _plain(text[:-1]) / 100
    if spec.kind == "count":
        if _THOUSANDS.fullmatch(text):
            return float(text.replace(",", ""))
        scaled = _SCALED.fullmatch(text.lower())
        if scaled:
            value, scale = float(scaled[1]), SCALES[scaled[2]]
            return value * scale if spec.unit == "tokens" else _width(value, scale)
    return _plain(text)


def _plain(text: str) -> float:
    try:
        return float(pd.to_numeric(text.strip(), errors="coerce"))
    except OverflowError:
        return float("inf")


def _width(value: float, scale: float) -> float:
    """The power of two, or three times one, that '16k' or '1M' stands for; else the plain product."""
    plain = value * scale
    most = 1.001 * 1.024 ** round(np.log10(scale) / 3)  # how far 1024, 1024^2, 1024^3 lie above 1000, ...
    for power in range(5, 34):
        for width in (2.0**power, 3.0 * 2 ** (power - 1)):
            if 0.99 < width / plain < most:
                return width
    return plain


def holds_nothing(column: pd.Series) -> bool:
    """Whether every cell is missing, or a word for it."""
    return all(str(cell).strip().lower() in MISSING_WORDS for cell in column.dropna())


def read_numbers(table: pd.DataFrame) -> Iterator[str]:
    """Number columns as float64: text that means a number is read, other text becomes missing."""
    for name in numeric_columns(table):
        column = table[name]
        kind = column.dtype
        if kind == np.float64:
            continue
        if pd.api.types.is_bool_dtype(kind):
            raise TableError(f"column {name} holds true/false, expected numbers")
        if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
            table[name] = column.to_numpy(dtype=float, na_value=np.nan)
        elif (
            pd.api.types.is_string_dtype(kind)
            or pd.api.types.is_object_dtype(kind)
            or isinstance(kind, pd.CategoricalDtype)
        ):
            yield from _read_text(table, name)
        else:
            raise TableError(f"column {name} holds {kind}, expected numbers")


def _read_text(table: pd.DataFrame, name: str) -> Iterator[str]:
    cells = table[name]
    if (
        pd.api.types.is_object_dtype(cells.dtype)
        and pd.api.types.infer_dtype(cells, skipna=True) == "boolean"
    ):
        raise TableError(f"column {name} holds true/false, expected numbers")
    numbers = _fast_numbers(cells)
    left = np.isnan(numbers) & cells.notna().to_numpy()
    texts = cells[left].astype(object).map(lambda cell: str(cell).strip())
    spec = BY_NAME[name.removesuffix("_se")]
    meaning = {text: number_in(text, spec) for text in texts.unique()}
    numbers[left] = texts.map(meaning).to_numpy(dtype=float)
    bad_words = sorted(
        t for t, value in meaning.items() if np.isnan(value) and t.lower() not in MISSING_WORDS
    )
    bad = left.copy()
    bad[left] = texts.isin(bad_words).to_numpy()
    if bad.any() and np.isnan(numbers).all():
        raise TableError(
            f"column {name} holds text, expected numbers; {rows_named(bad, table)} hold {_quoted(bad_words)}"
        )
    table[name] = numbers
    yield from _readings(name, texts, meaning)
    if bad.any():
        yield f"{name}: text {_quoted(bad_words)} in {rows_named(bad, table)} is not a number; set to missing"
        add_text(table, "doubts", bad, f"{name} was text")


def _fast_numbers(cells: pd.Series) -> np.ndarray:
    try:
        return pd.to_numeric(cells, errors="coerce").to_numpy(dtype=float, na_value=np.nan, copy=True)
    except (OverflowError, TypeError):  # an integer beyond float64
        return np.full(len(cells), np.nan)


def _readings(name: str, texts: pd.Series, meaning: dict[str, float]) -> Iterator[str]:
    percent = int(texts.str.endswith("%").sum()) if len(texts) else 0
    if percent and any(t.endswith("%") and np.isfinite(v) for t, v in meaning.items()):
        yield f"{name}: {plural(percent, 'value')} written with % read as fractions"
    short = [f"{t!r} as {v:.0f}" for t, v in meaning.items() if np.isfinite(v) and not t.endswith("%")]
    if short:
        yield f"{name}: read {listed(short, 3)}"


def _quoted(words: list[str], most: int = 3) -> str:
    return listed([repr(w if len(w) <= 40 else w[:37] + "...") for w in words], most)


def clean_names(table: pd.DataFrame) -> Iterator[str]:
    """Identity columns that can be grouped by: spaces cut, empty text missing, lists as text, 20.0 as 20."""
    for spec in COLUMNS:
        if spec.kind != "identity" or spec.name not in table:
            continue
        name, column = spec.name, table[spec.name]
        if name == "seed" and pd.api.types.is_numeric_dtype(column.dtype) and (column == -1).any():
            column = column.where(column != -1)
            yield "seed: -1 is a sentinel for missing; set to missing"
        if (
            pd.api.types.is_float_dtype(column.dtype)
            and column.notna().all()
            and (column % 1 == 0).all()
            and (abs(column) < 2**53).all()
        ):
            column = column.astype("int64")
        elif pd.api.types.is_string_dtype(column.dtype) or pd.api.types.is_object_dtype(column.dtype):
            column = _clean_text(column)
        table[name] = column


def _clean_text(column: pd.Series) -> pd.Series:
    try:
        values = column.unique()
    except TypeError:  # lists and dicts cannot be grouped by
        column = column.map(lambda cell: cell if pd.api.types.is_scalar(cell) else str(cell))
        values = column.unique()
    cleaned = {v: v.strip() or None for v in values if isinstance(v, str) and (v != v.strip() or not v)}
    return column.map(lambda cell: cleaned.get(cell, cell)) if cleaned else column
