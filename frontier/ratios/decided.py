"""What a comparison decided about a pair, beside the ratio that is its headline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from frontier.wording import p_value_cell

ONE_CURVE = "one curve through both is not rejected"
NO_SIDE = "the two differ on no one side for sure"


@dataclass(frozen=True)
class Decided:
    """The verdict of a comparison on the pair whose relative potency a ratio is.

    Attributes
    ----------
    verdict, why : str
        As in `Comparison`.
    gate : float
        p value of one curve through both, after Holm over the families of the cell.
    """

    verdict: str
    why: str
    gate: float

    def obstacle(self, level: float) -> str:
        """What stands against better or worse where it is not separable, without its p value."""
        if self.why:
            return self.why
        if math.isnan(self.gate):
            return f"{ONE_CURVE} (too few SAEs for its test)"
        return ONE_CURVE if self.gate > 1 - level else NO_SIDE


def obstacle_of(several: Sequence[Decided], level: float) -> str:
    """The one obstacle of several pairs, with the p values of their gates where these are it.

    >>> obstacle_of([Decided("not separable", "", p) for p in (0.13, 0.06)], 0.95)
    'one curve through both is not rejected (p = 0.06 to 0.13)'
    """
    said = several[0].obstacle(level)
    if said != ONE_CURVE:
        return said
    cells = dict.fromkeys(map(p_value_cell, sorted(d.gate for d in several)))
    ends = list(cells)[:: max(len(cells) - 1, 1)]
    return f"{said} (p = {' to '.join(ends)})"


def in_part(verdict: str, low: float, high: float) -> bool:
    """Whether a family is better, or worse, in a part of the common range alone: potency's limits hold 1."""
    return verdict in ("better", "worse") and low <= 1 <= high


def verdict_cell(verdict: str, low: float, high: float) -> str:
    """The verdict beside its potency's limits, as tables print it.

    >>> verdict_cell("better", 1.2, 1.5), verdict_cell("better", 0.96, 1.12)
    ('better', 'better in part')
    """
    return f"{verdict} in part" if in_part(verdict, low, high) else verdict
