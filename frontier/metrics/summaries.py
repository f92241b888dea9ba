"""Rows that a spreadsheet adds below a table, or below each family: means, sums."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pandas as pd

from frontier.metrics.cells import is_missing
from frontier.metrics.checks import add_text, rows_named
from frontier.wording import listed

SUMMARIES = frozenset(
    "mean average avg median std sd sem total totals sum min max mean±std"
    " mittelwert durchschnitt mittel summe gesamt moyenne moy médiane total somme".split()
)
"""What a row of sums or means is called, in the languages of the spreadsheets seen."""

LONGEST = 60
"""Characters of a label."""

NAMED = ("run_id", "architecture", "family")
_WORD = "|".join(sorted(SUMMARIES, key=len, reverse=True))
_OF = re.compile(rf"(.+?)[\s_(:]+(?:{_WORD})\)?|(?:{_WORD})[\s_(:]+(?:of\s+)?(.+?)\)?", re.IGNORECASE)


def summary_rows(table: pd.DataFrame) -> Iterator[str]:
    """Rows of sums or means: alone in their text, or called after the family that they are of."""
    other = ("doubts", "excluded_because", "source", "ablation", "protocol", "sparsity_name")
    texts = [c for c in table.columns if c not in other and _is_text(table[c])]
    short = {
        cell for c in texts for cell in table[c].tolist() if isinstance(cell, str) and len(cell) < LONGEST
    }
    if not any(_summary(cell) in SUMMARIES or _OF.fullmatch(cell.strip()) for cell in short):
        return
    words = pd.DataFrame({c: [_summary(cell) for cell in table[c]] for c in texts}, index=table.index)
    alone = (words != "").sum(axis=1) == 1  # the label of such a row is all the text in it
    for name in texts:
        label = alone & ~words[name].duplicated(keep=False) & (len(table) > 3)
        rows = words[name].isin(SUMMARIES) & (label | (name in NAMED))
        if name in NAMED:
            rows |= pd.Series(_of_others(table[name]), table.index)
        rows &= table["excluded_because"].isna()
        if rows.any():
            add_text(table, "excluded_because", rows.to_numpy(), "a row of sums or means, not an SAE")
            said = listed(sorted(set(words[name][rows])))
            yield f"{rows_named(rows.to_numpy(), table)}: {said}, no SAE; set aside"


def _of_others(cells: pd.Series) -> list[bool]:
    """Which cells, each there once, are called after another cell, with a word for a mean or sum.

    >>> _of_others(pd.Series(["topk", "topk mean", "Mean of topk", "relu max"]))
    [False, True, True, False]
    """
    texts = ["" if is_missing(cell) else str(cell).strip().lower() for cell in cells.astype(object)]
    counts = Counter(texts)
    found = [_OF.fullmatch(text) if counts[text] == 1 and len(text) < LONGEST else None for text in texts]
    return [told is not None and (told[1] or told[2]) in counts for told in found]


def _summary(cell: object) -> str:
    """A label without spaces and colons."""
    return "" if is_missing(cell) else "".join(str(cell).split()).strip(":").lower()


def _is_text(column: pd.Series) -> bool:
    return bool(pd.api.types.is_string_dtype(column.dtype) or pd.api.types.is_object_dtype(column.dtype))
