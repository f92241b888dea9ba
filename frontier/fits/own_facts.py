"""What sets families apart beside their architecture, in columns that nobody reads: texts, units, budgets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frontier.doubts import Doubt, Kind
from frontier.groups import as_text, varies
from frontier.metrics import says_nothing, unread_columns
from frontier.metrics.identity import architecture_in
from frontier.metrics.names import slug
from frontier.metrics.spellings import bare
from frontier.metrics.unread import is_budget, is_measured, is_name
from frontier.wording import listed

OWN = "own column "
"""Begins the name of such a fact."""
BETWEEN = "\x1f"
"""Between the values of a fact: ASCII's own separator, which stands in no cell of a table."""
REPEATED = 3
"""A column tells a family's SAEs apart, and not the family, where its values stand in fewer rows each."""


def own_columns(
    table: pd.DataFrame, groups: Sequence[str], across: Sequence[str] = ()
) -> dict[str, NDArray[np.object_]]:
    """The cells, as text, of the columns whose values may set one family apart from another."""
    budgets = [str(c) for c in table.columns if is_budget(str(c)) and c != "tokens_trained"]
    known = (*groups, *([across] if isinstance(across, str) else across))
    found = [c for c in dict.fromkeys((*unread_columns(table), *budgets)) if c not in known]
    return {
        c: as_text(table[c]).to_numpy(dtype=object)
        for c in found
        if _may_differ(table[c], c in budgets) and varies(table[c].astype("string"))
    }


def _may_differ(column: pd.Series, budget: bool) -> bool:
    """Whether a column says how SAEs were trained or measured, or, as text or yes and no, may say so."""
    name = str(column.name)
    if budget or (is_measured(name) and not says_nothing(name)):
        return True
    numbers = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    setting = re.search(r"[./]", name) is not None  # of the tool that trained one architecture
    return not (numbers or setting or says_nothing(name) or is_name(name))


def own_facts(columns: Mapping[str, NDArray[np.object_]], rows: NDArray[np.intp]) -> dict[str, str]:
    """The values of one family in such columns, where they are few and none is missing.

    >>> own_facts({"unit": np.array(["nats"] * 4, dtype=object)}, np.arange(3))
    {'own column unit': 'nats'}
    """
    found = {}
    for name, cells in columns.items():
        values = sorted(set(cells[rows]))
        if values and "(missing)" not in values and len(values) <= max(1, len(rows) // REPEATED):
            found[OWN + name] = BETWEEN.join(values)
    return found


def own_doubts(names: tuple[str, str], facts: tuple[Mapping[str, str], Mapping[str, str]]) -> Iterator[Doubt]:
    """Doubts where two families share no value of such a column, unless it names them.

    >>> facts = {"own column unit": "bits"}, {"own column unit": "nats"}
    >>> [str(d) for d in own_doubts(("topk", "relu"), facts)]
    ['unit differs: bits in topk, nats in relu.']
    """
    for fact in [f for f in facts[0] if f.startswith(OWN) and f in facts[1]]:
        column, (one, other) = fact.removeprefix(OWN), (set(own[fact].split(BETWEEN)) for own in facts)
        named = [all(_names(v, f) for v in own) for own, f in zip((one, other), names, strict=True)]
        if one & other or all(named) or (any(named) and not is_measured(column)):
            continue
        said = [f"{listed(sorted(v), 3)} in {n}" for v, n in zip((one, other), names, strict=True)]
        unit = slug(column).split("_")[-1] in ("unit", "units")
        kind = Kind.other_unit if unit else Kind.confounded
        yield Doubt(kind, f"{column} differs: {said[0]}, {said[1]}.", " and ".join(names), quantity=column)


def _names(value: str, family: str) -> bool:
    """Whether a value is the name of a family or of an architecture, or holds one."""
    one, two = bare(value), bare(family)
    return bool(architecture_in(value)) or (one != "" and two != "" and (one in two or two in one))
