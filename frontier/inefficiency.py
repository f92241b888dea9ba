"""The frontier from all runs, not only the winners.

A Pareto set is the luckiest part of a search: of 40 runs with 5 % noise and 10 % mean excess, a Hill curve
through it lies above the true frontier, k 7 % low. Here every run counts. Stochastic frontier: log y =
log f(x) + v + u with normal noise v and a half-normal excess u >= 0 that worse runs pay. Quantile: the curve
that a small share of the runs lies below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import erfcx, ndtr

from frontier._format import View, listed, nearest, number, p_value_cell, plural
from frontier.curve_fit import CurveFit, GroupFailure
from frontier.curves import CURVES, Curve
from frontier.fits import fit, fit_points
from frontier.intervals import Interval
from frontier.metrics import give_back
from frontier.pareto import nondominated
from frontier.problems import Array, Quantity, parameter, x_at
from frontier.quantile_frontier import QuantileFrontier
from frontier.ratios import HIGHER_IS_BETTER
from frontier.results import Group, Result
from frontier.stochastic_frontier import STEEPEST, StochasticFrontier, wanted_of

METHODS = ("stochastic", "quantile")
MINIMUM_RUNS = 20
"""With fewer, the runs seldom tell excess from noise: at 5 % noise and 10 % mean excess, 97 of 100 fits of 10
runs end at an edge (no excess, or no noise), 77 of 20 runs, 34 of 40."""


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
    def _source(self) -> StochasticFrontier | QuantileFrontier:
        if self.method == "stochastic":
            return StochasticFrontier.of(self.ordinary, self.ordinary.level)
        return QuantileFrontier.of(self.ordinary, self.quantile, self.replicates, self.seed)

    def _interval(self, quantity: Quantity) -> Interval:
        wanted, source, level = wanted_of(quantity, self.ordinary), self._source, self.ordinary.level
        if isinstance(source, QuantileFrontier):
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
    if isinstance(source, QuantileFrontier):
        return replace(found, doubts=tuple(_quantile_doubts(found)))
    _, _, log_sigma, slope = (float(v) for v in source.theta)
    noise = math.exp(log_sigma) / math.hypot(1, slope)
    errors = {n: source.standard_error(wanted_of(parameter(n), ordinary)) for n in free}
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
