"""Groups fitted together: their errors models, where their curves vanish, intervals, doubts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from frontier.curves import VANISHING, Curve
from frontier.errors import ADDITIVE, LOG, RELATIVE, Errors, TwoComponent, errors_model, stacked
from frontier.fits import doubts as say
from frontier.fits import vanishing
from frontier.fits.curve_fit import CurveFit
from frontier.fits.errors_model import choose_errors, knees_of
from frontier.fits.errors_model import evidence as evidence_of
from frontier.fits.frontier_fits import GroupFailure
from frontier.fits.nuisance import KNEE, Nuisance, intervals_with
from frontier.fits.points import SEEDS, Points
from frontier.intervals import Interval, leave_one_out, leverages
from frontier.problems import Array, Estimate, Problem, parameter
from frontier.wording import plural


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
    vanishing_l0: vanishing.Option = None


def fit_groups(
    groups: Sequence[Points], errors: str, settings: Settings, cells: Sequence[tuple[Any, ...]] | None = None
) -> tuple[tuple[CurveFit, ...], tuple[GroupFailure, ...], str]:
    """Fits and failures of `groups`, in their order, and one sentence on the choice of errors.

    Groups of one cell (same model, site, layer) always share an errors model.
    """
    cells = list(cells) if cells is not None else [(i,) for i in range(len(groups))]
    for model in (None, errors):  # where curves vanish depends on the errors a little, and these on it
        if model is not None:
            chosen, knees, evidence = _errors_of(groups, errors, settings, cells)
        else:
            chosen, knees = [LOG if LOG.defined(g.y).all() else ADDITIVE for g in groups], [()] * len(groups)
        groups = [replace(g, shared=own) for g, own in zip(groups, knees, strict=True)]
        groups = _vanishing(groups, chosen, settings, cells)
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
        plain = [
            replace(g, shared=tuple(n for n in g.shared if n.name != KNEE))
            for g in map(groups.__getitem__, again)
        ]
        found = _fit_batch(plain, ADDITIVE, settings, errors)
        outcome |= dict(zip(again, found, strict=True))
        count = plural(len(again), "group")
        evidence += f"; additive in {count} of cells where two-component errors found no optimum"
    ordered = [outcome[i] for i in range(len(groups))]
    fits = tuple(f for f in ordered if isinstance(f, CurveFit))
    failures = tuple(f for f in ordered if isinstance(f, GroupFailure))
    return fits, failures, evidence


def _errors_of(
    groups: Sequence[Points], errors: str, settings: Settings, cells: Sequence[tuple[Any, ...]]
) -> tuple[list[Errors], list[tuple[Nuisance, ...]], str]:
    """The errors model of each group, the knees that its cell allows, and one sentence on the choice."""
    if errors in (ADDITIVE.name, RELATIVE.name):
        return [errors_model(errors)] * len(groups), [()] * len(groups), ""
    names = list(dict.fromkeys(cells))
    members = [[g for g, c in zip(groups, cells, strict=True) if c == name] for name in names]
    data = [[g.shifted for g in m if len(g.x)] for m in members]
    se = [max((g.known_se for g in m), default=0.0) for m in members]
    of_y = any(g.of_y for g in groups)
    if errors == "auto":
        choices = choose_errors(settings.curve, data, settings.fixed, se, of_y=of_y)
        own = dict(zip(names, choices, strict=True))
        return [own[c].errors for c in cells], [own[c].shared for c in cells], evidence_of(choices)
    wanted = [errors != LOG.name or not all(LOG.defined(y).all() for _, y, _ in d) for d in data]
    ready = [i for i, w in enumerate(wanted) if w]
    found = knees_of(
        settings.curve, [data[i] for i in ready], settings.fixed, [se[i] for i in ready], of_y=of_y
    )
    knees = {names[i]: n for i, n in zip(ready, found, strict=True)}
    own_knee = {c: TwoComponent(n.likeliest) for c, n in knees.items()}
    chosen: list[Errors] = [own_knee.get(c, LOG) for c in cells]
    return chosen, [(knees[c],) if c in knees else () for c in cells], ""


def _vanishing(
    groups: Sequence[Points], chosen: Sequence[Errors], settings: Settings, cells: Sequence[tuple[Any, ...]]
) -> list[Points]:
    """The groups with the L* that their cell, or each of them, supports; as they are where it is given."""
    out = list(groups)
    if settings.vanishing_l0 not in (vanishing.SHARED, vanishing.OWN):
        return out
    for name in dict.fromkeys(e.name for e in chosen):
        ready = [
            i for i, g in enumerate(groups) if chosen[i].name == name and not _unfit(g, settings, chosen[i])
        ]
        if not ready:
            continue
        keys = [cells[i] if settings.vanishing_l0 == vanishing.SHARED else i for i in ready]
        order = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        found = vanishing.searched(
            [groups[i] for i in ready], np.array([order[k] for k in keys]), settings.curve,
            stacked([chosen[i] for i in ready]), settings.fixed, settings.level,
        )  # fmt: skip
        for i, g in zip(ready, found, strict=True):
            out[i] = g
    return out


def _unfit(g: Points, settings: Settings, errors: Errors) -> str:
    """Why a group cannot carry the curve; empty when it can."""
    free = sum(p not in settings.fixed for p in settings.curve.parameters)
    free += settings.vanishing_l0 == vanishing.OWN
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
    weights = [g.weights_under(errors.take(np.array([i]))) for i, g in enumerate(groups)]
    if any(g.of_y for g in groups):  # sigma stays the residual SD of a typical point
        weights = [w / np.median(np.concatenate(weights)) for w in weights]
    data = [(g.x, g.y, w) for g, w in zip(groups, weights, strict=True)]
    fixed = dict[str, Any](settings.fixed)
    if settings.vanishing_l0 is not None:
        fixed |= {VANISHING: np.array([g.vanishing_l0 for g in groups])}
    spent = np.array([g.spent for g in groups])
    problem = Problem.stacked(settings.curve, data, errors, fixed, spent)
    estimate = problem.fit()
    shared = [g.shared for g in groups]
    limits = {
        p: intervals_with(estimate, shared, parameter(p), settings.level, settings.intervals)
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
    curve, fixed, problem = settings.curve, dict(settings.fixed), estimate.problem
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
    if settings.vanishing_l0 is not None:
        parameters[VANISHING] = g.vanishing_interval or Interval(g.vanishing_l0, nan, nan, settings.level)
        fixed[VANISHING] = g.vanishing_l0
    found = CurveFit(
        curve.name, g.group, problem.errors.name, parameters, dict(fixed), g.x, g.y,
        problem.weights[: len(g.x), i], g.rows,
        settings.x_name, settings.y_name, g.runs, float(estimate.solution.rss[i]),
        float(np.sqrt(estimate.variance[i])), float(problem.df[i]), settings.level, settings.intervals,
        facts=g.facts, knee=problem.errors.take(np.array([i])).knee_value, y_better=settings.y_better,
        spent=g.spent, weights_of_y=g.of_y, shared=g.shared,
    )  # fmt: skip
    if say.is_perfect(found):
        blank = {p: Interval(v.estimate, nan, nan, settings.level) for p, v in parameters.items()}
        found = replace(found, parameters=blank)
    if said := say.seeds_differ(found, g.seeds):
        found = replace(found, facts={**g.facts, SEEDS: said})
    doubts = list(say.fit_doubts(found))
    if asked == LOG.name != problem.errors.name and (g.y <= 0).any():
        doubts.insert(0, say.non_positive(g.name, g.y, g.rows))
    own = estimate.of_one(i, found.problem)
    doubts += say.jackknife_doubt(found, own, _decisive(settings), left_out, leverages(estimate, i))
    return replace(found, doubts=tuple(doubts))


def _decisive(settings: Settings) -> str:
    """The parameter that the jackknife watches: the location, or the steepness where that is fixed."""
    curve = settings.curve
    return curve.location if curve.location not in settings.fixed else curve.steepness


def _why_not_converged(g: Points, settings: Settings, errors: Errors) -> str:
    if settings.curve.has_top and "top" not in settings.fixed:
        return say.runaway(g.name)
    if settings.curve.has_top:
        x = g.shifted[0]
        weights = g.weights_under(errors)
        lowest = Problem.of(settings.curve, x, g.y, weights, errors.held, settings.fixed).fit(infimum=True)
        at, steepness = (
            float(lowest.parameters[p][0]) for p in (settings.curve.location, settings.curve.steepness)
        )
        if lowest.converged[0] and steepness > 0 and at > 0.2 * x.min():
            return say.endless_rise(g.name, settings.curve.steepness, at, steepness)
    slope = np.polyfit(settings.curve.abscissa(g.x), g.y, 1)[0]
    if slope <= 0:
        return say.falling(g.name, "slope", float(slope), settings.x_name)
    top = settings.fixed.get("top", np.inf) if settings.curve.has_top else np.inf
    if (above := int(np.sum(g.y >= top))) > len(g.y) / 2:
        return say.above_top(g.name, settings.y_name, above, len(g.y), float(top))
    return say.not_converged(g.name, float(np.sum((g.y - g.y.mean()) ** 2)))
