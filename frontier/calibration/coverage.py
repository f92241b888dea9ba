"""What the intervals of a set of fits cover, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from frontier.metrics import give_back
from frontier.problems import Array
from frontier.results import Group, Result, in_words
from frontier.views import View
from frontier.wording import number


@dataclass(frozen=True, eq=False, repr=False)
class Coverage(Result):
    """How often the intervals of one quantity held the truth.

    Attributes
    ----------
    covered, standard_error : share of the simulated tables with an interval, and its binomial error
    missing : share of the tables without an interval (no convergence, or limits that could not be followed)
    open : share of the intervals with an infinite limit
    width : median width, on the log scale for positive quantities
    """

    group: Group
    quantity: str
    level: float
    covered: float
    standard_error: float
    missing: float
    open: float
    width: float
    tables: int

    @property
    def cell(self) -> str:
        """The share in per cent, with its error."""
        return f"{100 * self.covered:.1f} ± {100 * self.standard_error:.1f}"

    def _view(self) -> View:
        return Calibration((self,), self.level, 0)._view()


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(Result):
    """Coverage of every interval of a set of fits."""

    coverages: tuple[Coverage, ...]
    level: float
    seed: int

    @property
    def worst(self) -> Coverage:
        """The quantity whose coverage is furthest from the level."""
        return max(self.coverages, key=lambda c: abs(c.covered - c.level))

    @property
    def sentence(self) -> str:
        """The result in plain words."""
        if not self.coverages:
            return "Nothing to calibrate."
        mean = float(np.mean([c.covered for c in self.coverages]))
        w = self.worst
        where = f" of {in_words(w.group)}" if w.group else ""
        return (
            f"In {w.tables} simulated tables like yours the {100 * self.level:g} % intervals covered "
            f"{100 * mean:.1f} % on average; worst: {w.quantity}{where}, {100 * w.covered:.1f} %. "
            "The SAEs are taken as given: luck in selecting a Pareto set is not counted."
        )

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per group and quantity."""
        rows = [
            {
                **c.group, "quantity": c.quantity, "level": c.level, "covered": c.covered,
                "standard_error": c.standard_error, "missing": c.missing, "open": c.open, "width": c.width,
                "tables": c.tables,
            }
            for c in self.coverages
        ]  # fmt: skip
        return give_back(pd.DataFrame(rows), backend)

    def _view(self) -> View:
        rows = tuple(
            (
                in_words(c.group), c.quantity, c.cell,
                f"{100 * c.open:.1f}", f"{100 * c.missing:.1f}", number(c.width),
            )
            for c in self.coverages
        )  # fmt: skip
        headers = ("group", "quantity", "covered %", "open ends %", "no interval %", "median width")
        return View(f"Coverage of {100 * self.level:g} % intervals", headers, rows, (self.sentence,))


def coverage(
    group: Group, name: str, truth: float | Array, low: Array, high: Array, level: float
) -> Coverage:
    """Share of the intervals [low, high] that hold `truth`."""
    made = ~(np.isnan(low) | np.isnan(high))
    n = int(made.sum())
    share = float(((low <= truth) & (truth <= high))[made].mean()) if n else math.nan
    width = (high - low)[made]
    finite = np.isfinite(width)
    return Coverage(
        dict(group), name, level, share, _share_error(share, n),
        1 - n / len(low), float((~finite).mean()) if n else math.nan,
        float(np.median(width[finite])) if finite.any() else math.inf, len(low),
    )  # fmt: skip


def _share_error(share: float, n: int) -> float:
    """Standard error of a share, two hits and two misses added so that 0 and 1 have one (Agresti & Coull)."""
    p = (share * n + 2) / (n + 4)
    return math.sqrt(p * (1 - p) / (n + 4)) if n else math.nan


def percent(share: float, n: int) -> str:
    """A share of `n` tables in per cent, with its standard error.

    >>> percent(0.05, 500)
    '5.0 ± 1.0'
    """
    return f"{100 * share:.1f} ± {100 * _share_error(share, n):.1f}"
