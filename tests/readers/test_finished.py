"""Rows that are no finished SAE of their own: steps, batches, copies, sums; evaluations of other sizes."""

import json

import numpy as np
import pandas as pd
import pytest

import frontier
from frontier import groups
from frontier.metrics import metrics_table, usable
from frontier.readers import TableError, read

L0 = [20.0, 40.0, 80.0, 160.0]
STEPS = [1000, 10_000, 30_000]


def grid(**columns):
    """Four settings of two families at three steps each; loss recovered grows with the step."""
    rows = [
        {"architecture": a, "step": step, "l0": l0, "loss_recovered": 1 - 3 / l0 / (1 + step / 1e4), "k": l0,
         "run_id": f"{a}_k{l0:.0f}"}
        for a in ("relu", "topk") for l0 in L0 for step in STEPS
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    for name, value in columns.items():
        frame[name] = value(frame) if callable(value) else value
    return frame


FINISHED = grid().query("step == 30000")["loss_recovered"].tolist()

TOLD = {
    "run and step": lambda f: f.drop(columns="k"),
    "setting and step": lambda f: f.drop(columns="run_id"),
    "a full grid of steps": lambda f: f.drop(columns=["run_id", "k"]),
    "config and step": lambda f: f.drop(columns=["run_id", "k"]).assign(
        config=f["run_id"] + ".yaml", l0=f["l0"] * (1 + 100 / f["step"])
    ),
    "tokens": lambda f: f.rename(columns={"step": "tokens"}),
    "training tokens": lambda f: f.rename(columns={"step": "training_tokens"}),
    "the last step is empty": lambda f: f.assign(step=f["step"].where(f["step"] < 30_000)),
    "W&B's step": lambda f: f.rename(columns={"step": "_step"}),
    "names of checkpoints": lambda f: f.drop(columns="step").assign(
        checkpoint=[f"ckpt_{s}" if s < 30_000 else "final" for s in f["step"]]
    ),
    "_step_ in names": lambda f: f.drop(columns=["step", "k"]).assign(
        run_id=f["run_id"] + "_step_" + f["step"].astype(str)
    ),
    "checkpoint- in names": lambda f: f.drop(columns=["step", "k"]).assign(
        run_id=f["run_id"] + "/checkpoint-" + f["step"].astype(str)
    ),
    "final in names": lambda f: f.drop(columns=["step", "k"]).assign(
        run_id=f["run_id"] + ["_final" if s == 30_000 else f"_{s}_steps" for s in f["step"]]
    ),
    "paths beside": lambda f: f.assign(
        path=[f"out/{r}/step_{s}/ae.pt" for r, s in zip(f["run_id"], f["step"], strict=True)]
    ),
    "times beside": lambda f: f.assign(timestamp=[f"2025-01-0{i % 9}" for i in range(len(f))]),
    "in any order": lambda f: f.sample(frac=1, random_state=1),
}


@pytest.mark.parametrize("kind", TOLD)
def test_intermediate_checkpoints_are_told_from_finished_saes(kind):
    table = read(TOLD[kind](grid()))
    kept = usable(table).sort_values(["architecture", "l0"])
    assert kept["loss_recovered"].tolist() == FINISHED
    assert table["excluded_because"].dropna().str.startswith("intermediate checkpoint").all()
    (note,) = [n for n in frontier.notes(table) if "16 intermediate checkpoints set aside" in n]
    assert 'checkpoints="all"' in note and "--checkpoints all" in note
    assert len(usable(read(TOLD[kind](grid()), checkpoints="all"))) == 24


def test_files_and_folders_take_the_option_too(tmp_path):
    for architecture, rows in grid().groupby("architecture"):
        rows.to_csv(tmp_path / f"{architecture}.csv", index=False)
    assert len(usable(read(tmp_path))) == 8
    assert len(usable(read(tmp_path, checkpoints="all"))) == 24
    assert len(usable(read(tmp_path / "relu.csv", checkpoints="all"))) == 12
    with pytest.raises(ValueError, match="checkpoints must be"):
        read(tmp_path, checkpoints="some")


LAST = grid().query("step == 30000")
ONE_EACH = {
    "the same step for all": LAST,
    "a step in every name, each SAE once": LAST.assign(run_id=LAST["run_id"] + "_step_30000").drop(
        columns="step"
    ),
    "tokens that differ from SAE to SAE": LAST[["architecture", "l0", "loss_recovered"]].assign(
        tokens=[5e8 + 1e3 * i for i in range(8)]
    ),
    "steps as a setting": LAST.assign(steps=30_000),
    "seeds": pd.concat([LAST.assign(seed=s) for s in (0, 1)]),
    "learning rates trained for different times": grid(lr=lambda f: f["step"] * 1e-8),
}

ALMOST = LAST[["architecture", "l0", "loss_recovered"]].assign(
    tokens=[1e6 + 1024 * (i % 3) for i in range(8)]
)
"""SAEs that were trained for almost the same time."""
BETAS = [0.1, 0.2, 0.4, 0.8]
ONE_EACH |= {f"{c} is that of all": ALMOST.assign(**{c: value}) for c, value in {
    "lr": 1e-3, "learning_rate": 1e-3, "batch_size": 4096, "warmup": 100, "seed": 0, "run_id": "sweep",
    "name": "sweep", "l1_coefficient": 0.1,
}.items()}  # fmt: skip
ONE_EACH |= {
    "a name per family": ALMOST.assign(run_id=ALMOST["architecture"]),
    "a knob of one's own": ALMOST.assign(lr=1e-3, my_lambda=BETAS * 2),
    "one name for all, times far apart": ALMOST.assign(run_id="a", tokens=[1e6 * i for i in range(1, 9)]),
    "steps far apart, no name": ALMOST.drop(columns="tokens").assign(steps_trained=[1e3, 2e3, 4e3, 8e3] * 2),
    "seeds without a name": pd.concat(
        [LAST.drop(columns="run_id").assign(step=s) for s in (9990, 9999, 10_000)]
    ),
    "a setting and a knob of one's own": pd.concat(
        [ALMOST.assign(k=k, beta=BETAS * 2, tokens=ALMOST["tokens"] * 2**i) for i, k in enumerate((8, 9))]
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ONE_EACH)
def test_finished_saes_are_left_alone(kind):
    table = read(ONE_EACH[kind])
    assert table["excluded_because"].isna().all()
    said = [n for n in frontier.notes(table) if "each row counts as an SAE of its own" in n]
    assert not said or (len(said) == 1 and "--map theirs=run_id" in said[0])
    assert "tokens_trained" not in groups.default_cells(table)  # nor is a name of several one SAE at budgets


@pytest.mark.parametrize("names_a_run", [True, False])
def test_the_history_of_a_run_is_one_sae(names_a_run):
    steps = np.arange(0, 500, 100)
    history = pd.DataFrame(
        {"_step": steps, "_runtime": steps * 2.0, "_timestamp": steps + 1.7e9, "l0": 30.0 + steps / 100,
         "loss_recovered": [0.5, 0.7, 0.8, 0.85, None], "architecture": "topk"}
    )  # fmt: skip
    if names_a_run:
        history["run_id"] = "a"
    table = usable(read(history))
    assert table["loss_recovered"].dropna().tolist() == [0.85]  # the last that was logged


# --- batches and sums ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch", "batch_idx", "Batch Index", "prompt_idx", "window", "doc_id"])
@pytest.mark.parametrize("known_by", ["run_id", "k"])
def test_rows_of_batches_are_refused(name, known_by, tmp_path):
    frame = LAST.drop(columns=["step", {"run_id": "k", "k": "run_id"}[known_by]])
    rows = pd.concat([frame.assign(**{name: i, "l0": frame["l0"] + i / 10}) for i in range(5)])
    with pytest.raises(TableError, match=f"rows are batches, not SAEs: column {name} has up to 5 values"):
        read(rows)
    rows.to_csv(tmp_path / "batches.csv", index=False)
    frame.to_csv(tmp_path / "saes.csv", index=False)
    table = read(tmp_path)
    assert len(table) == 8
    assert any(
        "1 broken files left out: batches.csv" in n and "rows are batches" in n for n in frontier.notes(table)
    )


def test_batches_of_experiments_are_no_batches():
    frame = LAST.drop(columns="step")
    assert len(usable(read(frame.assign(batch=[1, 2] * 4)))) == 8
    assert len(usable(read(frame.assign(batch_size=4096)))) == 8


@pytest.mark.parametrize("word", ["Mean", "average", "TOTAL", "std"])
def test_a_row_of_means_is_no_sae(word):
    frame = LAST.drop(columns="step")
    frame = pd.concat([frame, pd.DataFrame({"run_id": [word], "l0": [75.0], "loss_recovered": [0.9]})])
    table = read(frame)
    assert table["excluded_because"].tolist()[-1] == "a row of sums or means, not an SAE"
    assert len(usable(table)) == 8


# --- several sources -----------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_saes_that_stand_in_several_files_count_once(named, tmp_path):
    frame = LAST.drop(columns=["step", *([] if named else ["run_id"])])
    frame.to_csv(tmp_path / "all.csv", index=False)
    frame[frame["architecture"] == "topk"].to_json(tmp_path / "topk.json", orient="records")
    table = read(tmp_path)
    assert len(table) == 12
    assert len(usable(table)) == 8
    assert table["excluded_because"].value_counts().to_dict() == {"repeats an earlier row": 4}


def test_the_same_sae_with_other_numbers_is_a_doubt(tmp_path):
    frame = LAST.drop(columns="step")
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.assign(loss_recovered=frame["loss_recovered"] - 0.01).to_csv(tmp_path / "b.csv", index=False)
    table = read(tmp_path)
    assert table["excluded_because"].isna().all()
    assert set(table["doubts"]) == {"another source has other numbers for this SAE"}


# --- sizes of evaluations ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["n_inputs", "eval_tokens", "hyperparameters.n_inputs", "eval_cfg.n_eval_reconstruction_batches"]
)
def test_evaluations_of_different_size_are_in_doubt(name):
    frame = LAST.drop(columns="step")
    table = read(frame.assign(**{name: [24] * 4 + [250] * 4}))
    assert table["doubts"].notna().tolist() == [True] * 4 + [False] * 4
    assert any("from 24 to 250" in n for n in frontier.notes(table))
    assert read(frame.assign(**{name: [200] * 4 + [250] * 4}))["doubts"].isna().all()


def test_results_of_dictionary_learning_on_few_inputs_are_in_doubt(tmp_path):
    for i, inputs in enumerate((24, 250)):
        (tmp_path / f"trainer_{i}").mkdir()
        result = {"l0": 20.0 + i, "frac_recovered": 0.9, "hyperparameters": {"n_inputs": inputs}}
        (tmp_path / f"trainer_{i}" / "eval_results.json").write_text(json.dumps(result))
    assert read(tmp_path)["doubts"].notna().tolist() == [True, False]


@pytest.mark.parametrize("state", ["crashed", "Failed", "killed", "running"])
def test_a_column_of_states_marks_unfinished_runs(state):
    frame = LAST.drop(columns="step").assign(state=["finished"] * 7 + [state])
    assert metrics_table(frame)["doubts"].tolist()[-1] == f"run is {state.lower()}"
    assert metrics_table(frame)["doubts"].notna().sum() == 1


def test_unfinished_runs_are_said_once_by_their_rows_and_not_when_they_are_left_out(tmp_path):
    """A table of runs, of which some logged no metric of ours and are read beside the others."""
    rows = ["Name,State,User,architecture,l1_coefficient,metrics/l0,metrics/ce_loss_score,Created"]
    rows += [f"run-{i},{s},me,relu,0.0{i},{50 + i},0.9,x" for i, s in ((1, "finished"), (2, "crashed"))]
    (tmp_path / "runs.csv").write_text("\n".join([*rows, "run-3,failed,me,relu,0.03,,,x"]))
    notes = frontier.notes(read(tmp_path / "runs.csv"))
    assert [n for n in notes if "state: " in n] == [
        "state: crashed in row 1; kept; read(..., where=\"state not in ['crashed']\") or --where "
        "\"state not in ['crashed']\" leaves them out"
    ]
    assert [n for n in notes if "l0 is missing" in n and "row 2" in n]  # the third run is set aside
    (unused,) = [n.removeprefix("not used: ").split(", ") for n in notes if n.startswith("not used: ")]
    assert len(unused) == len(set(unused))
    left = frontier.notes(read(tmp_path / "runs.csv", where="state not in ['crashed', 'failed']"))
    assert not [n for n in left if "state: " in n]
