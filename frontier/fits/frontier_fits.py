"""The fits of all groups of a table: `FrontierFits`, and `GroupFailure` where a group has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from frontier.curves import CURVES
from frontier.doubts import placed
from frontier.fits.curve_fit import CurveFit
from frontier.fits.goodness import GoodnessOfFit, goodness_of_fit, misfit
from frontier.problems import Array
from frontier.results import Group, Result, held, in_words, telling
from frontier.views import View
from frontier.wording import folded, listed, number, p_value_text, plural

if TYPE_CHECKING:
    from frontier.tables.styles import Sheet


@dataclass(frozen=True, eq=False, repr=False)
class GroupFailure(Result):
    """A group without a fit, and why."""

    group: Group
    reason: str
    n_points: int

    def _view(self) -> View:
        return View(in_words(self.group), ("not fitted",), ((self.reason,),))


@dataclass(frozen=True, eq=False, repr=False)
class FrontierFits(Result):
    """One curve fitted to every group of a table.

    `fits["Resid", "gated"]` finds the one group that holds all the given values; `to_frame()` has one row
    per group, groups without a fit included.
    """

    curve: str
    fits: tuple[CurveFit, ...]
    failures: tuple[GroupFailure, ...]
    group_columns: tuple[str, ...]
    family_column: str
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[CurveFit]:
        return iter(self.fits)

    def __len__(self) -> int:
        return len(self.fits)

    def __getitem__(self, key: Any) -> CurveFit:
        if isinstance(key, (int, np.integer)) and not any(key in f.group.values() for f in self.fits):
            return self.fits[key]
        wanted = key if isinstance(key, dict) else (key if isinstance(key, tuple) else (key,))
        everyone: list[CurveFit | GroupFailure] = [*self.fits, *self.failures]
        exact = any(_matches(f.group, wanted, lambda v: v) for f in everyone)
        same = (lambda v: v) if exact else folded
        found = [f for f in self.fits if _matches(f.group, wanted, same)]
        if len(found) == 1:
            return found[0]
        for failure in self.failures:
            if _matches(failure.group, wanted, same):
                raise KeyError(f"group {key!r} has no fit: {failure.reason}")
        names = [in_words(f.group) for f in (found or self.fits)]
        raise KeyError(
            f"{'several groups match' if found else 'no group'} {key!r}; there are: {listed(names, 12)}"
        )

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per group.

        Returns
        -------
        DataFrame
            The group columns, `curve`, `errors`, `n_points`, for every parameter p the columns p, p_low,
            p_high (limits missing where p is fixed), `sigma` (and `sigma_add`, the fixed part of two
            components), `df`, `rss`, `runs`, `extrapolation`
            (k / largest x), and `doubts`, which holds the reason where a group has no fit.
        """
        from frontier.metrics import give_back

        empty = {"curve": self.curve, "errors": None}
        rows = [f.record for f in self.fits]
        rows += [{**f.group, **empty, "n_points": f.n_points, "doubts": f.reason} for f in self.failures]
        return give_back(pd.DataFrame(rows), backend)

    def predict(self, x: ArrayLike) -> Array:
        """The height of every curve at x, shape (fits, *x.shape), in the order of `fits`."""
        return np.stack([f.predict(x) for f in self.fits])

    @cached_property
    def goodness(self) -> tuple[GoodnessOfFit, ...]:
        """Whether the curve fits, cell by cell (see `GoodnessOfFit`)."""
        return goodness_of_fit(self.fits, self.family_column)

    def plot(self, **options: Any) -> Any:
        """All fits in one figure (see `plot_fits`)."""
        from frontier.figures import plot_fits

        return plot_fits(self, **options)

    def _sheets(self) -> tuple[Sheet, ...]:
        from frontier.tables.contents import fits_sheet

        return (fits_sheet(self),)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is said of all fits together: first where the curve does not fit."""
        return (*self._misfits(), *self.notes)

    def _misfits(self) -> Iterator[str]:
        """In how many cells the curve does not fit."""
        rejected = [g for g in self.goodness if g.rejected]
        if rejected:
            cells = plural(len(self.goodness), "cell")
            where = f" in {len(rejected)} of {cells}" if len(self.goodness) > 1 else ""
            text = misfit(self.curve, rejected[0].parameters, where)
            p = p_value_text(min(g.p_value for g in rejected))
            yield f"{text[0].upper()}{text[1:]} (pooled curvature, p {p})."

    def _view(self) -> View:
        curve = CURVES[self.curve]
        everyone: tuple[CurveFit | GroupFailure, ...] = (*self.fits, *self.failures)
        shown = telling(self.group_columns, everyone) or list(self.group_columns)
        fixed = self.fits[0].given if self.fits else {}
        names = [p for p in (self.fits[0].parameters if self.fits else curve.parameters) if p not in fixed]
        rows = [
            (
                *(str(f.group[c]) for c in shown), *(str(f[p]) for p in names), str(f.n_points), f.errors,
                str(len(f.doubts) or ""),
            )
            for f in self.fits
        ]  # fmt: skip
        for failure in self.failures:
            blank = ("not fitted", *[""] * (len(names) - 1))
            rows.append((*(str(failure.group[c]) for c in shown), *blank, str(failure.n_points), "", "1"))
        headers = (*shown, *names, "points", "errors", "doubts")
        doubts = tuple(pair for f in self.fits for pair in placed(f.doubts, f.name))
        remarks = (*self.remarks, *(f.reason for f in self.failures))
        title = f"{plural(len(self.fits), f'{self.curve.capitalize()} fit')}"
        if self.fits:
            title += f": {self.fits[0].y_name} against {self.fits[0].x_name}"
            title += "".join(f", {p} = {number(v)} fixed" for p, v in fixed.items())
        title += held(self.group_columns, everyone, shown)
        return View(title, headers, tuple(rows), remarks, doubts, place="group")


def _matches(group: Group, wanted: Any, same: Callable[[Any], Any]) -> bool:
    if isinstance(wanted, dict):
        return all(k in group and same(group[k]) == same(v) for k, v in wanted.items())
    return all(same(v) in map(same, group.values()) for v in wanted)
