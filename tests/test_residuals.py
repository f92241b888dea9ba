"""Curvature left in residuals: the runs test against closed forms, and the message in its case."""

import re

import numpy as np
import pytest

import frontier
from frontier.fits.residuals import curvature_left, residuals, runs_test

X = np.geomspace(0.003, 0.5, 9)


def test_runs_test_of_a_known_sequence():
    # 4 plus, 4 minus in 2 runs: expected 5, variance (5-1)(5-2)/7 = 12/7; z = (2-5+0.5)/sqrt(12/7) = -1.909
    assert runs_test([np.array([1.0, 1, 1, 1, -1, -1, -1, -1])]) == pytest.approx(0.0281, abs=2e-4)
    assert runs_test([np.array([1.0, -1, 1, -1, 1, -1, 1, -1])]) > 0.9
    assert runs_test([np.ones(5)]) == 1.0  # one sign alone says nothing


def test_a_curve_that_bends_less_than_the_data_is_named():
    rows = []
    rng = np.random.default_rng(3)
    for family, noise in zip("abcde", (0.03, 0.03, 0.03, 0.03, 0.2), strict=True):
        y = frontier.hill(X, 0.05, 1.3) * np.exp(noise * rng.standard_normal(len(X)))
        rows += [
            {"architecture": family, "l0": 1 / a, "loss_recovered": 1 - b} for a, b in zip(X, y, strict=True)
        ]
    power = frontier.fit(rows, "power", errors="log")
    text = curvature_left(power.fits)
    assert text.startswith("In 5 of 5 groups the curve bends less than the data (residuals of ")
    family, pattern = re.fullmatch(r".*residuals of (\w) run ([-+ ]+)\)\.", text).groups()
    signs = {f.group["family"]: np.where(residuals(f) >= 0, "+", "-").tolist() for f in power.fits}
    assert pattern.split() == signs[family] and len(set(map(tuple, signs.values()))) > 1
    assert "+ + +" in pattern and pattern.startswith("-")
    assert text in power.notes
    hill = frontier.fit(rows, "hill", errors="log")
    assert curvature_left(hill.fits) == ""


@pytest.mark.slow
def test_false_alarms_are_rare_where_the_curve_is_right():
    rng = np.random.default_rng(8)
    alarms = 0
    for _ in range(100):
        fits = [
            frontier.fit_points(
                X,
                frontier.hill(X, 0.3, 1.0) * np.exp(0.1 * rng.standard_normal(9)),
                errors="log",
                intervals="wald",
            )
            for _ in range(3)
        ]
        alarms += bool(curvature_left(fits))
    assert alarms <= 10  # nominal 5 of 100; binomial 99 % limit


def test_residuals_are_on_the_scale_of_the_errors():
    y = frontier.hill(X, 0.3, 1.0) * np.exp(0.1 * np.sin(np.arange(9)))
    for errors in ("additive", "log", "relative"):
        fit = frontier.fit_points(X, y, errors=errors, intervals="wald")
        assert fit.sigma == pytest.approx(np.sqrt((residuals(fit) ** 2).sum() / fit.df), rel=1e-9)
