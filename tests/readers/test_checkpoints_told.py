"""Checkpoints in words, per cent, paths and folders: the last of each SAE counts, or it is asked."""

import json

import numpy as np
import pandas as pd
import pytest
from layers import potencies, rows, way_out

import frontier
from frontier.readers import read

TIMES = [
    ("checkpoint", ("1k", "10k", "30k")), ("checkpoint", ("1k", "10k", "final")),
    ("checkpoint", ("ckpt-1", "ckpt-2", "last")), ("checkpoint", ("1K", "10K", "best")),
    ("checkpoint", ("25%", "50%", "100%")), ("checkpoint", ("1M", "10M", "1B")),
    ("checkpoint", ("early", "mid", "final")), ("checkpoint", ("1000.pt", "2e3", "final")),
    ("ckpt", ("initial", "middle", "end")), ("train_fraction", (0.03, 0.33, 1.0)),
    ("training_progress", ("10 %", "50 %", "100 %")),
    ("checkpoint_name", ("step_1000", "step_10000", "final")),
]  # fmt: skip
UNCLEAR = [("early", "10k", "final"), ("warm", "10k", "final"), ("a", "b", "c"), ("1/3", "2/3", "1")]


def at(column, times):
    """The SAEs of layer 3 at three times; before the last, topk's potency is another."""
    parts = [rows(3).assign(**{column: time}) for time in times]
    for part, worse in zip(parts, (1.3, 1.1, 1.0), strict=True):
        hit = (1 - part["loss_recovered"]) ** (1 / worse)
        part["loss_recovered"] = 1 - np.where(
            part["architecture"] == "topk", hit / 2 if worse > 1 else hit, hit
        )
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(("column", "times"), TIMES)
def test_the_last_checkpoint_counts_however_it_is_called(column, times):
    table = at(column, times)
    assert potencies(table) == pytest.approx({None: 1.7}, rel=0.03)
    assert read(table)["excluded_because"].value_counts().to_dict() == {"intermediate checkpoint": 20}
    shuffled = table.sample(frac=1, random_state=0)
    assert potencies(shuffled) == pytest.approx({None: 1.7}, rel=0.03)


@pytest.mark.parametrize(
    "times", [("early", "10k", "final"), ("warm", "10k", "final"), ("a", "b", "c"), ("1/3", "2/3", "1")]
)
def test_checkpoints_of_which_nobody_knows_the_last_are_a_question(times):
    way_out(at("checkpoint", times), "the column 'checkpoint' is not used, and would split")
    assert any(note == "not used: checkpoint" for note in frontier.notes(read(at("checkpoint", times))))
    kept = read(at("checkpoint", times), where=f"checkpoint == '{times[-1]}'")
    found = frontier.compare(kept, reference="relu").to_frame()["relative_potency"]
    assert found.tolist() == pytest.approx([1.7], rel=0.03)


@pytest.mark.parametrize("inside", ["checkpoints/step_{}", "step_{}", "checkpoints/ae_{}", "checkpoint-{}"])
def test_checkpoints_inside_the_folder_of_an_sae_are_that_sae(inside, tmp_path):
    table = at("step", (1000, 10_000, 0))
    for i, row in table.iterrows():
        folder = tmp_path / row["architecture"] / f"trainer_{i % 5}"
        folder /= inside.format(row["step"]) if row["step"] else "."
        folder.mkdir(parents=True, exist_ok=True)
        classes = {"relu": "AutoEncoder", "topk": "AutoEncoderTopK"}
        trainer = {"dict_class": classes[row["architecture"]], "steps": 100_000}
        (folder / "config.json").write_text(json.dumps({"trainer": trainer}))
        losses = {
            "loss_original": 3.0,
            "loss_zero": 12.0,
            "loss_reconstructed": 12 - 9 * row["loss_recovered"],
        }
        result = {"l0": row["l0"], "frac_recovered": row["loss_recovered"], **losses}
        (folder / "eval_results.json").write_text(json.dumps(result))
    found = read(tmp_path)
    assert found["excluded_because"].value_counts().to_dict() == {"intermediate checkpoint": 20}
    compared = frontier.compare(found, reference="relu").to_frame()["relative_potency"]
    assert compared.tolist() == pytest.approx([1.7], rel=0.03)


@pytest.mark.parametrize("run_id", [None, "sweep", "{a}_{i}"])
def test_checkpoints_told_by_paths(run_id):
    table = at("step", (1000, 5000, 10_000))
    numbers = table.groupby("step").cumcount()
    names = [dict(a=a, i=i) for a, i in zip(table["architecture"], numbers, strict=True)]
    steps = zip(table.pop("step"), names, strict=True)
    table["path"] = ["ckpts/{a}_{i}/step_{step}".format(step=step, **name) for step, name in steps]
    if run_id:
        table["run_id"] = [run_id.format(**name) for name in names]
    assert read(table)["excluded_because"].value_counts().to_dict() == {"intermediate checkpoint": 20}
    assert potencies(table) == pytest.approx({None: 1.7}, rel=0.03)
