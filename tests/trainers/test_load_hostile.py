"""Torn, hostile and malformed folders: one clear line each, and nothing in them is run."""

import zipfile

import pytest
import torch
from export_examples import made, rewrite
from safetensors.torch import load_file, save_file

from trainers.export import LayoutError, export, load


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
    refused(
        tmp_path,
        "holds no SAE; wanted cfg.json and sae_weights.safetensors or config.json and ae.pt or cfg.json and "
        "sae.safetensors or sae.json",
    )
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
        (
            lambda w: w.update(W_dec=torch.zeros(16, 40)),
            r"W_dec has shape \[16, 40\], wanted \[d_sae = 40, d_out = 16\]",
        ),
        (lambda w: w["W_enc"].fill_(torch.inf), "W_enc has 640 of 640 values that are not finite"),
        (lambda w: w.update(b_enc=torch.zeros(40).long()), "b_enc is int64, wanted floating point"),
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
        ({"architecture": "temporal"}, "temporal SAEs are not read: its codes depend on other tokens"),
        ({"architecture": "skip_transcoder", "d_out": 16, "apply_b_dec_to_input": False}, "no tensor W_skip"),
        ({"architecture": "matching_pursuit", "max_iterations": 0}, "max_iterations is 0, wanted a whole"),
        ({"architecture": "matching_pursuit", "residual_threshold": "x"}, "residual_threshold is 'x'"),
        ({"architecture": "batchtopk"}, "batchtopk SAEs are not read: it is a checkpoint of training"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations = 'layer_norm' is not read"),
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
        ({"architecture": "transcoder", "d_out": 16}, "apply_b_dec_to_input is true, which no transcoder"),
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
        ({"dict_class": "AutoEncoderTopk"}, "dict_class 'AutoEncoderTopk'; did you mean 'AutoEncoderTopK'"),
        ({"dict_class": None}, "unknown dict_class None"),
        ({"dict_size": 41}, r"encoder.weight has shape \[40, 16\], wanted \[dict_size = 41, "),
        ({"k": 6}, "k is 5, and the configuration says 6"),
        ({"dict_class": "JumpReluAutoEncoder"}, "has no tensor W_enc"),
    ],
)  # fmt: skip
def test_bad_trainer(change, match, tmp_path):
    folder = export(made("topk"), tmp_path / "a", "dictionary-learning")
    refused(rewrite(folder, "config.json", lambda c: c["trainer"].update(change)), match)
    refused(rewrite(folder, "config.json", lambda c: c.update(trainer=3)), "has no object 'trainer'")


@pytest.mark.parametrize("layout", ["sae-lens", "dictionary-learning"])
def test_any_flipped_bytes_load_or_are_refused(layout, tmp_path):
    """Nothing else than LayoutError comes out of a damaged file, in one line."""
    folder = export(made("topk"), tmp_path / "a", layout)
    files = {p: p.read_bytes() for p in folder.iterdir()}
    random = torch.Generator().manual_seed(0)
    refusals = 0
    for path, content in list(files.items()) * 60:
        damaged = bytearray(content)
        reach = min(len(content), 3000)  # headers and names, rather than weights
        for place in torch.randint(reach, (3,), generator=random).tolist():
            damaged[place] = int(torch.randint(256, (), generator=random))
        path.write_bytes(bytes(damaged))
        try:
            load(folder)
        except LayoutError as error:
            refusals += 1
            assert "\n" not in str(error) and len(str(error)) < 600
        path.write_bytes(content)
    assert refusals > 40
