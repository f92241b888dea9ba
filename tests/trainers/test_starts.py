"""Members that go on from a trained SAE: equal at step 0, recorded, resumed bit for bit; what is refused."""

import json
import shutil

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from small_runs import small, weights

from trainers import checkpoints
from trainers.architectures import BUILT_IN, TopK
from trainers.config import ConfigError, read_config, run_config, write_config
from trainers.evaluate.runs import evaluate_run, evaluated
from trainers.export import LayoutError, export, load
from trainers.held_out import read_held_out
from trainers.run import build_run
from trainers.sae import SAE
from trainers.sae_files import load_sae, load_saes, save_sae
from trainers.starts import digest
from trainers.train import train

NAMES = [kind.name for kind in BUILT_IN]
SETTINGS = {"relu": 1.0, "gated": 1.0, "jumprelu": 0.1, "p_anneal": 0.3}
SIMILAR = {"centre": True, "seed": 3, "tokens": 5000}
"""Another part of the text, so that scale and centre are not those of the source's run."""


def families(*names, **more):
    return [{"architecture": n, "settings": [SETTINGS.get(n, 4)]} | more for n in names]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources") / "run"
    train(small(families(*NAMES)), folder, progress=False)
    return folder


def place(source, name):
    (found,) = (source / "saes").glob(f"{name}_[0-9]*")
    return found


def at_step_0(sections, **more):
    config = small(sections, activations=SIMILAR | more.pop("activations", {}), **more)
    run = build_run(config, progress=False)
    return run, run.saes()


def table_of(saes, run):
    return evaluated(saes, run.model, run.config, read_held_out(run.config, run.model), False).table


@pytest.mark.parametrize("centre", [True, False])
def test_at_step_0_a_member_is_the_sae_that_it_started_from(source, centre):
    """Every metric of every architecture, to 1e-6: scale and centre of another part of the text folded in."""
    sections = [f for n in NAMES for f in families(n, start_from=str(place(source, n)))]
    run, found = at_step_0(sections, activations={"centre": centre})
    given = [load_sae(place(source, n)) for n in NAMES]
    assert run.stream.scaling.input_scale != pytest.approx(given[0].identity["input_scale"], rel=1e-4)
    now, was = (table_of(saes, run) for saes in (found, given))
    metrics = ["l0", "ce_sae", "loss_recovered", "fvu", "cosine_similarity", "kl", "alive_fraction"]
    pd.testing.assert_frame_equal(now[metrics], was[metrics], rtol=1e-6, atol=1e-9)


def test_a_transcoder_with_a_skip_goes_on(tmp_path):
    """Two scales and two centres, and a matrix around the latents."""
    sites = {"site": "mlp_in.0", "target_site": "mlp_out.0"}
    own = families("relu", "topk", options={"skip": True})
    train(small(own, activations=sites), tmp_path / "r", progress=False)
    given = list(load_saes(tmp_path / "r" / "saes"))
    run, found = at_step_0([f | {"start_from": str(tmp_path / "r")} for f in own], activations=sites)
    now, was = (table_of(saes, run) for saes in (found, given))
    metrics = ["l0", "ce_sae", "fvu", "kl"]
    pd.testing.assert_frame_equal(now[metrics], was[metrics], rtol=1e-6, atol=1e-9)


def test_what_is_recorded(source, tmp_path):
    start = place(source, "topk")
    config = small(families("topk", start_from=str(start)), training={"keep_at": [4]})
    train(config, tmp_path / "r", progress=False)
    table = evaluate_run(tmp_path / "r", progress=False).set_index("run_id")
    row = table.loc["topk_4_seed0"]
    assert row["parent"] == start.name and row["started_from"] == digest(load_sae(start))
    assert row["tokens_before"] == 12 * 256 and row["tokens_trained"] == 2 * 12 * 256
    assert row["steps_trained"] == 12
    assert table.loc["topk_4_seed0_step4", "tokens_trained"] == 16 * 256
    assert table.loc["topk_4_seed0_step4", "parent"] == "topk_4_seed0"


def test_a_run_goes_on_member_by_member(source, tmp_path):
    _, found = at_step_0(families("relu", "topk", start_from=str(source)))
    assert [s.identity["parent"] for s in found] == [place(source, n).name for n in ("relu", "topk")]
    with pytest.raises(ConfigError, match=r"has no SAE topk_5_seed0 \(name .* it\); did you .*topk_4_seed0"):
        at_step_0([{"architecture": "topk", "settings": [5], "start_from": str(source)}])


def test_names_with_a_site_or_a_step_are_found(tmp_path):
    """A run of one site goes on from one of several, the other way round, and from SAEs at a step."""
    several, one = {"sites": ["mlp_out.1", "resid_post.0"]}, {"site": "mlp_out.-1"}
    for name, where in (("several", several), ("one", one)):
        train(
            small(families("topk"), activations=where, training={"keep_at": [4]}),
            tmp_path / name,
            progress=False,
        )

    def parents(source, **more):
        run, _ = at_step_0(families("topk", start_from=str(tmp_path / source)), **more)
        return [s.identity["parent"] for s in run.saes()]

    assert parents("several", activations=one) == ["topk_4_seed0_mlp_out.1"]
    assert parents("several/kept/step_4", activations=one) == ["topk_4_seed0_mlp_out.1_step4"]
    assert parents("one/kept/step_4", activations=one) == ["topk_4_seed0_step4"]
    assert parents("one", activations={"sites": ["mlp_out.1"]}) == ["topk_4_seed0"]
    with pytest.raises(
        ConfigError, match=r"has topk_4_seed0 at mlp_out.1, not at resid_post.0. Name one SAE's"
    ):
        parents("one", activations=several)


@pytest.mark.parametrize("layout", ["sae-lens", "dictionary-learning"])
@pytest.mark.parametrize("name", ["relu", "gated", "jumprelu", "topk", "batch_topk"])
def test_foreign_folders(source, layout, name, tmp_path):
    """Among them SAELens' form of a BatchTopK, a JumpReLU of one threshold."""
    sae = load_sae(place(source, name))
    export(sae, tmp_path / "theirs", layout)
    run, (found,) = at_step_0(families(name, start_from=str(tmp_path / "theirs")))
    x = next(run.stream).input / run.stream.scaling.input_scale + run.stream.scaling.input_centre
    torch.testing.assert_close(found(x), sae(x), rtol=1e-4, atol=5e-5)
    assert found.identity["parent"] == "theirs"
    assert found.identity["tokens_before"] == sae.identity["tokens_trained"]


@pytest.mark.parametrize(("transcode", "skip"), [(False, False), (False, True), (True, True)])
def test_a_folder_of_sparsify(tmp_path, transcode, skip):
    """Against its own formula: relu(linear(x − b_dec)) at the k highest, no b_dec in a transcoder."""
    random = torch.Generator().manual_seed(0)
    d, size, k = 128, 64, 4
    w, b = torch.randn(size, d, generator=random) / 9, torch.randn(size, generator=random) / 9
    rows = torch.nn.functional.normalize(torch.randn(size, d, generator=random))
    bias, around = torch.randn(d, generator=random), torch.randn(d, d, generator=random) / 9
    found = {"encoder.weight": w, "encoder.bias": b, "W_dec": rows, "b_dec": bias}
    folder = tmp_path / "layers.3.mlp"
    folder.mkdir()
    save_file(found | ({"W_skip": around} if skip else {}), folder / "sae.safetensors")
    cfg = {"activation": "topk", "expansion_factor": 32, "num_latents": size, "k": k, "d_in": d}
    (folder / "cfg.json").write_text(json.dumps(cfg | {"transcode": transcode, "skip_connection": skip}))
    x = torch.randn(50, d, generator=random)
    acts, places = torch.relu((x if transcode else x - bias) @ w.T + b).topk(k)
    wanted = torch.einsum("nk,nkd->nd", acts, rows[places]) + bias + (x @ around.T if skip else 0)
    sae = load(folder)
    torch.testing.assert_close(sae(x), wanted, rtol=1e-4, atol=1e-5)
    assert (sae.identity["run_id"], sae.identity["sparsity_setting"]) == ("layers.3.mlp", k)
    if not transcode and not skip:
        with pytest.warns(UserWarning, match=r"site layers\.3\.mlp there"):
            _, (start,) = at_step_0(families("topk", start_from=str(folder)))
        torch.testing.assert_close(start(x), wanted, rtol=1e-3, atol=1e-3)
    (folder / "cfg.json").write_text(json.dumps(cfg | {"activation": "groupmax"}))
    with pytest.raises(LayoutError, match="activation 'groupmax' is not read; wanted 'topk'"):
        load(folder)


def test_rows_of_another_norm_compute_the_same_at_norm_1(source, tmp_path):
    sae = load_sae(place(source, "jumprelu"))
    norms = torch.linspace(0.3, 3, sae.dictionary_size)
    p = dict(sae.parameters)
    p |= {k: p[k] / norms for k in ("W_enc", "b_enc", "threshold")} | {"W_dec": p["W_dec"] * norms[:, None]}
    save_sae(SAE(sae.architecture, p, sae.identity), tmp_path / "free")
    run, (found,) = at_step_0(families("jumprelu", start_from=str(tmp_path / "free")))
    assert torch.allclose(found.rows.norm(dim=-1), torch.ones(64), atol=1e-5)
    x = next(run.stream).input / run.stream.scaling.input_scale + run.stream.scaling.input_centre
    torch.testing.assert_close(found(x), sae(x), rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("after", [None, 5])
def test_a_resumed_run_has_the_same_bits_and_needs_no_source(source, after, tmp_path, monkeypatch):
    """Killed before the first checkpoint it starts from the source again; after it, without."""
    own = tmp_path / "source"
    shutil.copytree(place(source, "batch_topk"), own)
    config = small(families("batch_topk", start_from=str(own)))
    train(config, tmp_path / "whole", progress=False)
    whole = checkpoints.save

    def killed(where, step, *rest):
        if step > (after or 0):
            raise SystemExit
        return whole(where, step, *rest)

    monkeypatch.setattr(checkpoints, "save", killed)
    with pytest.raises(SystemExit):
        train(config, tmp_path / "r", progress=False)
    monkeypatch.undo()
    if after:
        shutil.rmtree(own)
    train(run_config(tmp_path / "r"), tmp_path / "r", progress=False, resume=True)
    one, other = weights(tmp_path / "r"), weights(tmp_path / "whole")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[n][k], v) for n in one for k, v in other[n].items())
    identities = [load_sae(tmp_path / f / "saes" / n).identity for f in ("r", "whole") for n in one]
    assert identities[0] == identities[1]
    assert identities[0]["parent"] == place(source, "batch_topk").name


def test_a_path_beside_the_configuration(source, tmp_path, monkeypatch):
    shutil.copytree(place(source, "topk"), tmp_path / "there" / "mine")
    write_config(small(families("topk", start_from="mine")), tmp_path / "there" / "c.toml")
    config = read_config(tmp_path / "there" / "c.toml")
    assert config.families[0].start_from == str(tmp_path / "there" / "mine")


@pytest.mark.parametrize(
    ("section", "more", "message"),
    [
        ({"start_from": "nowhere"}, {}, "family topk: there is no folder nowhere; start_from is a folder of"),
        (
            {"start_from": "{relu}"},
            {},
            'is relu, the family topk; write architecture = "relu", or start from',
        ),
        (
            {"start_from": "{topk}", "dictionary_size": 128},
            {},
            "has 64 latents, the family 128; write dictionary_size = 64 in the family",
        ),
        (
            {"start_from": "{topk}"},
            {"activations": {"site": "mlp_neurons.0"}},
            r"reads width 128 and writes 128 \(at mlp_out.1\), this run 512 and 512; give activations.site",
        ),
        ({"start_from": "{torn}"}, {}, "family topk: start_from: .*torn"),
        (
            {"start_from": "{gated}", "architecture": "gated", "options": {"tied": False}},
            {},
            "does not fit gated with these options: W_mag should be .*, is absent; r_mag should be absent",
        ),
    ],
)
def test_what_does_not_fit(source, section, more, message, tmp_path):
    shutil.copytree(place(source, "topk"), tmp_path / "torn")
    (tmp_path / "torn" / "sae.safetensors").write_bytes(b"torn")
    names = {n: place(source, n) for n in NAMES} | {"torn": tmp_path / "torn"}
    own = families("topk")[0] | section | {"start_from": section["start_from"].format(**names)}
    with pytest.raises(ConfigError, match=message) as error:
        at_step_0([own], **more)
    assert "\n" not in str(error.value)


def test_another_site_is_said(source):
    with pytest.warns(UserWarning, match=r"site mlp_out\.1 there, mlp_out\.0 here"):
        at_step_0(families("topk", start_from=str(place(source, "topk"))), activations={"site": "mlp_out.0"})


def test_a_topk_of_free_norms_is_said(source, tmp_path):
    sae = load_sae(place(source, "topk"))
    save_sae(
        SAE(TopK(), sae.parameters | {"W_dec": sae.rows * torch.linspace(1, 2, 64)[:, None]}, sae.identity),
        tmp_path / "free",
    )
    with pytest.warns(
        UserWarning, match="decoder rows have norms from 1 to 2.00 in the units of this run; topk"
    ):
        at_step_0(families("topk", start_from=str(tmp_path / "free")))
