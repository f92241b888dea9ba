"""Curves that reach 0 at a finite L0: `hill` and `power` in 1/L0 - 1/L*, from L* on nothing is lost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from frontier.arguments import in_range
from frontier.curves import VANISHING, Curve
from frontier.distributions import t_quantile
from frontier.errors import Errors
from frontier.fits.points import Points
from frontier.intervals import Interval
from frontier.metrics.checks import TableError
from frontier.problems import Array, Problem
from frontier.wording import number, plural

SHARED, OWN, WIDTH = "fit", "fit_by_family", "d_model"
SHARES = np.concatenate([[0.0], 1 - np.geomspace(0.9, 1e-4, 47)])
"""1/L* as shares of the smallest sparsity: from no offset to an L* next to the densest SAE."""

Option = str | float | None


def option_of(vanishing_l0: Option, curve: Curve, x_name: str) -> Option:
    """The option as given, if it can be.

    Raises
    ------
    ValueError
        Names what was found and what is possible.
    """
    if vanishing_l0 is None:
        return None
    if not curve.log_x or x_name != "sparsity":
        raise ValueError(
            f"vanishing_l0 needs hill or power in sparsity (1/L0), found {curve.name} in {x_name}"
        )
    if isinstance(vanishing_l0, str):
        if vanishing_l0 not in (SHARED, OWN, WIDTH):
            raise ValueError(
                f"vanishing_l0 must be {WIDTH!r}, a number, {SHARED!r} (one per cell) or {OWN!r}, "
                f"found {vanishing_l0!r}"
            )
        return vanishing_l0
    in_range("vanishing_l0", vanishing_l0)
    return float(vanishing_l0)


def known(groups: Sequence[Points], option: Option) -> tuple[list[Points], list[str]]:
    """The groups with their L* where it is given, without the rows at or beyond it; one remark per group."""
    if option in (None, SHARED, OWN):
        return list(groups), []
    out, remarks = [], []
    for g in groups:
        at = g.d_model if option == WIDTH else float(option or math.inf)
        if not at > 0:
            raise TableError(
                f"vanishing_l0='d_model' needs one d_model per group; {g.name} has none, or several: "
                "give the column, or a number"
            )
        inside = g.x * at > 1 + 1e-9
        if not inside.all():
            count = plural(int((~inside).sum()), "row")
            remarks.append(
                f"{count} of {g.name} left out: L0 at or above {number(at)}, where the curve vanishes"
            )
        rows = tuple(r for r, kept in zip(g.rows, inside, strict=True) if kept)
        out.append(replace(
            g, x=g.x[inside], y=g.y[inside], weights=g.weights[inside], rows=rows, vanishing_l0=at
        ))  # fmt: skip
    return out, remarks


def searched(
    groups: Sequence[Points],
    units: NDArray[np.intp],
    curve: Curve,
    errors: Errors,
    fixed: Mapping[str, float],
    level: float,
) -> list[Points]:
    """The groups with the likeliest L* of their unit (cell or family) and its profile-likelihood interval.

    `errors` holds one column per group. An L* without end is no offset.
    """  # fmt: skip
    count = int(units.max()) + 1
    smallest = np.full(count, np.inf)
    np.minimum.at(smallest, units, [g.x.min() for g in groups])
    misfit, shares = np.empty((count, 0)), np.empty((count, 0))
    tried = np.repeat(SHARES[None, :], count, axis=0)
    points = np.bincount(units, [len(g.x) for g in groups], count)
    for _ in range(2):
        found = _misfit(groups, units, curve, errors, fixed, tried * smallest[:, None])
        shares, misfit = np.hstack([shares, tried]), np.hstack([misfit, found])
        order = np.argsort(shares, axis=1)
        shares, misfit = (np.take_along_axis(v, order, axis=1) for v in (shares, misfit))
        best = misfit.argmin(axis=1)
        near, far = (shares[np.arange(count), np.clip(best + d, 0, shares.shape[1] - 1)] for d in (-1, 1))
        tried = np.linspace(near, far, 24, axis=1)
    free = len([p for p in curve.parameters if p not in fixed])
    df = points - free * np.bincount(units, minlength=count) - 1
    intervals = []
    for i in range(count):
        least, at = misfit[i].min(), shares[i][misfit[i].argmin()]
        reach = (
            points[i] * math.log1p(float(t_quantile(df[i], level)) ** 2 / df[i]) if df[i] > 0 else math.nan
        )
        inside = shares[i][misfit[i] <= least + reach]
        low, high = (inside.max(), inside.min()) if inside.size else (math.nan, math.nan)
        estimate, lower, upper = (_l0(v, smallest[i]) for v in (at, low, high))
        intervals.append(Interval(estimate, lower, upper, level))
    shared = np.bincount(units)
    return [
        replace(g, vanishing_l0=intervals[u].estimate, vanishing_interval=intervals[u], spent=1 / shared[u])
        for g, u in zip(groups, units, strict=True)
    ]


def _l0(share: float, smallest: float) -> float:
    return math.inf if share == 0 else 1 / (share * smallest)


def _misfit(
    groups: Sequence[Points],
    units: NDArray[np.intp],
    curve: Curve,
    errors: Errors,
    fixed: Mapping[str, float],
    offsets: Array,
) -> Array:
    """Sum over the groups of each unit of N log rss, at each of its offsets, (units, offsets)."""
    total = np.zeros(offsets.shape)
    own = (errors.take(np.array([i])) for i in range(len(groups)))
    data = [(g.x, g.y, g.weights_under(e)) for g, e in zip(groups, own, strict=True)]
    n = np.array([len(g.x) for g in groups])
    for column in range(offsets.shape[1]):
        with np.errstate(divide="ignore"):
            held = {**fixed, VANISHING: 1 / offsets[units, column]}
        rss = Problem.stacked(curve, data, errors, held).fit().solution.rss
        with np.errstate(divide="ignore", invalid="ignore"):
            value = n * np.log(rss)
        np.add.at(total[:, column], units, np.where(np.isfinite(value), value, 1e6))
    return total
