"""The region of k and n (scale and exponent, slope and intercept) that the data allow together."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from frontier.arguments import checked
from frontier.distributions import f_quantile
from frontier.fits.curve_fit import CurveFit
from frontier.fits.doubts import is_perfect
from frontier.problems import Array, parameter

FAR = 1e3
"""A ray that has not left the region this many standard errors out is open."""
STEPS = 60


@checked
def joint_region(fit: CurveFit, *, level: float | None = None, points: int = 180) -> pd.DataFrame:
    """Boundary of the joint likelihood region of a fit's two free parameters.

    All pairs whose sum of squares is at most rss * (1 + 2 / df * F(level; 2, df)), found along rays from the
    optimum in coordinates where the Wald region is a circle. k and n are nearly always strongly correlated,
    so the region says what two separate intervals cannot.

    Source: Bates & Watts, Nonlinear Regression Analysis (1988), eq. 6.3 (likelihood region).

    Returns
    -------
    DataFrame
        One row per ray: the two parameters, and `open` (True where the region has no end along the ray;
        the parameters then lie where the search stopped).

    Raises
    ------
    ValueError
        When the fit has not two free parameters, no degrees of freedom, or no residuals.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> list(frontier.joint_region(fits[0]).columns)
    ['k', 'n', 'open']
    """
    names = fit.problem.free_names
    if len(names) != 2:
        raise ValueError(f"a joint region needs two free parameters, the fit of {fit.name} has {len(names)}")
    if not fit.df > 0 or is_perfect(fit):
        raise ValueError(f"the fit of {fit.name} leaves no residuals to measure a region with")
    level = fit.level if level is None else level
    threshold = fit.rss * (1 + 2 / fit.df * f_quantile(level, 2, fit.df))
    centre, root = _wald_ellipse(fit, names)
    angles = np.linspace(0, 2 * math.pi, points, endpoint=False)
    rays = root @ np.stack([np.cos(angles), np.sin(angles)])
    near, far = np.zeros(points), np.full(points, FAR)
    radius = np.full(points, math.sqrt(2 * f_quantile(level, 2, fit.df)))
    for _ in range(STEPS):
        outside = _rss(fit, names, centre[:, None] + radius * rays) > threshold
        near, far = np.where(outside, near, radius), np.where(outside, radius, far)
        radius = np.where(far < FAR, 0.5 * (near + far), np.minimum(2 * radius, FAR))
    edge = centre[:, None] + radius * rays
    frame = pd.DataFrame({n: _readable(fit, n, v) for n, v in zip(names, edge, strict=True)})
    frame["open"] = far >= FAR
    return frame


def _wald_ellipse(fit: CurveFit, names: tuple[str, ...]) -> tuple[Array, Array]:
    """The two working values, and a root of their covariance."""
    values, gradients = [], []
    for name in names:
        value, gradient = fit.estimate.value_and_gradient(parameter(name))
        values.append(float(value[0]))
        gradients.append(gradient[:, 0])
    jacobian = np.stack(gradients)
    covariance = jacobian @ fit.estimate.covariance[:, :, 0] @ jacobian.T
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale) + 1e-12 * np.eye(2)
    return np.array(values), scale[:, None] * np.linalg.cholesky(correlation)


def _rss(fit: CurveFit, names: tuple[str, ...], working: Array) -> Array:
    """Sum of squares at each pair of working values, with the weights of the optimum; shape (pairs,)."""
    values = {n: _readable(fit, n, w)[None, :] for n, w in zip(names, working, strict=True)}
    values |= {n: np.full((1, working.shape[1]), v) for n, v in fit.fixed.items()}
    curve = fit.problem.curve
    weights, errors = fit.estimate.solution.weights, fit.problem.errors.held
    with np.errstate(all="ignore"):
        fitted = curve.value(fit.x[:, None], values)
        total = (weights * errors.residual(fit.y[:, None], fitted) ** 2).sum(axis=0)
    return np.where(np.isfinite(total), total, np.inf)


def _readable(fit: CurveFit, name: str, working: Array) -> Array:
    return fit.estimate.readable(parameter(name), working)
