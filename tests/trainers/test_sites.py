"""Several sites in one run: what as many runs of one site give, from one reading of the text."""

import json

import pandas as pd
import pytest
import torch
from processes import under_torchrun
from small_runs import TEXT, said, small, stopped_at, weights

from frontier import compare
from trainers import activation_stream, load_language_model
from trainers.activations import ActivationError, CacheError
from trainers.config import ConfigError, checked, read_config, run_config, write_config
from trainers.config_members import members
from trainers.config_sizes import located, sized
from trainers.evaluate.runs import evaluate_run
from trainers.run import build_run
from trainers.sae_files import load_saes
from trainers.status import run_status
from trainers.sweeps import settled
from trainers.train import train

SITES = ["resid_post.0", "mlp_out.-1"]
NAMES = ["resid_post.0", "mlp_out.1"]
FAMILIES = [
    {"architecture": "relu", "settings": [1.0, 4.0]},
    {"architecture": "batch_topk", "settings": [2, 8]},
]


def of_sites(sites=SITES, families=FAMILIES, **sections):
    return small(families, activations={"sites": sites}, **sections)


def of_site(site):
    return small(FAMILIES, activations={"site": site})


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites") / "together"
    train(of_sites(), folder, progress=False)
    evaluate_run(folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    found = {}
    for name, site in zip(NAMES, SITES, strict=True):
        folder = found[name] = tmp_path_factory.mktemp("sites") / name
        train(of_site(site), folder, progress=False)
        evaluate_run(folder, progress=False)
    return found


def same_bits(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_two_sites_in_one_run_are_two_runs_of_one_site(together, apart):
    """Weights to the last bit, metrics to the last digit, in one table that names the sites."""
    found, table = weights(together), pd.read_parquet(together / "metrics.parquet")
    assert len(found) == len(table) == 8
    assert table["site"].tolist() == [NAMES[0]] * 4 + [NAMES[1]] * 4
    assert table["layer"].tolist() == [0] * 4 + [1] * 4
    for site, folder in apart.items():
        for run_id, parameters in weights(folder).items():
            assert same_bits(found[f"{run_id}_{site}"], parameters)
        one = pd.read_parquet(folder / "metrics.parquet")
        rows = table[table["site"] == site].reset_index(drop=True)
        assert rows["run_id"].tolist() == [f"{name}_{site}" for name in one["run_id"]]
        pd.testing.assert_frame_equal(rows.drop(columns="run_id"), one.drop(columns="run_id"))


def test_each_site_is_compared_by_itself(tmp_path):
    families = [{"architecture": a, "settings": [2, 4, 8]} for a in ("topk", "abs_topk")]
    train(of_sites(families=families), tmp_path / "run", progress=False)
    evaluate_run(tmp_path / "run", progress=False)
    found = compare(tmp_path / "run" / "metrics.parquet", reference="topk")
    assert {(r.group["site"], r.group["layer"]) for r in found} == set(zip(NAMES, (0, 1), strict=True))


@pytest.mark.parametrize("buffer_tokens", [None, 2048])
def test_the_model_reads_the_text_once_for_all_sites(buffer_tokens):
    def passes(**where):
        stream = build_run(small(activations=where | {"buffer_tokens": buffer_tokens}), False).stream
        model, calls = stream.harvest.model, []
        inner = model.model.forward
        model.model.forward = lambda *a, **k: calls.append(1) or inner(*a, **k)
        for _ in range(2 * stream.harvest.total_rows // stream.batch_size + 3):
            stream.batches()
        return stream.buffers, len(calls)

    assert passes(sites=SITES) == passes(site=SITES[1])


def test_a_stopped_run_goes_on_to_the_same_weights(together, tmp_path):
    stopped_at(10, of_sites(), tmp_path / "run")
    train(run_config(tmp_path / "run"), tmp_path / "run", progress=False, resume=True)
    ours, wanted = weights(tmp_path / "run"), weights(together)
    assert all(same_bits(ours[k], wanted[k]) for k in wanted) and ours.keys() == wanted.keys()


def test_several_processes_share_the_members_of_all_sites(together, tmp_path):
    write_config(of_sites(), tmp_path / "sweep.toml")
    under_torchrun(2, "run", tmp_path / "sweep.toml", "--out", tmp_path / "run", "--quiet")
    ours, wanted = weights(tmp_path / "run"), weights(together)
    assert all(same_bits(ours[k], wanted[k]) for k in wanted)
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "run" / "metrics.parquet"), pd.read_parquet(together / "metrics.parquet")
    )


def test_the_folder_says_which_sites(together, monkeypatch, capsys):
    text = (together / "config.toml").read_text()
    assert f"sites = {json.dumps(NAMES)}" in text and "site =" not in text
    assert read_config(together / "config.toml") == run_config(together)
    assert json.loads((together / "environment.json").read_text())["activations"]["site"] == NAMES
    _, out, _ = said(monkeypatch, capsys, "status", together)
    assert all(f"relu_1_seed0_{site}" in out for site in NAMES)
    assert run_status(together)


def test_sites_of_different_widths(tmp_path, monkeypatch):
    """An expansion gives each site its own size; a size is the same everywhere."""
    monkeypatch.setattr("trainers.evaluate.linear_error.MEMORY", 0)  # 3 maps of the wide site in place of 36
    training = {"dictionary_size": None, "expansion": 2}
    one = [{"architecture": "batch_topk", "settings": [2]}]
    wide = of_sites(["mlp_out.1", "mlp_neurons.1"], one, training=training)
    trained = train(wide, tmp_path / "run", progress=False)
    assert {(f.site, f.d_in, f.dictionary_size) for f in trained.families} == {
        ("mlp_out.1", 128, 256), ("mlp_neurons.1", 512, 1024)
    }  # fmt: skip
    table = evaluate_run(tmp_path / "run", progress=False)
    assert table.groupby("site")[["d_model", "dictionary_size"]].first().to_dict("index") == {
        "mlp_out.1": {"d_model": 128, "dictionary_size": 256},
        "mlp_neurons.1": {"d_model": 512, "dictionary_size": 1024},
    }
    again = train(run_config(tmp_path / "run"), tmp_path / "run", progress=False, resume=True)
    assert again.config == trained.config
    plain = of_sites(["a", "b"], training={"dictionary_size": None})
    own = sized(plain, {"a": 8, "b": 4})
    assert [(m.site, m.dictionary_size) for m in members(own)][::2] == [("a", 64), ("b", 32)] * 2
    assert sized(own, {"a": 8, "b": 4}) == own
    assert {m.dictionary_size for m in members(sized(of_sites(["a", "b"]), {"a": 8, "b": 4}))} == {64}


def test_a_family_may_have_sites_of_its_own():
    families = [FAMILIES[0], FAMILIES[1] | {"sites": ["mlp_out.-1"]}]
    config = located(of_sites(families=families), load_language_model())
    found = [(m.family, m.site) for m in members(config)]
    assert found == [("relu", NAMES[0])] * 2 + [("relu", NAMES[1])] * 2 + [("batch_topk", NAMES[1])] * 2


def test_targets_are_found_at_each_site(tmp_path):
    """Pilots of all sites are one run; a family then has settings of its own at each."""
    families = [{"architecture": "relu", "target_l0": [4, 8]}, {"architecture": "topk", "target_l0": [4]}]
    config = of_sites(families=families, training={"steps": 150, "batch_size": 128})
    found, sweeps = settled(config, tmp_path, progress=False)
    relu = [f for f in found.families if f.called == "relu"]
    assert [f.sites for f in relu] == [[s] for s in SITES] and relu[0].settings != relu[1].settings
    assert [f.sites for f in found.families if f.called == "topk"] == [None]
    assert [(s.family, s.sites) for s in sweeps] == [("relu", [s]) for s in SITES] + [("topk", None)]
    assert len(members(found)) == 6
    assert [s.get("sites") for s in json.loads((tmp_path / "sweep.json").read_text())] == [
        [SITES[0]], [SITES[1]], None,
    ]  # fmt: skip


def test_streams_of_several_sites_from_python(tmp_path):
    """The same positions at each site; what is cached of one site serves, and so does a part of it."""
    model = load_language_model()
    given = {"text": TEXT, "tokens": 3000, "batch_size": 100}
    both = activation_stream(model, SITES, **given, cache=tmp_path / "cache", progress=False)
    assert both.sites == NAMES and both.widths == dict.fromkeys(NAMES, (128, 128))
    with pytest.raises(TypeError, match="a stream of 2 sites gives `batches\\(\\)`"):
        next(both)
    alone = [activation_stream(model, site, **given, progress=False) for site in SITES]
    first = both.state()
    for _ in range(40):
        batches = both.batches()
        for site, one in zip(NAMES, alone, strict=True):
            assert torch.equal(batches[site].input, next(one).input)
    both.restore(first)
    (tmp_path / "cache" / NAMES[1] / "000" / "chunk_000000.safetensors").unlink()
    again = activation_stream(model, SITES, **given, cache=tmp_path / "cache", progress=False)
    assert all(torch.equal(a.input, b.input) for a, b in zip(
        again.batches().values(), both.batches().values(), strict=True))  # fmt: skip
    one = activation_stream(model, NAMES[0], **given, cache=tmp_path / "cache" / NAMES[0], progress=False)
    one.harvest.model = None  # the cache of a site is that of a run of the site
    next(one)
    with pytest.raises(CacheError, match="holds other activations"):
        activation_stream(model, "mlp_out.0", **given, cache=tmp_path / "cache" / NAMES[0], progress=False)
    with pytest.raises(ActivationError, match=r"sites name mlp_out.1 twice \(mlp_out.-1, mlp_out.1\)"):
        activation_stream(model, ["mlp_out.-1", "mlp_out.1"], **given, progress=False)
    with pytest.raises(ActivationError, match=r"the state is of another stream: site was \['resid_post.0"):
        alone[0].restore(first)


def test_memory_is_that_of_all_sites():
    rows = build_run(of_sites(), progress=False).stream
    assert rows.bytes_held == 2 * build_run(of_site("mlp_out.1"), progress=False).stream.bytes_held
    with pytest.raises(ActivationError, match=r"of 1,024 bytes needs .*, memory_limit is 1 MB"):
        build_run(small(FAMILIES, activations={"sites": SITES, "memory_limit": "1 MB"}), progress=False)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"sites": []}, "at least 1 item"),
        ({"sites": ["a", "b"], "site": "b"}, "give site or sites, one of the two"),
        ({"sites": ["a", "b"], "target_site": "c"}, "target_site is of one site; leave sites out"),
        ({"sites": ["a", "b"], "files": "x.npy"}, "files is of one site; leave sites out"),
    ],
)
def test_what_does_not_go_with_sites_is_one_line(given, wanted):
    with pytest.raises(ConfigError, match=wanted):
        checked({"activations": given, "families": FAMILIES})


def test_wrong_sites_of_a_family(monkeypatch, capsys, tmp_path):
    wrong = [FAMILIES[0] | {"sites": ["mlp_ot.-1"]}]
    with pytest.raises(ConfigError, match=r"mlp_ot.-1 is not in activations.sites; did you mean"):
        of_sites(families=wrong)
    twice = [FAMILIES[0], FAMILIES[0] | {"sites": [SITES[0]]}]
    with pytest.raises(ConfigError, match="two families are called relu"):
        of_sites(families=twice)
    write_config(of_sites(families=[{"architecture": "topk", "settings": [4]}]), tmp_path / "one.toml")
    code, _, err = said(monkeypatch, capsys, "versus", tmp_path / "one.toml", "--against", "relu", "--saes",
                        "12", "--out", tmp_path / "versus")  # fmt: skip
    assert code == 2 and "a head to head is at one site" in err
    code, _, err = said(monkeypatch, capsys, "run", tmp_path / "one.toml", "--out", tmp_path / "run", "--set",
                        'activations.sites=["mlp_out.1", "nowhere.1"]')  # fmt: skip
    assert code == 2 and "nowhere.1" in err and not (tmp_path / "run" / "config.toml").exists()
    changed = read_config(tmp_path / "one.toml", ["activations.site=mlp_out.0"])
    assert changed.activations.places == ["mlp_out.0"]


def test_each_site_goes_on_from_its_own_sae_or_from_none(together, tmp_path):
    """A family of one name may start anew at one site and from a run at another."""
    kind = {"architecture": "batch_topk", "settings": [2]}
    families = [kind | {"sites": [SITES[0]]}, kind | {"sites": [SITES[1]], "start_from": str(together)}]
    train(of_sites(families=families), tmp_path / "run", progress=False)
    parents = {s.identity["site"]: s.identity.get("parent") for s in load_saes(tmp_path / "run" / "saes")}
    assert parents == {NAMES[0]: None, NAMES[1]: f"batch_topk_2_seed0_{NAMES[1]}"}


def test_the_command_shows_the_sites(monkeypatch, capsys, tmp_path):
    write_config(of_sites(families=FAMILIES[1:]), tmp_path / "sweep.toml")
    code, out, _ = said(monkeypatch, capsys, "run", tmp_path / "sweep.toml", "--out", tmp_path / "run", "-q")
    assert code == 0 and all(site in out for site in NAMES) and "4 SAEs" in out
