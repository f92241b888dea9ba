"""What a plan is: further SAEs at a handful of L0, and what they are expected to reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from frontier.doubts import Doubt, placed
from frontier.results import Result, own_fields
from frontier.views import View
from frontier.wording import listed, number, plural


@dataclass(frozen=True, eq=False, repr=False)
class Addition(Result):
    """So many further SAEs of one family at one L0 (or value of x, where x is no sparsity)."""

    family: str
    at: float
    count: int

    def _view(self) -> View:
        return View(self.family, ("at", "SAEs"), ((number(self.at), str(self.count)),))


@dataclass(frozen=True, eq=False, repr=False)
class Plan(Result):
    """Further SAEs that answer a question, or what the most that were allowed would reach.

    Attributes
    ----------
    goal : "halve" or "tell_apart"
    quantity : str
        What is to be known: the quantity with its level, or the two curves.
    axis : str
        "L0", or the name of x where x is no sparsity.
    additions : tuple of Addition
    n_more : int
        Their number; the most allowed where the target is not reached.
    reached : bool
    path : tuple of float
        After 0, 1, 2, ... further SAEs: the predicted delta, or width of the interval (log high - log low).
    target : float
        The delta, or the width.
    needed : float
        SAEs that would be needed, extrapolated where the target is not reached.
    low, high : float
        The range of `axis` that was searched.
    sure : float
        "halve": how often the target is reached, over the truths that the fits leave open.
    """

    goal: str
    quantity: str
    axis: str
    additions: tuple[Addition, ...]
    n_more: int
    reached: bool
    path: tuple[float, ...]
    target: float
    needed: float
    most: int
    low: float
    high: float
    doubts: tuple[Doubt, ...] = ()
    notes: tuple[str, ...] = ()
    sure: float = math.nan

    @property
    def sentence(self) -> str:
        """The plan in one sentence."""
        now, then, target = map(self._in_words, (self.path[0], self.path[-1], self.target))
        what, unit = ("delta", "") if self.goal == "tell_apart" else ("upper limit", " times the lower")
        span = f"predicted {what} {now} -> {then}{unit}"
        aim = self.quantity if self.goal == "tell_apart" else f"narrow the interval of {self.quantity}"
        if not self.reached:
            rough = f"{self.needed:.2g}" if math.isfinite(self.needed) else ""
            rate = f"; about {number(float(rough))} at this rate" if rough else ""
            return (
                f"More than {self.most} further SAEs would be needed to {aim}: with {self.most} the {span}, "
                f"target {target}{rate}. A wider range of {self.axis} may do more."
            )
        if not self.n_more:
            return f"No further SAE is needed to {aim} ({what} {now}{unit}, target {target})."
        where = listed([f"{a.count} of {a.family} at {self.axis} {number(a.at)}" for a in self.additions], 10)
        return f"{plural(self.n_more, 'further SAE')} to {aim} ({span}): {where}."

    def _in_words(self, value: float) -> str:
        """A delta; of a width, which is of the logarithm, the upper limit over the lower."""
        return number(value if self.goal == "tell_apart" else math.exp(min(value, 700.0)))

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per family and L0: `family`, `at`, `count`."""
        from frontier.metrics import give_back

        rows = [own_fields(a) for a in self.additions]
        return give_back(pd.DataFrame(rows, columns=["family", "at", "count"]), backend)

    def path_frame(self) -> pd.DataFrame:
        """The predicted `delta` or `width` after each number `more` of further SAEs."""
        name = "delta" if self.goal == "tell_apart" else "width"
        return pd.DataFrame({"more": range(len(self.path)), name: self.path})

    def _view(self) -> View:
        rows = tuple((a.family, number(a.at), str(a.count)) for a in self.additions)
        remarks = (self.sentence, *self.notes)
        return View(
            f"Plan: {self.quantity}", ("family", self.axis, "SAEs"), rows, remarks, placed(self.doubts)
        )
