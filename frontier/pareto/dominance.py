"""Dominance among points of many groups at once, on plain arrays: the arithmetic behind `pareto.py`.

Every objective is minimised. A point is beaten when another point of its group is no worse in every objective
and better in at least one; points equal in all objectives share their fate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from frontier.groups import Codes
from frontier.wording import listed

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.intp]

CELLS, PAIRWISE = 2_000_000, 256
"""Comparisons made at once for the slack in three or more objectives; rows of a group up to which it compares
all pairs in three.
"""

LARGE = 256
"""Rows of a group on average, from which on groups are sorted one by one."""

CULLED, SAMPLE, SAMPLE_OF_GROUP, WORTH = 4096, 4096, 64, 0.7
"""Fewer rows are sorted at once; rows drawn in search of one that beats many, of one group and per group; the
largest share of them that may be left by it."""


def nondominated(points: Array, groups: Codes | None = None) -> Bools:
    """True for the points that no point of the same group beats.

    Parameters
    ----------
    points : shape (rows, objectives), finite
    groups : shape (rows,), optional

    Raises
    ------
    ValueError
        When a value is NaN or infinite, or there are fewer than two objectives.
    """
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(f"points must have shape (rows, two or more objectives), found {points.shape}")
    if not np.isfinite(points).all():
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        raise ValueError(f"points must be finite; rows {listed(bad.tolist())} are not")
    if groups is not None:
        groups = np.asarray(groups)
        whole = groups.dtype.kind in "iub"
        groups = groups.astype(np.int64) if whole else np.unique(groups, return_inverse=True)[1]
    left = _not_obviously_beaten(points, groups)
    if left is None:
        return _of_few(points, groups)
    optimal = np.zeros(len(points), dtype=bool)
    optimal[left] = _of_few(points[left], None if groups is None else groups[left])
    return optimal


def _order(x: Array, groups: Codes) -> Rows:
    """The rows in order of (group, x)."""
    if not len(x) or (groups[0] == groups[-1] and (groups == groups[0]).all()):
        return np.argsort(x)
    keys = _radix(groups)
    if groups.min() < 0 or (groups.max() + 1) * LARGE > len(x):
        order = np.argsort(x)
        return order[np.argsort(keys[order], kind="stable")]
    order = np.argsort(keys, kind="stable")
    x, edges = x[order], np.cumsum(np.bincount(groups))[:-1]
    turns = [np.argsort(part) for part in np.split(x, edges)]
    return np.concatenate([rows[turn] for rows, turn in zip(np.split(order, edges), turns, strict=True)])


def _of_few(points: Array, groups: Codes | None) -> Bools:
    if points.shape[1] > 2 and len(points):
        return _by_moocore(points, groups)
    return Dominance.of(points, np.zeros(len(points), np.int64) if groups is None else groups).optimal()


def _by_moocore(points: Array, groups: Codes | None) -> Bools:
    """Group by group, with no other sort than that by group."""
    import moocore

    if groups is None:
        return moocore.is_nondominated(points, maximise=False, keep_weakly=True)
    order = np.argsort(_radix(groups), kind="stable")
    ordered, points = groups[order], points[order]
    edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    parts = (moocore.is_nondominated(p, maximise=False, keep_weakly=True) for p in np.split(points, edges))
    optimal = np.empty(len(points), dtype=bool)
    optimal[order] = np.concatenate(list(parts))
    return optimal


def _radix(groups: Codes) -> Codes:
    """The same order in a type that is sorted by radix, where the numbers fit."""
    return groups.astype(np.uint16) if groups.min() >= 0 and groups.max() < 2**16 else groups


def _not_obviously_beaten(points: Array, groups: Codes | None) -> Rows | None:
    """The rows that one good row of their group does not beat, found without a sort; None: not worth it.

    The good row has the least scaled sum of a random sample. Where few of the sample lose to it, nearly all
    points lie on the frontier and the search ends.
    """
    left: Rows | None = None
    draw = np.random.default_rng(0)
    while len(points) >= CULLED:
        count = 1 if groups is None else int(groups.max()) + 1
        size = SAMPLE if groups is None else SAMPLE_OF_GROUP * count
        if size * 4 > len(points) or (groups is not None and groups.min() < 0):
            break
        rows = draw.integers(len(points), size=size)
        drawn, owner = points[rows], None if groups is None else groups[rows]
        best = _best_drawn(drawn, owner, count)
        if _reach(drawn, best[0] if owner is None else best[owner]).mean() > WORTH:
            break
        inside = np.flatnonzero(_reach(points, best[0] if groups is None else best[groups]))
        left = inside if left is None else left[inside]
        points, groups = points[inside], None if groups is None else groups[inside]
    return left


def _best_drawn(points: Array, groups: Codes | None, count: int) -> Array:
    """One good row per group (count, objectives); infinite, so that all is kept, for groups without a row."""
    with np.errstate(all="ignore"):  # any row will do where sums overflow
        spread = np.ptp(points, axis=0)
        total = (points / np.where(spread > 0, spread, 1.0)).sum(axis=1)
    if groups is None:
        return points[[np.argmin(total)]]
    best = np.full((count, points.shape[1]), np.inf)
    order = np.argsort(-total)
    best[groups[order]] = points[order]  # of several the last one stays
    return best


def _reach(points: Array, best: Array) -> Bools:
    """Rows better than `best` (one row, or one for each) in some objective, or as good in the last."""
    best = best.T
    reach = points[:, -1] <= best[-1]
    for k in range(points.shape[1] - 1):
        reach |= points[:, k] < best[k]
    return reach


def _slack_of_three(points: Array) -> Array:
    """Slack of the points of one group in three objectives, without comparing all pairs."""
    order = np.lexsort((points[:, 1], points[:, 0]))
    x, y, z = points[order].T
    run = np.cumsum(np.r_[False, (x[1:] != x[:-1]) | (y[1:] != y[:-1])])
    best, second = np.full((2, run[-1] + 1), np.inf)  # of rows equal in the first two objectives
    np.minimum.at(best, run, z)
    at_best = z == best[run]
    np.minimum.at(second, run[~at_best], z[~at_best])
    alone = at_best & (np.bincount(run, weights=at_best) < 2)[run]
    beside = np.where(alone, second[run], best[run])
    slack = np.empty(len(points))
    slack[order] = np.minimum(beside, _least_before(y, z)) - z
    return slack


def _least_before(y: Array, z: Array) -> Array:
    """For each place the least z at earlier places where y is no larger; infinite where there is none.

    Places are halved again and again: those of each right half look at their left half, in order of y.
    """
    half = 1 << max(len(y) - 1, 1).bit_length() >> 1
    padding = (0, 2 * half - len(y))
    z, least = np.pad(z, padding, constant_values=np.inf), np.full(2 * half, np.inf)
    places = np.argsort(np.pad(y, padding, constant_values=np.inf), kind="stable")
    while half:
        places = places.reshape(-1, 2 * half)
        right = (places & half) != 0
        lefts, rights = places[~right], places[right]
        seen = np.minimum.accumulate(np.where(right, np.inf, z[places]), axis=1)
        least[rights] = np.minimum(least[rights], seen[right])
        places = np.concatenate([lefts.reshape(-1, half), rights.reshape(-1, half)], axis=1)
        half >>= 1
    return least[: len(y)]


@dataclass(frozen=True, eq=False)
class Dominance:
    """Finite points in order of group and first objective.

    Attributes
    ----------
    points : (rows, objectives)
    groups : (rows,)
    order : (rows,), the rows in order of (group, first objective)
    run : (rows,), in that order: the number of the run of rows equal in both
    start : (runs,), where each run begins
    """

    points: Array
    groups: Codes
    order: Rows
    run: Rows
    start: Rows

    @classmethod
    def of(cls, points: Array, groups: Codes) -> Dominance:
        """Sort once; all answers share it."""
        order = _order(points[:, 0], groups)
        x, g = points[order, 0], groups[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (g[1:] != g[:-1]) | (x[1:] != x[:-1])
        return cls(points, groups, order, np.cumsum(new) - 1, np.flatnonzero(new))

    def optimal(self) -> Bools:
        """Which points no other beats; all of several equal ones."""
        optimal = np.zeros(len(self.points), dtype=bool)
        if not len(self.points):
            return optimal
        if self.points.shape[1] == 2:
            y, best, before = self._stairs
            optimal[self.order] = (best < before)[self.run] & (y == best[self.run])
            return optimal
        import moocore

        for rows in self._by_group():
            optimal[rows] = moocore.is_nondominated(self.points[rows], maximise=False, keep_weakly=True)
        return optimal

    def slack(self) -> Array:
        """Least last objective among the group's other points that are no worse in the rest, minus one's own.

        Infinite where there is no such point.
        """
        slack = np.full(len(self.points), np.inf)
        if len(self.points) and self.points.shape[1] == 2:
            y, best, before = self._stairs
            at_best = y == best[self.run]
            second = np.full(len(best), np.inf)
            np.minimum.at(second, self.run[~at_best], y[~at_best])
            alone = at_best & (np.bincount(self.run, weights=at_best) < 2)[self.run]
            beside = np.where(alone, second[self.run], best[self.run])
            slack[self.order] = np.minimum(beside, before[self.run]) - y
            return slack
        for rows in self._by_group():
            points = self.points[rows]
            if points.shape[1] == 3 and len(rows) > PAIRWISE:
                slack[rows] = _slack_of_three(points)
                continue
            for part in np.array_split(np.arange(len(rows)), 1 + len(rows) ** 2 // CELLS):
                no_worse = np.all(points[None, :, :-1] <= points[part, None, :-1], axis=2)
                no_worse[np.arange(len(part)), part] = False
                rivals = np.where(no_worse, points[:, -1], np.inf).min(axis=1, initial=np.inf)
                slack[rows[part]] = rivals - points[part, -1]
        return slack

    def ties(self) -> Rows:
        """A number for each set of points that are equal in all objectives, by first row; -1 for the rest."""
        ids = np.full(len(self.points), -1)
        shared = (np.bincount(self.run) > 1)[self.run]  # only points of one run can be equal
        rows, run = self.order[shared], self.run[shared]
        if not len(rows):
            return ids
        turn = np.lexsort([rows, *self.points[rows, 1:].T, run])
        rows, run = rows[turn], run[turn]
        new = np.ones(len(rows), dtype=bool)
        new[1:] = (run[1:] != run[:-1]) | (self.points[rows[1:], 1:] != self.points[rows[:-1], 1:]).any(
            axis=1
        )
        first, size = rows[new], np.diff(np.flatnonzero(np.r_[new, True]))
        number = np.full(len(first), -1)
        number[size > 1] = np.argsort(np.argsort(first[size > 1]))
        ids[rows] = np.repeat(number, size)
        return ids

    @cached_property
    def _stairs(self) -> tuple[Array, Array, Array]:
        """Two objectives: y in order, each run's least y, and the least y before it in its group."""
        y, group = self.points[self.order, 1], self.groups[self.order][self.start]
        best = np.minimum.reduceat(y, self.start)
        edges = np.flatnonzero(np.r_[True, group[1:] != group[:-1], True])
        if len(edges) * LARGE < len(best):
            running = np.concatenate([np.minimum.accumulate(part) for part in np.split(best, edges[1:-1])])
        else:
            running, step, longest = best.copy(), 1, np.diff(edges).max()
            while step < longest:  # running minimum within groups, by doubling
                same = group[step:] == group[:-step]
                running[step:] = np.where(same, np.minimum(running[step:], running[:-step]), running[step:])
                step *= 2
        before = np.full(len(best), np.inf)
        before[1:] = np.where(group[1:] == group[:-1], running[:-1], np.inf)
        return y, best, before

    def _by_group(self) -> Iterator[Rows]:
        ordered = self.groups[self.order]
        edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        yield from (rows for rows in np.split(self.order, edges) if len(rows))
