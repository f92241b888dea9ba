"""Greedy optimal designs: where further points narrow an interval or set two curves apart the most.

A design answers two questions, what is gained now and what each possible further point would make of it;
`greedy` asks them in turn. Gains grow with every useful point: 1 / width^2 and delta^2, both of them linear
in the number of points in the long run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from frontier.distributions import t_quantile
from frontier.engine.objective import RELATIVE_FLOOR
from frontier.fits.curve_fit import CurveFit
from frontier.problems import Array, Problem, Quantity
from frontier.ratios.log_ratio import log_estimate
from frontier.selection.candidates import Spec

DISTINCT = 5
"""A plan names at most this many places per family."""
NEIGHBOURS = 1.15
"""Picks within this factor of each other become one place."""
STRAY = 0.1
"""A place with no more than this share of the picks is left out where the plan loses nothing by it."""


class Design(Protocol):
    """Points so far, and places for more; one set of places per family."""

    def gain(self) -> float:
        """What the points so far reach."""

    def trials(self) -> list[Array]:
        """The gain with one more point at each place, per family; NaN where none can be put."""

    def add(self, family: int, place: int) -> None:
        """Put a point."""


def greedy(design: Design, gain: float, most: int) -> tuple[list[tuple[int, int]], list[float]]:
    """Points put one at a time where they gain most, until `gain` is reached or there are `most`.

    Returns
    -------
    picks : list of (family, place)
    gains : list of float, with 0, 1, 2, ... points more
    """
    picks: list[tuple[int, int]] = []
    gains = [design.gain()]
    while gains[-1] < gain * (1 - 1e-9) and len(picks) < most:
        trials = [np.where(np.isnan(t), -np.inf, t) for t in design.trials()]
        best = max((float(t.max()), -m, -int(t.argmax())) for m, t in enumerate(trials) if t.size)
        if not np.isfinite(best[0]):
            break
        picks.append((-best[1], -best[2]))
        design.add(*picks[-1])
        gains.append(design.gain())
    return picks, gains


def gathered(places: Sequence[float], low: float, high: float) -> Array:
    """At most `DISTINCT` places with three digits: the nearest picks are merged to their geometric mean."""
    values, counts = (list(v) for v in np.unique(np.log(places), return_counts=True))
    while len(values) > 1:
        gaps = np.diff(values)
        i = int(gaps.argmin())
        if gaps[i] >= np.log(NEIGHBOURS) and len(values) <= DISTINCT:
            break
        total = counts[i] + counts[i + 1]
        values[i : i + 2] = [(counts[i] * values[i] + counts[i + 1] * values[i + 1]) / total]
        counts[i : i + 2] = [total]
    rounded = [float(f"{v:.3g}") for v in np.exp(values)]
    return np.clip(np.array(rounded, dtype=float), low, high)


def without_strays(
    design: Callable[[Sequence[Array]], Design], places: Sequence[Array], gain: float, most: int
) -> tuple[list[Array], list[tuple[int, int]], list[float]]:
    """Places that are worth their name, with the picks and gains of the search over them (see `greedy`).

    A place with few picks goes where without it no more points are needed, or as much is reached.
    """
    places = list(places)
    picks, gains = greedy(design(places), gain, most)
    few = max(1.0, STRAY * len(picks))
    strays = [(picks.count((m, j)), m, p) for m, own in enumerate(places) for j, p in enumerate(own)]
    for _, m, place in sorted(s for s in strays if s[0] <= few):
        fewer = [own[own != place] if i == m else own for i, own in enumerate(places)]
        if not any(own.size for own in fewer):
            break
        tried, reached = greedy(design(fewer), gain, most)
        if len(tried) <= len(picks) and reached[-1] >= min(0.999 * gains[-1], gain * (1 - 1e-9)):
            places, picks, gains = fewer, tried, reached
    return places, picks, gains


class Width:
    """Width of the interval of one quantity, or of the ratio of two families' quantities, on the log scale.

    2 t sqrt(v1 + v2), v = sigma^2 g' M^-1 g with the information matrix M at the fitted parameters, t with
    Welch's degrees of freedom. One more point at x adds w j j' to M, j the derivatives of the curve at x on
    the scale of the errors. Source: Fedorov (1972), chapter 2; Sherman & Morrison (1950) for the update.
    """

    def __init__(self, fits: Sequence[CurveFit], quantity: Quantity, places: Sequence[Array]) -> None:
        self.members = [_Precision(f, quantity, x) for f, x in zip(fits, places, strict=True)]
        self.level = fits[0].level

    def gain(self) -> float:
        """1 / width^2."""
        return float(self._gain([(np.array(m.variance), m.df) for m in self.members]))

    def trials(self) -> list[Array]:
        """1 / width^2 with one more point at each place, per family."""
        out = []
        for member in self.members:
            others = [(np.array(m.variance), m.df) for m in self.members if m is not member]
            out.append(self._gain([*others, (member.trial_variances(), member.df + 1)]))
        return out

    def add(self, family: int, place: int) -> None:
        """Put a point."""
        self.members[family].add(place)

    def _gain(self, parts: Sequence[tuple[Array, float]]) -> Array:
        total = np.asarray(sum(v for v, _ in parts))
        df = total**2 / np.asarray(sum(v**2 / d for v, d in parts))
        return 1 / (4 * t_quantile(df, self.level) ** 2 * total)


class _Precision:
    """Variance of one family's quantity, and what a further point makes of it."""

    def __init__(self, fit: CurveFit, quantity: Quantity, places: Array) -> None:
        estimate = fit.estimate
        _, se = estimate.working(quantity)
        if not (np.isfinite(se[0]) and se[0] > 0):
            raise ValueError(
                f"the fit of {fit.name} sets no standard error for this quantity: fixed, or out of reach"
            )
        on_log_scale = log_estimate(estimate, quantity, fit.level, "wald").se / se[0]
        free = np.flatnonzero(estimate.covariance[:, :, 0].diagonal() > 0)
        self.df = fit.df
        self.scale = float(estimate.variance[0]) * (on_log_scale**2 if np.isfinite(on_log_scale) else 1.0)
        self.gradient = estimate.value_and_gradient(quantity)[1][free, 0]
        self.information = estimate.solution.information[np.ix_(free, free)][:, :, 0].copy()
        self.jacobian = np.sqrt(np.median(fit.weights)) * _jacobian(fit, places)[free]
        self._solve()

    def _solve(self) -> None:
        self.inverse = np.linalg.inv(self.information)
        self.variance = float(self.scale * self.gradient @ self.inverse @ self.gradient)

    def trial_variances(self) -> Array:
        leverage = np.einsum("ip,ij,jp->p", self.jacobian, self.inverse, self.jacobian)
        moved = self.gradient @ self.inverse @ self.jacobian
        return self.variance - self.scale * moved**2 / (1 + leverage)

    def add(self, place: int) -> None:
        j = self.jacobian[:, place]
        self.information = self.information + np.outer(j, j)
        self.df += 1
        self._solve()


def _jacobian(fit: CurveFit, x: Array) -> Array:
    """Derivatives of the curve by a, b, log top, in residuals of equal spread, (3, places)."""
    height = np.maximum(fit.predict(x), RELATIVE_FLOOR * fit.y.max())
    return fit.estimate.jacobian(x) / fit.problem.errors.step(height)


class Apart:
    """Squared delta between the fitted curves and a rival refitted to them, summed over the families.

    Source: Atkinson & Fedorov (1975), Biometrika 62, 57 (T-optimality), eq. 1.
    """

    def __init__(self, fits: Sequence[CurveFit], rival: Spec, places: Sequence[Array]) -> None:
        self.members = [_Gap(f, rival, x) for f, x in zip(fits, places, strict=True)]

    def gain(self) -> float:
        """delta^2."""
        return sum(m.now for m in self.members)

    def trials(self) -> list[Array]:
        """delta^2 with one more point at each place, per family."""
        return [self.gain() - m.now + m.trials for m in self.members]

    def add(self, family: int, place: int) -> None:
        """Put a point."""
        self.members[family].add(place)


class _Gap:
    """Squared delta of one family: the rival fitted without noise to points on the fitted curve."""

    def __init__(self, fit: CurveFit, rival: Spec, places: Array) -> None:
        self.fit, self.rival, self.places = fit, rival, places
        self.heights = fit.predict(places)
        self.weight = float(np.median(fit.weights))
        self.counts = np.zeros(len(places))
        self._refresh()

    def add(self, place: int) -> None:
        self.counts[place] += 1
        self._refresh()

    def _refresh(self) -> None:
        """Delta^2 now and with one more point at each place: one batch, the counts as case weights."""
        used = np.flatnonzero(self.counts)
        fixed = self.fit.x, self.fit.predict(self.fit.x), self.fit.weights
        more = self.places[used], self.heights[used], self.weight * self.counts[used]
        x, y, w = (np.concatenate(pair) for pair in zip(fixed, more, strict=True))
        fine = self.fit.problem.errors.defined(self.heights)
        trial_x, trial_y = np.append(self.places, x[0]), np.append(np.where(fine, self.heights, y[0]), y[0])
        trial_w = np.append(np.full(len(self.places), self.weight), 0.0)
        columns = len(trial_x)
        xs, ys, ws = (
            np.vstack([np.repeat(base[:, None], columns, axis=1), trial])
            for base, trial in ((x, trial_x), (y, trial_y), (w, trial_w))
        )
        found = Problem.of(self.rival.curve, xs, ys, ws, self.fit.problem.errors, self.rival.fixed).fit()
        squared = found.solution.rss / self.fit.sigma**2
        self.now, self.trials = float(squared[-1]), np.where(fine, squared[:-1], np.nan)
