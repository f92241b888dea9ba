"""Names that differ in nothing but case, spaces and hyphens: one, or two with a sweep each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pandas as pd

from frontier.metrics.asked import in_condition
from frontier.metrics.columns import COLUMNS
from frontier.wording import listed

KINDS = ("architecture", "family")
SPELLED = ("model", "site", *KINDS)
LEAST = 3
"""SAEs at different L0 that are a sweep: two are a line's, and no curve."""
CELL = ("dictionary_size", *(c.name for c in COLUMNS if c.kind == "identity"))
OF_ONE_SAE = ("source", "run_id", "seed", "sparsity_name")


def spellings(table: pd.DataFrame) -> Iterator[str]:
    """Names that differ in their spelling only are one, the most frequent: but not where both are swept.

    Two sweeps of one cell over a common range of L0 may be two families, of two papers say; that pooling them
    is right nobody knows, and their curve would be of neither.
    """
    for column in SPELLED:
        if column not in table:
            continue
        counts = table[column].value_counts(sort=False)
        together: dict[str, list[str]] = {}
        for text in counts.index:
            if isinstance(text, str):
                together.setdefault(bare(text), []).append(text)
        together = _without_owner(together) if column == "model" else together
        alike = [names for names in together.values() if len(names) > 1]
        apart = [names for names in alike if _swept_apart(table, column, names)]
        one = [names for names in alike if names not in apart]
        meant = {t: max(names, key=lambda a: counts[a]) for names in one for t in names}
        changed = {t: to for t, to in meant.items() if t != to}
        if changed:
            table[column] = table[column].map(lambda cell, to=changed: to.get(cell, cell))
            said = [f"{t!r} is {to!r}" for t, to in changed.items()]
            yield f"{column}: {listed(said, 4)}, spelled otherwise"
        for names in apart:
            condition = f"{in_condition(column)} != {names[-1]!r}"
            yield (
                f"{column}: {listed([repr(n) for n in names], 4)} are swept over the same L0 each, so they "
                "are kept apart; if they are one, spell them alike; "
                f'read(..., where="{condition}") or --where "{condition}" leaves one out'
            )


def _without_owner(together: dict[str, list[str]]) -> dict[str, list[str]]:
    """Models of one name, one of them without an owner before it, are one: unless several owners have it.

    >>> _without_owner({"eleutherai/pythia": ["EleutherAI/pythia"], "pythia": ["pythia"], "a/b": ["a/b"]})
    {'eleutherai/pythia': ['EleutherAI/pythia', 'pythia'], 'a/b': ['a/b']}
    """
    owned: dict[str, list[str]] = {}
    for name in together:
        owned.setdefault(name.rpartition("/")[2], []).append(name)
    found = dict(together)
    for name, several in owned.items():
        if len(several) == 2 and name in several:
            found[next(n for n in several if n != name)] += found.pop(name)
    return found


def padded_layers(table: pd.DataFrame) -> Iterator[str]:
    """Layers that are whole numbers written as text, '03' beside '3', are numbers."""
    if "layer" not in table:
        return
    texts = {cell for cell in table["layer"].dropna().unique() if isinstance(cell, str)}
    if not texts or not all(re.fullmatch(r"[0-9]{1,4}", text.strip()) for text in texts):
        return
    layers = pd.to_numeric(table["layer"], errors="coerce")
    table["layer"] = layers.astype("Int64") if layers.isna().any() else layers.astype("int64")
    padded = sorted(text for text in texts if text.strip() != str(int(text)))
    if padded:
        yield f"layer: {listed([f'{text!r} is {int(text)}' for text in padded], 4)}"


def _swept_apart(table: pd.DataFrame, column: str, names: list[str]) -> bool:
    """Whether two of the names have a sweep each in one cell, over ranges of L0 that overlap."""
    if "l0" not in table:
        return False
    paired = KINDS if column in KINDS else (column,)
    cell = [c for c in CELL if c in table and c not in (*OF_ONE_SAE, *paired)]
    rows = table.loc[table[column].isin(names), [*cell, column, "l0"]]
    rows = rows[rows["l0"] > 0]
    swept = rows.groupby([*cell, column], dropna=False, sort=False, observed=True)["l0"].agg(
        ["nunique", "min", "max"]
    )
    swept = swept[swept["nunique"] >= LEAST].reset_index().sort_values("min", kind="stable")
    groups = swept.groupby(cell, dropna=False, sort=False, observed=True) if cell else [((), swept)]
    return any(bool((part["min"].to_numpy()[1:] <= _reached(part)[:-1]).any()) for _, part in groups)


def _reached(part: pd.DataFrame) -> np.ndarray:
    return np.maximum.accumulate(part["max"].to_numpy(dtype=float))


@lru_cache(maxsize=4096)
def bare(name: str) -> str:
    """A name without case, 'SAE' behind it, and what stands between its words; digits stay apart.

    >>> bare("Top-K"), bare("top_k SAE"), bare("TopKSAE"), bare("v1_5"), bare("mosae")
    ('topk', 'topk', 'topk', 'v1_5', 'mosae')
    """
    bare = re.sub(r"(?<=[^-_\s])(?:[-_\s]+(?i:saes?)|SAEs?)$", "", name.strip()).lower()
    return re.sub(r"(?<=[^\W\d])[-_\s]+(?=[^\W\d])", "", bare)
