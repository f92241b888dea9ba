"""Metrics of SAEs against a slow evaluation written from the definitions, and against closed forms."""

import dataclasses
import inspect
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from after_training_cases import SITE, D, F, Foreign, V
from scipy import stats

import frontier
import frontier.curves
from frontier.distributions import jackknife_error
from frontier.studies.batch_sums import PER_MEMBER, SHARED, metrics_of, without_each
from frontier.writing import WriteError
from trainers.architectures import Architecture
from trainers.architectures.topk import TopK
from trainers.evaluate import Evaluation, EvaluationError, evaluate, one_pass
from trainers.evaluate.firing_counts import FiringCounts, frequency_shares, share_errors
from trainers.evaluate.linear_error import LinearError
from trainers.language_models import LanguageModel, kl_from, load_language_model
from trainers.sae import SAE


def gpt2(seed=0):
    torch.manual_seed(seed)
    config = transformers.GPT2Config(
        vocab_size=V, n_embd=D, n_layer=2, n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2,
        pad_token_id=0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.4 * torch.randn_like(weight))
    return LanguageModel(model, name="random")


@pytest.fixture(scope="module")
def model():
    return gpt2()


@pytest.fixture(scope="module")
def tokens(model):
    """Windows that the model itself wrote, some with padding on the right or a start token inside."""
    g = torch.Generator().manual_seed(1)
    found = torch.ones(14, 1, dtype=torch.long)
    for _ in range(9):
        odds = model.logits(found)[:, -1].softmax(-1)
        odds[:, :3] = 0
        found = torch.cat([found, torch.multinomial(odds, 1, generator=g)], dim=1)
    found[3, 6:] = found[9, 8:] = 0
    found[5, 4] = 1
    return found


@dataclasses.dataclass
class Fixed:
    """Codes and reconstruction given by functions."""

    encode: object
    decode: object
    identity: dict
    d_in: int = D
    d_out: int = D
    dictionary_size: int = 2 * D


def perfect(**identity):
    return Fixed(
        lambda x: torch.cat([x, -x], 1).clamp_min(0),
        lambda f: f[:, :D] - f[:, D:],
        {"run_id": "perfect", **identity},
    )  # fmt: skip


def constant(value, name):
    return Fixed(lambda x: torch.zeros(len(x), 2 * D), lambda f: value.expand(len(f), D), {"run_id": name})


def mean_activation(model, tokens, site=SITE):
    return model.capture(tokens, [site])[site][model.counted(tokens)].double().mean(0).float()


def slowly(sae, model, tokens, site, target):
    """Every metric from its definition: window by window, token by token, in Python numbers."""
    mean = mean_activation(model, tokens, target)
    rows, losses, fired = [], [], torch.zeros(sae.dictionary_size)
    for one in tokens.split(1):
        window, counted = one[0], (one[0] != 1) & (one[0] != 0)
        x, t = (model.capture(one, [s])[s][0] for s in (site, target))
        f = sae.encode(x)
        t_hat = sae.decode(f)
        for i in torch.nonzero(counted).flatten().tolist():
            a, b = t[i].double(), t_hat[i].double()
            fired += f[i] != 0
            rows.append(
                {
                    "l0": int((f[i] != 0).sum()), "l1": float(f[i].abs().sum()),
                    "error": float(((a - b) ** 2).sum()), "spread": float(((a - mean) ** 2).sum()),
                    "cos": float(torch.dot(a, b) / (a.norm() * b.norm())) if b.any() else 0.0,
                    "l2": float(b.norm() / a.norm()),
                    "bb": float(torch.dot(b, b)), "ab": float(torch.dot(a, b)),
                }
            )  # fmt: skip

        values = (t_hat, 0 * t, mean.expand_as(t))
        logits = [model.logits(one), *(model.spliced_logits(one, target, v[None]) for v in values)]
        ways = [torch.log_softmax(found[0].double(), -1) for found in logits]
        for i in range(len(window) - 1):
            if counted[i] and counted[i + 1]:
                kl = float((ways[0][i].exp() * (ways[0][i] - ways[1][i])).sum())
                losses.append([*(-float(w[i, window[i + 1]]) for w in ways), kl])
    r, (clean, with_sae, zero, mean_ce, kl) = pd.DataFrame(rows), np.mean(losses, axis=0)
    frequency = (fired / len(r)).numpy()
    return {
        "l0": r["l0"].mean(), "l1": r["l1"].mean(), "mse": r["error"].mean(), "kl": kl,
        "fvu": r["error"].sum() / r["spread"].sum(), "cosine_similarity": r["cos"].mean(),
        "l2_ratio": r["l2"].mean(),
        "shrinkage": r["bb"].mean() / r["ab"].mean() if r["bb"].any() else math.nan,
        "ce_clean": clean, "ce_sae": with_sae, "ce_zero_ablation": zero, "ce_mean_ablation": mean_ce,
        "loss_recovered": (mean_ce - with_sae) / (mean_ce - clean),
        "loss_recovered_zero": (zero - with_sae) / (zero - clean),
        "alive_fraction": (frequency > 0).mean(), "frequency_above_10pct": (frequency > 0.1).mean(),
        "frequency_above_1pct": (frequency > 0.01).mean(),
        "frequency_below_1e5": (frequency < 1e-5).mean(),
    }, len(r), len(losses)  # fmt: skip


@pytest.mark.parametrize(
    ("site", "target"), [(SITE, None), ("mlp_in.1", "mlp_out.1"), ("resid_pre.0", "resid_mid.1")]
)
def test_every_metric_equals_the_slow_evaluation(model, tokens, site, target):
    saes = [Foreign(i, bias, {"run_id": f"f{i}"}) for i, bias in enumerate((0.3, -0.5, -1.5))]
    found = evaluate(saes, model, tokens, site, target, batch_size=4, protocol="p")
    for row, sae in zip(found.table.to_dict("records"), saes, strict=True):
        expected, count, predictions = slowly(sae, model, tokens, site, target or site)
        assert found.tokens == count
        mine = found.batches[found.batches["run_id"] == row["run_id"]]
        assert (mine["tokens"].sum(), mine["predictions"].sum()) == (count, predictions)
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=3e-4, abs=2e-6, nan_ok=True), name
    # 14 windows of 9 counted positions, less 4 + 2 of padding and 1 start token inside
    assert found.tokens == 14 * 9 - 7


def test_a_perfect_sae_recovers_everything(model, tokens):
    row = evaluate([perfect()], model, tokens, SITE, protocol="p").table.iloc[0]
    for name in ("loss_recovered", "loss_recovered_zero", "shrinkage", "cosine_similarity", "l2_ratio"):
        assert row[name] == pytest.approx(1, abs=1e-6), name
    assert row[["fvu", "mse", "kl"]].abs().max() < 1e-12
    assert row["ce_sae"] == row["ce_clean"] and row["l0"] == D


def test_a_zero_sae_is_zero_ablation_and_a_mean_sae_is_mean_ablation(model, tokens):
    mean = mean_activation(model, tokens)
    saes = [constant(torch.zeros(D), "zero"), constant(mean, "mean")]
    table = evaluate(saes, model, tokens, SITE, protocol="p").table.set_index("run_id")
    zero, flat = table.loc["zero"], table.loc["mean"]
    assert zero["ce_sae"] == zero["ce_zero_ablation"] and zero["loss_recovered_zero"] == 0
    assert zero[["l0", "l1", "alive_fraction", "l2_ratio", "cosine_similarity"]].eq(0).all()
    assert zero["frequency_below_1e5"] == 1 and math.isnan(zero["shrinkage"])
    assert flat["ce_sae"] == pytest.approx(flat["ce_mean_ablation"], rel=1e-7)
    assert flat["loss_recovered"] == pytest.approx(0, abs=1e-6) and flat["fvu"] == pytest.approx(1, rel=1e-6)


def test_mean_ablation_equals_the_language_models_own(model, tokens):
    row = evaluate([perfect()], model, tokens[:3], SITE, protocol="p").table.iloc[0]
    logits = model.ablated_logits(tokens[:3], SITE, mean_activation(model, tokens[:3]))
    losses = torch.nn.functional.cross_entropy(logits[:, 1:-1].flatten(0, 1), tokens[:3, 2:].flatten())
    assert row["ce_mean_ablation"] == pytest.approx(losses.item(), rel=1e-6)


def test_a_transcoder_that_is_the_mlp_recovers_everything(model, tokens):
    mlp = model.model.transformer.h[1].mlp
    saes = [Fixed(lambda x: mlp.act(mlp.c_fc(x)), mlp.c_proj, {"run_id": "mlp"},
                  dictionary_size=4 * D)]  # fmt: skip
    found = evaluate(saes, model, tokens, "mlp_in.1", "mlp_out.1", protocol="p").table.iloc[0]
    assert found["loss_recovered"] == pytest.approx(1, abs=1e-5) and found["fvu"] < 1e-10
    assert (found["site"], found["target_site"], found["layer"]) == ("mlp_in.1", "mlp_out.1", 1)


def test_batch_size_and_order_of_windows_change_only_rounding(model, tokens):
    saes = [Foreign(0, -0.5, {"run_id": "a"})]
    shuffled = tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0))]
    tables = [
        evaluate(saes, model, t, SITE, batch_size=b, protocol="p").table
        for t, b in ((tokens, 1), (tokens, 5), (tokens, 100), (shuffled, 4))
    ]
    stable = [c for c in tables[0] if not c.endswith("_se") and not c.startswith("error_linear")]
    for other in tables[1:]:
        pd.testing.assert_frame_equal(other[stable], tables[0][stable], rtol=1e-5, atol=1e-7)
    one = evaluate(saes, model, tokens[:1], SITE, protocol="p").table
    assert one.filter(like="_se").isna().all().all(), "one window has no spread"


def test_standard_errors_hardly_depend_on_the_batch_size(model, tokens):
    # the spread of windows is a fact of the text: a batch as large as the text must not hide it
    sae = [Foreign(0, -0.5, {"run_id": "a"})]
    fine, coarse = (
        evaluate(sae, model, tokens, SITE, batch_size=b, protocol="p").table.iloc[0] for b in (1, 1000)
    )
    for metric in ("l0", "fvu", "ce_sae", "mse"):
        assert 0.5 < coarse[f"{metric}_se"] / fine[f"{metric}_se"] < 2, metric


def test_members_do_not_influence_each_other(model, tokens):
    saes = [Foreign(i, -0.4 * i, {"run_id": f"f{i}"}) for i in range(3)]
    together = evaluate(saes, model, tokens, SITE, batch_size=4, protocol="p").table
    alone = pd.concat([evaluate([s], model, tokens, SITE, batch_size=4, protocol="p").table for s in saes])
    pd.testing.assert_frame_equal(together, alone.reset_index(drop=True), rtol=1e-9)


def test_saes_see_the_counted_positions_only(model, tokens):
    seen = []

    class Spy(Foreign):
        def encode(self, x):
            seen.append(x)
            return super().encode(x)

    evaluate([Spy(identity={"run_id": "spy"})], model, tokens, SITE, batch_size=4, protocol="p")
    expected = model.capture(tokens, [SITE])[SITE][model.counted(tokens)]
    torch.testing.assert_close(torch.cat(seen), expected)


def test_standard_errors_are_those_of_ratios_over_batches(model, tokens):
    """By the plain recipe: evaluate without each batch, from the sums; the mean activation is held."""
    found = evaluate([Foreign(0, -0.5, {"run_id": "a"})], model, tokens, SITE, batch_size=2, protocol="p")
    b, row = found.batches, found.table.iloc[0]
    assert len(b) == 14
    values = []
    for left in range(14):
        kept = b[b["batch"] != left].sum(numeric_only=True)
        ce = {k: kept[f"ce_{k}_sum"] / kept["predictions"] for k in ("clean", "sae", "zero", "mean")}
        values.append(
            {
                "fvu": kept["squared_error_sum"] / kept["centred_squares_sum"],
                "l0": kept["l0_sum"] / kept["tokens"],
                "ce_sae": ce["sae"],
                "loss_recovered": (ce["mean"] - ce["sae"]) / (ce["mean"] - ce["clean"]),
            }
        )
    for name, column in pd.DataFrame(values).items():
        expected = math.sqrt(13 / 14 * ((column - column.mean()) ** 2).sum())
        assert row[f"{name}_se"] == pytest.approx(expected, rel=1e-6), name
        assert row[f"{name}_se"] > 0


def test_frequency_shares_by_hand_and_their_errors():
    counts = np.array([0, 1, 20, 200, 2000])  # of 2000 tokens: 0, 5e-4, .01, .1, 1
    found = frequency_shares(counts, np.array(2000))
    assert found == {
        "alive_fraction": 0.8,
        "frequency_above_10pct": 0.2,
        "frequency_above_1pct": 0.4,
        "frequency_below_1e5": 0.2,
    }
    many = FiringCounts([3], batches=1000)
    for batch in range(1000):
        many.add_tokens(batch, 1)
        many.add(batch, 0, np.array([1, 0, batch % 2]))
    shares = many.shares(0)
    assert many.total(0).tolist() == [1000, 0, 500] and shares["alive_fraction"] == pytest.approx(2 / 3)
    assert shares["alive_fraction_se"] == 0, "in every half and quarter of the text the same two fire"
    assert np.isnan(share_errors(np.ones((3, 2)), np.ones(3))["alive_fraction"])


def test_errors_of_shares_are_the_scatter_over_fresh_texts():
    """150 texts of 16 batches: 400 latents of known frequencies, each with a mood of its own in every batch.

    The mean error is that of the shares over the texts, where the jackknife's is 1.5 to 2.5 times as large,
    and 95 % intervals hold the true mean in about 95 % of the texts.
    """
    draws, tokens = np.random.default_rng(0), np.full(16, 500)
    rates = 500 * np.exp(draws.normal(np.log(3e-3), 1.7, 400)).clip(0, 0.5)
    names = ("alive_fraction", "frequency_above_10pct", "frequency_above_1pct")
    found, errors, jackknife = [], [], []
    for _ in range(150):
        counts = draws.poisson(rates * draws.gamma(2, 0.5, (16, 400)))
        found.append([frequency_shares(counts.sum(0), tokens.sum())[n] for n in names])
        errors.append([share_errors(counts, tokens)[n] for n in names])
        left = frequency_shares(without_each(counts), without_each(tokens))
        jackknife.append([float(jackknife_error(left[n])) for n in names])
    scatter, centre = np.std(found, axis=0, ddof=1), np.mean(found, axis=0)
    assert np.sqrt(np.square(errors).mean(0)) / scatter == pytest.approx([1.0] * 3, abs=0.2)
    assert (np.sqrt(np.square(jackknife).mean(0)) / scatter > 1.3).all()
    inside = np.abs(np.array(found) - centre) < stats.t.ppf(0.975, 15) * np.array(errors)
    assert ((inside.mean(0) > 0.9) & (inside.mean(0) < 0.99)).all(), inside.mean(0)


def test_jackknife_of_a_mean_is_the_textbook_error():
    x = np.random.default_rng(0).normal(size=(11, 3))
    np.testing.assert_allclose(jackknife_error(without_each(x) / 10), x.std(0, ddof=1) / np.sqrt(11))
    assert np.isnan(jackknife_error(np.ones((1, 2)))).all()


def linear_error(x, errors, batches, mean=None):
    made = LinearError(
        len(errors), x.shape[1], errors[0].shape[1], batches, x.mean(0) if mean is None else mean
    )
    for b, rows in enumerate(torch.arange(len(x)).tensor_split(batches)):
        made.start(b, x[rows])
        for m, e in enumerate(errors):
            made.add(m, e[rows])
    return [v.numpy() for v in made.fractions()]


def left_by_least_squares(parts):
    """Σ‖e − A x − b‖² over parts (x, e), each with numpy's least squares on the others.

    What leaves a LayerNorm has one direction without variance: rcond keeps rounding noise out of it.
    """
    left = 0.0
    for i, (x, e) in enumerate(parts):
        others = [np.concatenate(v) for v in zip(*(p for j, p in enumerate(parts) if j != i), strict=True)]
        left += np.square(e - x @ np.linalg.lstsq(*others, rcond=1e-5)[0]).sum()
    return left


def fraction_by_least_squares(parts):
    errors = np.concatenate([e for _, e in parts])
    return 1 - left_by_least_squares(parts) / np.square(errors - errors.mean(0)).sum()


@pytest.mark.parametrize(("d_in", "d_out"), [(5, 7), (9, 2)])
def test_linear_fraction_equals_least_squares_on_the_other_groups_and_its_error_refits(d_in, d_out):
    """Two SAEs side by side, each against numpy's least squares with every group left out in turn."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(600, d_in, generator=g) + 3
    bent = torch.tanh(x @ torch.randn(d_in, d_out, generator=g)) + 1
    errors = [bent + noise * torch.randn(600, d_out, generator=g) for noise in (0.3, 0.6)]
    found = linear_error(x, errors, 16)
    X = np.column_stack([x.numpy(), np.ones(600)]).astype(float)
    batches = np.array_split(np.arange(600), 16)
    groups = [np.concatenate(batches[i : i + 2]) for i in range(0, 16, 2)]
    for e, fraction, error in zip(errors, *found, strict=True):
        parts = [(X[rows], e.numpy().astype(float)[rows]) for rows in groups]
        assert fraction == pytest.approx(fraction_by_least_squares(parts), rel=1e-6)
        left = [fraction_by_least_squares(parts[:i] + parts[i + 1 :]) for i in range(8)]
        assert error == pytest.approx(float(jackknife_error(np.array(left))), rel=1e-4)
        assert 0.02 < fraction < 0.8 and 0 < error < 0.1


@pytest.mark.parametrize("strength", [0.2, 1.5])
def test_errors_of_the_linear_fraction_are_its_scatter_over_fresh_texts(strength):
    """40 texts of 16 batches with spreads of their own; an error of weak and of strong linear part."""
    g = torch.Generator().manual_seed(0)
    d, found = 12, []
    weights = strength * torch.randn(d, d, generator=g) / d**0.5
    for _ in range(40):
        spread = (0.25 + 1.5 * torch.rand(16, d, generator=g)).repeat_interleave(40, 0)
        x = torch.randn(640, d, generator=g) * spread
        noise = torch.randn(640, d, generator=g) * (0.5 + torch.rand(16, 1, generator=g)).repeat_interleave(
            40, 0
        )
        found.append([float(v[0]) for v in linear_error(x, [x @ weights + noise], 16)])
    values, errors = np.array(found).T
    assert 0.75 < np.sqrt(np.square(errors).mean()) / values.std(ddof=1) < 1.3


def test_linear_fraction_of_linear_of_unpredictable_and_of_mixed_errors():
    g = torch.Generator().manual_seed(1)
    n, d = 4000, 20
    x = torch.randn(n, d, generator=g) @ torch.randn(d, d, generator=g) + 10
    linear = x @ torch.randn(d, d, generator=g)
    linear = linear / linear.std(0)
    noise = torch.randn(n, d, generator=g)
    (one, none, half), errors = linear_error(x, [linear, noise, linear + noise], 16)
    assert one == pytest.approx(1, abs=1e-6)
    # fitted and scored on the same tokens, noise would give + d/n = + .005; on others - d/(7n/8) = - .006
    assert none == pytest.approx(-8 / 7 * d / n, abs=0.004)
    assert half == pytest.approx(0.5, abs=0.02)
    assert (errors[1:] > 0).all() and errors[2] < 0.02


def test_linear_fraction_with_dependent_inputs_and_with_few_tokens():
    g = torch.Generator().manual_seed(2)
    x = torch.randn(400, 3, generator=g)
    twice = torch.cat([x, x, torch.zeros(400, 2)], dim=1)
    e = x @ torch.randn(3, 4, generator=g) + torch.randn(400, 4, generator=g)
    np.testing.assert_allclose(linear_error(twice, [e], 8)[0], linear_error(x, [e], 8)[0], atol=1e-5)
    assert np.isnan(linear_error(x[:8], [e[:8]], 2)[0]).all(), "four tokens in each half, four coefficients"
    assert np.isnan(linear_error(x, [e], 1)[0]).all()
    found, error = linear_error(x, [e], 2)
    assert np.isfinite(found).all() and np.isnan(error).all()
    assert np.isfinite(linear_error(x, [e], 7)[0]).all()


def test_the_error_that_is_explained_is_target_minus_reconstruction(model, tokens, monkeypatch):
    monkeypatch.setattr(one_pass, "LEAST_BATCHES", 1)
    sae = Foreign(1, -0.2, {"run_id": "a"})
    row = evaluate([sae], model, tokens, "mlp_in.1", "mlp_out.1", batch_size=2, protocol="p").table.iloc[0]
    parts = []
    for windows in tokens.view(7, 2, 10):
        found = model.capture(windows, ["mlp_in.1", "mlp_out.1"])
        x, t = (v[model.counted(windows)] for v in found.values())
        parts.append(
            (np.column_stack([x, np.ones(len(x))]).astype(float), (t - sae.decode(sae.encode(x))).numpy())
        )
    expected = fraction_by_least_squares(parts)
    assert row["error_linear_fraction"] == pytest.approx(expected, abs=1e-4)
    assert abs(expected) > 0.05 and row["error_linear_fraction_se"] > 0


def test_an_sae_that_shrinks_has_a_linear_error(model, tokens):
    half = Fixed(
        lambda x: torch.cat([x, -x], 1).clamp_min(0), lambda f: 0.5 * (f[:, :D] - f[:, D:]), {"run_id": "h"}
    )
    row = evaluate([half], model, tokens, SITE, batch_size=2, protocol="p").table.iloc[0]
    assert row["error_linear_fraction"] == pytest.approx(1, abs=1e-5)
    assert row["shrinkage"] == pytest.approx(0.5) and row["fvu"] > 0


def test_our_own_sae_and_its_identity(model, tokens):
    parameters = {
        "W_enc": torch.randn(D, F, generator=torch.Generator().manual_seed(0)), "b_enc": torch.ones(F),
        "b_dec": torch.zeros(D), "W_dec": torch.randn(F, D, generator=torch.Generator().manual_seed(1)),
    }  # fmt: skip
    kind: Architecture = TopK()
    try:
        sae = SAE(kind, parameters | {"k": torch.tensor(3.0)}, {"run_id": "t", "family": "topk", "seed": 4})
        sae.encode(torch.zeros(2, D))
    except KeyError as error:  # pragma: no cover
        pytest.fail(f"parameters of TopK: {error}")
    row = evaluate([sae], model, tokens, SITE, protocol="p").table.iloc[0]
    assert (row["family"], row["seed"], row["dictionary_size"], row["d_model"]) == ("topk", 4, F, D)
    assert (row["model"], row["site"], row["layer"]) == ("random", "mlp_out.1", 1)
    assert (row["protocol"], row["ablation"], row["source"]) == ("p", "mean", "trainers")


@pytest.fixture(scope="module")
def family():
    """Two families on the shipped model: a latent per direction and sign, kept above a threshold."""
    shipped = load_language_model(device="cpu")
    ids = torch.tensor(shipped.encode(inspect.getsource(frontier.curves))[: 24 * 63]).view(24, 63)
    windows = torch.cat([torch.full((24, 1), shipped.start_token), ids], dim=1)
    size = shipped.capture(windows, [SITE])[SITE][:, 1:].std().item()
    width, saes = shipped.d_model, []
    for name, scale in (("relu", 0.8), ("gated", 1.0)):
        for i in range(6):
            identity = {"run_id": f"{name}/{i}", "family": name, "architecture": name}

            def encode(x, threshold=size * 0.6 * 1.2**i):
                both = torch.cat([x, -x], 1)
                return both * (both > threshold)

            def decode(f, scale=scale):
                return scale * (f[:, :width] - f[:, width:])

            saes.append(Fixed(encode, decode, identity, width, width, 2 * width))
    return evaluate(saes, shipped, windows, SITE, batch_size=3, protocol="p")


def test_the_table_is_a_metrics_table_and_can_be_compared(family):
    table = frontier.metrics_table(family.table)
    assert table.attrs["frontier_notes"] == []
    assert table["excluded_because"].isna().all()
    np.testing.assert_array_equal(table["loss_recovered"], family.table["loss_recovered"])
    front = frontier.pareto_set(table, by=["family"])
    assert len(front) >= 6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # six made-up points: doubts are in order
        text = str(frontier.compare(table, "relu"))
    assert "gated" in text


def test_save_and_load(family, tmp_path):
    folder = family.save(tmp_path / "e")
    assert sorted(p.name for p in folder.iterdir()) == [
        "batches.parquet",
        "frequencies.safetensors",
        "metrics.parquet",
    ]
    again = Evaluation.load(folder)
    pd.testing.assert_frame_equal(again.table, family.table, check_dtype=False)
    pd.testing.assert_frame_equal(again.batches, family.batches, check_dtype=False)
    assert again.tokens == family.tokens and list(again.frequencies) == list(family.frequencies)
    for name, counts in family.frequencies.items():
        np.testing.assert_array_equal(again.frequencies[name], counts)
    assert len(frontier.read(folder / "metrics.parquet")) == len(family.table)
    (folder / "frequencies.safetensors").write_bytes(b"torn")
    with pytest.raises(EvaluationError, match="no evaluation in"):
        Evaluation.load(folder)
    with pytest.raises(EvaluationError, match="no evaluation in"):
        Evaluation.load(tmp_path / "absent")


@pytest.mark.parametrize("kept", ["", "the table of before is unchanged"])
def test_a_fault_in_the_last_file_leaves_no_mixture(family, tmp_path, monkeypatch, kept):
    folder = family.save(tmp_path / "e")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    other = dataclasses.replace(family, table=family.table.iloc[:1], batches=family.batches.iloc[:1])
    said = f"frequencies.safetensors could not be written: No .* device; {kept or 'what was there before is'}"
    with pytest.raises(WriteError, match=said):
        other.save(folder, kept)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_histogram_has_the_dead_apart_and_holds_every_latent():
    counts = np.array([0, 0, 1, 2, 20, 200, 2000])
    made = Evaluation(pd.DataFrame(), pd.DataFrame(), {"a": counts}, 2000)
    found = made.histogram("a", per_decade=1)
    np.testing.assert_allclose(found["low"], [0, 1e-4, 1e-3, 1e-2, 1e-1])
    np.testing.assert_allclose(found["high"], [0, 1e-3, 1e-2, 1e-1, 1])
    # never; 5e-4 and 1e-3; 1e-2; 1e-1; 1
    assert found["latents"].tolist() == [2, 2, 1, 1, 1]
    assert made.histogram("a")["latents"].sum() == 7
    with pytest.raises(EvaluationError, match="no SAE 'b'"):
        made.histogram("b")


def test_paired_differences(family):
    values = family.table.set_index("run_id")
    found, error = family.difference("ce_sae", "gated/3", "relu/3")
    assert found == pytest.approx(values.loc["gated/3", "ce_sae"] - values.loc["relu/3", "ce_sae"], abs=1e-12)
    unpaired = math.hypot(values.loc["gated/3", "ce_sae_se"], values.loc["relu/3", "ce_sae_se"])
    assert 0 < error < unpaired, "the same text, so the spread between batches cancels"
    assert family.difference("kl", "relu/1", "relu/1") == (0.0, 0.0)
    with pytest.raises(EvaluationError, match=r"no metric 'kll'.*did you mean 'kl'"):
        family.difference("kll", "relu/1", "relu/2")
    with pytest.raises(EvaluationError, match="no SAE 'relu/9'"):
        family.difference("kl", "relu/9", "relu/2")


def test_loss_recovered_is_missing_where_ablation_lowers_the_loss():
    """By hand: clean 3, SAE 2.5, mean ablation 2, zero ablation 4 nats; (2 - 2.5) / (2 - 3) would be 0.5."""
    sums = dict.fromkeys((*PER_MEMBER, *SHARED), np.array([1.0]))
    sums |= {"ce_clean": np.array([3.0]), "ce_sae": np.array([2.5]), "ce_mean": np.array([2.0])}
    found = metrics_of(sums | {"ce_zero": np.array([4.0])})
    assert np.isnan(found["loss_recovered"][0]) and found["loss_recovered_zero"][0] == 1.5


def test_kl_of_masked_tokens_is_a_number():
    """Two tokens of three: 0 log 0 is 0. By hand: (ln 2 + ln(2/3)) / 2."""
    never = float("-inf")
    clean, other = torch.tensor([0.0, 0.0, never]), torch.tensor([0.0, math.log(3), never])
    assert float(kl_from(clean, other)) == pytest.approx(0.5 * (math.log(2) + math.log(2 / 3)))
    assert float(kl_from(clean, torch.tensor([0.0, never, never]))) == math.inf
    grown = torch.tensor([0.0, 1.0, never], requires_grad=True)
    kl_from(clean, grown).backward()
    assert bool(grown.grad.isfinite().all())


def test_nan_in_activations_names_site_and_batch(tokens):
    broken = gpt2()
    broken.model.transformer.wte.weight[7] = math.nan
    with_seven = tokens.clone()
    with_seven[with_seven == 7] = 8
    with_seven[13, 9] = 7
    with pytest.raises(
        EvaluationError, match=r"activations at mlp_out.1 hold NaN or infinity in batch 13, at 9 pos"
    ):
        evaluate([perfect()], broken, with_seven, SITE, batch_size=4, protocol="p")


def test_an_sae_that_gives_nan_has_missing_metrics_and_a_warning(model, tokens):
    lost = Fixed(lambda x: torch.full((len(x), 2 * D), math.nan), lambda f: f[:, :D], {"run_id": "lost"})
    with pytest.warns(
        UserWarning, match="SAE 'lost' gives NaN or infinity in batch 0; its metrics are missing"
    ) as said:
        found = evaluate([perfect(), lost], model, tokens, SITE, batch_size=4, protocol="p")
    assert len(said) == 1
    row = found.table.set_index("run_id").loc["lost"]
    measured = [c for c in found.table if c in row.index and isinstance(row[c], float)]
    assert {"l0", "fvu", "ce_clean", "alive_fraction", "error_linear_fraction"} <= set(measured)
    assert row[measured].isna().all()
    assert np.isfinite(found.table.loc[0, "loss_recovered"])
    table = frontier.metrics_table(found.table)
    assert table["excluded_because"].tolist()[1] == "l0 is missing"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"saes": []}, "no SAEs to evaluate"),
        ({"saes": [perfect(), perfect()]}, "run_id 'perfect' names several SAEs"),
        (
            {"saes": [Foreign(d_in=5, identity={"run_id": "x"})]},
            "SAE 'x' maps 5 to 12 dimensions; mlp_out.1 has 12",
        ),
        ({"target_site": "mlp_neurons.1"}, "mlp_out.1 has 12 and mlp_neurons.1 has 48"),
        ({"tokens": torch.zeros(3, dtype=torch.long)}, r"wanted windows of tokens \[n, T\], got \[3\]"),
        ({"tokens": torch.ones(3, 4, dtype=torch.long)}, r"no position counts in 3 windows.*\(0, 1\)"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_evaluated(model, tokens, changes, message):
    given = {"saes": [perfect()], "model": model, "tokens": tokens, "site": SITE, "protocol": "p"} | changes
    with pytest.raises(EvaluationError, match=message):
        evaluate(**given)


def test_a_wrong_reconstruction_shape_is_an_error(model, tokens):
    odd = Fixed(lambda x: x, lambda f: f[:, :3], {"run_id": "odd"})
    with pytest.raises(EvaluationError, match=r"SAE 'odd' gives \[\d+, 3\], the activations are \[\d+, 12\]"):
        evaluate([odd], model, tokens, SITE, protocol="p")


def test_progress_when_asked(model, tokens, capfd, monkeypatch):
    monkeypatch.setattr(one_pass, "LEAST_BATCHES", 1)
    calls = []
    given = {"batch_size": 7, "protocol": "p", "progress": lambda *call: calls.append(call)}
    evaluate([perfect()], model, tokens, SITE, **given)
    assert calls == [
        ("mean activation", 1, 2), ("mean activation", 2, 2), ("evaluating", 1, 2), ("evaluating", 2, 2)
    ]  # fmt: skip
    evaluate([perfect()], model, tokens, SITE, protocol="p", progress=True)
    assert capfd.readouterr() == ("", ""), "a bar is for terminals"
