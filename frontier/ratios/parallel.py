"""Parameters shared across groups, and the test that decides whether one ratio exists.

Two Hill curves with equal n and top (two power laws with equal exponent) are parallel on log axes: one is
the other at a constant factor of L0, whatever the hit. Where they are not, a ratio depends on where it is
read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import fdtrc

from frontier.curves import VANISHING
from frontier.distributions import f_test, two_sided, welch_df
from frontier.errors import Errors
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits
from frontier.problems import Array, Problem, parameter
from frontier.ratios.known import counts_alone
from frontier.ratios.log_ratio import error_of_limits
from frontier.records import recorded
from frontier.results import Result
from frontier.views import View
from frontier.wording import listed, number, p_value_cell, plural

Data = tuple[Array, Array, Array]
"""x, y and weights of one group."""


@dataclass(frozen=True, eq=False, repr=False)
class SharedFit(Result):
    """Groups fitted together with some parameters in common, against separate fits.

    Attributes
    ----------
    shared : tuple of str
    values : dict of parameter to its common value
    separate : dict of group to the parameters that stay its own
    rss, df : of the shared fit; `rss_separate`, `df_separate` of the free fits
    f, p_f : extra-sum-of-squares F test, which takes the groups' residual variances as equal
    p_welch : Welch's test of equal parameters, with a variance per group (Johansen 1980)

    Of one true n (800 simulated tables each) F at 5 % rejects 5 % at 4 or 15 SAEs a group that err alike,
    18 % where 12 SAEs with 4 % noise stand beside 5 with 12 %, and 1 % the other way round; Welch's test 4,
    5, 6 and 5 %. Of a common k and n together it rejects 1 to 5 %.
    """

    shared: tuple[str, ...]
    values: dict[str, float]
    separate: dict[str, dict[str, float]]
    rss: float
    df: float
    rss_separate: float
    df_separate: float
    f: float
    p_f: float
    p_welch: float = math.nan

    def _view(self) -> View:
        rows = [(p, number(v), "all groups") for p, v in self.values.items()]
        rows += [(p, number(v), g) for g, own in self.separate.items() for p, v in own.items()]
        dfs = f"{number(self.df - self.df_separate)}, {number(self.df_separate)}"
        remark = (
            f"equal in all groups: p = {p_value_cell(self.p_welch)} (Welch, a variance per group); with one "
            f"variance for all F({dfs}) = {number(self.f)}, p = {p_value_cell(self.p_f)}"
        )
        return View(f"Shared {listed(self.shared)}", ("parameter", "value", "group"), tuple(rows), (remark,))


@dataclass(frozen=True, eq=False, repr=False)
class Parallelism(Result):
    """Whether two fits are parallel, so that one relative potency holds at every hit.

    `p_welch` compares the steepness of the two fits with their own variances and decides; `p_f` is the
    extra-sum-of-squares test with a pooled variance. `rejected` is at the 5 % level.
    """

    parameter: str
    family_value: float
    reference_value: float
    p_welch: float
    p_f: float
    errors: str

    @property
    def rejected(self) -> bool:
        """Whether equal steepness is rejected at 5 %."""
        return bool(self.p_welch < 0.05)

    def _view(self) -> View:
        verdict = "rejected: no single ratio exists" if self.rejected else "not rejected"
        values = number(self.family_value), number(self.reference_value)
        row = (self.parameter, *values, p_value_cell(self.p_welch), p_value_cell(self.p_f))
        headers = ("parameter", "family", "reference", "p (Welch)", "p (F)")
        return View(f"Parallel curves ({self.errors} errors): {verdict}", headers, (row,))


@recorded
def shared_fit(fits: Sequence[CurveFit] | FrontierFits, shared: Sequence[str]) -> SharedFit:
    """The fits' groups fitted again with the parameters `shared` in common.

    Parameters
    ----------
    fits : two or more fits of one curve with one errors model
    shared : readable parameters, e.g. ("n",), ("k",) or ("k", "n")

    Raises
    ------
    ValueError
        Fewer than two fits, or one twice; fits that differ in curve, errors or what is fixed, an L* of their
        own (`vanishing_l0="fit_by_family"`) included; a shared parameter that is fixed or unknown, or none.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> shared = frontier.shared_fit([fits["Attn", "gated"], fits["Attn", "baseline"]], ["n"])
    >>> list(shared.shared)
    ['n']
    """
    fits = list(fits)
    _refuse_unlike(fits, shared)
    first = fits[0].problem
    own = [p for p in first.free_names if p not in shared]
    for p in shared:
        if p not in first.free_names:
            raise ValueError(f"{p!r} is not a free parameter; free are {listed(first.free_names)}")
    data = [(f.x, f.y, _weights(f)) for f in fits]
    errors = first.errors.held
    rss, common, separate = (
        _all_shared(first, data, errors) if not own else _one_held(first, data, errors, tuple(shared), fits)
    )
    free_rss = np.array([f.rss for f in fits])
    points = sum(f.n_points for f in fits)
    df0, df1 = float(points - len(shared) - len(own) * len(fits)), float(sum(f.df for f in fits))
    f, p_f = f_test(float(rss.sum() - free_rss.sum()), df0 - df1, float(free_rss.sum()), df1)
    names = {fit.name: {p: values[p] for p in own} for fit, values in zip(fits, separate, strict=True)}
    return SharedFit(
        tuple(shared), common, names, float(rss.sum()), df0, float(free_rss.sum()), df1, f, p_f,
        _welch(fits, shared),
    )  # fmt: skip


def _refuse_unlike(fits: Sequence[CurveFit], shared: Sequence[str]) -> None:
    """Raise where these fits cannot have parameters in common."""
    if len({id(f) for f in fits}) < max(len(fits), 2):
        raise ValueError(f"shared_fit needs two or more fits, each once; found {plural(len(fits), 'fit')}")
    if not shared:
        names = fits[0].problem.free_names
        raise ValueError(f"name what the fits share: {listed(names)}, say [{names[-1]!r}]")
    for what, values in (
        ("curve", [f.curve for f in fits]), ("errors model", [repr(f.problem.errors) for f in fits]),
        ("knee", [number(f.knee) for f in fits]),
        *((p, [number(f.fixed.get(p, math.nan)) for f in fits]) for p in _held_by_any(fits)),
    ):  # fmt: skip
        if len(set(values)) > 1:
            found = listed(list(dict.fromkeys(values)))
            text = f"shared_fit needs fits of one {what}, found {found}"
            if what == VANISHING:
                text += "; fit with vanishing_l0='fit' (one per cell) or a number"
            raise ValueError(text)


def _held_by_any(fits: Sequence[CurveFit]) -> list[str]:
    return list(dict.fromkeys(p for f in fits for p in f.fixed))


@recorded
def parallelism(fit: CurveFit, reference: CurveFit) -> Parallelism:
    """Test of equal steepness (n, exponent, slope) of two fits.

    Raises
    ------
    ValueError
        When the curves differ or the steepness is fixed (they are parallel by construction).

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> frontier.parallelism(fits["Resid", "gated"], fits["Resid", "baseline"]).rejected
    True
    """
    name = fit.problem.curve.steepness
    if fit.curve != reference.curve:
        raise ValueError(f"cannot compare the steepness of {fit.curve} and {reference.curve}")
    if name in fit.fixed or name in reference.fixed:
        raise ValueError(f"{name} is fixed: the curves are parallel by construction")
    value, se, df = [], [], []
    for f, other in ((fit, reference), (reference, fit)):
        value.append(float(f.estimate.working(parameter(name))[0][0]))
        se.append(_error(f, other, name))
        df.append(f.df)
    spread = math.hypot(*se)
    together = float(welch_df(se[0] ** 2, df[0], se[1] ** 2, df[1]))
    p = two_sided((value[0] - value[1]) / spread, together) if spread > 0 else math.nan
    alike = fit.problem.errors == reference.problem.errors and fit.fixed == reference.fixed
    p_f = shared_fit([fit, reference], [name]).p_f if alike else math.nan
    return Parallelism(name, value[0], value[1], p, p_f, fit.errors)


def _error(fit: CurveFit, other: CurveFit, name: str) -> float:
    """Standard error of a parameter on its working scale beside another fit's (`counts_alone`)."""
    value, se = (float(a[0]) for a in fit.estimate.working(parameter(name)))
    if not counts_alone(fit, other):
        return se
    own, log = fit.interval_of(parameter(name)), name in fit.problem.curve.positive
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (np.log(v) if log else v for v in (own.low, own.high))
    return float(error_of_limits(value, se, low, high, fit.df, fit.level))


def _welch(fits: Sequence[CurveFit], shared: Sequence[str]) -> float:
    """P value of equal parameters in all fits, each with its own variance and degrees of freedom.

    Of one parameter in two fits it is Welch's t test. Source: Johansen (1980), Biometrika 67, 85.
    """
    size, found = len(shared), []
    for fit, other in zip(fits, (*fits[1:], fits[0]), strict=True):
        told = [fit.estimate.value_and_gradient(parameter(p)) for p in shared]
        gradient = np.array([slope[:, 0] for _, slope in told])
        covariance = gradient @ fit.estimate.covariance[..., 0] @ gradient.T
        with np.errstate(divide="ignore", invalid="ignore"):
            wider = [_error(fit, other, p) for p in shared] / np.sqrt(np.diag(covariance))
        covariance = covariance * np.outer(wider, wider)
        if not (np.isfinite(covariance).all() and np.linalg.matrix_rank(covariance) == size):
            return math.nan
        found.append((np.array([value[0] for value, _ in told]), np.linalg.inv(covariance), fit.df))
    values, precision, df = (np.array(part) for part in zip(*found, strict=True))
    common = np.linalg.inv(precision.sum(axis=0))
    gap = values - common @ np.einsum("gij,gj->i", precision, values)
    rest = np.eye(size) - common @ precision
    trace = np.trace(rest, axis1=1, axis2=2)
    inexact = float(((np.trace(rest @ rest, axis1=1, axis2=2) + trace**2) / df).sum()) / 2
    f1 = size * (len(fits) - 1)
    scale = f1 + 2 * inexact - 6 * inexact / (f1 + 2)
    square = float(np.einsum("gi,gij,gj->", gap, precision, gap))
    return float(fdtrc(f1, f1 * (f1 + 2) / (3 * inexact), square / scale))


def _weights(fit: CurveFit) -> Array:
    """Weights at the fit's optimum, so that relative errors keep theirs."""
    return fit.estimate.solution.weights[:, 0]


def _all_shared(
    first: Problem, data: Sequence[Data], errors: Errors
) -> tuple[Array, dict[str, float], list[dict[str, float]]]:
    """One curve through all groups."""
    x, y, w = (np.concatenate([d[i] for d in data]) for i in range(3))
    estimate = Problem.of(first.curve, x, y, w, errors, first.fixed).fit()
    values = {p: float(estimate.parameters[p][0]) for p in first.free_names}
    fitted = first.curve.value(x, {p: float(v[0]) for p, v in estimate.parameters.items()})
    square = w * errors.residual(y, fitted) ** 2
    edges = np.cumsum([len(d[0]) for d in data])[:-1]
    return np.array([part.sum() for part in np.split(square, edges)]), values, [{} for _ in data]


def _one_held(
    first: Problem, data: Sequence[Data], errors: Errors, shared: tuple[str, ...], fits: list[CurveFit]
) -> tuple[Array, dict[str, float], list[dict[str, float]]]:
    """One shared parameter: a search over its value, all groups refitted in one engine call each time."""
    if len(shared) > 1:
        raise ValueError(
            f"share one parameter or all free ones ({listed(first.free_names)}), not {listed(shared)}"
        )
    name = shared[0]
    log = name in first.curve.positive
    starts = [math.log(f[name].estimate) if log else f[name].estimate for f in fits]

    def refit(at: float) -> tuple[Array, dict[str, Array]]:
        fixed = {**first.fixed, name: math.exp(at) if log else at}
        estimate = Problem.stacked(first.curve, data, errors, fixed).fit()
        return estimate.solution.rss, estimate.parameters

    low, high = min(starts), max(starts)
    margin = 1e-6 * (1 + abs(high))
    best = minimize_scalar(
        lambda at: float(np.nansum(refit(at)[0])),
        bounds=(low - margin, high + margin),
        method="bounded",
        options={"xatol": 1e-10},
    )
    rss, parameters = refit(float(best.x))
    value = math.exp(best.x) if log else float(best.x)
    return rss, {name: value}, [{p: float(v[i]) for p, v in parameters.items()} for i in range(len(data))]
