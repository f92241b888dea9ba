"""Relative potency averaged over candidate curves, for levels where the choice of curve decides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import stdtr

from frontier.distributions import t_quantile
from frontier.doubts import Doubt, Kind, placed
from frontier.fits.curve_fit import CurveFit
from frontier.problems import Array, x_at
from frontier.ratios import log_ratio as lr
from frontier.ratios import relative_potency
from frontier.records import recorded
from frontier.results import Group, Result, own_fields
from frontier.selection.candidates import CURVES, specs_of
from frontier.selection.contests import Contest, contests_of
from frontier.views import View
from frontier.wording import interval_cell, listed, number

EDGE = 0.1
"""Within this share of a family's range of log y from its end, the choice of curve begins to matter."""


@dataclass(frozen=True, eq=False, repr=False)
class ModelRatio(Result):
    """The relative potency under one curve, its Welch interval, and the curve's share of the evidence."""

    curve: str
    weight: float
    ratio: float
    ratio_low: float
    ratio_high: float
    df: float

    def _view(self) -> View:
        cell = interval_cell(self.ratio, self.ratio_low, self.ratio_high)
        return View(self.curve, ("weight", "ratio"), ((number(self.weight, 2), cell),))


@dataclass(frozen=True, eq=False, repr=False)
class AveragedRatio(Result):
    """L0(reference) / L0(family) at equal hit, averaged over curves, with the single curves beside it.

    Attributes
    ----------
    at : float
        The performance hit.
    where : str
        "inside" the data of both families, at their "edge", or "outside".
    ratio, ratio_low, ratio_high, p_value
        Weighted geometric mean of the curves' ratios, with its MATA-t interval and p value of 'equal'.
    models : tuple of ModelRatio
        Curves without a ratio at this level have a missing one, and no weight.
    """

    group: Group
    family: str
    reference: str
    at: float
    where: str
    ratio: float
    ratio_low: float
    ratio_high: float
    p_value: float
    level: float
    errors: str
    models: tuple[ModelRatio, ...]
    doubts: tuple[Doubt, ...] = ()

    @property
    def inside(self) -> bool:
        """Whether both families' data cover `at`."""
        return self.where != "outside"

    @property
    def sentence(self) -> str:
        """How much the choice of curve matters at this level."""
        known = sorted(m.ratio for m in self.models if not math.isnan(m.weight))
        if not known:
            return f"No curve gives a ratio at y = {number(self.at)}."
        spread = f"single curves give {number(known[0])} to {number(known[-1])}"
        told = {
            "inside": "is inside the data of both, where the curve does not matter much",
            "edge": "is at the edge of the data, where the curve begins to matter",
            "outside": "is outside the data, where the curve decides",
        }[self.where]
        return f"y = {number(self.at)} {told}: {spread}."

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per curve, then the average.

        Returns
        -------
        DataFrame
            The group columns, `family`, `reference`, `at`, `curve`, `weight`, `ratio`, `ratio_low`,
            `ratio_high`, `df`.
        """
        from frontier.metrics import give_back

        who = {**self.group, "family": self.family, "reference": self.reference, "at": self.at}
        rows = [{**who, **own_fields(m)} for m in self.models]
        limits = {"ratio_low": self.ratio_low, "ratio_high": self.ratio_high}
        average = {**who, "curve": "average", "weight": 1.0, "ratio": self.ratio, **limits}
        return give_back(pd.DataFrame([*rows, average]), backend)

    def _view(self) -> View:
        cells = [(m.curve, m.weight, m.ratio, m.ratio_low, m.ratio_high) for m in self.models]
        cells.append(("average", 1.0, self.ratio, self.ratio_low, self.ratio_high))
        rows = tuple((curve, number(weight, 2), interval_cell(*limits)) for curve, weight, *limits in cells)
        where = "".join(f", {v}" for v in self.group.values())
        title = f"Relative potency of {self.family} against {self.reference} at y = {number(self.at)}{where}"
        headers = ("curve", "weight", f"ratio [{100 * self.level:g} %]")
        return View(title, headers, rows, (self.sentence,), placed(self.doubts))


@recorded
def averaged_potency(
    fit: CurveFit,
    reference: CurveFit,
    at: float | None = None,
    *,
    curves: Sequence[str] = CURVES,
    level: float | None = None,
) -> AveragedRatio:
    """L0(reference) / L0(family) at equal performance hit, averaged over candidate curves.

    Every curve is fitted to both groups with the fits' errors model and weighted by the summed
    log-likelihoods (AICc where the number of parameters differs). The lower limit L solves
    sum_m w_m P(T_df > (theta_m - L) / se_m) = (1 - level) / 2 on the log scale, with each curve's Welch
    standard error and degrees of freedom; the upper limit likewise (MATA-t).

    Source: Turek & Fletcher (2012), Computational Statistics & Data Analysis 56, 2809; Burnham & Anderson
    (2002), section 4.2, for the weights.

    Parameters
    ----------
    fit, reference : CurveFit
        Of one curve, errors model and evaluation protocol.
    at : float, optional
        A height (performance hit); default the geometric middle of the heights that both fits cover.
    curves : names, as in `select_curve`
    level : float, optional
        Confidence level; default the fit's.

    Raises
    ------
    ValueError
        When the fits must not be compared, or fewer than two curves are named.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> averaged = frontier.averaged_potency(fits["Resid", "gated"], fits["Resid", "baseline"], at=0.01)
    >>> round(averaged.ratio, 1)
    2.0
    """
    level = fit.level if level is None else level
    plain = relative_potency(fit, reference, at, level=level)
    assert plain.at is not None
    pair = contests_of((fit, reference), [specs_of(f, curves, None) for f in (fit, reference)])
    sign = -1.0 if fit.x_name == "l0" else 1.0
    ratios = [_log_ratio(pair, i, plain.at, level, sign) for i in range(len(pair[0].specs))]
    value, se, df = np.array(ratios).T
    weights = _weights(pair[0].scores + pair[1].scores, np.isfinite(value) & (se > 0))
    reach = t_quantile(df, level) * se
    with np.errstate(over="ignore"):
        cells = np.exp([value, value - reach, value + reach])
    columns = zip(pair[0].specs, *(v.tolist() for v in (weights, *cells, df)), strict=True)
    models = tuple(ModelRatio(s.label, w, v, lo, hi, d) for s, w, v, lo, hi, d in columns)
    used = np.isfinite(weights)
    average, low, high, p = _average(weights[used], value[used], se[used], df[used], level)
    where = max((_where(f, plain.at) for f in (fit, reference)), key=("inside", "edge", "outside").index)
    return AveragedRatio(
        plain.group, plain.family, plain.reference, plain.at, where, average, low, high, p, level,
        plain.errors, models, (*plain.doubts, *_left_out(pair, plain.at, used)),
    )  # fmt: skip


def mata_t(weights: Array, values: Array, se: Array, df: Array, level: float) -> tuple[float, float]:
    """Model-averaged tail-area interval: quantiles of the weighted mixture of the models' t distributions.

    Source: Turek & Fletcher (2012), Computational Statistics & Data Analysis 56, 2809.

    >>> import numpy as np
    >>> low, high = mata_t(np.ones(1), np.zeros(1), np.ones(1), np.array([10.0]), 0.95)
    >>> round(high, 4)  # qt(0.975, 10) in R: 2.228139
    2.2281
    """
    share = (1 - level) / 2
    limits = []
    for side in (-1.0, 1.0):
        ends = values + side * t_quantile(df, level) * se
        tail = share if side < 0 else 1 - share
        spare = 1e-9 * (1 + np.abs(ends).max())
        limits.append(
            brentq(
                lambda at, tail=tail: float((weights * stdtr(df, (at - values) / se)).sum()) - tail,
                ends.min() - spare, ends.max() + spare, xtol=1e-12,
            )
        )  # fmt: skip
    return float(limits[0]), float(limits[1])


def _where(fit: CurveFit, at: float) -> str:
    """Where a height lies in the data of one fit."""
    low, high = float(fit.y.min()), float(fit.y.max())
    if not low <= at <= high:
        return "outside"
    share = math.log(at / low) / math.log(high / low) if low > 0 else (at - low) / (high - low)
    return "inside" if EDGE <= share <= 1 - EDGE else "edge"


def _log_ratio(
    pair: Sequence[Contest], index: int, at: float, level: float, sign: float
) -> tuple[float, float, float]:
    """One curve's log ratio, standard error and Welch degrees of freedom; NaN where a group has no fit."""
    one, two = (c.estimates[index] for c in pair)
    if one is None or two is None:
        return math.nan, math.nan, math.nan
    a, b = (lr.log_estimate(e, x_at(at), level, "wald") for e in (one, two))
    found = lr.welch(a, b, level)
    return sign * found.value, math.hypot(a.se, b.se), found.df


def _weights(total: Array, known: Array) -> Array:
    """Shares of the evidence among the candidates with a ratio; NaN for the others."""
    usable = known & np.isfinite(total)
    out = np.full(len(total), np.nan)
    if usable.any():
        shares = np.exp(-0.5 * (total[usable] - total[usable].min()))
        out[usable] = shares / shares.sum()
    return out


def _average(
    weights: Array, values: Array, se: Array, df: Array, level: float
) -> tuple[float, float, float, float]:
    """Averaged ratio, MATA-t limits and p value of ratio = 1."""
    if not weights.size:
        return math.nan, math.nan, math.nan, math.nan
    low, high = mata_t(weights, values, se, df, level)
    below = float((weights * stdtr(df, -values / se)).sum())
    with np.errstate(over="ignore"):
        average, low, high = (float(v) for v in np.exp([(weights * values).sum(), low, high]))
    return average, low, high, 2 * min(below, 1 - below)


def _left_out(pair: Sequence[Contest], at: float, used: Array) -> Iterator[Doubt]:
    """Why a candidate has no part in the average."""
    for i, spec in enumerate(pair[0].specs):
        reasons = [f"{c.fit.name}: {c.reasons[i]}" for c in pair if c.reasons[i]]
        if reasons:
            why = f" ({listed(reasons)})"
        elif used[i]:
            continue
        elif not math.isfinite(pair[0].scores[i] + pair[1].scores[i]):
            why = ": AICc is undefined for so few points"
        else:
            why = f": it does not reach y = {number(at)} at a positive x"
        yield Doubt(Kind.left_out, f"{spec.label} left out{why}.", quantity=spec.label, numbers={"at": at})
