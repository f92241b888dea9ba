"""Whether two families' L0 may be in other units: a share of the dictionary, thousands, 1/L0, a logarithm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from frontier.doubts import Doubt, Kind
from frontier.fits.facts import L0_SPAN
from frontier.wording import number

APART = 100.0
"""Middle L0s of families that share none differ by less where one was merely swept elsewhere."""


def unit_doubts(
    names: tuple[str, str], facts: tuple[Mapping[str, str], Mapping[str, str]]
) -> Iterator[Doubt]:
    """Doubts where a family and the reference, known by their facts, lie far apart in L0, or mostly below 1.

    >>> facts = {"l0": "0.01, 0.06, 0.2"}, {"l0": "10, 60, 200"}
    >>> [str(d) for d in unit_doubts(("topk", "relu"), facts)]
    ['L0 of topk is about 1/1000 of that of relu: another unit, or 1/L0?']
    """
    spans = _spans(facts)
    if spans is None:
        return
    middles = {n: middle for n, (_, middle, _) in zip(names, spans, strict=True)}
    below = [n for n in names if middles[n] < 1]
    family, reference = names
    odd, other = (reference, "other families") if below == [reference] else (family, reference)
    factor = middles[odd] / middles[family if odd == reference else reference]
    if not _shared(spans) and max(factor, 1 / factor) >= APART:
        size = number(_round(max(factor, 1 / factor)))
        times = f"{size} times" if factor > 1 else f"1/{size} of"
        text = f"L0 of {odd} is about {times} that of {other}: another unit, or 1/L0?"
        yield Doubt(Kind.other_unit, text, odd, quantity="l0", numbers=middles)
    elif below:
        of, both = (f" of {below[0]}", "") if len(below) == 1 else ("", " of both")
        text = f"L0{of} is below 1 in most SAEs{both}: a share of the dictionary, 1/L0 or a logarithm?"
        about = " and ".join(below)
        yield Doubt(Kind.other_unit, text, about, quantity="l0", numbers={n: middles[n] for n in below})


def units_differ(facts: tuple[Mapping[str, str], Mapping[str, str]]) -> bool:
    """Whether two families plainly have L0 in other units: far apart, or below 1 in one, with none in common.

    >>> units_differ(({"l0": "0.01, 0.06, 0.2"}, {"l0": "10, 60, 200"}))
    True
    """
    spans = _spans(facts)
    if spans is None or _shared(spans):
        return False
    one, other = (middle for _, middle, _ in spans)
    return max(one / other, other / one) >= APART or (one < 1) != (other < 1)


def _spans(facts: tuple[Mapping[str, str], Mapping[str, str]]) -> list[list[float]] | None:
    """Least, middle and largest L0 of both; None where one has none."""
    if not all(L0_SPAN in own for own in facts):
        return None
    return [[float(v) for v in own[L0_SPAN].split(", ")] for own in facts]


def _shared(spans: list[list[float]]) -> bool:
    return max(s[0] for s in spans) <= min(s[2] for s in spans)


def _round(factor: float) -> float:
    """The nearest of 1, 2, 5, 10, 20, ...: cells that err by one unit differ by no more than their sweeps."""
    power = 10.0 ** math.floor(math.log10(factor))
    return min((power * c for c in (1, 2, 5, 10)), key=lambda c: abs(math.log(c / factor)))
