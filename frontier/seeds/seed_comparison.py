"""What a comparison of seeds is: one number per seed, the difference of two families, all of a table's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from frontier.doubts import Doubt, in_text, placed
from frontier.intervals import Interval
from frontier.metrics import give_back
from frontier.metrics.axes import known_better
from frontier.results import Group, Result, Rows, held, in_words, telling
from frontier.views import View
from frontier.wording import known, number, p_value_cell, plural


@dataclass(frozen=True, eq=False)
class SeedDifference(Result):
    """A family against the reference in one quantity, from one number per seed.

    Attributes
    ----------
    quantity : {"gap", "relative_potency"}
        mean y(family) - mean y(reference) at equal L0, or L0(reference) / L0(family) at equal y.
    value : Interval
        Without limits (NaN) where there is one seed.
    low, high : float
        The common range of all seeds: of L0 (gap), of y (relative potency).
    smallest_detectable : float
        The gap (ratio) that as many seeds with this scatter find with probability 0.8.
    local_low, local_high : float
        Extremes over the common range of the gap (ratio) between the mean curves.
    areas, reference_areas : dict of seed to its number
        Mean y over the range of log L0; geometric mean L0 over the range of y.
    """

    quantity: str
    value: Interval
    p_value: float
    p_adjusted: float
    df: float
    smallest_detectable: float
    low: float
    high: float
    local_low: float
    local_high: float
    areas: dict[str, float]
    reference_areas: dict[str, float]

    def _view(self) -> View:
        headers = ("quantity", f"{100 * self.value.level:g} % interval", "over", "df", "p", "finds")
        cells = (str(self.value), f"{number(self.low)} to {number(self.high)}", number(self.df))
        finds = number(self.smallest_detectable)
        return View("", headers, ((self.quantity, *cells, p_value_cell(self.p_value), finds),))


@dataclass(frozen=True, eq=False, repr=False)
class SeedComparison(Result):
    """One family against the reference in one group, seeds as units.

    `gap` in units of y at equal L0; `relative_potency` = L0(reference) / L0(family) at equal y.
    """

    group: Group
    family: str
    reference: str
    y_name: str
    design: str
    gap: SeedDifference
    relative_potency: SeedDifference
    doubts: tuple[Doubt, ...] = ()
    y_better: str = ""

    @property
    def verdict(self) -> str:
        """'better', 'worse' or 'not separable' by the intervals of the gap and, if known, of the potency.

        Both must exclude equality: y between two settings lies below the chord that the gap takes, so that a
        family whose settings lie further apart has a gap, and no potency.
        """
        low, high = self.gap.value.low, self.gap.value.high
        if math.isnan(low):
            return ""
        potency = self.relative_potency.value
        better = (low > 0) == ((self.y_better or known_better(self.y_name)) == "higher")
        denied = not math.isnan(potency.low) and (potency.low <= 1 if better else potency.high >= 1)
        if low <= 0 <= high or denied:
            return "not separable"
        return "better" if better else "worse"

    @property
    def sentence(self) -> str:
        """The gap, its range, the number of seeds, and what they can find."""
        g, where = self.gap, ", ".join(map(str, known(self.group).values()))
        head = f"{where + ': ' if where else ''}{self.family} against {self.reference}: "
        if math.isnan(g.value.estimate):
            return f"{head}not compared"
        text = f"{head}gap in {self.y_name} {g.value} over L0 {number(g.low)} to {number(g.high)}"
        text += f" ({len(g.areas)} and {plural(len(g.reference_areas), 'seed')}"
        if math.isnan(g.df):
            return f"{text}); no interval"
        return f"{text}, df {number(g.df)}); 4 times in 5 it finds a gap of {number(g.smallest_detectable)}"

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row: the columns of `SeedComparisons.to_frame`."""
        return give_back(pd.DataFrame([_record(self)]), backend)

    def _view(self) -> View:
        return SeedComparisons((self,), tuple(self.group))._view()


@dataclass(frozen=True, eq=False, repr=False)
class SeedComparisons(Rows[SeedComparison]):
    """All comparisons of a table; Holm-adjusted p values over them, per quantity."""

    comparisons: tuple[SeedComparison, ...]
    group_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    _noun = "comparisons"

    @property
    def _rows(self) -> tuple[SeedComparison, ...]:
        return self.comparisons

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per comparison.

        Returns
        -------
        DataFrame
            Group columns, `family`, `reference`, `verdict`, `seeds`, `reference_seeds`; for q in `gap` and
            `relative_potency` the columns q, q_low, q_high, q_p, q_p_adjusted, q_df, q_detectable, q_from,
            q_to; `design`, `doubts`.
        """
        return give_back(pd.DataFrame([_record(c) for c in self.comparisons]), backend)

    def _view(self) -> View:
        shown = telling(self.group_columns, self.comparisons)
        rows = tuple(
            (
                *(str(c.group[v]) for v in shown),
                c.family,
                c.verdict,
                *_cells(c.gap),
                *_cells(c.relative_potency),
            )
            for c in self.comparisons
        )
        first = self.comparisons[0] if self.comparisons else None
        y = first.y_name if first else "y"
        headers = (
            *shown,
            "family",
            "is",
            f"gap in {y}",
            "over L0",
            "p",
            "relative potency",
            f"over {y}",
            "p",
        )
        said = (*(c.sentence for c in self.comparisons), *self.notes)
        doubts: list[tuple[str, Doubt]] = []
        for c in self.comparisons:
            where = in_words({v: c.group[v] for v in shown if v in c.group})
            doubts += placed(c.doubts, ", ".join(p for p in (where, c.family) if p))
        title = f"Seeds compared with {first.reference} ({first.design})" if first else "Seeds compared"
        title += held(self.group_columns, self.comparisons, shown)
        return View(title, headers, rows, said, tuple(doubts))


def _cells(d: SeedDifference) -> tuple[str, str, str]:
    where = "" if math.isnan(d.low) else f"{number(d.low)} to {number(d.high)}"
    return str(d.value), where, p_value_cell(d.p_value)


def _record(c: SeedComparison) -> dict[str, Any]:
    row: dict[str, Any] = {**c.group, "family": c.family, "reference": c.reference, "verdict": c.verdict}
    row |= {"seeds": len(c.gap.areas), "reference_seeds": len(c.gap.reference_areas)}
    for d in (c.gap, c.relative_potency):
        row[d.quantity] = d.value.estimate
        parts = {
            "low": d.value.low, "high": d.value.high, "p": d.p_value, "p_adjusted": d.p_adjusted, "df": d.df,
            "detectable": d.smallest_detectable, "from": d.low, "to": d.high,
        }  # fmt: skip
        row |= {f"{d.quantity}_{k}": v for k, v in parts.items()}
    return {**row, "design": c.design, "doubts": in_text(c.doubts)}
