"""Curves that reach 0 at a finite L0: `hill` and `power` in 1/L0 - 1/L*, from L* on nothing is lost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from frontier.arguments import in_range
from frontier.curves import VANISHING, Curve
from frontier.errors import Errors
from frontier.fits.nuisance import Nuisance, slack
from frontier.fits.points import Points
from frontier.intervals import Interval
from frontier.metrics.checks import TableError
from frontier.problems import Array, Problem
from frontier.wording import number, plural

SHARED, OWN, WIDTH = "fit", "fit_by_family", "d_model"
SHARES = np.concatenate([[0.0], 1 - np.geomspace(0.9, 1e-4, 47)])
"""1/L* as shares of the smallest sparsity: from no offset to an L* next to the densest SAE."""
PRIOR = 4.0
"""Degrees of freedom that the mean variance of a cell lends to each of its groups."""
BETWEEN = 24
"""Shares tried between two that were tried before."""

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
    """
    count = int(units.max()) + 1
    smallest = np.full(count, np.inf)
    np.minimum.at(smallest, units, [g.x.min() for g in groups])
    free = len([p for p in curve.parameters if p not in fixed])
    known = np.bincount(units, [len(g.x) - free for g in groups], count)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(known > 1, known * slack(known - 1, 0.0, level, known), np.nan)
    squares, shares = np.empty((len(groups), 0)), np.empty((count, 0))
    tried = np.repeat(SHARES[None, :], count, axis=0)
    for allowed in (np.zeros(count), np.nan_to_num(reach), None):  # anywhere, near the best, in the interval
        found = _squares(groups, units, curve, errors, fixed, tried * smallest[:, None])
        shares, squares = np.hstack([shares, tried]), np.hstack([squares, found])
        order = np.argsort(shares, axis=1)
        shares = np.take_along_axis(shares, order, axis=1)
        squares = np.take_along_axis(squares, order[units], axis=1)
        misfit = _misfit(squares, units, np.array([len(g.x) - free for g in groups], dtype=float))
        if allowed is not None:
            tried = _around_best(shares, misfit, allowed)
    at = [_estimated(*of_unit, level) for of_unit in zip(shares, misfit, smallest, reach, strict=True)]
    sharing = np.bincount(units)
    return [
        replace(
            g, vanishing_l0=at[u][0].estimate, vanishing_interval=at[u][0], spent=1 / sharing[u],
            shared=(*g.shared, at[u][1]),
        )
        for g, u in zip(groups, units, strict=True)
    ]  # fmt: skip


def _around_best(shares: Array, misfit: Array, allowed: Array) -> Array:
    """Shares to try next, per unit: from one below to one above those at most so far above the least."""
    inside = misfit <= misfit.min(axis=1, keepdims=True) + allowed[:, None]
    last = shares.shape[1] - 1
    first, final = inside.argmax(axis=1), last - inside[:, ::-1].argmax(axis=1)
    rows = np.arange(len(shares))
    near, far = shares[rows, np.maximum(first - 1, 0)], shares[rows, np.minimum(final + 1, last)]
    return np.linspace(near, far, BETWEEN, axis=1)


def _estimated(
    shares: Array, misfit: Array, smallest: float, reach: float, level: float
) -> tuple[Interval, Nuisance]:
    """L* of one unit with its interval, and all that was tried."""
    tried = np.array([_l0(v, smallest) for v in shares])
    inside = tried[misfit <= misfit.min() + reach]
    low, high = (inside.min(), inside.max()) if inside.size else (math.nan, math.nan)
    at = float(tried[misfit.argmin()])
    return Interval(at, float(low), float(high), level), Nuisance.of(VANISHING, tried, misfit)


def _l0(share: float, smallest: float) -> float:
    return math.inf if share == 0 else 1 / (share * smallest)


def _squares(
    groups: Sequence[Points],
    units: NDArray[np.intp],
    curve: Curve,
    errors: Errors,
    fixed: Mapping[str, float],
    offsets: Array,
) -> Array:
    """Residual sum of squares of each group at each offset of its unit, (groups, offsets)."""
    own = (errors.take(np.array([i])) for i in range(len(groups)))
    data = [(g.x, g.y, g.weights_under(e)) for g, e in zip(groups, own, strict=True)]
    out = []
    for column in range(offsets.shape[1]):
        with np.errstate(divide="ignore"):
            held = {**fixed, VANISHING: 1 / offsets[units, column]}
        out.append(Problem.stacked(curve, data, errors, held).fit().solution.rss)
    return np.stack(out, axis=1)


def _misfit(squares: Array, units: NDArray[np.intp], df: Array) -> Array:
    """Minus twice the log-likelihood of each unit, up to a constant, (units, offsets).

    The sum over groups of df log rss; where several share L*, of (df + d) log(rss + d s^2), each variance
    integrated out under an inverse chi-squared prior around the mean one, s^2, with d = `PRIOR`. Without it
    the group that a chance L* fits best outweighs the others (Neyman & Scott 1948): of six groups with four
    SAEs each, limits of L* held the truth in 63 %, with it in 95.
    Source: Smyth (2004), Stat. Appl. Genet. Mol. Biol. 3, article 3, for the prior.
    """
    several = np.bincount(units)[units] > 1
    prior, mean = np.where(several, PRIOR, 0.0)[:, None], np.zeros((len(units), 1))
    groups = np.arange(len(units))
    total = np.zeros((int(units.max()) + 1, squares.shape[1]))
    for _ in range(3):  # mean variances at the best of the last round
        with np.errstate(divide="ignore", invalid="ignore"):
            value = (df[:, None] + prior * (mean > 0)) * np.log(squares + prior * mean)
        total[:] = 0.0
        np.add.at(total, units, np.where(np.isfinite(value), value, 1e6))
        least = squares[groups, total.argmin(axis=1)[units]]
        pooled = np.bincount(units, least) / np.maximum(np.bincount(units, df), 1.0)
        mean = np.where(several, pooled[units], 0.0)[:, None]
    return total
