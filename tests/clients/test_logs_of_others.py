"""Logs that other tools' scripts write, made by the real clients offline, read where they lie."""

import importlib
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from offline import THEIR_WARNINGS, stay_offline, trackio_at  # noqa: F401

import frontier
from frontier.metrics.checks import TableError
from frontier.readers import stores
from frontier.readers.wandb_files import BLOCK, records

pytestmark = THEIR_WARNINGS
LENS = {"metrics/l0": 32.5, "metrics/explained_variance": 0.875, "losses/mse_loss": 0.25}
"""As SAELens names them."""


def offline_run(tmp_path, name, values, config):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed (make clients)")
    settings = wandb.Settings(console="off", silent=True)
    run = wandb.init(project="saes", dir=str(tmp_path), name=name, config=config, settings=settings)
    for step, more in enumerate(values):
        run.log(more, step=step)
    run.finish()
    wandb.teardown()
    return tmp_path / "wandb"


def test_an_offline_run_of_sae_lens(tmp_path):
    early = {k: v / 2 for k, v in LENS.items()}
    folder = offline_run(tmp_path, "lens", [early, LENS], {"architecture": "topk", "d_sae": 512, "k": 32})
    table = frontier.read(folder)
    assert table["l0"].tolist() == [32.5] and table["architecture"].tolist() == ["topk"]
    assert table["dictionary_size"].tolist() == [512] and table["run_id"].tolist() == ["lens"]
    one = next(folder.glob("offline-run-*"))
    pd.testing.assert_frame_equal(frontier.read(one).drop(columns="source"), table.drop(columns="source"))


def test_many_saes_in_one_offline_run(tmp_path):
    values = {
        f"AutoEncoderTopK-{i}/{k}": v
        for i in range(3)
        for k, v in {"l0": 8.0 * 2**i, "frac_variance_explained": 0.5 + i / 10}.items()
    }
    table = frontier.read(offline_run(tmp_path, "sweep", [values], {}))
    assert table["l0"].tolist() == [8.0, 16.0, 32.0] and len(set(table["run_id"])) == 3


def test_a_damaged_or_torn_file_is_named(tmp_path):
    folder = offline_run(tmp_path, "lens", [LENS | {"pad": "x" * 3 * BLOCK}, LENS], {})
    (path,) = folder.glob("offline-run-*/*.wandb")
    whole = path.read_bytes()
    assert len(list(records(whole))) > len(list(records(whole[: len(whole) // 2]))) > 0
    assert frontier.read(path)["doubts"].isna().all()
    path.write_bytes(whole[:-1])
    assert frontier.read(path)["doubts"].tolist() == ["run has no end in its log"]
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    with pytest.raises(TableError, match="it is damaged near byte"):
        frontier.read(path)
    path.write_bytes(b"PK\x03\x04" * 20)
    with pytest.raises(TableError, match="it is no file of Weights & Biases"):
        frontier.read(path)


def test_tensorboard_scalars_of_any_writer(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (make clients)")
    writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter(
        str(tmp_path / "runs" / "relu_a")
    )
    for step in (1, 2):
        for name, value in LENS.items():
            writer.add_scalar(name, value * step / 2, step)
    writer.close()
    table = frontier.read(tmp_path / "runs")
    assert table["run_id"].tolist() == ["relu_a"]
    assert table["l0"].tolist() == [np.float32(32.5)]
    (events,) = (tmp_path / "runs" / "relu_a").iterdir()
    assert len(frontier.read(events)) == 1


def test_a_trackio_store(tmp_path, monkeypatch):
    trackio = pytest.importorskip("trackio", reason="trackio is not installed (make clients)")
    trackio_at(tmp_path / "trackio", monkeypatch)
    run = trackio.init("saes", name="a", config={"architecture": "topk", "k": 16}, embed=False)
    run.log({"l0": 40.0, "loss_recovered": 0.5}, step=0)
    run.log({"l0": 15.5, "loss_recovered": 0.9}, step=1)
    run.finish()
    table = frontier.read("trackio://saes")
    assert table[["l0", "loss_recovered", "architecture"]].to_numpy().tolist() == [[15.5, 0.9, "topk"]]
    other = trackio.init("saes", name="b", embed=False)
    other.log({"l0": 80.0, "loss_recovered": 0.95})
    other.finish()
    monkeypatch.setattr(stores, "MOST_RUNS", 1)
    first = frontier.read("trackio://saes")
    assert len(first) == 1 and "the first 1 runs are read" in frontier.notes(first)
    with pytest.raises(TableError, match=r"Trackio has no project 'sae'.*saes"):
        frontier.read("trackio://sae")


def test_an_mlflow_store(tmp_path, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed (make clients)")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = tracking.MlflowClient(tracking_uri=f"file://{tmp_path / 'mlruns'}")
    experiment = client.create_experiment("saes")
    for l0, state in ((20.0, "FINISHED"), (40.0, "FAILED")):
        run = client.create_run(experiment, run_name=f"topk_{l0:g}")
        client.log_param(run.info.run_id, "architecture", "topk")
        for step in (0, 1):
            client.log_metric(run.info.run_id, "l0", l0 / (2 - step), step=step)
            client.log_metric(run.info.run_id, "fvu", 0.5 - step / 4, step=step)
        client.set_terminated(run.info.run_id, state)
    table = frontier.read(f"mlflow://{tmp_path / 'mlruns'}").sort_values("l0", ignore_index=True)
    assert table["l0"].tolist() == [20.0, 40.0] and table["fvu"].tolist() == [0.25, 0.25]
    assert table["doubts"].notna().tolist() == [False, True]
    monkeypatch.setattr(stores, "MOST_RUNS", 1)
    first = frontier.read(f"mlflow://{tmp_path / 'mlruns'}")
    assert len(first) == 1 and "the first 1 runs are read" in frontier.notes(first)
    with pytest.raises(TableError, match="no MLflow store gone"):
        frontier.read("mlflow://gone")


class FakeRun:
    """A run as `wandb.Api` gives it."""

    def __init__(self, name, state, summary, config):
        self.id = self.name = name
        self.state, self.summary, self.config = state, summary, config


def test_plain_runs_of_a_store_are_one_table(monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed (make clients)")
    config = {"architecture": "topk", "sae": {"k": 8}}
    runs = [FakeRun(f"r{i}", "finished", {"l0": 8.0, "fvu": 0.5 / (1 + i)}, config) for i in range(3)]
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(runs=lambda _: runs))
    table = frontier.read("wandb://me/saes")
    assert table["run_id"].tolist() == ["r0", "r1", "r2"] and set(table["source"]) == {"saes"}
    assert [n for n in frontier.notes(table) if "sae.k" in n] == ["'sae.k' read as sparsity_setting"]


def test_a_project_of_weights_and_biases_by_its_api(monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed (make clients)")
    runs = [
        FakeRun("one", "finished", LENS, {"architecture": "topk", "sae": {"k": 32}}),
        FakeRun("two", "crashed", LENS | {"metrics/l0": 64.0}, {"architecture": "topk"}),
        FakeRun("loss only", "finished", {"loss": 3.0}, {}),
    ]

    class Api:
        def runs(self, path):
            if path != "me/saes":
                raise wandb.errors.CommError(f"https://api.private.example/{path}: secret_token_0123456789")
            return runs

        def run(self, path):
            return next(run for run in runs if path.endswith(f"/{run.name}"))

    monkeypatch.setattr(wandb, "Api", Api)
    table = frontier.read("wandb://me/saes")
    assert table["l0"].tolist() == [32.5, 64.0] and table["run_id"].tolist() == ["one", "two"]
    assert table["doubts"].tolist()[1] == "run is crashed"
    assert frontier.read("wandb://me/saes/one")["run_id"].tolist() == ["one"]
    assert not any("runs are read" in note for note in frontier.notes(table))
    left_out = "the log of loss only: no SAE in it has an L0"
    assert f"1 runs left out: saes, {left_out}" in frontier.notes(table)
    with pytest.raises(TableError, match=left_out):
        frontier.read("wandb://me/saes/loss only")
    monkeypatch.setattr(stores, "MOST_RUNS", 2)
    assert "the first 2 runs are read" in frontier.notes(frontier.read("wandb://me/saes"))
    with pytest.raises(TableError) as stopped:
        frontier.read("wandb://me/other")
    assert "secret" not in str(stopped.value) and "private" not in str(stopped.value)
    with pytest.raises(TableError, match="wandb://entity/project"):
        frontier.read("wandb://saes")
    assert "me" not in json.loads(table.attrs["frontier_made"])["arguments"]["source"]["$file"]
