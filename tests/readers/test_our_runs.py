"""Folders of `sae-train`, written by hand: what is not evaluated is refused, other files passed over."""

import json
import shutil

import pandas as pd
import pytest

import frontier
from frontier.readers import TableError, read
from frontier.readers.logged import OF_BATCHES

CONFIG = '[training]\nsteps = 2000\n\n[[families]]\narchitecture = "relu"\nsettings = [1.0]\n'
SWEEP = [{"family": "relu", "target_l0": [8], "settings": [1.0], "pilots": [{"setting": 1.0, "l0": 9}]}]


def log(*steps):
    """Lines of a log; L0 falls to 5 and 6 at step 800."""
    lines = []
    for step in steps:
        l0 = {f"relu_{i}_seed0": 4.0 + i + (800 - step) / 100 for i in (1, 2)}
        members = {m: {"loss": v, "l0": v, "fvu": 2 / v, "gradient_norm": 1.0} for m, v in l0.items()}
        lines.append(json.dumps({"step": step, "tokens": step, "members": members}) + "\n")
    return "".join(lines)


def table():
    ids = [f"relu_{i}_seed0" for i in (1, 2)]
    return pd.DataFrame({"run_id": ids, "family": "relu", "l0": [5.0, 6.0], "fvu": [0.4, 0.2]})


@pytest.fixture
def runs(tmp_path):
    """A parent folder: `done` is evaluated, `k2` was killed after step 800 of 2000."""
    for name in ("done", "k2"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / name / "config.toml").write_text(CONFIG)
        (tmp_path / name / "sweep.json").write_text(json.dumps(SWEEP))
        (tmp_path / name / "log.jsonl").write_text(log(400, 800))
    table().to_parquet(tmp_path / "done" / "metrics.parquet")
    batches = pd.concat([table().assign(batch=i) for i in range(4)])
    batches.to_parquet(tmp_path / "done" / "batches.parquet")
    (tmp_path / "done" / "frequencies.safetensors").write_bytes(b"")
    return tmp_path


def test_a_run_that_is_not_evaluated_is_refused_in_one_line(runs):
    k2 = runs / "k2"
    with pytest.raises(TableError) as caught:
        read(k2)
    line = f"{k2} is not evaluated yet (its log ends at step 800 of 2000): `sae-train resume {k2}`"
    assert str(caught.value) == line


def test_above_it_is_left_out_with_that_remark(runs):
    found = read(runs)
    assert found["l0"].tolist() == [5.0, 6.0]
    (said,) = [n for n in frontier.notes(found) if "not evaluated" in n]
    assert said.startswith(
        f"1 run left out: {runs / 'k2'} is not evaluated yet (its log ends at step 800 of 2000)"
    )
    assert not any("SAE of a log" in n or OF_BATCHES in n for n in frontier.notes(found))


def test_a_log_that_is_named_itself_is_read_and_said_to_be_of_batches(runs):
    found = read(runs / "k2" / "log.jsonl")
    last = found[found["excluded_because"].isna()]
    assert last["l0"].tolist() == [5.0, 6.0] and set(last["step"]) == {800}
    assert OF_BATCHES in frontier.notes(found)


@pytest.mark.parametrize("place", ["wandb", "tensorboard"])
def test_what_other_loggers_wrote_in_it_is_left_too_and_read_where_it_is_named(runs, place):
    (runs / "k2" / place / "run").mkdir(parents=True)
    table().to_csv(runs / "k2" / place / "run" / "logged.csv")
    with pytest.raises(TableError, match="k2 is not evaluated yet"):
        read(runs / "k2")
    assert len(read(runs / "k2" / place)) == 2


def test_other_results_in_it_are_read(runs):
    (runs / "k2" / "elsewhere").mkdir()
    table().assign(l0=[50.0, 60.0]).to_csv(runs / "k2" / "elsewhere" / "measured.csv")
    found = read(runs / "k2")
    assert found["l0"].tolist() == [50.0, 60.0]
    assert any("1 run left out" in n for n in frontier.notes(found))


@pytest.mark.parametrize(
    ("config", "lines", "said"),
    [
        ("", log(4), "its log ends at step 4"),
        ("\0" * 90, log(4), "its log ends at step 4"),
        (CONFIG, "", "no step is logged"),
        (CONFIG, log(4) + '{"step": 8, "tok', "its log ends at step 8 of 2000"),
        (CONFIG, None, "no step is logged"),
    ],
)
def test_how_far_a_damaged_run_is(runs, config, lines, said):
    (runs / "k2" / "config.toml").write_text(config)
    (runs / "k2" / "environment.json").write_text("{}")
    path = runs / "k2" / "log.jsonl"
    path.unlink() if lines is None else path.write_text(lines)
    with pytest.raises(TableError, match=rf"k2 is not evaluated yet \({said}\): "):
        read(runs / "k2")


def test_the_configuration_of_somebody_else_makes_no_run_of_ours(runs):
    (runs / "k2" / "config.toml").write_text('[training]\nsteps = 7\n[model]\nname = "theirs"\n')
    found = read(runs / "k2")
    assert len(found) == 4 and OF_BATCHES in " ".join(frontier.notes(found))


def test_files_of_ours_that_hold_no_saes_are_passed_over(runs):
    shutil.rmtree(runs / "k2")
    (runs / "refused").mkdir()
    (runs / "refused" / "asked.toml").write_text(CONFIG)
    (runs / "refused" / "sweep.json").write_text(json.dumps(SWEEP))
    said = " ".join(frontier.notes(read(runs)))
    assert f"1 run left out: {runs / 'refused'} is in the pilots of its target_l0" in said
    assert "broken" not in said and "batches.parquet" not in said and "sweep.json" not in said


def test_such_names_in_other_folders_are_looked_into(tmp_path):
    table().to_parquet(tmp_path / "batches.parquet")
    (tmp_path / "sweep.json").write_text(
        table().assign(run_id=["a", "b"], l0=[7.0, 8.0]).to_json(orient="records")
    )
    assert sorted(read(tmp_path)["l0"]) == [5.0, 6.0, 7.0, 8.0]
