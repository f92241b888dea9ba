"""The frontier from all runs, not only the winners.

A Pareto set is the luckiest part of a search: of 40 runs with 5 % noise and 10 % mean excess, a Hill curve
through it lies above the true frontier, k 7 % low. Here every run counts. Stochastic frontier: log y =
log f(x) + v + u with normal noise v and a half-normal excess u >= 0 that worse runs pay. Quantile: the curve
that a small share of the runs lies below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize_scalar
from scipy.special import chdtrc, erfcx, log_ndtr, ndtr

from frontier._format import View, listed, nearest, number, p_value_cell, plural
from frontier.curve_fit import CurveFit, GroupFailure
from frontier.curves import CURVES, Curve
from frontier.fits import fit, fit_points
from frontier.intervals import REACH, Interval, t_quantile
from frontier.metrics import give_back
from frontier.pareto import nondominated
from frontier.problems import Array, Quantity, parameter, x_at
from frontier.ratios import HIGHER_IS_BETTER
from frontier.results import Group, Result

METHODS = ("stochastic", "quantile")
MINIMUM_RUNS = 20
"""With fewer, the runs seldom tell excess from noise: at 5 % noise and 10 % mean excess, 97 of 100 fits of 10
runs end at an edge (no excess, or no noise), 77 of 20 runs, 34 of 40."""
STEEPEST = math.atan(10.0)
"""Largest arctan(sigma_u / sigma_v) that is looked at. A bound of 30 lets a few low runs carry the frontier:
its intervals cover 2 points less."""
SLOPES = np.linspace(0.0, STEEPEST, 21)
CANDIDATES = 4000
"""Curves through two runs that the quantile bootstrap chooses from, the best on all runs first."""
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class _Likelihood:
    """Minus the log-likelihood of runs around a frontier, for several sigma_u / sigma_v at once.

    theta = (a, b, log sigma, slope): the curve is top * h(a + b (X - centre)), sigma^2 = sigma_u^2 +
    sigma_v^2, slope = sigma_u / sigma_v; shape (4, columns).
    """

    curve: Curve
    position: Array
    target: Array

    def __call__(self, theta: Array, centre: float) -> tuple[Array, Array, Array]:
        """Value (columns,), gradient (4, columns) and Hessian (4, 4, columns)."""
        a, b, log_sigma, slope = theta
        u = (self.position - centre)[:, None]
        height, d1, d2 = self.curve.log_link(a + b * u)
        sigma = np.exp(log_sigma)
        r = (self.target[:, None] - height) / sigma
        q = slope * r
        mills = math.sqrt(2 / math.pi) / erfcx(-q / math.sqrt(2))
        value = len(u) * (log_sigma + _HALF_LOG_2PI - math.log(2)) + (0.5 * r**2 - log_ndtr(q)).sum(axis=0)
        bend = mills * (q + mills)
        p1, p2 = r - slope * mills, 1 + slope**2 * bend
        dr = np.stack([-d1 / sigma, -d1 * u / sigma, -r])
        cross = -mills + q * bend
        gradient = np.concatenate([(p1 * dr).sum(axis=1), -(mills * r).sum(axis=0)[None]])
        gradient[2] += len(u)
        second = np.zeros((4, 4, theta.shape[1]))
        second[:3, :3] = np.einsum("nc,inc,jnc->ijc", p2, dr, dr)
        curved, tilted = p1 * d2 / sigma, p1 * d1 / sigma
        moments = [(curved * u**i).sum(axis=0) for i in range(3)]
        second[:2, :2] -= np.array([moments[:2], moments[1:]])
        second[:2, 2] += [tilted.sum(0), (tilted * u).sum(0)]
        second[2, :2] = second[:2, 2]
        second[2, 2] += (p1 * r).sum(axis=0)
        second[3, :3] = second[:3, 3] = (cross * dr).sum(axis=1)
        second[3, 3] = (r**2 * bend).sum(axis=0)
        return value, gradient, second

    def minimise(self, start: Array, centre: float, free: tuple[int, ...]) -> tuple[Array, Array]:
        """Damped Newton in the rows `free` of theta, every column on its own; values and thetas."""
        theta, damping = start.copy(), np.full(start.shape[1], 1e-3)
        rows = list(free)
        with np.errstate(all="ignore"):
            value, gradient, second = self(theta, centre)
            for _ in range(60):
                block = np.moveaxis(second[np.ix_(rows, rows)], -1, 0)
                scale = np.abs(np.einsum("cii->ci", block)) + 1e-12
                block = block + np.eye(len(rows)) * (damping[:, None] * scale)[:, None, :]
                step = np.linalg.solve(block, -gradient[rows].T[..., None])[..., 0].T
                if (np.abs((gradient[rows] * step).sum(axis=0)) < 1e-10).all():
                    break
                trial = theta.copy()
                trial[rows] += np.clip(step, -2, 2)
                new = self(trial, centre)
                better = new[0] < value
                theta, value = np.where(better, trial, theta), np.where(better, new[0], value)
                gradient, second = np.where(better, new[1], gradient), np.where(better, new[2], second)
                damping = np.where(better, damping / 10, damping * 6)
        return value, theta


@dataclass(frozen=True)
class _Search:
    """The stochastic frontier of one group: its optimum, and profiles of quantities around it."""

    likelihood: _Likelihood
    centre: float
    start: Array
    free: tuple[int, ...]

    @classmethod
    def of(cls, ordinary: CurveFit) -> _Search:
        """Starts of every slope: the ordinary curve lowered by the mean excess that its scatter implies."""
        estimate, curve = ordinary.estimate, CURVES[ordinary.curve]
        a, b, log_top = estimate.solution.theta[:, 0]
        centre, position = float(estimate.centre[0]), curve.abscissa(ordinary.x)
        _, d1, _ = curve.log_link(a + b * (position - centre))
        slope = np.tan(SLOPES)
        share = slope**2 / (1 + slope**2)
        sigma = np.sqrt(ordinary.rss / ordinary.n_points / (1 - 2 / math.pi * share))
        fixed = ordinary.fixed
        free = tuple(i for i, name in enumerate((curve.location, curve.steepness)) if name not in fixed)
        lowered = a - sigma * np.sqrt(2 / math.pi * share) / d1.mean() * (0 in free)
        start = np.stack([lowered, np.full_like(slope, b), np.log(sigma), slope])
        return cls(_Likelihood(curve, position, np.log(ordinary.y) - log_top), centre, start, (*free, 2))

    def best(self) -> tuple[float, Array, float]:
        """Smallest minus log-likelihood, theta (4,) there, and the value without excess (slope 0)."""
        value, theta = self.likelihood.minimise(self.start, self.centre, self.free)
        i = int(np.argmin(value))
        around = SLOPES[max(i - 1, 0)], SLOPES[min(i + 1, len(SLOPES) - 1)]

        def at(angle: float) -> tuple[float, Array]:
            start = theta[:, [i]].copy()
            start[3] = math.tan(angle)
            v, t = self.likelihood.minimise(start, self.centre, self.free)
            return float(v[0]), t[:, 0]

        angle = minimize_scalar(
            lambda v: at(v)[0], bounds=around, method="bounded", options={"xatol": 1e-5}
        ).x
        fine = min((at(v) for v in (angle, SLOPES[i])), key=lambda found: found[0])
        return *fine, float(value[0])

    def profile(self, hold: Callable[[float], tuple[int, float, float]]) -> Callable[[float], float]:
        """Minus the log-likelihood with one quantity held, over all slopes.

        `hold` gives for a value of the quantity the row of theta that it fixes, that row's value, and the
        centre. Between slopes of the grid the minimum is that of a parabola.
        """
        warm = self.start.copy()
        warm[0] -= warm[1] * self.centre  # the intercept at X = 0, so that the centre may move

        def value(held: float) -> float:
            row, fixed, centre = hold(held)
            start = warm.copy()
            start[0] += start[1] * centre
            start[row] = fixed
            free = tuple(i for i in self.free if i != row)
            v, theta = self.likelihood.minimise(start, centre, free)
            warm[:] = theta
            warm[0] -= warm[1] * centre
            return _lowest(v)

        return value


def _lowest(v: Array) -> float:
    i = int(np.argmin(v))
    if not 0 < i < len(v) - 1:
        return float(v[i])
    left, middle, right = v[i - 1 : i + 2]
    bend = left - 2 * middle + right
    return float(middle - (left - right) ** 2 / (8 * bend)) if bend > 0 else float(middle)


@dataclass(frozen=True)
class _Draws:
    """Quantile curves of a group and of its case-bootstrap resamples: (a, b), each (1 + replicates,)."""

    a: Array
    b: Array
    centre: float

    @classmethod
    def of(cls, ordinary: CurveFit, quantile: float, replicates: int, seed: int) -> _Draws:
        """All curves through as many runs as there are free parameters, scored on every resample at once.

        A quantile curve passes through that many runs (Koenker & Bassett 1978, theorem 3.1; for a Hill curve
        to the order of its bend between runs).
        """
        search = _Search.of(ordinary)
        curve, target = search.likelihood.curve, search.likelihood.target
        u = search.likelihood.position - search.centre
        a, b = _through(u, curve.inverse_link(np.exp(target)), search)
        residual = target - curve.log_link(a[:, None] + b[:, None] * u)[0]
        loss = residual * (quantile - (residual < 0))
        kept = np.argsort(loss.sum(axis=1), kind="stable")[:CANDIDATES]
        rng = np.random.default_rng(seed)
        counts = rng.multinomial(len(u), np.full(len(u), 1 / len(u)), size=replicates)
        score = loss[kept] @ np.vstack([np.ones(len(u)), counts]).T
        chosen = kept[np.argmin(score, axis=0)]
        return cls(a[chosen], b[chosen], search.centre)

    def interval(
        self, value: Callable[[Array, Array, float], Array], level: float
    ) -> tuple[float, float, float]:
        """A function of (a, b, centre) for the group, and its percentiles over resamples."""
        v = value(self.a, self.b, self.centre)
        low, high = np.quantile(v[1:], [0.5 - level / 2, 0.5 + level / 2])
        return float(v[0]), float(low), float(high)


def _through(u: Array, height: Array, search: _Search) -> tuple[Array, Array]:
    """(a, b) of the rising curves through the points (u, height on the link's scale)."""
    a, b = search.start[0, 0], search.start[1, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        if search.free == (0, 1, 2):
            i, j = np.triu_indices(len(u), 1)
            steep = (height[j] - height[i]) / (u[j] - u[i])
            at = height[i] - steep * u[i]
        elif 0 in search.free:
            at, steep = height - b * u, np.full(len(u), b)
        else:
            at, steep = np.full(len(u), a), (height - a) / u
    good = np.isfinite(at) & np.isfinite(steep) & (steep > 0)
    return at[good], steep[good]


@dataclass(frozen=True)
class _Wanted:
    """A quantity as a function of (a, b, centre), and how holding it fixes one row of theta."""

    working: Callable[[Any, Any, float], Any]
    hold: Callable[[float], tuple[int, float, float]]
    log: bool

    def interval(self, estimate: float, low: float, high: float, level: float) -> Interval:
        """The limits as a user reads them."""
        with np.errstate(over="ignore"):
            v = np.exp([estimate, low, high]) if self.log else np.array([estimate, low, high])
        return Interval(float(v[0]), float(v[1]), float(v[2]), level)


def _wanted(quantity: Quantity, ordinary: CurveFit) -> _Wanted:
    curve, centre = CURVES[ordinary.curve], float(ordinary.estimate.centre[0])
    pinned, _, log_top = ordinary.estimate.solution.theta[:, 0]
    if quantity.name == curve.steepness:
        return _Wanted(lambda a, b, c: b, lambda v: (1, v, centre), log=False)
    if quantity.name == "scale":
        return _Wanted(lambda a, b, c: a - b * c, lambda v: (0, v, 0.0), log=True)
    level = 0.0 if quantity.name == "k" else float(curve.inverse_link(np.exp(np.log(quantity.at) - log_top)))
    if math.isnan(level):
        raise ValueError(f"the {curve.name} curve never reaches y = {quantity.at}")

    def hold(v: float) -> tuple[int, float, float]:
        """Through (v, level): by the height at v, or by the steepness where the location is fixed."""
        return (
            (1, (level - pinned) / (v - centre), centre)
            if curve.location in ordinary.fixed
            else (0, level, v)
        )

    return _Wanted(lambda a, b, c: c + (level - a) / b, hold, log=True)


@dataclass(frozen=True)
class _Stochastic:
    """The stochastic frontier of one group, as its likelihood tells it."""

    search: _Search
    value: float
    theta: Array
    p_excess: float
    wrong_skew: bool
    margin: float

    @classmethod
    def of(cls, ordinary: CurveFit, level: float) -> _Stochastic:
        search = _Search.of(ordinary)
        value, theta, without = search.best()
        runs, df = ordinary.n_points, ordinary.n_points - len(search.free) - 1
        margin = 0.5 * runs * math.log1p(float(t_quantile(df, level)) ** 2 / df)
        residual = np.log(ordinary.y / ordinary.predict(ordinary.x))
        wrong = float(((residual - residual.mean()) ** 3).sum()) <= 0 and without - value < margin
        gain = max(2 * (without - value), 0.0)
        p = 1.0 if wrong or not gain else 0.5 * float(chdtrc(1, gain))
        return cls(search, value, search.start[:, 0] if wrong else theta, p, wrong, margin)

    def interval(self, wanted: _Wanted, step: float, level: float) -> Interval:
        """Where the profiled likelihood falls by the margin; infinite where it never does (factor 1e6)."""
        a, b, *_ = self.theta
        estimate = float(wanted.working(a, b, self.search.centre))
        limits = []
        for side in (-1.0, 1.0):
            profile = self.search.profile(wanted.hold)

            def above(d: float, side: float = side, profile: Callable[[float], float] = profile) -> float:
                return profile(estimate + side * d) - self.value - self.margin

            limits.append(estimate + side * _root(above, step))
        return wanted.interval(estimate, limits[0], limits[1], level)

    def standard_error(self, wanted: _Wanted) -> float:
        """By the observed Hessian, on the working scale; NaN at an edge of the slope."""
        if not 0 < self.theta[3] < 0.999 * math.tan(STEEPEST):
            return math.nan
        rows = [*self.search.free, 3]
        a, b, c = self.theta[0], self.theta[1], self.search.centre
        _, _, second = self.search.likelihood(self.theta[:, None], c)
        tilt = 1e-6 * np.eye(2)
        ends = [[float(wanted.working(a + s * t[0], b + s * t[1], c)) for s in (1, -1)] for t in tilt]
        gradient = np.array([(up - down) / 2e-6 for up, down in ends] + [0.0, 0.0])[rows]
        variance = float(gradient @ np.linalg.pinv(second[np.ix_(rows, rows)][..., 0]) @ gradient)
        return math.sqrt(variance) if variance > 0 else math.nan


def _root(above: Callable[[float], float], step: float) -> float:
    """The distance at which a rising function reaches 0, sought from `step` on; infinite beyond `REACH`."""
    near, far = 0.0, step
    while above(far) < 0:
        near, far = far, 2 * far
        if far > REACH:
            return math.inf
    return float(brentq(above, near, far, xtol=1e-5)) if above(near) < 0 else near


@dataclass(frozen=True, eq=False, repr=False)
class InefficiencyFit(Result):
    """A frontier fitted to all runs of one group.

    Attributes
    ----------
    ordinary : CurveFit
        Least squares in log y through the same runs, which holds the data; `pareto` is the fit through their
        Pareto set alone (None where that cannot be fitted).
    parameters : dict of str to Interval
        Profile likelihood (stochastic) or percentiles of the case bootstrap (quantile).
    standard_errors : dict of str to float
        Of log k, n, ... by the observed Hessian. At 40 runs these are too small (1.96 of them cover about
        75 % of the time), so they make no interval here; NaN at an edge.
    sigma_v, sigma_u : float
        Noise and scale of the half-normal excess, of log y; NaN for a quantile.
    p_excess : float
        Likelihood-ratio test of sigma_u = 0, half a chi2(1) (Coelli 1995).
    """

    method: str
    ordinary: CurveFit
    pareto: CurveFit | None
    parameters: dict[str, Interval]
    standard_errors: dict[str, float]
    sigma_v: float
    sigma_u: float
    p_excess: float
    quantile: float
    replicates: int
    seed: int
    doubts: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Interval:
        try:
            return self.parameters[name]
        except KeyError:
            known = nearest(name, self.parameters)
            raise KeyError(f"{self.ordinary.curve} has no parameter {name!r}{known}") from None

    @property
    def group(self) -> Group:
        """The values of the group columns."""
        return self.ordinary.group

    @property
    def mean_excess(self) -> float:
        """By how much a run's y exceeds the frontier in the mean, a fraction: E[exp(u)] - 1."""
        return 2 * math.exp(self.sigma_u**2 / 2) * float(ndtr(self.sigma_u)) - 1

    def predict(self, x: ArrayLike) -> Array:
        """The frontier's height at x, shape of x."""
        values = {name: p.estimate for name, p in self.parameters.items()}
        return CURVES[self.ordinary.curve].value(x, values)

    def x_at(self, y: float) -> Interval:
        """The x at which the frontier reaches height `y`."""
        return self._interval(x_at(y))

    def runs(self) -> pd.DataFrame:
        """Every run: row, x, y, frontier, and `excess`, what it has lost to the frontier in log y.

        Stochastic: the expectation of u given the run, E[u | v + u]; source: Jondrow, Lovell, Materov &
        Schmidt (1982), Journal of Econometrics 19, 233, eq. 2. Quantile: log y - log frontier.
        """
        f = self.ordinary
        height = self.predict(f.x)
        excess = np.log(f.y / height)
        if self.method == "stochastic":
            total = math.hypot(self.sigma_u, self.sigma_v)
            middle, spread = excess * (self.sigma_u / total) ** 2, self.sigma_u * self.sigma_v / total
            z = middle / spread if spread else np.zeros_like(middle)
            excess = middle + spread * math.sqrt(2 / math.pi) / erfcx(-z / math.sqrt(2))
        return pd.DataFrame({"row": f.rows, "x": f.x, "y": f.y, "frontier": height, "excess": excess})

    def to_frame(self) -> pd.DataFrame:
        """One row: the columns of `InefficiencyFits.to_frame`."""
        return pd.DataFrame([_record(self)])

    @cached_property
    def _source(self) -> _Stochastic | _Draws:
        if self.method == "stochastic":
            return _Stochastic.of(self.ordinary, self.ordinary.level)
        return _Draws.of(self.ordinary, self.quantile, self.replicates, self.seed)

    def _interval(self, quantity: Quantity) -> Interval:
        wanted, source, level = _wanted(quantity, self.ordinary), self._source, self.ordinary.level
        if isinstance(source, _Draws):
            return wanted.interval(*source.interval(wanted.working, level), level)
        step = float(self.ordinary.estimate.working(quantity)[1][0])
        return source.interval(wanted, step, level)

    def _view(self) -> View:
        beside = {"all runs, least squares": self.ordinary, "Pareto set only": self.pareto}
        how = self.method if self.method == "stochastic" else f"{number(self.quantile)} quantile"
        rows = [(f"{how} frontier", *map(str, self.parameters.values()))]
        rows += [(k, *map(str, v.parameters.values())) for k, v in beside.items() if v is not None]
        f = self.ordinary
        title = f"{f.curve.capitalize()} frontier of {f.name} from {plural(f.n_points, 'run')}"
        remark = f"percentiles of {self.replicates} case-bootstrap resamples (seed {self.seed})"
        if self.method == "stochastic":
            remark = (
                f"noise {number(100 * self.sigma_v, 2)} %, mean excess {number(100 * self.mean_excess, 2)} % "
                f"(no excess: p = {p_value_cell(self.p_excess)}); profile-likelihood intervals"
            )
        headers = ("", *(f"{n} [{100 * f.level:g} %]" for n in self.parameters))
        return View(title, headers, tuple(rows), (*self.doubts, remark))


@dataclass(frozen=True, eq=False, repr=False)
class InefficiencyFits(Result):
    """One frontier per group; groups that cannot carry one are listed with the reason."""

    fits: tuple[InefficiencyFit, ...]
    failures: tuple[GroupFailure, ...]
    group_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[InefficiencyFit]:
        return iter(self.fits)

    def __len__(self) -> int:
        return len(self.fits)

    def __getitem__(self, key: Any) -> InefficiencyFit:
        if isinstance(key, (int, np.integer)):
            return self.fits[key]
        wanted = key if isinstance(key, tuple) else (key,)
        found = [f for f in self.fits if all(w in f.group.values() for w in wanted)]
        if len(found) != 1:
            reasons = [f.reason for f in self.failures if all(w in f.group.values() for w in wanted)]
            raise KeyError(
                f"{len(found)} frontiers match {key!r}{'; ' + listed(reasons, 2) if reasons else ''}"
            )
        return found[0]

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per group.

        Returns
        -------
        DataFrame
            The group columns, `curve`, `method`, `n_points`; for every parameter p the columns p, p_low,
            p_high, ordinary_p (all runs, least squares), pareto_p (Pareto set only); `sigma_v`, `sigma_u`,
            `mean_excess`, `p_excess`, `doubts`, which holds the reason where a group has no frontier.
        """
        rows = [_record(f) for f in self.fits]
        rows += [{**f.group, "n_points": f.n_points, "doubts": f.reason} for f in self.failures]
        return give_back(pd.DataFrame(rows), backend)

    def _view(self) -> View:
        names = tuple(self.fits[0].parameters) if self.fits else ()
        rows = [
            (
                *map(str, f.group.values()), str(f.ordinary.n_points), *map(str, f.parameters.values()),
                *(number(f.pareto[n].estimate) if f.pareto else "" for n in names), number(f.mean_excess),
            )
            for f in self.fits
        ]  # fmt: skip
        headers = (
            *self.group_columns,
            "runs",
            *names,
            *(f"{n}, Pareto set only" for n in names),
            "mean excess",
        )
        said = [*self.notes, *(f"{f.ordinary.name}: {d}" for f in self.fits for d in f.doubts)]
        said += [f.reason for f in self.failures]
        return View(f"{plural(len(self.fits), 'frontier')} from all runs", headers, tuple(rows), tuple(said))


def fit_frontier(
    table: Any,
    curve: str | Curve = "hill",
    by: Any = None,
    *,
    method: str = "stochastic",
    quantile: float = 0.1,
    replicates: int = 999,
    seed: int = 0,
    y: str | None = None,
    **options: Any,
) -> InefficiencyFits:
    """The frontier of every group, from all its runs.

    Stochastic: log y = log f(x) + v + u, v normal, u half-normal and never negative, by maximum likelihood;
    profile-likelihood intervals. Quantile: the curve that a share `quantile` of the runs lies below, least
    absolute weighted deviations in log y; percentiles of a seeded case bootstrap.

    Parameters
    ----------
    table : anything that `metrics_table` takes
        All runs, not a Pareto set. They should be tries at one thing: what differs between them besides the
        setting (seed, learning rate, training length) is what the excess measures.
    curve : {"hill", "power"}
    method : {"stochastic", "quantile"}
    y : column name
        Default performance_hit; lower must be better.
    **options
        `x`, `max_l0`, `fixed`, `level`, `family`, `across` of `frontier.fit`.

    Raises
    ------
    TableError
        As `fit`.
    ValueError
        Unknown method or curve, a quantile outside (0, 0.5].

    Notes
    -----
    Sources: Aigner, Lovell & Schmidt (1977), Journal of Econometrics 6, 21 (as a cost frontier); Waldman
    (1982), ibid. 18, 275, for the wrong skew; Koenker & Bassett (1978), Econometrica 46, 33.
    """
    _check(method, curve, quantile)
    found = fit(table, curve, by, y=y, errors="log", **options)
    fits: list[InefficiencyFit] = []
    failures = list(found.failures)
    for ordinary in found:
        reason = _unfit(ordinary)
        if reason:
            failures.append(GroupFailure(ordinary.group, reason, ordinary.n_points))
        else:
            fits.append(_frontier(ordinary, method, quantile, replicates, seed))
    return InefficiencyFits(tuple(fits), tuple(failures), found.group_columns, found.notes)


def fit_frontier_points(
    x: ArrayLike,
    y: ArrayLike,
    curve: str | Curve = "hill",
    *,
    method: str = "stochastic",
    quantile: float = 0.1,
    replicates: int = 999,
    seed: int = 0,
    **options: Any,
) -> InefficiencyFit:
    """One frontier from plain arrays; parameters are those of `fit_frontier` (`fixed`, `level`).

    Raises
    ------
    ValueError
        When the arrays cannot carry a frontier.
    """
    _check(method, curve, quantile)
    ordinary = fit_points(x, y, curve, errors="log", **options)
    reason = _unfit(ordinary)
    if reason:
        raise ValueError(reason)
    return _frontier(ordinary, method, quantile, replicates, seed)


def _check(method: str, curve: str | Curve, quantile: float) -> None:
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}{nearest(method, METHODS)}")
    name = str(getattr(curve, "name", curve)).lower()
    if name == "linear":
        raise ValueError("a frontier in log y needs a positive curve: hill or power, found linear")
    if not 0 < quantile <= 0.5:
        raise ValueError(f"quantile must lie in (0, 0.5], found {quantile}")


def _unfit(ordinary: CurveFit) -> str:
    """Why a group cannot carry a frontier; empty when it can."""
    if ordinary.y_name in HIGHER_IS_BETTER:
        return f"{ordinary.y_name} is better when higher; a frontier from below needs e.g. performance_hit."
    if ordinary.errors != "log":
        return f"Some y of group {ordinary.name} are not positive, so log y is undefined."
    if "top" in ordinary.problem.free_names:
        return "The top must be fixed: excess and a free top cannot be told apart."
    if ordinary.n_points < MINIMUM_RUNS:
        return (
            f"Group {ordinary.name} has {plural(ordinary.n_points, 'run')}; telling excess from noise needs "
            f"at least {MINIMUM_RUNS}."
        )
    if not ordinary.sigma > 1e-9:
        return f"The runs of group {ordinary.name} lie on one curve: there is no excess to measure."
    return ""


def _frontier(
    ordinary: CurveFit, method: str, quantile: float, replicates: int, seed: int
) -> InefficiencyFit:
    nan, fixed = math.nan, ordinary.fixed
    keep = nondominated(np.column_stack([-ordinary.x, ordinary.y]))
    options: dict[str, Any] = {"errors": "log", "fixed": fixed, "level": ordinary.level}
    try:
        pareto = fit_points(ordinary.x[keep], ordinary.y[keep], ordinary.curve, **options)
    except ValueError:  # too few points
        pareto = None
    bare = InefficiencyFit(method, ordinary, pareto, {}, {}, nan, nan, nan, quantile, replicates, seed)
    free = ordinary.problem.free_names
    parameters = {n: bare._interval(parameter(n)) if n in free else p for n, p in ordinary.parameters.items()}
    found, source = replace(bare, parameters=parameters), bare._source
    if isinstance(source, _Draws):
        return replace(found, doubts=tuple(_quantile_doubts(found)))
    _, _, log_sigma, slope = (float(v) for v in source.theta)
    noise = math.exp(log_sigma) / math.hypot(1, slope)
    errors = {n: source.standard_error(_wanted(parameter(n), ordinary)) for n in free}
    found = replace(
        found, standard_errors=errors, sigma_v=noise, sigma_u=slope * noise, p_excess=source.p_excess
    )
    return replace(found, doubts=tuple(_stochastic_doubts(found, source.wrong_skew)))


def _stochastic_doubts(found: InefficiencyFit, wrong_skew: bool) -> Iterator[str]:
    if wrong_skew:
        yield (
            "Wrong skew: the runs show no one-sided excess; this is the ordinary fit. The limits allow for "
            "an excess that these runs cannot show."
        )
    elif found.p_excess > 0.05:
        yield f"Noise alone explains the scatter as well (no excess: p = {p_value_cell(found.p_excess)})."
    if found.sigma_u > 0.999 * math.tan(STEEPEST) * found.sigma_v:
        yield "All scatter is read as excess, none as noise: the frontier hangs on the lowest runs."
    yield from _extrapolation(found)


def _quantile_doubts(found: InefficiencyFit) -> Iterator[str]:
    below = found.quantile * found.ordinary.n_points
    if below < 5:
        yield f"About {number(below, 2)} runs lie below this quantile and carry it; interval too narrow."
    yield from _extrapolation(found)


def _extrapolation(found: InefficiencyFit) -> Iterator[str]:
    if "k" in found.parameters:
        factor = found["k"].estimate / float(found.ordinary.x.max())
        if factor > 1:
            yield f"k is {number(factor, 2)} times the largest x: extrapolated; x_at(y) need not be."


def _record(f: InefficiencyFit) -> dict[str, Any]:
    row: dict[str, Any] = {
        **f.group,
        "curve": f.ordinary.curve,
        "method": f.method,
        "n_points": f.ordinary.n_points,
    }
    for name, p in f.parameters.items():
        pareto = f.pareto[name].estimate if f.pareto else math.nan
        row |= {name: p.estimate, f"{name}_low": p.low, f"{name}_high": p.high}
        row |= {f"ordinary_{name}": f.ordinary[name].estimate, f"pareto_{name}": pareto}
    row |= {"sigma_v": f.sigma_v, "sigma_u": f.sigma_u, "mean_excess": f.mean_excess, "p_excess": f.p_excess}
    return {**row, "doubts": " ".join(f.doubts)}
