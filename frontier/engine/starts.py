"""Where the engine begins: one straight line through log y or logit y, weighted for the errors model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frontier.curves import Array
from frontier.engine.objective import Task


def _tilt(task: Task, theta: Array) -> Array:
    """How fast the fitted value moves with the straight line inside the link, at each point's y.

    Squared, these are the weights with which the starting line is close to the curve's own least squares.
    """
    curve = task.curve
    y = np.maximum(task.y, 1e-3 * task.peak)
    slope = 1.0 - np.minimum(y * np.exp(-theta[2]), 0.999) if curve.has_top else np.ones_like(y)
    return slope * (y if curve.log_x else 1.0) / task.errors.spread(y)


def started(task: Task, theta: Array, plain: bool = False) -> Array:
    """`theta` with NaN starts filled: one straight line through the transformed points.

    Its weights are those that bring it close to the curve's own least squares, or the case weights (`plain`).
    """
    start = theta.copy()
    empty_a, empty_b = np.isnan(theta[0]), np.isnan(theta[1])
    if not (empty_a.any() or empty_b.any()):
        return start
    u, w = task.u, task.w if plain else task.w * _tilt(task, theta) ** 2
    a, b = task.curve.start(u, task.y, w, theta[2])
    if 0 not in task.free:
        through = (w * u * (a + b * u - theta[0])).sum(0) / np.maximum((w * u**2).sum(0), 1e-300)
        start[1] = np.where(empty_b, through, theta[1])
        return start
    if 1 not in task.free:
        a = a + (b - theta[1]) * (w * u).sum(0) / w.sum(0)
        start[0] = np.where(empty_a, a, theta[0])
    else:
        start[0], start[1] = np.where(empty_a, a, theta[0]), np.where(empty_b, b, theta[1])
    if not task.curve.log_x and task.errors.positive_curve:
        return _positive_line(task, start)
    return start


def _positive_line(task: Task, start: Array) -> Array:
    """`start`, flat (or shifted, if the slope is fixed) where the line has no logarithm at some point."""
    below = (start[0] + start[1] * task.u <= 0).any(axis=0)
    if 1 in task.free:
        start[1] = np.where(below, 0.0, start[1])
    middle = np.exp((task.w * np.log(np.abs(task.y))).sum(0) / task.w.sum(0))
    start[0] = np.where(below, middle - (start[1] * task.u).min(axis=0), start[0])
    return start


def distinct(task: Task) -> NDArray[np.intp]:
    """Number of different u per replicate: three parameters on two of them leave a Hessian of rounding."""
    u = np.sort(np.where(task.w > 0, task.u, np.inf), axis=0)
    gap, spread = np.diff(u, axis=0), np.max(u, axis=0, where=np.isfinite(u), initial=-np.inf) - u[0]
    return 1 + np.sum((gap > 1e-9 * spread) & np.isfinite(gap), axis=0)
