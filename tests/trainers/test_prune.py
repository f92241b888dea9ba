"""Pruned SAEs against a token-by-token loop, statistics against numpy, intervals against a recomputation."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from after_training_cases import SITE, D, F, Foreign, counted_activations, language_model, relu_sae, text
from matplotlib import pyplot as plt
from scipy import stats
from scipy.interpolate import PchipInterpolator

import frontier
from frontier.studies.evaluation import EvaluationError, joined
from frontier.studies.figures import plot_pruning, plot_pruning_frontiers
from frontier.studies.paired_frontiers import (
    LeftOut,
    _between,
    changes,
    compare_curves,
    estimate,
    families_of,
    over_saes,
)
from frontier.studies.pruning_costs import compare_methods, pruning_costs
from trainers.architectures import TopK
from trainers.evaluate import evaluate
from trainers.sae import SAE
from trainers.studies.prune import METHODS, Pruned, latent_statistics, latent_thresholds, prune
from trainers.studies.variants import SharedCodes, VariantError, linear_decoder

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    return language_model()


@pytest.fixture(scope="module")
def x(model):
    return counted_activations(model, text(model, 1))


@pytest.fixture(scope="module")
def sae():
    return relu_sae(0)


@pytest.fixture(scope="module")
def statistics(sae, x):
    return latent_statistics(sae, x.split(17))


def slowly(sae, method, strength, seen, x):
    """Codes of `x` pruned by plain loops; maxima and quantiles from `seen`."""
    training, codes = sae.encode(seen).double().numpy(), sae.encode(x).double().numpy()
    norms = sae.parameters["W_dec"].double().norm(dim=1).numpy()
    found = codes.copy()
    for row in found:
        heights = row * norms
        for i in range(len(row)):
            own = training[:, i][training[:, i] > 0]
            if method == "top k":
                gone = int((heights > heights[i]).sum()) >= strength
            elif method == "share of maximum":
                gone = row[i] < strength * max(own, default=0)
            elif method == "quantile":
                gone = len(own) and row[i] < np.quantile(own, strength)
            else:
                gone = heights[i] < strength
            if gone:
                row[i] = -1  # marked, so that it still has its place among the others
    return np.where(found < 0, 0, codes)


@pytest.mark.parametrize(
    ("method", "strength"),
    [("top k", 0), ("top k", 1), ("top k", 3), ("share of maximum", 0.3), ("share of maximum", 1),
     ("quantile", 0.25), ("quantile", 0.9), ("global threshold", 0.7), ("global threshold", 0)],
)  # fmt: skip
def test_pruned_codes_equal_the_loop(sae, x, statistics, model, method, strength):
    fresh = counted_activations(model, text(model, 2))
    if method == "top k":
        wanted = slowly(sae, method, strength, x, fresh) if strength else np.zeros((len(fresh), F))
    else:
        wanted = slowly(sae, method, strength, x, fresh)
    found = Pruned(SharedCodes(sae), "p", method, strength, statistics).encode(fresh)
    assert ((found.numpy() != 0) == (wanted != 0)).mean() == 1
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)


def test_strength_zero_removes_nothing_and_a_high_one_everything(sae, x, statistics):
    whole = sae.encode(x)
    for method, none, all_gone in (
        ("share of maximum", 0, None),
        ("quantile", 0, None),
        ("global threshold", 0, 1e9),
    ):
        kept = Pruned(SharedCodes(sae), "p", method, none, statistics).encode(x)
        torch.testing.assert_close(kept, whole, rtol=0, atol=0)
        if all_gone:
            assert not Pruned(SharedCodes(sae), "p", method, all_gone, statistics).encode(x).any()
    assert torch.equal(Pruned(SharedCodes(sae), "p", "top k", F, statistics).encode(x), whole)


def test_statistics_are_numpys_and_know_silent_latents(x):
    sae = relu_sae(0)
    sae.parameters["b_enc"][:2] = -1e6  # never fire
    sae.parameters["b_enc"][2] = 50.0  # always
    found = latent_statistics(sae, x.split(11))
    codes = sae.encode(x).numpy()
    assert found.counts.tolist() == (codes > 0).sum(0).tolist() and found.counts[:3].tolist() == [
        0,
        0,
        len(x),
    ]
    np.testing.assert_allclose(found.maximum(), codes.max(0), rtol=1e-6)
    for q in (0, 0.1, 0.5, 0.77, 1):
        wanted = [np.quantile(c[c > 0].astype(float), q) if (c > 0).any() else 0 for c in codes.T]
        np.testing.assert_allclose(found.quantile(q), wanted, rtol=1e-5)
    assert found.per_token.tolist() == np.bincount((codes > 0).sum(1)).tolist()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kept", [0.8, 0.5, 0.2])
def test_strengths_keep_the_share_that_was_asked_for(sae, x, statistics, method, kept):
    """On the text that they were chosen on; k is whole, so that the nearest one is wanted."""
    strength = statistics.strength(method, kept)
    whole = int((sae.encode(x) != 0).sum())

    def share(s):
        return int((Pruned(SharedCodes(sae), "p", method, s, statistics).encode(x) != 0).sum()) / whole

    if method == "top k":
        assert min(range(1, F + 1), key=lambda k: abs(share(k) - kept)) == strength
    else:
        assert share(strength) == pytest.approx(kept, abs=0.04)


def test_codes_are_computed_once_per_batch_for_all_variants(model):
    tokens = text(model, 2)
    calls = []

    class Spy(Foreign):
        def encode(self, x):
            calls.append(len(x))
            return super().encode(x)

    prune([Spy(0)], model, tokens, SITE, training_tokens=text(model, 1), protocol="p", batch_size=3)
    assert len(calls) == -(-len(text(model, 1)) // 16) + len(tokens)  # 16 windows: 16 batches


@pytest.mark.parametrize("make", [lambda: relu_sae(0), lambda: Foreign(0)], ids=["ours", "foreign"])
def test_rows_equal_an_evaluation_of_each_alone(model, make):
    """Also for an SAE-like object that shares nothing with ours but the interface."""
    tokens, training, sae = text(model, 2), text(model, 1), make()
    strengths = {"top k": [2], "global threshold": [0.4, 0.9]}
    found = prune(
        [sae], model, tokens, SITE, training_tokens=training, protocol="p", strengths=strengths, batch_size=4
    )
    statistics = latent_statistics(sae, [counted_activations(model, training)])
    alone = [Pruned(SharedCodes(sae), "s0", m, s, statistics) for m, some in strengths.items() for s in some]
    wanted = evaluate([sae, *alone], model, tokens, SITE, protocol="p", batch_size=4)
    pd.testing.assert_frame_equal(found.table, wanted.table)
    assert found.table["family"].tolist() == [
        "relu",
        "relu + top k",
        "relu + global threshold",
        "relu + global threshold",
    ]
    assert found.table["parent"].isna().tolist() == [True, False, False, False]
    assert found.table["sparsity_setting"].tolist()[1:] == [2, 0.4, 0.9]
    assert found.table["sparsity_name"].tolist()[1:] == ["top k", "global threshold", "global threshold"]


@pytest.mark.slow
def test_the_rows_compare_like_any_family(model):
    found = prune([relu_sae(i, bias) for i, bias in enumerate((0.3, 0.0, -0.4))], model, text(model, 2), SITE,
                  training_tokens=text(model, 1), protocol="p", batch_size=4)  # fmt: skip
    front = frontier.pareto_set(frontier.metrics_table(found.table))
    assert {f"relu + {m}" for m in METHODS} <= set(front["family"])


def test_free_decoder_norms_change_nothing_but_the_unit(x):
    """A latent counted in another unit (rows longer, codes smaller) is pruned alike."""
    one = relu_sae(0)
    gain = torch.linspace(0.3, 5, F)
    p = one.parameters
    other = dataclasses.replace(one, parameters=p | {"W_enc": p["W_enc"] / gain, "b_enc": p["b_enc"] / gain,
                                                     "W_dec": p["W_dec"] * gain[:, None]})  # fmt: skip
    for method, strength in (
        ("top k", 3),
        ("global threshold", 0.6),
        ("quantile", 0.4),
        ("share of maximum", 0.4),
    ):
        masks = [
            Pruned(SharedCodes(s), "p", method, strength, latent_statistics(s, [x])).encode(x) != 0
            for s in (one, other)
        ]
        assert (masks[0] == masks[1]).float().mean() > 0.999, method


# ---------------------------------------------------------------- costs at equal L0


@pytest.fixture(scope="module")
def pruned(model):
    saes = [relu_sae(i, bias) for i, bias in enumerate((0.6, 0.3, 0.0, -0.3))]
    return prune(
        saes, model, text(model, 2), SITE, training_tokens=text(model, 1), protocol="p", batch_size=2
    )


def test_costs_equal_interpolation_by_hand(pruned):
    costs = pruning_costs(pruned)
    row = costs[(costs["parent"] == "s0") & (costs["method"] == "quantile")].iloc[0]

    def by_hand(batches):
        sums = pruned.batches[pruned.batches["batch"].isin(batches)].groupby("run_id").sum(numeric_only=True)
        l0, ce = sums["l0_sum"] / sums["tokens"], sums["ce_sae_sum"] / sums["predictions"]
        curve = sorted((math.log(l0[r]), ce[r]) for r in l0.index if r.startswith("s0 + quantile"))
        return float(PchipInterpolator(*zip(*curve, strict=True))(math.log(l0["s0"] / 2))) - ce["s0"]

    batches = sorted(pruned.batches["batch"].unique())
    left = np.array([by_hand([b for b in batches if b != out]) for out in batches])
    se = math.sqrt((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum())
    assert row["cost"] == pytest.approx(by_hand(batches), rel=1e-9)
    assert len(batches) == 16
    assert row["cost_high"] - row["cost"] == pytest.approx(2.131450 * se, rel=1e-6)  # t of 15 df, 97.5 %


def test_interpolation_is_fair_to_wide_and_narrow_sweeps():
    """Points of one power law, close and far apart: the chord would be off by 10 %, this is off by 2 %."""
    x = np.log([1.5, 6.0, 24.0, 60.0])
    assert _between(x, np.exp(-0.5 * x), np.log(3)) == pytest.approx(3**-0.5, rel=0.03)
    assert _between(x[:2], x[:2], x[0]) == x[0] and math.isnan(_between(x, x, x[3] + 1e-9))
    assert _between(np.array([1.0, 1.0, np.nan]), np.array([2.0, 4.0, 9.0]), 1.0) == 3


def test_the_threshold_is_not_behind_itself_and_ends_are_missing(pruned):
    costs = pruning_costs(pruned)
    own = costs[costs["method"] == "global threshold"]
    assert (own[["behind", "behind_low", "behind_high"]] == 0).all(axis=None)
    sparsest = costs.sort_values("l0").iloc[0]["parent"]
    assert costs[costs["parent"] == sparsest]["against_trained"].isna().all(), (
        "no SAE is trained to half of the lowest L0"
    )
    assert pruning_costs(pruned, share=0.01)["cost"].isna().all()


def test_changes_are_the_evaluations_own_paired_differences(pruned):
    found = changes(pruned, "mse")
    assert len(found) == pruned.table["parent"].notna().sum()
    row = found[found["run_id"].str.startswith("s1 + quantile")].iloc[0]
    value, se = pruned.difference("mse", row["run_id"], "s1")
    assert row["change"] == pytest.approx(value)
    assert row["change_high"] - row["change"] == pytest.approx(2.131450 * se, rel=1e-6)
    assert row["ratio"] == pytest.approx(1 + value / row["before"])


def test_curves_at_equal_l0_have_intervals_that_hold_together(pruned):
    """Two curves less a third at two levels: four intervals, each of 1 − 0.05/4."""
    names = pruned.table["run_id"]
    curves = {m: list(names[names.str.startswith(f"s0 + {m}")]) for m in METHODS[:3]}
    levels = [3.0, 4.0]
    found = compare_curves(pruned, "quantile", levels, curves=curves, metric="mse")
    assert found["family"].tolist() == ["top k", "share of maximum"] * 2
    assert found["l0"].tolist() == [3, 3, 4, 4]
    left = LeftOut(pruned)
    gap = left.curve(curves["top k"], "mse", 4.0) - left.curve(curves["quantile"], "mse", 4.0)
    wanted = estimate(gap, 1 - 0.05 / 4)
    row = found.iloc[2]
    assert (row["difference"], row["difference_low"]) == pytest.approx((wanted.value, wanted.low))
    assert compare_curves(pruned, "quantile", [1e3], curves=curves)["difference"].isna().all()
    with pytest.raises(EvaluationError, match=r"no curve 'quantil'.*did you mean 'quantile'"):
        compare_curves(pruned, "quantil", levels, curves=curves)
    assert families_of(pruned)["relu"] == ["s0", "s1", "s2", "s3"]


def test_means_over_saes_have_the_sae_as_unit(pruned):
    costs = pruning_costs(pruned)
    found = compare_methods(costs).set_index("method")
    wide = costs.pivot_table(index="parent", columns="method", values="cost")
    gap = wide["top k"] - wide["global threshold"]
    assert found.loc["top k", "behind"] == pytest.approx(gap.mean())
    t = stats.t.ppf(1 - 0.025 / 3, 3)  # three comparisons, four SAEs
    half = found.loc["top k", "behind_high"] - found.loc["top k", "behind"]
    assert half == pytest.approx(t * gap.std() / 2)
    assert found["saes"].eq(4).all() and found["left_out"].eq("").all()


def test_saes_that_a_method_does_not_reach_are_named(pruned):
    """The sparsest SAE loses its cost under one method: only that one's means do without it."""
    costs = pruning_costs(pruned)
    costs.loc[(costs["parent"] == "s3") & (costs["method"] == "top k"), "cost"] = np.nan
    found = compare_methods(costs).set_index("method")
    wide = costs.pivot_table(index="parent", columns="method", values="cost")
    assert found["left_out"].to_dict() == dict.fromkeys(METHODS, "") | {"top k": "s3"}
    assert found.loc["top k", ["left_out_behind", "saes", "saes_behind"]].tolist() == ["s3", 3, 3]
    for method in METHODS:
        assert found.loc[method, "cost"] == pytest.approx(wide[method].mean())  # pandas leaves NaN out
    gap = (wide["top k"] - wide["global threshold"]).mean()
    assert found.loc["top k", "behind"] == pytest.approx(gap)


def test_intervals_cover():
    """400 texts of 16 batches whose true mean is 0.3: it lies in the 95 % interval about 95 % of the time."""
    g = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        sums = 100 * (0.3 + g.normal(0, 0.2, 16))
        found = estimate(np.concatenate([[sums.sum() / 1600], (sums.sum() - sums) / 1500]))
        inside += found.low < 0.3 < found.high
    assert 0.92 < inside / 400 < 0.98


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("method", "strength", "message"),
    [("topk", 3, "unknown way to prune 'topk'; did you mean 'top k'"), ("top k", 1.5, "whole number"),
     ("quantile", 1.2, "from 0 to 1, got 1.2"), ("share of maximum", -0.1, "from 0 to 1"),
     ("global threshold", -1, "at least 0")],
)  # fmt: skip
def test_faults_are_named(sae, statistics, method, strength, message):
    with pytest.raises(VariantError, match=message):
        Pruned(SharedCodes(sae), "p", method, strength, statistics)


def test_more_faults(sae, statistics, model, pruned):
    with pytest.raises(VariantError, match="no activations"):
        latent_statistics(sae, [])
    with pytest.raises(VariantError, match="no thresholds for 'top k'"):
        latent_thresholds("top k", 1, statistics)
    with pytest.raises(EvaluationError, match="holds no pruned SAEs"):
        pruning_costs(evaluate([sae], model, text(model, 2), SITE, protocol="p"))
    with pytest.raises(EvaluationError, match="no SAE 's9'"):
        LeftOut(pruned).metric("s9", "l0")
    with pytest.raises(EvaluationError, match=r"no metric 'mes'.*'mse'"):
        LeftOut(pruned).metric("s0", "mes")
    with pytest.raises(EvaluationError, match="1 of 2 SAEs have no value"):
        over_saes([1.0, math.nan])
    with pytest.raises(EvaluationError, match="not of one text"):
        joined([pruned, evaluate([sae], model, text(model, 2)[:3], SITE, protocol="p")])


def test_decoders_are_read_off_and_curved_ones_refused():
    foreign = Foreign(0)
    foreign.decode = lambda f: f @ foreign.out + 300.0
    rows, bias = linear_decoder(foreign)
    torch.testing.assert_close(rows, foreign.out, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bias, torch.full((D,), 300.0))
    foreign.decode = lambda f: torch.nn.functional.normalize(f @ foreign.out + 1, dim=-1)
    with pytest.raises(VariantError, match="not a matrix and a bias"):
        linear_decoder(foreign)


def test_a_topk_sae_is_pruned_like_any(model, x):
    p = {k: v for k, v in relu_sae(0).parameters.items()}
    sae = SAE(TopK(), p | {"k": torch.tensor(5)}, {"run_id": "t", "family": "topk"})
    found = prune(
        [sae], model, text(model, 2), SITE, training_tokens=text(model, 1), protocol="p", batch_size=4
    )
    l0 = found.table.set_index("run_id")["l0"]
    assert l0["t"] <= 5 and l0["t + top k 2"] <= 2


# ---------------------------------------------------------------- figures


def test_figures_show_every_method_and_every_sae(pruned):
    ax = plot_pruning(pruned, "s0")
    assert {t.get_text() for t in ax.get_legend().get_texts()} == set(METHODS)
    own = pruned.table.set_index("run_id")
    shown = {round(float(y), 9) for line in ax.lines for y in line.get_ydata()}
    wanted = own[own["parent"] == "s0"]["ce_sae"] - own.loc["s0", "ce_sae"]
    assert {round(v, 9) for v in wanted} <= shown
    frontiers = plot_pruning_frontiers(pruned, method="quantile", base="relu", metric="mse")
    assert len(frontiers.lines) == 5  # four paths and the frontier of the SAEs as they are
    assert [t.get_text() for t in frontiers.get_legend().get_texts()] == ["as trained", "pruned by quantile"]
    plt.close("all")
