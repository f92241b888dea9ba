"""Folders as SAELens and dictionary_learning write them, read; and a row of the metrics table for one."""

import json

import pytest
import torch
from export_examples import (
    ELSEWHERE,
    SQUARE,
    biggest_difference,
    example,
    foreign,
    inputs,
    made,
    rewrite,
)
from safetensors.torch import load_file, save_file

from frontier.writing import SUMS
from trainers.export import LayoutError, load
from trainers.export import export as exported
from trainers.sae_files import save_sae


@pytest.fixture
def x():
    return inputs()


def export(*arguments):
    """A folder as another tool leaves it: without our digests."""
    folder = exported(*arguments)
    (folder / SUMS).unlink()
    return folder


def test_identity_of_a_foreign_sae_lens_folder(tmp_path):
    found = load(foreign(export(made("batch_topk"), tmp_path / "layer_1_k5"))).identity
    assert found.pop("remarks") == "architecture: saved as jumprelu, trained as batch_topk"
    assert found == {
        "run_id": "layer_1_k5", "source": str(tmp_path / "layer_1_k5"), "architecture": "batch_topk",
        "model": "tiny_lm", "site": "resid_post.1", "layer": 1, "dictionary_size": 40, "d_model": 16,
        "tokens_trained": 1000,
    }  # fmt: skip
    found = load(foreign(export(made("topk"), tmp_path / "b"))).identity
    assert (found["architecture"], found["sparsity_setting"], found["sparsity_name"]) == ("topk", 5, "k")
    found = load(foreign(export(made("relu_transcoder"), tmp_path / "c"))).identity
    assert {k: found[k] for k in ELSEWHERE} == ELSEWHERE
    assert found["architecture"] == "relu"


def test_identity_of_a_foreign_dictionary_learning_folder(tmp_path):
    folder = foreign(export(made("relu"), tmp_path / "trainer_3", "dictionary-learning"), "config.json")
    rewrite(folder, "config.json", lambda c: c["trainer"].update(submodule_name="mlp_out_layer_7", layer=7))
    found = load(folder).identity
    assert found == {
        "run_id": "trainer_3", "source": str(folder), "architecture": "relu", "model": "tiny_lm",
        "site": "mlp_out.7", "layer": 7, "dictionary_size": 40, "d_model": 16, "seed": "3",
        "sparsity_setting": 5, "sparsity_name": "lambda",
    }  # fmt: skip


def test_identity_does_not_believe_sizes_and_names_of_the_block(tmp_path):
    folder = export(made("relu"), tmp_path / "a")
    lies = {
        "dictionary_size": 7,
        "run_id": "b",
        "source": "c",
        "family": ["x"],
        "seed": 9,
        "note": "y" * 2000,
    }
    rewrite(folder, "cfg.json", lambda c: c["metadata"].update(sae_frontier=lies))
    found = load(folder).identity
    assert (found["dictionary_size"], found["run_id"], found["source"]) == (40, "a", str(folder))
    assert found["seed"] == 9 and not {"family", "note"} & set(found)


def test_topk_ranked_by_decoder_norms(tmp_path, x):
    """SAELens' rescale_acts_by_decoder_norm: latents are chosen by z‖W_dec‖, the output is that of z."""
    sae = made("topk")
    norms = torch.linspace(0.2, 3, 40)
    sae.parameters["W_dec"] = sae.parameters["W_dec"] * norms[:, None]
    folder = rewrite(
        export(sae, tmp_path / "a"), "cfg.json", lambda c: c.update(rescale_acts_by_decoder_norm=True)
    )
    p = sae.parameters
    z = (x - p["b_dec"]) @ p["W_enc"] + p["b_enc"]
    score = (z * norms).relu()
    f = score * (score >= score.topk(5).values[:, -1:])
    wanted = (f / norms) @ p["W_dec"] + p["b_dec"]
    assert biggest_difference(load(folder)(x), wanted) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_formats_become_float32(dtype, tmp_path, x):
    folder = export(made("gated"), tmp_path / "a")
    weights = {k: v.to(dtype) for k, v in load_file(folder / "sae_weights.safetensors").items()}
    save_file(weights, folder / "sae_weights.safetensors")
    sae = load(folder)
    assert {v.dtype for v in sae.parameters.values()} == {torch.float32}
    assert torch.equal(sae.parameters["W_enc"], weights["W_enc"].float())


def test_before_version_6(tmp_path, x):
    folder = export(made("topk"), tmp_path / "a")
    cfg = {
        "architecture": "standard", "d_in": 16, "d_sae": 40, "dtype": "torch.float32",
        "hook_point": "blocks.8.hook_mlp_out",
        "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}, "normalize_activations": False,
        "finetuning_scaling_factor": False, "model_name": "gpt2-small",
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(cfg))
    weights = load_file(folder / "sae_weights.safetensors")
    save_file(weights | {"scaling_factor": torch.ones(40)}, folder / "sae_weights.safetensors")
    sae = load(folder)
    assert torch.equal(sae(x), made("topk")(x))
    assert (sae.identity["site"], sae.identity["architecture"]) == ("mlp_out.8", "topk")
    save_file(weights | {"scaling_factor": torch.full((40,), 1.1)}, folder / "sae_weights.safetensors")
    with pytest.raises(LayoutError, match="scaling_factor differs from 1"):
        load(folder)


def test_matryoshka_class_of_dictionary_learning(tmp_path, x):
    sae = made("matryoshka")
    p = sae.parameters
    folder = export(sae, tmp_path / "a", "dictionary-learning")
    rewrite(folder, "config.json", lambda c: c["trainer"].update(dict_class="MatryoshkaBatchTopKSAE"))
    state = {k: p[k] for k in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")} | {"k": torch.tensor(5)}
    torch.save(state | {"group_sizes": torch.tensor([10, 30])}, folder / "ae.pt")
    assert torch.equal(load(folder)(x), sae(x))
    torch.save(state | {"group_sizes": torch.tensor([10, 20])}, folder / "ae.pt")
    with pytest.raises(
        LayoutError, match=r"group_sizes is \[10, 20\], wanted whole numbers that add up to 40"
    ):
        load(folder)


def test_a_threshold_never_set_is_said(tmp_path, x):
    sae = made("batch_topk")
    folder = export(sae, tmp_path / "a", "dictionary-learning")
    state = torch.load(folder / "ae.pt", weights_only=True)
    torch.save(state | {"threshold": torch.tensor(-1.0)}, folder / "ae.pt")
    back = load(folder)
    z = (x - state["b_dec"]) @ state["encoder.weight"].T + state["encoder.bias"]
    assert biggest_difference(back.encode(x), z.relu()) < 1e-5
    assert "never set" in back.identity["remarks"]


def test_our_own_folder(tmp_path, x):
    sae = made("gated")
    assert torch.equal(load(save_sae(sae, tmp_path / "a"))(x), sae(x))


@pytest.mark.parametrize("layout", ["sae-lens", "dictionary-learning"])
def test_a_foreign_sae_gets_a_row_of_the_metrics_table(layout, tmp_path):
    from trainers.evaluate import evaluate
    from trainers.language_models import load_language_model

    sae = example(SQUARE["topk"], d_in=128, d_out=128, size=256)
    sae.identity["site"] = "mlp_out.1"
    name = {"sae-lens": "cfg.json", "dictionary-learning": "config.json"}[layout]
    folder = foreign(export(sae, tmp_path / "foreign_k5", layout), name)
    model = load_language_model(device="cpu")
    text = "def norm(x):\n    return sum(v * v for v in x) ** 0.5\n" * 8
    tokens = torch.tensor(model.encode(text))[: 8 * 32].view(8, 32)
    tokens = torch.cat([torch.full((8, 1), model.start_token), tokens], dim=1)
    theirs = load(folder)
    table = evaluate([theirs], model, tokens, theirs.identity["site"], batch_size=4, protocol="test").table
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["run_id"], row["architecture"], row["site"], row["layer"]) == (
        "foreign_k5",
        "topk",
        "mlp_out.1",
        1,
    )
    assert (row["sparsity_setting"], row["dictionary_size"]) == (5, 256)
    assert 0 < row["l0"] <= 5
    ours = evaluate([sae], model, tokens, "mlp_out.1", batch_size=4, protocol="test").table.iloc[0]
    for column in ("l0", "fvu", "ce_sae", "ce_clean", "ce_mean_ablation"):
        assert row[column] == pytest.approx(ours[column], abs=1e-6), column


def test_matching_pursuit_as_sae_lens_leaves_it(tmp_path, x):
    """By default as many steps as dimensions; b_dec plays no part where it is not taken off the input."""
    sae = made("matching_pursuit")
    p, folder = sae.parameters, export(sae, tmp_path / "a")
    plain = {"max_iterations": None, "apply_b_dec_to_input": False}
    back = load(rewrite(folder, "cfg.json", lambda c: c.update(plain)))
    assert int(back.parameters["k"]) == 16
    wanted = load(
        rewrite(folder, "cfg.json", lambda c: c.update(max_iterations=16, apply_b_dec_to_input=True))
    )
    assert biggest_difference(back(x), wanted(x + p["b_dec"]) - p["b_dec"]) < 1e-5
