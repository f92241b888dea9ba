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

from frontier._format import listed

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Groups = NDArray[np.int64]
Rows = NDArray[np.intp]

CELLS = 2_000_000
"""Comparisons made at once for the slack in three or more objectives."""


def nondominated(points: Array, groups: Groups | None = None) -> Bools:
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
    groups = np.zeros(len(points), dtype=np.int64) if groups is None else np.asarray(groups)
    return Dominance.of(points, groups).optimal()


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
    groups: Groups
    order: Rows
    run: Rows
    start: Rows

    @classmethod
    def of(cls, points: Array, groups: Groups) -> Dominance:
        """Sort once; all answers share it."""
        order = np.argsort(points[:, 0])
        keys = groups[order]
        if len(keys) and keys.min() >= 0 and keys.max() < 2**16:
            keys = keys.astype(np.uint16)  # sorted by radix
        order = order[np.argsort(keys, kind="stable")]
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
        longest = np.diff(np.flatnonzero(np.r_[True, group[1:] != group[:-1], True])).max()
        running, step = best.copy(), 1
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
