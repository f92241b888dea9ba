"""Families that err unequally: Welch's t from scipy, and tables simulated with a known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

import frontier
from frontier.doubts import Kind
from frontier.errors import LOG
from frontier.shared_shape.models import Fitted, fit_linear
from frontier.shared_shape.noise import combined, counted, own_variances, p_of_added, unequal

SIZES = (11, 4)
FAMILY = np.repeat([0, 1], SIZES)


def two_samples() -> NDArray[np.float64]:
    rng = np.random.default_rng(2)
    return np.concatenate([rng.normal(0.3, 0.2, SIZES[0]), rng.normal(0, 0.9, SIZES[1])])[None]


def means(t: NDArray[np.float64], *, apart: bool) -> Fitted:
    columns = [np.ones(len(FAMILY)), *([FAMILY == 1] if apart else [])]
    return fit_linear(np.stack(columns, -1)[None].astype(float), t, LOG)


def test_variances_and_degrees_of_freedom_of_a_difference_are_welchs() -> None:
    t = two_samples()
    variance, df = combined(means(t, apart=True), np.array([[[0.0, 1.0]]]), FAMILY, 13)
    welch = stats.ttest_ind(*np.split(t[0], [SIZES[0]]), equal_var=False)
    assert variance[0, 0] == pytest.approx(((t[0, 11:].mean() - t[0, :11].mean()) / welch.statistic) ** 2)
    assert df[0, 0] == pytest.approx(welch.df)


def test_p_values_of_one_added_column_are_welchs() -> None:
    t = two_samples()
    null, free = means(t, apart=False), means(t, apart=True)
    p = p_of_added(null.residuals, free.basis, 1, FAMILY, np.ones(1), np.array([13.0]))
    assert p[0] == pytest.approx(stats.ttest_ind(*np.split(t[0], [SIZES[0]]), equal_var=False).pvalue)


def test_one_variance_is_held_against_bartletts_test() -> None:
    t = two_samples()
    p, spreads, loud = unequal(means(t, apart=True), FAMILY)
    assert not loud.any()
    assert p[0] == pytest.approx(stats.bartlett(*np.split(t[0], [SIZES[0]])).pvalue)
    assert spreads[0] == pytest.approx([part.std(ddof=1) for part in np.split(t[0], [SIZES[0]])])


def test_a_family_of_too_few_points_is_taken_to_err_as_all_do() -> None:
    family = np.repeat([0, 1], (9, 1))
    t = np.random.default_rng(0).normal(size=(1, 10))
    free = fit_linear(np.stack([np.ones(10), family == 1], -1)[None].astype(float), t, LOG)
    variance, df = own_variances(free.residuals, free.basis.leverage, family)
    assert (variance[0, 1], df[0, 1]) == (pytest.approx(free.rss[0] / 8), pytest.approx(8))


def test_three_families_that_err_alike_have_one_variance() -> None:
    rng = np.random.default_rng(5)
    family = np.repeat([0, 1, 2], 6)
    columns = np.stack([family == f for f in range(3)], -1)[None].astype(float)
    alike, loud = rng.normal(size=(1, 18)), rng.normal(size=(1, 18)) * np.where(family == 2, 9, 1)
    for t, one in ((alike, True), (loud, False)):
        fitted = fit_linear(columns, t, LOG)
        of, df = counted(fitted.residuals, fitted.basis, family)
        p = stats.bartlett(*np.split(t[0], 3)).pvalue
        assert (p > 2 / 3) == one
        expected = [fitted.rss[0] / 15] * 3 if one else [part.var(ddof=1) for part in np.split(t[0], 3)]
        assert of[0] == pytest.approx(expected) and df[0] == pytest.approx([15 if one else 5] * 3)


def test_own_variances_only_widen() -> None:
    rng = np.random.default_rng(4)
    t, columns = rng.normal(size=(50, 15)), rng.normal(size=(50, 15, 3))
    fitted, design = fit_linear(columns, t, LOG), rng.normal(size=(50, 4, 3))
    one = (design @ fitted.covariance * design).sum(-1) * fitted.rss[:, None] / 12
    own, df = combined(fitted, design, FAMILY, 12)
    same = np.isclose(own, one, rtol=1e-12)
    assert (own >= one * (1 - 1e-12)).all() and same.any() and not same.all()
    assert (df[same] == 12).all() and (df[~same] < 12).all()


def tables(sds: tuple[float, float], sizes: tuple[int, int], cells: int = 250) -> pd.DataFrame:
    """Two families on one power law, hit = 0.1 (L0 / 50)^-0.7, of unlike noise and size; a layer a table."""
    rng = np.random.default_rng(8)
    parts = []
    for name, sd, n in zip(("relu", "topk"), sds, sizes, strict=True):
        l0 = np.geomspace(10, 200, n) * np.exp(rng.normal(0, 0.05, (cells, n)))
        hit = 0.1 * (l0 / 50) ** -0.7 * np.exp(rng.normal(0, sd, l0.shape))
        columns = {
            "layer": np.repeat(np.arange(cells), n),
            "l0": l0.ravel(),
            "loss_recovered": 1 - hit.ravel(),
        }
        parts.append(pd.DataFrame(columns).assign(family=name))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("sds", "sizes", "most_told", "least_held"),
    [
        ((0.03, 0.09), (16, 6), 0.15, 0.84),
        ((0.02, 0.15), (16, 5), 0.18, 0.81),
        ((0.03, 0.09), (12, 4), 0.175, 0.76),
        ((0.05, 0.05), (16, 6), 0.06, 0.91),
    ],
    ids=["3 times", "7 times", "four", "equal"],
)
def test_equal_families_of_unlike_noise_are_seldom_told_apart(
    sds: tuple[float, float], sizes: tuple[int, int], most_told: float, least_held: float
) -> None:
    """Limits: what 1,000 other tables gave (9, 12, 11, 2 % told apart, 90, 88, 83, 96 % held), and three
    standard errors. With one variance for both families 18, 30, 22 % are told apart; 73, 55, 66 % held.
    """
    found = frontier.compare(tables(sds, sizes), "relu").comparisons
    told = np.mean([c.verdict in ("better", "worse", "crossing") for c in found])
    held = np.mean([c.potency.ratio_low <= 1 <= c.potency.ratio_high for c in found])
    assert told <= most_told and held >= least_held
    if sds[1] > 4 * sds[0]:
        assert np.mean([any(d.kind is Kind.unequal_noise for d in c.doubts) for c in found]) > 0.7


def test_points_of_a_noisy_family_are_no_outliers() -> None:
    """The level is 1 % (1,000 other tables: 3.3 %); against one variance for all it was 40 %.

    Where families err alike, a failed training is one still.
    """

    def outliers(table: pd.DataFrame) -> float:
        found = frontier.compare(table, "relu").comparisons
        return float(np.mean([any(d.kind is Kind.outlier for d in c.doubts) for c in found]))

    assert outliers(tables((0.03, 0.15), (16, 8))) <= 0.067
    failed = tables((0.05, 0.05), (16, 8), 100)
    one = (failed.groupby(["family", "layer"]).cumcount() == 4) & (failed["family"] == "topk")
    failed.loc[one, "loss_recovered"] -= 0.3
    assert outliers(failed) > 0.9


def leaderboard(sds: dict[str, float], seed: int, potency: float = 1.2, saes: int = 8) -> pd.DataFrame:
    """Families on one power law; those named "better" need `potency` times fewer active latents."""
    rng, parts = np.random.default_rng(seed), []
    for name, sd in sds.items():
        l0 = np.geomspace(15, 250, saes) * np.exp(rng.normal(0, 0.05, saes))
        placed = l0 * (potency if name.startswith("better") else 1)
        hit = 0.5 * (placed / 15) ** -1.1 * np.exp(rng.normal(0, sd, saes))
        parts.append(pd.DataFrame({"family": name, "l0": l0, "performance_hit": hit}))
    return pd.concat(parts, ignore_index=True)


QUIET = {"relu": 0.03, **{f"{kind} {i}": 0.03 for kind in ("equal", "better") for i in range(4)}}


def test_a_loud_family_changes_nothing_between_the_others() -> None:
    for seed in range(3):
        table = leaderboard({**QUIET, "noisy": 0.4}, seed)
        with_it = frontier.compare(table, reference="relu")
        without = frontier.compare(table[table.family != "noisy"], reference="relu")
        columns = ["relative_potency", "relative_potency_low", "relative_potency_high", "p_gate", "df"]
        one, other = (found.to_frame().set_index("family") for found in (with_it, without))
        columns = [c for c in columns if c in one]
        pd.testing.assert_frame_equal(one.loc[other.index, columns], other[columns], rtol=1e-9)
        (said,) = {str(d) for c in with_it for d in c.doubts if d.kind is Kind.unequal_noise}
        assert said.endswith("the others are compared without noisy.")


def test_beside_a_loud_family_a_better_one_is_seen_and_an_equal_one_seldom() -> None:
    """Of 40 tables: power was 0, and limits were 3.5 times too wide, with one noise for all."""
    seen, false, wide = 0, 0, 0
    for seed in range(40):
        table = leaderboard({**QUIET, "noisy": 0.4}, seed)
        found = {c.family: c for c in frontier.compare(table, reference="relu")}
        seen += sum(c.verdict == "better" for f, c in found.items() if f.startswith("better"))
        wide += sum(c.potency.ratio_high / c.potency.ratio_low > 1.2 for f, c in found.items() if f[0] == "b")
        false += any(c.verdict in ("better", "worse") for f, c in found.items() if not f.startswith("better"))
    assert seen >= 0.9 * 160 and wide <= 0.1 * 160 and false <= 5


def test_a_loud_reference_is_compared_with_all() -> None:
    table = leaderboard({**QUIET, "relu": 0.4}, 1)
    found = frontier.compare(table, reference="relu")
    (said,) = {str(d) for c in found for d in c.doubts if d.kind is Kind.unequal_noise}
    assert said.endswith("each family's own noise counts.")
    assert all(
        c.potency.ratio_low < 1.2 < c.potency.ratio_high for c in found if c.family.startswith("better")
    )


def test_neighbours_beside_a_loud_family_do_not_seem_to_err_alike() -> None:
    """A p value at or below 0.01 in one of a hundred tables of independent noise; 13 of 100 before."""
    hits = 0
    for seed in range(60):
        found = frontier.compare(leaderboard({**QUIET, "noisy": 0.4}, seed, potency=1.0), reference="relu")
        hits += any(d.kind is Kind.correlated and d.numbers["p"] <= 0.01 for c in found for d in c.doubts)
    assert hits <= 4


def test_points_on_their_curves_do_not_err_alike() -> None:
    l0 = np.geomspace(10, 200, 5)
    exact = [
        pd.DataFrame({"family": f, "l0": l0, "performance_hit": 2 / (p * l0)})
        for f, p in (("a", 1), ("b", 2))
    ]
    (c,) = frontier.compare(pd.concat(exact), reference="a")
    assert c.verdict == "better" and Kind.correlated not in {d.kind for d in c.doubts}


def test_many_families_do_not_hide_a_large_difference_of_three_saes() -> None:
    """Holm asks the first of 29 for 0.0017, less than 499 sign patterns can tell."""
    for seed in range(4):
        rng, parts = np.random.default_rng(seed), []
        for i in range(30):
            better = 1 <= i <= 5
            l0 = np.geomspace(15, 250, 3 if better else 8)
            hit = 0.5 * (l0 * (3 if better else 1) / 15) ** -1.1
            hit = hit / (1 + hit) * np.exp(0.03 * rng.standard_normal(len(l0)))
            parts.append(pd.DataFrame({"family": f"f{i}", "l0": l0, "performance_hit": hit}))
        found = frontier.compare(pd.concat(parts), reference="f0")
        assert [c.verdict for c in found] == ["better"] * 5 + ["not separable"] * 24
