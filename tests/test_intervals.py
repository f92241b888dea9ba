"""Intervals against lmfit, a profile written out with scipy, closed forms, published values, and coverage."""

import lmfit
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.optimize import brentq, least_squares

import frontier
from frontier.curves import HILL, hill, linear, power
from frontier.intervals import (
    Interval,
    _saturation,
    bootstrap,
    intervals_of,
    leave_one_out,
    leverages,
    limits,
    profile,
    resample,
    t_quantile,
    wald,
)
from frontier.problems import Problem, height, parameter, x_at

ERRORS = ("additive", "log", "relative")


def simulated(points=9, sets=1, noise=0.1, seed=0, k=1.0, n=1.1, low=0.03, high=2.0):
    x = np.geomspace(low, high, points)
    rng = np.random.default_rng(seed)
    return x, hill(x, k, n)[:, None] * np.exp(noise * rng.standard_normal((points, sets)))


def one(limits_pair, column=0):
    return limits_pair[0][column], limits_pair[1][column]


# Quantiles and the value itself


def test_t_quantile():
    # scipy.stats.t.ppf(0.975, [1, 4, 30])
    assert_allclose(t_quantile(np.array([1, 4, 30]), 0.95), stats.t.ppf(0.975, [1, 4, 30]), rtol=1e-10)
    assert np.isnan(t_quantile(np.array([0.0, -1.0]), 0.95)).all()


def test_interval_as_a_value():
    interval = Interval(2.0, 1.5, np.inf, 0.9)
    assert float(interval) == 2.0
    assert 1e9 in interval and 1.4 not in interval
    assert repr(interval) == "Interval(2, low=1.5, high=inf, level=0.9)"


def test_unknown_method():
    x, y = simulated()
    with pytest.raises(ValueError, match=r"unknown interval method 'profil'.*profile"):
        limits(Problem.of("hill", x, y).fit(), parameter("k"), 0.95, "profil")


# Published values


@pytest.mark.parametrize(
    "site,family,cut,k,n",
    [
        # Gated SAE paper, Tables 1-4, layer 20: lmfit's conf_interval on log k (GATED_DATA.md, section 3)
        ("Resid", "baseline", None, (1.04, 0.76, 1.55), (1.015, 0.89, 1.15)),
        ("Resid", "gated", None, (6.28, 5.51, 7.21), (0.816, 0.79, 0.84)),
        ("MLP", "baseline", None, (4.88, 0.93, 187), (0.324, 0.19, 0.48)),
        ("MLP", "baseline", 200, (1.16, 0.84, 1.73), (0.461, 0.41, 0.51)),
        ("MLP", "gated", None, (7.29, 3.41, 20.2), (0.383, 0.33, 0.44)),
        ("Attn", "baseline", None, (0.256, 0.23, 0.29), (0.826, 0.76, 0.89)),
        ("Attn", "gated", None, (1.28, 1.02, 1.66), (0.600, 0.54, 0.66)),
    ],
)
def test_gemma_intervals(front20, site, family, cut, k, n):
    rows = front20[(front20["site"] == site) & (front20["family"] == family)]
    rows = rows[rows["l0"] <= cut] if cut else rows
    fit = Problem.of("hill", 1 / rows["l0"].to_numpy(), 1 - rows["loss_recovered"].to_numpy()).fit()
    for name, printed in (("k", k), ("n", n)):
        interval = intervals_of(fit, parameter(name), 0.95, "profile")[0]
        for found, shown in zip((interval.estimate, interval.low, interval.high), printed, strict=True):
            # equal to the last printed digit: 2 decimals of n, 3 significant digits of k
            digits = 10.0 ** (np.floor(np.log10(shown)) - 2) if name == "k" else 0.01
            assert found == pytest.approx(shown, abs=max(digits, 0.01 if shown < 10 else digits) * 0.51)


# lmfit


def lmfit_hill(x, y, log):
    """lmfit on log k and n, in the scale of the errors."""
    parameters = lmfit.Parameters()
    parameters.add("log_k", 0.0)
    parameters.add("n", 1.0)

    def residual(p):
        f = hill(x, np.exp(p["log_k"].value), p["n"].value)
        return np.log(y) - np.log(f) if log else y - f

    mini = lmfit.Minimizer(residual, parameters)
    return mini, mini.minimize(method="leastsq", xtol=1e-14, ftol=1e-14, gtol=1e-14)


@pytest.mark.parametrize("errors", ["additive", "log"])
@pytest.mark.parametrize("points", [5, 9])
def test_profile_as_lmfit(errors, points):
    x, y = simulated(points, seed=points)
    fit = Problem.of("hill", x, y, errors=errors).fit()
    mini, result = lmfit_hill(x, y[:, 0], errors == "log")
    table = lmfit.conf_interval(mini, result, sigmas=[0.95])
    for ours, theirs in (("k", "log_k"), ("n", "n")):
        low, high = one(profile(fit, parameter(ours), 0.95))
        # lmfit's root search stops at about 1e-4 of the interval
        assert_allclose((low, high), (table[theirs][0][1], table[theirs][2][1]), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("errors", ["additive", "log"])
def test_wald_is_lmfits_standard_error_times_t(errors):
    x, y = simulated(8, seed=3)
    fit = Problem.of("hill", x, y, errors=errors).fit()
    _, result = lmfit_hill(x, y[:, 0], errors == "log")
    for ours, theirs in (("k", "log_k"), ("n", "n")):
        found = result.params[theirs]
        reach = stats.t.ppf(0.95, 6) * found.stderr
        # lmfit's Jacobian is a forward difference, good to about 1e-6
        assert_allclose(
            one(wald(fit, parameter(ours), 0.9)), found.value + np.array([-reach, reach]), rtol=1e-4
        )


# The profile written out


def brute_profile(x, y, errors, held, level, side, estimate, curve=hill, weights=1.0):
    """One limit: brentq over the held value, scipy's least squares over the rest.

    `held(value, free)` gives the curve's readable parameters.
    """

    def residual(f):
        return (np.log(y) - np.log(f) if errors == "log" else y - f) * np.sqrt(weights)

    def least(value):
        ends = [
            least_squares(
                lambda p: np.nan_to_num(residual(curve(x, *held(value, p[0]))), nan=1e3),
                [s], xtol=1e-14, ftol=1e-14, gtol=1e-14,
            )
            for s in (0.5, 1.0, 1.5)
        ]  # fmt: skip
        return 2 * min(end.cost for end in ends)

    df = len(x) - 2
    aim = least(estimate) * (1 + stats.f.ppf(level, 1, df) / df)
    far = 0.05
    while least(estimate + side * far) < aim:
        far *= 1.5
    return brentq(lambda d: least(estimate + side * d) - aim, 0, far, xtol=1e-12) * side + estimate


@pytest.mark.parametrize("errors", ["additive", "log"])
def test_profile_of_each_quantity_as_written_out(errors):
    x, y = simulated(7, noise=0.15, seed=4)
    fit = Problem.of("hill", x, y, errors=errors).fit()
    odds = np.log(0.2 / 0.8)
    cases = [
        (parameter("k"), lambda v, n: (np.exp(v), n)),
        (parameter("n"), lambda v, log_k: (np.exp(log_k - 1), v)),
        # held x at y = 0.2: k = x * (0.8 / 0.2)^(1/n)
        (x_at(0.2), lambda v, n: (np.exp(v - odds / n), n)),
        # held logit of the height at x = 0.5: log k = log x - logit / n
        (height(0.5), lambda v, n: (np.exp(np.log(0.5) - v / n), n)),
    ]
    for quantity, held in cases:
        estimate = fit.working(quantity)[0][0]
        low, high = one(profile(fit, quantity, 0.95))
        for side, found in ((-1, low), (1, high)):
            expected = brute_profile(x, y[:, 0], errors, held, 0.95, side, estimate)
            # both searches end at 1e-9 of the limit; scipy's inner minimum is good to 1e-8 in rss
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-6), quantity


def test_profile_of_power_and_line_as_written_out():
    x, y = simulated(7, noise=0.15, seed=5)
    fit = Problem.of("power", x, y, errors="additive").fit()
    estimate = fit.working(parameter("scale"))[0][0]
    low, high = one(profile(fit, parameter("scale"), 0.95))
    for side, found in ((-1, low), (1, high)):
        expected = brute_profile(
            x, y[:, 0], "additive", lambda v, b: (np.exp(v), b), 0.95, side, estimate, power
        )
        assert found == pytest.approx(expected, rel=1e-5)
    line = Problem.of("linear", x, y, errors="log").fit()
    estimate = line.working(parameter("slope"))[0][0]
    low, high = one(profile(line, parameter("slope"), 0.95))
    for side, found in ((-1, low), (1, high)):
        expected = brute_profile(x, y[:, 0], "log", lambda v, b: (v, 0.02 * b), 0.95, side, estimate, linear)
        assert found == pytest.approx(expected, rel=1e-5)


def test_profile_of_a_line_is_wald():
    # a linear model has an exactly parabolic profile
    x, y = simulated(8, seed=6)
    fit = Problem.of("linear", x, y).fit()
    for name in ("slope", "intercept"):
        expected = one(wald(fit, parameter(name), 0.95))
        assert_allclose(one(profile(fit, parameter(name), 0.95)), expected, rtol=1e-7)
    # np.polyfit's covariance, scaled by rss / df
    coefficients, covariance = np.polyfit(x, y[:, 0], 1, cov=True)
    reach = stats.t.ppf(0.975, 6) * np.sqrt(covariance[0, 0])
    assert_allclose(one(wald(fit, parameter("slope"), 0.95)), coefficients[0] + [-reach, reach], rtol=1e-9)


@pytest.mark.parametrize("errors", ERRORS)
def test_k_is_the_x_at_half_the_top(errors):
    x, y = simulated(8, sets=5, seed=7)
    fit = Problem.of("hill", x, y, errors=errors).fit()
    assert_allclose(profile(fit, parameter("k"), 0.95), profile(fit, x_at(0.5), 0.95), rtol=1e-8, atol=1e-10)
    assert_allclose(wald(fit, parameter("k"), 0.95), wald(fit, x_at(0.5), 0.95), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("errors", ERRORS)
def test_limits_of_height_and_of_x_are_one_band(errors):
    # the curve that touches the band at (x, upper height) is where x is the lower limit for that height
    x, y = simulated(8, sets=4, seed=8)
    fit = Problem.of("hill", x, y, errors=errors).fit()
    _, high = profile(fit, height(0.3), 0.95)
    level = fit.readable(height(0.3), high)
    low, _ = profile(fit, x_at(level), 0.95)
    assert_allclose(np.exp(low), 0.3, rtol=1e-7)


def test_limits_do_not_depend_on_units():
    x, y = simulated(7, sets=3, seed=9)
    one_unit = Problem.of("hill", x, y, errors="log").fit()
    other = Problem.of("hill", 3072 * x, y, errors="log").fit()
    shift = np.log(3072)
    assert_allclose(
        np.subtract(profile(other, parameter("k"), 0.95), shift),
        profile(one_unit, parameter("k"), 0.95),
        atol=1e-7,
    )


# Ends that never close, and no interval at all


def test_free_top_leaves_k_open_above():
    # y stays below a tenth of the top: the power law, k = infinity, fits within the threshold
    x, y = simulated(8, noise=0.1, seed=10, k=1.0, low=0.005, high=0.1)
    fit = Problem.of("hill", x, y, errors="log", fixed={}).fit()
    assert fit.converged[0]
    low, high = one(profile(fit, parameter("k"), 0.95))
    assert np.isfinite(low) and high == np.inf
    straight = Problem.of("power", x, y, errors="log").fit()
    threshold = fit.solution.rss[0] * (1 + t_quantile(5.0, 0.95) ** 2 / 5)
    assert straight.solution.rss[0] < threshold  # so infinity is the right answer
    interval = intervals_of(fit, parameter("k"), 0.95, "profile")[0]
    assert interval.high == np.inf and "inf" in str(interval)


STEP_X = np.array([0.1, 0.2, 0.4, 1.6, 3.2, 6.4])
STEP_Y = np.array([0.02, 0.05, 0.03, 0.97, 0.94, 0.98])


def test_step_like_data_leave_n_open_above():
    # no point on the rise: any steepness above some value fits as well
    fit = Problem.of("hill", STEP_X, STEP_Y).fit()
    assert fit.converged[0]
    low, high = one(profile(fit, parameter("n"), 0.95))
    assert np.isfinite(low) and high == np.inf
    steeper = Problem.of("hill", STEP_X, STEP_Y, fixed={"top": 1.0, "n": 1e4, "k": 0.8}).fit()
    assert steeper.solution.rss[0] < fit.solution.rss[0] * (1 + t_quantile(4.0, 0.95) ** 2 / 4)


def test_step_like_data_bracket_k():
    # the rise lies between two points; the profile jumps there (1 %: the last steep optima are narrow)
    fit = Problem.of("hill", STEP_X, STEP_Y).fit()
    assert_allclose(np.exp(one(profile(fit, parameter("k"), 0.95))), [0.4, 1.6], rtol=0.01)


def test_no_degrees_of_freedom_no_interval():
    x, y = simulated(2, seed=11)
    fit = Problem.of("hill", x, y).fit()
    for method in ("profile", "wald", "bootstrap"):
        assert np.isnan(limits(fit, parameter("k"), 0.95, method)).all()


def test_unconverged_columns_have_no_interval_and_harm_no_other():
    x, y = simulated(7, sets=3, seed=12)
    alone = profile(Problem.of("hill", x, y).fit(), parameter("k"), 0.95)
    y[:, 1] = [0, 0, 0, 0, 1, 1, 1]
    fit = Problem.of("hill", x, y).fit()
    low, high = profile(fit, parameter("k"), 0.95)
    assert np.isnan([low[1], high[1]]).all()
    assert_allclose(low[[0, 2]], alone[0][[0, 2]], rtol=1e-9)


# Coverage


@pytest.mark.parametrize("errors,noise", [("log", 0.1), ("relative", 0.1)])
@pytest.mark.parametrize("low,high", [(0.02, 2.0), (0.005, 0.1)], ids=["mid", "low"])
def test_profile_coverage(errors, noise, low, high):
    # 500 sets of 6 points; 95 % minus and plus 3.3 standard deviations of a binomial share, chance 1 in 1,000
    x, y = simulated(6, sets=500, noise=noise, seed=13, low=low, high=high)
    fit = Problem.of("hill", x, y, errors=errors).fit()
    assert fit.converged.all()
    middle = np.sqrt(low * high)
    truths = [(parameter("k"), 0.0), (parameter("n"), 1.1), (x_at(hill(middle, 1.0, 1.1)), np.log(middle))]
    for quantity, truth in truths:
        lower, upper = profile(fit, quantity, 0.95)
        covered = np.mean((lower <= truth) & (truth <= upper))
        assert abs(covered - 0.95) < 3.3 * np.sqrt(0.95 * 0.05 / 500), (quantity, covered)


def test_bootstrap_coverage():
    # 200 sets, 399 replicates: 95 % +- 3.3 * 1.5 points
    x, y = simulated(8, sets=200, noise=0.1, seed=14)
    fit = Problem.of("hill", x, y, errors="log").fit()
    lower, upper = bootstrap(fit, parameter("k"), 0.95, replicates=399)
    covered = np.mean((lower <= 0.0) & (upper >= 0.0))
    assert abs(covered - 0.95) < 3.3 * np.sqrt(0.95 * 0.05 / 200)


# The bootstrap


def test_bootstrap_is_reproducible_and_seeded():
    x, y = simulated(8, seed=15)
    fit = Problem.of("hill", x, y, errors="log").fit()
    first = one(bootstrap(fit, parameter("k"), 0.95, replicates=499, seed=1))
    assert one(bootstrap(fit, parameter("k"), 0.95, replicates=499, seed=1)) == first
    assert one(bootstrap(fit, parameter("k"), 0.95, replicates=499, seed=2)) != first
    # same data, same scale: within a third of the profile's width at 499 replicates
    low, high = one(profile(fit, parameter("k"), 0.95))
    assert_allclose(first, (low, high), atol=(high - low) / 3)


def test_bootstrap_t_of_a_line_by_hand():
    """Pivots of skewed residuals, refitted by least squares: the high pivot gives the low limit."""
    x = np.geomspace(1, 50, 8)
    y = 1 + 2 * x + np.random.default_rng(3).exponential(1.0, 8) ** 2
    fit = Problem.of("linear", x, y).fit()
    found = one(bootstrap(fit, parameter("slope"), 0.9, replicates=999, seed=5))
    design = np.column_stack([np.ones(8), x])

    def slope_and_se(ys):
        beta, rss, *_ = np.linalg.lstsq(design, ys, rcond=None)
        return beta[1], np.sqrt(rss / 6 / ((x - x.mean()) ** 2).sum())

    (slope,), (se,) = slope_and_se(y[:, None])
    again, spread = slope_and_se(resample(fit, 0, 999, np.random.default_rng(5)).y)
    low, high = np.quantile((again - slope) / spread, [0.05, 0.95], method="weibull")
    assert abs(low + high) > 0.1, "symmetric pivots would hide which is which"
    assert_allclose(found, (slope - high * se, slope - low * se), rtol=1e-6)


@pytest.mark.parametrize("errors", ERRORS)
def test_bootstrap_of_a_group_does_not_depend_on_the_others(errors):
    x, y = simulated(8, sets=3, seed=16)
    together = bootstrap(Problem.of("hill", x, y, errors=errors).fit(), parameter("n"), 0.95, replicates=199)
    alone = bootstrap(
        Problem.of("hill", x, y[:, [2]], errors=errors).fit(), parameter("n"), 0.95, replicates=199
    )
    # the fits agree to rounding, which the pivots multiply a little
    assert_allclose(one(together, 2), one(alone), rtol=1e-7)


def test_bootstrap_of_groups_of_different_size():
    x, y = simulated(8, sets=2, seed=17)
    groups = [(x, y[:, 0], np.ones(8)), (x[:5], y[:5, 1], np.ones(5))]
    stacked = Problem.stacked("hill", groups, "additive", {"top": 1.0}).fit()
    alone = Problem.of("hill", x[:5], y[:5, 1]).fit()
    together = bootstrap(stacked, parameter("k"), 0.95, replicates=199)
    assert_allclose(one(together, 1), one(bootstrap(alone, parameter("k"), 0.95, replicates=199)), rtol=1e-7)


@pytest.mark.parametrize("errors", ERRORS)
def test_resampled_residuals_are_corrected_for_leverage(errors):
    # Davison & Hinkley (1997), section 6.3: r / sqrt(1 - h), less their mean, on the scale of the errors
    x, y = simulated(8, seed=20)
    fit = Problem.of("hill", x, y, errors=errors).fit()
    fitted = hill(x, fit.parameters["k"], fit.parameters["n"])
    residual = {
        "additive": y[:, 0] - fitted,
        "log": np.log(y[:, 0] / fitted),
        "relative": y[:, 0] / fitted - 1,
    }
    expected = residual[errors] / np.sqrt(1 - leverages(fit, 0))
    expected -= expected.mean()
    drawn = resample(fit, 0, 50, np.random.default_rng(0)).y
    back = {"additive": drawn - fitted[:, None], "log": np.log(drawn / fitted[:, None])}
    back["relative"] = drawn / fitted[:, None] - 1
    distance = np.abs(back[errors][..., None] - expected).min(axis=-1)
    assert distance.max() < 1e-10
    assert len(np.unique(back[errors].round(9))) == 8  # all of them are drawn


# Leverages


@pytest.mark.parametrize("errors", ERRORS)
@pytest.mark.parametrize("fixed,count", [({"top": 1.0}, 2), ({"top": 1.0, "n": 1.0}, 1), ({}, 3)])
def test_leverages_sum_to_the_number_of_parameters(errors, fixed, count):
    # trace of a projection; high = 20 so that the top can be told
    x, y = simulated(9, noise=0.03, seed=18, high=20.0)
    weights = np.r_[0.0, np.linspace(0.5, 2, 8)]
    fit = Problem.of("hill", x, y, weights, errors, fixed).fit()
    found = leverages(fit, 0)
    assert found.shape == (8,)
    assert found.sum() == pytest.approx(count, rel=1e-8)
    assert (found > 0).all() and (found < 1).all()


def test_leverages_of_a_line():
    # 1/N + (x - mean)^2 / Sxx
    x, y = simulated(7, seed=19)
    found = leverages(Problem.of("linear", x, y).fit(), 0)
    assert_allclose(found, 1 / 7 + (x - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum(), rtol=1e-10)


def test_published_fit_through_the_front_door(hill20):
    # the same numbers reach the user's table
    frame = hill20.to_frame()
    row = frame[(frame["site"] == "Resid") & (frame["family"] == "gated")].iloc[0]
    assert (round(row["k_low"], 2), round(row["k_high"], 2)) == (5.51, 7.21)
    assert isinstance(hill20, frontier.FrontierFits)


# --- without each point ---------------------------------------------------------------------------


@pytest.mark.parametrize("errors", ["log", "additive", "relative"])
def test_one_step_without_a_point_is_close_to_the_refit(errors, monkeypatch):
    """The error of one Gauss-Newton step falls with the square of N; at 60 points it is a few per cent."""
    rng = np.random.default_rng(7)
    x = np.geomspace(0.02, 3, 60)
    y = HILL.value(x, {"k": 0.5, "n": 1.1, "top": 1.0}) * np.exp(0.1 * rng.standard_normal(60))
    fit = Problem.of("hill", x, y, rng.uniform(0.5, 2, 60), errors).fit()
    for quantity in (parameter("k"), parameter("n"), x_at(0.1)):
        whole = fit.working(quantity)[0][0]
        (exact,) = leave_one_out(fit, quantity)
        monkeypatch.setattr("frontier.intervals.REFITTED", 10)
        (step,) = leave_one_out(fit, quantity)
        monkeypatch.undo()
        assert np.abs(step - exact).max() < 0.1 * np.abs(exact - whole).max()


def test_columns_of_unequal_length_are_left_out_point_by_point():
    rng = np.random.default_rng(8)
    groups = []
    for n in (5, 9, 7):
        x = np.geomspace(0.02, 1, n)
        groups.append((x, x / (0.5 + x) * np.exp(0.1 * rng.standard_normal(n)), np.ones(n)))
    together = leave_one_out(Problem.stacked("hill", groups, "log", {"top": 1.0}).fit(), parameter("k"))
    for (x, y, _), found in zip(groups, together, strict=True):
        own = [
            Problem.of("hill", np.delete(x, i), np.delete(y, i), None, "log")
            .fit()
            .working(parameter("k"))[0][0]
            for i in range(len(x))
        ]
        assert_allclose(found, own, rtol=1e-8)


def test_memory_grows_with_the_points_not_with_their_square():
    import tracemalloc

    x = np.geomspace(0.001, 0.5, 20_000)
    y = x / (0.2 + x) * np.exp(0.1 * np.random.default_rng(9).standard_normal(len(x)))
    tracemalloc.start()
    frontier.fit_points(x, y, errors="log")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6  # a matrix of all pairs of points alone is 3.2e9 bytes


# Without each point


def test_leave_one_out_of_a_line_by_numpy():
    x = np.array([1.0, 2.0, 4.0, 5.0, 9.0])
    y = np.array([1.0, 3.0, 2.0, 6.0, 7.0])
    fit = frontier.fit_points(x, y, "linear", errors="additive")
    by_hand = [np.polyfit(np.delete(x, i), np.delete(y, i), 1)[0] for i in range(5)]
    assert_allclose(fit.jackknife(parameter("slope")), by_hand, rtol=1e-9)


def test_a_steepness_saturates_at_the_narrowest_gap_of_points_that_count():
    """Hill in log x: beyond 40 over that gap at most one point lies on the rise; equal x are no gap."""
    x = np.exp([0.0, 0.2, 0.9, 0.9])
    weights = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.5], [0.3, 1.0]])
    problem = Problem.of("hill", x, np.full((4, 2), 0.5), weights)
    assert_allclose(_saturation(problem, np.array([1, 0])), [40 / 0.9, 40 / 0.2], rtol=1e-9)
