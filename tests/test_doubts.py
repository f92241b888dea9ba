"""Every message for a degenerate case, in its case; the cases and texts are a table of the project's plan.

Cases of pairs, residuals, model choice and groups without a fit are in test_ratios, test_comparison,
test_residuals, test_selection and test_fits.
"""

import math

import numpy as np
import pytest

import frontier
from frontier.fits import doubts as say

X = np.geomspace(0.003, 0.03, 8)


def noisy(y, sd=0.1, seed=0):
    return y * np.exp(sd * np.random.default_rng(seed).standard_normal(len(y)))


def doubts_of(x, y, **options):
    return frontier.fit_points(x, y, **options).doubts


def test_k_beyond_the_data():
    y = noisy(frontier.hill(X, 0.46, 1.0))
    fit = frontier.fit_points(X, y, errors="log")
    text = next(d for d in fit.doubts if "times the largest x" in d)
    k = fit["k"].estimate
    assert text.startswith(f"k of group all rows ({k:.3f}) is {k / 0.03:.2g} times the largest x (0.0300);")
    assert "it is an extrapolation and depends on the Hill form with top 1" in text
    assert "Relative potency at y = " in text and text.endswith("does not depend on it.")


def test_k_below_the_data():
    y = frontier.hill(np.geomspace(3, 30, 8), 0.5, 1.0)
    text = " ".join(doubts_of(np.geomspace(3, 30, 8), noisy(y, 0.01), errors="additive"))
    assert "times below the smallest x (3)" in text


def test_y_above_the_top():
    x = np.geomspace(0.1, 50, 9)
    y = noisy(frontier.hill(x, 1.0, 1.5), 0.02, seed=3)
    y[7] = 1.02
    assert any(
        d.startswith("y = 1.02 in row 7 exceeds the curve's top (1). Kept; check units")
        for d in doubts_of(x, y)
    )


def test_a_profile_that_does_not_close():
    # A free top on low data: k may be infinite (FITTING section 2.4: 96 % of low-range sets)
    x = np.geomspace(0.003, 0.3, 10)
    for seed in range(40):
        y = noisy(frontier.hill(x, 1.0, 1.1), 0.1, seed)
        try:
            fit = frontier.fit_points(x, y, errors="log", free=["top"])
        except ValueError as error:  # no optimum at all: k and top run off together
            assert "sets no top" in str(error)
            continue
        if math.isinf(fit["k"].high):
            text = next(d for d in fit.doubts if d.startswith("No upper limit for k"))
            assert "values up to infinity fit as well (power law: RSS" in text
            return
    pytest.fail("no set with an open profile")


def test_step_like_data():
    x = np.array([0.001, 0.004, 0.01, 0.02, 0.05, 0.1])
    y = np.array([0.02, 0.05, 0.03, 0.95, 0.97, 0.96])
    text = next(d for d in doubts_of(x, y, errors="additive") if d.startswith("The rise lies between"))
    # from 0.1 to 0.9 of the top a Hill curve needs a factor 81^(1/n) in x: n = log 81 / log 2 = 6.3
    assert text == "The rise lies between x = 0.0100 and 0.0200; n is at least 6.3, no upper limit."


def test_one_point_decides():
    y = noisy(frontier.hill(X, 0.46, 1.0), 0.02)
    y[-1] *= 1.5
    text = next(d for d in doubts_of(X, y, errors="log") if d.startswith("Without row 7, k changes from"))
    without = frontier.fit_points(X[:-1], y[:-1], errors="log")["k"].estimate
    assert text.endswith(f"to {without:.3g}.") or f"{without:.2f}" in text


def test_a_point_of_high_leverage():
    x = np.array([0.01, 0.011, 0.012, 0.013, 1.0])
    y = 2 * x + 1 + 0.001 * np.array([1, -1, 1, -1, 0])
    assert any(
        "alone fixes one direction of the curve (leverage 1" in d or d.startswith("Without row 4")
        for d in doubts_of(x, y, curve="linear", errors="additive")
    )


def test_perfect_data():
    assert doubts_of(X, frontier.hill(X, 0.46, 1.0))[0] == (
        "Residuals are zero to rounding; intervals of width 0 are not meaningful."
    )


def test_a_solver_that_fails_says_so_and_gives_no_number():
    assert say.not_converged(1.25) == "Not converged; last RSS 1.25; this is a fault to report, not a result."
    with pytest.raises(ValueError, match=r"y falls as x rises|Not converged"):
        frontier.fit_points(X, np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01]), errors="additive")


def test_a_top_of_one_means_nothing_for_nats():
    rows = [
        {"architecture": "a", "l0": 1 / a, "ce_clean": 2.0, "ce_sae": 2 + b}
        for a, b in zip(X, noisy(X), strict=True)
    ]
    fit = frontier.fit(rows, "hill", y="delta_ce", errors="log")[0]
    assert any(d.startswith("A top of 1 has no meaning for delta_ce") for d in fit.doubts)
