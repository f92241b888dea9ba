"""Many fits at once: their optima, and the intervals of the x at which they reach a height.

One profile costs as many calls of the engine as a thousand do.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from frontier.curves import VANISHING
from frontier.errors import stacked
from frontier.fits.curve_fit import CurveFit
from frontier.intervals import Interval, intervals_of
from frontier.problems import Estimate, Problem, x_at
from frontier.progress import reported

TOGETHER = 1024
"""Fits in a batch."""

Reached = dict[tuple[int, float], Interval]
"""Intervals by the identity of a fit and a height."""


def optima(fits: Sequence[CurveFit]) -> list[Estimate]:
    """The optimum of each fit, as `CurveFit.estimate`, which differs by rounding."""
    found: list[Estimate | None] = [None] * len(fits)
    for places in _alike(fits):
        estimate = _stacked([fits[i] for i in places])
        for column, i in enumerate(places):
            found[i] = estimate.of_one(column, fits[i].problem)
    return [f for f in found if f is not None]


def intervals_at(asked: Iterable[tuple[CurveFit, float]], level: float) -> Reached:
    """Intervals of the x at which fits reach heights, by each fit's own method.

    Parameters
    ----------
    asked : pairs of a fit and a height
    """
    pairs = list({(id(f), at): (f, at) for f, at in asked}.values())
    fits = [f for f, _ in pairs]
    found: Reached = {}
    batches = list(_alike(fits))
    with reported(True, "intervals", len(batches)) as done:
        for i, places in enumerate(batches):
            own = [pairs[j] for j in places]
            heights = x_at(np.array([at for _, at in own]))
            made = intervals_of(_stacked([f for f, _ in own]), heights, level, own[0][0].interval_method)
            found |= {(id(f), at): interval for (f, at), interval in zip(own, made, strict=True)}
            done(i + 1)
    return found


def _alike(fits: Sequence[CurveFit]) -> Iterator[list[int]]:
    """Places of fits that can stand in one problem, at most `TOGETHER`."""
    by_kind: dict[Hashable, list[int]] = {}
    for i, f in enumerate(fits):
        held = tuple(sorted((p, v) for p, v in f.fixed.items() if p != VANISHING))
        by_kind.setdefault((f.curve, f.errors, f.interval_method, held, VANISHING in f.fixed), []).append(i)
    for own in by_kind.values():
        yield from (own[i : i + TOGETHER] for i in range(0, len(own), TOGETHER))


def _stacked(fits: Sequence[CurveFit]) -> Estimate:
    fixed: dict[str, Any] = dict(fits[0].fixed)
    if VANISHING in fixed:
        fixed[VANISHING] = np.array([f.fixed[VANISHING] for f in fits])
    data, errors = [(f.x, f.y, f.weights) for f in fits], stacked([f.problem.errors for f in fits])
    return Problem.stacked(fits[0].curve, data, errors, fixed, np.array([f.spent for f in fits])).fit()
