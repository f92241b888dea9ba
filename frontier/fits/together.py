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
from frontier.fits.nuisance import intervals_with
from frontier.intervals import Interval
from frontier.problems import Estimate, Problem, x_at
from frontier.progress import reported

TOGETHER = 1024
"""Fits in a batch."""

Reached = dict[tuple[int, float], Interval]
"""Intervals by the identity of a fit and a height."""


def optima(fits: Sequence[CurveFit]) -> list[Estimate]:
    """The optimum of each fit, as `CurveFit.estimate`, which differs by rounding."""
    return solved([f.problem for f in fits])


def solved(problems: Sequence[Problem]) -> list[Estimate]:
    """The optimum of each problem of one column, as its own `fit`, which differs by rounding."""
    found: dict[int, Estimate] = {}
    for places in _alike(problems):
        estimate = _stacked([problems[i] for i in places])
        found |= {i: estimate.of_one(column, problems[i]) for column, i in enumerate(places)}
    return [found[i] for i in range(len(problems))]


def intervals_at(asked: Iterable[tuple[CurveFit, float]], level: float) -> Reached:
    """Intervals of the x at which fits reach heights, by each fit's own method.

    Parameters
    ----------
    asked : pairs of a fit and a height
    """
    pairs = list({(id(f), at): (f, at) for f, at in asked}.values())
    fits = [f for f, _ in pairs]
    found: Reached = {}
    problems, methods = [f.problem for f in fits], [f.interval_method for f in fits]
    batches = list(_alike(problems, methods))
    with reported(True, "intervals", len(batches)) as done:
        for i, places in enumerate(batches):
            own = [pairs[j] for j in places]
            heights = x_at(np.array([at for _, at in own]))
            made = intervals_with(
                _stacked([problems[j] for j in places]), [f.shared for f, _ in own], heights, level,
                methods[places[0]],
            )  # fmt: skip
            found |= {(id(f), at): interval for (f, at), interval in zip(own, made, strict=True)}
            done(i + 1)
    return found


def _alike(problems: Sequence[Problem], kinds: Sequence[Hashable] = ()) -> Iterator[list[int]]:
    """Places of problems that can stand in one, at most `TOGETHER`; of one kind, where there are kinds."""
    by_kind: dict[Hashable, list[int]] = {}
    for i, p in enumerate(problems):
        held = tuple(sorted((name, v) for name, v in p.fixed.items() if name != VANISHING))
        key = p.curve.name, p.errors.name, held, VANISHING in p.fixed, kinds[i] if kinds else None
        by_kind.setdefault(key, []).append(i)
    for own in by_kind.values():
        yield from (own[i : i + TOGETHER] for i in range(0, len(own), TOGETHER))


def _stacked(problems: Sequence[Problem]) -> Estimate:
    first = problems[0]
    fixed: dict[str, Any] = dict(first.fixed)
    if VANISHING in fixed:
        fixed[VANISHING] = np.array([float(p.fixed[VANISHING]) for p in problems])
    data, errors = [(p.x[:, 0], p.y[:, 0], p.weights[:, 0]) for p in problems], [p.errors for p in problems]
    spent = np.array([float(np.max(p.spent)) for p in problems])
    return Problem.stacked(first.curve, data, stacked(errors), fixed, spent).fit()
