"""Shares of frequent latents: counted by hand, fitted as by a plain optimiser, intervals that cover."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from frontier import Interval
from frontier.studies.evaluation import Evaluation, EvaluationError
from frontier.studies.frequency import (
    densities,
    how_many,
    most_frequent,
    nearest_l0,
    resolution_remark,
    share_curves,
    share_ratio,
)

matplotlib.use("Agg")
SHARE = "frequency_above_1pct"
DELTAS = np.array([0.05, 0.08, 0.13, 0.2, 0.32, 0.5])
SIZE = 512


def family(name, shares, size=SIZE, deltas=DELTAS):
    return pd.DataFrame(
        {"family": name, "dictionary_size": size, "ce_clean": 1.0, "ce_sae": 1 + deltas, SHARE: shares}
    )


def truth(deltas, a=-0.5, b=-2.0, c=0.4):
    x = np.log(deltas / 0.15)
    return expit(a + b * x + c * x**2)


def test_the_curve_is_the_maximum_likelihood_one():
    shares = np.round(SIZE * truth(DELTAS) * [1.05, 0.95, 1.02, 0.98, 1.1, 0.9]) / SIZE
    curve = share_curves(family("a", shares))["a"]
    x = np.vander(np.log(DELTAS) - np.log(DELTAS).mean(), 3, increasing=True)

    def minus_log_likelihood(beta):
        eta = x @ beta
        return -SIZE * (shares * eta - np.logaddexp(0, eta)).sum()

    slow = minimize(minus_log_likelihood, np.zeros(3), method="Nelder-Mead", tol=1e-12).x
    assert curve.coefficients == pytest.approx(slow, abs=1e-4)
    fitted = expit(x @ slow)
    pearson = (SIZE * (shares - fitted) ** 2 / (fitted * (1 - fitted))).sum()
    assert (curve.dispersion, curve.df) == (pytest.approx(pearson / 3, rel=1e-3), 3)
    assert curve.count_at(0.2).estimate == pytest.approx(SIZE * float(curve.band([0.2])["share"].iloc[0]))


@pytest.mark.slow
@pytest.mark.parametrize("scatter", [0.0, 0.4])
def test_intervals_cover_the_true_number(scatter):
    """400 families drawn from a known curve; SAEs scatter around it, in logit by `scatter`."""
    random = np.random.default_rng(5)
    logit = np.log(truth(DELTAS) / (1 - truth(DELTAS)))
    inside = []
    for _ in range(400):
        shares = random.binomial(SIZE, expit(logit + scatter * random.normal(size=6))) / SIZE
        inside.append(
            SIZE * truth(np.array([0.17]))[0] in share_curves(family("a", shares))["a"].count_at(0.17)
        )
    # 95 % meant, with three standard errors of 400 draws; without scatter the intervals are too wide
    assert np.mean(inside) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)


def test_the_ratio_of_two_families_and_its_reciprocal():
    table = pd.concat([family("a", truth(DELTAS)), family("b", truth(DELTAS, a=-1.5))])
    curves = share_curves(table)
    found, back = share_ratio(curves["b"], curves["a"], 0.2), share_ratio(curves["a"], curves["b"], 0.2)
    assert found.estimate == pytest.approx(
        float(truth(np.array([0.2]), a=-1.5)[0] / truth(np.array([0.2]))[0]), rel=0.02
    )
    assert 1 / found.estimate == pytest.approx(back.estimate) and 1 / found.low == pytest.approx(back.high)
    assert found.high < 1


def test_families_that_cannot_answer_are_named():
    table = pd.concat(
        [
            family("good", truth(DELTAS)),
            family("silent", np.zeros(6)),
            family("far", truth(DELTAS), deltas=DELTAS + 1),
            family("sizes", truth(DELTAS), size=[256] * 3 + [512] * 3),
            family("two", truth(DELTAS[:2]), deltas=DELTAS[:2]),
        ]
    )
    found = how_many(table, 0.2)
    assert list(found.counts) == ["good"] and isinstance(found.counts["good"], Interval)
    assert found.left_out["far"] == "its SAEs cover delta CE 1.05 to 1.50"
    assert set(found.left_out) == {"silent", "far", "sizes", "two"}
    assert "good" in repr(found) and "far: its SAEs cover" in repr(found)
    assert found.to_frame()["family"].tolist() == ["good"]
    with pytest.raises(ValueError, match="frequency_above_1pct"):
        how_many(table, 0.2, "frequency_above_1pc")


@pytest.fixture
def evaluation():
    frequencies = {"x": np.array([0, 5, 1, 100, 5]), "y": np.array([7, 0, 0, 60, 1])}
    table = pd.DataFrame({"run_id": ["x", "y"], "family": ["a", "b"], "l0": [4.0, 9.0]})
    return Evaluation(table, pd.DataFrame(), frequencies, 200)


def test_the_most_frequent_latents_by_sorting(evaluation):
    pairs = [(n, i, c / 200) for n, f in evaluation.frequencies.items() for i, c in enumerate(f)]
    slow = sorted(pairs, key=lambda p: -p[2])[:4]
    assert list(most_frequent(evaluation, count=4).itertuples(index=False, name=None)) == slow
    assert most_frequent(evaluation, "x", 2)["latent"].tolist() == [3, 1]
    with pytest.raises(EvaluationError, match="no SAE 'z'"):
        most_frequent(evaluation, "z")


def test_densities_hold_every_latent_once(evaluation):
    found = densities(evaluation)
    assert found.groupby("run_id")["latents"].sum().to_dict() == {"x": 5, "y": 5}
    assert found[(found["high"] == 0)].set_index("run_id")["latents"].to_dict() == {"x": 1, "y": 2}
    half = found[(found["low"] < 0.5) & (found["high"] >= 0.5 - 1e-12) & (found["run_id"] == "x")]
    assert half["latents"].tolist() == [1] and half["share"].tolist() == [0.2]
    assert nearest_l0(evaluation.table, 5) == ["x", "y"]
    assert "1 in 200" in resolution_remark(evaluation)


def test_figures_draw_every_family(evaluation):
    from matplotlib import pyplot as plt

    from frontier.studies.figures.frequency import plot_densities, plot_shares

    table = pd.concat([family("a", truth(DELTAS)), family("silent", np.zeros(6))])
    ax = plot_shares(table, SHARE)
    assert [len(line.get_xdata()) for line in ax.lines] == [
        6,
        100,
        6,
    ]  # points, curve, points without a curve
    assert ax.get_ylabel() and ax.get_xlabel()
    panels = plot_densities(evaluation, ["x", "y"])
    assert len(panels) == 2 and "L0 4.0" in panels[0].texts[0].get_text()
    plt.close("all")
