"""Frontiers from all runs: likelihood against SciPy, quantiles against statsmodels, bias by simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, optimize, stats

import frontier
from frontier.curves import HILL, POWER
from frontier.inefficiency import (
    MINIMUM_RUNS,
    InefficiencyFit,
    InefficiencyFits,
    fit_frontier,
    fit_frontier_points,
)
from frontier.inefficiency.skewness import p_of_excess
from frontier.inefficiency.stochastic import Likelihood, StochasticFrontier

X = np.geomspace(0.008, 0.135, 40)  # hits from 0.005 to 0.1: k = 1 lies 7 times beyond the data
TRUE = X**1.1 / (1 + X**1.1)
NOISE, SCALE = 0.05, 0.125  # 5 % noise, 0.125 sqrt(2 / pi) = 10 % mean excess


def search(rng: np.random.Generator, scale: float = SCALE) -> np.ndarray:
    """Hits of 40 runs: the frontier, times noise, times an excess."""
    return TRUE * np.exp(NOISE * rng.standard_normal(40) + np.abs(scale * rng.standard_normal(40)))


Y = search(np.random.default_rng(5))


# The likelihood


@pytest.mark.parametrize("curve", [HILL, POWER])
def test_likelihood_is_skew_normal(curve):
    # v + u is skew-normal with shape sigma_u / sigma_v and scale hypot(sigma_u, sigma_v): Azzalini (1985)
    theta, centre = np.array([[-3.2], [1.05], [-2.0], [1.7]]), -3.0
    value, _, _ = Likelihood(curve, np.log(X), np.log(Y))(theta, centre)
    height = curve.log_link(-3.2 + 1.05 * (np.log(X) - centre))[0]
    expected = -stats.skewnorm.logpdf(np.log(Y) - height, 1.7, scale=math.exp(-2)).sum()
    assert_allclose(value[0], expected, rtol=1e-10)


@pytest.mark.parametrize("curve", [HILL, POWER])
def test_derivatives_of_the_likelihood(curve):
    theta, centre, step = np.array([[-3.2, -3.0], [1.05, 0.9], [-2.0, -1.5], [1.7, 0.0]]), -3.0, 1e-6
    likelihood = Likelihood(curve, np.log(X), np.log(Y))
    _, gradient, second = likelihood(theta, centre)
    for i in range(4):
        tilt = np.zeros((4, 1))
        tilt[i] = step
        up, down = likelihood(theta + tilt, centre), likelihood(theta - tilt, centre)
        assert_allclose((up[0] - down[0]) / (2 * step), gradient[i], rtol=1e-6, atol=1e-6)
        assert_allclose((up[1] - down[1]) / (2 * step), second[i], rtol=1e-5, atol=1e-4)


def test_optimum_against_scipy():
    found = fit_frontier_points(X, Y)

    def cost(p: np.ndarray) -> float:
        k, n, sigma_v, sigma_u = np.exp(p)
        residual = np.log(Y / frontier.hill(X, k, n))
        return -stats.skewnorm.logpdf(residual, sigma_u / sigma_v, scale=math.hypot(sigma_u, sigma_v)).sum()

    starts = [np.log([1.0, 1.1, v, u]) for v, u in ((0.05, 0.1), (0.02, 0.15), (0.1, 0.05))]
    options = {"xatol": 1e-9, "fatol": 1e-10, "maxiter": 4000, "maxfev": 4000}
    best = min(
        (optimize.minimize(cost, s, method="Nelder-Mead", options=options) for s in starts),
        key=lambda o: o.fun,
    )
    ours = [found["k"].estimate, found["n"].estimate, found.sigma_v, found.sigma_u]
    assert_allclose(ours, np.exp(best.x), rtol=1e-4)


def test_profile_limits_against_scipy():
    """At a limit, the best likelihood with k held is lower by N / 2 log(1 + t^2 / df)."""
    found = fit_frontier_points(X, Y)
    drop = 20 * math.log1p(stats.t.ppf(0.975, 36) ** 2 / 36)

    def cost(p: np.ndarray, k: float) -> float:
        n, sigma_v, sigma_u = np.exp(p)
        residual = np.log(Y / frontier.hill(X, k, n))
        return -stats.skewnorm.logpdf(residual, sigma_u / sigma_v, scale=math.hypot(sigma_u, sigma_v)).sum()

    def best(k: float) -> float:
        starts = [np.log([1.1, v, u]) for v, u in ((0.05, 0.1), (0.02, 0.15), (0.1, 0.02))]
        return min(optimize.minimize(cost, s, args=(k,), method="Nelder-Mead").fun for s in starts)

    top = best(found["k"].estimate)
    assert_allclose([best(found["k"].low) - top, best(found["k"].high) - top], [drop, drop], rtol=0.02)


# Known truth


@pytest.mark.slow
def test_less_biased_than_the_pareto_set():
    """40 searches of 40 runs; at 600 searches k is 7 % low from the Pareto set, 1 % from all runs."""
    rng = np.random.default_rng(1)
    runs = pd.concat(
        pd.DataFrame({"search": i, "l0": 1 / X, "performance_hit": search(rng)}) for i in range(40)
    )
    how = {"by": ["search"], "errors": "log", "intervals": "wald"}
    fits = frontier.fit(runs, "hill", **how)
    kept = frontier.fit(frontier.pareto_set(runs, by=["search"]), "hill", **how)
    assert len(fits) == len(kept) == 40
    ours = []
    for fit in fits:
        found = StochasticFrontier.of(fit, 0.95)
        a, b, *_ = found.theta
        ours.append(found.search.centre - a / b)
    ordinary, pareto = ([math.log(f["k"].estimate) for f in of] for of in (fits, kept))
    assert np.mean(ordinary) < np.mean(pareto) < -0.05
    assert abs(np.mean(ours)) < 0.03


@pytest.mark.slow
def test_covers_the_true_frontier_where_the_pareto_set_does_not():
    """L0 at hit 0.02: 93 % of the intervals cover it, 1 % of the Pareto set's (600 searches)."""
    rng = np.random.default_rng(2)
    truth = (0.02 / 0.98) ** (1 / 1.1)
    ours = pareto = 0
    for _ in range(8):
        found = fit_frontier_points(X, search(rng))
        ours += truth in found.x_at(0.02)
        pareto += truth in found.pareto.x_at(0.02)
    assert ours >= 6 and pareto <= 1


def test_noise_and_excess_are_told_apart_in_many_runs():
    rng = np.random.default_rng(3)
    x = np.geomspace(0.008, 0.135, 600)
    y = (
        x**1.1
        / (1 + x**1.1)
        * np.exp(NOISE * rng.standard_normal(600) + np.abs(SCALE * rng.standard_normal(600)))
    )
    found = fit_frontier_points(x, y)
    assert_allclose([found.sigma_v, found.sigma_u], [NOISE, SCALE], rtol=0.15)
    assert 1.0 in found["k"] and 1.1 in found["n"]
    assert found.p_excess == 1 / 5000 and not any("explains" in str(d) for d in found.doubts)
    assert_allclose(found.mean_excess, math.exp(SCALE**2 / 2) * 2 * stats.norm.cdf(SCALE) - 1, rtol=0.15)
    # with many runs the profile is a parabola, and the observed Hessian tells the same width
    half = math.log(found["k"].high / found["k"].low) / 2
    assert_allclose(half, 1.96 * found.standard_errors["k"], rtol=0.05)


def tables(count: int, runs: int, scale: float) -> frontier.FrontierFits:
    """Hill curves through the hits of as many searches, with 5 % noise."""
    rng, x = np.random.default_rng(runs), np.geomspace(0.008, 0.135, runs)
    normal, excess = rng.standard_normal((2, count, runs))
    hits = frontier.hill(x, 1.0, 1.1) * np.exp(NOISE * normal + np.abs(scale * excess))
    rows = {"search": np.repeat(np.arange(count), runs), "l0": np.tile(1 / x, count)}
    table = pd.DataFrame(rows | {"performance_hit": hits.ravel()})
    return frontier.fit(table, "hill", by=["search"], errors="log", intervals="wald")


@pytest.mark.parametrize("runs", [20, 50])
def test_no_excess_is_rejected_as_often_as_said(runs):
    """Truth: none. Of 400 tables 5 % are 20, give or take 3 binomial SD of 4.4."""
    found = np.array([p_of_excess(f) for f in tables(400, runs, 0.0)])
    assert 7 < (found <= 0.05).sum() < 33
    assert abs(found.mean() - 0.5) < 3 * math.sqrt(1 / 12 / 400), "uniform"
    assert np.mean([p_of_excess(f) < 0.05 for f in tables(100, runs, 2 * SCALE)]) > 0.25


def test_excess_of_single_runs():
    found = fit_frontier_points(X, Y)
    runs = found.runs()
    assert list(runs.columns) == ["row", "x", "y", "frontier", "excess"]
    total = math.log(runs["y"][7] / runs["frontier"][7])

    def weight(u: float) -> float:
        return math.exp(-0.5 * ((total - u) / found.sigma_v) ** 2 - 0.5 * (u / found.sigma_u) ** 2)

    top, bottom = integrate.quad(lambda u: u * weight(u), 0, 2)[0], integrate.quad(weight, 0, 2)[0]
    assert_allclose(runs["excess"][7], top / bottom, rtol=1e-6)
    assert (runs["excess"] > 0).all()


def test_wrong_skew_is_the_ordinary_fit():
    u = np.random.default_rng(4).exponential(0.1, 40)
    found = fit_frontier_points(X, TRUE * np.exp(-u))  # a long tail below
    assert str(found.doubts[0]).startswith(
        "Wrong skew: the runs show no one-sided excess; this is the ordinary fit"
    )
    assert found.sigma_u == 0 and found.p_excess > 0.95 and found.mean_excess == pytest.approx(0)
    assert_allclose(found["k"].estimate, found.ordinary["k"].estimate, rtol=1e-9)
    assert_allclose(found.sigma_v, math.sqrt(found.ordinary.rss / 40), rtol=1e-9)
    assert_allclose(found.runs()["excess"], 0, atol=1e-12)
    assert found["k"].low <= found["k"].estimate <= found["k"].high
    assert math.isnan(found.standard_errors["k"])


def test_all_excess_and_no_noise_is_said():
    u = np.abs(np.random.default_rng(6).normal(0, 0.3, 60))
    x = np.geomspace(0.008, 0.135, 60)
    found = fit_frontier_points(x, x**1.1 / (1 + x**1.1) * np.exp(u))
    assert any("none as noise" in str(d) for d in found.doubts)
    assert 0.9 < found["k"].estimate < 1.15


def test_scaling_x_scales_k():
    one, two = fit_frontier_points(X, Y), fit_frontier_points(7 * X, Y)
    for attribute in ("estimate", "low", "high"):
        assert_allclose(getattr(two["k"], attribute), 7 * getattr(one["k"], attribute), rtol=1e-4)
    assert_allclose(two["n"].low, one["n"].low, rtol=1e-4)


@pytest.mark.parametrize("fixed", [{"n": 1.0}, {"k": 1.0, "top": 1.0}])
@pytest.mark.parametrize("method", ["stochastic", "quantile"])
def test_fixed_parameters_stay(fixed, method):
    found = fit_frontier_points(X, Y, fixed=fixed, estimator=method, replicates=99)
    for name, value in fixed.items():
        assert found[name].estimate == value and math.isnan(found[name].low)
    free = "k" if "n" in fixed else "n"
    assert found[free].low < found[free].estimate < found[free].high
    # with one free parameter, x_at moves with it: x = k (y / (1 - y))^(1 / n)
    k, n = (found[p] for p in ("k", "n"))
    ends = (k.low, k.high) if free == "k" else (n.low, n.high)
    odds = 0.02 / 0.98
    x = [end * odds if free == "k" else odds ** (1 / end) for end in ends]
    assert_allclose([found.x_at(0.02).low, found.x_at(0.02).high], x, rtol=2e-3)


# Quantiles


@pytest.mark.parametrize("quantile", [0.1, 0.25, 0.5])
def test_quantile_power_law_against_statsmodels(quantile):
    import statsmodels.api as sm

    theirs = sm.QuantReg(np.log(Y), sm.add_constant(np.log(X))).fit(q=quantile).params
    found = fit_frontier_points(X, Y, "power", estimator="quantile", quantile=quantile, replicates=99)
    assert_allclose(
        [math.log(found["scale"].estimate), found["exponent"].estimate], theirs, rtol=1e-3, atol=1e-3
    )


def test_quantile_hill_has_the_least_loss():
    found = fit_frontier_points(X, Y, estimator="quantile", replicates=99)

    def loss(p: np.ndarray) -> float:
        r = np.log(Y / frontier.hill(X, *np.exp(p)))
        return float((r * (0.1 - (r < 0))).sum())

    ours = np.log([found["k"].estimate, found["n"].estimate])
    searched = optimize.differential_evolution(loss, [(-1, 1), (-0.5, 0.5)], seed=1, tol=1e-10)
    assert loss(ours) <= searched.fun * (1 + 1e-4)
    assert (found.runs()["excess"] < -1e-9).sum() <= 4  # at most a tenth lies below
    assert any("About 4 runs" in str(d) for d in found.doubts)


def test_quantile_bootstrap_is_seeded_and_refits():
    """Each replicate equals a quantile fit of the resampled runs."""
    one = fit_frontier_points(X, Y, estimator="quantile", replicates=199)
    assert one["k"] == fit_frontier_points(X, Y, estimator="quantile", replicates=199)["k"]
    assert one["k"] != fit_frontier_points(X, Y, estimator="quantile", replicates=199, seed=1)["k"]
    assert "percentiles of 199 case-bootstrap resamples (seed 0)" in repr(one)
    draws = one.source
    logs = draws.centre - draws.a / draws.b  # log k, the group's own first
    assert_allclose(
        np.log([one["k"].low, one["k"].high]), np.quantile(logs[1:], [0.025, 0.975]), rtol=1e-9, atol=1e-12
    )
    counts = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=199)[0]
    again = fit_frontier_points(
        np.repeat(X, counts), np.repeat(Y, counts), estimator="quantile", replicates=9
    )
    assert_allclose(
        draws.centre - draws.a[1] / draws.b[1], math.log(again["k"].estimate), rtol=1e-6, atol=1e-9
    )


# Tables


def table() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    gated = pd.DataFrame({"architecture": "gated", "l0": 1 / X, "performance_hit": search(rng)})
    relu = pd.DataFrame({"architecture": "relu", "l0": 1 / X, "performance_hit": 1.3 * search(rng)})
    return pd.concat([gated, relu, gated.iloc[:10].assign(architecture="topk")])


def test_groups_of_a_table():
    found = fit_frontier(table(), estimator="quantile", replicates=99)
    assert [f.group["family"] for f in found] == ["gated", "relu"] and len(found) == 2
    assert found["gated"]["k"].estimate > found["relu"]["k"].estimate
    frame = found.to_frame()
    assert list(frame["n_points"]) == [40, 40, 10]
    assert f"needs at least {MINIMUM_RUNS}" in frame["doubts"][2]
    assert_allclose(frame["ordinary_k"][0], frontier.fit(table(), errors="log")["gated"]["k"].estimate)
    assert frame["pareto_k"].notna().tolist() == [True, True, False]
    with pytest.raises(KeyError, match="0 frontiers match 'topk'; Group topk has 10 runs"):
        found["topk"]


def test_another_family_below_zero_does_not_bar_the_logarithm():
    whole = table()
    one = whole["architecture"] == "relu"
    whole.loc[one, "performance_hit"] = whole.loc[one, "performance_hit"] - 0.01
    found = fit_frontier(whole, estimator="quantile", replicates=99)
    assert [f.group["family"] for f in found] == ["gated"]
    alone = fit_frontier(table(), estimator="quantile", replicates=99)["gated"]
    assert_allclose(found["gated"]["k"].low, alone["k"].low, rtol=1e-9)
    assert any("relu are not positive, so log y is undefined" in f.reason for f in found.failures)


def test_json_text_and_html(tmp_path):
    odd = table().replace({"architecture": {"gated": "<b>"}})
    found = fit_frontier(odd, max_l0=90, level=0.9)
    again = InefficiencyFits.load(found.save(tmp_path / "frontiers.json"))
    assert again == found
    assert repr(again) == repr(found) and "<b>" not in found._repr_html_()
    one = InefficiencyFit.from_dict(json.loads(json.dumps(found[0].to_dict())))
    assert one.x_at(0.03) == found[0].x_at(0.03)
    assert "Pareto set only" in repr(one) and "[90 %]" in repr(one)


def test_refusals():
    with pytest.raises(ValueError, match="unknown estimator 'stochastik'; did you mean 'stochastic'"):
        fit_frontier_points(X, Y, estimator="stochastik")
    with pytest.raises(ValueError, match="hill or power, found linear"):
        fit_frontier(table(), "linear")
    with pytest.raises(ValueError, match="quantile must be a fraction above 0 and up to"):
        fit_frontier_points(X, Y, estimator="quantile", quantile=0.9)
    with pytest.raises(ValueError, match="has 10 runs"):
        fit_frontier_points(X[:10], Y[:10])
    with pytest.raises(ValueError, match="not positive"):
        fit_frontier_points(X, np.where(X == X[0], -0.001, Y))
    for unknown in ({"free": ["top"]}, {"weights": "se"}, {"errors": "log"}):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{next(iter(unknown))}'"):
            fit_frontier(table(), **unknown)
    with pytest.raises(ValueError, match="lie on one curve"):
        fit_frontier_points(X, TRUE)
    with pytest.raises(ValueError, match="never reaches y = 2"):
        fit_frontier_points(X, Y, estimator="quantile", replicates=9).x_at(2.0)
