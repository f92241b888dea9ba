"""Fit curves to groups of SAEs: from a metrics table (`fit`) or from plain arrays (`fit_points`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from frontier.arguments import checked
from frontier.curves import DEFAULT_FIXED, Curve, curve_named
from frontier.errors import errors_named
from frontier.fits.batch import Settings, fit_groups
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits
from frontier.fits.points import Points, points_of
from frontier.fits.residuals import curvature_left
from frontier.fits.vanishing import Option, known, option_of
from frontier.groups import Groups
from frontier.guard import guard
from frontier.metrics import metrics_table, y_axis
from frontier.metrics.axes import OF_L0, better_of, falling_axis, usual_curve, usual_curve_remark
from frontier.records import recorded
from frontier.wording import listed, nearest, number


@recorded
def fit(
    table: Any,
    curve: str | Curve | None = None,
    by: Sequence[str] | str | None = None,
    *,
    x: str = "sparsity",
    y: str | None = None,
    errors: str = "auto",
    max_l0: float | None = None,
    fixed: Mapping[str, float] | None = None,
    free: Sequence[str] = (),
    vanishing_l0: Option = None,
    weights: str | None = None,
    level: float = 0.95,
    intervals: str = "profile",
    family: str = "family",
    across: Sequence[str] = (),
) -> FrontierFits:
    """`curve` fitted to every group of SAEs in `table`.

    All usable rows are fitted: pass `pareto_set(table)` for frontiers.

    Parameters
    ----------
    table : anything that `metrics_table` takes
    curve : {"linear", "power", "hill"}
        Default: Hill with top 1 where y is a share of what can be lost, else a power law.
    by : column names, optional
        Cells, as in `pareto_set`. Families are always kept apart.
    x, y : column names
        Default sparsity (1/L0) and performance_hit (`fvu` where loss recovered is unknown).
    errors : {"auto", "additive", "log", "two_component", "relative"}
        Additive: least squares in y. Log: least squares in log y. Two components: a share of the fitted
        height and a fixed amount (Rocke & Lorenzato), for y of any sign. Relative: variance proportional to
        fitted^2, for positive y. Auto: chosen per cell by the likelihood pooled over its groups among the
        models that take all its y; log where the others are not higher by more than 2, additive where most
        y exceed half of a fixed top and log is not.
    max_l0 : float, optional
        Rows with a larger L0 are left out.
    fixed : dict of parameter to value
        E.g. {"n": 1} for Hill, {"intercept": 0} for the line. Hill's top is fixed at 1 unless freed.
    free : parameter names
        E.g. ["top"].
    vanishing_l0 : "d_model", a number, "fit" or "fit_by_family", optional
        Hill and power in 1/L0 - 1/L* instead of 1/L0: the curve is 0 from L0 = L* on, where an SAE is taken
        to be lossless. L* is the width of the activations, the number, or the likeliest one per cell or per
        group, which costs one degree of freedom; the other intervals hold it at that. Rows with L0 at or
        above a given L* are left out, with a remark.
    weights : column name or "se", optional
        "se": from the standard errors of y in its `_se` column, on the scale of the errors model: (y / se)^2
        for log errors. A column: the weights of the squared residuals on that scale, of log y for log errors.
    level : float
        Confidence level, a fraction.
    intervals : {"profile", "wald", "bootstrap"}
    across : column names
        Columns among protocol, ablation, model, site, layer whose values may meet in one fit.

    Returns
    -------
    FrontierFits
        Groups that cannot be fitted are listed with the reason and do not stop the others.

    Raises
    ------
    TableError
        Unknown column, no usable row, or rows that must not meet in one fit.
    ValueError
        Unknown curve, parameter, errors model or interval method.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> round(fits["Resid", "gated"]["k"].estimate, 2)
    6.28
    """
    table = metrics_table(table)
    y = y_axis(table, y, over_l0=x in OF_L0)
    if (curve is None or curve_named(curve).log_x) and better_of(table, x) == better_of(table, y) == "higher":
        y = falling_axis(table, y)  # what is better with x and against it falls, and these curves rise
    spec = curve_named(usual_curve(y) if curve is None else curve)
    groups = Groups.of(table, by, family)
    offset = option_of(vanishing_l0, spec, x)
    settings = Settings(spec, held(spec, fixed, free), level, intervals, x, y, better_of(table, y), offset)
    points, remarks = points_of(
        table, groups, x, y, log_x=spec.log_x, max_l0=max_l0, weights=weights, across=across
    )
    points, beyond = known(points, offset)
    guard(table, groups.columns, across, groups.family)
    cells = [tuple(groups.cell_of(p.group).values()) for p in points]
    fits, failures, evidence = fit_groups(points, errors_named(errors), settings, cells)
    chosen = usual_curve_remark(y) if curve is None else ""
    said = (*groups.notes, *remarks, *beyond, chosen, evidence, curvature_left(fits))
    return FrontierFits(spec.name, fits, failures, groups.columns, groups.family, tuple(r for r in said if r))


@checked
def fit_points(
    x: ArrayLike,
    y: ArrayLike,
    curve: str | Curve = "hill",
    *,
    errors: str = "auto",
    weights: ArrayLike | None = None,
    fixed: Mapping[str, float] | None = None,
    free: Sequence[str] = (),
    vanishing_l0: float | str | None = None,
    level: float = 0.95,
    intervals: str = "profile",
) -> CurveFit:
    """One curve through plain arrays.

    Parameters are those of `frontier.fit`; `weights` are those of the squared residuals on the scale of the
    errors model.

    Raises
    ------
    ValueError
        When the arrays do not match, hold NaN, or cannot carry the curve.

    Examples
    --------
    >>> import frontier
    >>> x = [0.01, 0.02, 0.04, 0.08]
    >>> fit = frontier.fit_points(x, [0.05, 0.09, 0.17, 0.29], "hill")
    >>> round(fit["k"].estimate, 2), round(fit["n"].estimate, 2)
    (0.2, 0.99)
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if xs.shape != ys.shape or xs.ndim != 1:
        raise ValueError(f"x and y must be two vectors of one length, found shapes {xs.shape} and {ys.shape}")
    if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise ValueError("x and y must be finite")
    w = np.ones_like(xs) if weights is None else np.asarray(weights, dtype=float)
    if w.shape != xs.shape or not (np.isfinite(w).all() and (w > 0).all()):
        found = f"{w.size} of them" if w.shape != xs.shape else number(w.min())
        raise ValueError(f"weights must be numbers above 0, one for each of {len(xs)} points, found {found}")
    spec = curve_named(curve)
    if spec.log_x and not (xs > 0).all():
        raise ValueError(
            f"the {spec.name} curve needs x above 0 (a sparsity, 1/L0), found {number(xs.min())}"
        )
    points = Points({}, xs, ys, w, tuple(str(i) for i in range(len(xs))), len(xs))
    offset = option_of(vanishing_l0, spec, "sparsity")
    settings = Settings(spec, held(spec, fixed, free), level, intervals, "x", "y", vanishing_l0=offset)
    groups, _ = known([points], offset)
    fits, failures, _ = fit_groups(groups, errors_named(errors), settings)
    if failures:
        raise ValueError(failures[0].reason)
    return fits[0]


def held(curve: Curve, fixed: Mapping[str, float] | None, free: Sequence[str]) -> dict[str, float]:
    """Parameters held fixed: the curve's defaults, with `fixed` added and `free` released.

    Raises
    ------
    ValueError
        An unknown parameter, one that is both, or a value out of range.
    """
    names = {**dict.fromkeys(free), **(fixed or {})}
    for name in names:
        if name not in curve.parameters:
            raise ValueError(f"{curve.name} has no parameter {name!r}{nearest(str(name), curve.parameters)}")
    both = set(free) & set(fixed or {})
    if both:
        raise ValueError(f"{listed(sorted(both))} cannot be both fixed and free")
    out = {k: v for k, v in DEFAULT_FIXED[curve.name].items() if k not in free}
    for name, value in (fixed or {}).items():
        if not math.isfinite(value) or (name in curve.positive and value <= 0):
            raise ValueError(f"{name} cannot be fixed at {value!r}")
        out[name] = float(value)
    if len(out) == len(curve.parameters):
        raise ValueError("all parameters are fixed; there is nothing to fit")
    return out
