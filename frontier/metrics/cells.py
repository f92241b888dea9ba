"""What stands in a cell: the number that a text means, words for missing, names cleaned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from frontier.metrics.checks import TableError, add_text, numeric_columns, rows_named
from frontier.metrics.columns import COLUMNS, Column
from frontier.metrics.names import spec_of
from frontier.metrics.number_format import MARKS, decide, question, shows, written
from frontier.metrics.per_cent import without_sign
from frontier.wording import in_shell, listed, plural

MISSING_WORDS = frozenset({
    "", "na", "n/a", "#n/a", "nan", "none", "null", "<na>", "missing", "-", "--", "---", "—", "–", "?", ".",
    "...", "…", "n.a.", "n. a.", "\\n",
})  # fmt: skip
SCALES = {"k": 1e3, "m": 1e6, "b": 1e9}


def number_in(text: str, spec: Column, decimal: str = ".") -> float:
    """The number that a cell's text means in column `spec`; NaN when it means none.

    Per cent becomes a fraction where the column has no unit, '1,024' and '16k' are read in counts and L0; a
    width of '16k' is 16384, as everybody means it. `decimal` is the file's decimal mark.

    >>> from frontier.metrics.columns import BY_NAME as column
    >>> number_in("97.5 %", column["loss_recovered"]), number_in("16k", column["dictionary_size"])
    (0.975, 16384.0)
    >>> number_in("500M", column["tokens_trained"]), number_in("1.024", column["l0"], ",")
    (500000000.0, 1024.0)
    """
    number = written(text)
    if number is None:
        return _special(text)
    mark = shows(text, spec)
    value = number.value(mark if mark in MARKS else decimal)
    if number.percent:
        return value / 100 if not spec.unit else float("nan")
    if not number.scale:
        return value
    if spec.kind == "count" and spec.unit != "tokens":
        return _width(value, SCALES[number.scale])
    return value * SCALES[number.scale] if spec.kind == "count" or spec.name == "l0" else float("nan")


def _special(text: str) -> float:
    try:
        return float(text)  # 'inf', and digits of other scripts
    except ValueError:
        return float("nan")


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


def different_cells(column: pd.Series) -> list[Any]:
    """The cells of a column, equal ones once, where they can be compared.

    >>> different_cells(pd.Series(["relu", "relu", None], dtype=object))
    ['relu', None]
    """
    try:
        return column.unique().tolist()
    except TypeError:  # lists
        return column.tolist()


def texts_of(column: pd.Series) -> Iterable[str]:
    """The different texts of a column."""
    return dict.fromkeys(cell for cell in different_cells(column) if isinstance(cell, str))


def is_text(kind: Any) -> bool:
    """Whether a column of this type holds texts, perhaps among others."""
    return bool(
        pd.api.types.is_object_dtype(kind)
        or pd.api.types.is_string_dtype(kind)
        or isinstance(kind, pd.CategoricalDtype)
    )


def read_numbers(
    table: pd.DataFrame, called: Mapping[str, str] | None = None, signed: set[str] | None = None
) -> Iterator[str]:
    """Number columns as float64: text that means a number is read, other text becomes missing.

    `called` are the names of the columns in the source; `signed` gets those whose cells all say % themselves.
    """
    worded = []
    for name in numeric_columns(table):
        kind = table[name].dtype
        if kind == np.float64:
            continue
        if pd.api.types.is_bool_dtype(kind):
            raise TableError(f"column {name} holds true/false, expected numbers")
        if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
            table[name] = table[name].to_numpy(dtype=float, na_value=np.nan)
        elif is_text(kind):
            worded.append(name)
        else:
            raise TableError(f"column {name} holds {kind}, expected numbers")
    shown = {n: {shows(t, spec_of(n)) for t in texts_of(table[n])} for n in worded}
    marks = decide(shown)
    for name in worded:
        if marks[name] is None and "?" in shown[name]:
            spec = spec_of(name)
            raise question(name, next(t for t in texts_of(table[name]) if shows(t, spec) == "?").strip())
        theirs = (called or {}).get(name, name)
        spec, per_cent = spec_of(name), set() if signed is None else signed
        assert spec is not None
        yield from _read_text(table, name, spec, marks[name] or ".", theirs, per_cent)


def read_metric(table: pd.DataFrame, name: str, signed: set[str] | None = None) -> Iterator[str]:
    """A column of text that a user calls a metric, as one of shares is read; `signed` as in `read_numbers`.

    >>> table = pd.DataFrame({"accuracy": ["62 %", "71 %"]})
    >>> list(read_metric(table, "accuracy")), table["accuracy"].tolist()
    (['accuracy: 2 values written with % read as fractions'], [0.62, 0.71])
    """
    said = set() if signed is None else signed
    return _read_text(table, name, Column(name, "fraction", "", name), ".", name, said)


def holds_per_cent(column: pd.Series) -> bool:
    """Whether a column of text holds numbers, some of them with %, and nothing else.

    >>> [holds_per_cent(pd.Series(cells)) for cells in (["62 %", "n/a"], ["relu 5%", "2 %"], ["1", "2"])]
    [True, False, False]
    """
    texts = texts_of(column) if is_text(column.dtype) else ()
    found = [written(text) for text in texts if text.strip().lower() not in MISSING_WORDS]
    return all(found) and any(number is not None and number.percent for number in found)


def _read_text(
    table: pd.DataFrame, name: str, spec: Column, decimal: str, theirs: str, per_cent: set[str]
) -> Iterator[str]:
    cells = table[name]
    numbers, texts, meaning = np.full(len(cells), np.nan), [], {}
    for i, cell in enumerate(cells):
        if isinstance(cell, Number) and not isinstance(cell, (bool, complex)):
            numbers[i] = _as_float(cell)
        elif not is_missing(cell):
            text = str(cell).strip()
            if text not in meaning:
                meaning[text] = number_in(text, spec, decimal)
            numbers[i] = meaning[text]
            texts.append((i, text))
    signed = np.zeros(len(cells), dtype=bool)
    signed[[i for i, text in texts if "%" in text and (found := written(text)) and found.percent]] = True
    if not spec.unit and without_sign(numbers, signed):
        numbers[~signed] /= 100
        signed[:] = True
        yield f"{name}: values without % beside others with it are per cent too; divided by 100"
    if signed.any() and not np.isfinite(numbers[~signed]).any():
        per_cent.add(name)
    bad_words = sorted(
        t for t, value in meaning.items() if np.isnan(value) and t.lower() not in MISSING_WORDS
    )
    bad = np.zeros(len(cells), dtype=bool)
    bad[[i for i, text in texts if text in set(bad_words)]] = True
    if bad.any() and np.isnan(numbers).all():
        raise _no_numbers(name, bad_words, rows_named(bad, table), theirs)
    table[name] = numbers
    yield from _readings(name, [text for _, text in texts], meaning)
    if bad.any():
        yield f"{name}: text {_quoted(bad_words)} in {rows_named(bad, table)} is not a number; set to missing"
        add_text(table, "doubts", bad, f"{name} was text")


def _no_numbers(name: str, words: list[str], where: str, theirs: str) -> TableError:
    """What to say of a number column in which no cell is a number."""
    if all(word.endswith("%") for word in words):
        return TableError(
            f"column {name} holds per cent ({where}: {_quoted(words)}) and nobody says of what; expected the "
            "number itself, for l0 the active latents (the share times dictionary_size)"
        )
    what = "true/false" if {w.lower() for w in words} <= {"true", "false"} else "text"
    out = f"columns={{{theirs!r}: 'ignored'}} (--map {in_shell(f'{theirs}=ignored')}) leaves it out"
    return TableError(
        f"column {name} holds {what}, expected numbers; {where} hold {_quoted(words)}"
        + (f"; {out}" if name != "l0" else "")
    )


def is_missing(cell: object) -> bool:
    """Whether a cell holds nothing, in any of the ways that pandas has for it."""
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and np.isnan(cell))


def _as_float(cell: Any) -> float:
    try:
        return float(cell)
    except OverflowError:  # an integer beyond float64
        return float("inf") if cell > 0 else float("-inf")


def _readings(name: str, texts: list[str], meaning: dict[str, float]) -> Iterator[str]:
    percent = sum(text.endswith("%") for text in texts)
    if percent and any(t.endswith("%") and np.isfinite(v) for t, v in meaning.items()):
        yield f"{name}: {plural(percent, 'value')} written with % read as fractions"
    short = [
        f"{t!r} as {v:.10g}" for t, v in meaning.items()
        if np.isfinite(v) and not t.endswith("%") and np.isnan(_special(t.replace("−", "-")))
    ]  # fmt: skip
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
        elif is_text(column.dtype):
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
