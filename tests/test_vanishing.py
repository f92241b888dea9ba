"""Curves in 1/L0 - 1/L*: against lmfit, exact truths, and the plain curves that they become as L* grows."""

import lmfit
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import frontier
from frontier.calibration import Truth
from frontier.calibration.coverage import coverage
from frontier.fits.lmfit_models import HillModel, PowerModel
from frontier.intervals import profile
from frontier.problems import Problem, height, parameter, x_at

L0 = np.array([20.0, 40, 80, 160, 320, 640])
TRUTHS = {"power": {"scale": 3.0, "exponent": 0.9}, "hill": {"k": 0.2, "n": 1.1, "top": 1.0}}


def heights(curve, l0=L0, vanishing=768.0):
    return getattr(frontier, curve)(1 / l0, **TRUTHS[curve], vanishing_l0=vanishing)


def table(curve="power", noise=0.0, seed=0, scales=(1.0, 2.0), vanishing=(768.0, 768.0), d_model=768, l0=L0):
    rng = np.random.default_rng(seed)
    rows = []
    for i, (s, v) in enumerate(zip(scales, vanishing, strict=True)):
        y = s * heights(curve, l0, v) * np.exp(noise * rng.standard_normal(len(l0)))
        rows += [
            {"family": "ab"[i], "l0": a, "performance_hit": b, "d_model": d_model}
            for a, b in zip(l0, y, strict=True)
        ]
    return pd.DataFrame(rows)


def test_a_curve_is_zero_from_its_vanishing_l0_on_and_plain_far_below():
    for curve, truth in TRUTHS.items():
        function = getattr(frontier, curve)
        assert (function(1 / np.array([768.0, 1000.0]), **truth, vanishing_l0=768) == 0).all()
        assert_allclose(function(1 / L0, **truth, vanishing_l0=1e12), function(1 / L0, **truth), rtol=1e-9)


@pytest.mark.parametrize("curve", TRUTHS)
@pytest.mark.parametrize("errors", ["log", "additive"])
def test_a_given_l_star_against_lmfit(curve, errors):
    y = heights(curve) * np.exp(0.05 * np.random.default_rng(1).standard_normal(6))
    fit = frontier.fit_points(1 / L0, y, curve, errors=errors, vanishing_l0=768.0)
    free = [p for p in fit.parameters if p not in fit.fixed]
    start = lmfit.Parameters()
    for name in free:
        start.add(name, TRUTHS[curve][name], min=1e-9)

    def residual(p):
        f = getattr(frontier, curve)(1 / L0, **p.valuesdict(), vanishing_l0=768.0)
        return np.log(y / f) if errors == "log" else y - f

    theirs = lmfit.minimize(residual, start, ftol=1e-14, xtol=1e-14)
    assert_allclose(fit.rss, (theirs.residual**2).sum(), rtol=1e-8)
    assert_allclose([fit[n].estimate for n in free], [theirs.params[n].value for n in free], rtol=1e-5)
    assert_allclose(fit.lmfit_result.chisqr, fit.rss, rtol=1e-8)
    assert str(fit.cells[-1]) == "768 (fixed)"


@pytest.mark.parametrize("curve,model", [("power", PowerModel), ("hill", HillModel)])
def test_a_fitted_l_star_against_lmfit(curve, model):
    y = heights(curve) * np.exp(0.03 * np.random.default_rng(2).standard_normal(6))
    fit = frontier.fit_points(1 / L0, y, curve, errors="additive", vanishing_l0="fit")
    theirs = model(vanishing=True)
    start = theirs.make_params(**TRUTHS[curve], vanishing_l0=800)
    start["vanishing_l0"].set(min=641)
    if curve == "hill":
        start["top"].set(vary=False)
    found = theirs.fit(y, start, x=1 / L0)
    assert_allclose(fit.rss, found.chisqr, rtol=1e-4)
    assert_allclose(fit["vanishing_l0"].estimate, found.params["vanishing_l0"].value, rtol=0.01)
    assert (
        fit.df == 6 - 3 and fit["vanishing_l0"].low < fit["vanishing_l0"].estimate < fit["vanishing_l0"].high
    )


def test_exact_data_return_their_l_star():
    for option in ("fit", "fit_by_family"):
        fits = frontier.fit(table(), "power", errors="log", vanishing_l0=option)
        assert_allclose([f["vanishing_l0"].estimate for f in fits], 768, rtol=1e-3)
    own = frontier.fit(table(vanishing=(700, 900)), "power", errors="log", vanishing_l0="fit_by_family")
    assert_allclose([f["vanishing_l0"].estimate for f in own], [700, 900], rtol=5e-3)
    assert [f.spent for f in own] == [1, 1]
    assert [f.spent for f in frontier.fit(table(noise=0.05), "power", vanishing_l0="fit")] == [0.5, 0.5]


def test_quantities_are_read_in_l0_not_in_the_formulas_x():
    fit = frontier.fit_points(1 / L0, heights("hill"), errors="log", vanishing_l0=768.0)
    at = fit.x_at(0.1).estimate
    assert_allclose(fit.predict(at), 0.1, rtol=1e-9)
    assert_allclose(frontier.curves.HILL.x_at(0.1, fit.values), at, rtol=1e-9)
    assert_allclose(fit.height_at(1 / 50).estimate, fit.predict(1 / 50), rtol=1e-12)
    noisy = frontier.fit_points(
        1 / L0, heights("hill") * np.exp(0.05 * np.array([1, -1, 1, -1, 1, -1])), vanishing_l0=768.0
    )
    for quantity in (x_at(0.1), height(1 / 50), parameter("k")):
        interval, wald = noisy.interval_of(quantity), noisy.interval_of(quantity, method="wald")
        assert interval.low < interval.estimate < interval.high
        assert_allclose([interval.low, interval.high], [wald.low, wald.high], rtol=0.1)
    band = noisy.band(1 / L0)
    assert (band.low < band.y).all() and (band.y < band.high).all()
    assert np.isfinite(noisy.jackknife(x_at(0.1))).all()


def test_a_relative_potency_is_a_ratio_of_l0():
    fits = frontier.fit(table("power", 0.01, 3), "power", errors="log", vanishing_l0="d_model")
    r = frontier.relative_potency(fits["b"], fits["a"], 0.1)
    expected = fits["b"].x_at(0.1).estimate / fits["a"].x_at(0.1).estimate
    assert_allclose(r.ratio, expected, rtol=1e-9)
    curve = frontier.relative_potency_curve(fits["b"], fits["a"], points=9)
    near = curve.iloc[(curve["at"] - 0.1).abs().argmin()]
    again = frontier.relative_potency(fits["b"], fits["a"], near["at"])
    assert_allclose(
        [near.ratio, near.ratio_low, near.ratio_high],
        [again.ratio, again.ratio_low, again.ratio_high],
        rtol=1e-6,
    )


def test_rows_at_or_beyond_l_star_are_left_out_and_said():
    rows = pd.concat([table(noise=0.05), pd.DataFrame([
        {"family": "a", "l0": 768.0, "performance_hit": 0.0, "d_model": 768},
        {"family": "a", "l0": 900.0, "performance_hit": 0.001, "d_model": 768},
    ])], ignore_index=True)  # fmt: skip
    fits = frontier.fit(rows, "power", errors="log", vanishing_l0="d_model")
    assert [f.n_points for f in fits] == [6, 6] and fits["a"].errors == "log"
    assert "2 rows of a left out: L0 at or above 768, where the curve vanishes" in fits.notes


def test_bad_options_are_named():
    with pytest.raises(ValueError, match=r"vanishing_l0 must be 'd_model', a number, 'fit' .* found 'width'"):
        frontier.fit(table(), "power", vanishing_l0="width")
    with pytest.raises(ValueError, match="positive number of latents; found -3"):
        frontier.fit(table(), "power", vanishing_l0=-3)
    with pytest.raises(ValueError, match="needs hill or power in sparsity"):
        frontier.fit(table(), "linear", vanishing_l0=768)
    with pytest.raises(ValueError, match="needs hill or power in sparsity"):
        frontier.fit(table(), "power", x="l0", vanishing_l0=768)
    with pytest.raises(ValueError, match="needs one d_model per group; a has none"):
        frontier.fit(table().drop(columns="d_model"), "power", vanishing_l0="d_model")


def test_a_batch_of_columns_that_vanish_apart():
    vanishing = np.array([700.0, 768.0, np.inf])
    y = np.stack([heights("hill", vanishing=v) for v in vanishing], axis=1) * np.exp(
        0.05 * np.random.default_rng(5).standard_normal((6, 3))
    )
    together = Problem.of("hill", 1 / L0, y, None, "log", {"top": 1.0, "vanishing_l0": vanishing}).fit()
    low, high = profile(together, parameter("k"), 0.95)
    for i, v in enumerate(vanishing):
        alone = Problem.of("hill", 1 / L0, y[:, i], None, "log", {"top": 1.0, "vanishing_l0": v}).fit()
        assert_allclose(together.parameters["k"][i], alone.parameters["k"][0], rtol=1e-9)
        assert_allclose([low[i], high[i]], np.ravel(profile(alone, parameter("k"), 0.95)), rtol=1e-6)


def test_intervals_cover_where_l_star_is_given():
    truth = Truth(
        "hill",
        {**TRUTHS["hill"], "vanishing_l0": 768.0},
        1 / L0,
        0.05,
        "log",
        {"top": 1.0, "vanishing_l0": 768.0},
    )
    fits = truth.simulate(1000, np.random.default_rng(6)).fit()
    for quantity in (parameter("k"), x_at(0.1)):
        found = coverage({}, "", truth.working(quantity), *profile(fits, quantity, 0.95), 0.95)
        assert 0.93 <= found.covered <= 0.97


def test_figures_and_tables_take_them():
    import matplotlib.pyplot as plt

    fits = frontier.fit(table(noise=0.05), "power", errors="log", vanishing_l0="fit")
    assert "vanishing_l0" in repr(fits[0]) and "vanishing_l0" in fits.to_frame()
    assert "fixed" not in repr(fits) and "vanishing_l0" in repr(fits)
    fits.plot(), frontier.ratio_table(fits, "a")
    given = frontier.fit(table(noise=0.05), "power", errors="log", vanishing_l0=768)
    assert "vanishing_l0 = 768 fixed" in repr(given)
    plt.close("all")
    assert fits.to_frame()["vanishing_l0"].notna().all()


def test_candidates_share_where_the_fit_vanishes():
    y = heights("power") * np.exp(0.01 * np.random.default_rng(8).standard_normal(6))
    fit = frontier.fit_points(1 / L0, y, "hill", errors="log", vanishing_l0=768.0)
    found = frontier.select_curve(fit, replicates=0)
    assert {c.curve for c in found.candidates} == {
        "hill(vanishing_l0=768)",
        "power(vanishing_l0=768)",
        "linear",
    }
    assert found.some_curve_fits and found.candidates[-1].curve == "linear"
