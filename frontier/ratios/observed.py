"""Ratios read off the observed frontiers, without any curve: log-log interpolation between points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from frontier.doubts import Doubt, Kind, in_text, placed
from frontier.groups import Groups
from frontier.guard import guard
from frontier.metrics import give_back, metrics_table, values, y_axis
from frontier.metrics.axes import falling_axis
from frontier.metrics.checks import TableError
from frontier.pareto.rows import chosen_rows
from frontier.problems import Array
from frontier.ratios.pairs import reference_in
from frontier.records import recorded
from frontier.results import Group, Result, Rows, held, telling
from frontier.sign_changes import sign_changes
from frontier.views import View
from frontier.wording import known, listed, number, plural

Line = tuple[Array, Array]
"""A frontier as a broken line: abscissas in rising order, and heights."""


@dataclass(frozen=True, eq=False, repr=False)
class ObservedRatio(Result):
    """One observed ratio over the range that both frontiers cover: mean, extremes, crossing.

    Attributes
    ----------
    quantity : str
        relative_potency = L0(reference) / L0(family) at equal hit, or hit_ratio = hit(family) /
        hit(reference) at equal L0.
    ratio : float
        Geometric mean, uniform in the logarithm of the hit (or of L0), exact for the interpolated lines.
    ratio_min, ratio_max : float
        Extremes over the common range: no confidence limits.
    from_, to : float
        The common range of the hit (or of L0).
    crossing_l0 : tuple of float
        L0 of the reference where the frontiers cross.
    """

    group: Group
    family: str
    reference: str
    quantity: str
    ratio: float
    ratio_min: float
    ratio_max: float
    from_: float
    to: float
    crossing_l0: tuple[float, ...]
    doubts: tuple[Doubt, ...] = ()

    @property
    def crosses(self) -> bool:
        """Whether the frontiers cross inside the common range."""
        return bool(self.crossing_l0)

    def _view(self) -> View:
        return ObservedRatios((self,), tuple(self.group))._view()


@dataclass(frozen=True, eq=False, repr=False)
class ObservedRatios(Rows[ObservedRatio]):
    """Observed ratios of families to one reference."""

    ratios: tuple[ObservedRatio, ...]
    group_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    _noun = "observed ratios"
    _how = "name group values, family and quantity so that one does"

    @property
    def _rows(self) -> tuple[ObservedRatio, ...]:
        return self.ratios

    def _labels(self, row: ObservedRatio) -> tuple[Any, ...]:
        return (row.quantity, *super()._labels(row))

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per ratio.

        Returns
        -------
        DataFrame
            The group columns, `family`, `reference`, `quantity`, `ratio`, `ratio_min`, `ratio_max`, `from`,
            `to`, `crossing_l0` (the first; missing where they do not cross), `doubts`.
        """
        rows = [
            {
                **r.group, "family": r.family, "reference": r.reference, "quantity": r.quantity,
                "ratio": r.ratio, "ratio_min": r.ratio_min, "ratio_max": r.ratio_max,
                "from": r.from_, "to": r.to, "crossing_l0": r.crossing_l0[0] if r.crossing_l0 else math.nan,
                "doubts": in_text(r.doubts),
            }
            for r in self.ratios
        ]  # fmt: skip
        return give_back(pd.DataFrame(rows), backend)

    def _view(self) -> View:
        columns = telling(self.group_columns, self.ratios)
        rows = tuple(
            (
                *(str(r.group[c]) for c in columns), r.family, r.reference, r.quantity, number(r.ratio),
                f"{number(r.ratio_min)} to {number(r.ratio_max)}", f"{number(r.from_)} to {number(r.to)}",
                listed([number(c) for c in r.crossing_l0]),
            )
            for r in self.ratios
        )  # fmt: skip
        headers = (
            *columns, "family", "reference", "quantity", "mean", "minimum to maximum", "over", "cross at L0",
        )  # fmt: skip
        doubts = placed(d for r in self.ratios for d in r.doubts)
        title = "Observed ratios, interpolated between points"
        title += held(self.group_columns, self.ratios, columns)
        return View(title, headers, rows, self.notes, doubts)


@recorded
def observed_potency(
    table: Any,
    reference: str | None = None,
    by: Sequence[str] | str | None = None,
    *,
    rows: str = "auto",
    y: str | None = None,
    max_l0: float | None = None,
    objectives: Mapping[str, str] | None = None,
    family: str = "family",
    across: Sequence[str] = (),
) -> ObservedRatios:
    """L0 ratio at equal hit, and hit ratio at equal L0, of the observed points, without a curve.

    Both frontiers are interpolated linearly in log L0 and log y and compared where both exist; nothing is
    extrapolated. Runs of equal L0, and neighbours out of order, are averaged first.

    Parameters
    ----------
    table : anything that `metrics_table` takes
    reference : name of a family
        Default as in `ratio_table`.
    by : column names, optional
        Cells, as in `pareto_set`.
    rows : {"auto", "pareto", "all"}
        Which runs make a frontier; as in `chosen_rows`.
    y : column name
        Default performance_hit; lower must be better, and only positive values have a logarithm.

    Raises
    ------
    TableError, ValueError
        As `pareto_set` and `ratio_table`.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> found = frontier.observed_potency(table, reference="baseline")
    >>> len(found)
    6
    """
    table = metrics_table(table)
    y = falling_axis(table, y_axis(table, y))
    groups = Groups.of(table, by, family)
    guard(table, groups.cells, across, groups.family)
    if not groups.family:
        raise TableError("the table has no architecture or family column, so there is nothing to compare")
    chosen = chosen_rows(table, groups, rows, objectives=objectives or {"l0": "min", y: "min"})
    found = of_chosen(chosen.table, groups, reference_in(table, groups, y, reference), y, max_l0)
    notes = dict.fromkeys(n for n in (*groups.notes, chosen.set_aside, chosen.note, *found.notes) if n)
    return replace(found, notes=tuple(notes))


def of_chosen(
    front: pd.DataFrame, groups: Groups, name: str, y: str, max_l0: float | None = None
) -> ObservedRatios:
    """The observed ratios of rows that may meet, to the family of this name; notes on cells without it."""
    if max_l0 is not None:
        front = front[values(front, "l0") <= max_l0]
    inside = groups.on(front)
    l0, height = values(front, "l0"), values(front, y)
    parts = (inside.rows_of(i) for i in range(len(inside.names)))
    lines = [line_of(l0[own], height[own]) for own in parts]
    pairs, remarks = inside.pairs(name)
    found: list[ObservedRatio] = []
    for cell, one, other in pairs:
        called = str(inside.names[one][groups.family])
        found += between(cell, called, name, lines[one], lines[other], y)
    return ObservedRatios(tuple(found), groups.cells, tuple(remarks))


def line_of(l0: Array, height: Array) -> Line:
    """Log L0 and log y of one frontier, both in order; points without a logarithm left out.

    Runs of equal L0, and neighbours that are out of order, count as one point, their mean (isotonic
    regression): a Pareto set stays as it is.
    """
    keep = (l0 > 0) & (height > 0)
    x, place, runs = np.unique(np.log(l0[keep]), return_inverse=True, return_counts=True)
    if not len(x):
        return x, x
    mean = np.bincount(place, np.log(height[keep])) / runs
    if (np.diff(mean) < 0).all():
        return x, mean
    blocks = isotonic_regression(mean, weights=runs, increasing=False).blocks
    weight = np.add.reduceat(runs, blocks[:-1])
    at, out = (np.add.reduceat(v * runs, blocks[:-1]) / weight for v in (x, mean))
    return at, out


def between(group: Group, family: str, reference: str, one: Line, two: Line, y: str) -> list[ObservedRatio]:
    """Both ratios of one pair; `one` and `two` hold log L0 and log y."""
    crossings = _crossings(one, two)
    pair, cell = f"{family} and {reference}", listed(list(known(group).values()))
    where = f" in {cell}" if cell else ""
    places = listed([number(c) for c in crossings])
    crossing = Doubt(
        Kind.crossing, f"The interpolated frontiers of {pair} cross{where} at L0 {places}.", pair, cell=cell,
        numbers={f"L0 {i}": v for i, v in enumerate(crossings)},
    )  # fmt: skip
    rows = []
    for quantity, axis in (("relative_potency", y), ("hit_ratio", "L0")):
        lines = one, two
        if quantity == "relative_potency":  # log L0 of the reference over that of the family, against log y
            lines = (two[1][::-1], two[0][::-1]), (one[1][::-1], one[0][::-1])
        knots, gap = _gap(*lines)
        doubts = [crossing] if crossings else []
        if not knots.size:
            mean = least = most = low = high = math.nan
            text = f"{pair} have no common range of {axis}{where}; no observed ratio is given."
            doubts = [Doubt(Kind.no_overlap, text, pair, quantity=quantity, cell=cell)]
        else:
            low, high = float(knots[0]), float(knots[-1])
            mean = float(np.diff(knots) @ (gap[1:] + gap[:-1])) / 2 / (high - low)  # numpy 1 has no trapezoid
            least, most = float(gap.min()), float(gap.max())
            inside = min(int(((at >= low) & (at <= high)).sum()) for at, _ in lines)
            if inside < 2:
                count = plural(inside, "point")
                text = f"Only {count} of one frontier in the common range of {axis}{where}."
                numbers = {"points": inside}
                doubts.append(Doubt(Kind.small_overlap, text, pair, "", quantity, cell, numbers))
        v = [float(np.exp(log)) for log in (mean, least, most, low, high)]
        crossed = crossings if knots.size else ()
        rows.append(
            ObservedRatio(
                group, family, reference, quantity, v[0], v[1], v[2], v[3], v[4], crossed, tuple(doubts)
            )
        )
    return rows


def ratio_at(one: Line, two: Line, hit: float) -> float:
    """L0 of the second line over that of the first at a hit; NaN where one of them does not reach it.

    >>> lines = [(np.log([10.0, 40.0]), np.log([0.4, 0.1])), (np.log([20.0, 80.0]), np.log([0.4, 0.1]))]
    >>> round(ratio_at(*lines, 0.2), 3), ratio_at(*lines, 0.05)
    (2.0, nan)
    """
    logs = (np.interp(math.log(hit), y[::-1], x[::-1], math.nan, math.nan) if len(x) else math.nan
            for x, y in (one, two))  # fmt: skip
    first, second = logs
    return float(np.exp(second - first))


def _gap(one: Line, two: Line) -> Line:
    """The difference of two lines at all their corners inside the range that both cover; may be empty."""
    if len(one[0]) and len(two[0]):
        low, high = max(one[0].min(), two[0].min()), min(one[0].max(), two[0].max())
        if low < high:
            knots = np.unique(np.concatenate([[low, high], one[0], two[0]]).clip(low, high))
            return knots, np.interp(knots, *one) - np.interp(knots, *two)
    return np.empty(0), np.empty(0)


def _crossings(one: Line, two: Line) -> tuple[float, ...]:
    """L0 where two interpolated frontiers cross, inside their common range of L0."""
    return tuple(math.exp(at) for _, _, at in sign_changes(*_gap(one, two)))
