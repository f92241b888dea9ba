"""A ratio at every hit, or at every L0, with a pointwise band; and its mean over the overlap."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from frontier.arguments import checked
from frontier.distributions import welch_reach
from frontier.doubts import Doubt, Kind
from frontier.fits.curve_fit import CurveFit
from frontier.problems import Array, Quantity, height, x_at
from frontier.ratios import log_ratio as lr
from frontier.ratios.from_fits import hit_ratio, relative_potency
from frontier.ratios.pairs import common_x, common_y, grid, refuse_unlike
from frontier.ratios.ratio import Ratio
from frontier.records import recorded
from frontier.wording import number

POINTS = 200


@checked
def relative_potency_curve(
    fit: CurveFit,
    reference: CurveFit,
    *,
    points: int = POINTS,
    level: float | None = None,
    extend: float = 1.0,
) -> pd.DataFrame:
    """L0(reference) / L0(family) against the hit, over the heights that either fit covers.

    Parameters
    ----------
    extend : float
        Factor by which the range is drawn beyond the data at its upper end.

    Returns
    -------
    DataFrame
        Columns `at` (the hit), `ratio`, `ratio_low`, `ratio_high` (pointwise, log scale, Welch degrees of
        freedom), `in_family`, `in_reference` (whether the hit lies inside that fit's data).

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> curve = frontier.relative_potency_curve(fits["Resid", "gated"], fits["Resid", "baseline"], points=5)
    >>> list(curve.columns[:4])
    ['at', 'ratio', 'ratio_low', 'ratio_high']
    """
    refuse_unlike(fit, reference)
    heights = np.concatenate([fit.y, reference.y])
    low, high = float(heights[heights > 0].min()), float(heights.max()) * extend
    tops = [f.values["top"] for f in (fit, reference) if "top" in f.values]
    high = min([high, *(0.999 * t for t in tops)])
    at = np.geomspace(low, high, points)
    frame = _band(fit, reference, x_at(at), at, level)
    if fit.x_name == "l0":
        frame[["ratio", "ratio_low", "ratio_high"]] = (
            1 / frame[["ratio", "ratio_high", "ratio_low"]].to_numpy()
        )
    for name, f in (("in_family", fit), ("in_reference", reference)):
        frame[name] = (at >= f.y.min()) & (at <= f.y.max())
    return frame


@checked
def hit_ratio_curve(
    fit: CurveFit, reference: CurveFit, *, points: int = POINTS, level: float | None = None
) -> pd.DataFrame:
    """hit(family) / hit(reference) against L0 (or x), over the range that either fit covers.

    Columns as in `relative_potency_curve`; `at` is L0 where x is sparsity.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> curve = frontier.hit_ratio_curve(fits["Resid", "gated"], fits["Resid", "baseline"], points=5)
    >>> list(curve.columns[:4])
    ['at', 'ratio', 'ratio_low', 'ratio_high']
    """
    refuse_unlike(fit, reference)
    xs = np.concatenate([fit.x, reference.x])
    x = grid(float(xs.min()), float(xs.max()), points)
    frame = _band(fit, reference, height(x), 1 / x if fit.x_name == "sparsity" else x, level)
    for name, f in (("in_family", fit), ("in_reference", reference)):
        frame[name] = (x >= f.x.min()) & (x <= f.x.max())
    return frame.sort_values("at", ignore_index=True)


@recorded
def mean_relative_potency(fit: CurveFit, reference: CurveFit, *, level: float | None = None) -> Ratio:
    """Geometric mean of the relative potency over the hits that both fits cover, uniform in log hit.

    Raises
    ------
    ValueError
        When the heights of the two fits do not overlap.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> ratio = frontier.mean_relative_potency(fits["Resid", "gated"], fits["Resid", "baseline"])
    >>> round(ratio.ratio, 1)
    2.6
    """
    low, high = common_y(fit, reference)
    middle = relative_potency(fit, reference, level=level)
    return _mean(fit, reference, low, high, middle, "hits")


@recorded
def mean_hit_ratio(fit: CurveFit, reference: CurveFit, *, level: float | None = None) -> Ratio:
    """Geometric mean of the hit ratio over the x (L0) that both fits cover, uniform in log x.

    Raises
    ------
    ValueError
        When the ranges do not overlap.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> ratio = frontier.mean_hit_ratio(fits["Resid", "gated"], fits["Resid", "baseline"])
    >>> round(ratio.ratio, 2)
    0.44
    """
    low, high = common_x(fit, reference)
    return _mean(fit, reference, low, high, hit_ratio(fit, reference, level=level), "x values")


def _mean(fit: CurveFit, reference: CurveFit, low: float, high: float, middle: Ratio, what: str) -> Ratio:
    """The pointwise log ratio averaged over a grid, with the delta-method error of the average."""
    if not 0 < low < high:
        raise ValueError(f"{fit.name} and {reference.name} have no common range of {what} to average over")
    places = np.geomspace(low, high, POINTS)
    quantity = x_at(places) if what == "hits" else height(places)
    one, two = (_averaged(f, quantity) for f in (fit, reference))
    found = lr.welch(one, two, middle.level)
    if what == "hits" and fit.x_name == "l0":
        found = found.reciprocal
    text = f"mean over {what} from {number(low)} to {number(high)}"
    mean = Doubt(Kind.averaged, text, quantity=middle.quantity, numbers={"from": low, "to": high})
    return replace(
        middle, at=None, ratio=math.exp(found.value), ratio_low=math.exp(found.low),
        ratio_high=math.exp(found.high), p_value=found.p_value, df=found.df, method="welch",
        doubts=(*middle.doubts, mean),
    )  # fmt: skip


def _log_values(fit: CurveFit, quantity: Quantity) -> tuple[Array, Array]:
    """The quantity's logarithm at each place, and its gradient in theta (3, places)."""
    many = fit.repeated(np.size(quantity.at))
    value, gradient = many.value_and_gradient(quantity)
    curve = fit.problem.curve
    readable = many.readable(quantity, value)
    if quantity.kind == "x_at":
        slope = 1 - fit.problem.offset / readable if curve.log_x else 1 / readable
    elif curve.has_top and "top" not in fit.fixed:
        slope = np.ones_like(value)
    else:
        slope = curve.log_link(value)[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(readable), slope * gradient


def _averaged(fit: CurveFit, quantity: Quantity) -> lr.LogEstimate:
    """The logarithm's mean over all places, as an estimate without open ends."""
    logs, gradient = _log_values(fit, quantity)
    mean = gradient.mean(axis=1)
    se = float(np.sqrt(mean @ fit.estimate.covariance[:, :, 0] @ mean))
    return lr.LogEstimate(float(logs.mean()), se, fit.df, -1e9, 1e9)


def _band(
    fit: CurveFit, reference: CurveFit, quantity: Quantity, at: Array, level: float | None
) -> pd.DataFrame:
    level = fit.level if level is None else level
    parts = []
    for f in (fit, reference):
        logs, gradient = _log_values(f, quantity)
        parts.append((logs, np.einsum("ir,ij,jr->r", gradient, f.estimate.covariance[:, :, 0], gradient)))
    (a, va), (b, vb) = parts
    reach = welch_reach(va, fit.df, vb, reference.df, level)
    value = a - b
    ends = {"ratio_low": np.exp(value - reach), "ratio_high": np.exp(value + reach)}
    return pd.DataFrame({"at": at, "ratio": np.exp(value), **ends})
