"""Real offline runs of each logger, read back: the metrics table, exactly."""

import importlib
import struct
import sys
from pathlib import Path

import pandas as pd
import pytest
from offline import THEIR_WARNINGS, stay_offline, trackio_at  # noqa: F401

import frontier
from frontier.readers.logged import LAST_BATCH

sys.path.insert(0, str(Path(__file__).parent.parent / "trainers"))
from small_runs import small

from trainers.evaluate.runs import evaluate_run
from trainers.train import train

pytestmark = THEIR_WARNINGS
CLIENT = {"wandb": "wandb", "tensorboard": "tensorboard", "trackio": "trackio"}


@pytest.fixture(params=CLIENT)
def logged(request, tmp_path, monkeypatch):
    """A small run with one logger; its folder, and where the logger's files are."""
    name = request.param
    pytest.importorskip(name, reason=f"{name} is not installed (make clients)")
    if name == "trackio":
        trackio_at(tmp_path / "trackio", monkeypatch)
    folder = tmp_path / "first"
    run = train(small(training={"logger": name, "log_every": 5}), folder, progress=False)
    place = {
        "wandb": folder / "wandb",
        "tensorboard": folder / "tensorboard",
        "trackio": "trackio://sae-frontier",
    }
    return name, folder, place[name], run


def evaluated(name, folder, run):
    evaluate_run(folder, model=run.model, progress=False)
    if name == "wandb":  # its service writes what is left when it ends
        importlib.import_module("wandb").teardown()


def test_the_table_comes_back_exactly(logged):
    name, folder, place, run = logged
    before = frontier.read(place)
    assert set(before["doubts"]) == {LAST_BATCH} and set(before["run_id"]) == {
        s.identity["run_id"] for s in run.saes()
    }
    assert {"family", "sparsity_setting", "seed", "layer", "l0", "fvu"} <= set(before)
    evaluated(name, folder, run)
    again, meant = frontier.read(place), frontier.read(folder / "metrics.parquet")
    pd.testing.assert_frame_equal(again[meant.columns], meant, check_exact=True)
    assert set(again) - set(meant) <= {"source"}


def test_the_rates_are_those_of_the_schedule_and_nothing_private_is_written(logged):
    name, folder, _, run = logged
    evaluated(name, folder, run)
    files = {p: p.read_bytes() for p in folder.parent.rglob("*") if p.is_file()}
    written = b"".join(files.values())
    assert b"alice_private" not in written and b"secret_token_0123456789" not in written
    schedule = run.engines[0].options.schedule
    rate = run.families[0].members[0].learning_rate
    last = schedule.learning_rate(11) * rate  # of the twelfth and last step, below the peak
    assert last < max(schedule.learning_rate(i) for i in range(12)) * rate
    form = struct.pack("<d", last) if name == "tensorboard" else repr(last).encode()
    assert any(
        form in content for path, content in files.items() if name in path.relative_to(folder.parent).parts
    )


def test_a_run_folder_counts_its_saes_once(logged):
    name, folder, _, run = logged
    evaluated(name, folder, run)
    table = frontier.read(folder)
    assert len(table) == len(run.saes())
    assert name == "trackio" or any(
        "of a log stand in a table of the same run" in n for n in frontier.notes(table)
    )
