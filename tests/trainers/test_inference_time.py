"""Pursuits against loops over tokens with numpy and scipy; frontiers of dictionaries without encoders."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from after_training_cases import SITE, D, F, Foreign, counted_activations, language_model, relu_sae, text
from matplotlib import pyplot as plt
from scipy.optimize import nnls

from frontier.studies.figures import plot_inference_time
from trainers.architectures import ReLU
from trainers.evaluate import evaluate
from trainers.sae import SAE
from trainers.studies.inference_time import (
    METHODS,
    Pursued,
    PursuedCodes,
    best_dictionaries,
    encoder_costs,
    pursue,
    pursuit_costs,
)
from trainers.studies.pursuit import gradient_pursuit, orthogonal_matching_pursuit
from trainers.studies.variants import VariantError

torch.set_num_threads(1)


def case(seed=0, tokens=40, width=D, size=F):
    g = torch.Generator().manual_seed(seed)
    decoder = torch.randn(size, width, generator=g) * (0.3 + 2 * torch.rand(size, 1, generator=g))
    return torch.randn(tokens, width, generator=g), decoder


def plain_omp(x, decoder, k, signed):
    """One token: numpy lstsq (or scipy nnls) on the chosen rows after every choice."""
    rows = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
    chosen, fitted, residual = [], np.zeros(0), x
    for _ in range(k):
        along = rows @ residual
        along = np.abs(along) if signed else along
        along[chosen] = -1
        if along.max() <= 1e-9:
            break
        chosen.append(int(along.argmax()))
        part = decoder[chosen].T
        fitted = np.linalg.lstsq(part, x, rcond=None)[0] if signed else nnls(part, x)[0]
        residual = x - part @ fitted
    codes = np.zeros(len(decoder))
    codes[chosen] = fitted
    return codes


def plain_gradient_pursuit(x, decoder, k, signed):
    """One token, from the definition: the step a = ⟨r, c⟩/‖c‖² along the gradient on the chosen rows."""
    lengths = np.linalg.norm(decoder, axis=1)
    rows, codes, chosen = decoder / lengths[:, None], np.zeros(len(decoder)), []
    for _ in range(k):
        residual = x - codes @ rows
        along = rows @ residual
        order = np.abs(along) if signed else along.copy()
        order[chosen] = -1
        if order.max() > 0:
            chosen.append(int(order.argmax()))
        gradient = np.where(np.isin(np.arange(len(codes)), chosen), along, 0)
        image = gradient @ rows
        codes = codes + (residual @ image) / max(image @ image, 1e-30) * gradient
        codes = codes if signed else np.maximum(codes, 0)
    return codes / lengths


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_omp_equals_the_loop_at_every_target(signed, seed):
    x, decoder = case(seed)
    targets = (1, 2, 5, 8)
    found = orthogonal_matching_pursuit(x.double(), decoder.double(), targets, signed=signed)
    for k in targets:
        wanted = np.array([plain_omp(one, decoder.double().numpy(), k, signed) for one in x.double().numpy()])
        np.testing.assert_allclose(found[k].numpy(), wanted, rtol=1e-7, atol=1e-9)
        assert int((found[k] != 0).sum(1).max()) <= k


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("size", [F, 5])
def test_gradient_pursuit_equals_the_loop_at_every_target(signed, size):
    """With 5 rows many tokens find no further row that helps, and some find one again later."""
    x, decoder = case(2, size=size)
    targets = (1, 3, min(7, size))
    found = gradient_pursuit(x.double(), decoder.double(), targets, signed=signed)
    for k in targets:
        plain = [
            plain_gradient_pursuit(one, decoder.double().numpy(), k, signed) for one in x.double().numpy()
        ]
        np.testing.assert_allclose(found[k].numpy(), np.array(plain), rtol=1e-6, atol=1e-9)


def test_sparse_signals_are_recovered():
    """Sums of three rows of a dictionary of nearly orthogonal rows come back as they were made."""
    g = torch.Generator().manual_seed(0)
    decoder = 3 * torch.nn.functional.normalize(torch.randn(64, 400, generator=g), dim=1)
    truth = torch.zeros(30, 64)
    truth.scatter_(1, torch.rand(30, 64, generator=g).topk(3).indices, 1 + torch.rand(30, 3, generator=g))
    found = orthogonal_matching_pursuit(truth @ decoder, decoder, [3])[3]
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS.values())
def test_codes_are_non_negative_and_error_falls_with_the_target(method):
    x, decoder = case(3)
    found = method(x, decoder, range(1, D + 1))
    errors = [float((x - f @ decoder).square().sum()) for f in found.values()]
    assert all(float(f.min()) >= 0 for f in found.values())
    assert all(b <= a * (1 + 1e-5) for a, b in pairwise(errors)), errors


def test_omp_is_at_least_as_good_as_gradient_pursuit_on_average():
    x, decoder = case(4, tokens=300)
    codes = [method(x, decoder, [5])[5] for method in METHODS.values()]
    orthogonal, gradient = (float((x - f @ decoder).square().sum()) for f in codes)
    assert orthogonal < gradient


@pytest.mark.slow
def test_rows_of_length_zero_and_equal_rows_do_no_harm():
    x, decoder = case(5)
    decoder[3], decoder[7] = 0, decoder[6]
    for method in METHODS.values():
        found = method(x, decoder, [1, F])
        assert all(torch.isfinite(f).all() for f in found.values())
        assert not found[F][:, 3].any()
    assert torch.isfinite(orthogonal_matching_pursuit(x, decoder, [D], signed=True)[D]).all()


def test_a_token_that_no_row_helps_stays_empty():
    decoder = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    for method in METHODS.values():
        assert method(torch.tensor([[-1.0, -2.0], [3.0, -1.0]]), decoder, [2])[2].tolist() == [[0, 0], [3, 0]]


# ---------------------------------------------------------------- with a language model


@pytest.fixture(scope="module")
def model():
    return language_model()


@pytest.mark.parametrize("method", METHODS)
def test_rows_equal_an_evaluation_of_each_alone(model, method):
    tokens = text(model, 2)
    options = {"protocol": "p", "batch_size": 4}
    saes = [relu_sae(0), Foreign(0, identity={"run_id": "f", "architecture": "relu"})]
    found = pursue(saes, model, tokens, SITE, targets=[2, 4], method=method, **options)
    alone = [
        Pursued(PursuedCodes(s, [k], method), n, k) for s, n in zip(saes, "sf", strict=True) for k in (2, 4)
    ]
    for one, name in zip(alone, ("s0", "s0", "f", "f"), strict=True):
        one.identity |= {"parent": name, "run_id": f"{name} + {method} {one.target}"}
    wanted = evaluate([saes[0], *alone[:2], saes[1], *alone[2:]], model, tokens, SITE, **options).table
    pd.testing.assert_frame_equal(found.table, wanted, check_like=True)
    assert found.table["family"].tolist()[1:3] == [f"relu + {method}"] * 2
    assert found.table["sparsity_name"].tolist()[1:3] == ["target L0"] * 2
    assert (found.table["l0"][[1, 2]] <= [2, 4]).all()


def test_pursuit_runs_once_per_batch_for_all_targets(model):
    sae = relu_sae(0)
    codes = PursuedCodes(sae, (1, 3))
    x = counted_activations(model, text(model, 1))
    codes(x, 1)
    kept = codes._codes
    codes(x, 3)
    assert codes._codes is kept
    codes(x.clone(), 3)
    assert codes._codes is not kept


def test_an_encoder_that_is_worse_than_its_dictionary_costs_something(model):
    """A good dictionary behind an encoder with shuffled latents."""
    g = torch.Generator().manual_seed(0)
    bad = relu_sae(0, -0.2)
    p = bad.parameters
    order = torch.randperm(F, generator=g)
    bad = SAE(ReLU(), p | {"W_enc": p["W_enc"][:, order]}, bad.identity)
    found = pursue([bad], model, text(model, 2), SITE, targets=range(1, 12), protocol="p", batch_size=2)
    costs = encoder_costs(found, "mse").iloc[0]
    sparse, dense = (found.table.iloc[int(f(costs["l0"]))]["mse"] for f in (np.floor, np.ceil))
    own = found.table.iloc[0]["mse"]
    assert own - sparse <= costs["cost"] <= own - dense
    assert costs["cost_low"] > 0 and costs["family"] == "relu"


def test_where_the_pursuit_needs_fewer_latents_it_is_compared_at_what_it_reached(model):
    """20 latents are allowed, but with codes ≥ 0 none helps any more long before; the SAE fires more."""
    sae, targets = relu_sae(0, 0.6), [1, 4, F]
    found = pursue([sae], model, text(model, 2), SITE, targets=targets, protocol="p", batch_size=2)
    own, last = found.table.iloc[0], found.table.iloc[-1]
    assert last["l0"] < own["l0"] < F
    row = encoder_costs(found, "mse").iloc[0]
    assert (row["l0"], row["l0_pursued"]) == pytest.approx((own["l0"], last["l0"]), rel=1e-12)
    value, se = found.difference("mse", own["run_id"], last["run_id"])
    assert row["cost"] == pytest.approx(value, rel=1e-9)
    assert row["cost_high"] - row["cost"] == pytest.approx(2.131450 * se, rel=1e-6)  # t of 15 df, 97.5 %
    beyond = pursue([sae], model, text(model, 2), SITE, targets=[1, 4], protocol="p", batch_size=2)
    assert encoder_costs(beyond, "mse")["cost"].isna().all(), "no target was as large as the SAE's L0"


def test_what_gradient_pursuit_costs_is_the_ratio_of_the_loops(model):
    sae, tokens = relu_sae(0), text(model, 1)
    row = pursuit_costs([sae], model, tokens, SITE, targets=[2, 5]).iloc[1]
    x = (counted_activations(model, tokens) - sae.parameters["b_dec"]).double().numpy()
    rows = sae.parameters["W_dec"].double().numpy()
    codes = [np.array([f(one, rows, 5, False) for one in x]) for f in (plain_gradient_pursuit, plain_omp)]
    errors = [np.square(x - c @ rows).sum() for c in codes]
    assert row["mse_ratio"] == pytest.approx(errors[0] / errors[1], rel=1e-4) and row["mse_ratio"] > 1.001
    wanted = [(c > 1e-7).sum() / len(x) for c in codes]
    assert (row["l0"], row["l0_exact"]) == pytest.approx(wanted, rel=1e-3)


def test_the_best_dictionary_is_that_of_the_plain_loop(model):
    saes, tokens = [relu_sae(i, name=f"s{i}") for i in range(3)], text(model, 1)
    found = best_dictionaries(saes, model, tokens, SITE, targets=[1, 3])
    x = counted_activations(model, tokens)
    for row in found.to_dict("records"):
        errors = {}
        for sae in saes:
            rows, bias = sae.parameters["W_dec"], sae.parameters["b_dec"]
            plain = [plain_omp(one, rows.numpy(), row["target"], False) for one in (x - bias).numpy()]
            left = (x - bias).numpy() - np.array(plain) @ rows.numpy()
            errors[sae.identity["run_id"]] = float(np.square(left).sum(1).mean())
        assert row["parent"] == min(errors, key=errors.get)
        assert row["mse"] == pytest.approx(min(errors.values()), rel=1e-5)
        assert row["run_id"] == f"{row['parent']} + orthogonal matching pursuit {row['target']}"


def test_faults_are_named():
    x, decoder = case()
    with pytest.raises(ValueError, match="from 1 to 20 latents, got 21"):
        orthogonal_matching_pursuit(x, decoder, [2, 21])
    with pytest.raises(VariantError, match=r"unknown pursuit 'gradient'.*did you mean 'gradient pursuit'"):
        PursuedCodes(relu_sae(0), [1], "gradient")
    transcoder = Foreign(0)
    transcoder.d_out = 5
    with pytest.raises(VariantError, match="is a transcoder"):
        PursuedCodes(transcoder, [1])


def test_the_figure_draws_each_family_with_and_without_encoder(model):
    saes = [relu_sae(0), relu_sae(1, -0.3)]
    found = pursue(saes, model, text(model, 2), SITE, targets=[1, 3], protocol="p", batch_size=4)
    best = best_dictionaries(saes, model, text(model, 1), SITE, targets=[1, 3])
    ax = plot_inference_time(found, chosen=list(best["run_id"]), reference="relu")
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 2]  # two SAEs; two targets
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["relu", "with encoder", "pursued codes"]
    plt.close("all")
