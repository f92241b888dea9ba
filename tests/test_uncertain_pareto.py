"""Probabilities on the Pareto set against closed forms; attainment against moocore."""

from __future__ import annotations

import math

import moocore
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import frontier
from frontier.metrics.checks import TableError
from frontier.pareto import uncertain as uncertain_pareto
from frontier.pareto.uncertain import attainment, attainment_surface, pareto_probability

DRAWS = 20_000


def near(probability: float, expected: float, draws: int = DRAWS) -> bool:
    """Within 4 standard errors of a simulated share."""
    return abs(probability - expected) <= 4 * math.sqrt(expected * (1 - expected) / draws) + 1e-12


def two(**more: object) -> pd.DataFrame:
    """The first row has fewer latents and the lower hit, by 0.01."""
    return pd.DataFrame({"l0": [10.0, 20.0], "performance_hit": [0.20, 0.21], **more})


def test_one_noisy_objective_in_closed_form():
    # the second row is on the set when its hit comes out lower: Phi(-0.01 / (0.01 sqrt 2))
    table = two(loss_recovered_se=[0.01, 0.01])
    found = pareto_probability(table, replicates=DRAWS)
    assert found["pareto_probability"][0] == 1
    assert near(found["pareto_probability"][1], stats.norm.cdf(-math.sqrt(0.5)))
    assert list(found["pareto_verdict"]) == ["on", "undecided"]
    assert any("l0 is taken as exact: no column l0_se" in n for n in frontier.notes(found))


def test_two_noisy_objectives_in_closed_form():
    # the second row is beaten when both differences are positive
    found = pareto_probability(two(l0_se=[3.0, 4.0], loss_recovered_se=[0.01, 0.01]), replicates=DRAWS)
    less, lower = stats.norm.cdf(10 / 5), stats.norm.cdf(0.01 / math.hypot(0.01, 0.01))
    assert near(found["pareto_probability"][1], 1 - less * lower)
    assert near(found["pareto_probability"][0], 1 - (1 - less) * (1 - lower))


def test_without_noise_it_is_the_pareto_set():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"model": np.repeat(["a", "b"], 20), "l0": rng.uniform(5, 50, 40), "fvu": rng.uniform(0.1, 0.5, 40)}
    )
    found = pareto_probability(table, objectives={"l0": "min", "fvu": "min"}, replicates=5, noise="se")
    assert (found["pareto_probability"] == found["pareto_optimal"]).all()
    assert set(found["pareto_verdict"]) == {"on", "off"}


@pytest.mark.parametrize("function", [pareto_probability, attainment])
def test_protocols_meet_when_asked_only(function):
    table = two(loss_recovered_se=0.01, seed=[0, 1], protocol=["a", "b"])
    with pytest.raises(TableError, match=r"different protocol \(a, b\).*across=\['protocol'\]"):
        function(table)
    assert len(function(table, across="protocol")) and len(function(table, by="protocol"))


def test_groups_families_and_directions():
    table = two(architecture=["relu", "gated"], loss_recovered_se=[1e-9, 1e-9])
    assert list(pareto_probability(table)["pareto_probability"]) == [1, 1]  # each family has its own set
    assert list(pareto_probability(table, family=None)["pareto_probability"]) == [1, 0]
    upside_down = {"l0": "max", "performance_hit": "max"}
    assert list(pareto_probability(table, family=None, objectives=upside_down)["pareto_probability"]) == [
        0,
        1,
    ]


def test_missing_standard_errors_are_exact_and_said():
    table = two(l0_se=[0.1, np.nan], loss_recovered_se=[np.nan, 0.01])
    found = pareto_probability(table, replicates=DRAWS)
    assert any("l0 is taken as exact in 1 row without l0_se" in n for n in frontier.notes(found))
    assert near(found["pareto_probability"][1], stats.norm.cdf(-1))


def test_rows_set_aside_have_no_probability():
    table = pd.DataFrame(
        {"l0": [10.0, 20.0, np.nan], "performance_hit": [0.2, 0.1, 0.3], "l0_se": [1.0, 1.0, 1.0]}
    )
    found = pareto_probability(table, replicates=50)
    assert math.isnan(found["pareto_probability"][2]) and found["pareto_verdict"][2] is None
    assert "pareto_probability" not in table


def test_draws_are_reproducible_whatever_the_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {"l0": rng.uniform(5, 50, 30), "fvu": rng.uniform(0.1, 0.5, 30), "fvu_se": 0.1, "l0_se": 5.0}
    )
    table = pd.concat([table.assign(seed=s, sparsity_setting=range(30)) for s in (0, 1)])
    table["fvu"] *= np.exp(0.1 * rng.standard_normal(60))
    for noise in ("se", "seeds"):
        options = {"objectives": {"l0": "min", "fvu": "min"}, "replicates": 100, "noise": noise}
        monkeypatch.setattr(uncertain_pareto, "CELLS", 2_000_000)
        whole = pareto_probability(table, **options)["pareto_probability"]
        monkeypatch.setattr(uncertain_pareto, "CELLS", 500)
        assert_allclose(pareto_probability(table, **options)["pareto_probability"], whole)
        assert (pareto_probability(table, seed=1, **options)["pareto_probability"] != whole).any()


def test_three_objectives():
    table = pd.DataFrame({"l0": [10.0, 10.0], "fvu": [0.1, 0.2], "mse": [2.0, 1.0], "mse_se": [0.0, 2.0]})
    found = pareto_probability(table, objectives={"l0": "min", "fvu": "min", "mse": "min"}, replicates=4000)
    assert found["pareto_probability"][0] == 1
    assert near(found["pareto_probability"][1], stats.norm.cdf(0.5), 4000)


def seeds_table(log_hits: list[list[float]], l0: list[float], **more: object) -> pd.DataFrame:
    """TopK-like: exact L0s, one list of log hits per setting, one entry per seed."""
    rows = [
        {"seed": s, "sparsity_setting": k, "l0": k, "performance_hit": math.exp(v), **more}
        for k, hits in zip(l0, log_hits, strict=True)
        for s, v in enumerate(hits)
    ]
    return pd.DataFrame(rows)


def test_seeds_in_closed_form():
    # log hits differ by 0.1, SD 0.1 in both, 3 seeds: P(second below first) is a t probability with 4 df
    table = seeds_table([[-2.1, -2.0, -1.9], [-2.0, -1.9, -1.8]], [10, 20])
    found = pareto_probability(table, noise="seeds", replicates=DRAWS)
    expected = stats.t.cdf(-0.1 / (0.1 * math.sqrt(2 / 3)), 4)
    assert list(found["runs"]) == [3, 3]
    assert_allclose(found["performance_hit"], np.exp([-2.0, -1.9]))
    assert_allclose(found["l0"], [10, 20])
    assert found["pareto_probability"][0] == 1
    assert near(found["pareto_probability"][1], expected)
    assert list(found["pareto_optimal"]) == [True, False]
    assert any("degrees of freedom for the scatter between seeds: 4" in n for n in frontier.notes(found))


def test_seeds_pool_within_the_group_and_need_two_runs():
    one = seeds_table([[-2.0], [-1.0]], [10, 20], architecture="gated")
    two = seeds_table([[-2.1, -1.9], [-1.1, -0.9]], [10, 20], architecture="relu")
    table = pd.concat([one, two])
    found = pareto_probability(table, noise="seeds", replicates=200)
    assert found["pareto_probability"].isna().tolist() == [True, True, False, False]
    assert any("no configuration of gated has two runs" in n for n in frontier.notes(found))
    together = pareto_probability(table, noise="seeds", family=None, replicates=200)
    assert (
        together["pareto_probability"].notna().all()
        and list(together["family"]) == ["gated"] * 2 + ["relu"] * 2
    )
    with pytest.raises(TableError, match="no configuration has two runs"):
        pareto_probability(one, noise="seeds")


def test_refusals():
    with pytest.raises(ValueError, match="unknown noise 'seed'; did you mean 'seeds'"):
        pareto_probability(two(), noise="seed")
    with pytest.raises(ValueError, match="replicates must be at least 1, found 0"):
        pareto_probability(two(), replicates=0)
    with pytest.raises(ValueError, match="unknown level 'mean'"):
        attainment(two(seed=[0, 1]), surfaces=["mean"])
    with pytest.raises(ValueError, match=r"unknown level 1\.5"):
        attainment(two(seed=[0, 1]), surfaces=[1.5])
    with pytest.raises(TableError, match="no column 'seed' that tells runs apart"):
        attainment(two())


def test_attainment_by_hand():
    table = pd.DataFrame(
        {
            "seed": [0, 0, 1, 1, 2, 2],
            "l0": [10, 20, 12, 25, 10, 30],
            "performance_hit": [0.5, 0.2, 0.4, 0.1, 0.6, 0.3],
        }
    )
    found = attainment(table).set_index("level")
    expected = {
        "best": [(10, 0.5), (12, 0.4), (20, 0.2), (25, 0.1)],
        "median": [(10, 0.6), (12, 0.5), (20, 0.4), (25, 0.2)],
        "worst": [(12, 0.6), (30, 0.3)],
    }
    for level, corners in expected.items():
        assert_allclose(found.loc[level, ["l0", "y"]].to_numpy(), corners)
    assert set(found["runs"]) == {3} and set(found["y_name"]) == {"performance_hit"}


@pytest.mark.parametrize("seed", range(6))
def test_attainment_equals_moocore(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 7))
    runs = np.sort(rng.integers(0, count, 40))  # moocore needs rows sorted by run
    points = np.column_stack([rng.integers(1, 15, 40), rng.integers(1, 15, 40)]).astype(float)
    names = np.unique(runs)
    theirs = moocore.eaf(points, runs + 1)
    for k in range(1, len(names) + 1):
        mixed = rng.permutation(40)
        x, y = attainment_surface(points[mixed, 0], points[mixed, 1], runs[mixed], k / len(names))
        expected = theirs[np.isclose(theirs[:, 2], 100 * k / len(names))][:, :2]
        expected = expected[np.argsort(expected[:, 0])]
        assert_allclose(np.column_stack([x, y]), expected)


def test_attainment_of_groups_and_higher_is_better():
    rng = np.random.default_rng(2)
    rows = [
        {
            "architecture": a,
            "seed": s,
            "l0": x,
            "loss_recovered": 1 - 2 / (x + 2) * math.exp(0.1 * rng.standard_normal()),
        }
        for a in ("relu", "gated")
        for s in range(4)
        for x in (5.0, 10.0, 40.0)
    ]
    table = pd.DataFrame(rows).sample(frac=1, random_state=3)
    found = attainment(table, surfaces=["best", 0.5, "worst"])
    assert list(found.columns) == ["family", "level", "l0", "y", "y_name", "runs"]
    assert set(found["level"]) == {"best", "0.5", "worst"} and set(found["runs"]) == {4}
    up = attainment(table, y="loss_recovered", surfaces=["best", 0.5, "worst"])
    assert_allclose(up["y"], 1 - found["y"])
    at = found[(found["family"] == "relu") & (found["l0"] == 10)].set_index("level")["y"]
    assert at["best"] <= at["0.5"] <= at["worst"]
    assert_allclose(
        at["best"], 1 - table.query("architecture == 'relu' and l0 == 10")["loss_recovered"].max()
    )


def test_rows_without_a_run_are_left_out_aloud():
    table = two(seed=[0.0, np.nan])
    assert "1 row without seed, l0 or performance_hit left out" in frontier.notes(attainment(table))
    alone = attainment(two(seed=[None, None]))
    assert set(alone["runs"]) == {1}
