"""What a comparison is: `Comparison` of one family with the reference, `Comparisons` of a whole table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from frontier.comparison.screen import screen
from frontier.doubts import Doubt, placed
from frontier.fits.curve_fit import FrontierFits
from frontier.metrics import give_back
from frontier.ratios.crossing import Crossing
from frontier.ratios.observed import ObservedRatio, ObservedRatios
from frontier.ratios.parallel import Parallelism
from frontier.ratios.ratio import Ratio, RatioTable, ratio_cell
from frontier.results import Group, Result, Rows
from frontier.views import View
from frontier.wording import listed, number, p_value_cell, p_value_text

if TYPE_CHECKING:
    from frontier.tables.styles import Sheet

VERDICTS = ("better", "worse", "crossing", "not separable", "not comparable")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """One family against the reference in one group.

    Attributes
    ----------
    verdict : one of `VERDICTS`
    sentence : str
        The verdict in plain words, with its number; `claim` is the part without the place and the test of
        equal steepness.
    potency, hits : Ratio
        L0(reference)/L0(family) at equal hit, hit(family)/hit(reference) at equal L0, at the middle of the
        range that both cover.
    parallel, parallel_other : Parallelism or None
        Whether one ratio exists, under this errors model and under the other one.
    potency_ends : (Ratio, Ratio) or None
        Relative potency at both ends of the hits that both cover, where the curves are not parallel.
    potency_range : (low, high)
        Relative potency with each single SAE left out; `decisive_row` is the SAE that moves it most.
    """

    group: Group
    family: str
    reference: str
    verdict: str
    sentence: str
    potency: Ratio
    hits: Ratio
    parallel: Parallelism | None
    parallel_other: Parallelism | None
    crossing: Crossing | None
    observed: tuple[ObservedRatio, ...]
    potency_ends: tuple[Ratio, Ratio] | None
    potency_range: tuple[float, float]
    decisive_row: str
    doubts: tuple[Doubt, ...]
    claim: str = ""

    @property
    def observed_potency(self) -> ObservedRatio | None:
        """The observed relative potency, where the frontiers have points."""
        return next((o for o in self.observed if o.quantity == "relative_potency"), None)

    def _view(self) -> View:
        rows = tuple(
            (name, ratio_cell(r), f"at {axis} {number(r.at)}", p_value_cell(r.p_value))
            for name, axis, r in (
                ("relative potency", "hit", self.potency),
                ("hit ratio", "L0", self.hits),
            )
        )
        headers = ("quantity", f"ratio [{100 * self.potency.level:g} %]", "where", "p")
        return View(self.sentence, headers, rows, doubts=placed(self.doubts))


@dataclass(frozen=True, eq=False, repr=False)
class Comparisons(Rows[Comparison]):
    """All comparisons of a table, with the fits, ratios and observed ratios behind them."""

    comparisons: tuple[Comparison, ...]
    fits: FrontierFits
    ratios: RatioTable
    observed: ObservedRatios
    notes: tuple[str, ...] = ()

    _noun = "comparisons"

    @property
    def _rows(self) -> tuple[Comparison, ...]:
        return self.comparisons

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per comparison.

        Returns
        -------
        DataFrame
            Group columns, `family`, `reference`, `verdict`, the headline ratios with their limits, the
            observed ones, tests of parallelism, crossing, jackknife range, `doubts`.
        """
        return give_back(pd.DataFrame([_record(c) for c in self.comparisons]), backend)

    def _view(self) -> View:
        return screen(self)

    def _sheets(self) -> tuple[Sheet, ...]:
        from frontier.tables.styles import sheets_of

        return sheets_of(screen(self, list(self.ratios.group_columns)))


def equal_steepness(parallel: Parallelism | None, other: Parallelism | None) -> str:
    """The test of equal steepness, under both errors models; empty where there is none."""
    if parallel is None:
        return ""
    answers = [
        f"with {p.errors} errors {'rejected' if p.rejected else 'not rejected'} "
        f"(p {p_value_text(p.p_welch)}; pooled F p {p_value_text(p.p_f)})"
        for p in (parallel, other)
        if p
    ]
    return f"Equal {parallel.parameter}: {'; '.join(answers)}."


def _record(c: Comparison) -> dict[str, Any]:
    row: dict[str, Any] = {**c.group, "family": c.family, "reference": c.reference, "verdict": c.verdict}
    for name, r in (("relative_potency", c.potency), ("hit_ratio", c.hits)):
        row |= {
            name: r.ratio, f"{name}_low": r.ratio_low, f"{name}_high": r.ratio_high, f"{name}_at": r.at,
            f"{name}_p": r.p_value,
        }  # fmt: skip
    o = c.observed_potency
    if o is not None:
        row |= {
            "observed_potency": o.ratio,
            "observed_potency_min": o.ratio_min,
            "observed_potency_max": o.ratio_max,
        }
    return row | {
        "parallel_p": c.parallel.p_welch if c.parallel else math.nan,
        "parallel_p_f": c.parallel.p_f if c.parallel else math.nan,
        "crossing_l0": c.crossing.l0 if c.crossing else math.nan,
        "crossing_l0_low": c.crossing.low if c.crossing else math.nan,
        "crossing_l0_high": c.crossing.high if c.crossing else math.nan,
        "jackknife_low": c.potency_range[0],
        "jackknife_high": c.potency_range[1],
        "decisive_row": c.decisive_row,
        "errors": c.potency.errors,
        "sentence": c.sentence,
        "doubts": listed(list(c.doubts), 50),
    }
