"""Certified values of the NIST Statistical Reference Datasets that are curves of ours.

Estimates and standard deviations agree to at least 8 significant digits (NIST prints 11 for the nonlinear
problems, 15 for the linear ones), from both of NIST's starting points and from the engine's own.
"""

from pathlib import Path

import numpy as np
import pytest

from frontier.problems import Problem, parameter

FOLDER = Path(__file__).parent / "nist"


def data(name):
    """The columns x and y of a NIST file."""
    lines = (FOLDER / f"{name}.dat").read_text().splitlines()
    first = max(i for i, line in enumerate(lines) if line.startswith("Data:")) + 1
    y, x = np.array([line.split() for line in lines[first:] if line.strip()], dtype=float).T
    return x, y


def digits(found, certified):
    """Correct significant digits: NIST's log relative error."""
    return 15.0 if found == certified else -np.log10(abs(found - certified) / abs(certified))


def agrees(estimate, certified, residual_sum):
    """Each named value and its standard deviation to 8 digits; `certified` has readable parameters."""
    assert estimate.converged.all()
    assert digits(estimate.solution.rss[0], residual_sum) >= 8
    curve = estimate.problem.curve
    for name, (value, deviation) in certified.items():
        found = estimate.parameters[name][0]
        assert digits(found, value) >= 8, name
        _, se = estimate.working(parameter(name))
        se = se[0] * found if name in curve.positive else se[0]
        assert digits(se, deviation) >= 8, name


def started(problem, a, b, log_top):
    """The problem fitted from theta at centre 0, moved to the problem's own centre."""
    centre = problem.pins[0][0]
    return problem.fit(np.array([[a + b * centre], [b], [log_top]]))


@pytest.mark.parametrize("start", [None, (1.0, 5.0), (0.7, 4.0)], ids=["own", "NIST 1", "NIST 2"])
def test_danwood(start):
    problem = Problem.of("power", *data("DanWood"))
    fit = problem.fit() if start is None else started(problem, np.log(start[0]), start[1], 0.0)
    certified = {"scale": (7.6886226176e-1, 1.8281973860e-2), "exponent": (3.8604055871, 5.1726610913e-2)}
    agrees(fit, certified, 4.3173084083e-3)


@pytest.mark.parametrize("start", [None, (500, 0.0001), (450, 0.0003)], ids=["own", "NIST 1", "NIST 2"])
def test_misra1d(start):
    # b1 b2 x / (1 + b2 x) is Hill with n = 1, top = b1, k = 1 / b2; sd(k) = sd(b2) / b2^2
    problem = Problem.of("hill", *data("Misra1d"), fixed={"n": 1.0})
    fit = problem.fit() if start is None else started(problem, np.log(start[1]), 1.0, np.log(start[0]))
    b2, sd_b2 = 3.0227324449e-4, 2.9334354479e-6
    certified = {"top": (4.3736970754e2, 3.6489174345), "k": (1 / b2, sd_b2 / b2**2)}
    agrees(fit, certified, 5.6419295283e-2)


def test_norris():
    certified = {
        "intercept": (-0.262323073774029, 0.232818234301152),
        "slope": (1.00211681802045, 0.429796848199937e-3),
    }
    agrees(Problem.of("linear", *data("Norris")).fit(), certified, 26.6173985294224)


@pytest.mark.parametrize(
    "name,slope,deviation,residual_sum",
    [
        ("NoInt1", 2.07438016528926, 0.165289256198347e-1, 127.272727272727),
        ("NoInt2", 0.727272727272727, 0.420827318078432e-1, 0.272727272727273),
    ],
)
def test_line_through_zero(name, slope, deviation, residual_sum):
    problem = Problem.of("linear", *data(name), fixed={"intercept": 0.0})
    agrees(problem.fit(), {"slope": (slope, deviation)}, residual_sum)


def test_printed_values_stand_in_the_files():
    text = {name: (FOLDER / f"{name}.dat").read_text() for name in ("DanWood", "Misra1d", "Norris", "NoInt1")}
    assert "3.8604055871E+00  5.1726610913E-02" in text["DanWood"]
    assert "3.0227324449E-04  2.9334354479E-06" in text["Misra1d"]
    assert "-0.262323073774029     0.232818234301152" in text["Norris"]
    assert "2.07438016528926     0.165289256198347E-01" in text["NoInt1"]
