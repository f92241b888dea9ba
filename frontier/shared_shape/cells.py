"""The points of one group as they are compared, and the batches of groups that have one structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frontier.shared_shape.models import DEGREES, Array, Layout

MANY = 4
"""As many points of different L0, or more, are all the same to a deviation."""

MANY_LEVELS = max(DEGREES) + 2
"""As many different L0 of a cell, or more, are all the same to a shape."""

TOGETHER = 512
"""Cells in a batch: fewer cost more calls (7 % at 256), and a bar must move."""

MOST_NUMBERS = 1 << 21
"""Points times families in a batch of cells of many families, so that its arrays stay small."""


@dataclass(frozen=True)
class Cell:
    """The points of one group: families one after the other, the reference first, each by rising L0.

    Attributes
    ----------
    z : (points,)
        log L0.
    y : (points,)
        Hits.
    sizes : tuple of int
        Points per family.
    se : (points,), optional
        Known standard errors of the hits; NaN where unknown.
    seeds : (points,), optional
        Index of the training seed, where settings were run with several.
    runs_per_kept : float
        Runs of its families over those that are compared, where a search was narrowed to its Pareto sets.
    floored : bool
        Whether the best y may be another than 0 (a cross-entropy, a metric of the user's).
    settings : tuple of int, optional
        Places on its curve that each family's points stand for, where that is fewer than points.
    setting : (points,), optional
        Index of the setting, where settings were run with several seeds.
    """

    z: Array
    y: Array
    sizes: tuple[int, ...]
    se: Array | None = None
    seeds: NDArray[np.intp] | None = None
    runs_per_kept: float = 1.0
    floored: bool = False
    settings: tuple[int, ...] = ()
    setting: NDArray[np.intp] | None = None

    def only(self, families: Sequence[int]) -> Cell:
        """The cell of some of its families."""
        on = self.points_of(families)
        se = None if self.se is None else self.se[on]
        seeds, setting = (None if v is None else v[on] for v in (self.seeds, self.setting))
        sizes, settings = (tuple(of[f] for f in families) for of in (self.sizes, self.places))
        return replace(
            self, z=self.z[on], y=self.y[on], sizes=sizes, se=se, seeds=seeds, settings=settings,
            setting=setting,
        )  # fmt: skip

    def points_of(self, families: Sequence[int]) -> NDArray[np.intp]:
        """Places of the points of some families, in their order."""
        ends = np.cumsum((0, *self.sizes))
        return np.concatenate([np.arange(ends[f], ends[f + 1]) for f in families])

    @property
    def places(self) -> tuple[int, ...]:
        """Places on its curve that each family's points stand for."""
        return self.settings or self.sizes

    @cached_property
    def own_setting(self) -> NDArray[np.intp] | None:
        """Index of each point's setting of its family; None where none is known to be run again."""
        if self.setting is None or self.seeds is None:
            return None
        family = np.repeat(np.arange(len(self.sizes)), self.sizes)
        own = np.unique(np.stack([family, self.setting]), axis=1, return_inverse=True)[1]
        return np.ravel(own)

    @cached_property
    def along(self) -> NDArray[np.intp]:
        """Order of the points along each family: by log L0; seeds of a setting by their number, at its mean.

        Noise in L0 moves a run along its curve and off it, so that by their own L0 seeds of one setting seem
        to err alike.
        """
        own = self.own_setting
        if own is None or self.seeds is None:
            return np.arange(len(self.z))
        family = np.repeat(np.arange(len(self.sizes)), self.sizes)
        middle = (np.bincount(own, self.z) / np.bincount(own))[own]
        return np.lexsort((self.seeds, middle, family))

    @cached_property
    def distinct(self) -> tuple[int, ...]:
        """Points of different L0 per family, `MANY` at the most, and no more than it has places."""
        parts = np.split(self.z, np.cumsum(self.sizes)[:-1])
        return tuple(min(len(np.unique(p)), n, MANY) for p, n in zip(parts, self.places, strict=True))

    @cached_property
    def levels(self) -> int:
        """Different L0 of all families, `MANY_LEVELS` at the most; the most places of one if points share."""
        most = MANY_LEVELS if self.places == self.sizes else max(self.places)
        return min(len(np.unique(self.z)), most, MANY_LEVELS)

    @cached_property
    def comparable(self) -> bool:
        """Whether there are two families, a hit above 0, and a family with two different L0."""
        return len(self.sizes) > 1 and bool((self.y > 0).any()) and max(self.distinct) > 1


@dataclass(frozen=True)
class Batch:
    """Cells of one structure, z centred and scaled in each: z = (log L0 − middle) / spread.

    Arrays are (cells, points), `middle` and `spread` (cells, 1); `rows` are the cells' places in the input.
    """

    cells: tuple[Cell, ...]
    rows: tuple[int, ...]
    z: Array
    y: Array
    middle: Array
    spread: Array

    @property
    def sizes(self) -> tuple[int, ...]:
        """Points per family."""
        return self.cells[0].sizes

    @property
    def places(self) -> tuple[int, ...]:
        """Places on its curve that each family's points stand for."""
        return self.cells[0].places

    @property
    def distinct(self) -> tuple[int, ...]:
        """Points of different L0 per family, `MANY` at the most."""
        return self.cells[0].distinct

    @property
    def levels(self) -> int:
        """Different L0 of a cell, `MANY_LEVELS` at the most."""
        return self.cells[0].levels

    @property
    def floored(self) -> bool:
        """Whether the best y may be another than 0."""
        return self.cells[0].floored

    def layout(self, degree: int, deviation: int) -> Layout:
        """The structure with the family of most different L0, the first of such, as the base."""
        base = int(np.argmax(self.distinct))
        moved = 0 if base else 1
        return Layout(self.sizes, self.distinct, degree, deviation, base, moved, places=self.places)

    @cached_property
    def known_error(self) -> Array:
        """The median known standard error of each cell; 0 where none is known."""
        known = [None if c.se is None or not np.isfinite(c.se).any() else c.se for c in self.cells]
        return np.array([0.0 if se is None else np.nanmedian(se) for se in known])


def batches(cells: Sequence[Cell]) -> Iterator[Batch]:
    """The comparable cells, gathered by structure, at most `TOGETHER` at once, fewer where they are large."""
    by_structure: dict[tuple[Any, ...], list[int]] = {}
    for i, cell in enumerate(cells):
        if cell.comparable:
            structure = cell.sizes, cell.places, cell.distinct, cell.levels, cell.floored
            by_structure.setdefault(structure, []).append(i)
    parts = []
    for (sizes, *_), rows in by_structure.items():
        many = max(1, min(TOGETHER, MOST_NUMBERS // (sum(sizes) * len(sizes))))
        parts += [rows[i : i + many] for i in range(0, len(rows), many)]
    for rows in parts:
        own = tuple(cells[i] for i in rows)
        z, y = np.stack([c.z for c in own]), np.stack([c.y for c in own])
        middle, spread = z.mean(-1, keepdims=True), z.std(-1, keepdims=True)
        yield Batch(own, tuple(rows), (z - middle) / spread, y, middle, spread)
