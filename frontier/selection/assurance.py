"""How wide an interval will be after further SAEs, when the fitted curves and residual SDs are not the truth.

Truths are drawn from what the fits leave open (normal parameters, scaled chi-square variances), and with each
the variance that the enlarged data will be found to have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from frontier.distributions import t_quantile
from frontier.fits.curve_fit import CurveFit
from frontier.problems import Array, Estimate, Quantity
from frontier.ratios.log_ratio import log_estimate

DRAWS, SEED = 1000, 20261129


def width_quantile(
    fits: Sequence[CurveFit], quantity: Quantity, added: Sequence[Array], share: float
) -> float:
    """The width of the interval that the `share` of the drawn truths stay below.

    Parameters
    ----------
    fits : one fit, or a family and its reference (the interval is that of their ratio)
    added : x of the further SAEs of each, repeats allowed
    """
    rng = np.random.default_rng(SEED)
    parts = [_variances(f, quantity, x, rng) for f, x in zip(fits, added, strict=True)]
    total = np.sum([v for v, _ in parts], axis=0)
    df = total**2 / np.sum([v**2 / d for v, d in parts], axis=0)
    width = 2 * t_quantile(df, fits[0].level) * np.sqrt(total)
    return float(np.quantile(np.where(np.isfinite(width), width, np.inf), share))


def _variances(
    fit: CurveFit, quantity: Quantity, added: Array, rng: np.random.Generator
) -> tuple[Array, float]:
    """Variance of the quantity that each draw will be found to have, and its degrees of freedom."""
    estimate = fit.estimate
    se = float(estimate.working(quantity)[1][0])
    log_scale = log_estimate(estimate, quantity, fit.level, "wald").se / se
    more = fit.df + len(added)
    sigma2 = float(estimate.variance[0]) * fit.df / rng.chisquare(fit.df, DRAWS)
    found = sigma2 * rng.chisquare(more, DRAWS) / more
    truths = _drawn(estimate, sigma2, rng)
    x = np.concatenate([fit.x, added])
    weights = np.concatenate([fit.weights, np.full(len(added), np.median(fit.weights))])
    free = list(fit.problem.free_theta)
    jacobian = truths.jacobians(x)[free]
    information = np.einsum("ipd,p,jpd->dij", jacobian, weights, jacobian)
    gradient = truths.value_and_gradient(quantity)[1][free].T[..., None]
    with np.errstate(all="ignore"):
        spread = np.einsum("di,di->d", gradient[..., 0], _solved(information, gradient))
    return found * spread * (log_scale**2 if np.isfinite(log_scale) else 1.0), more


def _drawn(estimate: Estimate, sigma2: Array, rng: np.random.Generator) -> Estimate:
    """Estimates whose parameters are truths that the fit leaves open, one per column."""
    root = _root(estimate.unscaled_covariance[:, :, 0])
    theta = estimate.solution.theta + root @ rng.standard_normal((3, DRAWS)) * np.sqrt(sigma2)
    columns = np.zeros(DRAWS, dtype=np.intp)
    solution = replace(estimate.solution.at(columns), theta=theta)
    return Estimate(estimate.problem.take(columns), solution, np.repeat(estimate.centre, DRAWS))


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _solved(information: Array, gradient: Array) -> Array:
    """information^-1 gradient per draw; NaN where it has no inverse."""
    usable = np.isfinite(information).all(axis=(1, 2)) & np.isfinite(gradient).all(axis=(1, 2))
    out = np.full(gradient.shape[:2], np.nan)
    out[usable] = np.linalg.solve(information[usable], gradient[usable])[..., 0]
    return out
