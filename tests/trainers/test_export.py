"""Folders for SAELens and dictionary_learning, written without them (`make interop` has the packages).

The formulas below are written down from the classes of sae-lens 6.54.12 and dictionary-learning 0.1.0; they
read the files that we wrote, and no code of ours.
"""

import doctest
import io
import json

import pandas as pd
import pytest
import torch
from export_examples import (
    ONLY_SAE_LENS,
    SKIPPING,
    SQUARE,
    TOPK_TRANSCODER,
    TRANSCODERS,
    UNTIED,
    biggest_difference,
    decided,
    example,
    inputs,
    made,
)
from safetensors.torch import load_file
from safetensors.torch import save as serialized

from trainers.counting import Traffic
from trainers.export import ExportError, export, forms, load
from trainers.export.runs import known_of_run
from trainers.sae_files import save_sae


@pytest.fixture
def x():
    return inputs()


def sae_lens_says(folder, x):
    cfg, p = json.loads((folder / "cfg.json").read_text()), load_file(folder / "sae_weights.safetensors")
    assert (cfg["normalize_activations"], cfg["dtype"]) == ("none", "float32")
    assert not (cfg["apply_b_dec_to_input"] and "transcoder" in cfg["architecture"])
    skipped = x @ p["W_skip"].T if "skip" in cfg["architecture"] else 0
    assert ("W_skip" in p) == ("skip" in cfg["architecture"])
    x = x - p["b_dec"] if cfg["apply_b_dec_to_input"] else x
    if cfg["architecture"] == "matching_pursuit":
        f = matching_pursuit_of_sae_lens(cfg, p["W_dec"], x)
    elif cfg["architecture"] == "gated":
        magnitude = x @ (p["W_enc"] * p["r_mag"].exp()) + p["b_mag"]
        f = magnitude.relu() * (x @ p["W_enc"] + p["b_gate"] > 0)
    else:
        z = x @ p["W_enc"] + p["b_enc"]
        f = z.relu()
        if "jumprelu" in cfg["architecture"]:
            f = f * (z > p["threshold"])
        if cfg["architecture"] == "topk":
            assert cfg["rescale_acts_by_decoder_norm"] is False
            f = f * (f >= f.topk(cfg["k"]).values[:, -1:])
        if cfg["architecture"] == "abstopk":
            assert cfg["rescale_acts_by_decoder_norm"] is False
            f = z * (z.abs() >= z.abs().topk(cfg["k"]).values[:, -1:])
    return f @ p["W_dec"] + p["b_dec"] + skipped


def matching_pursuit_of_sae_lens(cfg, rows, x):
    """Token by token: supports are compared after each step, then ‖r‖ with its threshold."""
    codes = torch.zeros(len(x), len(rows))
    for code, left in zip(codes, x, strict=True):
        for _ in range(cfg["max_iterations"]):
            before = code != 0
            best = int((rows @ left).relu().argmax())
            value = (rows[best] @ left).relu()
            code[best] += value
            left = left - value * rows[best]
            if cfg["stop_on_duplicate_support"] and torch.equal(code != 0, before):
                break
            if left.norm() < cfg["residual_threshold"]:
                break
    return codes


def dictionary_learning_says(folder, x):
    trainer = json.loads((folder / "config.json").read_text())["trainer"]
    p = torch.load(folder / "ae.pt", weights_only=True)
    name = trainer["dict_class"]
    if name == "JumpReluAutoEncoder":
        z = x @ p["W_enc"] + p["b_enc"]
        return (z * (z > p["threshold"])).relu() @ p["W_dec"] + p["b_dec"]
    encoder, rows = p["encoder.weight"].T, p["decoder.weight"].T
    if name == "AutoEncoderNew":
        return (x @ encoder + p["encoder.bias"]).relu() @ rows + p["decoder.bias"]
    bias = p[{"AutoEncoder": "bias", "GatedAutoEncoder": "decoder_bias"}.get(name, "b_dec")]
    z = (x - bias) @ encoder
    if name == "GatedAutoEncoder":
        f = (p["r_mag"].exp() * z + p["mag_bias"]).relu() * (z + p["gate_bias"] > 0)
        return f @ rows + bias
    f = (z + p["encoder.bias"]).relu()
    if name == "AutoEncoder":  # its loader would rescale other rows, and check that nothing changed
        torch.testing.assert_close(
            p["decoder.weight"].norm(dim=0), torch.ones(len(rows)), rtol=1e-5, atol=1e-8
        )
    else:
        assert (trainer["k"], p["k"].dtype) == (p["k"].item(), torch.int32)
        bar = (
            p["threshold"] if name == "BatchTopKSAE" else f.topk(trainer["k"]).values[:, -1:].clamp_min(1e-30)
        )
        f = f * (f > bar) if name == "BatchTopKSAE" else f * (f >= bar)
    return f @ rows + bias


SAYS = {"sae-lens": sae_lens_says, "dictionary-learning": dictionary_learning_says}
CASES = [(layout, name) for layout in SAYS for name in SQUARE]
CASES += [("sae-lens", name) for name in TRANSCODERS | ONLY_SAE_LENS | SKIPPING]


@pytest.mark.parametrize(("layout", "name"), CASES)
def test_the_library_computes_the_same(layout, name, tmp_path, x):
    sae = made(name)
    x = decided(sae, x)
    assert len(x) > 200
    folder = export(sae, tmp_path / name, layout)
    assert biggest_difference(SAYS[layout](folder, x), sae(x)) < 1e-5


@pytest.mark.parametrize(("layout", "name"), CASES)
def test_round_trip(layout, name, tmp_path, x):
    sae = made(name)
    x = decided(sae, x)
    back = load(export(sae, tmp_path / name, layout))
    assert biggest_difference(back(x), sae(x)) < 3e-6
    assert (back.d_in, back.dictionary_size, back.d_out) == (sae.d_in, sae.dictionary_size, sae.d_out)
    assert {k: back.identity[k] for k in sae.identity} == sae.identity
    again = load(export(back, tmp_path / "again", layout))
    assert biggest_difference(again(x), sae(x)) < 3e-6
    assert again.identity["architecture"] == sae.identity["architecture"]


def test_round_trip_is_exact_where_no_bias_moves(tmp_path, x):
    """Only the classes that do not subtract b_dec change a number; everything else comes back bit for bit."""
    for layout, name in CASES:
        moves = layout == "dictionary-learning" and ("relu" in name or "no_shift" in name)
        sae = made(name)
        back = load(export(sae, tmp_path / layout / name, layout))
        if not moves and name not in ("gated_transcoder", "gated_skip_transcoder"):
            assert torch.equal(back(x), sae(x)), (layout, name)


@pytest.mark.parametrize("layout", SAYS)
def test_thresholds_below_zero_become_zero(layout, tmp_path, x):
    """Our encoder wants z > 0 too, so that a threshold of −1 is one of 0."""
    sae = made("jumprelu")
    sae.parameters["threshold"][:7] = -1.0
    folder = export(sae, tmp_path / "a", layout)
    x = decided(sae, x)
    assert biggest_difference(SAYS[layout](folder, x), sae(x)) < 1e-5
    assert float(load(folder).parameters["threshold"].min()) == 0


@pytest.mark.parametrize("layout", SAYS)
def test_untied_gated_is_refused(layout, tmp_path):
    with pytest.raises(ExportError, match=r"tied = false cannot be exported: .* \(W_mag\)"):
        export(example(UNTIED), tmp_path / "a", layout)
    assert list(tmp_path.iterdir()) == []


def test_what_the_layouts_cannot_hold(tmp_path):
    with pytest.raises(
        ExportError, match="topk transcoder cannot be exported: SAELens has only ReLU and JumpReLU"
    ):
        export(example(TOPK_TRANSCODER, d_out=12), tmp_path / "a", "sae-lens")
    with pytest.raises(ExportError, match="abs_topk cannot be exported: dictionary_learning has no"):
        export(made("abs_topk"), tmp_path / "a", "dictionary-learning")
    with pytest.raises(ExportError, match="a transcoder with a skip cannot be exported"):
        export(made("relu_skip_transcoder", d_out=16), tmp_path / "a", "dictionary-learning")
    with pytest.raises(ExportError, match="transcoder from 16 to 12 dimensions cannot be exported"):
        export(made("relu_transcoder"), tmp_path / "a", "dictionary-learning")
    with pytest.raises(ExportError, match="BatchTopKSAE needs k, and the SAE's sparsity_setting is None"):
        sae = made("batch_topk")
        del sae.identity["sparsity_setting"]
        export(sae, tmp_path / "a", "dictionary-learning")
    with pytest.raises(ExportError, match=r"unknown layout 'saelens'; did you mean 'sae-lens'\?"):
        export(made("relu"), tmp_path / "a", "saelens")
    assert list(tmp_path.iterdir()) == []


def test_nan_is_not_exported(tmp_path):
    sae = made("topk")
    sae.parameters["W_dec"][0, 0] = torch.nan
    with pytest.raises(ExportError, match="W_dec has 1 of 640 values that are not finite"):
        export(sae, tmp_path / "a")


def test_square_transcoders_fit_dictionary_learning(tmp_path, x):
    for name in TRANSCODERS:
        sae = made(name, d_out=16)
        x = decided(sae, x)
        folder = export(sae, tmp_path / name, "dictionary-learning")
        assert biggest_difference(dictionary_learning_says(folder, x), sae(x)) < 1e-5
        assert load(folder).identity["target_site"] == "mlp_out.1"
        cfg = json.loads((export(sae, tmp_path / f"{name}2") / "cfg.json").read_text())
        assert "transcoder" in cfg["architecture"]  # also where the widths are equal


def test_sae_lens_configuration(tmp_path):
    sae = made("matryoshka")
    folder = export(sae, tmp_path / "a", "sae_lens", {"l0": 7.5, "context_length": 128, "fvu": 0.1})
    cfg = json.loads((folder / "cfg.json").read_text())
    about = cfg.pop("metadata")
    assert cfg == {
        "architecture": "jumprelu", "d_in": 16, "d_sae": 40, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none",
    }  # fmt: skip
    assert about.pop("sae_frontier") == {**sae.identity, "l0": 7.5, "context_length": 128}
    assert about == {
        "sae_lens_version": "6.0.0", "model_name": "tiny_lm", "hook_name": "blocks.1.hook_resid_post",
        "prepend_bos": True, "context_size": 128, "l0": 7.5, "training_tokens": 1000,
        "training_architecture": "matryoshka_batchtopk", "model_class_name": "HookedTransformer",
        "model_from_pretrained_kwargs": {"center_writing_weights": False},
    }  # fmt: skip


def test_hooks(tmp_path):
    cfg = json.loads((export(made("relu_transcoder"), tmp_path / "a") / "cfg.json").read_text())
    assert cfg["metadata"]["hook_name"] == "blocks.1.ln2.hook_normalized"
    assert cfg["metadata"]["hook_name_out"] == "blocks.1.hook_mlp_out"
    assert (cfg["d_out"], cfg["reshape_activations"]) == (12, "none")
    cfg = json.loads((export(made("jumprelu_heads"), tmp_path / "b") / "cfg.json").read_text())
    assert (cfg["metadata"]["hook_name"], cfg["reshape_activations"]) == ("blocks.1.attn.hook_z", "hook_z")
    sae = made("relu")
    sae.identity["site"] = "transformer.h.1.mlp"
    about = json.loads((export(sae, tmp_path / "c") / "cfg.json").read_text())["metadata"]
    assert (about["hook_name"], about["model_class_name"]) == ("transformer.h.1.mlp", "AutoModelForCausalLM")


def test_dictionary_learning_configuration(tmp_path):
    folder = export(made("matryoshka"), tmp_path / "a", "dictionary_learning")
    assert json.loads((folder / "config.json").read_text())["trainer"] == {
        "trainer_class": "MatryoshkaBatchTopKTrainer", "dict_class": "BatchTopKSAE", "activation_dim": 16,
        "dict_size": 40, "k": 5, "layer": 1, "lm_name": "tiny_lm", "submodule_name": "resid_post.1",
        "lr": 0.005, "seed": 3, "device": "cpu", "group_sizes": [2, 3, 5, 10, 20],
    }  # fmt: skip
    classes = {
        "relu": ("AutoEncoderNew", "l1_penalty"), "relu_unit_rows": ("AutoEncoder", "l1_penalty"),
        "p_anneal": ("AutoEncoder", "initial_sparsity_penalty"),
        "jumprelu": ("JumpReluAutoEncoder", "sparsity_penalty"),
        "jumprelu_target": ("JumpReluAutoEncoder", "target_l0"), "batch_topk": ("BatchTopKSAE", "k"),
        "gated": ("GatedAutoEncoder", "l1_penalty"), "topk": ("AutoEncoderTopK", "k"),
    }  # fmt: skip
    for name, (wanted, setting) in classes.items():
        trainer = json.loads(
            (export(made(name), tmp_path / name, "dictionary-learning") / "config.json").read_text()
        )
        assert trainer["trainer"]["dict_class"] == wanted
        assert trainer["trainer"][setting] == (2 if name == "batch_topk" else 5)  # 2.5 is no whole number


def test_a_folder_is_written_over(tmp_path, x):
    export(made("relu"), tmp_path / "a")
    folder = export(made("topk"), tmp_path / "a")
    assert torch.equal(load(folder)(x), made("topk")(x))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_names_of_places():
    from trainers.export import places

    assert doctest.testmod(places).failed == 0


def test_what_a_run_knows(tmp_path):
    save_sae(made("relu"), tmp_path / "saes" / "a")
    families = "[[families]]\narchitecture = 'relu'\nsettings = [1.0]\n"
    (tmp_path / "config.toml").write_text(f"[activations]\ncontext_length = 64\n{families}")
    assert known_of_run(tmp_path) == {"a": {"context_length": 64}}
    pd.DataFrame({"run_id": ["a", "b"], "l0": [3.5, None]}).to_parquet(tmp_path / "metrics.parquet")
    known = known_of_run(tmp_path)
    assert known == {"a": {"context_length": 64, "l0": 3.5}, "b": {"context_length": 64}}
    about = json.loads((export(made("relu"), tmp_path / "x", known=known["a"]) / "cfg.json").read_text())[
        "metadata"
    ]
    assert (about["l0"], about["context_size"]) == (3.5, 64)


def written(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


SAME_WIDTH = [("dictionary-learning", name) for name in TRANSCODERS]


@pytest.mark.parametrize(("layout", "name"), CASES + SAME_WIDTH)
def test_latents_after_latents_give_the_same_bytes(layout, name, tmp_path, monkeypatch):
    """Seven of 40 at a time and all at once; libraries' own writers on whole tensors give the same."""
    sae = made(name, d_out=16) if layout == "dictionary-learning" else made(name)
    whole = export(sae, tmp_path / "whole", layout)
    monkeypatch.setattr(forms, "PART_BYTES", 7 * 4 * (sae.d_in + sae.d_out))
    assert len(list(forms.form_of(sae).parts())) == 6
    assert written(export(sae, tmp_path / "parts", layout)) == written(whole)
    weights = next(p for p in whole.iterdir() if p.suffix in (".pt", ".safetensors"))
    own = io.BytesIO()
    if weights.suffix == ".pt":
        torch.save({k: v.clone() for k, v in torch.load(weights, weights_only=True).items()}, own)
    else:
        own.write(serialized({k: v.clone() for k, v in load_file(weights).items()}))
    assert own.getvalue() == weights.read_bytes()


@pytest.mark.parametrize("layout", ["sae-lens", "dictionary-learning"])
@pytest.mark.parametrize("name", ["relu", "topk", "gated", "gated_no_shift", "batch_topk", "jumprelu"])
def test_an_export_holds_a_part_of_a_saved_sae(layout, name, tmp_path, monkeypatch):
    """Storages that are made: four parts of 64 of 2,048 latents at most, and a few numbers a latent."""
    size, d = 2048, 64
    place = save_sae(made(name, d_in=d, d_out=d, size=size), tmp_path / "own")
    monkeypatch.setattr(forms, "PART_BYTES", 64 * 4 * 2 * d)
    sae = load(place)
    with Traffic() as traffic:
        export(sae, tmp_path / "out", layout)
    assert 0 < traffic.peak < 4 * forms.PART_BYTES + 8 * 4 * size < 2 * 4 * d * size / 4


def test_a_fault_in_a_later_part_is_placed(tmp_path, monkeypatch):
    sae = made("relu")
    monkeypatch.setattr(forms, "PART_BYTES", 7 * 4 * 32)
    sae.parameters["W_enc"][3, 30] = torch.nan
    with pytest.raises(
        ExportError, match="W_enc has 1 of 112 values that are not finite in latents 28 to 34"
    ):
        export(sae, tmp_path / "out")
    assert not list(tmp_path.iterdir())
