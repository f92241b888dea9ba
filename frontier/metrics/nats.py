"""Losses in bits or thousandths, by the names of their columns, as the nats that they are here."""

from __future__ import annotations

import math
import re

import pandas as pd

from frontier.metrics.columns import BY_NAME
from frontier.metrics.names import canonical_name
from frontier.wording import number

NATS = "nats per token"
_UNIT = re.compile(
    r"[\s_\-,]*[(\[]?\s*(?P<milli>milli|m)?(?P<unit>nats?|bits?)(?:\s*(?:/|per)\s*tok(?:en)?)?\s*[)\]]?\s*$",
    re.IGNORECASE,
)


def in_nats(name: str) -> tuple[str, float]:
    """The name of a loss without its unit, and the nats of one of that unit; 1 where it names none.

    >>> in_nats("delta CE (mnats)"), in_nats("kl_bits")[0], in_nats("l0")
    (('delta CE', 0.001), 'kl', ('l0', 1.0))
    """
    found = _UNIT.search(name)
    if found is None or not name[: found.start()].strip():
        return name, 1.0
    one = math.log(2) if found["unit"].lower().startswith("bit") else 1.0
    return name[: found.start()].strip(), one / 1000 if found["milli"] else one


def losses_in_nats(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table with its losses in nats where a name says bits or thousandths, and what is said of it."""
    claimed, said = {canonical_name(str(c)) for c in table.columns}, []
    for theirs in list(map(str, table.columns)):
        stem, one = in_nats(theirs)
        ours = canonical_name(stem)
        if one == 1 or ours is None or ours in claimed or canonical_name(theirs) or not _is_loss(ours):
            continue
        if pd.api.types.is_numeric_dtype(table[theirs].dtype):
            claimed.add(ours)
            table = table.rename(columns={theirs: ours})
            table[ours] = table[ours] * one
            said.append(f"{theirs!r} read as {ours}: times {number(one)}, in nats")
    return table, said


def nats_as_asked(table: pd.DataFrame, theirs: str, ours: str) -> str:
    """Multiply a column that is mapped to a loss by the unit that its name says; what is said of it."""
    one = in_nats(theirs)[1]
    if one == 1 or not _is_loss(ours):
        return ""
    table[theirs] = pd.to_numeric(table[theirs], errors="coerce") * one
    return f"{theirs!r}: times {number(one)}, in nats"


def _is_loss(ours: str) -> bool:
    return ours in BY_NAME and BY_NAME[ours].unit == NATS
