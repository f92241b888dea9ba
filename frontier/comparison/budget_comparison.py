"""What a comparison of budgets is: one family at one budget, its change between two, all of a table's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from frontier.comparison.verdicts import UNTOLD
from frontier.doubts import Doubt, in_text, placed
from frontier.metrics import give_back
from frontier.ratios.decided import verdict_cell
from frontier.ratios.ratio import Ratio, ratio_cell
from frontier.results import Group, Result, Rows, held, in_words, telling
from frontier.views import View
from frontier.wording import interval_cell, number, p_value_cell, p_value_text

TOLD = 6
"""As many changes, or fewer, are told in a sentence each."""


@dataclass(frozen=True, eq=False, repr=False)
class BudgetComparison(Result):
    """One family against the reference at one training budget.

    Attributes
    ----------
    budget : float
        Tokens (or steps) that its SAEs were trained for.
    verdict : str
        As in `Comparison`.
    potency : Ratio
        L0(reference) / L0(family) at the middle of the hits that both cover at this budget.
    """

    group: Group
    family: str
    reference: str
    budget: float
    verdict: str
    potency: Ratio
    doubts: tuple[Doubt, ...] = ()

    @property
    def is_told(self) -> bool:
        """Whether its potency is a number that the verdict lets stand."""
        return self.verdict not in UNTOLD and math.isfinite(self.potency.ratio)

    def to_frame(self, backend: str = "pandas") -> Any:
        """The row of `BudgetComparisons.to_frame`."""
        return give_back(pd.DataFrame([_record(self, "budget")]), backend)

    def _view(self) -> View:
        headers = ("budget", "family", "is", f"relative potency [{100 * self.potency.level:g} %]", "at hit")
        return View(in_words(self.group), headers, (_row(self),), doubts=placed(self.doubts))


@dataclass(frozen=True, eq=False, repr=False)
class BudgetChange(Result):
    """How the relative potency of a family changes from one budget to a later one.

    Attributes
    ----------
    ratio, low, high : float
        Potency at `last` over that at `first`, each at the middle of that budget's common hits, and limits.
    p_value : float
        Of no change.
    saes : int
        SAEs that are there at both budgets; where all are, the limits are a jackknife over them.
    """

    group: Group
    family: str
    reference: str
    first: float
    last: float
    ratio: float
    low: float
    high: float
    p_value: float
    df: float
    saes: int
    level: float

    @property
    def sentence(self) -> str:
        """The change in words."""
        return self._told(in_words(self.group))

    def _told(self, where: str) -> str:
        change = interval_cell(self.ratio, self.low, self.high)
        return (
            f"{where + ', ' if where else ''}{self.family}: from {budget_text(self.first)} to "
            f"{budget_text(self.last)} its potency changes by a factor {change} "
            f"(p {p_value_text(self.p_value)})"
        )

    def _view(self) -> View:
        headers = ("from", "to", "family", f"potency changes by a factor [{100 * self.level:g} %]", "p")
        return View(in_words(self.group), headers, (_change_row(self),))


@dataclass(frozen=True, eq=False, repr=False)
class BudgetComparisons(Rows[BudgetComparison]):
    """All families of a table at all budgets, and their changes.

    Attributes
    ----------
    comparisons : tuple of BudgetComparison
        By group, family and budget.
    changes : tuple of BudgetChange
        From each budget to the next, and from the first to the last.
    budget_column : str
    several : int
        SAEs that are there at several budgets.
    """

    comparisons: tuple[BudgetComparison, ...]
    changes: tuple[BudgetChange, ...]
    group_columns: tuple[str, ...]
    family_column: str
    budget_column: str
    y_name: str
    several: int = 0
    notes: tuple[str, ...] = ()

    _noun = "comparisons"
    _how = "name group values, family and budget so that one does"

    @property
    def _rows(self) -> tuple[BudgetComparison, ...]:
        return self.comparisons

    def _labels(self, row: BudgetComparison) -> tuple[Any, ...]:
        return (row.budget, *super()._labels(row))

    @property
    def overall(self) -> tuple[BudgetChange, ...]:
        """Of each family of each group the change from its first budget to its last."""
        widest: dict[tuple[str, ...], BudgetChange] = {}
        for c in self.changes:
            key = (*map(str, c.group.values()), c.family)
            before = widest.get(key)
            if before is None or c.last / c.first > before.last / before.first:
                widest[key] = c
        return tuple(widest.values())

    def plot(self) -> Any:
        """The potencies by budget; see `frontier.plot_budget`."""
        from frontier.figures import plot_budget

        return plot_budget(self)

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per family and budget.

        Returns
        -------
        DataFrame
            Group columns, `family`, `reference`, the budget's column, `verdict`, `relative_potency` with its
            limits, `at`, `p_value`, `doubts`.
        """
        frame = pd.DataFrame([_record(c, self.budget_column) for c in self.comparisons])
        return give_back(frame, backend)

    def _view(self) -> View:
        if not self.comparisons:
            return View("Nothing could be compared", remarks=self.notes)
        columns = telling(self.group_columns, self.comparisons)
        first = self.comparisons[0]
        budget = self.budget_column.replace("_", " ")
        headers = (
            *columns, budget, "family", "is", f"relative potency [{100 * first.potency.level:g} %]",
            f"at {first.potency.height}",
        )  # fmt: skip
        rows = tuple((*(str(c.group[v]) for v in columns), *_row(c)) for c in self.comparisons)
        doubts: list[tuple[str, Doubt]] = []
        for c in self.comparisons:
            where = in_words({v: c.group[v] for v in columns})
            place = (where, c.family, f"{budget} {budget_text(c.budget)}")
            doubts += placed(c.doubts, ", ".join(p for p in place if p))
        told = (
            [c._told(in_words({v: c.group[v] for v in columns})) for c in self.overall]
            if len(self.overall) <= TOLD
            else []
        )
        where = held(self.group_columns, self.comparisons, columns)
        title = f"Compared with {first.reference} by {budget}{where}"
        return View(
            title, headers, rows, (*told, *self.notes), tuple(doubts), (self._changed(columns),), "comparison"
        )

    def _changed(self, columns: list[str]) -> View:
        head = ("from", "to", "family", "potency changes by a factor", "p")
        rows = tuple((*(str(c.group[v]) for v in columns), *_change_row(c)) for c in self.changes)
        return View("How potency changes", (*columns, *head), rows)


def budget_text(budget: float) -> str:
    """A budget in full.

    >>> budget_text(1.2288e6)
    '1,228,800'
    """
    return f"{budget:,.15g}"


def _row(c: BudgetComparison) -> tuple[str, ...]:
    told = (ratio_cell(c.potency), number(c.potency.at)) if c.is_told else ("", "")
    said = verdict_cell(c.verdict, c.potency.ratio_low, c.potency.ratio_high)
    return (budget_text(c.budget), c.family, said, *told)


def _change_row(c: BudgetChange) -> tuple[str, ...]:
    ends = budget_text(c.first), budget_text(c.last)
    return (*ends, c.family, interval_cell(c.ratio, c.low, c.high), p_value_cell(c.p_value))


def _record(c: BudgetComparison, budget: str) -> dict[str, Any]:
    r = c.potency
    return {
        **c.group, "family": c.family, "reference": c.reference, budget: c.budget, "verdict": c.verdict,
        "relative_potency": r.ratio, "relative_potency_low": r.ratio_low,
        "relative_potency_high": r.ratio_high, "at": math.nan if r.at is None else r.at,
        "p_value": r.p_value, "doubts": in_text(c.doubts),
    }  # fmt: skip
