"""What a ratio is: `Ratio` for one family, group and quantity, `RatioTable` for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from frontier._format import View, interval_cell, number, p_value_cell
from frontier.metrics import give_back
from frontier.results import Group, Result, Rows, in_words, varying

WELCH = "; Welch degrees of freedom used ("
"""In the doubt of a ratio whose families have unequal noise."""

EXTRAPOLATES = "extrapolates at least one curve"
"""In the doubt of a ratio whose families have no level in common."""


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
    doubts: tuple[str, ...] = ()
    p_adjusted: float | None = None
    y_name: str = "performance_hit"

    @property
    def height(self) -> str:
        """The y axis in a word: "hit", or the name of another column."""
        return "hit" if self.y_name == "performance_hit" else self.y_name

    @property
    def verdict(self) -> str:
        """'better', 'worse' or 'not separable' by this ratio's interval; empty where no side is better."""
        if not self.better_when or math.isnan(self.ratio_low) or math.isnan(self.ratio_high):
            return ""
        if self.ratio_low <= 1 <= self.ratio_high:
            return "not separable"
        return "better" if (self.ratio_low > 1) == (self.better_when == "above 1") else "worse"

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row: the columns of `RatioTable.to_frame`."""
        return give_back(pd.DataFrame([_record(self)]), backend)

    def _view(self) -> View:
        return RatioTable((self,), tuple(self.group))._view()


@dataclass(frozen=True, eq=False, repr=False)
class RatioTable(Rows[Ratio]):
    """Ratios of families to one reference, one row per group, family and quantity."""

    ratios: tuple[Ratio, ...]
    group_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

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
            `ratio_high`, `p_value`, `p_adjusted` (Holm, over the rows of one quantity), `better_when`, `df`,
            `errors`, `method`, `doubts`.
        """
        return give_back(pd.DataFrame([_record(r) for r in self.ratios]), backend)

    def to_markdown(self) -> str:
        """The table in Markdown."""
        from frontier.tables import ratios_table

        return ratios_table(self, style="markdown")

    def to_latex(self) -> str:
        """The table in LaTeX (booktabs)."""
        from frontier.tables import ratios_table

        return ratios_table(self, style="latex")

    def _view(self) -> View:
        columns = varying(self.group_columns, self.ratios)
        rows = [
            (
                *(str(r.group[c]) for c in columns), r.family, r.reference, r.quantity,
                "" if r.at is None else number(r.at), ratio_cell(r), p_value_cell(r.p_value), r.verdict,
            )
            for r in self.ratios
        ]  # fmt: skip
        level = self.ratios[0].level if self.ratios else 0.95
        headers = (
            *columns, "family", "reference", "quantity", "at", f"ratio [{100 * level:g} %]", "p", "family is",
        )  # fmt: skip
        return View("Ratios: family / reference", headers, tuple(rows), (*self.notes, *self._doubts(columns)))

    def _doubts(self, columns: list[str]) -> list[str]:
        """Each doubt once per cell, though several of its rows share it."""
        rows = said_once([(r.quantity, r.doubts) for r in self.ratios])
        cells = [in_words({c: r.group[c] for c in columns}) for r in self.ratios]
        pairs = [(cell, d) for cell, doubts in zip(cells, rows, strict=True) for d in doubts]
        return [f"{cell}: {d}" if cell else d for cell, d in dict.fromkeys(pairs)]


def said_once(rows: Sequence[tuple[str, Sequence[str]]]) -> list[list[str]]:
    """Doubts of (quantity, doubts) with those that differ in their degrees of freedom alone made equal.

    >>> welch = "Noise differs; Welch degrees of freedom used ({})."
    >>> said_once([("k", [welch.format(5.7)]), ("n", [welch.format(4.2)])])[1]
    ['Noise differs; Welch degrees of freedom used (k 5.7, n 4.2).']
    """
    found: dict[str, dict[str, list[str]]] = {}
    for quantity, doubts in rows:
        for head, df in (d.removesuffix(").").split(WELCH) for d in doubts if WELCH in d):
            found.setdefault(head, {}).setdefault(df, []).append(quantity.replace("_", " "))
    merged = {
        head: "".join(dfs) if len(dfs) == 1 else ", ".join(f"{' and '.join(q)} {df}" for df, q in dfs.items())
        for head, dfs in found.items()
    }
    heads = [[d.split(WELCH)[0] for d in doubts] for _, doubts in rows]
    return [
        [f"{h}{WELCH}{merged[h]})." if WELCH in d else d for h, d in zip(cut, doubts, strict=True)]
        for cut, (_, doubts) in zip(heads, rows, strict=True)
    ]


def ratio_cell(r: Ratio) -> str:
    """A ratio with its interval."""
    return interval_cell(r.ratio, r.ratio_low, r.ratio_high)


def _record(r: Ratio) -> dict[str, Any]:
    return {
        **r.group, "family": r.family, "reference": r.reference, "quantity": r.quantity,
        "y": r.y_name, "at": math.nan if r.at is None else r.at, "ratio": r.ratio, "ratio_low": r.ratio_low,
        "ratio_high": r.ratio_high, "p_value": r.p_value,
        "p_adjusted": math.nan if r.p_adjusted is None else r.p_adjusted, "better_when": r.better_when,
        "df": r.df, "errors": r.errors, "method": r.method, "doubts": " ".join(r.doubts),
    }  # fmt: skip
