"""How often verdicts and intervals are right on tables like the user's, simulated from its shared shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from frontier.calibration.coverage import Coverage, coverage, percent
from frontier.comparison.comparison import Comparisons
from frontier.comparison.verdicts import Decision, decisions, potency_limits
from frontier.metrics import give_back
from frontier.metrics.axes import falls_to_zero
from frontier.problems import Array
from frontier.ratios.observed import ObservedRatio, between, line_of
from frontier.results import Group, Result, held, in_words, telling
from frontier.shared_shape import MIDDLE, Analysis, Cell, SharedShape, analysed
from frontier.shared_shape.descent import STEEPEST
from frontier.views import View
from frontier.wording import number, plural

REPLICATES = 500
LEAST = 100
"""Tables, or all replicates where they are fewer, in which each family has the asked potency."""
TOLD = ("better", "worse", "crossing")
"""Verdicts that tell families apart."""


@dataclass(frozen=True)
class FamilyRates:
    """What is said of one family in simulated tables.

    Attributes
    ----------
    told_apart : share of the tables without differences with a verdict on this family
    power, reversed : share of the tables where its potency is the asked one, called rightly, and wrongly
    tables : number of the latter
    potency : Coverage
        Of the log potency, in all tables.
    """

    group: Group
    family: str
    reference: str
    told_apart: float
    power: float
    reversed: float
    tables: int
    potency: Coverage


@dataclass(frozen=True)
class CellRates:
    """One cell: the share of tables without differences in which any family is told apart; its families."""

    group: Group
    null_error: float
    families: tuple[FamilyRates, ...]


@dataclass(frozen=True, eq=False, repr=False)
class VerdictCalibration(Result):
    """Null error, power and coverage of a comparison, on tables simulated from its shapes.

    Attributes
    ----------
    cells : tuple of CellRates
    potency : float
        At which power is counted.
    level : float
        Of the intervals; verdicts err in 1 - level of cells at most.
    replicates, seed : int
        Simulated tables without differences, of each cell, and their random stream.
    """

    cells: tuple[CellRates, ...]
    potency: float
    level: float
    replicates: int
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def families(self) -> tuple[FamilyRates, ...]:
        """Every family of every cell."""
        return tuple(f for c in self.cells for f in c.families)

    @property
    def null_error(self) -> float:
        """Share of cells without differences in which a family is told apart."""
        return _mean([c.null_error for c in self.cells])

    @property
    def power(self) -> float:
        """Share of families of the asked potency that are called so, the mean over families."""
        return _mean([f.power for f in self.families])

    @property
    def covered(self) -> float:
        """Share of the potency's intervals that hold the truth, the mean over families."""
        return _mean([f.potency.covered for f in self.families])

    @property
    def sentence(self) -> str:
        """The result in plain words."""
        if not self.cells:
            return "Nothing to calibrate: no families were compared."
        what = "tables" if len(self.cells) == 1 else "cells"
        return (
            f"On tables like yours, equal families are told apart in {100 * self.null_error:.1f} % of "
            f"{what}; a potency of {self.potency:g} is seen in {100 * self.power:.0f} %; intervals hold "
            f"the truth in {100 * self.covered:.0f} %."
        )

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per cell and family; `null_error` is the cell's, `told_apart` the family's."""
        rows = [
            {
                **c.group, "family": f.family, "reference": f.reference, "null_error": c.null_error,
                "told_apart": f.told_apart, "potency": self.potency, "power": f.power,
                "reversed": f.reversed, "tables": f.tables, "covered": f.potency.covered,
                "missing": f.potency.missing, "width": f.potency.width, "level": self.level,
                "replicates": self.replicates,
            }
            for c in self.cells
            for f in c.families
        ]  # fmt: skip
        return give_back(pd.DataFrame(rows), backend)

    def _view(self) -> View:
        own = self.families
        grouped = list(dict.fromkeys(c for f in own for c in f.group))
        columns = telling(grouped, own)
        rows = tuple(
            (
                *(str(f.group[c]) for c in columns), f.family, percent(f.told_apart, self.replicates),
                percent(f.power, f.tables), f"{100 * f.reversed:.1f}", f.potency.cell,
                number(f.potency.width),
            )
            for f in own
        )  # fmt: skip
        headers = (
            *columns, "family", "told apart if equal, %", f"seen at {self.potency:g}, %", "reversed, %",
            "covered, %", "median width",
        )  # fmt: skip
        title = f"Verdicts on simulated tables{held(grouped, own, columns)}"
        return View(title, headers, rows, (self.sentence, *self.notes))


def verdict_rates(
    found: Comparisons,
    *,
    potency: float = 1.2,
    replicates: int = REPLICATES,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> VerdictCalibration:
    """Null error, power and coverage of a comparison, as `frontier.calibrate` gives them.

    Raises
    ------
    ValueError
        A potency of 1, or not above 0.
    """
    if not (math.isfinite(potency) and potency > 0 and potency != 1):
        raise ValueError(f"potency must be a factor above 0 and not 1, such as 1.2; found {potency!r}")
    rng = np.random.default_rng(seed)
    level = found.comparisons[0].potency.level if found.comparisons else 0.95
    cells = []
    for shape in found.shapes:
        if progress:
            progress(in_words(shape.group))
        cells.append(_Simulation.of(shape, math.log(potency), replicates, level, rng).rates(shape))
    notes = [f"{replicates} tables a cell with equal families, and more in which one of them has a potency."]
    notes.append("The SAEs are taken as given: luck in selecting a Pareto set is not counted.")
    if sloping := sum(not c.parallel for c in found):
        those = plural(sloping, "comparison")
        notes.append(f"Families are simulated on parallel curves; those of {those} are not.")
    if any(s.by_seed for s in found.shapes):
        notes.append("Runs are simulated as independent: what seeds have in common is not counted.")
    return VerdictCalibration(tuple(cells), float(potency), level, replicates, seed, (*notes, *found.notes))


@dataclass(frozen=True)
class _Simulation:
    """Simulated tables of one cell and what was said of them.

    `truth` holds log potencies, (tables, families without the reference); `equal` tables come first, then
    those in which one family, in turn, has the log potency `log`.
    """

    truth: Array
    equal: int
    log: float
    level: float
    said: NDArray[np.str_]
    low: Array
    high: Array

    @classmethod
    def of(
        cls, shape: SharedShape, log: float, equal: int, level: float, rng: np.random.Generator
    ) -> _Simulation:
        """All tables of one cell, simulated and analysed in one batch."""
        families = len(shape.shifts) - 1
        each = max(-(-equal // families), min(LEAST, equal))
        truth = np.concatenate([np.zeros((equal, families)), log * np.tile(np.eye(families), (each, 1))])
        cells = _cells(shape, truth, rng)
        said = np.full(truth.shape, "not comparable")
        low, high = np.full(truth.shape, np.nan), np.full(truth.shape, np.nan)
        for i, (cell, analysis) in enumerate(zip(cells, analysed(cells), strict=True)):
            if analysis is not None:
                said[i] = [d.verdict for d in _decided(cell, analysis, level)]
                limits = [potency_limits(p, MIDDLE, level) for p in analysis.pairs]
                low[i], high[i] = np.log(limits).T
        return cls(truth, equal, log, level, said, low, high)

    def rates(self, shape: SharedShape) -> CellRates:
        """The shares, counted."""
        reference, *families = shape.shifts
        told = np.isin(self.said[: self.equal], TOLD)
        right, wrong = ("better", "worse") if self.log > 0 else ("worse", "better")
        own = []
        for f, family in enumerate(families):
            moved = self.said[self.truth[:, f] != 0, f]
            truth, low, high = (v[:, f] for v in (self.truth, self.low, self.high))
            own.append(
                FamilyRates(
                    shape.group, family, reference, float(told[:, f].mean()), float((moved == right).mean()),
                    float((moved == wrong).mean()), len(moved),
                    coverage(shape.group, "relative potency", truth, low, high, self.level),
                )
            )  # fmt: skip
        return CellRates(shape.group, float(told.any(axis=1).mean()), tuple(own))


def _cells(shape: SharedShape, truth: Array, rng: np.random.Generator) -> list[Cell]:
    """One simulated cell per row of log potencies: the same families and L0, new noise of the same size."""
    sizes = tuple(shape.names.count(f) for f in shape.shifts)
    shifts = np.repeat(np.column_stack([np.zeros(len(truth)), truth]), sizes, axis=1)
    fitted = _expected(shape, shape.z + shifts)
    hits = shape.errors.observed(fitted, shape.sigma * rng.standard_normal(fitted.shape))
    floored = not falls_to_zero(shape.y_name)
    return [shape.cell_of(y, floored=floored) for y in hits]


def _expected(shape: SharedShape, z: Array) -> Array:
    """The hit at log L0 + shift `z`: the shape where it has points, beyond them straight on in log-log."""
    onto = shape.z + np.array([shape.shifts[n] for n in shape.names])
    curve = Polynomial(shape.coefficients)
    u, low, high = ((v - shape.middle) / shape.spread for v in (z, onto.min(), onto.max()))
    inside = np.clip(u, low, high)
    log = curve(inside) + np.minimum(curve.deriv()(inside), 0.0) * (u - inside)
    return np.asarray(np.exp(np.clip(log, -STEEPEST, STEEPEST)))


def _decided(cell: Cell, analysis: Analysis, level: float) -> list[Decision]:
    """Verdicts on one simulated cell, the veto of its interpolated points included."""
    edges = np.cumsum(cell.sizes)[:-1]
    l0, hits = np.split(np.exp(cell.z), edges), np.split(cell.y, edges)
    lines = [line_of(*points) for points in zip(l0, hits, strict=True)]
    seen: list[ObservedRatio | None] = [between({}, "", "", line, lines[0], "hit")[0] for line in lines[1:]]
    return decisions(analysis.pairs, seen, analysis.shape.scatter, alpha=1 - level)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
