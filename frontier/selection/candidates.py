"""Candidate curves for the points of a fit: by name, by likelihood and AICc, and simulated choices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frontier.curves import DEFAULT_FIXED, VANISHING, Curve, curve_named
from frontier.errors import ADDITIVE, Errors, TwoComponent, errors_model, errors_named
from frontier.fits import held
from frontier.fits.curve_fit import CurveFit
from frontier.fits.errors_model import knees_of
from frontier.problems import Array, Estimate, Problem
from frontier.wording import listed, number

NEAREST, LEAST_TABLES = 0.2, 60
"""The share of simulated choices that are near enough to the observed one, and the least number of them."""
FAR = 60.0
"""Margins of twice the log-likelihood beyond this one are equal."""
CURVES = ("linear", "power", "hill")


@dataclass(frozen=True, eq=False)
class Spec:
    """One candidate: a curve, what of it is held fixed, and an errors model."""

    curve: Curve
    fixed: dict[str, float]
    model: Errors

    @property
    def errors(self) -> str:
        """Name of the errors model."""
        return self.model.name

    @property
    def label(self) -> str:
        """The curve's name, with what is fixed or freed against the default.

        >>> Spec(curve_named("hill"), {"n": 1.0, "top": 1.0}, errors_model("log")).label
        'hill(n=1)'
        """
        usual = DEFAULT_FIXED[self.curve.name]
        said = [f"{p}={number(v)}" for p, v in self.fixed.items() if usual.get(p) != v]
        said += [f"{p}=free" for p in usual if p not in self.fixed]
        return self.curve.name + (f"({', '.join(said)})" if said else "")

    @property
    def k(self) -> int:
        """Estimated parameters, the error variance counted."""
        return sum(p not in self.fixed for p in self.curve.parameters) + 1

    def problem(self, x: Array, y: Array, weights: Array, errors: Errors | None = None) -> Problem:
        """The curve on each column of y (points, replicates); `errors` replaces the spec's own."""
        w = np.broadcast_to(weights[:, None], y.shape)
        return Problem.of(self.curve, x, y, w, errors or self.model, self.fixed)

    def fit(self, x: Array, y: Array, weights: Array, near: Estimate | None = None) -> Estimate:
        """The curve fitted to each column of y.

        `near` is a fit at the same x and weights to start from (left unused where the top is free, whose
        search has starts of its own).
        """
        start = None
        if near is not None and not (self.curve.has_top and "top" not in self.fixed):
            start = np.repeat(near.solution.theta, y.shape[1], axis=1)
        return self.problem(x, y, weights).fit(start)


def specs_of(fit: CurveFit, curves: Sequence[str], errors: str | Sequence[str] | None) -> tuple[Spec, ...]:
    """Candidates by name; an errors model of None is the fit's own.

    A name may fix or free parameters: "hill(n=1)", "hill(top=free)", "linear(intercept=0)". A bare name that
    is the fit's own curve keeps what the fit holds fixed.

    Raises
    ------
    ValueError
        A name that cannot be read, an unknown curve or parameter, or fewer than two candidates.
    """
    curves = (curves,) if isinstance(curves, str) else curves
    models = (errors,) if isinstance(errors, str) else (errors or (fit.errors,))
    names = tuple(fit.errors if m == "auto" else errors_named(m) for m in models)
    specs = {(s.label, s.errors): s for m in names for s in (_spec(fit, c, _model(fit, m)) for c in curves)}
    if len(specs) < 2:
        found = listed([s.label for s in specs.values()])
        raise ValueError(f"a choice needs two or more candidates, found {found}")
    return tuple(specs.values())


def _model(fit: CurveFit, name: str) -> Errors:
    """The fit's own errors model where it has this name; two components are estimated else."""
    if name == fit.errors:
        return fit.problem.errors
    if name == TwoComponent.name:
        points = (fit.x, fit.y, fit.weights_under(ADDITIVE))
        (knees,) = knees_of(fit.problem.curve, [[points]], fit.fixed, of_y=fit.weights_of_y)
        return TwoComponent(knees.likeliest)
    return errors_model(name)


def _spec(fit: CurveFit, name: str, errors: Errors) -> Spec:
    found = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", name)
    if not found:
        raise ValueError(f"cannot read the candidate {name!r}; write e.g. 'hill' or 'hill(n=1)'")
    curve = curve_named(found[1])
    if found[2] is None:
        usual = fit.fixed if curve.name == fit.curve else DEFAULT_FIXED[curve.name]
        return Spec(curve, {**usual, **_vanishing(fit, curve)}, errors)
    fixed, free = {}, []
    for part in filter(None, (p.strip() for p in found[2].split(","))):
        parameter, _, value = (v.strip() for v in part.partition("="))
        if value == "free":
            free.append(parameter)
            continue
        try:
            fixed[parameter] = float(value)
        except ValueError:
            told = f"candidate {name!r}: {part!r} is neither parameter=value nor parameter=free"
            raise ValueError(told) from None
    return Spec(curve, {**held(curve, fixed, free), **_vanishing(fit, curve)}, errors)


def _vanishing(fit: CurveFit, curve: Curve) -> dict[str, float]:
    """Where the fit's curve vanishes, which candidates share that can."""
    return {k: v for k, v in fit.fixed.items() if k == VANISHING and curve.log_x}


def log_likelihood(estimate: Estimate) -> Array:
    """Maximised log-likelihood of y, per column; NaN where the fit failed.

    Errors models compare by it too (see `Errors.log_likelihood`).
    """
    problem, s = estimate.problem, estimate.solution
    value = problem.errors.log_likelihood(problem.y, s.rss, s.weights)
    return np.where(estimate.converged, value, np.nan)


def aicc(likelihood: Array, k: Array, n: float) -> Array:
    """-2 log L + 2 K + 2 K (K + 1) / (N - K - 1), smaller is better; NaN where N <= K + 1.

    K counts the error variance. Source: Hurvich & Tsai (1989); Burnham & Anderson (2002), eq. 2.14.

    >>> import numpy as np
    >>> [float(v) for v in aicc(np.zeros(1), np.array([3]), 6)], aicc(np.zeros(1), np.array([3]), 4)
    ([18.0], array([nan]))
    """
    rest = n - k - 1.0
    correction = np.where(rest > 0, 2 * k * (k + 1) / np.where(rest > 0, rest, 1.0), np.nan)
    return -2 * likelihood + 2 * k + correction


def scores(likelihood: Array, k: Array, n: float) -> Array:
    """What decides, smaller is better; the first axis is candidates.

    -2 log L where all have one K (order and differences are AICc's, and it exists at any N), else AICc.
    """
    k = k.reshape(-1, *[1] * (likelihood.ndim - 1))
    return -2 * likelihood if len(np.unique(k)) == 1 else aicc(likelihood, k, n)


def confusion(total: Array) -> Array:
    """Share of simulated choices, (truths, chosen), from `simulated_scores`."""
    size = len(total)
    table = np.full((size, size), np.nan)
    for truth in range(size):
        known = np.isfinite(total[truth]).any(axis=0)
        if known.any():
            chosen = np.where(np.isnan(total[truth]), np.inf, total[truth]).argmin(axis=0)[known]
            table[truth] = np.bincount(chosen, minlength=size) / known.sum()
    return table


def probability_true(total: Array, observed: Array) -> float:
    """How often the first candidate is the truth among simulated tables that choose it by about this margin.

    All candidates are the truth equally often; the `NEAREST` tables in the margin between the two best
    scores are looked at, one more counted as half right. NaN with fewer than `LEAST_TABLES`.
    """
    if len(observed) < 2 or not total.size:
        return float("nan")
    filled = np.where(np.isnan(total), np.inf, total)
    ordered = np.sort(filled, axis=1)
    with np.errstate(invalid="ignore"):
        margin = ordered[:, 1] - ordered[:, 0]
    chosen = (filled.argmin(axis=1) == 0) & np.isfinite(ordered[:, 0])
    truth = np.broadcast_to(np.arange(len(total))[:, None], margin.shape)[chosen]
    if len(truth) < LEAST_TABLES:
        return float("nan")
    distance = np.abs(np.minimum(margin[chosen], FAR) - min(float(observed[1] - observed[0]), FAR))
    nearest = np.argsort(distance, kind="stable")[: max(LEAST_TABLES, int(NEAREST * len(truth)))]
    return float(((truth[nearest] == 0).sum() + 0.5) / (len(nearest) + 1))
