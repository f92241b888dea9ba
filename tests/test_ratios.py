"""Ratios: published numbers, exact reciprocity, closed forms, simulated truths."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import frontier
from frontier.distributions import holm
from frontier.doubts import Kind, has, in_text
from frontier.fits.together import intervals_at, optima
from frontier.ratios import RatioTable, hit_ratio, parameter_ratio, ratio_table, relative_potency
from frontier.ratios.bands import (
    hit_ratio_curve,
    mean_hit_ratio,
    mean_relative_potency,
    relative_potency_curve,
)
from frontier.ratios.log_ratio import LogEstimate, _reached, mover, welch
from frontier.ratios.observed import line_of
from frontier.ratios.pairs import _unequal_spread, common_y

X = np.geomspace(0.004, 0.3, 9)


def family(name, k, n, noise=0.05, seed=0, points=9, curve="hill", **extra):
    x = np.geomspace(0.004, 0.3, points)
    y = frontier.hill(x, k, n) * np.exp(noise * np.random.default_rng(seed).standard_normal(points))
    return [
        {"architecture": name, "l0": 1 / a, "loss_recovered": 1 - b, **extra}
        for a, b in zip(x, y, strict=True)
    ]


@pytest.fixture(scope="module")
def pair():
    fits = frontier.fit(
        family("relu", 0.2, 1.0, seed=1) + family("gated", 0.5, 0.9, seed=2), "hill", errors="log"
    )
    return fits["gated"], fits["relu"]


# Ratios printed in the project's plan (baseline/gated for the slope, gated/baseline for k) for Gemma-7B
# layer 20, Pareto set, additive errors; the second number with L0 <= 200.
PRINTED = {"Resid": (6.03, 5.86, 1.24), "MLP": (1.49, 6.28, 1.20), "Attn": (5.00, 5.25, 1.42)}


@pytest.mark.parametrize("site", PRINTED)
def test_k_and_n_ratios_of_the_post(hill20, hill20_cut, site):
    full, cut = ratio_table(hill20, "baseline"), ratio_table(hill20_cut, "baseline")
    assert_allclose(full[site, "k"].ratio, PRINTED[site][0], atol=0.0051)
    assert_allclose(cut[site, "k"].ratio, PRINTED[site][1], atol=0.0051)
    assert_allclose(1 / cut[site, "n"].ratio, PRINTED[site][2], atol=0.0051)


def test_slope_ratio_is_the_reciprocal_of_the_posts_2_7(front20):
    lines = frontier.fit(front20, "linear", by=["site"], errors="additive")
    ratios = ratio_table(lines, "baseline")
    # slope_base / slope_gated printed as 2.77, 1.19, 4.65
    for site, printed in (("Resid", 2.77), ("MLP", 1.19), ("Attn", 4.65)):
        assert_allclose(1 / ratios[site, "slope"].ratio, printed, atol=0.0051)
    assert ratios["Resid", "slope"].better_when == "below 1"
    # through zero: 2.54, 1.06, 4.06
    zero = ratio_table(
        frontier.fit(front20, "linear", by=["site"], errors="additive", fixed={"intercept": 0}), "baseline"
    )
    for site, printed in (("Resid", 2.54), ("MLP", 1.06), ("Attn", 4.06)):
        assert_allclose(1 / zero[site, "slope"].ratio, printed, atol=0.0051)


def test_hill_with_n_1_and_exponent_ratios(front20):
    one = ratio_table(
        frontier.fit(front20, "hill", by=["site"], errors="additive", fixed={"n": 1}), "baseline"
    )
    power = ratio_table(frontier.fit(front20, "power", by=["site"], errors="additive"), "baseline")
    for site, k, exponent in (("Resid", 2.63, 1.21), ("MLP", 1.20, 0.81), ("Attn", 2.97, 1.43)):
        assert_allclose(one[site, "k"].ratio, k, atol=0.0051)
        assert_allclose(1 / power[site, "exponent"].ratio, exponent, atol=0.0051)


def test_k_ratio_intervals_on_the_log_scale(hill20):
    # GATED_DATA section 3, Wald on log with its own degrees of freedom: 6.0 [4.3, 8.5], 1.5 [0.18, 12.7],
    # 5.0 [3.9, 6.5]
    ratios = ratio_table(hill20, "baseline")
    for site, low, high in (("Resid", 4.3, 8.5), ("MLP", 0.18, 12.7), ("Attn", 3.9, 6.5)):
        found = ratios[site, "k"]
        assert_allclose((found.ratio_low, found.ratio_high), (low, high), rtol=0.03)


def test_exchanging_the_two_gives_the_reciprocal_and_the_same_p(pair):
    a, b = pair
    for one, two in (
        *((parameter_ratio(a, b, p), parameter_ratio(b, a, p)) for p in ("k", "n")),
        (relative_potency(a, b), relative_potency(b, a)),
        (hit_ratio(a, b, 30.0), hit_ratio(b, a, 30.0)),
        (relative_potency(a, b, intervals="mover"), relative_potency(b, a, intervals="mover")),
    ):
        assert abs(one.ratio * two.ratio - 1) < 1e-12
        assert abs(one.ratio_low * two.ratio_high - 1) < 1e-12
        assert one.p_value == two.p_value


def test_directions(pair):
    a, b = pair  # the family has the larger k: it is better
    assert parameter_ratio(a, b, "k").ratio == pytest.approx(float(a["k"]) / float(b["k"]), rel=1e-12)
    potency = relative_potency(a, b, at=0.05)
    # L0(reference) / L0(family) at equal hit
    assert potency.ratio == pytest.approx(
        (1 / b.x_at(0.05).estimate) / (1 / a.x_at(0.05).estimate), rel=1e-12
    )
    hits = hit_ratio(a, b, at=30.0)
    assert hits.ratio == pytest.approx(float(a.predict(1 / 30) / b.predict(1 / 30)), rel=1e-12)
    assert (potency.better_when, hits.better_when, potency.verdict, hits.verdict) == (
        "above 1",
        "below 1",
        "better",
        "better",
    )
    assert parameter_ratio(a, b, "n").better_when == ""


def test_fitting_against_l0_keeps_the_direction_of_relative_potency():
    # hit = 0.5 - c L0: at every hit the family with twice the slope needs half the latents, a potency of 2
    rows = [
        {"architecture": f, "l0": v, "loss_recovered": 0.5 + c * v + 1e-4 * (-1) ** i}
        for f, c in (("relu", 0.002), ("half", 0.004))
        for i, v in enumerate((5.0, 20.0, 40.0, 60.0, 80.0))
    ]
    fits = frontier.fit(rows, "linear", x="l0", errors="additive")
    found = relative_potency(fits["half"], fits["relu"])
    assert found.ratio == pytest.approx(2, rel=0.02) and found.better_when == "above 1"
    # a power law that falls with L0 is refused in words
    power = frontier.fit(rows, "power", x="l0", errors="log")
    assert len(power.failures) == 2
    assert all("falls as x rises" in f.reason for f in power.failures)


def test_identical_families_give_1():
    rows = family("relu", 0.3, 1.0, seed=3) + family("copy", 0.3, 1.0, seed=3)
    for r in ratio_table(frontier.fit(rows, "hill", errors="log")):
        assert (
            r.ratio == pytest.approx(1, abs=1e-9)
            and r.ratio_low < 1 < r.ratio_high
            and r.p_value == pytest.approx(1)
        )


def test_welch_against_scipy_on_two_means():
    # Two sample means are two log estimates: scipy's Welch t test gives the same p value and interval.
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.3, 1.0, 7), rng.normal(0.0, 0.2, 12)
    theirs = stats.ttest_ind(a, b, equal_var=False)
    e = [LogEstimate(v.mean(), v.std(ddof=1) / math.sqrt(len(v)), len(v) - 1.0, -9, 9) for v in (a, b)]
    ours = welch(*e, 0.95)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-10)
    assert_allclose((ours.low, ours.high), theirs.confidence_interval(0.95), rtol=1e-9)


def test_mover_of_symmetric_intervals_is_the_root_sum_of_squares():
    one, two = LogEstimate(1.0, 0.1, 5, 0.7, 1.3), LogEstimate(0.2, 0.1, 5, -0.2, 0.6)
    found = mover(one, two, 0.95)
    assert_allclose((found.low, found.high), (0.8 - 0.5, 0.8 + 0.5), rtol=1e-12)


def test_pooled_profile_equals_the_f_test_at_a_ratio_of_one(pair):
    # The p value of the pooled profile at k ratio 1 is the extra-sum-of-squares F test of a common k.
    a, b = pair
    assert parameter_ratio(a, b, "k", method="profile").p_value == pytest.approx(
        frontier.shared_fit([a, b], ["k"]).p_f, rel=1e-4
    )


def test_pooled_profile_limits_reach_the_threshold(pair):
    a, b = pair
    found = parameter_ratio(a, b, "k", method="profile")
    welch_found = parameter_ratio(a, b, "k")
    assert_allclose(
        np.log([found.ratio_low, found.ratio_high]),
        np.log([welch_found.ratio_low, welch_found.ratio_high]),
        atol=0.12,
    )


def test_infinite_limits_stay_infinite():
    open_above = LogEstimate(1.0, 0.3, 5, 0.2, math.inf)
    closed = LogEstimate(0.0, 0.3, 5, -0.7, 0.8)
    assert welch(open_above, closed, 0.95).high == math.inf and math.isfinite(
        welch(open_above, closed, 0.95).low
    )
    assert welch(closed, open_above, 0.95).low == -math.inf


def test_holm_equals_statsmodels_and_keeps_missing():
    # 0.01, 0.04, 0.03 -> 0.03, 0.06, 0.06 by hand
    assert_allclose(holm(np.array([0.01, np.nan, 0.04, 0.03])), [0.03, np.nan, 0.06, 0.06])
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(2).uniform(size=11) ** 3
    assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_simultaneous_intervals_are_ordered():
    rows = family("relu", 0.2, 1.0, seed=1)
    for i, name in enumerate("abc"):
        rows += family(name, 0.3 + 0.1 * i, 0.95, seed=5 + i)
    fits = frontier.fit(rows, "hill", errors="log")
    width = {}
    for kind in (None, "dunnett", "bonferroni"):
        r = ratio_table(fits, simultaneous=kind)["a", "k"]
        width[kind] = math.log(r.ratio_high / r.ratio_low)
    assert width[None] < width["dunnett"] < width["bonferroni"]
    # Dunnett's two-sided 5 % point for 3 comparisons with a control, correlation 1/2, 20 df: 2.54
    # (Dunnett 1964, table II; scipy.stats.multivariate_t gives 2.5404)
    from frontier.distributions import multivariate_t_maxima

    corr = 0.5 * np.eye(3) + 0.5
    assert np.quantile(multivariate_t_maxima(corr, 20), 0.95) == pytest.approx(2.54, abs=0.02)
    with pytest.raises(ValueError, match="did you mean 'dunnett'"):
        ratio_table(fits, simultaneous="dunett")


def test_table_has_the_fixed_columns_and_reloads(tmp_path, hill20):
    ratios = ratio_table(hill20, "baseline")
    frame = ratios.to_frame()
    fixed = {
        "site",
        "family",
        "reference",
        "quantity",
        "ratio",
        "ratio_low",
        "ratio_high",
        "p_value",
        "better_when",
        "doubts",
    }
    assert fixed <= set(frame.columns)
    assert set(frame["quantity"]) == {"k", "n", "relative_potency"} and set(frame["better_when"]) == {
        "above 1",
        "",
    }
    again = RatioTable.load(ratios.save(tmp_path / "ratios.json"))
    assert again == ratios
    pd.testing.assert_frame_equal(again.to_frame(), frame)


def test_doubts_of_a_pair():
    quiet, loud = family("relu", 0.2, 1.0, noise=0.01, seed=1), family("loud", 0.4, 1.0, noise=0.3, seed=2)
    fits = frontier.fit(quiet + loud, "hill", errors="log")
    doubts = relative_potency(fits["loud"], fits["relu"]).doubts
    assert any(str(d).startswith("Residual SD") and "Welch degrees of freedom used" in str(d) for d in doubts)
    # ranges of y that do not meet
    low = [r for r in family("low", 0.2, 1.0, seed=4) if r["l0"] > 30]
    high = [r for r in family("relu", 0.2, 1.0, seed=5) if r["l0"] < 15]
    apart = frontier.fit(low + high, "hill", errors="log")
    text = in_text(relative_potency(apart["low"], apart["relu"]).doubts)
    assert "every comparison at equal y extrapolates at least one curve" in text
    outside = relative_potency(fits["loud"], fits["relu"], at=0.9).doubts
    assert has(outside, Kind.extrapolated) and "outside the data of" in in_text(outside)


def test_unequal_search_is_said():
    rows = family("relu", 0.2, 1.0, seed=1) + family("gated", 0.4, 1.0, seed=2)
    rows += [
        {**r, "loss_recovered": r["loss_recovered"] - 0.1}
        for r in family("gated", 0.4, 1.0, seed=3, points=14)
    ]
    fits = frontier.fit(frontier.pareto_set(rows), "hill", errors="log")
    found = relative_potency(fits["gated"], fits["relu"]).doubts
    assert "the longer search finds the luckier frontier" in in_text(found)


def test_unlike_fits_are_refused():
    a = frontier.fit(family("relu", 0.2, 1.0, protocol="pile", ablation="zero"), "hill", errors="log")[0]
    for change, word in (({"protocol": "owt"}, "protocol"), ({"ablation": "mean"}, "ablation")):
        b = frontier.fit(
            family("gated", 0.4, 1.0, **{"protocol": "pile", "ablation": "zero", **change}),
            "hill",
            errors="log",
        )[0]
        with pytest.raises(ValueError, match=f"{word} is"):
            relative_potency(b, a)
    with pytest.raises(ValueError, match="errors is"):
        relative_potency(
            frontier.fit(family("x", 0.2, 1.0, protocol="pile", ablation="zero"), "hill", errors="additive")[
                0
            ],
            a,
        )


def test_reference_is_found_or_asked_for(hill20):
    assert ratio_table(hill20)[0].reference == "baseline"
    with pytest.raises(ValueError, match="did you mean 'baseline'"):
        ratio_table(hill20, "basline")
    fits = frontier.fit(family("a", 0.2, 1.0) + family("b", 0.3, 1.0), "hill", errors="log")
    with pytest.raises(ValueError, match="name the reference family; there are a, b"):
        ratio_table(fits)


def test_curves_of_ratios_pass_through_the_points(pair):
    a, b = pair
    curve = relative_potency_curve(a, b, points=7)
    for row in curve.itertuples():
        if 0.005 < row.at < 0.3:
            one = relative_potency(a, b, at=row.at)
            assert_allclose(
                (row.ratio, row.ratio_low, row.ratio_high),
                (one.ratio, one.ratio_low, one.ratio_high),
                rtol=1e-6,
            )
    hits = hit_ratio_curve(a, b, points=7)
    one = hit_ratio(a, b, at=float(hits["at"].iloc[3]))
    assert_allclose((hits["ratio"].iloc[3], hits["ratio_low"].iloc[3]), (one.ratio, one.ratio_low), rtol=1e-6)


def test_mean_over_the_overlap_of_parallel_curves_is_the_ratio():
    rows = family("relu", 0.2, 1.0, seed=1) + family("gated", 0.5, 1.0, seed=2)
    fits = frontier.fit(rows, "hill", errors="log", fixed={"n": 1})
    a, b = fits["gated"], fits["relu"]
    expected = float(a["k"]) / float(b["k"])
    assert mean_relative_potency(a, b).ratio == pytest.approx(expected, rel=1e-9)
    assert mean_hit_ratio(a, b).ratio < 1


def test_the_mean_is_taken_over_log_hits():
    """Of power laws log potency is a line in log hit: its mean is the value in the geometric middle."""
    rows = family("relu", 0.2, 1.0, seed=1) + family("gated", 0.5, 0.7, seed=2)
    fits = frontier.fit(rows, "power", errors="log")
    a, b = fits["gated"], fits["relu"]
    low, high = max(a.y.min(), b.y.min()), min(a.y.max(), b.y.max())
    middle = relative_potency(a, b, at=math.sqrt(low * high)).ratio
    assert mean_relative_potency(a, b).ratio == pytest.approx(middle, rel=1e-6)
    assert relative_potency(a, b, at=(low + high) / 2).ratio != pytest.approx(middle, rel=0.01)


@pytest.mark.slow
def test_relative_potency_has_known_coverage():
    # Truth known by construction; 400 tables, one fixed seed; binomial 99.9 % band around 95 %: 0.909 to
    # 0.982.
    curves = {"a": (1.0, 1.1), "b": (1.5, 1.0)}
    names = [(layer, name) for layer in range(400) for name in curves]
    table = pd.DataFrame(names, columns=["layer", "family"]).merge(pd.DataFrame({"l0": 1 / X}), how="cross")
    hit = np.concatenate([frontier.hill(X, *curves[name]) for _, name in names])
    hit *= np.exp(0.1 * np.random.default_rng(20261120).standard_normal(len(hit)))
    fits = frontier.fit(table.assign(performance_hit=hit), "hill", by="layer", errors="log", intervals="wald")
    at = [float(frontier.CURVES["hill"].x_at(0.05, {"k": k, "n": n, "top": 1.0})) for k, n in curves.values()]
    hits = 0
    for a, b in zip(list(fits)[::2], list(fits)[1::2], strict=True):
        assert a.group["layer"] == b.group["layer"] and (a.group["family"], b.group["family"]) == ("a", "b")
        found = relative_potency(a, b, at=0.05)
        hits += found.ratio_low <= at[0] / at[1] <= found.ratio_high
    assert 0.909 <= hits / 400 <= 0.982


def test_fits_of_different_sites_are_refused(hill20):
    with pytest.raises(ValueError, match=r"site is 'Attn' and 'Resid'.*across=\['site'\]"):
        relative_potency(hill20["Attn", "gated"], hill20["Resid", "baseline"])


def test_p_value_and_interval_never_contradict():
    # MOVER and open limits are not Welch's interval: where they disagree with its p value, there is none.
    rng = np.random.default_rng(6)
    gone = 0
    for _ in range(200):
        ends, at = rng.uniform(0.2, 0.9, (2, 2)), rng.normal(0, 0.5, 2)
        e = [LogEstimate(v, 0.2, 4, v - a, v + b) for v, (a, b) in zip(at, ends, strict=True)]
        found = mover(*e, 0.95)
        if math.isnan(found.p_value):
            gone += 1
        else:
            assert (found.low <= 0 <= found.high) == (found.p_value > 0.05)
    assert 0 < gone < 100
    assert math.isnan(
        welch(LogEstimate(1.0, 0.2, 9, -math.inf, 2), LogEstimate(0.0, 0.2, 9, -1, 1), 0.95).p_value
    )


def test_levels_and_heights_are_checked(pair, hill20):
    for bad in (90, 1, 0, -0.5, "x"):
        with pytest.raises(ValueError, match="level must be a fraction"):
            relative_potency(*pair, level=bad)
        with pytest.raises(ValueError, match="level must be a fraction"):
            frontier.fit_points(X, frontier.hill(X, 0.2, 1.0) * (1 + 0.1 * X), level=bad)
    for bad in (math.nan, "x", [0.1]):
        with pytest.raises(ValueError, match="at must be one number"):
            relative_potency(*pair, at=bad)
    never = relative_potency(*pair, at=1.2)
    assert math.isnan(never.ratio) and any("never reaches" in str(d) for d in never.doubts)
    table = ratio_table(hill20, "baseline", at=[0.02, 0.03])
    assert [r.at for r in table if r.quantity == "relative_potency"] == [0.02, 0.03] * 3


@pytest.mark.parametrize("reach,verdict", [(2.0, "better"), (0.35, "better"), (0.32, ""), (0.05, "")])
def test_a_k_beyond_three_times_the_data_has_no_verdict(reach, verdict):
    """The largest x is `reach` times the larger k; the number, its interval and the factor stay."""
    rng = np.random.default_rng(1)
    x = np.geomspace(0.01, 1, 9) * reach * 0.3
    rows = [
        {"family": f, "sparsity": a, "performance_hit": float(frontier.hill(a, k, 1.1)) * np.exp(0.001 * e)}
        for f, k in (("relu", 0.1), ("topk", 0.3)) for a, e in zip(x, rng.standard_normal(9), strict=True)
    ]  # fmt: skip
    fits = frontier.fit(pd.DataFrame(rows), errors="log")
    k = parameter_ratio(fits["topk"], fits["relu"], "k")
    assert k.verdict == verdict and abs(k.ratio - 3) < 0.1 and k.p_value < 1e-6
    said = [d for d in k.doubts if d.kind is Kind.extrapolated_k]
    assert bool(said) == (reach < 1) and all(abs(d.numbers["topk"] - 1 / reach) < 0.1 / reach for d in said)
    assert all(("it has no verdict" in str(d)) == (verdict == "") for d in said)


def test_the_scale_of_a_power_law_is_read_at_x_1():
    x = np.geomspace(0.01, 0.2, 6)
    y = 0.5 * x * np.exp(0.01 * np.array([1, -1, 1, -1, 1, -1]))
    far, near = (frontier.fit_points(a * x, y, "power") for a in (1, 10))
    (doubt,) = (d for d in parameter_ratio(far, far, "scale").doubts if d.kind is Kind.extrapolated)
    assert "1 / largest x = 5" in str(doubt)
    assert not has(parameter_ratio(near, near, "scale").doubts, Kind.extrapolated)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_limit_is_where_the_squares_reach_their_threshold(side):
    assert _reached(lambda d: (d - 1) ** 2, 1.0, side, 9.0) == pytest.approx(1 + side * 3)
    assert _reached(lambda d: np.arctan(abs(d)), 0.0, side, 2.0) == side * math.inf


def test_an_observed_ratio_says_of_what():
    """hit = 4 / L0 and 2 / L0: twice as potent, half the hit, over the common range."""
    l0 = np.array([10.0, 20.0, 40.0, 80.0])
    rows = pd.concat([
        pd.DataFrame({"family": name, "l0": l0, "performance_hit": top / l0, "layer": 3})
        for name, top in (("relu", 4.0), ("topk", 2.0))
    ])  # fmt: skip
    potency, hits = frontier.observed_potency(rows, "relu", by="layer")
    assert (potency.group["layer"], potency.family, potency.reference) == (3, "topk", "relu")
    assert (potency.ratio, potency.ratio_min, potency.ratio_max) == pytest.approx((2, 2, 2))
    assert (potency.from_, potency.to, hits.from_, hits.to) == pytest.approx((0.05, 0.2, 10, 80))
    assert hits.ratio == pytest.approx(0.5) and not potency.crosses and not potency.doubts


@pytest.mark.parametrize(("other", "places"), [([4, 2, 0.5], (20,)), ([4, 2, 1.5], ()), ([1, 2, 1], ())])
def test_frontiers_that_meet_in_a_point_cross_where_they_change_sides(other, places):
    """A point in common is a crossing only where other families lead left and right of it."""
    l0, one = np.array([10.0, 20.0, 40.0]), np.array([3, 2, 1])
    rows = pd.concat([
        pd.DataFrame({"family": name, "l0": l0, "performance_hit": np.array(hits) / 10})
        for name, hits in (("relu", one), ("topk", other))
    ])  # fmt: skip
    for ratio in frontier.observed_potency(rows, "relu"):
        assert ratio.crossing_l0 == pytest.approx(places)


@pytest.mark.parametrize("errors", ["log", "additive", "two_component"])
@pytest.mark.parametrize("curve, vanishing", [("hill", None), ("power", None), ("hill", "fit_by_family")])
def test_many_fits_at_once_are_those_one_by_one(curve, vanishing, errors):
    rows = [r for i in range(5) for r in family(f"f{i}", 0.1 + 0.1 * i, 1.0, 0.04, i, 7 + i % 2)]
    fits = frontier.fit(rows, curve, errors=errors, vanishing_l0=vanishing).fits
    asked = [(f, height) for f in fits for height in (0.02, 0.1, 0.3)]
    together = intervals_at(asked, 0.9)
    alone = [f.x_at(height, level=0.9) for f, height in asked]
    found = [together[id(f), height] for f, height in asked]
    for name in ("estimate", "low", "high"):
        assert_allclose([getattr(i, name) for i in found], [getattr(i, name) for i in alone], rtol=1e-7)
    for f, optimum in zip(fits, optima(fits), strict=True):
        assert_allclose(optimum.solution.theta, f.estimate.solution.theta, rtol=1e-6, atol=1e-7)
        assert_allclose(optimum.covariance, f.estimate.covariance, rtol=1e-5, atol=1e-12)


# what the ratios are taken from


@pytest.mark.parametrize("times", [1e-4, 1.0, 1e3])
def test_observed_ratios_do_not_depend_on_the_unit_of_l0(times):
    rows = pd.DataFrame(family("relu", 0.2, 1.0) + family("topk", 0.5, 1.0, seed=3))
    found = frontier.observed_potency(rows.assign(l0=rows["l0"] * times), "relu")
    once = frontier.observed_potency(rows, "relu")
    for one, other in zip(found, once, strict=True):
        assert_allclose(
            (one.ratio, one.ratio_min, one.ratio_max), (other.ratio, other.ratio_min, other.ratio_max)
        )


def test_neighbours_out_of_order_are_one_point():
    """The decreasing regression by hand: 0.5 and 0.6 are out of order by less than a factor e, and pooled."""
    x, y = line_of(np.array([1.0, 2.0, 2.0, 8.0]), np.array([0.4, 0.5, 0.72, 0.1]))
    assert_allclose(np.exp(x), [4 ** (1 / 3), 8.0])  # 1, 2 and 2
    assert_allclose(np.exp(y), [(0.4 * 0.5 * 0.72) ** (1 / 3), 0.1])


def test_the_default_place_of_a_hit_ratio_is_the_geometric_middle_in_l0(pair):
    found = hit_ratio(*pair)
    assert found.at == pytest.approx(1 / math.sqrt(X[0] * X[-1]))
    assert found.ratio == pytest.approx(hit_ratio(*pair, at=found.at).ratio)


def test_heights_that_are_not_above_0_do_not_bound_the_common_range(pair):
    one, two = (
        replace(f, y=np.array(y)) for f, y in zip(pair, ([0.0, 0.2, 0.9], [-0.1, 0.1, 0.5]), strict=True)
    )
    assert common_y(one, two) == (0.2, 0.5)
    none = replace(one, y=np.array([-0.3, 0.0, 0.0]))
    assert common_y(none, two) == (0.1, 0.0)  # reversed: they do not meet


def test_no_test_of_spread_against_an_exact_curve(pair):
    one, two = pair
    assert not _unequal_spread(one, replace(two, sigma=0.0)) and not _unequal_spread(
        replace(one, sigma=0.0), two
    )
    assert _unequal_spread(replace(one, sigma=10 * two.sigma), two) and not _unequal_spread(two, two)


def test_crossing_frontiers_say_so_by_kind():
    l0 = np.array([1.0, 9.0])
    rows = [
        {"family": name, "l0": x, "loss_recovered": 1 - y}
        for name, hits in (("relu", (0.9, 0.1)), ("topk", (0.3, 0.3)))
        for x, y in zip(l0, hits, strict=True)
    ]
    rows[-1]["loss_recovered"] += 1e-6  # falls, so that both points stay
    (doubt,) = {
        d
        for o in frontier.observed_potency(pd.DataFrame(rows), "relu")
        for d in o.doubts
        if d.kind is Kind.crossing
    }
    assert "cross at L0 3" in str(doubt) and doubt.numbers["L0 0"] == pytest.approx(3, rel=1e-4)
