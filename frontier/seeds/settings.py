"""Runs that differ by their seed only: their scatter, the fit of a curve against it, and paired batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import fdtrc

from frontier.arguments import checked
from frontier.distributions import t_quantile, two_sided
from frontier.doubts import Doubt, Kind, placed
from frontier.fits.curve_fit import CurveFit
from frontier.fits.points import point_names
from frontier.groups import Codes, Groups, setting_codes
from frontier.intervals import Interval
from frontier.metrics import give_back, metrics_table, usable, values, y_axis
from frontier.metrics.checks import TableError
from frontier.problems import Array
from frontier.records import recorded
from frontier.results import Group, Result
from frontier.views import View
from frontier.wording import number, p_value_cell, plural


@dataclass(frozen=True, eq=False, repr=False)
class SettingScatter(Result):
    """Scatter between runs of one setting, pooled over the settings of each group; one entry per group.

    Attributes
    ----------
    settings, runs, df : tuple of int
        Settings with two or more runs, their runs, and runs - settings.
    sd, relative_sd, l0_sd : tuple of float
        Pooled standard deviation of y, of log y (NaN where some y <= 0) and of log L0.
    """

    y_name: str
    groups: tuple[Group, ...]
    settings: tuple[int, ...]
    runs: tuple[int, ...]
    df: tuple[int, ...]
    sd: tuple[float, ...]
    relative_sd: tuple[float, ...]
    l0_sd: tuple[float, ...]

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per group: group columns, `settings`, `runs`, `df`, `sd`, `relative_sd`, `l0_sd`."""
        names = ("settings", "runs", "df", "sd", "relative_sd", "l0_sd")
        return give_back(
            pd.DataFrame(list(self.groups)).assign(**{n: list(getattr(self, n)) for n in names}), backend
        )

    def _view(self) -> View:
        frame = self.to_frame()
        rows = tuple(tuple(number(v) for v in row) for row in frame.to_numpy(dtype=object).tolist())
        return View(f"{self.y_name}: scatter between runs of one setting", tuple(frame.columns), rows)


@recorded
def within_setting(
    table: Any, by: Sequence[str] | str | None = None, *, y: str | None = None, family: str = "family"
) -> SettingScatter:
    """How much runs of the same family and setting differ, pooled over settings: variance = SS / (N - m).

    Settings are told apart as by `setting_codes`; those with one run tell nothing and are left out.

    Raises
    ------
    TableError
        When no setting was run twice.

    Examples
    --------
    >>> import frontier
    >>> recipes = {"relu": 0.5, "gated": 0.3}
    >>> table = [
    ...     {"family": f, "seed": s, "l0": l0, "loss_recovered": 1 - scale * (1 + 0.02 * s) * l0**-0.8}
    ...     for f, scale in recipes.items() for l0 in (5, 10, 20, 40) for s in (0, 1, 2)
    ... ]
    >>> frontier.within_setting(table).runs
    (12, 12)
    """
    table = metrics_table(table)
    y = y_axis(table, y, over_l0=False)
    groups = Groups.of(table, by, family)
    rows = usable(table)
    rows = rows[np.isfinite(values(rows, y)) & (values(rows, "l0") > 0)]
    setting = setting_codes(rows, groups.columns)
    keep = np.bincount(setting, minlength=1)[setting] > 1
    if not keep.any():
        raise TableError("no setting was run more than once, so there is no scatter within settings")
    rows, setting = rows[keep], setting[keep]
    groups = groups.on(rows)
    height, l0 = values(rows, y), values(rows, "l0")
    found = []
    for code in range(len(groups.names)):
        part = groups.codes == code
        index = np.unique(setting[part], return_inverse=True)[1]
        df = len(index) - int(index.max()) - 1
        logs = np.log(height[part]) if (height[part] > 0).all() else np.full(len(index), math.nan)
        spreads = [math.sqrt(_within(v, index) / df) for v in (height[part], logs, np.log(l0[part]))]
        found.append((int(index.max()) + 1, len(index), df, *spreads))
    return SettingScatter(y, groups.names, *zip(*found, strict=True))


def _within(v: Array, index: Codes, weights: Array | None = None) -> float:
    """Weighted sum of squares of deviations from the mean of each class."""
    w = np.ones(len(v)) if weights is None else weights
    means = np.bincount(index, w * v) / np.bincount(index, w)
    return float((w * (v - means[index]) ** 2).sum())


@dataclass(frozen=True, eq=False, repr=False)
class LackOfFit(Result):
    """F test of a curve against the scatter within settings; a small p says that the curve does not fit."""

    name: str
    curve: str
    errors: str
    f: float
    p_value: float
    df_lack: int
    df_within: int
    ss_lack: float
    ss_within: float

    def _view(self) -> View:
        spread = number(math.sqrt(self.ss_within / self.df_within))
        row = (number(self.f), f"{self.df_lack}, {self.df_within}", p_value_cell(self.p_value), spread)
        title = f"Lack of fit of the {self.curve} curve of {self.name} ({self.errors} errors)"
        return View(title, ("F", "df", "p", "SD within settings"), (row,))


@recorded
def lack_of_fit(fit: CurveFit, table: Any = None) -> LackOfFit:
    """Does the curve miss the settings' means by more than runs of one setting scatter?

    F = ((SSR - SSpe) / (m - p)) / (SSpe / (N - m)): residuals on the scale of the errors model, SSpe their
    sum of squares around the mean of each of m settings, p free parameters. Exact for additive errors, a
    straight line and equal x within settings. Fit all runs, not a Pareto set, to use it. A seed that moves
    all its settings together adds to SSpe and makes the test conservative.

    Source: Draper & Smith, Applied Regression Analysis (1998), section 2.1;
    Seber & Wild, Nonlinear Regression (1989), section 2.1.3.

    Parameters
    ----------
    table : the table that was fitted, optional
        Its sparsity settings tell which points are replicates (see `setting_codes`); without it, points of
        equal x are.

    Raises
    ------
    ValueError
        No replicates, too few settings, or a table that is not the fitted one.

    Examples
    --------
    >>> import frontier
    >>> recipes = {"relu": 0.5, "gated": 0.3}
    >>> table = [
    ...     {"family": f, "seed": s, "l0": l0, "loss_recovered": 1 - scale * (1 + 0.02 * s) * l0**-0.8}
    ...     for f, scale in recipes.items() for l0 in (5, 10, 20, 40) for s in (0, 1, 2)
    ... ]
    >>> fit = frontier.fit(table, "power")["gated"]
    >>> round(frontier.lack_of_fit(fit, table).p_value, 1)
    1.0
    """
    code = np.unique(fit.x if table is None else _settings_of(fit, table), return_inverse=True)[1]
    settings, points, free = int(code.max()) + 1, fit.n_points, len(fit.problem.free_names)
    if settings == points:
        raise ValueError(
            f"no setting of {fit.name} was run more than once; pass the fitted table if x differs"
        )
    if settings <= free:
        raise ValueError(
            f"{plural(settings, 'setting')} of {fit.name} cannot test a curve of {free} parameters"
        )
    fitted = fit.predict(fit.x)
    residual = fit.problem.errors.residual(fit.y, fitted)
    within = _within(residual, code, fit.weights)
    lack = max(float((fit.weights * residual**2).sum()) - within, 0.0)
    if not within > 0:
        raise ValueError(f"runs of {fit.name} do not scatter within settings, so nothing measures the misfit")
    f = (lack / (settings - free)) / (within / (points - settings))
    p = float(fdtrc(settings - free, points - settings, f))
    return LackOfFit(fit.name, fit.curve, fit.errors, f, p, settings - free, points - settings, lack, within)


def _settings_of(fit: CurveFit, table: Any) -> Codes:
    """Setting of each fitted point, found by the name that the fit noted for it."""
    checked = metrics_table(table)
    place = {name: i for i, name in enumerate(point_names(checked))}
    rows = [place.get(r, -1) for r in fit.rows]
    same = min(rows) >= 0 and all(
        np.array_equal(values(checked, name)[rows], v)
        for name, v in ((fit.x_name, fit.x), (fit.y_name, fit.y))
    )
    if not same:
        raise ValueError(f"this is not the table that {fit.name} was fitted to: its rows hold other values")
    return setting_codes(checked)[rows]


@dataclass(frozen=True, eq=False, repr=False)
class PairedBatches(Result):
    """Mean difference of two SAEs on the same batches, and what forgetting the pairing would have given."""

    difference: Interval
    p_value: float
    df: int
    unpaired: Interval
    correlation: float
    doubts: tuple[Doubt, ...] = ()

    def _view(self) -> View:
        rows = (
            ("paired", str(self.difference), number(self.df), p_value_cell(self.p_value)),
            ("as if independent", str(self.unpaired), "", ""),
        )
        title = f"Mean difference over {self.df + 1} batches (correlation {number(self.correlation)})"
        return View(
            title,
            ("treatment", f"difference [{100 * self.difference.level:g} %]", "df", "p"),
            rows,
            doubts=placed(self.doubts),
        )


@checked
def paired_batches(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> PairedBatches:
    """mean(a - b) of per-batch values on the same evaluation text, with a t interval (df = batches - 1).

    Text that is hard for one SAE is hard for the other, so differences scatter far less than values do;
    `unpaired` is Welch's interval, which ignores that. Batches must be of equal size and independent.

    Raises
    ------
    ValueError
        When the two are not vectors of one length of two or more finite numbers.

    Examples
    --------
    >>> import frontier
    >>> gap = frontier.paired_batches([3.1, 3.4, 2.9, 3.2], [3.0, 3.2, 2.8, 3.1])
    >>> round(gap.difference.estimate, 3), gap.df
    (0.125, 3)
    """
    one, two = (np.asarray(v, dtype=float) for v in (a, b))
    if one.shape != two.shape or one.ndim != 1 or len(one) < 2 or not np.isfinite([one, two]).all():
        raise ValueError(
            f"expected two vectors of finite values, one per batch, found shapes {one.shape} and {two.shape}"
        )
    n, gap = len(one), one - two
    mean = float(gap.mean())
    se = float(gap.std(ddof=1)) / math.sqrt(n)
    reach = float(t_quantile(n - 1, level)) * se
    v = np.array([one.var(ddof=1), two.var(ddof=1)]) / n
    wide = (
        float(t_quantile(v.sum() ** 2 * (n - 1) / (v**2).sum(), level) * math.sqrt(v.sum()))
        if v.any()
        else 0.0
    )
    p = two_sided(mean / se, n - 1) if se > 0 else (0.0 if mean else 1.0)
    correlation = float(np.corrcoef(one, two)[0, 1]) if (v > 0).all() else math.nan
    centred = gap - mean
    serial = float((centred[1:] * centred[:-1]).sum() / (centred**2).sum()) if se > 0 else 0.0
    doubts: tuple[Doubt, ...] = ()
    if n >= 10 and serial > 2 / math.sqrt(n):
        text = f"Neighbouring batches' differences correlate ({number(serial, 2)}): interval too narrow."
        doubts = (Doubt(Kind.serial, text, numbers={"correlation": serial}),)
    paired, unpaired = (Interval(mean, mean - r, mean + r, level) for r in (reach, wide))
    return PairedBatches(paired, p, n - 1, unpaired, correlation, doubts)
