"""What a cell's groups share and is estimated with their curves: L*, or the knee of two components.

Intervals that hold it at its estimate are too narrow. Here a quantity is profiled over it too: its limits are
the outermost at any value of it that the data of the whole cell allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from frontier.curves import VANISHING
from frontier.distributions import t_quantile
from frontier.errors import TwoComponent
from frontier.intervals import Interval, intervals_of, profile_to
from frontier.problems import Array, Estimate, Problem, Quantity

KNEE = "knee"
OVER_SHARED = "profile"
"""Of intervals that count what is shared; the others hold it at its estimate."""


@dataclass(frozen=True)
class Nuisance:
    """Values of what is shared, and how far each is from the likeliest.

    Attributes
    ----------
    name : 'vanishing_l0' or 'knee'
    values : tuple of float
        Those that were tried.
    above : tuple of float
        Minus twice the log-likelihood of all groups that share it, above its least.
    """

    name: str
    values: tuple[float, ...]
    above: tuple[float, ...]

    @classmethod
    def of(cls, name: str, values: Array, misfit: Array) -> Nuisance:
        """In the order of the values; what was tried twice is there once, what is impossible is not."""
        values, first = np.unique(values, return_index=True)
        above = misfit[first] - misfit.min()
        possible = np.isfinite(above)
        return cls(name, tuple(map(float, values[possible])), tuple(map(float, above[possible])))

    @property
    def likeliest(self) -> float:
        """The estimate."""
        return self.values[int(np.argmin(self.above))]


def at_values(problem: Problem, name: str, values: Array) -> Problem:
    """The problem with what is shared held at a value per column."""
    if name == VANISHING:
        return replace(problem, fixed={**problem.fixed, VANISHING: values})
    return replace(problem, errors=TwoComponent(values))


def slack(df: ArrayLike, above: ArrayLike, level: float, known: ArrayLike) -> Array:
    """How far log(rss) may rise, at a value that far above the likeliest, for the quantity to stay inside.

    Without anything shared it is log(1 + t^2 / df), the profile's threshold of Bates & Watts (1988), section
    6.1.2; what the value costs all groups is taken from it. `known` is the number of degrees of freedom of
    log(rss) as a log-likelihood, that is N - p.
    """
    df, above, known = (np.asarray(v, dtype=float) for v in (df, above, known))
    return np.asarray(np.log1p(t_quantile(df, level) ** 2 / df) - above / known)


def intervals_with(
    estimate: Estimate, shared: Sequence[tuple[Nuisance, ...]], quantity: Quantity, level: float, method: str
) -> list[Interval]:
    """Intervals of a quantity, one per column; profiles are also over what each column shares.

    With two things shared (L* and a knee), each is held at its estimate for the other.
    """
    if method != OVER_SHARED or not any(shared):
        return intervals_of(estimate, quantity, level, method)
    value = estimate.readable(quantity, estimate.working(quantity)[0])
    low, high = np.full((2, len(value)), np.nan)
    for name in dict.fromkeys(n.name for own in shared for n in own):
        owners = [(i, n) for i, own in enumerate(shared) for n in own if n.name == name]
        columns = [i for i, _ in owners]
        outer = _outermost(estimate.problem, owners, quantity, level)
        low[columns], high[columns] = np.fmin(low[columns], outer[0]), np.fmax(high[columns], outer[1])
    return [
        Interval(float(v), float(lo), float(hi), level) for v, lo, hi in zip(value, low, high, strict=True)
    ]


def _outermost(
    problem: Problem, owners: Sequence[tuple[int, Nuisance]], quantity: Quantity, level: float
) -> Array:
    """Lowest and highest limit of each owner's column at any value that is allowed, (2, owners), readable."""
    name = owners[0][1].name
    sizes = [len(n.values) for _, n in owners]
    owner, columns = (np.repeat(v, sizes) for v in (np.arange(len(owners)), [i for i, _ in owners]))
    values, above = (np.concatenate(v) for v in zip(*((n.values, n.above) for _, n in owners), strict=True))
    df, known = problem.df[columns], problem.n_points[columns] - len(problem.free_names)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = slack(df, above, level, known)
    tried = np.flatnonzero(left > 0)
    at = np.broadcast_to(np.asarray(quantity.at, dtype=float), problem.replicates)
    asked = replace(quantity, at=at[columns[tried]])
    estimate = at_values(problem.take(columns[tried]), name, values[tried]).fit()
    limits = profile_to(estimate, asked, np.sqrt(estimate.problem.df * np.expm1(left[tried])))
    low, high = (estimate.readable(asked, v) for v in limits)
    out = np.full((2, len(owners)), np.nan)
    np.fmin.at(out[0], owner[tried], low)
    np.fmax.at(out[1], owner[tried], high)
    return out
