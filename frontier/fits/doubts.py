"""Doubts: why a fit that ran is not yet a fit to trust. Texts follow one table, so tests can hold them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from frontier.distributions import between_classes
from frontier.doubts import Doubt, Kind
from frontier.fits.nuisance import OVER_SHARED
from frontier.fits.points import SEEDS
from frontier.metrics.axes import has_top
from frontier.problems import Array, Estimate, parameter
from frontier.wording import listed, number, p_value_text, plural

if TYPE_CHECKING:
    from frontier.fits.curve_fit import CurveFit

PERFECT = 1e-24
"""A residual sum of squares below this share of sum(y^2) is zero to rounding."""
NEAR_ONE = 1e-9
DIFFERENT = 0.1
"""Level at which seeds are taken to differ; few of them show it seldom."""


def too_few(name: str, distinct: int, free: int) -> str:
    """Why a group with so few distinct x values has no fit."""
    what = plural(distinct, "distinct x value")
    if distinct == free:
        return (
            f"Group {name} has {what}; a {free}-parameter curve passes through "
            f"{'both' if free == 2 else 'all of them'} exactly, "
            "so no error can be estimated."
        )
    return (
        f"Group {name} has {what}; a curve with {plural(free, 'free parameter')} needs at least {free + 1}."
    )


def falling(name: str, steepness: str, value: float, x: str) -> str:
    """Why a falling group has no Hill or power fit."""
    check = " Check that x is 1/L0, not L0." if x in ("x", "l0", "sparsity") else ""
    return f"y falls as x rises in group {name} ({steepness} = {number(value)}).{check}"


def not_converged(name: str, rss: float) -> str:
    """What is said instead of numbers when the solver fails."""
    return f"Group {name} did not converge; last RSS {number(rss)}; this is a fault to report, not a result."


def above_top(name: str, y: str, above: int, count: int, top: float) -> str:
    """Why a Hill curve cannot be fitted to values that are not below its top."""
    return (
        f"{above} of {count} {y} values in group {name} are not below the top of the curve, {number(top)}. "
        "Use curve='power' (--curve power), or set another top: fixed={'top': ...}."
    )


def endless_rise(name: str, steepness: str, at: float, value: float) -> str:
    """Why a Hill curve that becomes a step has no optimum."""
    return (
        f"Group {name} sets no {steepness}: the sum of squares falls as {steepness} grows without end "
        f"({number(value, 2)} and more) and the curve becomes a step at x = {number(at)}. Train SAEs on "
        "either side of it, set another top, or fit curve='power'."
    )


def runaway(name: str) -> str:
    """Why a Hill fit with a free top has no optimum."""
    return (
        f"Group {name} sets no top: k and top grow together without end and the curve becomes a power law. "
        "Fix top, or fit curve='power'."
    )


def non_positive(name: str, y: Array, rows: Sequence[object]) -> Doubt:
    """What is doubted when log errors were asked for and some y is not positive."""
    bad = [r for r, v in zip(rows, y, strict=True) if v <= 0]
    return Doubt(
        Kind.other_errors,
        f"{len(bad)} of {len(y)} y values in group {name} are not positive ({_rows(bad)}), so log y is "
        "undefined. Used two-component errors.",
        name,
        numbers={"rows": len(bad)},
    )


def fit_doubts(fit: CurveFit) -> Iterator[Doubt]:
    """All doubts about one fit, the gravest first."""
    yield from _perfect(fit)
    yield from _above_top(fit)
    if SEEDS in fit.facts:
        yield Doubt(Kind.seeds_differ, f"{fit.name}: {fit.facts[SEEDS]}", fit.name)
    if fit.curve == "hill":
        if fit.fixed.get("top") == 1.0 and not (fit.y_name == "y" or has_top(fit.y_name)):
            text = (
                f"A top of 1 has no meaning for {fit.y_name}, and k depends on it; use curve='power' "
                "(--curve power)."
            )
            yield Doubt(Kind.arbitrary_top, text, quantity=fit.y_name, numbers={"top": 1.0})
        yield from _extrapolated_k(fit)
        yield from _step_like(fit)
    yield from _held(fit)
    yield from _open_ends(fit)


def _held(fit: CurveFit) -> Iterator[Doubt]:
    """Of what was estimated beside the curve, where intervals hold it: all methods but the profile."""
    if not fit.shared or fit.interval_method == OVER_SHARED:
        return
    at = {n.name: n.likeliest for n in fit.shared}
    names = " and ".join(fit.problem.free_names)
    text = (
        f"{fit.interval_method.capitalize()} intervals of {names} hold {' and '.join(at)} where it was found "
        "and are too narrow; use intervals='profile' (--intervals profile)."
    )
    yield Doubt(Kind.held, text, quantity=next(iter(at)), numbers=at)


def seeds_differ(fit: CurveFit, seeds: NDArray[np.intp]) -> str:
    """What is said where the curves of several seeds differ more than runs scatter; empty where they do not.

    F = mean square of the seeds' mean residuals over that of the residuals, as `compare` tests it.
    """
    numbers, own = np.unique(seeds, return_inverse=True)
    if len(numbers) < 2 or is_perfect(fit) or not fit.df > 0:
        return ""
    residual = np.sqrt(fit.weights) * fit.problem.errors.residual(fit.y, fit.predict(fit.x))
    total, free = between_classes(residual, own)
    ratio = total / free / (fit.rss / fit.df)
    p = float(fdtrc(free, fit.df, ratio))
    if p > DIFFERENT or ratio <= 1:
        return ""
    return (
        f"the curves of {len(numbers)} seeds differ (p {p_value_text(p)}); intervals take runs as "
        f"independent and may be too narrow by a factor of {number(math.sqrt(ratio), 2)}: compare and "
        "compare_seeds take seeds as the unit."
    )


def jackknife_doubt(
    fit: CurveFit, estimate: Estimate, name: str, without: Array, leverage: Array
) -> Iterator[Doubt]:
    """One point moves a number far: without it the location parameter moves by over a standard error."""
    value, se = (float(v[0]) for v in estimate.working(parameter(name)))
    if not (math.isfinite(se) and se > 0) or is_perfect(fit):
        return
    moves = np.abs(without - value) / se
    moves = np.where(np.isfinite(moves), moves, 0.0)
    worst = int(np.argmax(moves))
    if moves[worst] > 1:
        old, row = fit[name].estimate, fit.rows[worst]
        new = float(estimate.readable(parameter(name), np.array([without[worst]]))[0])
        text = f"Without row {row}, {name} changes from {number(old)} to {number(new)}."
        yield Doubt(Kind.influence, text, fit.name, row, name, numbers={"with": old, "without": new})
    elif leverage.max() > 0.9:
        row, most = fit.rows[int(leverage.argmax())], float(leverage.max())
        text = f"Row {row} alone fixes one direction of the curve (leverage {number(most, 2)})."
        yield Doubt(Kind.leverage, text, fit.name, row, numbers={"leverage": most})


def _rows(rows: Sequence[object]) -> str:
    return ("row " if len(rows) == 1 else "rows ") + listed(list(rows), 6)


def is_perfect(fit: CurveFit) -> bool:
    """Whether the residuals are zero to rounding."""
    scale = float((fit.weights * fit.problem.errors.size(fit.y) ** 2).sum())
    return fit.rss < PERFECT * max(scale, 1e-300)


def _perfect(fit: CurveFit) -> Iterator[Doubt]:
    if is_perfect(fit):
        text = "Residuals are zero to rounding; intervals of width 0 are not meaningful."
        yield Doubt(Kind.no_noise, text)


def _above_top(fit: CurveFit) -> Iterator[Doubt]:
    top = fit.fixed.get("top")
    if fit.curve == "hill" and top is not None:
        for row, value in zip(fit.rows, fit.y, strict=True):
            if value >= top:
                text = (
                    f"y = {number(float(value))} in row {row} exceeds the curve's top ({number(top)}). "
                    "Kept; check units, or use curve='power' (--curve power)."
                )
                yield Doubt(Kind.above_top, text, row=row, numbers={"y": float(value), "top": top})


def _extrapolated_k(fit: CurveFit) -> Iterator[Doubt]:
    k, low, high = fit["k"].estimate, float(fit.shifted_x.min()), float(fit.shifted_x.max())
    name = fit.name
    top = f" with top {number(fit.fixed['top'])}" if "top" in fit.fixed else ""
    above = fit.y[fit.y > 0]
    level = math.sqrt(float(above.min() * above.max())) if len(above) else 0.0
    if k > high * (1 + NEAR_ONE):
        below_one = k > 1 and fit.x_name == "sparsity"
        absurd = ", and it would be reached at a mean L0 below 1" if below_one else ""
        text = (
            f"k of group {name} ({number(k)}) is {number(k / high, 2)} times the largest x ({number(high)}); "
            f"it is an extrapolation and depends on the Hill form{top}{absurd}. Relative potency at y = "
            f"{number(level, 2)} does not depend on it."
        )
        yield Doubt(Kind.extrapolated_k, text, name, quantity="k", numbers={"k": k, "factor": k / high})
    elif k < low * (1 - NEAR_ONE):
        text = (
            f"k of group {name} ({number(k)}) is {number(low / k, 2)} times below the smallest x "
            f"({number(low)}); it is an extrapolation and depends on the Hill form{top}."
        )
        yield Doubt(Kind.extrapolated_k, text, name, quantity="k", numbers={"k": k, "factor": k / low})


def _step_like(fit: CurveFit) -> Iterator[Doubt]:
    top = fit["top"].estimate
    share = fit.y / top
    if ((share > 0.1) & (share < 0.9)).any() or not ((share <= 0.1).any() and (share >= 0.9).any()):
        return
    below, above = float(fit.x[share <= 0.1].max()), float(fit.x[share >= 0.9].min())
    if below < above:
        steep = math.log(81) / math.log(above / below)
        text = (
            f"The rise lies between x = {number(below)} and {number(above)}; n is at least "
            f"{number(steep, 2)}, no upper limit."
        )
        yield Doubt(Kind.step, text, quantity="n", numbers={"from": below, "to": above, "n": steep})


def power_law_remark(fit: CurveFit) -> str:
    """How much worse, or better, a power law fits: what a Hill curve becomes as k goes to infinity."""
    other = fit.power_law_rss()
    if not (other and fit.rss):
        return ""
    change = 100 * (other / fit.rss - 1)
    return f" (power law: RSS {number(abs(change), 2)} % {'higher' if change >= 0 else 'lower'})"


def _open_ends(fit: CurveFit) -> Iterator[Doubt]:
    for name, interval in fit.parameters.items():
        if name not in fit.problem.free_names or is_perfect(fit):
            continue
        if math.isinf(interval.high):
            extra = power_law_remark(fit) if name == fit.problem.curve.location else ""
            text = f"No upper limit for {name}: values up to infinity fit as well{extra}."
            yield Doubt(Kind.unbounded, text, quantity=name, numbers={name: interval.estimate, "side": 1})
        if math.isinf(interval.low) or (interval.low == 0 and interval.estimate > 0):
            end = "0" if interval.estimate > 0 else "minus infinity"
            text = f"No lower limit for {name}: values down to {end} fit as well."
            yield Doubt(Kind.unbounded, text, quantity=name, numbers={name: interval.estimate, "side": -1})
        if math.isnan(interval.low) or math.isnan(interval.high):
            side = "lower" if math.isnan(interval.low) else "upper"
            text = (
                f"The {side} limit of {name} could not be followed to its end; it is left blank, not guessed."
            )
            yield Doubt(Kind.lost_limit, text, quantity=name, numbers={name: interval.estimate})
