"""What the fit of one group is: `CurveFit`."""

from __future__ import annotations

import math
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
from frontier.fits.nuisance import Nuisance, intervals_with
from frontier.intervals import Interval
from frontier.problems import Array, Estimate, Problem, Quantity, height, x_at
from frontier.results import Group, Result, in_words
from frontier.views import View
from frontier.wording import nearest, number, plural

if TYPE_CHECKING:
    from lmfit.model import ModelResult
    from matplotlib.axes import Axes


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
    weights_of_y : bool
        Whether the weights come from standard errors of y, so that under another errors model they differ.
    shared : tuple of Nuisance
        What the groups of a cell share and is estimated: the knee, `vanishing_l0`. Profile intervals are
        profiles over it too; other intervals hold it at its estimate.
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
    weights_of_y: bool = False
    shared: tuple[Nuisance, ...] = ()

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

    def weights_under(self, errors: Errors) -> Array:
        """The weights of the squares where the same points are fitted with another errors model."""
        if not self.weights_of_y:
            return self.weights
        return errors.weights_of(self.y, self.weights / self.problem.errors.variance(self.y))

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
        return intervals_with(self.estimate, [self.shared], quantity, level, method or self.interval_method)[
            0
        ]

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

        return give_back(pd.DataFrame([self.record]), backend)

    @property
    def record(self) -> dict[str, Any]:
        """The row of `to_frame`."""
        row: dict[str, Any] = {
            **self.group, "curve": self.curve, "errors": self.errors, "n_points": self.n_points,
        }  # fmt: skip
        for name, p in self.parameters.items():
            row |= {name: p.estimate, f"{name}_low": p.low, f"{name}_high": p.high}
        row |= {"sigma": self.sigma, "df": self.df, "rss": self.rss, "runs": self.runs}
        if not math.isnan(self.knee):
            row["sigma_add"] = self.sigma * self.knee
        if self.curve == "hill":
            row["extrapolation"] = self["k"].estimate / float(self.shifted_x.max())
        return {**row, "doubts": in_text(self.doubts)}

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


def _repeat(estimate: Estimate, times: int) -> Estimate:
    """A one-column estimate as `times` equal columns."""
    p, s = estimate.problem, estimate.solution

    def r(a: np.ndarray) -> np.ndarray:
        return np.repeat(a, times, axis=-1)

    solution = type(s)(r(s.theta), r(s.rss), r(s.gradient), r(s.information), r(s.weights), r(s.converged))
    return Estimate(p.take(np.zeros(times, dtype=np.intp)), solution, r(estimate.centre))


def _with_noise(y: Array, low: Array, high: Array, reach: float, errors: Errors) -> tuple[Array, Array]:
    """A confidence band widened by the spread of one further point, on the scale of the errors."""
    middle, noise = errors.scale(y), reach * errors.step(y)
    below, above = np.hypot(middle - errors.scale(low), noise), np.hypot(errors.scale(high) - middle, noise)
    return errors.unscale(middle - below), errors.unscale(middle + above)
