"""What a ratio is: `Ratio` for one family, group and quantity, `RatioTable` for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from frontier.doubts import Doubt, Kind, has, in_text, placed
from frontier.metrics import give_back
from frontier.ratios.decided import Decided, obstacle_of, verdict_cell
from frontier.results import Group, Result, Rows, held, in_words, telling
from frontier.views import View
from frontier.wording import interval_cell, listed, number, p_value_cell

if TYPE_CHECKING:
    from frontier.tables.styles import Sheet


@dataclass(frozen=True, eq=False, repr=False)
class Ratio(Result):
    """One ratio of a family to a reference, with interval, p value of 'equal', and doubts.

    Attributes
    ----------
    quantity : str
        k, n, slope, intercept, exponent, scale, top, relative_potency or hit_ratio.
    at : float or None
        The hit (relative potency) or the x (hit ratio) where it is read.
    better_when : str
        "above 1" or "below 1": the side on which the family is better; empty where neither is.
    y_name : str
        The column that was fitted: what a "hit" is here.
    decided : Decided or None
        Of the headline of a comparison, what that decided.
    """

    group: Group
    family: str
    reference: str
    quantity: str
    at: float | None
    ratio: float
    ratio_low: float
    ratio_high: float
    p_value: float
    df: float
    better_when: str
    level: float
    method: str
    errors: str
    doubts: tuple[Doubt, ...] = ()
    p_adjusted: float | None = None
    y_name: str = "performance_hit"
    decided: Decided | None = None

    @property
    def height(self) -> str:
        """The y axis in a word: "hit", or the name of another column."""
        return "hit" if self.y_name == "performance_hit" else self.y_name

    @property
    def p_gate_holm(self) -> float:
        """Of the headline of a comparison, the p value of one curve through both, after Holm; else NaN."""
        return math.nan if self.decided is None else self.decided.gate

    @property
    def verdict(self) -> str:
        """'better', 'worse' or 'not separable'; empty where no side is better.

        Of the headline of a comparison, that of the comparison, whatever it is. Else by this ratio's interval
        and, in a table, the p value adjusted over the rows of its quantity.
        'no curve fits' for a parameter of a curve that does not fit: it describes the formula, not the data.
        'seeds differ' where limits exclude 1 that take runs of seeds that differ as independent.
        """
        if self.decided is not None:
            return self.decided.verdict
        if has(self.doubts, Kind.no_curve_fits):
            return Kind.no_curve_fits.value
        if not self.better_when or math.isnan(self.ratio_low) or math.isnan(self.ratio_high):
            return ""
        if has(self.doubts, Kind.seeds_differ) and not self.ratio_low <= 1 <= self.ratio_high:
            return Kind.seeds_differ.value
        adjusted = self.p_value if self.p_adjusted is None else self.p_adjusted
        if self.ratio_low <= 1 <= self.ratio_high or adjusted > 1 - self.level:
            return "not separable"
        return "better" if (self.ratio_low > 1) == (self.better_when == "above 1") else "worse"

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row: the columns of `RatioTable.to_frame`."""
        return give_back(pd.DataFrame([_record(self)]), backend)

    def _view(self) -> View:
        return RatioTable((self,), tuple(self.group))._view()

    def _sheets(self) -> tuple[Sheet, ...]:
        return RatioTable((self,), tuple(self.group))._sheets()


@dataclass(frozen=True, eq=False, repr=False)
class RatioTable(Rows[Ratio]):
    """Ratios of families to one reference, one row per group, family and quantity.

    Attributes
    ----------
    without : tuple of Ratio
        Pairs that were compared and have no such ratio: no rows, and named where rows are pooled.
    adjustment : str
        How `p_adjusted` is made, over the rows of one quantity: Holm, Bonferroni or Dunnett. The potencies
        of a comparison have none: their verdicts rest on `p_gate_holm`.
    """

    ratios: tuple[Ratio, ...]
    group_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    without: tuple[Ratio, ...] = ()
    adjustment: str = "Holm"

    _noun = "ratios"
    _how = "name group values, family and quantity so that one does"

    @property
    def _rows(self) -> tuple[Ratio, ...]:
        return self.ratios

    def _labels(self, row: Ratio) -> tuple[Any, ...]:
        return (row.quantity, *super()._labels(row))

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per ratio.

        Returns
        -------
        DataFrame
            The group columns, `family`, `reference`, `quantity`, `y`, `at`, `ratio`, `ratio_low`,
            `ratio_high`, `p_value`, `p_adjusted` (of that, Holm over the rows of one quantity),
            `p_gate_holm` (of one curve through both, Holm over the families of a cell: the potencies of a
            comparison), `verdict`, `better_when`, `df`, `errors`, `method`, `doubts`.
        """
        return give_back(pd.DataFrame([_record(r) for r in self.ratios]), backend)

    def _sheets(self) -> tuple[Sheet, ...]:
        from frontier.tables.contents import ratios_sheet

        return (ratios_sheet(self),)

    def _view(self) -> View:
        columns = telling(self.group_columns, self.ratios)
        sides = {k: list(dict.fromkeys(getattr(r, k) for r in self.ratios)) for k in ("family", "reference")}
        shown = [k for k, names in sides.items() if len(names) > 1]
        ps = p_columns(
            ((r.p_value, _number_of(r.p_adjusted), r.p_gate_holm) for r in self.ratios), self.adjustment
        )
        rows = [
            (
                *(str(r.group[c]) for c in columns), *(getattr(r, k) for k in shown),
                r.quantity.replace("_", " "), "" if r.at is None else number(r.at), ratio_cell(r),
                *(p_value_cell(_number_of(getattr(r, p))) for p in ps),
                verdict_cell(r.verdict, r.ratio_low, r.ratio_high),
            )
            for r in self.ratios
        ]  # fmt: skip
        level = self.ratios[0].level if self.ratios else 0.95
        ratio = f"ratio [{100 * level:g} %]"
        headers = (*columns, *shown, "quantity", "at", ratio, *ps.values(), "family is")
        family, reference = (k if k in shown else (*names, k)[0] for k, names in sides.items())
        title = f"Ratios: {family} / {reference}{held(self.group_columns, self.ratios, columns)}"
        remarks = (*self.notes, *self.in_spite)
        return View(title, headers, tuple(rows), remarks, self._doubts(columns))

    @property
    def in_spite(self) -> tuple[str, ...]:
        """What is said where an interval excludes 1 and the verdict does not, a line for each reason."""
        torn: dict[str, list[Ratio]] = {}
        for r in self.ratios:
            if r.verdict == "not separable" and not r.ratio_low <= 1 <= r.ratio_high:
                torn.setdefault(r.decided.obstacle(r.level) if r.decided else "", []).append(r)
        return tuple(map(self._in_spite, torn.values()))

    def _in_spite(self, rows: list[Ratio]) -> str:
        names = [", ".join(n for n in (in_words(r.group), r.family, r.quantity) if n) for r in rows]
        decided = [r.decided for r in rows if r.decided]
        by = f"the verdict is by p ({self.adjustment}), which counts all rows of a quantity"
        because = obstacle_of(decided, rows[0].level) if decided else by
        return f"{listed(names, 3)}: the interval by itself excludes 1, but {because}"

    def _doubts(self, columns: list[str]) -> tuple[tuple[str, Doubt], ...]:
        several = len({r.family for r in self.ratios}) > 1
        pairs: list[tuple[str, Doubt]] = []
        for r in self.ratios:
            where = in_words({c: r.group[c] for c in columns})
            pairs += placed(r.doubts, ", ".join(p for p in (where, r.family if several else "") if p))
        return tuple(pairs)


def p_columns(rows: Iterable[tuple[float, float, float]], adjustment: str) -> dict[str, str]:
    """The columns of p values to print, with their headers, for rows of one, its adjusted one and a gate's.

    >>> nan = math.nan
    >>> p_columns([(0.02, 0.04, nan), (0.5, 0.5, nan)], "Holm"), p_columns([(0.02, nan, 0.1)], "Holm")
    ({'p_value': 'p', 'p_adjusted': 'p (Holm)'}, {'p_value': 'p', 'p_gate_holm': 'p of gate (Holm)'})
    """
    found, columns = list(rows), {"p_value": "p"}
    if any(not (math.isnan(own) or math.isclose(own, p, rel_tol=1e-9)) for p, own, _ in found):
        columns["p_adjusted"] = f"p ({adjustment})"
    if not all(math.isnan(gate) for *_, gate in found):
        columns["p_gate_holm"] = "p of gate (Holm)"
    return columns


def _number_of(value: float | None) -> float:
    return math.nan if value is None else value


def ratio_cell(r: Ratio) -> str:
    """A ratio with its interval."""
    return interval_cell(r.ratio, r.ratio_low, r.ratio_high)


def _record(r: Ratio) -> dict[str, Any]:
    return {
        **r.group, "family": r.family, "reference": r.reference, "quantity": r.quantity,
        "y": r.y_name, "at": math.nan if r.at is None else r.at, "ratio": r.ratio, "ratio_low": r.ratio_low,
        "ratio_high": r.ratio_high, "p_value": r.p_value,
        "p_adjusted": _number_of(r.p_adjusted), "p_gate_holm": r.p_gate_holm, "verdict": r.verdict,
        "better_when": r.better_when, "df": r.df, "errors": r.errors, "method": r.method,
        "doubts": in_text(r.doubts),
    }  # fmt: skip
