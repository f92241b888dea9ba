"""Whole runs on the shipped model: the same seed, the same bits, also after a kill and over two processes."""

import json
import signal
import sys
import time

import pandas as pd
import pytest
import torch
from processes import sae_train, under_torchrun
from small_runs import TEXT

import frontier
from trainers import checkpoints, cli, recipes
from trainers.config import checked, read_config, stated, write_config
from trainers.evaluate.runs import evaluate_run
from trainers.precision import with_formats
from trainers.run import THRESHOLD_ROWS, RunError, build_run
from trainers.sae_files import load_saes
from trainers.status import run_status
from trainers.train import enough_memory, train

pytestmark = pytest.mark.slow


def small(**training):
    return checked(
        {
            "activations": {"text": TEXT, "tokens": 6000, "buffer_tokens": 4096},
            "training": {
                "steps": 30, "batch_size": 256, "dictionary_size": 64, "threads": 2, "checkpoint_every": 5,
                "log_every": 10,
            } | training,
            "evaluation": {"windows": 8, "batch_size": 2},
            "families": [
                {"architecture": "relu", "settings": [1.0, 4.0]},
                {"architecture": "batch_topk", "settings": [2, 8]},
                {"architecture": "p_anneal", "settings": [1.0]},
            ],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(small(), folder, progress=False)
    evaluate_run(folder, progress=False)
    return folder


def weights(folder):
    return {s.identity["run_id"]: s.parameters for s in load_saes(folder / "saes")}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for run_id, parameters in one.items():
        for name, value in parameters.items():
            assert torch.equal(value, other[run_id][name]), f"{run_id} {name}"


def test_a_finished_run_leaves_what_it_promises(finished):
    names = {p.name for p in finished.iterdir()}
    assert names >= {"config.toml", "environment.json", "log.jsonl", "metrics.parquet", "saes", "checkpoints"}
    assert read_config(finished / "config.toml") == with_formats(stated(small()), torch.device("cpu"))
    about = json.loads((finished / "environment.json").read_text())
    assert about["packages"]["torch"] == torch.__version__ and about["model"]["name"] == "tiny_lm"
    kept = sorted(p.name for p in (finished / "checkpoints").iterdir())
    assert kept == ["step_000000025", "step_000000030"]
    lines = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert lines[-1]["members"].keys() == weights(finished).keys()
    assert lines[-1]["members"]["batch_topk_8_seed0"]["l0"] == 8


def test_the_metrics_are_a_table_that_frontier_takes(finished):
    table = frontier.read(finished / "metrics.parquet")
    assert set(table["family"]) == {"relu", "batch_topk", "p_anneal"}
    assert table["tokens_trained"].eq(30 * 256).all() and table["ablation"].eq("mean").all()
    assert not table["excluded_because"].fillna("").astype(bool).any()
    # loss recovered is the ratio of the CE columns (DESIGN section 3)
    ratio = (table["ce_mean_ablation"] - table["ce_sae"]) / (table["ce_mean_ablation"] - table["ce_clean"])
    pd.testing.assert_series_equal(table["loss_recovered"], ratio, check_names=False, rtol=1e-9)
    assert len(frontier.pareto_set(table)) >= 3


def test_the_same_seed_gives_the_same_bits_on_one_thread_or_two(finished, tmp_path):
    train(small(threads=1), tmp_path / "again", progress=False)
    assert_same_bits(weights(tmp_path / "again"), weights(finished))


def test_a_killed_run_resumes_to_the_same_weights(finished, tmp_path):
    write_config(small(), tmp_path / "c.toml")
    folder = tmp_path / "killed"
    process = sae_train("run", tmp_path / "c.toml", "--out", folder, "--quiet")
    deadline = time.monotonic() + 120
    while checkpoints.latest(folder / "checkpoints") is None:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "saes").exists(), "the kill came too late to test anything"
    assert "step" in str(run_status(folder).renderables[0])
    resumed = sae_train("resume", folder, "--quiet")
    out, err = resumed.communicate()
    assert resumed.returncode == 0, err
    assert "relu" in out and "metrics.parquet" in out
    assert_same_bits(weights(folder), weights(finished))
    steps = [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert steps == [10, 20, 30]


def test_two_processes_give_the_metrics_of_one(finished, tmp_path):
    write_config(small(), tmp_path / "c.toml")
    folder = tmp_path / "two"
    under_torchrun(2, "run", tmp_path / "c.toml", "--out", folder, "--quiet")
    assert_same_bits(weights(folder), weights(finished))
    one, two = (pd.read_parquet(f / "metrics.parquet").sort_values("run_id") for f in (finished, folder))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), two.reset_index(drop=True), rtol=1e-6)


def test_a_changed_configuration_is_not_resumed(finished, tmp_path):
    config = small(steps=60)
    with pytest.raises(RunError, match=r"training\.steps was 30, is 60"):
        build_run(config, progress=False).restore(checkpoints.latest(finished / "checkpoints"))
    with pytest.raises(RunError, match="holds a run already"):
        train(small(), finished, progress=False)
    # what does not change the weights may differ
    build_run(small(threads=1, log_every=3), progress=False).restore(
        checkpoints.latest(finished / "checkpoints")
    )


def test_a_member_that_diverges_is_reported_and_left_out(tmp_path, capsys):
    config = checked(
        small().model_dump()
        | {
            "families": [
                {"architecture": "relu", "settings": [1.0]},
                {"architecture": "relu", "name": "wild", "settings": [1.0], "learning_rate": 1e30},
            ]
        }
    )
    run = train(config, tmp_path / "run", progress=False)
    assert list(run.diverged()) == ["wild_1_seed0"]
    assert "wild_1_seed0 diverged at step" in capsys.readouterr().err
    assert list(weights(tmp_path / "run")) == ["relu_1_seed0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "no.toml", "--out", "x"], "sae-train init"),
        (["status", "."], "there is no run in ."),
        (["evaluate", "."], "there is no run in ."),
        (["export", ".", "--out", "x"], "holds no SAEs"),
        (["export", "none", "--out", "x"], "there is no run in none"),
    ],
)
def test_the_command_says_what_is_wrong(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sae-train", *words])
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2 and message in " ".join(capsys.readouterr().err.split())


def test_init_run_status_and_export_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [
        "training.steps=4",
        "training.batch_size=64",
        "training.dictionary_size=32",
        "activations.tokens=3000",
    ]
    changes = [w for c in [*words, "evaluation.windows=4", "evaluation.batch_size=2"] for w in ("--set", c)]
    for line in (
        ["init", "c.toml"], ["run", "c.toml", "--out", "run", "--quiet", *changes], ["status", "run"],
        ["export", "run", "--out", "out", "--only", "topk_4_seed0"],
    ):  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["sae-train", *line])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert "step 4 of 4; finished and evaluated" in shown
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["topk_4_seed0"]


def test_a_gpu_that_is_not_there(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: the error that one is missing cannot come")
    content = small().model_dump() | {"model": {"device": "cuda"}}
    with pytest.raises(RunError, match="no GPU"):
        build_run(checked(content), progress=False)


def test_recipes_are_valid():
    assert len(recipes.demo().families) == 5
    assert all(len(f.settings) >= 6 for f in recipes.demo(fast=True).families)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_a_lack_of_memory_says_what_to_lower(error):
    with pytest.raises(RunError, match=r"lower training\.batch_size"), enough_memory(small()):
        raise error


def test_other_faults_keep_their_names():
    with pytest.raises(RuntimeError, match="shapes differ"), enough_memory(small()):
        raise RuntimeError("shapes differ")


def test_activations_that_fit_are_computed_once():
    """By default one buffer holds all of them; with a limit, or a number of one's own, there are several."""
    from small_runs import small

    from trainers.run import build_run

    def asked(**given):
        """Buffers, and calls of the language model in two passes after the first buffer."""
        stream, calls = build_run(small(activations=given), progress=False).stream, []
        model = stream.harvest.model
        capture = model.capture
        model.capture = lambda *a, **k: calls.append(1) or capture(*a, **k)
        for _ in range(2 * stream.harvest.total_rows // stream.batch_size):
            next(stream)
        return stream.buffers, len(calls)

    assert asked(buffer_tokens=None) == (1, 0)
    buffers, calls = asked(buffer_tokens=4096)
    assert buffers == 2 and calls >= 2
    assert asked(buffer_tokens=None, memory_limit="2.5 MB")[0] == 2
    assert (
        checked({"families": [{"architecture": "relu", "settings": [1]}]}).activations.buffer_tokens is None
    )


def test_thresholds_come_from_training_rows_and_the_final_weights(tmp_path, monkeypatch):
    """The L0 of BatchTopK on those rows is k; the stream stands where it stood: a resumed run agrees."""
    from small_runs import small

    monkeypatch.setattr("trainers.run.THRESHOLD_ROWS", THRESHOLD_ROWS)  # in other tests there are fewer
    families = [{"architecture": a, "settings": [3, 8]} for a in ("batch_topk", "matryoshka")]
    run = train(small(families), tmp_path / "run", progress=False)
    before = run.stream.state()
    rows = run.rows()[run.stream.site] / run.stream.scaling.input_scale + run.stream.scaling.input_centre
    assert run.stream.state() == before and len(rows) >= 16_384
    for sae in run.saes():
        l0 = float((sae.encode(rows) != 0).sum() / len(rows))
        assert l0 == pytest.approx(sae.identity["sparsity_setting"], rel=2e-3)
    again = train(small(families), tmp_path / "run", progress=False, resume=True)
    for one, other in zip(run.saes(), again.saes(), strict=True):
        assert torch.equal(one.parameters["threshold"], other.parameters["threshold"])
