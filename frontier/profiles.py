"""Fits with one quantity held: what a profile of the sum of squares is made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from frontier import engine
from frontier.problems import Array, Estimate, Problem, Quantity

FEW = 3
"""With so few points a profile has several minima, and each is looked for."""
STEEP = 4.0
"""A held steepness times the widest gap between points, beyond which the curve is a step inside the gap."""


def constrained(
    start: Estimate, quantity: Quantity, working: Array, columns: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Fits of `columns` with `quantity` held at `working` (see `Estimate.working`).

    Weights stay those of the optimum in `start`, so relative errors keep theirs.

    Returns
    -------
    rss, slope : (len(columns),) each
        `slope` is the derivative of rss with respect to the held value; NaN where it did not converge.
    """
    problem = start.problem
    centre, template, free = problem.pins
    curve = problem.curve
    held = list(free)
    theta = template[:, columns].copy()
    middle = centre[columns].copy()
    best = start.solution.theta[:, columns]
    if quantity.kind == "parameter" and quantity.name == curve.steepness:
        theta[1], held[1] = working, False
    elif quantity.kind == "parameter" and quantity.name == "top":
        theta[2], held[2] = working, False
    else:
        held[0] = False
        theta[0], middle = _held_height(problem, quantity, working, columns, theta)
    moves = quantity.kind == "x_at" or (quantity.kind == "parameter" and quantity.name == "k")
    shift = best.copy()
    shift[0] = best[0] + best[1] * (middle - centre[columns])
    if quantity.kind == "parameter" and quantity.name == curve.steepness and curve.has_top:
        shift[0] = best[0] * working / best[1]  # keep k
    if free[2]:  # keep the height at the middle of the data
        b = np.where(np.isnan(theta[1]) | held[1], best[1], theta[1])
        a = theta[0] if not held[0] else shift[0]
        before = curve.log_link(best[0])[0]
        shift[2] = best[2] + before - curve.log_link(a + b * (centre[columns] - middle))[0]
    theta = np.where(np.array(held)[:, None], shift, theta)
    x = problem.abscissa if problem.abscissa.shape[1] == 1 else problem.abscissa[:, columns]
    weights, still = start.solution.weights[:, columns], np.array(held)

    def solve(begin: Array, which: NDArray[np.intp]) -> engine.Solution:
        u = (x if x.shape[1] == 1 else x[:, which]) - middle[which]
        return engine.solve(
            curve, u, problem.y[:, columns[which]], weights[:, which],
            errors=problem.errors.take(columns[which]),
            free=(held[0], held[1], held[2]), theta=begin[:, which], reweight=False, infimum=True,
        )  # fmt: skip

    s = solve(theta, np.arange(len(columns)))
    lost = np.flatnonzero(~s.converged)
    if lost.size and (still[0] or still[1]):  # start again, from the data instead of from the neighbour
        again = solve(np.where((still & [True, True, False])[:, None], np.nan, theta), lost)
        s = s.replaced(lost, again)
    if curve.has_top and still[:2].sum() == 1 and not still[2]:
        steep = np.abs(working) > STEEP / _gaps(x) if held[0] else np.zeros(len(columns), bool)
        which = np.flatnonzero((problem.n_points[columns] <= FEW) | steep)
        for begin in _through_points(problem, theta, x, middle, columns, which, held[0]):
            trial = solve(begin, which)
            better = trial.converged & ~(trial.rss >= s.rss[which])
            s = s.replaced(which[better], trial.at(np.flatnonzero(better)))
    index = {curve.steepness: 1, "top": 2}.get(quantity.name, 0) if quantity.kind == "parameter" else 0
    slope = -s.theta[1] * s.gradient[0] if moves else s.gradient[index]
    return s.rss, slope


def _through_points(
    problem: Problem, theta: Array, x: Array, middle: Array, columns: NDArray[np.intp],
    which: NDArray[np.intp], height_is_free: bool,
) -> Iterator[Array]:  # fmt: skip
    """Starts whose curve passes through each point in turn.

    A curve that rises between two points, or has one point more than it has parameters, has a minimum near
    each curve through a point; the lowest is the profile.
    """
    if not which.size:
        return
    rows = int((problem.weights[:, columns[which]] > 0).sum(axis=1).nonzero()[0].max()) + 1
    for row in range(rows):
        share = np.clip(problem.y[row, columns] / np.exp(theta[2]), 1e-6, 1 - 1e-6)
        z = problem.curve.inverse_link(share)
        u = (x[row] if x.shape[1] > 1 else x[row, 0]) - middle
        begin = theta.copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            begin[0 if height_is_free else 1] = z - theta[1] * u if height_is_free else (z - theta[0]) / u
        yield np.where(np.isfinite(begin), begin, theta)


def _gaps(x: Array) -> Array:
    """The largest gap between neighbouring abscissae, per column."""
    return np.asarray(np.diff(np.sort(x, axis=0), axis=0).max(axis=0, initial=1e-300))


def _held_height(
    problem: Problem, quantity: Quantity, working: Array, columns: NDArray[np.intp], theta: Array
) -> tuple[Array, Array]:
    """(a, centre) that hold a location parameter, an x_at, or a height (on the link's scale)."""
    curve = problem.curve
    at = np.broadcast_to(np.asarray(quantity.at, dtype=float), (problem.replicates,))[columns]
    if quantity.kind == "x_at":
        return curve.inverse_link(at / np.exp(theta[2])), working
    if quantity.kind == "height":
        return working, curve.abscissa(at - problem.offset_of(columns))
    if curve.has_top:
        return np.zeros_like(working), working
    return working, np.zeros_like(working)
