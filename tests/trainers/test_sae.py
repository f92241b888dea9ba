"""Folding the scale back, SAEs on disk, and files that hold none."""

import dataclasses
import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from trainers.activations import Scaling
from trainers.architectures import ARCHITECTURES, Gated, JumpReLU, Matryoshka, ReLU, TopK, to_jumprelu
from trainers.export import load
from trainers.family import Family, Member
from trainers.sae import SAE
from trainers.sae_files import SAEFileError, load_sae, load_saes, save_sae

torch.set_num_threads(1)
D, F = 8, 20
NAMES = list(ARCHITECTURES)
TRANSCODERS = [kind(False) for kind in ARCHITECTURES.values() if kind.transcodes]
KINDS = [*(kind() for kind in ARCHITECTURES.values()), JumpReLU(penalty="tanh"), Gated(tied=False)]


def drawn(kind, d_out=D, seed=0):
    """Inference parameters of a kind with every weight, bias and threshold drawn at random."""
    random = torch.Generator().manual_seed(seed)
    start = kind.start(D, d_out, F, (torch.zeros(D), torch.zeros(d_out)), seed)
    p = {k: torch.randn(v.shape, generator=random) * 0.5 for k, v in start.items()}
    state = {k: torch.full(v.shape, 0.8) for k, v in kind.state(F).items()}
    return p, kind.inference(p, state, 3)


def sae_of(kind, d_out=D, scales=(1.0, 1.0)):
    """An SAE as `Family.sae` gives it, its weights random, and the same SAE for scaled activations."""
    p, ready = drawn(kind, d_out)
    member = Member("a", 3, 0, 1e-3)
    scaling = Scaling(*scales, torch.zeros(D), torch.zeros(d_out))
    family = Family("f", kind, [member], d_in=D, d_out=d_out, dictionary_size=F, scaling=scaling)
    for name, value in p.items():
        family.parameters[name][0] = value
    for value in family.state.values():
        value.fill_(0.8)
    return family.sae(0, layer=1), SAE(kind, ready)


def inputs(*shape, seed=5):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- folding


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.name}{len(dataclasses.asdict(kind))}")
@pytest.mark.parametrize("scale", [0.05, 1.0, 7.5])
def test_folding_an_autoencoder(kind, scale):
    """On raw x: codes f(s x)/s and reconstruction x̂(s x)/s, by the definition of the scale."""
    raw, scaled = sae_of(kind, scales=(scale, scale))
    x = inputs(40, D) / scale
    f = scaled.encode(scale * x)
    assert 0.02 < (f != 0).float().mean() < 0.9
    torch.testing.assert_close(raw.encode(x) * scale, f, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(raw(x) * scale, scaled(scale * x), rtol=1e-4, atol=1e-5)
    for name in ("W_enc", "W_dec") if "W_enc" in raw.parameters else ("W_dec",):
        torch.testing.assert_close(raw.parameters[name], scaled.parameters[name], rtol=0, atol=0)


@pytest.mark.parametrize("kind", TRANSCODERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("scales", [(0.3, 5.0), (4.0, 0.1)])
def test_folding_a_transcoder(kind, scales):
    """Input times s, target times t: ŷ(s x)/t on raw x; the codes are in units of the input."""
    raw, scaled = sae_of(kind, d_out=5, scales=scales)
    x = inputs(40, D) / scales[0]
    torch.testing.assert_close(raw.encode(x) * scales[0], scaled.encode(scales[0] * x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(raw(x) * scales[1], scaled(scales[0] * x), rtol=1e-4, atol=1e-5)
    assert (raw.d_in, raw.d_out, raw.dictionary_size) == (D, 5, F)


def test_folding_leaves_the_family_alone():
    """Exporting twice gives the same SAE, and training goes on from unfolded weights."""
    kind = JumpReLU()
    family = Family(
        "f", kind, [Member("a", 1.0, 0, 1e-3)], d_in=D, d_out=D, dictionary_size=F,
        scaling=Scaling(2.0, 2.0, torch.ones(D), torch.ones(D)),
    )  # fmt: skip
    before = {k: v.clone() for k, v in family.parameters.items()}
    first, second = family.sae(0), family.sae(0)
    first.parameters["W_dec"].zero_()
    assert all((v == before[k]).all() for k, v in family.parameters.items())
    assert (second.parameters["W_dec"] != 0).any()
    torch.testing.assert_close(second.parameters["threshold"] * 2, before["threshold"][0])
    assert not any(v.requires_grad for v in second.parameters.values())


def test_identity_uses_the_columns_of_the_metrics_table():
    sae, _ = sae_of(TopK(aux_k=4))
    wanted = {
        "run_id": "a", "family": "f", "architecture": "topk", "sparsity_setting": 3, "sparsity_name": "k",
        "seed": 0, "learning_rate": 1e-3, "dictionary_size": F,
        "d_model": D, "options": "aux_k = 4", "layer": 1,
    }  # fmt: skip
    assert sae.identity == wanted


def test_a_gated_sae_converts_after_folding_too():
    raw, _ = sae_of(Gated(), scales=(3.0, 3.0))
    x = inputs(500, D)
    converted = SAE(*to_jumprelu(Gated(), raw.parameters))
    torch.testing.assert_close(converted(x), raw(x), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- use


@pytest.mark.parametrize("name", NAMES)
def test_any_leading_shape(name):
    """[d], [B, d] and [B, T, d] give the same codes row by row."""
    sae, _ = sae_of(ARCHITECTURES[name]())
    x = inputs(3, 4, D)
    f = sae.encode(x)
    assert f.shape == (3, 4, F)
    torch.testing.assert_close(f[1, 2], sae.encode(x[1, 2]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(f[1], sae.encode(x[1]), rtol=1e-5, atol=1e-6)
    assert sae(x).shape == x.shape
    torch.testing.assert_close(
        sae.decode(f)[2, 3], f[2, 3] @ sae.parameters["W_dec"] + sae.parameters["b_dec"]
    )


@pytest.mark.parametrize("width", [2 * D, D // 2])
def test_activations_of_another_width_are_an_error(width):
    sae, _ = sae_of(ReLU())
    with pytest.raises(ValueError, match=f"{D}.*{width}|{width}.*{D}"):
        sae.encode(inputs(6, width))


def test_no_activations_give_no_codes():
    sae, _ = sae_of(ReLU())
    assert sae.encode(inputs(0, D)).shape == (0, F)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.name}{len(dataclasses.asdict(kind))}")
def test_round_trip(kind, tmp_path):
    """Tensors bit for bit, options and identity equal."""
    sae, _ = sae_of(kind, scales=(3.0, 3.0))
    assert save_sae(sae, tmp_path / "saes" / "one") == tmp_path / "saes" / "one"
    again = load_sae(tmp_path / "saes" / "one")
    assert again.architecture == sae.architecture
    assert again.identity == sae.identity
    assert again.parameters.keys() == sae.parameters.keys()
    for name, value in sae.parameters.items():
        assert again.parameters[name].dtype == value.dtype
        assert torch.equal(again.parameters[name], value), name
    assert sorted(p.name for p in (tmp_path / "saes").iterdir()) == ["one"]


def test_options_survive(tmp_path):
    kind = Matryoshka(prefixes=(0.25, 1.0), weights=(2.0, 1.0), aux_k=3)
    assert load_sae(save_sae(sae_of(kind)[0], tmp_path / "m")).architecture == kind


def test_saving_again_replaces(tmp_path):
    first, second = sae_of(ReLU())[0], sae_of(TopK())[0]
    save_sae(first, tmp_path / "s")
    save_sae(second, tmp_path / "s")
    assert load_sae(tmp_path / "s").architecture == TopK()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


def test_a_kill_while_writing_leaves_nothing_that_can_be_read(tmp_path, monkeypatch):
    """The process dies before the JSON: neither the folder nor the list of SAEs knows of it."""
    sae, _ = sae_of(ReLU())

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            save_sae(sae, tmp_path / "one")
    assert not (tmp_path / "one").exists()
    save_sae(sae, tmp_path / "one")  # the draft is no obstacle
    assert [s.identity["run_id"] for s in load_saes(tmp_path)] == ["a"]


def test_load_saes_reads_in_order_of_names(tmp_path):
    for name in ("b", "a", "c"):
        sae, _ = sae_of(ReLU())
        save_sae(SAE(sae.architecture, sae.parameters, {"run_id": name}), tmp_path / name)
    assert [s.identity["run_id"] for s in load_saes(tmp_path)] == ["a", "b", "c"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(SAEFileError, match="holds no SAEs"):
        list(load_saes(tmp_path / "empty"))


def test_the_folder_of_a_run_stands_for_its_saes(finished):
    """Where one SAE is wanted, the error says how to read them."""
    names = [[s.identity["run_id"] for s in load_saes(place)] for place in (finished, finished / "saes")]
    assert names[0] == names[1] and len(names[0]) == 3
    for reader, place in ((load_sae, finished), (load_sae, finished / "saes"), (load, finished)):
        with pytest.raises(
            ValueError, match=r"`load_saes` reads the 3 below it, .*relu_1_seed0 is the first"
        ):
            reader(place)


def saved(tmp_path, kind=None):
    return save_sae(sae_of(kind or ReLU())[0], tmp_path / "sae")


@pytest.mark.parametrize("name", ["sae.json", "sae.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_torn_files(tmp_path, name, share):
    folder = saved(tmp_path)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(share * len(data))])
    with pytest.raises(SAEFileError, match=str(folder)):
        load_sae(folder)


@pytest.mark.parametrize("name", ["sae.json", "sae.safetensors"])
def test_missing_files(tmp_path, name):
    folder = saved(tmp_path)
    os.remove(folder / name)
    with pytest.raises(SAEFileError, match="no readable SAE"):
        load_sae(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(SAEFileError, match="nowhere"):
        load_sae(tmp_path / "nowhere")


def changed(about, **more):
    return about | more


@pytest.mark.parametrize(
    "change",
    [
        lambda about: changed(about, format=2),
        lambda about: {k: v for k, v in about.items() if k != "format"},
        lambda about: {k: v for k, v in about.items() if k != "identity"},
        lambda about: [about],
        lambda about: None,
        lambda about: "relu",
        lambda about: changed(about, options=["p"]),
        lambda about: changed(about, options={"p": "1"}),
        lambda about: changed(about, architecture=["relu"]),
    ],
)
def test_hostile_descriptions(tmp_path, change):
    folder = saved(tmp_path)
    about = json.loads((folder / "sae.json").read_text())
    (folder / "sae.json").write_text(json.dumps(change(about)))
    with pytest.raises(SAEFileError):
        load_sae(folder)


@pytest.mark.parametrize(
    "content",
    [
        b'{"format": 1, "architecture": "reluu", "options": {}, "identity": {}}',
        b'{"format": 1, "architecture": "relu", "options": {"q": 1}, "identity": {}}',
        b'{"format": 1, "architecture": "relu", "options": {"p": -1}, "identity": {}}',
        b"\xff\xfe\x00binary",
    ],
    ids=["architecture", "option", "value", "bytes"],
)
def test_descriptions_that_name_nothing_known(tmp_path, content):
    folder = saved(tmp_path)
    (folder / "sae.json").write_bytes(content)
    with pytest.raises(SAEFileError, match="sae"):
        load_sae(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: {k: v for k, v in p.items() if k != "W_dec"},
        lambda p: {k: v for k, v in p.items() if k != "b_enc"},
        lambda p: p | {"W_dec": p["W_dec"][:-1].contiguous()},
        lambda p: p | {"b_dec": p["b_dec"][:-1].contiguous()},
        lambda p: p | {"W_enc": p["W_enc"][0].contiguous()},
    ],
    ids=["no decoder", "no bias", "latents differ", "widths differ", "one column"],
)
def test_tensors_that_make_no_sae(tmp_path, change):
    folder = saved(tmp_path)
    tensors = load_file(folder / "sae.safetensors")
    save_file(change(tensors), folder / "sae.safetensors")
    with pytest.raises(SAEFileError):
        load_sae(folder)
