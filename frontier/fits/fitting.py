"""Fit curves to groups of SAEs: from a metrics table (`fit`) or from plain arrays (`fit_points`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from frontier.curves import DEFAULT_FIXED, Curve, curve_named
from frontier.errors import ADDITIVE, LOG, RELATIVE, Errors, TwoComponent, errors_model, errors_named, stacked
from frontier.fits import doubts as say
from frontier.fits.curve_fit import CurveFit, FrontierFits, GroupFailure
from frontier.fits.errors_model import choose_errors, two_component
from frontier.fits.errors_model import evidence as evidence_of
from frontier.fits.points import Points, points_of
from frontier.fits.residuals import curvature_left
from frontier.groups import Groups, guard
from frontier.intervals import Interval, intervals_of, leave_one_out, leverages
from frontier.metrics import default_y, metrics_table, usable
from frontier.metrics.axes import better_of, usual_curve, usual_curve_remark
from frontier.problems import Array, Estimate, Problem, parameter
from frontier.wording import listed, nearest, plural


@dataclass(frozen=True)
class Settings:
    """What all groups of one call share."""

    curve: Curve
    fixed: dict[str, float]
    level: float
    intervals: str
    x_name: str
    y_name: str
    y_better: str = ""


def fit(
    table: Any,
    curve: str | Curve | None = None,
    by: Sequence[str] | str | None = None,
    *,
    x: str = "sparsity",
    y: str | None = None,
    errors: str = "auto",
    max_l0: float | None = None,
    fixed: Mapping[str, float] | None = None,
    free: Sequence[str] = (),
    weights: str | None = None,
    level: float = 0.95,
    intervals: str = "profile",
    family: str = "family",
    across: Sequence[str] = (),
) -> FrontierFits:
    """`curve` fitted to every group of SAEs in `table`.

    All usable rows are fitted: pass `pareto_set(table)` for frontiers.

    Parameters
    ----------
    table : anything that `metrics_table` takes
    curve : {"linear", "power", "hill"}
        Default: Hill with top 1 where y is a share of what can be lost, else a power law.
    by : column names, optional
        Cells, as in `pareto_set`. Families are always kept apart.
    x, y : column names
        Default sparsity (1/L0) and performance_hit (`fvu` where loss recovered is unknown).
    errors : {"auto", "additive", "log", "two_component", "relative"}
        Additive: least squares in y. Log: least squares in log y. Two components: a share of the fitted
        height and a fixed amount (Rocke & Durbin), for y of any sign. Relative: variance proportional to
        fitted^2, for positive y. Auto: chosen per cell by the likelihood pooled over its groups among the
        models that take all its y; log where the others are not higher by more than 2.
    max_l0 : float, optional
        Rows with a larger L0 are left out.
    fixed : dict of parameter to value
        E.g. {"n": 1} for Hill, {"intercept": 0} for the line. Hill's top is fixed at 1 unless freed.
    free : parameter names
        E.g. ["top"].
    weights : column name or "se", optional
        "se": one over the squared standard error in y's `_se` column.
    level : float
        Confidence level, a fraction.
    intervals : {"profile", "wald", "bootstrap"}
    across : column names
        Columns among protocol, ablation, model, site, layer whose values may meet in one fit.

    Returns
    -------
    FrontierFits
        Groups that cannot be fitted are listed with the reason and do not stop the others.

    Raises
    ------
    TableError
        Unknown column, no usable row, or rows that must not meet in one fit.
    ValueError
        Unknown curve, parameter, errors model or interval method.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> round(fits["Resid", "gated"]["k"].estimate, 2)
    6.28
    """
    table = metrics_table(table)
    y = default_y(table) if y is None else y
    spec = curve_named(usual_curve(y) if curve is None else curve)
    groups = Groups.of(table, by, family)
    settings = Settings(spec, held(spec, fixed, free), level, intervals, x, y, better_of(table, y))
    points, remarks = points_of(
        table, groups, x, y, log_x=spec.log_x, max_l0=max_l0, weights=weights, across=across
    )
    guard(usable(table), groups.columns, across)
    cells = [tuple(groups.cell_of(p.group).values()) for p in points]
    fits, failures, evidence = fit_groups(points, errors_named(errors), settings, cells)
    chosen = usual_curve_remark(y) if curve is None else ""
    notes = tuple(r for r in (*groups.notes, *remarks, chosen, evidence, curvature_left(fits)) if r)
    return FrontierFits(spec.name, fits, failures, groups.columns, groups.family, notes)


def fit_points(
    x: ArrayLike,
    y: ArrayLike,
    curve: str | Curve = "hill",
    *,
    errors: str = "auto",
    weights: ArrayLike | None = None,
    fixed: Mapping[str, float] | None = None,
    free: Sequence[str] = (),
    level: float = 0.95,
    intervals: str = "profile",
) -> CurveFit:
    """One curve through plain arrays.

    Parameters are those of `frontier.fit`.

    Raises
    ------
    ValueError
        When the arrays do not match, hold NaN, or cannot carry the curve.

    Examples
    --------
    >>> import frontier
    >>> x = [0.01, 0.02, 0.04, 0.08]
    >>> fit = frontier.fit_points(x, [0.05, 0.09, 0.17, 0.29], "hill")
    >>> round(fit["k"].estimate, 2), round(fit["n"].estimate, 2)
    (0.2, 0.99)
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if xs.shape != ys.shape or xs.ndim != 1:
        raise ValueError(f"x and y must be two vectors of one length, found shapes {xs.shape} and {ys.shape}")
    if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise ValueError("x and y must be finite")
    w = np.ones_like(xs) if weights is None else np.asarray(weights, dtype=float)
    spec = curve_named(curve)
    points = Points({}, xs, ys, w, tuple(str(i) for i in range(len(xs))), len(xs))
    settings = Settings(spec, held(spec, fixed, free), level, intervals, "x", "y")
    fits, failures, _ = fit_groups([points], errors_named(errors), settings)
    if failures:
        raise ValueError(failures[0].reason)
    return fits[0]


def held(curve: Curve, fixed: Mapping[str, float] | None, free: Sequence[str]) -> dict[str, float]:
    """Parameters held fixed: the curve's defaults, with `fixed` added and `free` released.

    Raises
    ------
    ValueError
        An unknown parameter, one that is both, or a value out of range.
    """
    names = {**dict.fromkeys(free), **(fixed or {})}
    for name in names:
        if name not in curve.parameters:
            raise ValueError(f"{curve.name} has no parameter {name!r}{nearest(str(name), curve.parameters)}")
    both = set(free) & set(fixed or {})
    if both:
        raise ValueError(f"{listed(sorted(both))} cannot be both fixed and free")
    out = {k: v for k, v in DEFAULT_FIXED[curve.name].items() if k not in free}
    for name, value in (fixed or {}).items():
        if not math.isfinite(value) or (name in curve.positive and value <= 0):
            raise ValueError(f"{name} cannot be fixed at {value!r}")
        out[name] = float(value)
    if len(out) == len(curve.parameters):
        raise ValueError("all parameters are fixed; there is nothing to fit")
    return out


def fit_groups(
    groups: Sequence[Points], errors: str, settings: Settings, cells: Sequence[tuple[Any, ...]] | None = None
) -> tuple[tuple[CurveFit, ...], tuple[GroupFailure, ...], str]:
    """Fits and failures of `groups`, in their order, and one sentence on the choice of errors.

    Groups of one cell (same model, site, layer) always share an errors model.
    """
    cells = list(cells) if cells is not None else [(i,) for i in range(len(groups))]
    chosen, evidence = _errors_of(groups, errors, settings, cells)
    outcome: dict[int, CurveFit | GroupFailure] = {}
    for i, g in enumerate(groups):
        reason = _unfit(g, settings, chosen[i])
        if reason:
            outcome[i] = GroupFailure(g.group, reason, len(g.x))
    for model in dict.fromkeys(e.name for e in chosen):
        ready = [i for i, e in enumerate(chosen) if e.name == model and i not in outcome]
        if ready:
            together = stacked([chosen[i] for i in ready])
            found = _fit_batch([groups[i] for i in ready], together, settings, errors)
            outcome |= dict(zip(ready, found, strict=True))
    able = [i for i, g in enumerate(groups) if not _unfit(g, settings, chosen[i])]
    fell_back = {cells[i] for i in able if isinstance(outcome[i], GroupFailure) and chosen[i].name != errors}
    again = [i for i in able if cells[i] in fell_back and isinstance(chosen[i], TwoComponent)]
    if again:  # a cell keeps one errors model, so all of it changes over
        found = _fit_batch([groups[i] for i in again], ADDITIVE, settings, errors)
        outcome |= dict(zip(again, found, strict=True))
        count = plural(len(again), "group")
        evidence += f"; additive in {count} of cells where two-component errors found no optimum"
    ordered = [outcome[i] for i in range(len(groups))]
    fits = tuple(f for f in ordered if isinstance(f, CurveFit))
    failures = tuple(f for f in ordered if isinstance(f, GroupFailure))
    return fits, failures, evidence


def _errors_of(
    groups: Sequence[Points], errors: str, settings: Settings, cells: Sequence[tuple[Any, ...]]
) -> tuple[list[Errors], str]:
    """The errors model of each group, and one sentence on how it was chosen."""
    if errors in (ADDITIVE.name, RELATIVE.name):
        return [errors_model(errors)] * len(groups), ""
    names = list(dict.fromkeys(cells))
    members = [[g for g, c in zip(groups, cells, strict=True) if c == name] for name in names]
    data = [[(g.x, g.y, g.weights) for g in m if len(g.x)] for m in members]
    se = [max((g.known_se for g in m), default=0.0) for m in members]
    if errors == "auto":
        choices = choose_errors(settings.curve, data, settings.fixed, se)
        own = dict(zip(names, (c.errors for c in choices), strict=True))
        return [own[c] for c in cells], evidence_of(choices)
    wanted = [errors != LOG.name or not all(LOG.defined(y).all() for _, y, _ in d) for d in data]
    ready = [i for i, w in enumerate(wanted) if w]
    two = two_component(settings.curve, [data[i] for i in ready], settings.fixed, [se[i] for i in ready])
    found: dict[tuple[Any, ...], Errors] = {names[i]: t for i, t in zip(ready, two, strict=True)}
    return [found.get(c, LOG) for c in cells], ""


def _unfit(g: Points, settings: Settings, errors: Errors) -> str:
    """Why a group cannot carry the curve; empty when it can."""
    free = len(settings.curve.parameters) - len(settings.fixed)
    distinct = len(np.unique(g.x))
    if distinct < free + 1:
        return say.too_few(g.name, distinct, free)
    if settings.curve.log_x and not (g.y > 0).any():
        return f"No y value in group {g.name} is positive; a {settings.curve.name} curve cannot pass below 0."
    if not errors.defined(g.y).all():
        bad = int((~errors.defined(g.y)).sum())
        return (
            f"{bad} of {len(g.y)} y values in group {g.name} are not positive, and {errors.name} errors have "
            "no minimum there; use errors='two_component' or 'additive' (--errors)."
        )
    return ""


def _fit_batch(
    groups: list[Points], errors: Errors, settings: Settings, asked: str
) -> list[CurveFit | GroupFailure]:
    data = [(g.x, g.y, g.weights) for g in groups]
    problem = Problem.stacked(settings.curve, data, errors, settings.fixed)
    estimate = problem.fit()
    limits = {
        p: intervals_of(estimate, parameter(p), settings.level, settings.intervals)
        for p in problem.free_names
    }
    left_out = leave_one_out(estimate, parameter(_decisive(settings)))
    return [_one(i, g, estimate, limits, settings, asked, left_out[i]) for i, g in enumerate(groups)]


def _one(
    i: int,
    g: Points,
    estimate: Estimate,
    limits: dict[str, list[Interval]],
    settings: Settings,
    asked: str,
    left_out: Array,
) -> CurveFit | GroupFailure:
    curve, fixed, problem = settings.curve, settings.fixed, estimate.problem
    if not estimate.converged[i]:
        return GroupFailure(g.group, _why_not_converged(g, settings, problem.errors), len(g.x))
    steepness = float(estimate.parameters[curve.steepness][i])
    if curve.log_x and curve.steepness not in fixed and steepness <= 0:
        why = say.falling(g.name, curve.steepness, steepness, settings.x_name)
        return GroupFailure(g.group, why, len(g.x))
    nan = float("nan")
    parameters = {
        p: limits[p][i] if p in limits else Interval(fixed[p], nan, nan, settings.level)
        for p in curve.parameters
    }
    found = CurveFit(
        curve.name, g.group, problem.errors.name, parameters, dict(fixed), g.x, g.y, g.weights, g.rows,
        settings.x_name, settings.y_name, g.runs, float(estimate.solution.rss[i]),
        float(np.sqrt(estimate.variance[i])), float(problem.df[i]), settings.level, settings.intervals,
        facts=g.facts, knee=problem.errors.take(np.array([i])).knee_value, y_better=settings.y_better,
    )  # fmt: skip
    if say.is_perfect(found):
        blank = {p: Interval(v.estimate, nan, nan, settings.level) for p, v in parameters.items()}
        found = replace(found, parameters=blank)
    doubts = list(say.fit_doubts(found))
    if asked == LOG.name != problem.errors.name and (g.y <= 0).any():
        doubts.insert(0, say.non_positive(g.name, g.y, g.rows))
    doubts += say.jackknife_doubt(found, _decisive(settings), left_out, leverages(found.estimate, 0))
    return replace(found, doubts=tuple(doubts))


def _decisive(settings: Settings) -> str:
    """The parameter that the jackknife watches: the location, or the steepness where that is fixed."""
    curve = settings.curve
    return curve.location if curve.location not in settings.fixed else curve.steepness


def _why_not_converged(g: Points, settings: Settings, errors: Errors) -> str:
    if settings.curve.has_top and "top" not in settings.fixed:
        return say.runaway(g.name)
    if settings.curve.has_top:
        lowest = Problem.of(settings.curve, g.x, g.y, g.weights, errors.held, settings.fixed).fit(
            infimum=True
        )
        at, steepness = (
            float(lowest.parameters[p][0]) for p in (settings.curve.location, settings.curve.steepness)
        )
        if lowest.converged[0] and steepness > 0 and at > 0.2 * g.x.min():
            return say.endless_rise(g.name, settings.curve.steepness, at, steepness)
    slope = np.polyfit(settings.curve.abscissa(g.x), g.y, 1)[0]
    if slope <= 0:
        return say.falling(g.name, "slope", float(slope), settings.x_name)
    top = settings.fixed.get("top", np.inf) if settings.curve.has_top else np.inf
    if (above := int(np.sum(g.y >= top))) > len(g.y) / 2:
        return say.above_top(g.name, settings.y_name, above, len(g.y), float(top))
    return say.not_converged(float(np.sum((g.y - g.y.mean()) ** 2)))
