"""Rescale and shift against bounded least squares on the plain design matrix; shrinkage cured; recipes."""

import numpy as np
import pytest
import torch
from after_training_cases import SITE, D, F, Foreign, counted_activations, language_model, relu_sae, text
from matplotlib import pyplot as plt
from scipy.optimize import lsq_linear

from frontier.studies.figures import plot_shrinkage
from trainers import recipes
from trainers.architectures import Gated, TopK
from trainers.evaluate import evaluate
from trainers.sae import SAE
from trainers.sae_files import load_sae, save_sae
from trainers.studies.rescale import (
    LARGEST,
    SMALLEST_GAIN,
    Rescaled,
    as_gated,
    best_magnitudes,
    moments,
    rescale,
)
from trainers.studies.variants import VariantError

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    return language_model()


@pytest.fixture(scope="module")
def x(model):
    return counted_activations(model, text(model, 1, windows=40))


def plain_design(sae, x):
    """Columns f_i D_i and 1[f_i > 0] D_i, one row per token and dimension, and what they shall sum to."""
    f = sae.encode(x).double().numpy()
    rows, bias = (sae.parameters[k].double().numpy() for k in ("W_dec", "b_dec"))
    columns = [np.outer(f[:, i], rows[i]).ravel() for i in range(F)]
    columns += [np.outer(f[:, i] > 0, rows[i]).ravel() for i in range(F)]
    return np.array(columns).T, (x.double().numpy() - bias).ravel()


@pytest.mark.parametrize("bias", [0.5, -0.3])
def test_magnitudes_equal_bounded_least_squares(x, bias):
    sae = relu_sae(1, bias)
    design, wanted = plain_design(sae, x)
    low = np.concatenate([np.full(F, SMALLEST_GAIN), np.zeros(F)])
    exact = lsq_linear(design, wanted, (low, np.full(2 * F, np.inf)), method="bvls", tol=1e-12)
    found = moments(sae, [(part, part) for part in x.split(50)])
    gain, shift = best_magnitudes(found, ridge=0)
    assert float(gain.min()) >= SMALLEST_GAIN - 1e-8 and float(shift.min()) >= 0
    theta = torch.cat([gain, shift]).double()
    least = 2 * exact.cost / len(x)
    assert found.error(theta) == pytest.approx(least, rel=1e-5)
    alive = (sae.encode(x) > 0).sum(0) > 5
    np.testing.assert_allclose(theta[:F][alive], exact.x[:F][alive], rtol=0.02, atol=0.02)


def test_moments_are_the_plain_squared_error(x):
    sae = relu_sae(2)
    gain, shift = 0.5 + torch.rand(F), torch.rand(F)
    plain = Rescaled(sae, "p", gain, shift)
    found = moments(sae, [(part, part) for part in x.split(33)])
    wanted = float((plain(x) - x).square().sum(1).mean())
    assert found.error(torch.cat([gain, shift]).double()) == pytest.approx(wanted, rel=1e-5)


def test_a_shrunken_sae_gets_its_magnitudes_back(x):
    """Targets made by a dictionary; the SAE detects the same, but with 0.4 f − 0.1: a = 2.5, c = 0.25."""
    sae = relu_sae(3, 0.2)
    target = sae(x)
    short = Rescaled(sae, "p", torch.full((F,), 0.4), torch.full((F,), -0.1))
    short.encode = lambda v: ((0.4 * sae.encode(v) - 0.1) * (sae.encode(v) > 0)).abs()
    exact = (0.4 * sae.encode(x) - 0.1)[sae.encode(x) > 0]
    tokens = ((0.4 * sae.encode(x) - 0.1 > 0) == (sae.encode(x) > 0)).all(1)  # where no code changed its sign
    assert tokens.sum() > 30 and (exact > 0).any()
    gain, shift = best_magnitudes(moments(short, [(x[tokens], target[tokens])]), ridge=1e-9)
    fitted = Rescaled(short, "p", gain, shift)
    torch.testing.assert_close(fitted(x[tokens]), target[tokens], rtol=1e-2, atol=1e-2)
    often = (sae.encode(x[tokens]) > 0).sum(0) > 15
    np.testing.assert_allclose(gain[often], 2.5, rtol=0.05)


def test_silent_latents_keep_their_magnitudes(x):
    sae = relu_sae(0)
    sae.parameters["b_enc"][4] = -1e6
    gain, shift = best_magnitudes(moments(sae, [(x, x)]))
    assert (float(gain[4]), float(shift[4])) == (1, 0)


def test_detections_stay_and_the_gated_form_is_the_same(x, tmp_path):
    sae = relu_sae(0)
    gain, shift = best_magnitudes(moments(sae, [(x, x)]))
    gated, wrapped = as_gated(sae, "s0", gain, shift), Rescaled(sae, "s0", gain, shift)
    torch.testing.assert_close(gated.encode(x), wrapped.encode(x), rtol=1e-4, atol=1e-5)
    assert torch.equal(gated.encode(x) != 0, sae.encode(x) != 0)
    assert isinstance(gated.architecture, Gated) and gated.identity == wrapped.identity
    again = load_sae(save_sae(gated, tmp_path / "g"))
    assert torch.equal(again(x), gated(x)) and again.identity["family"] == "relu + rescale and shift"


def test_the_family_has_less_error_and_no_shrinkage_at_equal_l0(model):
    """On the text it was fitted on the least-squares optimum has Σ x̂·(x − x̂) ≈ 0 about the bias."""
    tokens = text(model, 1, windows=40)
    saes = [relu_sae(i, b) for i, b in enumerate((0.4, 0.0))]
    fitted = rescale(saes, model, tokens, SITE)
    table = evaluate([*saes, *fitted], model, tokens, SITE, protocol="p", batch_size=8).table
    before, after = table[:2].reset_index(), table[2:].reset_index()
    assert (after["l0"] == before["l0"]).all() and (after["mse"] < before["mse"]).all()
    assert ((after["shrinkage"] - 1).abs() < 0.05).all()
    assert after["parent"].tolist() == ["s0", "s1"] and after["sparsity_setting"].tolist() == [0.4, 0.0]


def test_other_architectures_and_foreign_saes_are_wrapped(model, x):
    p = relu_sae(0).parameters | {"k": torch.tensor(4)}
    topk, foreign = SAE(TopK(), p, {"run_id": "t", "architecture": "topk"}), Foreign(0)
    found = rescale([topk, foreign], model, text(model, 1), SITE)
    assert [type(f) for f in found] == [Rescaled, Rescaled]
    assert found[0].identity["family"] == "topk + rescale and shift"
    assert torch.equal(found[0].encode(x) != 0, topk.encode(x) != 0)


def test_faults_are_named():
    with pytest.raises(VariantError, match="no activations to fit"):
        moments(relu_sae(0), [])
    large = Foreign(0)
    large.dictionary_size = LARGEST + 1
    with pytest.raises(VariantError, match="8193 latents"):
        moments(large, [(torch.zeros(1, D), torch.zeros(1, D))])


def test_the_recipe_of_the_ablations_has_every_option_of_gated():
    sections = recipes.gated_ablations().families
    assert [len(s.options) for s in sections] == [0, 1, 1, 1, 1] and len({s.name for s in sections}) == 5
    changed = {k for s in sections for k, v in s.options.items() if v is False}
    assert changed == {"auxiliary", "frozen_decoder", "rescale", "tied"}


def test_the_figure_has_a_line_per_family(model):
    tokens = text(model, 1, windows=40)
    saes = [relu_sae(i, b) for i, b in enumerate((0.4, 0.0))]
    found = evaluate(
        [*saes, *rescale(saes, model, tokens, SITE)], model, tokens, SITE, protocol="p", batch_size=8
    )
    ax = plot_shrinkage(found, reference="relu")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["relu", "relu + rescale and shift"]
    assert len(ax.containers) == 2
    with pytest.raises(ValueError, match=r"no column 'shrinkag'.*did you mean 'shrinkage'"):
        plot_shrinkage(found, metric="shrinkag")
    plt.close("all")
