"""The shape that the families of one cell share, as a result: points, shifts, curve, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from frontier.curves import Array
from frontier.errors import Errors
from frontier.results import Group, Result, in_words
from frontier.shared_shape.analysis import CellShape
from frontier.shared_shape.cells import Cell
from frontier.shared_shape.descent import STEEPEST
from frontier.shared_shape.excess import errors_of
from frontier.views import View
from frontier.wording import number, p_value_cell

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, eq=False, repr=False)
class SharedShape(Result):
    """All families of one cell, shifted onto one curve.

    Attributes
    ----------
    group : dict
        The cell.
    reference : str
    y_name : str
    names : tuple of str, (points,)
        The family of each point.
    z, y : (points,)
        log L0 and hit.
    shifts : dict of family to float
        Log relative potency, 0 for the reference: what is added to log L0.
    coefficients : (degree + 1,)
        log hit of the reference = Σ coefficients u^j, u = (log L0 − middle) / spread.
    knee : float
        Of the errors: the knee of two components, minus a floor of y, or 0 for log errors.
    sigma, df : float
        Residual SD on the errors' scale, around the families' own curves, and its degrees of freedom.
    p_lack_of_fit, autocorrelation, p_autocorrelation : float
        Of two further powers in the shape; of neighbouring residuals along a family.
    by_seed : bool
        Whether seeds are the unit.
    runs_per_kept : float
        Runs over those that are compared, where a search was narrowed to its Pareto sets.
    places : tuple of int
        Places on its curve that each family's points stand for; empty for as many as points.
    setting, seed : tuple of int, (points,)
        Indices of each point's, where settings were run with several seeds; else empty.
    """

    group: Group
    reference: str
    y_name: str
    names: tuple[str, ...]
    z: Array
    y: Array
    shifts: dict[str, float]
    coefficients: Array
    middle: float
    spread: float
    knee: float
    sigma: float
    df: float
    p_lack_of_fit: float
    autocorrelation: float
    p_autocorrelation: float
    by_seed: bool
    runs_per_kept: float = 1.0
    places: tuple[int, ...] = ()
    setting: tuple[int, ...] = ()
    seed: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, group: Group, y_name: str, families: Sequence[str], cell: Cell, shape: CellShape
    ) -> SharedShape:
        """The result behind an analysed cell; the reference is the first of `families`."""
        s = shape.scatter
        names = tuple(f for f, n in zip(families, cell.sizes, strict=True) for _ in range(n))
        setting, seed = (() if v is None else tuple(v.tolist()) for v in (cell.setting, cell.seeds))
        return cls(
            group, families[0], y_name, names,
            cell.z, cell.y, {f: float(v) for f, v in zip(families, shape.shifts, strict=True)},
            shape.coefficients, shape.middle, shape.spread, shape.constant, s.sigma, s.df, s.p_lack_of_fit,
            s.autocorrelation, s.p_autocorrelation, s.widened.by_seed, cell.runs_per_kept, cell.settings,
            setting, seed,
        )  # fmt: skip

    def cell_of(self, y: Array, *, floored: bool) -> Cell:
        """A cell of the same families, L0, settings and seeds with other hits."""
        sizes = tuple(self.names.count(f) for f in self.shifts)
        setting, seeds = (np.array(v) if v else None for v in (self.setting, self.seed))
        return Cell(
            self.z, y, sizes, seeds=seeds, runs_per_kept=self.runs_per_kept, floored=floored,
            settings=self.places, setting=setting,
        )  # fmt: skip

    @property
    def errors(self) -> Errors:
        """The errors model."""
        return errors_of(self.knee)

    def expected(self, l0: ArrayLike) -> npt.NDArray[np.float64]:
        """The hit of the reference at `l0`, shape of l0."""
        u = (np.log(np.asarray(l0, dtype=float)) - self.middle) / self.spread
        return np.exp(np.clip(np.polynomial.polynomial.polyval(u, self.coefficients), -STEEPEST, STEEPEST))

    @property
    def fitted(self) -> Array:
        """The common curve at each point's shifted L0, (points,)."""
        return self.expected(np.exp(self.z + np.array([self.shifts[n] for n in self.names])))

    @property
    def residuals(self) -> Array:
        """Residuals from the common curve in standard deviations, (points,)."""
        return self.errors.residual(self.y, self.fitted) / (self.sigma if self.sigma > 0 else 1.0)

    def plot(self, axes: Any = None) -> Any:
        """The collapse plot; see `frontier.plot_collapse`."""
        from frontier.figures import plot_collapse

        return plot_collapse(self, axes)

    def _view(self) -> View:
        where = in_words(self.group)
        rows = tuple((f, number(float(np.exp(s))), str(self.names.count(f))) for f, s in self.shifts.items())
        remarks = (
            f"A polynomial of degree {len(self.coefficients) - 1} in log L0, {self.errors.name} errors; p of "
            f"lack of fit {p_value_cell(self.p_lack_of_fit) or 'unknown'}.",
        )
        title = f"Shared shape{': ' + where if where else ''}, shifted onto {self.reference}"
        return View(title, ("family", "relative potency", "SAEs"), rows, remarks)
