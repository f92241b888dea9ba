"""KL and MSE fine-tuning: gradients against finite differences, losses against `evaluate`, KL that falls."""

from dataclasses import replace

import pytest
import torch
from after_training_cases import SITE, D, F, Foreign, counted_activations, language_model, relu_sae, text
from matplotlib import pyplot as plt

from frontier.studies.evaluation import EvaluationError
from frontier.studies.figures import plot_finetuning
from trainers.architectures import BatchTopK, Gated, JumpReLU, ReLU, TopK
from trainers.evaluate import evaluate
from trainers.sae import SAE
from trainers.sae_files import load_sae, save_sae
from trainers.studies.finetune import KL, MSE, FineTuning, SplicedText, _Tuned, finetune
from trainers.studies.variants import VariantError

torch.set_num_threads(1)
BOTH = FineTuning(kl=0.7, mse=0.4)


@pytest.fixture(scope="module")
def model():
    return language_model()


def of_kind(kind, dtype=torch.float32):
    """The small ReLU SAE as another architecture."""
    p = {k: v.to(dtype) for k, v in relu_sae(0).parameters.items()}
    if isinstance(kind, Gated):
        bias = p.pop("b_enc")
        p |= {"b_gate": bias, "b_mag": bias + 0.1, "r_mag": torch.full((F,), 0.2, dtype=dtype)}
    elif isinstance(kind, JumpReLU):
        p["threshold"] = torch.full((F,), 0.3, dtype=dtype)
    elif isinstance(kind, BatchTopK):
        p["threshold"] = torch.tensor(0.3, dtype=dtype)
    elif isinstance(kind, TopK):
        p["k"] = torch.tensor(6)
    return SAE(kind, p, {"run_id": kind.name, "family": kind.name, "tokens_trained": 100})


KINDS = [ReLU(), Gated(), JumpReLU(), TopK(), BatchTopK()]


@pytest.mark.parametrize("kind", KINDS, ids=[k.name for k in KINDS])
@pytest.mark.parametrize("how", [KL, MSE, BOTH], ids=["kl", "mse", "both"])
def test_gradients_equal_finite_differences(kind, how):
    """Through the spliced model in float64; points at which no latent is near its threshold."""
    model = language_model(dtype=torch.float64)
    spliced = SplicedText(model, text(model, 3, windows=5), SITE)
    p = {k: v.clone() for k, v in of_kind(kind, torch.float64).parameters.items()}

    def loss(changed):
        return spliced.loss(how, kind.decode(changed, kind.encode(changed, spliced.input)))

    names = [k for k in p if k not in ("threshold", "k")]
    leaves = {k: p[k].requires_grad_() for k in names}
    gradients = dict(zip(names, torch.autograd.grad(loss(p), list(leaves.values())), strict=True))
    g = torch.Generator().manual_seed(0)
    step = 1e-6
    for name in names:
        for place in torch.randint(p[name].numel(), (4,), generator=g).tolist():
            values = []
            for sign in (1, -1):
                moved = p[name].detach().clone()
                moved.view(-1)[place] += sign * step
                with torch.no_grad():
                    values.append(float(loss(p | {name: moved})))
            wanted = (values[0] - values[1]) / (2 * step)
            assert float(gradients[name].view(-1)[place]) == pytest.approx(wanted, rel=1e-4, abs=1e-8), name


def test_losses_are_those_of_evaluate(model):
    tokens = text(model, 3)
    sae = relu_sae(0)
    row = evaluate([sae], model, tokens, SITE, protocol="p").table.iloc[0]
    spliced = SplicedText(model, tokens, SITE)
    assert float(spliced.kl(sae(spliced.input))) == pytest.approx(row["kl"], rel=1e-5)
    assert float(spliced.fvu(sae(spliced.input))) == pytest.approx(row["fvu"], rel=1e-5)
    assert float(spliced.kl(spliced.target)) == pytest.approx(0, abs=1e-6)


def test_the_language_model_stays_frozen_and_the_parent_unchanged(model):
    before = {k: v.clone() for k, v in model.model.state_dict().items()}
    sae = relu_sae(0)
    kept = {k: v.clone() for k, v in sae.parameters.items()}
    tuned = finetune([sae], model, text(model, 1), SITE)[0]
    assert all(torch.equal(v, before[k]) for k, v in model.model.state_dict().items())
    assert all(p.grad is None for p in model.model.parameters())
    assert all(torch.equal(v, kept[k]) for k, v in sae.parameters.items())
    assert all(not torch.equal(v, kept[k]) for k, v in tuned.parameters.items())
    assert not any(v.requires_grad for v in tuned.parameters.values())


def test_kl_falls_on_held_out_text_and_more_so_than_with_mse(model):
    """Random windows of one small model; the tuned SAEs are judged on windows of another seed."""
    training, fresh = text(model, 1, windows=400), text(model, 2, windows=40)
    sae = of_kind(TopK())
    by_kl, by_mse = (
        finetune([sae], model, training, SITE, how=replace(how, learning_rate=0.01))[0] for how in (KL, MSE)
    )
    found = evaluate([sae, by_kl, by_mse], model, fresh, SITE, protocol="p", batch_size=5)
    kl, fvu = found.table["kl"], found.table["fvu"]
    assert kl[1] < 0.9 * kl[0] and kl[1] < kl[2]
    assert fvu[2] < 0.95 * fvu[0] and fvu[2] < fvu[1]
    gap, se = found.difference("kl", by_kl.identity["run_id"], sae.identity["run_id"])
    assert gap + 3 * se < 0
    assert found.table["l0"].max() <= 6


def test_one_step_is_adam_on_the_plain_gradient(model):
    """By hand: scaled units, clipped gradient, Adam's first step of lr · g/(|g| + ε)."""
    tokens, sae, how = text(model, 1, windows=8), relu_sae(0), FineTuning(learning_rate=1e-2, clip=0.5)
    x = counted_activations(model, tokens)
    scale = D**0.5 / float(x.norm(dim=1).mean())
    p = {k: (v * scale if k.startswith("b_") else v).requires_grad_() for k, v in sae.parameters.items()}
    spliced = SplicedText(model, tokens, SITE)
    loss = spliced.kl(sae.architecture.decode(p, sae.architecture.encode(p, scale * spliced.input)) / scale)
    gradients = dict(zip(p, torch.autograd.grad(loss, list(p.values())), strict=True))
    norm = torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt()
    wanted = {}
    for k, g in gradients.items():
        g = g * min(1.0, 0.5 / float(norm))
        moved = p[k].detach() - 1e-2 * g / (g.abs() + 1e-8)
        wanted[k] = moved / scale if k.startswith("b_") else moved
    found = finetune([sae], model, tokens, SITE, how=how)[0].parameters
    for k, v in wanted.items():
        torch.testing.assert_close(found[k], v, rtol=1e-3, atol=2e-5)


def test_unit_rows_stay_unit_and_named_parameters_alone_move(model):
    p = of_kind(TopK()).parameters
    rows = torch.nn.functional.normalize(p["W_dec"], dim=1)
    sae = SAE(TopK(), p | {"W_dec": rows}, {"run_id": "t"})
    tuned = finetune([sae], model, text(model, 1), SITE, how=FineTuning(parameters=("W_dec", "b_dec")))[0]
    torch.testing.assert_close(tuned.parameters["W_dec"].norm(dim=1), torch.ones(F))
    moved = {k for k, v in tuned.parameters.items() if not torch.allclose(v, sae.parameters[k], rtol=1e-5)}
    assert moved == {"W_dec", "b_dec"}


def test_members_do_not_influence_each_other_and_the_seed_decides(model):
    saes = [relu_sae(0), relu_sae(1)]
    together = finetune(saes, model, text(model, 1), SITE)
    alone = finetune(saes[1:], model, text(model, 1), SITE)[0]
    other = finetune(saes[1:], model, text(model, 1), SITE, seed=1)[0]
    assert torch.equal(together[1].parameters["W_enc"], alone.parameters["W_enc"])
    assert not torch.equal(other.parameters["W_enc"], alone.parameters["W_enc"])


def test_a_transcoder_is_tuned_in_both_units(model):
    """The MLP's input to its output; the units of the two differ."""
    sae = relu_sae(0)
    sae = replace(sae, architecture=ReLU(subtract_decoder_bias=False))
    training, fresh = text(model, 1, windows=200), text(model, 2)
    tuned = finetune([sae], model, training, "mlp_in.1", SITE, how=FineTuning(learning_rate=0.01))[0]
    table = evaluate([sae, tuned], model, fresh, "mlp_in.1", SITE, protocol="p").table
    assert table["kl"][1] < 0.9 * table["kl"][0]


def test_identity_and_files(model, tmp_path):
    training, losses = text(model, 1), []
    sae = of_kind(TopK())
    tuned = finetune([sae], model, training, SITE, how=BOTH, log=lambda step, found: losses.append(found))[0]
    counted = int(model.counted(training).sum())
    assert tuned.identity["family"] == "topk + KL and MSE fine-tuning" and tuned.identity["parent"] == "topk"
    assert tuned.identity["tokens_trained"] == 100 + counted == 100 + tuned.identity["tokens_finetuned"]
    assert len(losses) == 2 and all(len(found) == 1 for found in losses)  # 16 windows, 8 a step
    again = load_sae(save_sae(tuned, tmp_path / "t"))
    x = counted_activations(model, training)
    assert torch.equal(again(x), tuned(x))


@pytest.mark.parametrize(
    ("given", "message"),
    [({"kl": 0.0}, "not both 0, got 0 and 0"), ({"kl": -1.0, "mse": 2.0}, "got -1 and 2"),
     ({"learning_rate": 0.0}, "learning_rate and clip must be above 0"), ({"batch_size": 0}, "at least 1")],
)  # fmt: skip
def test_faults_of_the_options(given, message):
    with pytest.raises(VariantError, match=message):
        FineTuning(**given)


def test_more_faults(model):
    with pytest.raises(VariantError, match=r"'s0' is a Foreign; only SAEs of ours"):
        finetune([Foreign(0)], model, text(model, 1), SITE)
    with pytest.raises(VariantError, match=r"has no 'W_decc' to train; did you mean 'W_dec'"):
        finetune([relu_sae(0)], model, text(model, 1), SITE, how=FineTuning(parameters=("W_decc",)))
    with pytest.raises(VariantError, match="no token of the training windows counts"):
        finetune([relu_sae(0)], model, torch.ones(4, 6, dtype=torch.long), SITE)
    broken = relu_sae(0)
    broken.parameters["b_dec"][0] = torch.nan
    with pytest.raises(VariantError, match="the loss of 's0' is nan"):
        _Tuned(broken, "s0", (1.0, 1.0), KL, model).step(SplicedText(model, text(model, 1), SITE), 1.0)


def test_the_figure_shows_shares_of_the_parents(model):
    sae, fresh = of_kind(TopK()), text(model, 2)
    found = evaluate([sae, *finetune([sae], model, text(model, 1), SITE)], model, fresh, SITE, protocol="p",
                     batch_size=4)  # fmt: skip
    ax = plot_finetuning(found)
    share = found.table["kl"][1] / found.table["kl"][0]
    assert share == pytest.approx(float(ax.containers[0].lines[0].get_ydata()[0]))
    with pytest.raises(EvaluationError, match="beside its parent"):
        plot_finetuning(evaluate([sae], model, fresh, SITE, protocol="p"))
    plt.close("all")
