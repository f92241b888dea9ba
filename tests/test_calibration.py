"""Calibration: the intervals cover what they say, and the tool that measures it can see when they do not."""

import numpy as np
import pytest
from typer.testing import CliRunner

import frontier
from benchmarks.coverage import FAMILY, RANGES, truth
from frontier.calibration import Calibration, calibrate, welch_limits
from frontier.calibration.coverage import coverage
from frontier.calibration.verdict_rates import VerdictCalibration
from frontier.errors import ADDITIVE
from frontier.intervals import profile
from frontier.problems import parameter, x_at

TABLES = 1500
# 99.9 % binomial band around 95 % for 1,500 tables
BAND = (0.95 - 3.3 * (0.95 * 0.05 / TABLES) ** 0.5, 0.95 + 3.3 * (0.95 * 0.05 / TABLES) ** 0.5)


@pytest.mark.parametrize("points", [4, 5, 8, 15])
@pytest.mark.parametrize("name", RANGES)
def test_profile_intervals_of_k_and_n_cover(name, points):
    t = truth(FAMILY, RANGES[name][:2], points, 0.1)
    estimate = t.simulate(TABLES, np.random.default_rng(points)).fit()
    for p in ("k", "n"):
        found = coverage({}, p, t.working(parameter(p)), *profile(estimate, parameter(p), 0.95), 0.95)
        assert found.missing == 0
        assert BAND[0] <= found.covered <= BAND[1], (p, found.covered)


def test_ratio_intervals_cover_with_unequal_noise_and_n():
    # FITTING section 2.2: pooled t falls to 74 % here, Welch 94 %
    low, high, at = RANGES["0.005-0.1"]
    rng = np.random.default_rng(1)
    a, b = truth(FAMILY, (low, high), 5, 0.2), truth({"k": 1.5, "n": 1.0, "top": 1.0}, (low, high), 15, 0.05)
    one, two = (t.simulate(TABLES, rng).fit() for t in (a, b))
    for q in (parameter("k"), x_at(at)):
        found = coverage({}, "", a.working(q) - b.working(q), *welch_limits(one, two, q, 0.95), 0.95)
        assert 0.925 - 0.018 <= found.covered <= 0.975


def test_a_wrong_errors_model_is_seen():
    # FITTING section 2.3: additive fits of proportional noise cover k in 74 % in the low range
    t = truth(FAMILY, RANGES["0.005-0.1"][:2], 8, 0.1)
    problem = t.simulate(TABLES, np.random.default_rng(2))
    wrong = type(problem)(problem.curve, problem.x, problem.y, problem.weights, ADDITIVE, problem.fixed).fit()
    found = coverage({}, "k", t.working(parameter("k")), *profile(wrong, parameter("k"), 0.95), 0.95)
    assert 0.70 <= found.covered <= 0.78


def test_calibrate_reports_the_users_own_table(tmp_path, hill20):
    found = calibrate(hill20, "baseline", replicates=200, seed=3)
    frame = found.to_frame()
    assert len(frame) == 6 * 2 + 3 * 2
    assert ((frame["covered"] > 0.88) & (frame["covered"] <= 1)).all()
    assert "In 200 simulated tables like yours" in found.sentence and found.sentence in repr(found)
    again = calibrate(hill20, "baseline", replicates=200, seed=3)
    assert again.to_frame().equals(frame)
    assert Calibration.load(found.save(tmp_path / "c.json")).to_frame().equals(frame)


def test_calibrate_command(tmp_path, layer20):
    from frontier.cli import app

    path = tmp_path / "t.csv"
    layer20.drop(columns=["excluded_because", "doubts"]).to_csv(path, index=False)
    out = tmp_path / "out"
    asked = ["--errors", "additive", "--tables", "100", "--potency", "1.3", "--out", str(out)]
    result = CliRunner().invoke(app, ["calibrate", str(path), *asked])
    said = " ".join(result.output.split())
    assert result.exit_code == 0 and "In 100 simulated tables like yours" in said
    assert "On tables like yours, equal families are told apart in" in said and "of 1.3 is seen in" in said
    assert VerdictCalibration.load(out / "verdict_calibration.json").sentence in said
    assert {f"{n}.csv" for n in ("calibration", "verdict_calibration")} <= {p.name for p in out.iterdir()}


def test_calibrate_command_without_a_reference_says_so_and_covers_the_fits(tmp_path, layer20):
    from frontier.cli import app

    path = tmp_path / "t.csv"
    one = layer20[(layer20["family"] == "gated") & (layer20["site"] == "Resid")]
    one.drop(columns=["excluded_because", "doubts"]).to_csv(path, index=False)
    result = CliRunner().invoke(app, ["calibrate", str(path), "--tables", "20"])
    said = " ".join(result.output.split())
    assert result.exit_code == 0 and "verdicts are not calibrated: " in said
    assert "In 20 simulated tables like yours" in said


def test_coverage_counts_open_and_missing_intervals():
    low, high = np.array([0.0, 2.0, np.nan, 0.5]), np.array([1.0, np.inf, 1.0, 3.0])
    found = coverage({}, "k", 0.75, low, high, 0.95)
    assert (found.covered, found.missing, found.open, found.tables) == (
        pytest.approx(2 / 3),
        0.25,
        pytest.approx(1 / 3),
        4,
    )


def test_nothing_to_compare_is_no_error():
    x = np.geomspace(0.004, 0.3, 8)
    rows = [
        {"architecture": f, "l0": 1 / a, "loss_recovered": 1 - b}
        for f in "ab"
        for a, b in zip(x, frontier.hill(x, 0.2, 1.0) * np.exp(0.1 * np.cos(37 * x)), strict=True)
    ]
    assert {c.quantity for c in calibrate(frontier.fit(rows, "hill"), replicates=50).coverages} == {"k", "n"}
