"""The fits and ratios that come along with a comparison: what they are asked for, and the potencies."""

from __future__ import annotations

from dataclasses import replace

from frontier.comparison.comparison import Comparisons
from frontier.curves import curve_named
from frontier.errors import errors_named
from frontier.ratios.log_ratio import method_named
from frontier.ratios.ratio import RatioTable
from frontier.ratios.simultaneous import adjustment_named


def check_words(curve: str | None, errors: str, intervals: str, simultaneous: str | None) -> None:
    """Nothing, if what they are asked for exists; they are made later.

    Raises
    ------
    ValueError
        Names the word, and the nearest that there is.
    """
    errors_named(errors)
    method_named(intervals)
    if curve is not None:
        curve_named(curve)
    if simultaneous:
        adjustment_named(simultaneous)


def with_potencies(ratios: RatioTable, found: Comparisons) -> RatioTable:
    """The curves' ratios, with the relative potencies of the shared shape in place of theirs."""
    own = {(tuple(r.group.items()), r.family): r for r in found.potencies}
    kept = [
        own.get((tuple(r.group.items()), r.family)) if r.quantity == "relative_potency" else r for r in ratios
    ]
    notes = ratios.notes
    if own and ratios.adjustment != "Holm":
        notes += ("intervals of relative potency, which are the comparison's, hold each by itself",)
    return replace(ratios, ratios=tuple(r for r in kept if r is not None), notes=notes)
