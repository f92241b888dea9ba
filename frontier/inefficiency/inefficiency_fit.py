"""What a frontier from all runs is: `InefficiencyFit` for one group, `InefficiencyFits` for a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import erfcx, ndtr

from frontier.curves import CURVES
from frontier.doubts import Doubt, in_text, placed
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import GroupFailure
from frontier.inefficiency.quantile import QuantileFrontier
from frontier.inefficiency.stochastic import StochasticFrontier, wanted_of
from frontier.intervals import Interval
from frontier.metrics import give_back
from frontier.problems import Array, Quantity, x_at
from frontier.results import Group, Result, in_words
from frontier.views import View
from frontier.wording import listed, nearest, number, p_value_cell, plural


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
        Of log k, n, ... by the observed Hessian; NaN at an edge. At 40 runs 1.96 of them cover 65 % of the
        time where 95 is said, so the intervals do not use them.
    sigma_v, sigma_u : float
        Noise and scale of the half-normal excess, of log y; NaN for a quantile.
    p_excess : float
        Of no excess, by the skewness of the residuals of `ordinary` (Schmidt & Lin 1984), no smaller than
        1 / 5000: 4 to 6 % false alarms for 5 % at 20 to 100 runs.
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
    doubts: tuple[Doubt, ...] = ()

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
        return self.interval_of(x_at(y))

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

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row: the columns of `InefficiencyFits.to_frame`."""
        return give_back(pd.DataFrame([_record(self)]), backend)

    @cached_property
    def source(self) -> StochasticFrontier | QuantileFrontier:
        """What the numbers come from, computed from the data when it is first asked for."""
        if self.method == "stochastic":
            return StochasticFrontier.of(self.ordinary, self.ordinary.level)
        return QuantileFrontier.of(self.ordinary, self.quantile, self.replicates, self.seed)

    def interval_of(self, quantity: Quantity) -> Interval:
        """Interval of any parameter or x at a height (see `problems.Quantity`)."""
        wanted, source, level = wanted_of(quantity, self.ordinary), self.source, self.ordinary.level
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
        return View(title, headers, tuple(rows), (remark,), placed(self.doubts))


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
            there = listed([in_words(f.group) for f in found or self.fits], 12, "; ") or "none"
            told = "; ".join([*reasons[:2], f"there are: {there}"])
            raise KeyError(f"{len(found)} frontiers match {key!r}; {told}")
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
            *(f"{n}, Pareto set" for n in names),
            "mean excess",
        )
        said = (*self.notes, *(f.reason for f in self.failures))
        doubts = tuple(pair for f in self.fits for pair in placed(f.doubts, f.ordinary.name))
        return View(f"{plural(len(self.fits), 'frontier')} from all runs", headers, tuple(rows), said, doubts)


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
    return {**row, "doubts": in_text(f.doubts)}
