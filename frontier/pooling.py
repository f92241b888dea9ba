"""One ratio over many sites, layers or models: random effects, with heterogeneity tested, not asserted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from frontier.distributions import t_quantile, two_sided
from frontier.doubts import Doubt, Kind, has, placed
from frontier.metrics import give_back
from frontier.ratios.ratio import Ratio, RatioTable
from frontier.results import Result, in_words, varying
from frontier.views import View
from frontier.wording import interval_cell, listed, number, p_value_text, plural

OUTSIDE = "the two families share no level, so that a curve is extrapolated"


@dataclass(frozen=True, eq=False, repr=False)
class PooledCell(Result):
    """One cell of a pooled ratio: its ratio and the share of the pooled one that it carries."""

    name: str
    ratio: float
    low: float
    high: float
    df: float
    weight: float

    def _view(self) -> View:
        row = (interval_cell(self.ratio, self.low, self.high), number(self.weight))
        return View(self.name, ("ratio", "weight"), (row,))


@dataclass(frozen=True, eq=False, repr=False)
class PooledRatio(Result):
    """A ratio pooled over cells on the log scale.

    Attributes
    ----------
    ratio, low, high, p_value
        Random-effects mean with the Hartung-Knapp interval (t with cells - 1 degrees of freedom).
    predicted_low, predicted_high
        Where the ratio of a further cell lies at the same level.
    tau : float
        Standard deviation of the true log ratios between cells; a typical cell is off by a factor exp(tau).
    q, p_heterogeneity, i2
        Cochran's Q, its p value, and the share of the scatter that is not noise.
    left_out : tuple of str
        Cells without a finite interval, with the reason.
    """

    quantity: str
    family: str
    reference: str
    ratio: float
    low: float
    high: float
    p_value: float
    predicted_low: float
    predicted_high: float
    tau: float
    q: float
    p_heterogeneity: float
    i2: float
    level: float
    cells: tuple[PooledCell, ...]
    left_out: tuple[str, ...]
    doubts: tuple[Doubt, ...] = ()

    @property
    def sentence(self) -> str:
        """The pooled ratio and whether it holds across the board."""
        cell = interval_cell(self.ratio, self.low, self.high)
        count = plural(len(self.cells), "cell")
        head = f"{self.quantity} of {self.family} against {self.reference}: {cell} over {count}"
        noise = f"Q = {number(self.q)}, p {p_value_text(self.p_heterogeneity)}"
        if not self.p_heterogeneity < 0.05:
            return f"{head}; no difference between the cells is found ({noise})."
        spread = sorted(c.ratio for c in self.cells)
        return (
            f"{head}, but not across the board: the cells differ by more than noise ({noise}, "
            f"I2 = {number(100 * self.i2, 2)} %) and go from {number(spread[0])} to {number(spread[-1])}; "
            f"a further cell lies between {number(self.predicted_low)} and {number(self.predicted_high)}."
        )

    def to_frame(self, backend: str = "pandas") -> Any:
        """The forest-plot table: one row per cell, then the pooled ratio and the prediction."""
        names = ("cell", "ratio", "ratio_low", "ratio_high", "df", "weight")
        rows = [
            *((c.name, c.ratio, c.low, c.high, c.df, c.weight) for c in self.cells),
            ("pooled", self.ratio, self.low, self.high, len(self.cells) - 1.0, 1.0),
            ("a further cell", self.ratio, self.predicted_low, self.predicted_high, math.nan, math.nan),
        ]
        return give_back(pd.DataFrame(rows, columns=names), backend)

    def _view(self) -> View:
        rows = [
            (c.name, interval_cell(c.ratio, c.low, c.high), number(c.df, 2), number(c.weight, 2))
            for c in self.cells
        ]
        pooled = interval_cell(self.ratio, self.low, self.high)
        rows.append(("pooled", pooled, number(len(self.cells) - 1), "1"))
        headers = ("cell", f"ratio [{100 * self.level:g} %]", "df", "weight")
        remarks = (self.sentence, *(f"left out: {x}" for x in self.left_out))
        return View(f"Pooled {self.quantity}", headers, tuple(rows), remarks, placed(self.doubts))


def pool_ratios(
    ratios: RatioTable | Sequence[Ratio],
    quantity: str = "relative_potency",
    family: str | None = None,
    *,
    extrapolated: bool = False,
    level: float = 0.95,
) -> PooledRatio:
    """Random-effects mean of the log ratios of one quantity and family over all cells.

    Each cell's variance is its squared standard error times df / (df - 2) where df > 2 (the variance of a t
    variate), and times t^2 / z^2 for fewer degrees of freedom (so that the cell's weight reflects its own
    interval). Between-cell variance by Paule-Mandel, interval by Hartung-Knapp.

    Source: Hartung & Knapp (2001); IntHout, Ioannidis & Borm (2014); statsmodels `combine_effects`.

    Parameters
    ----------
    ratios : the result of `ratio_table`, or several ratios
    family : str, optional
        Needed when the table holds several families.
    extrapolated : bool
        Also pool cells whose families have no level in common, where a relative potency (or hit ratio) is an
        extrapolation of one of the curves. By default they are left out, and named.

    Raises
    ------
    ValueError
        When fewer than two cells have a finite interval, or the family is not named and there are several.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> pooled = frontier.pool_ratios(frontier.ratio_table(fits))
    >>> pooled.quantity
    'relative_potency'
    """
    rows = [r for r in ratios if r.quantity == quantity and (family is None or r.family == family)]
    if not rows:
        known = sorted({(r.quantity, r.family) for r in ratios})
        raise ValueError(
            f"no ratio of {quantity}{f' of {family}' if family else ''}; there are {listed(known, 8)}"
        )
    if len({r.family for r in rows}) > 1:
        raise ValueError(f"name the family to pool: {listed(sorted({r.family for r in rows}))}")
    kept, left_out = _finite(rows)
    if not extrapolated:
        left_out += [f"{_name(r, rows)} ({OUTSIDE})" for r in kept if _is_outside(r)]
        kept = [r for r in kept if not _is_outside(r)]
    if len(kept) < 2:
        raise ValueError(
            f"pooling needs two or more cells with finite intervals inside the data, found {len(kept)}; "
            f"{listed(left_out, 4)}"
        )
    effects = np.array([math.log(r.ratio) for r in kept])
    variances = np.array([_variance(r) for r in kept])
    return _combined(kept, effects, variances, left_out, quantity, level)


def _combined(
    kept: list[Ratio],
    effects: np.ndarray,
    variances: np.ndarray,
    left_out: list[str],
    quantity: str,
    level: float,
) -> PooledRatio:
    from scipy.special import chdtrc
    from statsmodels.stats.meta_analysis import combine_effects

    found = combine_effects(effects, variances, method_re="iterated", use_t=True)
    m = len(kept)
    tau2 = max(float(found.tau2), 0.0)
    weights = 1 / (variances + tau2)
    mean = float((weights * effects).sum() / weights.sum())
    spread = float((weights * (effects - mean) ** 2).sum() / (m - 1))
    # the truncated form: never narrower than without adjustment
    se = math.sqrt(max(spread, 1.0) / weights.sum())
    reach = float(t_quantile(m - 1, level)) * se
    ahead = float(t_quantile(max(m - 2, 1), level)) * math.sqrt(tau2 + se**2)
    fixed = 1 / variances
    q = float((fixed * (effects - (fixed * effects).sum() / fixed.sum()) ** 2).sum())
    shares = weights / weights.sum()
    cells = tuple(
        PooledCell(_name(r, kept), r.ratio, r.ratio_low, r.ratio_high, r.df, float(s))
        for r, s in zip(kept, shares, strict=True)
    )
    return PooledRatio(
        quantity, kept[0].family, kept[0].reference,
        math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), two_sided(mean / se, m - 1),
        math.exp(mean - ahead), math.exp(mean + ahead), math.sqrt(tau2), q, float(chdtrc(m - 1, q)),
        max(0.0, (q - (m - 1)) / q) if q > 0 else 0.0, level, cells, tuple(left_out),
        _doubts(kept, left_out),
    )  # fmt: skip


def _is_outside(r: Ratio) -> bool:
    return has(r.doubts, Kind.no_overlap)


def _doubts(kept: Sequence[Ratio], left_out: Sequence[str]) -> tuple[Doubt, ...]:
    """What the pooled number hides: cells that are left out, extrapolated ones, hits that differ."""
    doubts, cells = [], plural(len(kept), "cell")
    if left_out:
        text = (
            f"{len(left_out)} of {plural(len(kept) + len(left_out), 'cell')} left out: what stays is the "
            "better known part."
        )
        doubts.append(Doubt(Kind.left_out, text, numbers={"cells": len(left_out)}))
    if outside := sum(map(_is_outside, kept)):
        text = f"{outside} of {cells} extrapolated: {OUTSIDE}."
        doubts.append(Doubt(Kind.no_overlap, text, numbers={"cells": outside}))
    if count := sum(has(r.doubts, Kind.extrapolated_k) for r in kept):
        text = f"k is extrapolated in {count} of {cells}."
        doubts.append(Doubt(Kind.extrapolated_k, text, quantity="k", numbers={"cells": count}))
    at = sorted(r.at for r in kept if r.at is not None)
    if at and at[-1] > 1.01 * at[0]:
        text = f"The cells are read at different hits, {number(at[0])} to {number(at[-1])}."
        doubts.append(Doubt(Kind.unequal_hits, text, numbers={"from": at[0], "to": at[-1]}))
    return tuple(doubts)


def _finite(rows: list[Ratio]) -> tuple[list[Ratio], list[str]]:
    kept, left_out = [], []
    for r in rows:
        limits = (r.ratio, r.ratio_low, r.ratio_high)
        if all(math.isfinite(v) and v > 0 for v in limits):
            kept.append(r)
        else:
            left_out.append(f"{_name(r, rows)} ({interval_cell(*limits)}: no finite interval)")
    return kept, left_out


def _variance(r: Ratio) -> float:
    """Variance of a cell's log ratio, from its interval, widened for few degrees of freedom."""
    half = 0.5 * (math.log(r.ratio_high) - math.log(r.ratio_low))
    se = half / float(t_quantile(r.df, r.level))
    if r.df > 2:
        return se**2 * r.df / (r.df - 2)
    return (half / 1.959963984540054) ** 2


def _name(r: Ratio, rows: Sequence[Ratio]) -> str:
    columns = varying(list(r.group), rows) or list(r.group)
    return in_words({c: r.group[c] for c in columns}) or "all rows"
