"""Errors models: each is one consistent density of y, and every user of it sees the same one."""

import inspect

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import frontier
from frontier import engine
from frontier.calibration import Truth
from frontier.cli_options import ErrorsName
from frontier.curves import HILL, LINEAR, POWER
from frontier.errors import ADDITIVE, ERRORS, LOG, RELATIVE, errors_model, errors_named
from frontier.problems import Problem

MODELS = list(ERRORS.values())
FITTED = np.geomspace(0.01, 0.8, 7)


@pytest.mark.parametrize("errors", MODELS, ids=repr)
def test_residual_and_observed_are_inverse(errors):
    residual = np.linspace(-0.3, 0.3, 7)
    assert_allclose(errors.residual(errors.observed(FITTED, residual), FITTED), residual, atol=1e-14)


def test_noise_is_drawn_on_the_scale_of_the_errors():
    f, e = np.array([[0.1], [0.4]]), np.array([[0.5], [-0.2]])
    assert_allclose(np.log(LOG.observed(f, e)) - np.log(f), e)
    assert_allclose(ADDITIVE.observed(f, e) - f, e)
    assert_allclose(RELATIVE.observed(f, e) / f - 1, e)


@pytest.mark.parametrize("errors", MODELS, ids=repr)
def test_the_spread_is_that_of_small_draws(errors):
    """SD of y around f is sigma * spread(f) / sqrt(weight), the square of which is `variance`."""
    weights = np.linspace(0.5, 2, 7)
    y = errors.draw(np.random.default_rng(1), FITTED, 1e-3, weights, 40_000)
    assert_allclose(y.std(axis=1), 1e-3 * errors.spread(FITTED) / np.sqrt(weights), rtol=0.02)
    assert_allclose(errors.variance(FITTED), errors.spread(FITTED) ** 2, rtol=1e-15)


@pytest.mark.parametrize("errors", MODELS, ids=repr)
def test_the_curve_is_seen_on_the_scale_of_the_residuals(errors):
    """Derivatives by z and log top, against central differences."""
    z, t, step = np.linspace(-3, 2, 9)[:, None], np.array([0.2]), 1e-5
    value, d1, d2 = errors.seen(HILL, z, t)
    assert_allclose(value, errors.scale(np.exp(0.2) / (1 + np.exp(-z))), rtol=1e-12)
    up, down = (errors.seen(HILL, z + s, t) for s in (step, -step))
    assert_allclose(d1, (up[0] - down[0]) / (2 * step), rtol=1e-8)
    assert_allclose(d2, (up[1] - down[1]) / (2 * step), rtol=1e-7, atol=1e-9)
    k, m = errors.by_top(value)
    up, down = (errors.seen(HILL, z, t + s) for s in (step, -step))
    assert_allclose(k, (up[0] - down[0]) / (2 * step), rtol=1e-8)
    assert_allclose(m * d1, (up[1] - down[1]) / (2 * step), rtol=1e-7, atol=1e-9)
    k_up, k_down = (errors.by_top(v[0])[0] for v in (up, down))
    assert_allclose(m * k, (k_up - k_down) / (2 * step), rtol=1e-7, atol=1e-9)


def test_log_likelihoods_are_scipys():
    rng = np.random.default_rng(2)
    y, fitted, w = FITTED * rng.uniform(0.8, 1.2, 7), FITTED, np.linspace(0.5, 2, 7)
    for errors, weights, density in (
        (ADDITIVE, w, lambda s: stats.norm(fitted, s / np.sqrt(w)).logpdf(y)),
        (LOG, w, lambda s: stats.lognorm(s / np.sqrt(w), scale=fitted).logpdf(y)),
        (RELATIVE, w / fitted**2, lambda s: stats.norm(fitted, s * fitted / np.sqrt(w)).logpdf(y)),
    ):
        rss = float((w * errors.residual(y, fitted) ** 2).sum())
        found = errors.log_likelihood(y[:, None], np.array([rss]), weights[:, None])
        assert_allclose(found[0], density(np.sqrt(rss / 7)).sum(), rtol=1e-12)


def test_names_spellings_and_the_commands_choices():
    assert (
        errors_named("Log-Y") == "log" and errors_model(LOG) is LOG and errors_model("absolute") is ADDITIVE
    )
    assert {e.value for e in ErrorsName} == {"auto", *ERRORS}
    with pytest.raises(ValueError, match="unknown errors model 'lgo'"):
        errors_named("lgo")


@pytest.mark.parametrize("errors", ["additive", "log"])
@pytest.mark.parametrize("curve", [HILL, POWER, LINEAR], ids=lambda c: c.name)
def test_the_jacobian_is_that_of_the_curve_on_the_scale(curve, errors):
    """Its products, weighted, are the information matrix of the engine."""
    rng = np.random.default_rng(3)
    x = np.geomspace(0.01, 1, 8)
    y = curve.value(x, {"k": 0.5, "n": 1.0, "top": 1.0, "scale": 0.5, "exponent": 0.8, "slope": 1.0,
                        "intercept": 0.2})  # fmt: skip
    fit = Problem.of(curve, x, y * rng.lognormal(0, 0.05, 8), rng.uniform(1, 2, 8), errors).fit()
    j = fit.jacobian(x)
    expected = fit.solution.information[:2, :2, 0]
    assert_allclose((j * fit.solution.weights[:, 0] @ j.T)[:2, :2], expected, rtol=1e-12, atol=1e-12)


def test_simulated_tables_have_the_weights_of_the_fit():
    """`calibrate` draws a point of weight w with sigma / sqrt(w), and fits it with that weight."""
    x, weights = np.geomspace(0.01, 1, 8), np.array([1, 1, 1, 1, 1, 1, 1, 1 / 400])
    y = HILL.value(x, {"k": 0.5, "n": 1.0, "top": 1.0}) * np.exp(0.05 * np.linspace(-1, 1, 8) ** 3)
    fit = frontier.fit_points(x, y, errors="log", weights=weights)
    problem = Truth.of(fit).simulate(20_000, np.random.default_rng(4))
    gap = np.log(problem.y / fit.predict(x)[:, None])
    assert_allclose(gap.std(axis=1), fit.sigma / np.sqrt(weights), rtol=0.02)
    assert_allclose(problem.weights, np.repeat(weights[:, None], 20_000, axis=1))
    table = pd.DataFrame({"sparsity": x, "performance_hit": y, "w": weights, "family": "a"})
    fits = frontier.fit(table, weights="w", errors="log")
    known = next(c for c in frontier.calibrate(fits, replicates=500).coverages if c.quantity == "k")
    width = np.log(fits[0]["k"].high / fits[0]["k"].low)
    assert 0.5 < known.width / width < 2


@pytest.mark.parametrize("function", [frontier.fit_frontier, frontier.fit,
                                      frontier.fit_points, frontier.calibrate, frontier.compare])  # fmt: skip
def test_nothing_swallows_options_that_it_does_not_know(function):
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds


def test_the_engine_takes_models_and_names():
    x, y = np.geomspace(0.01, 1, 8)[:, None], np.geomspace(0.01, 0.5, 8)[:, None] ** 0.9
    one, two = (engine.solve(HILL, np.log(x), y, errors=e) for e in (LOG, "log"))
    assert_allclose(one.theta, two.theta, rtol=1e-15)
