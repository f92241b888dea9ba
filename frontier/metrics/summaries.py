"""Rows that a spreadsheet adds below a table, or below each family: means, sums."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from frontier.metrics.cells import different_cells, is_missing, is_text
from frontier.metrics.checks import add_text, rows_named
from frontier.metrics.number_format import decimals
from frontier.wording import listed

_STATISTICS: dict[str, Callable[[np.ndarray], Any]] = {
    **dict.fromkeys("mean average avg mittelwert durchschnitt mittel moyenne moy mean±std".split(), np.mean),
    **dict.fromkeys("total totals sum summe gesamt somme".split(), np.sum),
    **dict.fromkeys("std sd".split(), lambda values: [np.std(values), np.std(values, ddof=1)]),
    "sem": lambda values: np.std(values, ddof=1) / len(values) ** 0.5,
    **dict.fromkeys("median médiane".split(), np.median),
    "min": np.min,
    "max": np.max,
}
SUMMARIES = frozenset(_STATISTICS)
"""What a row of sums or means is called, in the languages of the spreadsheets seen."""

LONGEST = 60
"""Characters of a label."""

NAMED = ("run_id", "architecture", "family")
_WORD = "|".join(sorted(SUMMARIES, key=len, reverse=True))
_OF = re.compile(
    rf"(?P<before>.+?)[\s_(:]+(?P<last>{_WORD})\)?|(?P<first>{_WORD})[\s_(:]+(?:of\s+)?(?P<after>.+?)\)?",
    re.IGNORECASE,
)


def summary_rows(table: pd.DataFrame) -> Iterator[str]:
    """Rows of sums or means: alone in their text, or called after the family that they are of."""
    other = ("doubts", "excluded_because", "source", "ablation", "protocol", "sparsity_name")
    texts = [c for c in table.columns if c not in other and is_text(table[c].dtype)]
    cells = (cell for c in texts for cell in different_cells(table[c]))
    short = {cell for cell in cells if isinstance(cell, str) and len(cell) < LONGEST}
    if not any(_summary(cell) in SUMMARIES or _OF.fullmatch(cell.strip()) for cell in short):
        return
    words = pd.DataFrame({c: [_summary(cell) for cell in table[c]] for c in texts}, index=table.index)
    alone = (words != "").sum(axis=1) == 1  # the label of such a row is all the text in it
    for name in texts:
        label = alone & ~words[name].duplicated(keep=False) & (len(table) > 3)
        rows = words[name].isin(SUMMARIES) & (label | (name in NAMED))
        if name in NAMED:
            of_others, unlike = (pd.Series(found, table.index) for found in _of_others(table, name))
            rows |= of_others
            if unlike.any():
                said = listed(sorted(table[name][unlike]), 3)
                yield f"{said}: called after other rows, but of another L0 than theirs comes to; kept as SAEs"
        rows &= table["excluded_because"].isna()
        if rows.any():
            add_text(table, "excluded_because", rows.to_numpy(), "a row of sums or means, not an SAE")
            said = listed(sorted(set(words[name][rows])))
            yield f"{rows_named(rows.to_numpy(), table)}: {said}, no SAE; set aside"


def _of_others(table: pd.DataFrame, name: str) -> tuple[list[bool], list[bool]]:
    """Which rows, each there once, are the mean or sum of others as they are called; and which are not.

    >>> table = pd.DataFrame({"family": ["topk", "topk", "topk mean", "Max of topk"], "l0": [3.0, 4, 3.5, 9]})
    >>> _of_others(table, "family")
    ([False, False, True, False], [False, False, False, True])
    """
    texts = ["" if is_missing(cell) else str(cell).strip().lower() for cell in table[name].astype(object)]
    counts, labels = Counter(texts), np.array(texts, dtype=object)
    l0 = table["l0"].to_numpy() if "l0" in table else np.full(len(table), np.nan)
    are, only = [False] * len(texts), [False] * len(texts)
    for i, text in enumerate(texts):
        told = _OF.fullmatch(text) if counts[text] == 1 and len(text) < LONGEST else None
        if told and counts[told["before"] or told["after"]] > 1:
            of = l0[(labels == (told["before"] or told["after"])) & np.isfinite(l0)]
            are[i] = not np.isfinite(l0[i]) or _comes_to(l0[i], told["last"] or told["first"], of)
            only[i] = not are[i]
    return are, only


def _comes_to(value: float, word: str, values: np.ndarray) -> bool:
    """Whether a value is the mean, sum, ... of others, in the digits in which it is printed."""
    apart = np.abs(value - np.asarray(_STATISTICS[word](values))) if len(values) > 1 else np.inf
    return bool(np.min(apart) <= 0.5 * 10.0 ** -decimals(value) + 1e-9 * abs(value))


def _summary(cell: object) -> str:
    """A label without spaces and colons."""
    return "" if is_missing(cell) else "".join(str(cell).split()).strip(":").lower()
