"""What a comparison is: `Comparison` of one family with the reference, `Comparisons` of a whole table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from frontier import records
from frontier.comparison.crossing import Crossing
from frontier.comparison.screen import screen
from frontier.doubts import Doubt, Kind, has, in_text, placed
from frontier.fits.frontier_fits import FrontierFits
from frontier.metrics import give_back
from frontier.problems import Array
from frontier.ratios.observed import ObservedRatio, ObservedRatios
from frontier.ratios.ratio import Ratio, RatioTable, ratio_cell
from frontier.results import Group, Result, Rows, varying
from frontier.shared_shape import SharedShape
from frontier.views import View
from frontier.wording import number, p_value_cell

if TYPE_CHECKING:
    from frontier.tables.styles import Sheet


@dataclass(frozen=True)
class Tests:
    """The p values behind a verdict.

    Attributes
    ----------
    gate, holm : float
        Of one common curve for family and reference; the same after Holm over the families of the cell.
    parallel : float
        Of parallel curves (one relative potency at every hit); NaN where the points carry no slopes.
    shift : float
        Of no shift between parallel curves; it plays no part where these are rejected.
    lack_of_fit : float
        Of a shape that fits the cell.
    """

    gate: float
    holm: float
    parallel: float
    shift: float
    lack_of_fit: float


@dataclass(frozen=True, eq=False)
class PotencyBand:
    """Relative potency at hits of the range that both cover, arrays of one length, maybe 0.

    The limits hold at all hits together (Working & Hotelling 1929) and whatever the errors, so that they are
    wider than those of a hit that was chosen beforehand.
    """

    hits: Array
    ratio: Array
    low: Array
    high: Array


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """One family against the reference in one group.

    Attributes
    ----------
    verdict : {"better", "worse", "crossing", "not separable", "withheld", "not comparable"}
    why : str
        What withholds a verdict, or makes the two not comparable; else empty.
    sentence, claim : str
        The verdict in plain words, with its number; `claim` is without the place.
    potency, hits : Ratio
        L0(reference) / L0(family) at equal hit, hit(family) / hit(reference) at equal L0, at the middle of
        the range that both cover.
    band : PotencyBand
        Relative potency at every hit of that range, with limits that hold at all of them together.
    potency_ends : (Ratio, Ratio) or None
        Relative potency at both ends of the range, where the curves are not parallel.
    tests : Tests
    tipping : float
        Seed-to-seed SD, as a share of the hit, up to which the verdict holds; NaN without a verdict, and
        where seeds are the unit.
    families : int
        Families of the cell that were compared with the reference.
    correlated : bool
        Whether neighbouring SAEs of a family err alike.
    better_at_small_l0 : bool
        On which side of a crossing the family is better.
    potency_range : (low, high)
        Relative potency with each single SAE left out; `decisive_row` is the SAE that moves it most. None
        where the potency was asked for at another hit than the middle.
    """

    group: Group
    family: str
    reference: str
    verdict: str
    why: str
    potency: Ratio
    hits: Ratio
    band: PotencyBand
    potency_ends: tuple[Ratio, Ratio] | None
    tests: Tests
    tipping: float
    families: int
    correlated: bool
    better_at_small_l0: bool
    crossing: Crossing | None
    observed: tuple[ObservedRatio, ...]
    potency_range: tuple[float, float]
    decisive_row: str
    doubts: tuple[Doubt, ...] = ()
    sentence: str = ""
    claim: str = ""

    @property
    def parallel(self) -> bool:
        """Whether parallel curves, of which one shift tells all, are not rejected."""
        return not has(self.doubts, Kind.not_parallel)

    @property
    def observed_potency(self) -> ObservedRatio | None:
        """The observed relative potency, where the frontiers have points."""
        return next((o for o in self.observed if o.quantity == "relative_potency"), None)

    def potency_at(self, hit: float) -> tuple[float, float, float]:
        """Relative potency at a hit, and the band's limits.

        Raises
        ------
        ValueError
            When the hit lies outside the range that both families cover.
        """
        at = self.band.hits
        if not len(at) or not at[0] * (1 - 1e-9) <= hit <= at[-1] * (1 + 1e-9):
            known = f"{number(at[0])} to {number(at[-1])}" if len(at) else "none"
            raise ValueError(
                f"{self.family} and {self.reference} share no {self.potency.height} {number(hit)}; "
                f"they share {known}"
            )
        logs = (np.log(v) for v in (self.band.ratio, self.band.low, self.band.high))
        ratio, low, high = (float(np.exp(np.interp(np.log(hit), np.log(at), v))) for v in logs)
        return ratio, low, high

    def to_frame(self, backend: str = "pandas") -> Any:
        """The row of `Comparisons.to_frame`."""
        return give_back(pd.DataFrame([_record(self)]), backend)

    def _view(self) -> View:
        rows = tuple(
            (name, ratio_cell(r), f"at {axis} {number(r.at)}", p_value_cell(r.p_value))
            for name, axis, r in (
                ("relative potency", self.potency.height, self.potency),
                (f"{self.potency.height} ratio", "L0", self.hits),
            )
        )
        headers = ("quantity", f"ratio [{100 * self.potency.level:g} %]", "where", "p")
        return View(self.sentence, headers, rows, doubts=placed(self.doubts))


Curves = Callable[[], tuple[FrontierFits, RatioTable]]
"""Makes fits and ratios when they are asked for."""


@dataclass(frozen=True, eq=False, repr=False)
class Comparisons(Rows[Comparison]):
    """All comparisons of a table, with the shapes and the observed ratios behind them.

    Curves (`fits`) and the ratios of their parameters (`ratios`: k, n, ...) are fitted when first asked for;
    no verdict rests on them.

    Attributes
    ----------
    comparisons : tuple of Comparison
    shapes : tuple of SharedShape
        One per cell.
    observed : ObservedRatios
    group_columns, family_column : names of the columns that tell cells, and families, apart
    y_name : str
    """

    comparisons: tuple[Comparison, ...]
    shapes: tuple[SharedShape, ...]
    observed: ObservedRatios
    group_columns: tuple[str, ...]
    family_column: str
    y_name: str
    notes: tuple[str, ...] = ()

    _noun = "comparisons"

    @property
    def _rows(self) -> tuple[Comparison, ...]:
        return self.comparisons

    @property
    def potencies(self) -> RatioTable:
        """The relative potencies of the shared shape as ratios, for `plot_ratios` and `pool_ratios`."""
        every = [c.potency for c in self.comparisons]
        known = tuple(r for r in every if not math.isnan(r.ratio))
        without = tuple(r for r in every if math.isnan(r.ratio))
        table = RatioTable(known, (*self.group_columns, self.family_column), without=without)
        return records.part(self, "potencies", table)

    @cached_property
    def _curves(self) -> tuple[FrontierFits, RatioTable]:
        make: Curves | None = self.__dict__.get("_make")
        if make is None:
            raise AttributeError("these comparisons were made without a table, so there are no fits")
        return make()

    @property
    def fits(self) -> FrontierFits:
        """Curves through the same rows."""
        return records.part(self, "fits", self._curves[0])

    @property
    def ratios(self) -> RatioTable:
        """Ratios of the curves' parameters, and what the curves give for relative potency."""
        return records.part(self, "ratios", self._curves[1])

    @cached_property
    def varying_columns(self) -> tuple[str, ...]:
        """The group columns in which the comparisons differ."""
        return tuple(varying(self.group_columns, self))

    def part(self, told: Callable[[Group], bool]) -> Self:
        """The comparisons, shapes, fits and ratios of some groups, which are named as among all."""
        kept = [c for c in self.comparisons if told(c.group)]
        shapes = tuple(s for s in self.shapes if told(s.group))
        found = replace(self, comparisons=tuple(kept), shapes=shapes)
        found.__dict__["varying_columns"] = self.varying_columns
        return found.with_curves(lambda: _curves_of(self, told))

    def with_curves(self, make: Curves) -> Self:
        """These comparisons, with what makes their fits and ratios when asked."""
        self.__dict__["_make"] = make
        self.__dict__.pop("_curves", None)
        return self

    def _content(self) -> dict[str, Any]:
        """The comparisons, fits and ratios as plain lists, numbers and text."""
        fits, ratios = self._curves
        return {**super()._content(), "fits": fits._content(), "ratios": ratios._content()}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """The comparisons that `to_dict` wrote.

        Raises
        ------
        ValueError
            As `Result.from_dict`, and for a comparison saved by version 0.1, whose verdicts had another
            meaning.
        """
        if isinstance(record, dict) and record.get("type") == cls.__name__ and "shapes" not in record:
            raise ValueError(
                "this comparison was saved by version 0.1, whose verdicts rested on Hill curves; "
                "run compare on its table again (its fits and ratios can be loaded one by one)"
            )
        own = {k: v for k, v in record.items() if k not in ("fits", "ratios")} if record else record
        found = super().from_dict(own)
        kept = FrontierFits.from_dict(record["fits"]), RatioTable.from_dict(record["ratios"])
        return found.with_curves(lambda: kept)

    def plot(self) -> Any:
        """The collapse plot of every cell; see `frontier.plot_collapse`."""
        from frontier.figures import plot_collapse

        return plot_collapse(self.shapes)

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per comparison.

        Returns
        -------
        DataFrame
            Group columns, `family`, `reference`, `verdict`, the headline ratios with their limits, the
            observed ones, the p values (`p_gate` of one curve through both, `p_holm` of that after Holm,
            `p_parallel`, `p_shift` of no shift between parallel curves, `relative_potency_p` of a potency
            of 1 at its hit, `hit_ratio_p` of a ratio of 1 at its L0), tipping point, crossing, jackknife
            range, `doubts`.
        """
        return give_back(pd.DataFrame([_record(c) for c in self.comparisons]), backend)

    def _view(self) -> View:
        return screen(self)

    def _sheets(self) -> tuple[Sheet, ...]:
        from frontier.tables.styles import sheets_of

        return sheets_of(screen(self, list(self.group_columns)))


def _curves_of(found: Comparisons, told: Callable[[Group], bool]) -> tuple[FrontierFits, RatioTable]:
    fits, ratios = found.fits, found.ratios
    return (
        replace(
            fits,
            fits=tuple(f for f in fits.fits if told(f.group)),
            failures=tuple(f for f in fits.failures if told(f.group)),
        ),
        replace(
            ratios,
            ratios=tuple(r for r in ratios.ratios if told(r.group)),
            without=tuple(r for r in ratios.without if told(r.group)),
        ),
    )


def _record(c: Comparison) -> dict[str, Any]:
    row: dict[str, Any] = {
        **c.group, "family": c.family, "reference": c.reference, "verdict": c.verdict, "why": c.why,
    }  # fmt: skip
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
    t, x = c.tests, c.crossing
    return row | {
        "p_gate": t.gate, "p_holm": t.holm, "p_parallel": t.parallel, "p_shift": t.shift,
        "p_lack_of_fit": t.lack_of_fit, "tipping_seed_sd": c.tipping, "correlated": c.correlated,
        "crossing_l0": x.l0 if x else math.nan, "crossing_l0_low": x.low if x else math.nan,
        "crossing_l0_high": x.high if x else math.nan, "jackknife_low": c.potency_range[0],
        "jackknife_high": c.potency_range[1], "decisive_row": c.decisive_row, "errors": c.potency.errors,
        "sentence": c.sentence, "doubts": in_text(c.doubts),
    }  # fmt: skip
