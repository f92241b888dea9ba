"""Goodness of fit of a curve in a cell: against ordinary regression, its size, its power, its words."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

import frontier
from frontier.curves import HILL
from frontier.doubts import Kind, has
from frontier.fits.goodness import shared_bend
from frontier.problems import Problem

L0 = np.geomspace(20, 600, 6)
X = 1 / L0


def cell(function, noise=0.05, seed=0, families=7):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(families):
        hits = (1 + 0.3 * i) * function(X) * np.exp(noise * rng.standard_normal(6))
        rows += [{"family": f"f{i}", "l0": a, "performance_hit": b} for a, b in zip(L0, hits, strict=True)]
    return pd.DataFrame(rows)


def test_a_shared_bend_of_power_laws_is_one_more_regressor():
    """Log-log lines: the F test of a column that is each family's squared log L0 beside its own line."""
    rng = np.random.default_rng(1)
    fits, columns, bend, target = [], [], [], []
    for _ in range(4):
        y = 0.5 * X**0.8 * np.exp(0.1 * rng.standard_normal(6))
        fits.append(Problem.of("power", X, y, None, "log").fit())
        u = np.log(X) - np.log(X).mean()
        line = np.stack([np.ones(6), u], axis=1)
        beside = u**2 - line @ np.linalg.lstsq(line, u**2, rcond=None)[0]
        columns.append(line)
        bend.append(beside / np.linalg.norm(beside))
        target.append(np.log(y))
    design = np.column_stack([np.kron(np.eye(4), columns[0]), np.concatenate(bend)])
    model = sm.OLS(np.concatenate(target), design).fit()
    f, df, p, _ = shared_bend(fits)
    assert_allclose([f, df, p], [model.tvalues[-1] ** 2, model.df_resid, model.pvalues[-1]], rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("sigmas", [[0.1] * 5, [0.02, 0.05, 0.1, 0.2, 0.4]])
def test_a_true_curve_is_rejected_in_five_per_cent(sigmas):
    rng, sets = np.random.default_rng(2), 400
    y = HILL.value(X, {"k": 0.2, "n": 1.1, "top": 1.0})[:, None, None]
    y = y * np.exp(np.array(sigmas)[:, None] * rng.standard_normal((6, len(sigmas), sets)))
    rejected = sum(
        shared_bend([Problem.of("hill", X, y[:, g, i], None, "log").fit() for g in range(len(sigmas))])[2]
        < 0.05
        for i in range(sets)
    )
    assert 0.02 <= rejected / sets <= 0.085  # 99 % binomial band of 5 % at 400 sets: 2.3 to 8 %


def test_a_bend_that_families_share_is_found_and_said():
    table = cell(lambda x: frontier.power(x, 3.0, 0.8, vanishing_l0=700))
    plain = frontier.fit(table, "hill", errors="log")
    (found,) = plain.goodness
    assert found.rejected and found.bend > 0 and found.df == 7 * 4 - 1
    assert found.verdict == "the hill curve does not fit: k and n describe the formula, not the data"
    assert "The hill curve does not fit: k and n describe the formula, not the data" in repr(plain)
    better = frontier.fit(table, "power", errors="log", vanishing_l0="fit")
    assert not better.goodness[0].rejected and "does not fit" not in repr(better)


def test_cells_are_tested_apart():
    bent, straight = (
        cell(lambda x: frontier.power(x, 3.0, 0.8, vanishing_l0=700)),
        cell(lambda x: 3 * x**0.8, seed=3),
    )
    table = pd.concat([bent.assign(layer=1), straight.assign(layer=2)])
    found = {g.cell["layer"]: g.rejected for g in frontier.fit(table, "power", errors="log").goodness}
    assert found == {1: True, 2: False}


def test_a_choice_among_curves_that_do_not_fit_says_so():
    table = cell(lambda x: frontier.power(x, 3.0, 0.8, vanishing_l0=620), noise=0.03)
    chosen = frontier.select_curve(frontier.fit(table, "hill", errors="log"), replicates=0).pooled
    assert not chosen.some_curve_fits and has(chosen.doubts, Kind.no_curve_fits)
    assert "no curve here fits: all 3 leave a bend" in repr(chosen)
    good = frontier.select_curve(
        frontier.fit(cell(lambda x: 3 * x**0.8, seed=4), "power", errors="log"), replicates=0
    ).pooled
    assert good.some_curve_fits and good.best.p_misfit > 0.05


def test_ratios_of_parameters_of_a_curve_that_does_not_fit_have_no_better():
    """In the one cell that bends: k and n, not the potency, and never in the cell beside it."""
    bent = cell(lambda x: frontier.power(x, 3.0, 0.8, vanishing_l0=620), noise=0.03, families=3)
    power = cell(lambda x: 3 * x**0.8, noise=0.03, seed=4, families=3)
    table = pd.concat([bent.assign(layer=1), power.assign(layer=2)])
    found = frontier.compare(table, "f0", by="layer", curve="power", errors="log")
    for r in found.ratios:
        without = r.group["layer"] == 1 and r.quantity != "relative_potency"
        assert has(r.doubts, Kind.no_curve_fits) == without
        assert (r.verdict == "no curve fits") == without
    said = " ".join(found.to_text(verbose=True).split())
    assert "The power curve does not fit: scale and exponent describe the formula, not the data" in said


def test_few_points_say_nothing():
    y = np.array([0.05, 0.1, 0.2])
    assert np.isnan(shared_bend([Problem.of("power", X[:3], y, None, "log").fit()])).all()
