"""A ratio at every hit, or at every L0, with a pointwise band; and its mean over the overlap with an interval."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from frontier import log_ratio as lr
from frontier._format import number
from frontier.curve_fit import CurveFit
from frontier.intervals import t_quantile
from frontier.problems import Array, Quantity, height, x_at
from frontier.ratios import Ratio, common_x, common_y, hit_ratio, refuse_unlike, relative_potency

POINTS = 200


def relative_potency_curve(
    fit: CurveFit, reference: CurveFit, *, points: int = POINTS, level: float | None = None, extend: float = 1.0
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
    """
    refuse_unlike(fit, reference)
    heights = np.concatenate([fit.y, reference.y])
    low, high = float(heights[heights > 0].min()), float(heights.max()) * extend
    tops = [f.values["top"] for f in (fit, reference) if "top" in f.values]
    high = min([high, *(0.999 * t for t in tops)])
    at = np.geomspace(low, high, points)
    frame = _band(fit, reference, x_at(at), at, level)
    if fit.x_name == "l0":
        frame[["ratio", "ratio_low", "ratio_high"]] = 1 / frame[["ratio", "ratio_high", "ratio_low"]].to_numpy()
    for name, f in (("in_family", fit), ("in_reference", reference)):
        frame[name] = (at >= f.y.min()) & (at <= f.y.max())
    return frame


def hit_ratio_curve(
    fit: CurveFit, reference: CurveFit, *, points: int = POINTS, level: float | None = None
) -> pd.DataFrame:
    """hit(family) / hit(reference) against L0 (or x), over the range that either fit covers.

    Columns as in `relative_potency_curve`; `at` is L0 where x is sparsity.
    """
    refuse_unlike(fit, reference)
    xs = np.concatenate([fit.x, reference.x])
    x = np.geomspace(xs.min(), xs.max(), points) if xs.min() > 0 else np.linspace(xs.min(), xs.max(), points)
    frame = _band(fit, reference, height(x), 1 / x if fit.x_name == "sparsity" else x, level)
    for name, f in (("in_family", fit), ("in_reference", reference)):
        frame[name] = (x >= f.x.min()) & (x <= f.x.max())
    return frame.sort_values("at", ignore_index=True)


def mean_relative_potency(fit: CurveFit, reference: CurveFit, *, level: float | None = None) -> Ratio:
    """Geometric mean of the relative potency over the hits that both fits cover, uniform in log hit.

    Raises
    ------
    ValueError
        When the heights of the two fits do not overlap.
    """
    low, high = common_y(fit, reference)
    middle = relative_potency(fit, reference, level=level)
    return _mean(fit, reference, low, high, middle, "hits", -1.0 if fit.x_name == "l0" else 1.0)


def mean_hit_ratio(fit: CurveFit, reference: CurveFit, *, level: float | None = None) -> Ratio:
    """Geometric mean of the hit ratio over the x (L0) that both fits cover, uniform in log x.

    Raises
    ------
    ValueError
        When the ranges do not overlap.
    """
    low, high = common_x(fit, reference)
    return _mean(fit, reference, low, high, hit_ratio(fit, reference, level=level), "x values", 1.0)


def _mean(
    fit: CurveFit, reference: CurveFit, low: float, high: float, middle: Ratio, what: str, sign: float
) -> Ratio:
    """The pointwise log ratio averaged over a grid, with the delta-method error of the average."""
    if not 0 < low < high:
        raise ValueError(f"{fit.name} and {reference.name} have no common range of {what} to average over")
    grid = np.geomspace(low, high, POINTS)
    quantity = x_at(grid) if what == "hits" else height(grid)
    (one, se1), (two, se2) = (_averaged(f, quantity) for f in (fit, reference))
    estimates = [
        lr.LogEstimate(v, s, f.df, -1e9, 1e9) for v, s, f in ((one, se1, fit), (two, se2, reference))
    ]
    found = lr.welch(*estimates, middle.level)
    ends = sorted((sign * found.low, sign * found.high))
    return replace(
        middle, at=None, ratio=math.exp(sign * found.value), ratio_low=math.exp(ends[0]), ratio_high=math.exp(ends[1]),
        p_value=found.p_value, df=found.df, method="welch",
        doubts=(*middle.doubts, f"mean over {what} from {number(low)} to {number(high)}"),
    )  # fmt: skip


def _log_values(fit: CurveFit, quantity: Quantity) -> tuple[Array, Array, Array]:
    """log of the quantity at each place, its gradient in theta (3, places), and the working scale's slope."""
    many = fit.repeated(np.size(quantity.at))
    value, gradient = many.value_and_gradient(quantity)
    curve = fit.problem.curve
    readable = many.readable(quantity, value)
    if quantity.kind == "x_at":
        slope = np.ones_like(value) if curve.log_x else 1 / readable
    elif curve.has_top and "top" not in fit.fixed:
        slope = np.ones_like(value)
    else:
        slope = curve.log_link(value)[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(readable), slope * gradient, slope


def _averaged(fit: CurveFit, quantity: Quantity) -> tuple[float, float]:
    logs, gradient, _ = _log_values(fit, quantity)
    mean = gradient.mean(axis=1)
    covariance = fit.estimate.covariance[:, :, 0]
    return float(logs.mean()), float(np.sqrt(mean @ covariance @ mean))


def _band(fit: CurveFit, reference: CurveFit, quantity: Quantity, at: Array, level: float | None) -> pd.DataFrame:
    level = fit.level if level is None else level
    parts = []
    for f in (fit, reference):
        logs, gradient, _ = _log_values(f, quantity)
        parts.append((logs, np.einsum("ir,ij,jr->r", gradient, f.estimate.covariance[:, :, 0], gradient)))
    (a, va), (b, vb) = parts
    with np.errstate(divide="ignore", invalid="ignore"):
        df = (va + vb) ** 2 / (va**2 / fit.df + vb**2 / reference.df)
    reach = t_quantile(df, level) * np.sqrt(va + vb)
    value = a - b
    return pd.DataFrame({"at": at, "ratio": np.exp(value), "ratio_low": np.exp(value - reach), "ratio_high": np.exp(value + reach)})
