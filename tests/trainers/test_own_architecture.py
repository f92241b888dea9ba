"""Architectures of one's own, by file, module, decorator or package, have all that the built-in ones have."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import said, small, weights

import frontier
import trainers
from trainers.architectures import (
    ARCHITECTURES,
    BUILT_IN,
    Architecture,
    ArchitectureError,
    ReLU,
    known,
    register,
)
from trainers.architectures.registry import _TYPED, origin
from trainers.config import ConfigError, checked, read_config, run_config, write_config
from trainers.evaluate.runs import evaluate_run
from trainers.export import ExportError, export, load
from trainers.head_to_head import asking
from trainers.head_to_head.budget import budget_of
from trainers.interruption import Stopped
from trainers.promises.report import PROMISES
from trainers.sae_files import SAEFileError, load_sae, load_saes
from trainers.studies.prune import prune
from trainers.studies.variants import linear_decoder
from trainers.train import train

ROOT = Path(__file__).parents[2]
SIGNED = ROOT / "examples" / "sign_aware_gated.py"
NET = ROOT / "examples" / "adaptive_elastic_net.py"
FAMILIES = [
    {"architecture": f"{SIGNED}:SignAwareGated", "settings": [2.0, 6.0], "dictionary_size": 32},
    {"architecture": f"{NET}:AdaptiveElasticNet", "settings": [2.0], "options": {"ridge": 0.1}},
    {"architecture": "relu", "settings": [1.0, 4.0]},
]
NAMES = {"sign_aware_gated", "adaptive_elastic_net", "relu"}


@pytest.fixture
def only_ours(as_before):
    """Nobody's own classes are known, and afterwards those that were."""
    for name in ARCHITECTURES.keys() - {k.name for k in BUILT_IN}:
        del ARCHITECTURES[name]
    _TYPED.clear()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two architectures of one's own and ReLU on one stream, trained and evaluated."""
    folder = tmp_path_factory.mktemp("own") / "run"
    train(small(FAMILIES), folder, progress=False)
    evaluate_run(folder, progress=False)
    return folder


def test_the_built_in_ones_pass_through_the_same_door():
    assert {ARCHITECTURES[k.name] for k in BUILT_IN} == set(BUILT_IN)
    assert all(register(k) is k and origin(k) is None for k in BUILT_IN)


def test_they_stand_beside_the_built_in_ones(run):
    table = frontier.read(run / "metrics.parquet")
    assert set(table["family"]) == NAMES and table["l0"].notna().all() and table["fvu"].between(0, 1.5).all()
    assert table.set_index("run_id").loc["adaptive_elastic_net_2_seed0", "options"] == "ridge = 0.1"
    own = table.set_index("family")["negative_l0"]
    assert own["relu"].isna().all() and (own["sign_aware_gated"] > 1).all()
    assert (table["negative_l0"].dropna() < table["l0"][table["negative_l0"].notna()]).all()
    assert table["negative_l0_se"].notna().sum() == 2


def test_a_metric_of_its_own_is_the_mean_over_tokens(run):
    """Recounted from the sums per batch; of equal batches, its error is that of their mean."""
    table = pd.read_parquet(run / "metrics.parquet").set_index("run_id")
    rows = pd.read_parquet(run / "batches.parquet")
    rows = rows[rows["run_id"] == "sign_aware_gated_2_seed0"]
    mean = rows["negative_l0_sum"].sum() / rows["tokens"].sum()
    assert table.loc["sign_aware_gated_2_seed0", "negative_l0"] == pytest.approx(mean, rel=1e-12)
    assert len(set(rows["tokens"])) == 1
    spread = (rows["negative_l0_sum"] / rows["tokens"]).std(ddof=1) / np.sqrt(len(rows))
    assert table.loc["sign_aware_gated_2_seed0", "negative_l0_se"] == pytest.approx(spread, rel=1e-12)


def test_a_report_shows_them(run, tmp_path):
    from typer.testing import CliRunner

    from frontier.cli import app

    done = CliRunner().invoke(app, ["report", str(run / "metrics.parquet"), "-o", str(tmp_path / "r.html")])
    assert done.exit_code == 0 and "sign_aware_gated" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("engine", ["loop", "stacked"])
def test_a_stopped_run_ends_with_the_same_weights(run, tmp_path, engine, monkeypatch):
    config = small(FAMILIES, training={"engine": engine})
    if engine == "stacked":  # `run` is of the loop
        train(config, tmp_path / "whole", progress=False)
    import trainers.train as module

    calls = iter(range(100))
    real = module.steps

    def stopping(run, folder, signalled):
        return real(run, folder, lambda: 15 if next(calls) >= 6 else None)

    monkeypatch.setattr(module, "steps", stopping)
    with pytest.raises(Stopped):
        train(config, tmp_path / "cut", progress=False)
    monkeypatch.setattr(module, "steps", real)
    train(run_config(tmp_path / "cut"), tmp_path / "cut", progress=False, resume=True)
    whole = weights(run if engine == "loop" else tmp_path / "whole")
    cut = weights(tmp_path / "cut")
    assert whole.keys() == cut.keys() and len(whole) == 5
    for name, tensors in whole.items():
        assert all(torch.equal(v, cut[name][k]) for k, v in tensors.items())


def test_pilots_place_their_sweeps(tmp_path):
    from trainers.sweeps import settled

    families = [{"architecture": f"{NET}:AdaptiveElasticNet", "target_l0": [6, 12]}]
    config, sweeps = settled(small(families, training={"steps": 40}), progress=False)
    low, high = sorted(config.families[0].settings)
    assert low < high and sweeps[0].family == "adaptive_elastic_net"


def test_signed_codes_are_pruned_by_their_size(run):
    from trainers.activations import evaluation_windows
    from trainers.language_models import load_language_model

    model = load_language_model("tiny_lm")
    tokens, protocol = evaluation_windows(model, "standard-library", 6, progress=False)
    sae = load_sae(run / "saes" / "sign_aware_gated_2_seed0")
    found = prune([sae], model, tokens[:4], "mlp_out.1", training_tokens=tokens[4:], protocol=protocol,
                  strengths={"top k": [3]}).table  # fmt: skip
    assert found["l0"].iloc[1] == pytest.approx(3) and found["l0"].iloc[0] > 4
    assert found["negative_l0"].iloc[1] == pytest.approx(1.5, abs=0.8)
    rows, bias = linear_decoder(sae)
    assert rows.shape == (32, 128) and torch.equal(bias, sae.parameters["b_dec"])


def test_pursuit_takes_their_rows(run):
    from trainers.studies.pursuit import orthogonal_matching_pursuit

    sae = load_sae(run / "saes" / "sign_aware_gated_2_seed0")
    x = torch.randn(20, 128, generator=torch.Generator().manual_seed(0))
    found = orthogonal_matching_pursuit(x, linear_decoder(sae)[0], [4], signed=True)[4]
    assert ((found != 0).sum(1) == 4).all() and (found < 0).any()


def test_export_writes_what_computes_as_a_built_in_one(run, tmp_path):
    """The elastic net trains otherwise and encodes as ReLU; signed codes are in no other library's layout."""
    net = load_sae(run / "saes" / "adaptive_elastic_net_2_seed0")
    x = torch.randn(30, 128, generator=torch.Generator().manual_seed(0)) * 50
    torch.testing.assert_close(load(export(net, tmp_path / "net"))(x), net(x))
    signed = load_sae(run / "saes" / "sign_aware_gated_2_seed0")
    with pytest.raises(ExportError, match="'sign_aware_gated' has no form that other libraries have"):
        export(signed, tmp_path / "signed")


def test_a_subclass_that_encodes_otherwise_is_not_written_as_its_parent(only_ours, tmp_path):
    class Louder(ReLU):
        def encode(self, p, x):
            return 2 * super().encode(p, x)

    p = ReLU().start(6, 6, 9, (torch.zeros(6), torch.zeros(6)), 0)
    with pytest.raises(ExportError, match="'louder' has no form"):
        export(trainers.SAE(Louder(), p), tmp_path / "x")


def test_no_folder_brings_its_code_along(run, tmp_path, only_ours):
    """Neither a folder of weights nor that of a run makes a class load; the error says what to type."""
    one = run / "saes" / "sign_aware_gated_2_seed0"
    with pytest.raises(
        SAEFileError, match=r"'sign_aware_gated', whose class nobody.*trainers.register\(\"/.*py:Sign"
    ):
        load_sae(one)
    with pytest.raises(ConfigError, match=r"which no saved file can make run.*--use .*py:SignAwareGated"):
        run_config(run)
    evil = tmp_path / "evil.py"
    evil.write_text("raise SystemExit('run')\n")
    content = {"families": [{"architecture": f"{evil}:Evil", "settings": [1]}]}
    with pytest.raises(ConfigError, match="no saved file"):
        checked(content, saved=True)
    about = json.loads((one / "sae.json").read_text())
    for code in (f"{evil}:Evil", "antigravity:x"):
        (tmp_path / "sae").mkdir(exist_ok=True)
        (tmp_path / "sae" / "sae.json").write_text(json.dumps(about | {"architecture": code, "code": code}))
        (tmp_path / "sae" / "sae.safetensors").write_bytes((one / "sae.safetensors").read_bytes())
        with pytest.raises(SAEFileError, match="nobody has named"):
            load_sae(tmp_path / "sae")
    assert "antigravity" not in sys.modules


def test_the_command_takes_the_class_by_use(run, tmp_path, monkeypatch, capsys, only_ours):
    code, _, err = said(monkeypatch, capsys, "status", run)
    assert code == 2 and "--use" in err and err.count("sae-train:") == 1
    code, out, err = said(monkeypatch, capsys, "status", run, "--use", f"{SIGNED}:SignAwareGated",
                          "--use", f"{NET}:AdaptiveElasticNet")  # fmt: skip
    assert code == 0 and "sign_aware_gated_2_seed0" in out, err


def test_publish_takes_it_too(run, tmp_path, monkeypatch, capsys, only_ours):
    """What SAELens' layout cannot hold is said; the rest and all metrics are there."""
    words = (
        "publish",
        run,
        "--to",
        "hf://me/own",
        "--licence",
        "mit",
        "--dry-run",
        "--out",
        tmp_path / "out",
    )
    use = ("--use", f"{SIGNED}:SignAwareGated", "--use", f"{NET}:AdaptiveElasticNet")
    code, out, err = said(monkeypatch, capsys, *words, *use)
    assert code == 0 and "3 SAEs, metrics.parquet" in out and "2 SAEs left out" in out, err
    assert set(frontier.read(tmp_path / "out" / "metrics.parquet")["family"]) == NAMES
    assert {p.name for p in (tmp_path / "out").iterdir() if p.suffix == ".pdf"} == set()


def test_the_file_may_have_moved(run, tmp_path, only_ours):
    """The class is found by its name where it was typed under another path."""
    moved = tmp_path / "moved.py"
    moved.write_text(SIGNED.read_text())
    register(f"{moved}:SignAwareGated")
    register(f"{NET}:AdaptiveElasticNet")
    assert run_config(run).families[0].kind.__module__.startswith("moved_")
    assert len(list(load_saes(run / "saes"))) == 5


def test_a_changed_file_is_said_when_a_run_goes_on(tmp_path, only_ours):
    own = tmp_path / "own.py"
    own.write_text(NET.read_text())
    family = {"architecture": f"{own}:AdaptiveElasticNet", "settings": [2.0]}
    train(small([family]), tmp_path / "run", progress=False)
    own.write_text(NET.read_text() + "\n# another line\n")
    checked({"families": [family]})
    with pytest.warns(UserWarning, match="another text of adaptive_elastic_net's file"):
        train(run_config(tmp_path / "run"), tmp_path / "run", progress=False, resume=True)


def test_a_path_may_be_that_beside_the_configuration(tmp_path, monkeypatch, only_ours):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "own.py").write_text(NET.read_text())
    config = {"families": [{"architecture": f"{NET}:AdaptiveElasticNet", "settings": [2.0]}]}
    write_config(checked(config), tmp_path / "sub" / "c.toml")
    text = (tmp_path / "sub" / "c.toml").read_text().replace(str(NET), "own.py")
    (tmp_path / "sub" / "c.toml").write_text(text)
    _TYPED.clear()
    ARCHITECTURES.pop("adaptive_elastic_net")
    monkeypatch.chdir(tmp_path)
    for typed in ("own.py:AdaptiveElasticNet", "own.py"):
        (tmp_path / "sub" / "c.toml").write_text(text.replace("own.py:AdaptiveElasticNet", typed))
        found = read_config("sub/c.toml")
        assert found.families[0].architecture == "sub/own.py:AdaptiveElasticNet"


def test_a_file_alone_stands_for_the_one_architecture_that_it_holds(tmp_path, monkeypatch, capsys, only_ours):
    """In a configuration, as candidate or rival of a head to head, in `register`; of several one asks."""
    own, rival = tmp_path / "own.py", tmp_path / "rival.py"
    own.write_text(NET.read_text())
    rival.write_text(SIGNED.read_text())
    asked = asking.asked(own, [str(rival)], budget_of(saes=30))
    assert [f.architecture for f in asked.config.families] == [
        f"{own}:AdaptiveElasticNet", f"{rival}:SignAwareGated",
    ]  # fmt: skip
    assert origin(register(str(own))) == f"{own}:AdaptiveElasticNet"
    own.write_text(NET.read_text() + "\n\nclass Second(AdaptiveElasticNet):\n    pass\n")
    both = rf"own.py holds 2 architectures; name one: {own}:AdaptiveElasticNet, {own}:Second"
    with pytest.raises(ConfigError, match=both):
        asking.asked(own, ["relu"], budget_of(saes=30))
    code, _, err = said(monkeypatch, capsys, "versus", own, "--out", tmp_path / "v", "--saes", "30", "-q")
    assert code == 2 and "holds 2 architectures; name one" in err and not (tmp_path / "v").exists()


def test_a_module_and_a_decorator(tmp_path, monkeypatch, only_ours):
    (tmp_path / "my_package_of_saes").mkdir()
    (tmp_path / "my_package_of_saes" / "net.py").write_text(NET.read_text())
    monkeypatch.syspath_prepend(tmp_path)
    config = checked(
        {"families": [{"architecture": "my_package_of_saes.net:AdaptiveElasticNet", "settings": [1]}]}
    )
    assert config.families[0].called == "adaptive_elastic_net"

    @trainers.register
    class Mine(ReLU):
        pass

    assert known("mine") is Mine and checked({"families": [{"architecture": "mine", "settings": [1]}]})


def test_an_installed_package_offers_one_by_an_entry_point(tmp_path, monkeypatch, only_ours):
    (tmp_path / "offered_saes.py").write_text(NET.read_text())
    about = tmp_path / "offered_saes-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: offered-saes\nVersion: 1.0\n")
    points = "[sae_frontier.architectures]\nadaptive_elastic_net = offered_saes:AdaptiveElasticNet\n"
    points += "other_name = offered_saes:AdaptiveElasticNet\n"
    (about / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ArchitectureError, match="calls itself 'adaptive_elastic_net'"):
        known("other_name")
    assert known("adaptive_elastic_net").__module__ == "offered_saes"


def test_what_is_no_architecture_is_one_clear_line(tmp_path, only_ours):
    own = tmp_path / "own.py"
    for text, typed, words in (
        ("x = 1\n", "Own", "has no architecture"),
        ("import torch\nx = torch.nope\n", "Own", r"own.py, line 2: AttributeError: module 'torch'"),
        ("def f(:\n", "Own", r"own.py, line 1: invalid syntax"),
        (NET.read_text(), "AdaptiveElastikNet", "no class 'AdaptiveElastikNet'.*AdaptiveElasticNet"),
        (NET.read_text().replace("@dataclass(frozen=True)", ""), "AdaptiveElasticNet", "write @dataclass"),
        (NET.read_text().replace("    memory: float = 0.98", "    name = 'topk'\n    memory: float = 0.98"),
         "AdaptiveElasticNet", "there is an architecture 'topk' already"),
        ("import nowhere_to_be_found\n", "Own", "line 1: ModuleNotFoundError.*nowhere"),
    ):  # fmt: skip
        own.write_text(text)
        with pytest.raises(ConfigError, match=words):
            checked({"families": [{"architecture": f"{own}:{typed}", "settings": [1]}]})
    for typed, words in (
        ("absent.py:Own", "there is no file absent.py in .*new-architecture absent.py"),
        ("json:JSONDecoder", "no architecture"),
        ("nowhere.at.all:Own", "no module 'nowhere.at.all'"),
        (":Own", "wanted my_sae.py:MySAE"),
    ):
        with pytest.raises(ConfigError, match=words):
            checked({"families": [{"architecture": typed, "settings": [1]}]})


def test_an_error_in_the_middle_of_a_run_names_its_line(tmp_path, only_ours):
    own = tmp_path / "own.py"
    encoded = "        f = self.encode(p, x)\n"
    fault = encoded + "        if len(x) > 100:\n            raise ValueError('too many')\n"
    text = NET.read_text().replace(encoded, fault)
    own.write_text(text)
    line = text.splitlines().index("            raise ValueError('too many')") + 1
    with pytest.raises(ArchitectureError, match=rf"own.py, line {line}: ValueError: too many"):
        train(
            small([{"architecture": f"{own}:AdaptiveElasticNet", "settings": [1]}]),
            tmp_path / "r",
            progress=False,
        )


def test_the_command_writes_and_checks_one(tmp_path, monkeypatch, capsys, only_ours):
    monkeypatch.chdir(tmp_path)
    code, out, _ = said(monkeypatch, capsys, "new-architecture", "sharp_sae.py")
    assert code == 0 and "sharp_sae.py:SharpSAE" in out
    text = (tmp_path / "sharp_sae.py").read_text()
    assert "class SharpSAE(Architecture)" in text and len(text.splitlines()) <= 45
    code, out, _ = said(monkeypatch, capsys, "check", "sharp_sae.py")
    assert code == 0 and out.count("kept") == len(PROMISES) and "BROKEN" not in out
    code, _, err = said(monkeypatch, capsys, "new-architecture", "sharp_sae.py")
    assert code == 2 and "--force" in err
    (tmp_path / "sharp_sae.py").write_text(text.replace(".sum(-1).mean(-1)", ".sum(-1)"))
    code, out, err = said(monkeypatch, capsys, "check", "sharp_sae.py")
    assert code == 2 and "BROKEN" in out and "sharp_sae.py, line" in err and "'shapes'" in err


def test_a_name_comes_from_the_class():
    class SignAwareGatedSAE(Architecture):
        pass

    class MySAE2(Architecture):
        pass

    assert (SignAwareGatedSAE.name, MySAE2.name) == ("sign_aware_gated_sae", "my_sae2")


def test_a_metric_may_not_take_a_column(only_ours):
    class Taker(ReLU):
        def metrics(self, p, x, f, target):
            return {"l0": (f > 0).sum(-1)}

    from trainers.promises import check

    assert "'l0' is a column" in check(Taker).fault


def test_both_engines_train_them_alike(run):
    """From one start, in float32, to 64 times its rounding, as the built-in ones."""
    from trainers.promises.case import Case
    from trainers.steps import LoopEngine, StackedEngine

    for name in NAMES:
        case = Case(known(name)())
        found = []
        for which in (LoopEngine, StackedEngine):
            family = case.family()
            case.train(case.engine(family, which), 0, 6)
            found.append(family.tensors())
        for key, value in found[0].items():
            torch.testing.assert_close(value, found[1][key], rtol=0, atol=64 * torch.finfo(torch.float32).eps)
