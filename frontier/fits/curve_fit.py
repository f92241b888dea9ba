"""What a fit is: `CurveFit` for one group, `FrontierFits` for all groups of a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from frontier import intervals as ci
from frontier.curves import CURVES, VANISHING
from frontier.doubts import Doubt, in_text, placed
from frontier.errors import Errors, errors_model
from frontier.fits.goodness import GoodnessOfFit, goodness_of_fit, misfit
from frontier.intervals import Interval
from frontier.problems import Array, Estimate, Problem, Quantity, height, x_at
from frontier.results import Group, Result, held, in_words, telling
from frontier.views import View
from frontier.wording import folded, listed, nearest, number, p_value_text, plural

if TYPE_CHECKING:
    from lmfit.model import ModelResult
    from matplotlib.axes import Axes

    from frontier.tables.styles import Sheet


@dataclass(frozen=True, eq=False, repr=False)
class CurveFit(Result):
    """One curve fitted to one group of SAEs.

    `fit["k"]` is an `Interval`. The data stay with the fit, so that any further interval (`x_at`,
    `height_at`, `band`) can be asked for later.

    Attributes
    ----------
    curve, errors : str
        `errors` is additive, log, two_component or relative.
    group : dict
        Values of the group columns; empty for plain arrays.
    parameters : dict of str to Interval
        Free and fixed ones; a fixed one has no limits (NaN).
    fixed : dict of str to float
    x, y, weights : ndarray, shape (points,)
    rows : tuple
        What each point is called: its index label in the table, and its L0.
    runs : int
        SAEs behind the frontier that the points were selected from.
    y_better : str
        'higher' or 'lower': which side of y is better; empty where nobody has said.
    facts : dict
        What else must be equal for a comparison to be fair: protocol, ablation, model, ...
    rss, sigma, df : float
        Weighted residual sum of squares, residual standard deviation and degrees of freedom on the scale of
        the errors model (of log y for log errors, of y / fitted for relative ones).
    doubts : tuple of Doubt
        Why not to trust the numbers, gravest first.
    knee : float
        Two components: the height at which both are equal, sigma_add / sigma_rel; NaN for other errors.
    spent : float
        Degrees of freedom spent on the knee and on vanishing_l0 where they are estimated, shared among the
        groups that share them.
    """

    curve: str
    group: Group
    errors: str
    parameters: dict[str, Interval]
    fixed: dict[str, float]
    x: Array = field(repr=False)
    y: Array = field(repr=False)
    weights: Array = field(repr=False)
    rows: tuple[str, ...]
    x_name: str
    y_name: str
    runs: int
    rss: float
    sigma: float
    df: float
    level: float
    interval_method: str
    doubts: tuple[Doubt, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    knee: float = math.nan
    y_better: str = ""
    spent: float = 0.0

    def __getitem__(self, name: str) -> Interval:
        try:
            return self.parameters[name]
        except KeyError:
            raise KeyError(
                f"{self.curve} has no parameter {name!r}{nearest(name, self.parameters)}"
            ) from None

    @property
    def name(self) -> str:
        """The group in words."""
        return in_words(self.group) or "all rows"

    @property
    def n_points(self) -> int:
        """Number of fitted points."""
        return len(self.x)

    @property
    def given(self) -> dict[str, float]:
        """What was fixed by name or default: `fixed` without a vanishing_l0 that was fitted."""
        return {p: v for p, v in self.fixed.items() if not (p == VANISHING and self.spent > 0)}

    @property
    def shifted_x(self) -> Array:
        """The x that the curve's formula takes: x, or x - 1 / vanishing_l0."""
        return self.x - float(self.problem.offset)

    @property
    def values(self) -> dict[str, float]:
        """Parameter estimates."""
        return {name: p.estimate for name, p in self.parameters.items()}

    @property
    def cells(self) -> tuple[str, ...]:
        """Each parameter as tables show it: with its interval, or as fixed."""
        return tuple(
            f"{number(p.estimate)} (fixed)" if name in self.given else str(p)
            for name, p in self.parameters.items()
        )

    @cached_property
    def problem(self) -> Problem:
        """The fit as a problem of one column."""
        errors = errors_model(self.errors, self.knee)
        return Problem.of(self.curve, self.x, self.y, self.weights, errors, self.fixed, self.spent)

    @cached_property
    def estimate(self) -> Estimate:
        """The optimum with its covariance, from the batched engine."""
        return self.problem.fit()

    @cached_property
    def lmfit_result(self) -> ModelResult:
        """The same fit by lmfit, with its report, correlations and `conf_interval`.

        Log errors are fitted there as log y on the logarithm of the model.
        """
        from frontier.fits.lmfit_models import lmfit_fit

        return lmfit_fit(self)

    def predict(self, x: ArrayLike) -> Array:
        """The curve's height at x, shape of x."""
        return CURVES[self.curve].value(x, self.values)

    def x_at(self, y: float, *, level: float | None = None, method: str | None = None) -> Interval:
        """The x at which the curve reaches height `y`, with its interval."""
        return self.interval_of(x_at(y), level=level, method=method)

    def height_at(self, x: float, *, level: float | None = None, method: str | None = None) -> Interval:
        """The curve's height at `x`, with its interval."""
        return self.interval_of(height(x), level=level, method=method)

    def interval_of(
        self, quantity: Quantity, *, level: float | None = None, method: str | None = None
    ) -> Interval:
        """Interval of any quantity of this fit (see `problems.Quantity`)."""
        level = self.level if level is None else level
        return ci.intervals_of(self.estimate, quantity, level, method or self.interval_method)[0]

    def band(self, x: ArrayLike, *, level: float | None = None, prediction: bool = False) -> pd.DataFrame:
        """Curve with a pointwise band: columns x, y, low, high.

        The confidence band is Wald on the scale of the errors (log y for the power law and Hill, so that it
        stays positive). The prediction band adds the residual spread of one further SAE.
        Source: Seber & Wild, Nonlinear Regression (1989), section 5.1.
        """
        x = np.atleast_1d(np.asarray(x, dtype=float))
        level = self.level if level is None else level
        repeated = self.repeated(len(x))
        y = self.predict(x)
        low, high = (repeated.readable(height(x), v) for v in ci.wald(repeated, height(x), level))
        if prediction:
            reach = float(ci.t_quantile(self.df, level)) * self.sigma
            low, high = _with_noise(y, low, high, reach, self.problem.errors)
        return pd.DataFrame({"x": x, "y": y, "low": low, "high": high})

    def repeated(self, times: int) -> Estimate:
        """The optimum as `times` equal columns, for quantities at as many places."""
        return _repeat(self.estimate, times)

    def jackknife(self, quantity: Quantity) -> Array:
        """The quantity with each point left out in turn, shape (points,); NaN where that fit fails."""
        return self.estimate.readable(quantity, ci.leave_one_out(self.estimate, quantity)[0])

    def power_law_rss(self) -> float | None:
        """RSS of the power law on the same data and errors; None where it cannot be fitted."""
        if self.curve != "hill":
            return None
        fixed = {k: v for k, v in self.fixed.items() if k == VANISHING}
        s = Problem.of("power", self.x, self.y, self.weights, self.problem.errors, fixed).fit().solution
        return float(s.rss[0]) if s.converged[0] else None

    def plot(self, ax: Axes | None = None, **style: Any) -> Axes:
        """Points, curve and band; the part beyond the data is drawn dashed."""
        from frontier.figures.fits import draw_fit

        return draw_fit(self, ax=ax, **style)

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row: the columns of `FrontierFits.to_frame`."""
        from frontier.metrics import give_back

        return give_back(pd.DataFrame([_record(self)]), backend)

    @property
    def _spread(self) -> str:
        """The residual SD; of two components both."""
        if math.isnan(self.knee):
            return number(self.sigma)
        return f"{number(100 * self.sigma, 2)} % and {number(self.sigma * self.knee, 2)}"

    def _view(self) -> View:
        rows = tuple(zip(self.parameters, self.cells, strict=True))
        title = f"{self.curve.capitalize()} fit of {self.name}: {self.y_name} against {self.x_name}"
        remark = (
            f"{plural(self.n_points, 'point')}, {self.errors} errors, residual SD {self._spread}, "
            f"{number(self.df)} degrees of freedom; {self.interval_method} intervals"
        )
        headers = ("parameter", f"estimate [{100 * self.level:g} % interval]")
        return View(title, headers, rows, (remark,), placed(self.doubts))


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
        rows = [_record(f) for f in self.fits]
        rows += [{**f.group, **empty, "n_points": f.n_points, "doubts": f.reason} for f in self.failures]
        return give_back(pd.DataFrame(rows), backend)

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
        remarks = (*self.notes, *self._misfits(), *(f.reason for f in self.failures))
        title = f"{plural(len(self.fits), f'{self.curve.capitalize()} fit')}"
        if self.fits:
            title += f": {self.fits[0].y_name} against {self.fits[0].x_name}"
            title += "".join(f", {p} = {number(v)} fixed" for p, v in fixed.items())
        title += held(self.group_columns, everyone, shown)
        return View(title, headers, tuple(rows), remarks, doubts, place="group")


def _repeat(estimate: Estimate, times: int) -> Estimate:
    """A one-column estimate as `times` equal columns."""
    p, s = estimate.problem, estimate.solution

    def r(a: np.ndarray) -> np.ndarray:
        return np.repeat(a, times, axis=-1)

    solution = type(s)(r(s.theta), r(s.rss), r(s.gradient), r(s.information), r(s.weights), r(s.converged))
    return Estimate(p.take(np.zeros(times, dtype=np.intp)), solution, r(estimate.centre))


def _record(f: CurveFit) -> dict[str, Any]:
    row: dict[str, Any] = {**f.group, "curve": f.curve, "errors": f.errors, "n_points": f.n_points}
    for name, p in f.parameters.items():
        row |= {name: p.estimate, f"{name}_low": p.low, f"{name}_high": p.high}
    row |= {"sigma": f.sigma, "df": f.df, "rss": f.rss, "runs": f.runs}
    if not math.isnan(f.knee):
        row["sigma_add"] = f.sigma * f.knee
    if f.curve == "hill":
        row["extrapolation"] = f["k"].estimate / float(f.shifted_x.max())
    return {**row, "doubts": in_text(f.doubts)}


def _matches(group: Group, wanted: Any, same: Callable[[Any], Any]) -> bool:
    if isinstance(wanted, dict):
        return all(k in group and same(group[k]) == same(v) for k, v in wanted.items())
    return all(same(v) in map(same, group.values()) for v in wanted)


def _with_noise(y: Array, low: Array, high: Array, reach: float, errors: Errors) -> tuple[Array, Array]:
    """A confidence band widened by the spread of one further point, on the scale of the errors."""
    middle, noise = errors.scale(y), reach * errors.step(y)
    below, above = np.hypot(middle - errors.scale(low), noise), np.hypot(errors.scale(high) - middle, noise)
    return errors.unscale(middle - below), errors.unscale(middle + above)
