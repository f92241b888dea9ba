"""Folders for SAELens and dictionary_learning, written and read without them (`make interop` has the packages).

The formulas below are written down from the classes of sae-lens 6.54.12 and dictionary-learning 0.1.0; they read the
files that we wrote, and no code of ours.
"""

import json
import zipfile

import pytest
import torch
from export_examples import ELSEWHERE, SQUARE, TOPK_TRANSCODER, TRANSCODERS, UNTIED, decided, example
from safetensors.torch import load_file, save_file

from trainers.export import ExportError, LayoutError, export, load
from trainers.sae_files import save_sae


@pytest.fixture
def x():
    return torch.randn(300, 16, generator=torch.Generator().manual_seed(1)) * 1.5


def made(name, **changed):
    if name in SQUARE:
        return example(SQUARE[name], name, **changed)
    return example(TRANSCODERS[name], name, **{"d_out": 12, **changed})


def biggest_difference(a, b):
    return float((a - b).abs().max())


# --- what the libraries compute ------------------------------------------------------------------------------------


def sae_lens_says(folder, x):
    cfg, p = json.loads((folder / "cfg.json").read_text()), load_file(folder / "sae_weights.safetensors")
    assert (cfg["normalize_activations"], cfg["dtype"]) == ("none", "float32")
    assert not (cfg["apply_b_dec_to_input"] and "transcoder" in cfg["architecture"])
    x = x - p["b_dec"] if cfg["apply_b_dec_to_input"] else x
    if cfg["architecture"] == "gated":
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
    return f @ p["W_dec"] + p["b_dec"]


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
        torch.testing.assert_close(p["decoder.weight"].norm(dim=0), torch.ones(len(rows)), rtol=1e-5, atol=1e-8)
    else:
        assert (trainer["k"], p["k"].dtype) == (p["k"].item(), torch.int32)
        bar = p["threshold"] if name == "BatchTopKSAE" else f.topk(trainer["k"]).values[:, -1:].clamp_min(1e-30)
        f = f * (f > bar) if name == "BatchTopKSAE" else f * (f >= bar)
    return f @ rows + bias


SAYS = {"sae-lens": sae_lens_says, "dictionary-learning": dictionary_learning_says}
CASES = [(layout, name) for layout in SAYS for name in SQUARE] + [("sae-lens", name) for name in TRANSCODERS]


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
        if not moves and name not in ("gated_transcoder",):
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


# --- what cannot be exported ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", SAYS)
def test_untied_gated_is_refused(layout, tmp_path):
    with pytest.raises(ExportError, match="tied = false cannot be exported.*W_mag"):
        export(example(UNTIED), tmp_path / "a", layout)
    assert list(tmp_path.iterdir()) == []


def test_what_the_layouts_cannot_hold(tmp_path):
    with pytest.raises(ExportError, match="topk transcoder cannot be exported: SAELens has only ReLU and JumpReLU"):
        export(example(TOPK_TRANSCODER, d_out=12), tmp_path / "a", "sae-lens")
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


# --- what is written beside the weights ----------------------------------------------------------------------------


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
        "dict_size": 40, "k": 5, "layer": 1, "lm_name": "tiny_lm", "submodule_name": "resid_post.1", "lr": 0.005,
        "seed": 3, "device": "cpu", "group_sizes": [2, 3, 5, 10, 20],
    }  # fmt: skip
    classes = {
        "relu": ("AutoEncoderNew", "l1_penalty"), "relu_unit_rows": ("AutoEncoder", "l1_penalty"),
        "p_anneal": ("AutoEncoder", "initial_sparsity_penalty"), "jumprelu": ("JumpReluAutoEncoder", "sparsity_penalty"),
        "jumprelu_target": ("JumpReluAutoEncoder", "target_l0"), "batch_topk": ("BatchTopKSAE", "k"),
        "gated": ("GatedAutoEncoder", "l1_penalty"), "topk": ("AutoEncoderTopK", "k"),
    }  # fmt: skip
    for name, (wanted, setting) in classes.items():
        trainer = json.loads((export(made(name), tmp_path / name, "dictionary-learning") / "config.json").read_text())
        assert trainer["trainer"]["dict_class"] == wanted
        assert trainer["trainer"][setting] == (2 if name == "batch_topk" else 5)  # 2.5 is no whole number


def test_a_folder_is_written_over(tmp_path, x):
    export(made("relu"), tmp_path / "a")
    folder = export(made("topk"), tmp_path / "a")
    assert torch.equal(load(folder)(x), made("topk")(x))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


# --- folders of others ---------------------------------------------------------------------------------------------


def rewrite(folder, name, change):
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    return folder


def foreign(folder, name="cfg.json"):
    """The same folder without our own block."""
    return rewrite(folder, name, lambda c: (c.get("metadata", c).pop("sae_frontier"),))


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
    lies = {"dictionary_size": 7, "run_id": "b", "source": "c", "family": ["x"], "seed": 9, "note": "y" * 2000}
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
        "architecture": "standard", "d_in": 16, "d_sae": 40, "dtype": "torch.float32", "hook_point": "blocks.8.hook_mlp_out",
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
    with pytest.raises(LayoutError, match=r"group_sizes is \[10, 20\], wanted whole numbers that add up to 40"):
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


# --- torn, hostile and malformed folders ---------------------------------------------------------------------------


def refused(folder, match):
    with pytest.raises(LayoutError, match=match) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500 and str(folder) in message


def weights(folder, change):
    found = load_file(folder / "sae_weights.safetensors")
    change(found)
    save_file(found, folder / "sae_weights.safetensors")


def test_folders_without_an_sae(tmp_path):
    refused(tmp_path / "nowhere", "is no folder")
    refused(tmp_path, "holds no SAE; wanted cfg.json and sae_weights.safetensors or config.json and ae.pt or sae.json")
    for layout, (here, gone) in {
        "sae-lens": ("cfg.json", "sae_weights.safetensors"), "dictionary-learning": ("ae.pt", "config.json"),
    }.items():  # fmt: skip
        folder = export(made("relu"), tmp_path / layout, layout)
        (folder / gone).unlink()
        refused(folder, f"has {here} but no {gone} beside it")
    both = export(made("relu"), export(made("relu"), tmp_path / "both", "sae-lens"), "dictionary-learning")
    refused(both, "holds several layouts .sae-lens, dictionary-learning.")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda w: w.pop("b_enc"), "has no tensor b_enc; did you mean 'W_enc' or 'b_dec'"),
        (lambda w: w.update(W_skip=torch.zeros(2)), "has tensors that its class does not: W_skip"),
        (lambda w: w.update(W_dec=torch.zeros(16, 40)), r"W_dec has shape \[16, 40\], wanted \[d_sae = 40, d_out = 16\]"),
        (lambda w: w["W_enc"].fill_(torch.inf), "W_enc has 640 of 640 values that are not finite"),
        (lambda w: w.update(b_enc=torch.zeros(40, dtype=torch.int64)), "b_enc is int64, wanted floating point"),
        (lambda w: (w.clear(), w.update(a=torch.zeros(1))), "has no tensor W_enc; there are a"),
    ],
)  # fmt: skip
def test_bad_tensors(change, match, tmp_path):
    folder = export(made("relu"), tmp_path / "a")
    weights(folder, change)
    refused(folder, match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"architecture": "jumprelo"}, r"unknown architecture 'jumprelo'; did you mean 'jumprelu'"),
        ({"architecture": ["topk"]}, r"unknown architecture \['topk'\]"),
        ({"architecture": "skip_transcoder"}, "skip_transcoder SAEs are not read: it adds a linear map"),
        ({"architecture": "batchtopk"}, "batchtopk SAEs are not read: it is a checkpoint of training"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations = 'layer_norm' is not read; wanted 'none'"),
        ({"activation_fn": "tanh-relu"}, "activation_fn = 'tanh-relu' is not read; wanted 'relu'"),
        ({"activation_fn": "topk"}, "activation_fn is topk, and no k is given"),
        ({"d_sae": -3}, "d_sae is -3, wanted a whole number from 1"),
        ({"d_in": True}, "d_in is True, wanted a whole number"),
        ({"d_sae": 41}, r"W_enc has shape \[16, 40\], wanted \[d_in = 16, d_sae = 41\]"),
        ({"apply_b_dec_to_input": "no"}, "apply_b_dec_to_input is 'no', wanted true or false"),
        ({"metadata": [1]}, "metadata is list, wanted an object"),
        ({"metadata": {"sae_frontier": 3}}, "sae_frontier is int, wanted an object"),
        ({"architecture": "topk", "k": 41}, "k is 41, wanted a whole number from 1 to 40"),
        ({"architecture": "topk"}, "k is None, wanted a whole number"),
        ({"architecture": "transcoder"}, "d_out is None, wanted a whole number"),
        ({"architecture": "transcoder", "d_out": 16}, "apply_b_dec_to_input is true, which no transcoder can have"),
    ],
)  # fmt: skip
def test_bad_configuration(change, match, tmp_path):
    folder = rewrite(export(made("relu"), tmp_path / "a"), "cfg.json", lambda c: c.update(change))
    refused(folder, match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "cannot be read as JSON"),
        ('{"architecture": "sta', "cannot be read as JSON"),
        ("[1]", "holds list, wanted an object"),
        ("[" * 100_000, "nested too deep|cannot be read as JSON"),
        (" " * (5 * 2**20), "has 5 MB; at most 4 MB are read"),
        ("\udcff\udcfe", "cannot be read as JSON"),
    ],
)
def test_bad_json(text, match, tmp_path):
    folder = export(made("relu"), tmp_path / "a")
    (folder / "cfg.json").write_bytes(text.encode(errors="surrogateescape"))
    refused(folder, match)


@pytest.mark.parametrize("keep", [0, 5, 100, 3000])
def test_torn_weights(keep, tmp_path):
    for layout, name in {"sae-lens": "sae_weights.safetensors", "dictionary-learning": "ae.pt"}.items():
        folder = export(made("relu"), tmp_path / layout, layout)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:keep])
        refused(folder, "is no whole safetensors file|is no whole PyTorch file|is no PyTorch file")


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_not_run(zipped, tmp_path):
    folder = export(made("relu"), tmp_path / "a", "dictionary-learning")
    torch.save({"W": Hostile(tmp_path / "was_run")}, folder / "ae.pt", _use_new_zipfile_serialization=zipped)
    refused(folder, "holds more than tensors, or is no PyTorch file, and was not loaded")
    assert not (tmp_path / "was_run").exists()


def test_small_files_that_unfold_are_refused(tmp_path):
    folder = export(made("relu"), tmp_path / "a", "dictionary-learning")
    state = torch.load(folder / "ae.pt", weights_only=True)
    torch.save(state | {"encoder.bias": torch.zeros(1).expand(10**12)}, folder / "ae.pt")
    refused(folder, "encoder.bias .1000000000000. is no plain tensor with all of its data")
    torch.save(state | {"encoder.bias": torch.zeros(40).to_sparse()}, folder / "ae.pt")
    refused(folder, "is no plain tensor")
    torch.save(state, folder / "ae.pt")
    with zipfile.ZipFile(folder / "ae.pt") as stored, zipfile.ZipFile(folder / "packed", "w") as packed:
        for name in stored.namelist():
            packed.writestr(name, stored.read(name), compress_type=zipfile.ZIP_DEFLATED)
    (folder / "packed").replace(folder / "ae.pt")
    refused(folder, "holds compressed records")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([torch.zeros(2)], "holds list, wanted a dict of tensors"),
        ({}, "holds dict, wanted a dict of tensors"),
        ({"a": 3}, "holds int under 'a', wanted named tensors"),
        ({3: torch.zeros(2)}, "holds Tensor under 3, wanted named tensors"),
        ({"b_dec": torch.zeros(2)}, "dict_size is None|has no tensor"),
    ],
)
def test_bad_state_dicts(content, match, tmp_path):
    folder = export(made("topk"), tmp_path / "a", "dictionary-learning")
    torch.save(content, folder / "ae.pt")
    refused(folder, match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"dict_class": "AutoEncoderTopk"}, "unknown dict_class 'AutoEncoderTopk'; did you mean 'AutoEncoderTopK'"),
        ({"dict_class": None}, "unknown dict_class None"),
        ({"dict_size": 41}, r"encoder.weight has shape \[40, 16\], wanted \[dict_size = 41, activation_dim = 16\]"),
        ({"k": 6}, "k is 5, and the configuration says 6"),
        ({"dict_class": "JumpReluAutoEncoder"}, "has no tensor W_enc"),
    ],
)  # fmt: skip
def test_bad_trainer(change, match, tmp_path):
    folder = export(made("topk"), tmp_path / "a", "dictionary-learning")
    refused(rewrite(folder, "config.json", lambda c: c["trainer"].update(change)), match)
    refused(rewrite(folder, "config.json", lambda c: c.update(trainer=3)), "has no object 'trainer'")


# --- a foreign SAE under our evaluator -----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", SAYS)
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
    assert (row["run_id"], row["architecture"], row["site"], row["layer"]) == ("foreign_k5", "topk", "mlp_out.1", 1)
    assert (row["sparsity_setting"], row["dictionary_size"]) == (5, 256)
    assert 0 < row["l0"] <= 5
    ours = evaluate([sae], model, tokens, "mlp_out.1", batch_size=4, protocol="test").table.iloc[0]
    for column in ("l0", "fvu", "ce_sae", "ce_clean", "ce_mean_ablation"):
        assert row[column] == pytest.approx(ours[column], abs=1e-6), column
