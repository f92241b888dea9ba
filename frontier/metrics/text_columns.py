"""A file's text columns as numbers, wherever they hold them; its marks decided once for all columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from frontier.metrics.cells import MISSING_WORDS, is_missing, is_text, texts_of
from frontier.metrics.columns import Column
from frontier.metrics.names import canonical_name, spec_of
from frontier.metrics.number_format import MARKS, decide, question, shows, written
from frontier.wording import listed

TRUTH = {"true": True, "false": False}


def numbers_from_text(table: pd.DataFrame, decimal: str | None = None) -> tuple[pd.DataFrame, list[str]]:
    """A file's text columns as numbers wherever they hold them, its marks decided once for all columns.

    Returned are the table and what there is to say about the marks.

    Cells that are no numbers, and those with a per-cent sign or a scale ('16k'), stay text in columns of the
    metrics table (`read_numbers` says what they mean); other columns with such cells stay as they are.

    Raises
    ------
    TableError
        When a mark in a column of the metrics table may be decimal or stand between thousands.

    >>> frame = pd.DataFrame({"l0": ["500", "1.010"], "loss_recovered": ["0,712", "0,801"]})
    >>> table, said = numbers_from_text(frame)
    >>> table["l0"].tolist(), said
    ([500.0, 1010.0], ["decimal commas: read '1.010' as 1010 and '0,712' as 0.712"])
    """
    shown: dict[str, set[str]] = {}
    texts: dict[str, list[str]] = {}
    commas: dict[str, float] = {}
    points: dict[str, float] = {}
    spreads: dict[str, str] = {}
    for column in [c for c in table.columns if is_text(table[c].dtype)]:
        name = canonical_name(str(column)) or str(column)
        plain = _written_by_programs(table[column], spec_of(name)) if decimal != "," else None
        if plain is not None:
            table[column], shown[name] = plain
            continue
        found = [text.strip() for text in texts_of(table[column])]
        if found and not _known(spec_of(name)) and {text.lower() for text in found} <= TRUTH.keys():
            cells = [TRUTH[c.strip().lower()] if isinstance(c, str) else c for c in table[column]]
            table[column] = pd.Series(cells, table.index).infer_objects()
        elif _may_be_numbers(found, spec_of(name)):
            texts[column] = found
            shown.setdefault(name, set()).update(shows(text, spec_of(name)) for text in found)
    marks = decide(shown, decimal)
    for column, found in texts.items():
        name = canonical_name(str(column)) or str(column)
        spec, mark = spec_of(name), marks[name]
        if mark is None and "?" in shown[name]:
            if not _known(spec):
                continue
            raise question(str(column), next(t for t in found if shows(t, spec) == "?"))
        read = {t: _cell(t, spec, mark or ".") for t in found}
        if mark == ",":
            commas |= {t: v for t, v in read.items() if isinstance(v, float) and not t.isdecimal()}
        elif decimal is None:
            points |= {t: v for t, v in read.items() if isinstance(v, float) and _is_moot(t, spec)}
        if spread := next((n.spread for t in found if (n := written(t)) and n.spread), ""):
            spreads[name] = spread
        table[column] = _column([_looked_up(read, cell) for cell in table[column]], table.index)
    return table, list(_remarks(commas, points, spreads))


def _is_moot(text: str, spec: Column | None) -> bool:
    """Whether the comma of a number is decimal or not can be told from other numbers alone."""
    return "," in text and shows(text, spec) == "?"


def _remarks(commas: dict[str, float], points: dict[str, float], spreads: dict[str, str]) -> Iterator[str]:
    """What to say of the marks in numbers, and of what stands behind some."""
    for what, read in (("commas", commas), ("points", points)):
        told = [next((f"{t!r} as {v:.10g}" for t, v in read.items() if m in t), "") for m in (".", ",")]
        if both := " and ".join(dict.fromkeys(filter(None, told))):
            yield f"decimal {what}: read {both}"
    if spreads:
        first, spread = next(iter(spreads.items()))
        yield (
            f"{listed(list(spreads), 4)}: what stands behind the values ({spread!r}) is left out, as nothing "
            f"tells an SD from a standard error; that is read from a column of its own ({first}_se)"
        )


def _written_by_programs(column: pd.Series, spec: Column | None) -> tuple[pd.Series, set[str]] | None:
    """A column of text that Python itself reads, with what it shows; None where a mark needs thought."""
    first = next((cell for cell in column if isinstance(cell, str)), None)
    if first is None or not _is_float(first):
        return None
    cells = column.tolist()
    alike = set(map(type, cells)) == {str}
    texts = cells if alike else [cell for cell in cells if isinstance(cell, str)]
    if not (alike or all(isinstance(c, str) or is_missing(c) for c in cells)):
        return None
    dotted = next((text for text in texts if "." in text), None)
    if dotted and spec is not None and spec.kind == "count":
        return None
    if not _known(spec) and any(text[:1] == "0" and text[1:2].isdigit() for text in texts):
        return None
    if dotted and not any(shows(text, spec) == "." for text in texts if "." in text):
        return None
    try:
        if alike and not dotted and all(map(str.isdecimal, texts)):
            return pd.Series(list(map(int, texts)), column.index, dtype="int64"), {""}
        plain = cells if alike else [cell if isinstance(cell, str) else "nan" for cell in cells]
        numbers = np.array(plain, dtype=object).astype(float)
    except (ValueError, OverflowError):
        return None
    return pd.Series(numbers, column.index), {"."} if dotted else {""}


def _known(spec: Column | None) -> bool:
    """Whether a column of the metrics table holds numbers."""
    return spec is not None and spec.kind != "identity"


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _may_be_numbers(texts: list[str], spec: Column | None) -> bool:
    """Whether a column is to be read: one of our number columns, or one of plain numbers only."""
    if _known(spec):
        return True
    for text in texts:
        number = written(text)
        if number is None:
            if text.lower() not in MISSING_WORDS:
                return False
        elif number.percent or number.scale or not text[-1].isdigit() or re.match(r"[+-]?0\d", text):
            return False  # a name such as '0012', '64k' or '3 layers'
    return bool(texts)


def _cell(text: str, spec: Column | None, decimal: str) -> float | int | str | None:
    """What stands in for a cell's text: a number, a number with its sign or scale, or the text itself."""
    number = written(text)
    if number is None:
        return None if text.lower() in MISSING_WORDS else text
    mark = shows(text, spec)
    value = number.value(mark if mark in MARKS else decimal)
    if number.percent or number.scale:
        return f"{value:.15g}{'%' if number.percent else number.scale}"
    return int(number.digits) if number.digits.lstrip("+-").isdigit() and not number.power else value


def _looked_up(read: dict[str, Any], cell: Any) -> Any:
    return read[cell.strip()] if isinstance(cell, str) else cell


def _column(cells: list[Any], index: pd.Index) -> pd.Series:
    """The cells as a column of whole numbers, of numbers, or of what they are."""
    kinds = {type(cell) for cell in cells}
    if kinds == {int} and all(abs(cell) < 2**63 for cell in cells):
        return pd.Series(cells, index, dtype="int64")
    try:
        if bool not in kinds and str not in kinds:
            return pd.Series([np.nan if pd.isna(cell) else float(cell) for cell in cells], index, dtype=float)
    except (TypeError, ValueError, OverflowError):
        pass
    return pd.Series(cells, index, dtype=object)
