"""What a verdict says, in words: one sentence, with its number and how firmly it stands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from frontier.comparison.crossing import Crossing
from frontier.comparison.verdicts import SEARCHED, SEEDS, UNITS
from frontier.doubts import Kind, has
from frontier.ratios.decided import in_part, obstacle_of
from frontier.ratios.ratio import Ratio, ratio_cell
from frontier.wording import in_shell, interval_cell, number

if TYPE_CHECKING:
    from frontier.comparison.comparison import Comparison

FIRM = 1.0
"""A tipping point above 100 % of the hit is called so, without its number."""


def claim(c: Comparison) -> str:
    """The verdict with its number, without the place."""
    head, reference = c.family, c.reference
    if c.verdict == "not comparable":
        return f"{head} and {reference} are not comparable on these data: {c.why}."
    if c.verdict == "withheld":
        said = _all_the_same(c) if c.why == UNITS else _both(c)
        return f"{head} and {reference}: no verdict, {c.why} ({said})."
    if c.verdict == "crossing":
        at = f" at L0 {crossing_cell(c.crossing)}" if c.crossing else ""
        said = f"{head} and {reference} cross{at}: {head} is better {_where(c)}"
    elif math.isnan(c.potency.ratio):
        said = f"{_is(c)}: {_at_equal_l0(c)}"
    elif c.verdict == "not separable":
        said = (
            f"{_is(c)}: the L0 ratio at {c.potency.height} {number(c.potency.at)} is {ratio_cell(c.potency)}"
            f"{_in_spite(c)}"
        )
    elif in_part(c.verdict, c.potency.ratio_low, c.potency.ratio_high):
        said = f"{_is(c)} in part of the common range: it needs {times_in_words(c.potency)}"
    else:
        said = f"{_is(c)}: it needs {times_in_words(c.potency)}"
    return said + _by_hit(c) + _procedure(c) + _firmness(c) + "."


def _is(c: Comparison) -> str:
    if c.verdict == "not separable":
        return f"{c.family} and {c.reference} are not separable"
    return f"{c.family} is {c.verdict} than {c.reference}"


def _in_spite(c: Comparison) -> str:
    """Why there is no verdict where the interval by itself excludes 1."""
    low, high, decided = c.potency.ratio_low, c.potency.ratio_high, c.potency.decided
    if c.why or not decided or math.isnan(low + high) or low <= 1 <= high:
        return ""
    return f", whose interval by itself excludes 1, but {obstacle_of([decided], c.potency.level)}"


def _where(c: Comparison) -> str:
    """On which side of the crossing the family is better."""
    return "at smaller L0" if c.better_at_small_l0 else "at larger L0"


def _both(c: Comparison) -> str:
    seen = c.observed_potency
    parts = [] if math.isnan(c.potency.ratio) else [f"fitted potency {ratio_cell(c.potency)}"]
    if seen is not None and math.isfinite(seen.ratio):
        parts.append(f"observed {number(seen.ratio_min)} to {number(seen.ratio_max)}")
    return ", ".join(parts) or "see the doubts"


def _all_the_same(c: Comparison) -> str:
    """What to type where units that seem to differ do not."""
    columns = list(dict.fromkeys(d.quantity for d in c.doubts if d.kind is Kind.other_unit))
    return f"across={columns} (--across {in_shell(','.join(columns))}) compares them all the same"


def _at_equal_l0(c: Comparison) -> str:
    """The hit ratio, where no potency can be read: no hit is shared, or the asked one is not."""
    hits, shared = c.hits, c.band.hits
    at = f"at L0 {number(hits.at)} its {hits.height} is {ratio_cell(hits)} times that of {hits.reference}"
    if not len(shared):
        return f"{at}; they share no {hits.height}"
    least, most = number(min(shared)), number(max(shared))
    return f"{at}; they share {hits.height} {least} to {most}, not {number(c.potency.at)}"


def _by_hit(c: Comparison) -> str:
    """The potency at both ends of the common hits, where curves are not parallel."""
    if not c.potency_ends or c.verdict == "not separable":
        return ""
    ends = ", ".join(f"{ratio_cell(r)} at {r.height} {number(r.at)}" for r in c.potency_ends)
    return f"; no single ratio exists, it is {ends}"


def _procedure(c: Comparison) -> str:
    """The procedure in six words at most."""
    return f" (shared shape, Holm over {c.families} families)" if c.families > 1 else " (shared shape)"


def _firmness(c: Comparison) -> str:
    if c.why == SEEDS:
        return f"; a seed-to-seed SD of {number(100 * c.tipping, 2)} % of {height_of(c)} would undo a verdict"
    if c.why == SEARCHED:
        return f"; {SEARCHED}"
    parts = []
    if math.isfinite(c.tipping):
        parts.append(f"; it holds up to a seed-to-seed SD of {tipping_cell(c.tipping)} of {height_of(c)}")
    shared = has(c.doubts, Kind.dependent)
    if (shared or c.correlated) and c.verdict != "not separable":
        alike = "points that share one SAE's weights" if shared else "neighbouring SAEs"
        parts.append(f"; {alike} err alike, so that it is less sure than it looks")
    return "".join(parts)


def height_of(c: Comparison) -> str:
    """What is compared, in a sentence."""
    return "the hit" if c.potency.height == "hit" else c.potency.height


def tipping_cell(tipping: float) -> str:
    """A tipping point in per cent; blank where there is none.

    >>> tipping_cell(0.062), tipping_cell(3.0), tipping_cell(float("nan"))
    ('6.2 %', 'over 100 %', '')
    """
    if math.isnan(tipping):
        return ""
    return f"{number(100 * tipping, 2)} %" if tipping < FIRM else "over 100 %"


def crossing_cell(c: Crossing) -> str:
    """The L0 of a crossing with its limits."""
    return interval_cell(c.l0, c.low, c.high)


def times_in_words(r: Ratio) -> str:
    """'2.5 [2.1, 3.0] times fewer active latents at hit 0.1', or 'more' by the reciprocal."""
    at = f"active latents at {r.height} {number(r.at)}"
    if not r.ratio < 1:
        return f"{ratio_cell(r)} times fewer {at}"
    low, high = (1 / v if v > 0 else math.inf for v in (r.ratio_high, r.ratio_low))
    return f"{interval_cell(1 / r.ratio, low, high)} times more {at}"
