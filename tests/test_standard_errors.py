"""A metric's standard errors go where the metric goes: through other names, per cent and what is derived."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import frontier
from frontier.metrics import metrics_table, values
from frontier.metrics.standard_errors import standard_errors

L0 = np.geomspace(10, 300, 6)
HIT = 2 * L0**-0.9
SE = HIT * np.array([0.01, 0.05, 0.02, 0.1, 0.04, 0.08])
KEPT = {"loss_recovered": 1 - HIT, "performance_hit": HIT, "fvu": HIT, "explained_variance": 1 - HIT,
        "delta_ce": HIT, "kl": HIT}  # fmt: skip
NAMES = [
    ("loss_recovered", "ce_loss_score", 1), ("loss_recovered", "% CE Recovered", 100),
    ("loss_recovered", "loss recovered (%)", 100), ("loss_recovered", "frac_recovered_pct", 100),
    ("loss_recovered", "metrics.model_performance_preservation.ce_loss_score", 1),
    ("loss_recovered", "loss_recovered", 100), ("performance_hit", "performance_hit", 1),
    ("performance_hit", "fraction_unrecovered", 1), ("performance_hit", "hit", 100),
    ("fvu", "normalized_mse", 1), ("fvu", "FVU (%)", 100), ("explained_variance", "fve", 1),
    ("delta_ce", "ce_increase (nats)", 1), ("kl", "kl_div_with_sae", 1),
]  # fmt: skip
WAYS = ["{}_se", "{} se", "{} (SE)", "{} stderr", "{}_sem", "stderr {}", "{} standard error"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("ours", "theirs", "scale"), NAMES)
def test_standard_errors_follow_their_metric(ours, theirs, scale, way):
    columns = {"hit": "performance_hit (%)"} if theirs == "hit" else None
    data = {"family": "relu", "l0": L0, theirs: scale * KEPT[ours], way.format(theirs): scale * SE}
    table = frontier.read(pd.DataFrame(data), columns=columns)
    assert_allclose(table[ours], KEPT[ours], rtol=1e-12)
    assert_allclose(standard_errors(table, ours), SE, rtol=1e-12)
    assert not any("not used" in note for note in frontier.notes(table))
    axis = {"loss_recovered": "performance_hit", "explained_variance": "variance_unexplained"}.get(ours, ours)
    assert_allclose(values(table, axis), HIT, rtol=1e-9)
    assert_allclose(standard_errors(table, axis), SE, rtol=1e-12)


@pytest.mark.parametrize("axis", ["loss_recovered", "performance_hit", "fvu", "delta_ce", "kl", "ravel"])
def test_fits_weigh_by_them_on_every_axis(axis):
    table = {"family": "relu", "l0": L0, axis: 1 - HIT if axis in ("loss_recovered", "ravel") else HIT}
    fit = frontier.fit({**table, f"{axis}_se": SE}, "power", y=axis, errors="additive", weights="se")[0]
    assert_allclose(fit.weights * SE**2 / (fit.weights * SE**2)[0], 1, rtol=1e-9)


def test_each_way_of_hits_gives_one_probability():
    """A table of hits and one of what is recovered are the same table."""
    hit = HIT * np.random.default_rng(0).lognormal(0, 0.1, 6)
    tables = (
        {"loss_recovered": 1 - hit, "loss_recovered_se": SE},
        {"performance_hit": hit, "performance_hit_se": SE},
        {"loss_recovered (%)": 100 * (1 - hit), "loss_recovered (%) se": 100 * SE},
    )
    found = [frontier.pareto_probability({"l0": L0, **t})["pareto_probability"] for t in tables]
    assert_allclose(found[1], found[0])
    assert_allclose(found[2], found[0])


def test_standard_errors_of_what_is_computed():
    """By hand: those of a difference are the same, of a quotient the same share."""
    table = metrics_table({"l0": [8.0, 20.0], "l0_se": [0.4, 2.0], "d_model": 64, "fvu": [0.1, 0.05]})
    assert_allclose(standard_errors(table, "sparsity"), [0.4 / 64, 2 / 400])
    assert_allclose(standard_errors(table, "relative_sparsity"), [64 * 0.4 / 64, 64 * 2 / 400])
    assert standard_errors(table, "1 - fvu") is None


def test_per_cent_is_divided_once():
    rows = {
        "l0": L0,
        "loss_recovered": 100 * (1 - HIT),
        "loss_recovered_se": [f"{100 * s:.12g}%" for s in SE],
    }
    assert_allclose(metrics_table(rows)["loss_recovered_se"], SE, rtol=1e-9)
    rows = {"l0": L0, "loss_recovered": 1 - HIT, "loss_recovered_se (%)": 100 * SE}
    assert_allclose(metrics_table(rows)["loss_recovered_se"], SE, rtol=1e-9)


def test_a_standard_deviation_is_no_standard_error():
    table = metrics_table({"l0": L0, "fvu": HIT, "fvu_std": SE})
    assert standard_errors(table, "fvu") is None and "not used: fvu_std" in frontier.notes(table)
