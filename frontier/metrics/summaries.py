"""Rows that a spreadsheet adds below a table, below each family or beside the seeds: means, sums, spreads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from frontier.metrics.cells import different_cells, is_missing, is_text
from frontier.metrics.checks import add_text, rows_named
from frontier.metrics.names import spec_of
from frontier.metrics.number_format import decimals, written
from frontier.wording import listed

_STATISTICS: dict[str, Callable[[np.ndarray], Any]] = {
    **dict.fromkeys(
        "mean means average averaged avg overall mittelwert durchschnitt mittel moyenne moy promedio"
        " gemiddelde mean±std mean±sd mean±sem avg±std".split(), np.mean
    ),
    **dict.fromkeys("total totals sum summe gesamt somme".split(), np.sum),
    **dict.fromkeys(
        "std sd stdev stddev std_dev stdabw".split(), lambda values: [np.std(values), np.std(values, ddof=1)]
    ),
    **dict.fromkeys("var variance".split(), lambda values: [np.var(values), np.var(values, ddof=1)]),
    **dict.fromkeys("sem stderr std_err".split(), lambda values: np.std(values, ddof=1) / len(values) ** 0.5),
    **dict.fromkeys("median médiane".split(), np.median),
    "count": len,
    "min": np.min,
    "max": np.max,
}  # fmt: skip
SUMMARIES = frozenset(_STATISTICS)
"""What a row of sums or means is called, in the languages of the spreadsheets seen."""

EITHER = frozenset({"count", "min", "max"})
"""Those that a setting may be called too."""

SPREADS = frozenset("std sd stdev stddev std_dev stdabw var variance sem stderr std_err".split())
"""Those of which no SAE has an L0, nor a mean one."""

LONGEST = 60
"""Characters of a label."""

NAMED = ("run_id", "architecture", "family")
NUMBERED = ("seed", "layer", "sparsity_setting")
"""Columns, beside those of counts, in which a word such as 'mean' is no value."""
MOST = 100
"""Rows of one family and word that are held against the others' sum: more are no sums."""
REASON = "a row of sums or means, not an SAE"

_WORD = "|".join(re.escape(word) for word in sorted(SUMMARIES, key=len, reverse=True))
_OF = re.compile(
    rf"(?P<before>.+?)[\s_(:]+(?P<last>{_WORD})\)?|(?P<first>{_WORD})[\s_(:]+(?:of\s+)?(?P<after>.+?)\)?",
    re.IGNORECASE,
)
_LABEL = re.compile(
    rf"[\W_]*(?P<word>{_WORD})(?:[-_\s]*(?:rows?|value|\((?:n\b|\d+\s|±|std|sd|sem|of|over|across)[^)]*\)"
    r"|(?:of|over|across)[\s_]+(?:all|the|\d+|seeds?|runs?|rows?|layers?|saes?)\b.*))?[\W_]*"
)


def summary_cells(table: pd.DataFrame) -> Iterator[str]:
    """Rows called a mean, a spread, ... where a seed, a layer, a setting or a count is meant.

    Done before numbers are read, which leaves no text in columns of numbers.
    """
    for name in [c for c in table.columns if _counts(str(c)) and is_text(table[c].dtype)]:
        if not any(_summary(cell) in SUMMARIES - EITHER for cell in different_cells(table[name])):
            continue
        words = pd.Series([_summary(cell) for cell in table[name]], table.index)
        rows = words.isin(SPREADS if (words != "").all() else SUMMARIES - EITHER)
        rows &= table["excluded_because"].isna()
        if rows.any() and not rows.all():
            if name not in NUMBERED[:2]:
                table[name] = table[name].where(~rows, None)
            yield _set_aside(table, rows, words)


def _counts(name: str) -> bool:
    spec = spec_of(name)
    return name in NUMBERED or (spec is not None and spec.kind == "count")


def summary_rows(table: pd.DataFrame) -> Iterator[str]:
    """Rows of sums or means: alone in their text, among names or numbers, or called after their family."""
    other = ("doubts", "excluded_because", "source", "ablation", "protocol", "sparsity_name")
    texts = [c for c in table.columns if c not in other and is_text(table[c].dtype)]
    cells = (cell for c in texts for cell in different_cells(table[c]))
    short = {cell for cell in cells if isinstance(cell, str) and len(cell) < LONGEST}
    if any(_summary(cell) in SUMMARIES or _OF.fullmatch(cell.strip()) for cell in short):
        words = pd.DataFrame({c: [_summary(cell) for cell in table[c]] for c in texts}, index=table.index)
        alone = (words != "").sum(axis=1) == 1  # the label of such a row is all the text in it
        for name in texts:
            label = alone & ~words[name].duplicated(keep=False) & (len(table) > 3)
            rows = words[name].isin(SUMMARIES) & (
                label | (name in NAMED) | _are_sums(table, name, words[name])
            )
            if name in NAMED:
                of_others, unlike = (pd.Series(found, table.index) for found in _of_others(table, name))
                rows |= of_others
                if unlike.any():
                    said = listed(sorted(table[name][unlike]), 3)
                    yield f"{said}: called after others, but of another L0 than theirs comes to; kept as SAEs"
            rows &= table["excluded_because"].isna()
            if rows.any():
                yield _set_aside(table, rows, words[name])
    yield from _mean_of_all(table)


def _set_aside(table: pd.DataFrame, rows: pd.Series, words: pd.Series) -> str:
    add_text(table, "excluded_because", rows.to_numpy(), REASON)
    said = listed(sorted({w for w in words[rows] if w}) or ["a mean"])
    return f"{rows_named(rows.to_numpy(), table)}: {said}, no SAE; set aside"


def _are_sums(table: pd.DataFrame, name: str, words: pd.Series) -> pd.Series:
    """Which rows of a column, some of whose cells say 'mean' or the like, are what they say.

    All are, where the other cells are numbers or names of single rows, or where one row has the L0 that
    others of its family come to; those of `EITHER` are where the L0 is so. Where nothing else stands in the
    column, as in one of means and SDs, the spreads are.
    """
    said = words != ""
    spread = words.isin(SPREADS)
    if said.all() and not spread.all():
        return spread
    others = [str(cell).strip() for cell in table[name][~said].astype(object) if not is_missing(cell)]
    if not said.any() or "l0" not in table:
        return said
    families = next((table[c] for c in ("family", "architecture") if c in table), None)
    l0, come = table["l0"].to_numpy(dtype=float, na_value=np.nan), np.zeros(len(table), dtype=bool)
    known = np.isfinite(l0) & ~said.to_numpy()
    own = np.zeros(len(table), dtype=int) if families is None else pd.factorize(families)[0]
    pairs: dict[tuple[int, str], list[int]] = {}
    for row in np.flatnonzero(said).tolist():
        pairs.setdefault((int(own[row]), str(words.iloc[row])), []).append(row)
    for (family, word), rows in pairs.items():
        of = l0[known & (own == family)]
        come[rows[:MOST]] = [_comes_to(float(l0[row]), word, of) for row in rows[:MOST]]
    told = len(others) > 2 and (len(set(others)) == len(others) or all(map(written, others)))
    return said & (come | (bool(told or come.any()) & ~words.isin(EITHER)))


def _mean_of_all(table: pd.DataFrame) -> Iterator[str]:
    """A family of one row, below several others, whose every measured number is their mean."""
    name = next((c for c in ("family", "architecture") if c in table), "")
    metrics = [c for c in ("l0", "loss_recovered", "fvu", "delta_ce", "kl", "ce_sae") if c in table]
    rows = table[table["excluded_because"].isna()]
    if not name or len(metrics) < 2 or len(rows) < 6:
        return
    last = rows.iloc[-1]
    others = rows.iloc[:-1]
    if is_missing(last[name]) or (others[name] == last[name]).any() or others[name].nunique() < 2:
        return
    known = [c for c in metrics if others[c].notna().all()]
    if len(known) > 1 and all(_comes_to(float(last[c]), "mean", others[c].to_numpy(float)) for c in known):
        yield _set_aside(table, pd.Series(table.index == last.name, table.index), pd.Series("", table.index))


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
    if len(values) < 2 or not np.isfinite(value):
        return False
    apart = np.abs(value - np.asarray(_STATISTICS[word](values)))
    return bool(np.min(apart) <= 0.5 * 10.0 ** -decimals(value) + 1e-9 * abs(value))


def _summary(cell: object) -> str:
    """The word of a label such as 'Mean', 'Avg.', 'std (n=3)', 'average over seeds'; else empty.

    >>> [_summary(cell) for cell in ("Mean", "Avg.", "mean ± std", "std (n=3)", "mean of topk", "max_pool")]
    ['mean', 'avg', 'mean±std', 'std', '', '']
    """
    text = "" if is_missing(cell) else str(cell).lower().replace(" ± ", "±")
    found = _LABEL.fullmatch(text) if len(text) < LONGEST else None
    return found["word"] if found else ""
