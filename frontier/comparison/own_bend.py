"""A reference that bends otherwise than its cell's shape allows: the doubt, with what interpolation gives.

Families may differ from the shape by low powers of log L0 alone. Where the reference differs by the next one,
all its potencies err together. One interpolated potency tells little: of tables of one shape, 3 to 48 % have
one outside the limits (5 to 16 SAEs a family), since two points err more than a curve through all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from frontier.comparison.verdicts import potency_limits
from frontier.doubts import Doubt, Kind
from frontier.fits.points import Points
from frontier.ratios.observed import line_of, ratio_at
from frontier.shared_shape import MIDDLE, Pair
from frontier.wording import interval_cell, number, p_value_text

OWN_BEND = 0.05
"""Level from which it is said, where it matters. Of tables of one shape with 5 to 16 SAEs a family the p
value is below it in 1 to 7 %, in up to 16 where the reference errs three times as much as four or six others
and has five SAEs."""
MATERIAL = 0.5
"""Of half the interval's width, on the log scale: nearer interpolated potencies are not worth a word."""


def own_bend(
    members: Sequence[Points], families: Sequence[str], pairs: Sequence[Pair], p: float, level: float
) -> tuple[Doubt, ...]:
    """The doubt that all comparisons of a cell share, or none; the first of `members` is the reference."""
    if not p < OWN_BEND:
        return ()
    others = families[1] if len(families) == 2 else "the other families"
    text = f"{families[0]} bends otherwise than {others} (p {p_value_text(p)})"
    lines = [line_of(m.x, m.y) for m in members]
    seen, apart, far = dict[str, float](), dict[str, float](), False
    for family, pair, line in zip(families[1:], pairs, lines[1:], strict=True):
        ratio = ratio_at(line, lines[0], float(pair.hits[MIDDLE]))
        if math.isfinite(ratio):
            seen[family], apart[family] = ratio, math.exp(pair.potency[MIDDLE]) / ratio
            far |= _matters(apart[family], *potency_limits(pair, MIDDLE, level))
    if seen and not far:
        return ()
    if seen:
        f = max(seen, key=lambda f: abs(math.log(apart[f])))
        text += f": {_beside(f, pairs[families.index(f) - 1], seen[f], level)}{_span(list(apart.values()))}"
    numbers = {"p": p, **{f"interpolated {f}": v for f, v in seen.items()}}
    return (Doubt(Kind.own_bend, f"{text}.", families[0], quantity="relative_potency", numbers=numbers),)


def _matters(apart: float, low: float, high: float) -> bool:
    """Whether a potency is farther from the interpolated one than `MATERIAL` of its interval allows."""
    return low > 0 and abs(math.log(apart)) > MATERIAL * math.log(high / low) / 2


def _beside(family: str, pair: Pair, seen: float, level: float) -> str:
    """A potency beside the interpolated one at the same hit, and whether this lies outside the limits."""
    low, high = potency_limits(pair, MIDDLE, level)
    cell = interval_cell(math.exp(pair.potency[MIDDLE]), low, high)
    where = "inside" if low <= seen <= high else "outside"
    return f"interpolated between its points, relative potency of {family} is {number(seen)}, {where} {cell}"


def _span(ratios: Sequence[float]) -> str:
    """By how much all potencies lie above, or below, the interpolated ones; nothing of a single one."""
    low, high = (round(100 * (v - 1)) for v in (min(ratios), max(ratios)))
    if len(ratios) < 2:
        return ""
    everyone = "both" if len(ratios) == 2 else f"all {len(ratios)}"
    if min(low, high) < 0 < max(low, high):
        return f"; {everyone} lie {-low} % below to {high} % above interpolation"
    near, far = sorted((abs(low), abs(high)))
    span = f"{far} %" if near == far else f"{near} to {far} %"
    return f"; {everyone} lie {span} {'above' if high > 0 else 'below'} interpolation"
