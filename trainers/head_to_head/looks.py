"""One look: every pair that is not decided yet, at the level that this look may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from frontier import compare
from frontier.comparison import Comparison, Comparisons
from frontier.results import Result
from frontier.views import View
from frontier.wording import interval_cell, number

DECIDED = ("better", "worse", "crossing")
"""Verdicts that end a pair; the others wait for more SAEs."""
OPEN = 1000.0
"""Limits further apart than this factor tell nothing."""
TURNED = {"better": "worse", "worse": "better"}


@dataclass(frozen=True, eq=False, repr=False)
class Verdict(Result):
    """The candidate against one rival, as of the look that decided it, or the last one.

    Attributes
    ----------
    verdict : one of `frontier.comparison.VERDICTS`
        Of the candidate: "better" means that it needs fewer active latents.
    potency, potency_low, potency_high : float
        L0(rival) / L0(candidate) at equal hit; limits at the level of the look, meant for all looks
        together.
    at : float
        The hit at which it is read.
    look, saes : int
        Number of the look, and SAEs of both families at it.
    level : float
        Error rate that the look used.
    sentence : str
    axis : str
        What `at` is measured in: "hit", or a metric's name.
    """

    candidate: str
    rival: str
    verdict: str
    why: str
    potency: float
    potency_low: float
    potency_high: float
    at: float
    look: int
    saes: int
    level: float
    sentence: str
    axis: str = "hit"

    @property
    def decided(self) -> bool:
        """Whether this ends the pair."""
        return self.verdict in DECIDED

    @property
    def cell(self) -> str:
        """The potency with its limits; where these tell nothing yet, that."""
        if self.potency_high > OPEN * self.potency_low:
            return f"{number(self.potency, 2)} [open]"
        return interval_cell(self.potency, self.potency_low, self.potency_high)

    def _view(self) -> View:
        return View(self.sentence, ("rival", "is", "potency"), ((self.rival, self.verdict, self.cell),))


def looked(
    table: pd.DataFrame, candidate: str, undecided: Sequence[str], level: float, by: Any = None
) -> Comparisons:
    """The comparison of a look: the undecided rivals against the candidate, Holm over them."""
    kept = table[table["family"].isin([candidate, *undecided])]
    return compare(kept, candidate, by, rows="all", level=1 - level)


def verdict_of(c: Comparison, table: pd.DataFrame, look: int, level: float) -> Verdict:
    """What a comparison of a rival with the candidate says of the candidate."""
    verdict = TURNED.get(c.verdict, c.verdict)
    r = c.potency
    low, high = (1 / v if v > 0 else float("inf") for v in (r.ratio_high, r.ratio_low))
    saes = int(table["family"].isin([c.family, c.reference]).sum())
    value = 1 / r.ratio if r.ratio > 0 else float("nan")
    return Verdict(
        c.reference, c.family, verdict, c.why, value, low, high, r.at if r.at is not None else float("nan"),
        look, saes, level, _sentence(c, verdict, value, low, high),
        r.height,
    )  # fmt: skip


def _sentence(c: Comparison, verdict: str, value: float, low: float, high: float) -> str:
    """The verdict in plain words, about the candidate."""
    candidate, rival, axis = c.reference, c.family, c.potency.height
    at = f"active latents at {axis} {number(c.potency.at)}"
    cell = interval_cell(value, low, high)
    if verdict == "crossing":
        where = "larger" if c.better_at_small_l0 else "smaller"
        met = f" at L0 {number(c.crossing.l0)}" if c.crossing else ""
        return f"{candidate} and {rival} cross{met}: {candidate} is better at {where} L0."
    if verdict in ("withheld", "not comparable"):
        return f"{candidate} and {rival}: {verdict}, {c.why}."
    if verdict == "not separable":
        ratio = f"the L0 ratio at {axis} {number(c.potency.at)} is {cell}"
        return f"{candidate} and {rival} are not separable: {ratio}."
    if not value > 0:
        return f"{candidate} is {verdict} than {rival} at equal L0; they share no {axis}."
    if value >= 1:
        return f"{candidate} is {verdict} than {rival}: it needs {cell} times fewer {at}."
    turned = interval_cell(1 / value, 1 / high, 1 / low if low > 0 else float("inf"))
    return f"{candidate} is {verdict} than {rival}: it needs {turned} times more {at}."
