"""SAEs kept at named steps: what they are, what a kill leaves, and what a table makes of them."""

import pandas as pd
import pytest
import torch
from small_runs import small, weights

import frontier
from frontier.groups import Groups
from frontier.pareto.rows import chosen_rows
from trainers import checkpoints, kept
from trainers.config import ConfigError, run_config
from trainers.evaluate.runs import evaluate_run
from trainers.export.runs import export_run
from trainers.run import build_run
from trainers.sae_files import load_saes
from trainers.train import train

KINDS = [
    {"architecture": "relu", "settings": [1.0, 2.0, 4.0]},
    {"architecture": "batch_topk", "settings": [2, 4, 8]},
    {"architecture": "hierarchical_topk", "settings": [4]},
]
STEPS = [3, 7]


def config(**training):
    return small(KINDS, training={"keep_at": STEPS} | training)


def kept_weights(folder, step):
    return {s.identity["parent"]: s.parameters for s in load_saes(kept.place(folder, step))}


def same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert all(torch.equal(one[name][k], v) for k, v in other[name].items()), name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "kept"
    train(config(), folder, progress=False)
    evaluate_run(folder, progress=False)
    return folder


def test_what_is_kept_is_the_run_at_that_step_and_changes_nothing(run, tmp_path):
    """A run stepped by hand, and one that keeps nothing: the same bits, thresholds of training rows too."""
    train(config(keep_at=[]), tmp_path / "plain", progress=False)
    same(weights(tmp_path / "plain"), weights(run))
    by_hand = build_run(config(keep_at=[]), progress=False)
    for step in range(STEPS[-1]):
        batch = next(by_hand.stream)
        for engine in by_hand.engines:
            engine.step(batch, step)
        by_hand.step += 1
        if by_hand.step in STEPS:
            found = {s.identity["run_id"]: s.parameters for s in by_hand.saes()}
            same(kept_weights(run, by_hand.step), found)


def test_a_kill_between_a_kept_step_and_the_next_checkpoint(run, tmp_path, monkeypatch):
    whole, folder = checkpoints.save, tmp_path / "killed"

    def killed(place, step, *rest):
        if step == 10:
            raise SystemExit
        return whole(place, step, *rest)

    monkeypatch.setattr(checkpoints, "save", killed)
    with pytest.raises(SystemExit):
        train(config(), folder, progress=False)
    assert kept.place(folder, 7).is_dir() and checkpoints.latest(folder / "checkpoints").name[-1] == "5"
    monkeypatch.undo()
    torn = next(kept.place(folder, 7).iterdir()) / "sae.json"
    torn.write_text("")
    train(run_config(folder), folder, progress=False, resume=True)
    same(weights(folder), weights(run))
    for step in STEPS:
        same(kept_weights(folder, step), kept_weights(run, step))


def test_rows_say_their_budget_and_are_no_further_runs(run):
    table = pd.read_parquet(run / "metrics.parquet")
    early = table[table["steps_trained"] < 12]
    assert sorted(set(table["steps_trained"])) == [3, 7, 12]
    assert (table["tokens_trained"] == 256 * table["steps_trained"]).all()
    plain = early[early["family"] != "hierarchical_topk"]
    assert (plain["run_id"] == plain["parent"] + "_step" + plain["steps_trained"].astype(str)).all()
    read = frontier.read(run / "metrics.parquet")
    assert set(read[read["excluded_because"].isna()]["steps_trained"]) == {12}
    assert set(read[read["excluded_because"].notna()]["excluded_because"]) == {"intermediate checkpoint"}
    assert len([n for n in frontier.notes(read) if "set aside by" in n]) == 1
    chosen = chosen_rows(read, Groups.of(read))
    assert [c.rule for c in chosen.choices] == ["all"] * 3 and len(chosen.table) == 9


def test_all_of_them_are_compared_budget_by_budget(run):
    """Asked for, each budget is a cell of its own; no search, and no SAE stands for another one."""
    table = frontier.read(run / "metrics.parquet", checkpoints="all")
    groups = Groups.of(table)
    assert groups.cells[-1] == "tokens_trained" and len(groups.names) == 9
    assert {c.rule for c in chosen_rows(table, groups).choices} == {"all"}
    found = frontier.compare(table, "relu")
    assert {c.group["tokens_trained"] for c in found} == {768, 1792, 3072}
    assert any("tokens_trained splits the groups" in n for n in found.notes)


def test_kept_saes_are_exported_by_name(run, tmp_path):
    assert len(export_run(run, tmp_path / "all").places) == 7
    assert list(export_run(run, tmp_path / "one", only=["relu_2_seed0_step7"]).places) == [
        "relu_2_seed0_step7"
    ]


def test_a_member_that_diverges_later_leaves_no_row(tmp_path):
    """What it was on its way is no finished SAE: only its folder stays."""
    lost = [{"architecture": "relu", "settings": [1.0], "learning_rate": [1e-3, 1e37]}]
    folder = tmp_path / "lost"
    done = train(small(lost, training={"keep_at": [1]}), folder, progress=False)
    (name,) = done.diverged()
    table = evaluate_run(folder, progress=False)
    assert name not in set(table["parent"]) | set(table["run_id"]) and len(table) == 2


@pytest.mark.parametrize("steps", [[0], [13], [-1, 3]])
def test_steps_that_the_run_does_not_reach(steps):
    with pytest.raises(ConfigError, match=r"keep_at: wanted steps from 1 to 12, the last one, found"):
        config(keep_at=steps)


def test_steps_named_too_late_are_said(run, tmp_path):
    train(config(keep_at=[]), tmp_path / "r", progress=False)
    with pytest.warns(UserWarning, match=r"step 12 and kept nothing at 3, 7; to have"):
        train(config(), tmp_path / "r", progress=False, resume=True)
