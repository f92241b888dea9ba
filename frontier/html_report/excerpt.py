"""What of a large table a page shows one by one, so that it opens; every number rests on all rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frontier.comparison import Comparisons
from frontier.groups import Codes, Groups, group_codes
from frontier.metrics import values
from frontier.metrics.axes import goal
from frontier.pareto.rows import chosen_rows
from frontier.results import Group

SAES = 10_000
"""So many SAEs are drawn and listed."""
CELLS, COMPARISONS = 1000, 2000
"""So many cells are told one by one, with so many comparisons."""
Mask = NDArray[np.bool_]
Key = tuple[str, ...]


@dataclass(frozen=True)
class Excerpt:
    """The comparisons, rows and marks that a page shows, and how many of each there are.

    Attributes
    ----------
    found : Comparisons
        Those of the cells that are told.
    table, marks : the rows that are shown, and which of them the comparisons rest on, (rows shown,)
    rows, compared, cells : int
        Of the whole table.
    told : int
        Cells that are told.
    codes, groups : the cell of each row that is shown, and the cells that are told, in the table's order
    """

    found: Comparisons
    table: pd.DataFrame
    marks: Mask
    rows: int
    compared: int
    cells: int
    told: int
    codes: Codes
    groups: list[Group]

    @property
    def of_cells(self) -> str:
        """Which cells are left out; empty where none is."""
        if self.told == self.cells:
            return ""
        return f"Of {self.cells:,} cells the first {self.told:,} are shown one by one; the answer counts all."

    @property
    def of_rows(self) -> str:
        """Which SAEs are left out; empty where none is."""
        shown = len(self.table)
        if shown == self.rows:
            return ""
        which = (
            "those that were compared first, evenly over cells, families and L0; every number rests on all"
        )
        return f"Of {self.rows:,} SAEs {shown:,} are drawn and listed: {which}."


def excerpt(found: Comparisons, table: pd.DataFrame, y: str) -> Excerpt:
    """What a page shows: everything, where it is not too much."""
    marks = compared(found, table, y)
    codes, groups = group_codes(table, found.group_columns)
    names: list[Key] = [_cell(found, g) for g in groups]
    kept, cells = told_cells(found, names)
    wanted = np.array([n in kept for n in names], dtype=bool)
    inside, renumbered = wanted[codes], (np.cumsum(wanted) - 1)[codes]
    families = group_codes(table, [c for c in (found.family_column,) if c in table])[0]
    shown = inside & _thinned(
        inside, marks, codes * (families.max(initial=0) + 1) + families, values(table, "l0")
    )
    told = found if len(kept) == cells else found.part(lambda g: _cell(found, g) in kept)
    part = table if shown.all() else table[shown]
    shown_groups = [g for g, w in zip(groups, wanted, strict=True) if w]
    return Excerpt(
        told,
        part,
        marks[shown],
        len(table),
        int(marks.sum()),
        cells,
        len(kept),
        renumbered[shown],
        shown_groups,
    )


def _cell(found: Comparisons, group: Group) -> Key:
    """The cell that a group stands in."""
    return tuple(str(group.get(c)) for c in found.group_columns)


def told_cells(found: Comparisons, others: list[Key]) -> tuple[set[Key], int]:
    """The cells that are told, those with comparisons first; and how many there are."""
    counts = Counter(_cell(found, c.group) for c in found)
    cells = list(dict.fromkeys([*counts, *others]))
    total = np.cumsum([counts[c] for c in cells])
    most = min(CELLS, max(1, int(np.searchsorted(total, COMPARISONS, side="right"))))
    return set(cells[:most]), len(cells)


def _thinned(inside: Mask, marks: Mask, classes: Codes, l0: NDArray[np.float64]) -> Mask:
    """Which rows are shown, (rows,): all, or of each class as many, evenly over L0, compared ones first."""
    if inside.sum() <= SAES:
        return inside
    shown, room = np.zeros(len(inside), dtype=bool), SAES
    for part in (inside & marks, inside & ~marks):
        rows = np.flatnonzero(part)
        rows = rows[np.lexsort((l0[rows], classes[rows]))]
        kept = rows[evenly(classes[rows], room)]
        shown[kept], room = True, room - len(kept)
    return shown


def evenly(classes: Codes, most: int) -> Mask:
    """Of rows sorted by class at most so many: of each class all, or as many as of the others, evenly spread.

    >>> evenly(np.array([0, 0, 0, 0, 0, 1, 2, 2, 2]), 5).astype(int).tolist()
    [0, 0, 1, 0, 1, 1, 0, 1, 1]
    """
    sizes = np.unique(classes, return_counts=True)[1]
    quota = _quota(sizes, most)
    size = np.repeat(sizes, sizes)
    rank = np.arange(len(size)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    share = np.minimum(quota, size)
    return (rank + 1) * share // size > rank * share // size


def spread(l0: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Positions of at most so many points (two in any case), evenly over L0; all where they are no more."""
    if len(l0) <= max(most, 2):
        return np.arange(len(l0))
    return np.sort(np.argsort(l0, kind="stable")[evenly(np.zeros(len(l0), dtype=np.intp), max(most, 2))])


def _quota(sizes: NDArray[np.intp], most: int) -> int:
    """The largest number of each class that keeps the sum within `most`."""
    low, high = 0, int(sizes.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= most else (low, middle - 1)
    return low


def compared(found: Comparisons, table: pd.DataFrame, y: str) -> Mask:
    """Which rows the comparisons rest on, (rows,): the points of their shapes; elsewhere the chosen rows."""
    groups = Groups.of(table, found.group_columns, found.family_column or None)
    mask = chosen_rows(table, groups, objectives={"l0": "min", y: goal(table, y)}).mask
    numbers = {(_cell(found, g), str(g.get(groups.family, ""))): i for i, g in enumerate(groups.names)}
    cells = {_cell(found, s.group) for s in found.shapes}
    shaped = np.array([cell in cells for cell, _ in numbers], dtype=bool)[groups.codes]
    with np.errstate(divide="ignore", invalid="ignore"):
        own = _digests(groups.codes, np.log(values(table, "l0")), values(table, y))
    inside = np.isin(own, _points(found, numbers))
    return np.where(shaped, inside & table["excluded_because"].isna().to_numpy(), mask)


def _points(found: Comparisons, numbers: dict[tuple[Key, str], int]) -> NDArray[np.uint64]:
    """A digest of each point of the shapes."""
    cells = [(s, _cell(found, s.group)) for s in found.shapes]
    codes = [numbers[cell, name] for s, cell in cells for name in s.names]
    z, y = (np.concatenate([[], *(getattr(s, v) for s in found.shapes)]) for v in ("z", "y"))
    return _digests(np.array(codes, dtype=np.intp), z, y)


def _digests(codes: Codes, *numbers: NDArray[np.float64]) -> NDArray[np.uint64]:
    """One number for each row: its group and its coordinates to nine digits."""
    frame = pd.DataFrame({"group": np.asarray(codes, dtype=np.int64)})
    for i, v in enumerate(numbers):
        known = np.where(np.isfinite(v) & (v != 0), v, 1.0)
        size = np.floor(np.log10(np.abs(known)))
        frame[f"size {i}"] = size
        frame[f"digits {i}"] = np.where(known == v, np.round(known / 10**size, 8), v) + 0.0  # no -0.0
    return np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)
