"""Skip transcoders: W_skip beside the latents, in training, evaluation, pruning and the folding of scales."""

import re

import numpy as np
import pytest
import torch
from after_training_cases import counted_activations, language_model, text
from small_runs import small
from test_architectures import D, F, batch, drawn, ours

from trainers.activations import Batch, Scaling
from trainers.architectures import BUILT_IN, ReLU
from trainers.config import ConfigError
from trainers.evaluate import evaluate
from trainers.evaluate.runs import evaluate_run
from trainers.family import Family, Member, Schedule
from trainers.run import build_run
from trainers.sae import SAE
from trainers.steps import LoopEngine, StackedEngine
from trainers.steps.engine import StepOptions
from trainers.studies.finetune import FineTuning, finetune
from trainers.studies.prune import prune
from trainers.studies.rescale import rescale
from trainers.train import train

SITES = "mlp_in.1", "mlp_out.1"
KINDS = [kind(False, skip=True) for kind in BUILT_IN if kind.transcodes]
EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@EACH
def test_the_latents_are_trained_on_what_the_skip_leaves(kind):
    """Loss and other gradients are those of the same kind without a skip and the target t − x Wᵀ."""
    p, (x, target) = drawn(kind, d_out=4), batch(d_out=4, transcoder=True)
    assert p["W_skip"].shape == (4, D)
    setting = 3 if kind.setting_name == "k" else 0.7
    loss, gradients, answer = ours(kind, p, x, target, setting)
    around = x @ p["W_skip"].detach().T
    others = {k: v for k, v in p.items() if k != "W_skip"}
    plain, wanted, bare = ours(type(kind)(False), others, x, target - around, setting)
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0)
    torch.testing.assert_close(answer.reconstruction, bare.reconstruction + around, rtol=1e-12, atol=1e-12)
    for name, value in wanted.items():
        torch.testing.assert_close(gradients[name], value, rtol=1e-10, atol=1e-12)


@EACH
def test_the_gradient_of_the_skip(kind):
    """(2/B) (t̂ − t)ᵀ x by hand, of the plain squared error; Matryoshka and HierarchicalTopK have several."""
    if kind.name in ("matryoshka", "hierarchical_topk"):
        return
    p, (x, target) = drawn(kind, d_out=4), batch(d_out=4, transcoder=True)
    _, gradients, answer = ours(kind, p, x, target, 3 if kind.setting_name == "k" else 0.7)
    by_hand = 2 / len(x) * (answer.reconstruction - target).T @ x
    torch.testing.assert_close(gradients["W_skip"], by_hand.detach(), rtol=1e-10, atol=1e-12)


@EACH
@pytest.mark.parametrize("engine", [LoopEngine, StackedEngine])
def test_a_linear_target_is_left_to_the_skip(kind, engine):
    """Raw activations with two scales and centres, y = x A + c: trained and folded, nothing is left."""
    random = torch.Generator().manual_seed(0)
    matrix, scales = torch.randn(D, 4, generator=random), (2.0, 1.5)
    centres = torch.full((D,), 5.0), torch.full((4,), -7.0)
    scaling = Scaling(*scales, torch.zeros(D), torch.zeros(4), *centres)
    family = Family(
        "f", kind, [Member("a", 2.0, 0, 0.04)], d_in=D, d_out=4, dictionary_size=F, scaling=scaling
    )
    trainer = engine(family, StepOptions(Schedule(150)))
    for step in range(150):
        x = 2 * torch.randn(64, D, generator=random)
        trainer.step(Batch(scales[0] * x, scales[1] * (x @ matrix)), step)
    x = torch.randn(500, D, generator=random)
    left = family.sae(0)(x + centres[0]) - (x @ matrix + centres[1])
    assert left.square().sum() / (x @ matrix).square().sum() < 0.01


def test_fvu_of_a_skip_alone_is_that_of_least_squares():
    """By NumPy's lstsq on the same activations; pruning, rescaling and fine-tuning keep the skip."""
    model = language_model()
    tokens = text(model, 5)
    x, y = (counted_activations(model, tokens, site).double().numpy() for site in SITES)
    solved, *_ = np.linalg.lstsq(
        np.c_[x, np.ones(len(x))], y, rcond=1e-5
    )  # the norm before the MLP ties columns
    left = y - np.c_[x, np.ones(len(x))] @ solved
    wanted = (left**2).sum() / ((y - y.mean(0)) ** 2).sum()
    kind = ReLU(False, skip=True)
    p = kind.start(x.shape[1], y.shape[1], F, (torch.zeros(x.shape[1]), torch.zeros(y.shape[1])), 0)
    p |= {"W_skip": torch.from_numpy(solved[:-1].T.copy()).float(), "b_enc": torch.full((F,), -1e6)}
    p |= {"b_dec": torch.from_numpy(solved[-1]).float()}
    sae = SAE(kind, p, {"run_id": "a", "family": "relu"})
    found = evaluate([sae], model, tokens, *SITES, protocol="p").table
    assert found["fvu"][0] == pytest.approx(wanted, rel=1e-4)
    assert found["l0"][0] == 0
    firing = SAE(kind, p | {"b_enc": torch.zeros(F)}, {"run_id": "b", "family": "relu"})
    changed = prune([firing], model, tokens, *SITES, training_tokens=tokens, protocol="p",
                    strengths={"top k": [0]})  # fmt: skip
    assert changed.table["fvu"].iloc[-1] == pytest.approx(wanted, rel=1e-4)
    (better,) = rescale([firing], model, tokens, *SITES)
    tuned = finetune([firing], model, tokens, *SITES, how=FineTuning(kl=0, mse=1, learning_rate=1e-9))[0]
    fvus = evaluate([firing, better], model, tokens, *SITES, protocol="p").table["fvu"]
    assert fvus[1] <= fvus[0] + 1e-6
    torch.testing.assert_close(
        tuned(torch.ones(3, x.shape[1])), firing(torch.ones(3, x.shape[1])), rtol=1e-3, atol=1e-3
    )


def test_a_run_with_skips(tmp_path):
    families = [{"architecture": a, "settings": [4], "options": {"skip": True}} for a in ("topk", "relu")]
    config = small(families, activations={"site": SITES[0], "target_site": SITES[1]}, training={"steps": 4})
    run = train(config, tmp_path, progress=False)
    found = evaluate_run(tmp_path, model=run.model, progress=False)
    assert list(found["options"]) == ["subtract_decoder_bias = False, skip = True"] * 2
    assert found["fvu"].notna().all()
    with pytest.raises(ConfigError, match="skip = true is for transcoders"):
        small(families)
    with pytest.raises(
        ConfigError, match="matching_pursuit encodes by its decoder and cannot be a transcoder"
    ):
        small([{"architecture": "matching_pursuit", "settings": [4]}], activations={"target_site": SITES[1]})


SAME = [
    ("mlp_out.1", "mlp_out.1"), ("mlp_out.1", "mlp_out.-1"), ("mlp_out.-1", "transformer.h.1.mlp"),
    ("mlp_out.1", "transformer.h.1.mlp.c_proj"), ("resid_post.0", "resid_pre.1"),
    ("resid_post.0+mlp_out.1", "mlp_out.-1+resid_pre.1"),
]  # fmt: skip
IN_PART = [("resid_post.0", "resid_pre.1+mlp_out.1"), ("resid_post.0+mlp_out.1", "mlp_out.-1")]


@pytest.mark.parametrize(("site", "target"), SAME)
@pytest.mark.parametrize("skip", [True, False])
def test_a_target_that_is_the_site_is_no_transcoder(site, target, skip):
    """Whatever the two are called: what is compared is what the model has there."""
    config = small(
        [{"architecture": "topk", "settings": [4], "options": {"skip": skip}}],
        activations={"site": site, "target_site": target},
    )
    with pytest.raises(ConfigError, match=rf"target_site is {re.escape(target)}.*autoencoders; leave"):
        build_run(config, progress=False)


@pytest.mark.parametrize(("site", "target"), IN_PART)
def test_a_skip_may_copy_no_part(site, target):
    """Without a skip one part may be written and read: the latents alone carry it."""
    plain, skipping = (
        {"architecture": "topk", "settings": [4], "name": n, "options": {"skip": n == "b"}} for n in "ab"
    )
    places = {"site": site, "target_site": target}
    with pytest.raises(ConfigError, match=r"family b: skip = true would copy .* leave skip out"):
        build_run(small([plain, skipping], activations=places), progress=False)
    build_run(small([plain], activations=places), progress=False)
