"""Sweeps by target L0: targets are even, settings come from pilots, the run's configuration keeps them."""

import json
import math
import sys

import numpy as np
import pandas as pd
import pytest

from frontier import fit, plan
from trainers import cli, pilots, sweeps
from trainers.config import ConfigError, checked, read_config, write_config
from trainers.config_members import members
from trainers.text import TextError

pytestmark = pytest.mark.slow

TRAINING = {"steps": 30, "batch_size": 256, "dictionary_size": 64, "threads": 1}
SIZE = {"dictionary_size": 512}
SMALL = {
    "activations": {"tokens": 8000},
    "training": TRAINING,
    "evaluation": {"windows": 8, "batch_size": 4},
}


def test_a_family_has_settings_or_targets_and_a_file_keeps_them(tmp_path):
    for given in ({}, {"settings": [1], "target_l0": [1]}):
        with pytest.raises(ConfigError, match="give settings or target_l0, one of the two"):
            checked({"families": [{"architecture": "relu"} | given]})
    with pytest.raises(ConfigError, match=r"target_l0.*above 0"):
        checked({"families": [{"architecture": "relu", "target_l0": [-1]}]})
    with pytest.raises(ConfigError, match="target_l0 = 600 is larger than the dictionary of 512"):
        checked({"training": SIZE, "families": [{"architecture": "relu", "target_l0": [600]}]})
    config = checked({"training": SIZE, "families": [{"architecture": "relu", "target_l0": [4, 8]}]})
    write_config(config, tmp_path / "c.toml")
    assert read_config(tmp_path / "c.toml") == config
    with pytest.raises(ConfigError, match=r"relu has target_l0 and no settings yet"):
        members(config)


def test_topk_kinds_need_no_pilot(monkeypatch):
    def refused(*_):
        raise AssertionError("a pilot was trained")

    monkeypatch.setattr(pilots, "trained", refused)
    families = [
        {"architecture": "topk", "target_l0": [0.3, 2.4, 7.7]},
        {"architecture": "batch_topk", "target_l0": [2.4, 7.7]},
        {"architecture": "jumprelu", "target_l0": [5.5], "options": {"penalty": "target"}},
        {"architecture": "matryoshka", "settings": [3]},
    ]
    config, found = sweeps.settled(checked({"training": SIZE, "families": families}))
    assert [f.settings for f in config.families] == [[1, 2, 8], [2.4, 7.7], [5.5], [3]]
    assert [s.targets for s in found] == [(0.3, 2.4, 7.7), (2.4, 7.7), (5.5,)]
    assert len(members(config)) == 7


def test_gaps_are_filled_so_that_the_widest_is_least():
    l0 = [1, 2, 16, 64]
    table = pd.DataFrame({"family": "a", "l0": [*map(float, l0), np.nan]})
    assert sweeps.gap_targets(table, "a", 3) == pytest.approx([4, 8, 32])
    # against every way to deal 5 points to 3 gaps
    found = np.log(np.sort([*l0, *sweeps.gap_targets(table, "a", 5)]))
    gaps = np.diff(np.log(l0))
    ways = ((a, b, 5 - a - b) for a in range(6) for b in range(6 - a))
    least = min(max(gaps / (np.array(w) + 1)) for w in ways)
    assert np.diff(found).max() == pytest.approx(least, rel=1e-5)
    with pytest.raises(ValueError, match="no family 'b'"):
        sweeps.gap_targets(table, "b", 2)


def test_a_plan_of_frontier_becomes_targets():
    s = np.array([1 / 40, 1 / 20, 1 / 10, 1 / 5, 1 / 3, 1 / 2])
    noise = 1 + 0.03 * np.array([1, -1, 1, -1, 1, -1])
    table = pd.DataFrame({"family": "relu", "l0": 1 / s, "loss_recovered": 1 - noise * s / (s + 1)})
    proposed = plan(fit(table, "hill")[0], goal="halve", quantity="k", most=30)
    assert proposed.additions
    found = sweeps.planned_targets(proposed)
    assert len(found["relu"]) == proposed.n_more == len(set(found["relu"]))
    config = checked({"families": [{"architecture": "relu", "settings": [1]}]})
    aimed = sweeps.with_targets(config, found)
    assert aimed.families[0].target_l0 == found["relu"] and aimed.families[0].settings is None
    with pytest.raises(ValueError, match="no family 'rellu'"):
        sweeps.with_targets(config, {"rellu": [3]})


@pytest.mark.parametrize("targets", [[3.0, 10.0, 29.0], [1.0, 90.0]])
def test_settings_invert_a_known_law(targets):
    law = lambda setting: 30 * setting**-1.2  # noqa: E731
    table = pd.DataFrame({"setting": [0.5, 1, 2, 4, 8]}).assign(l0=lambda t: law(t["setting"]))
    assert law(np.array(pilots.settings_for(targets, table))) == pytest.approx(targets, rel=1e-4)


def test_noise_against_the_fall_is_smoothed():
    table = pd.DataFrame({"setting": [1.0, 2, 4, 8], "l0": [40.0, 10, 12, 3]})
    found = pilots.settings_for([30, 11, 5], table)
    assert found == sorted(found) and 2 < found[1] < 4
    with pytest.raises(pilots.SweepError, match="does not fall"):
        pilots.settings_for([3], pd.DataFrame({"setting": [1.0, 2], "l0": [3.0, 5]}))


def faked(law, calls):
    """Pilots whose L0 is a law of setting and batch size."""

    def trained(config, progress, what, asked, watch=None):
        calls.append((what, config.training.batch_size))
        return {
            f.called: pd.DataFrame(
                {"setting": f.settings, "l0": [law(s, config.training.batch_size) for s in f.settings]}
            )
            for f in config.families
        }

    return trained


def test_pilots_go_on_until_targets_are_covered_and_small_batches_are_corrected(monkeypatch):
    def law(setting, batch):
        """Bias linear in 1/sqrt(batch), as `calibrated` takes it; settings far from the usual ones."""
        return 2000 * setting**-1.5 * np.exp(4 * (batch**-0.5 - 1024**-0.5))

    calls = []
    monkeypatch.setattr(pilots, "trained", faked(law, calls))
    config = checked({"families": [{"architecture": "relu", "target_l0": [2, 5, 12.5]}]})
    aimed, (found,) = sweeps.settled(config)
    assert [law(s, 1024) for s in aimed.families[0].settings] == pytest.approx([2, 5, 12.5], rel=1e-3)
    assert calls[0] == ("pilot, round 1", 128) and calls[-1] == ("pilot, large", 512)
    assert len(calls) > 2  # the usual settings, 0.7 to 10, give L0s above 63
    assert found.pilots["expected_l0"].to_numpy() == pytest.approx(
        law(found.pilots["setting"], 1024), rel=1e-5
    )


@pytest.mark.parametrize("targets", [[2, 12.5], [2, 5, 12.5], [2, 4, 6, 9, 12.5]])
def test_small_batches_are_corrected_at_each_setting_by_itself(monkeypatch, targets):
    """Small batches have 1.23 times the L0 at the sparsest target, the densest over that at the densest."""

    def law(setting, batch):
        full = 2000 * setting**-1.5
        return full * math.exp(-4 * (batch**-0.5 - 1024**-0.5) * math.log(full / 5))

    calls = []
    monkeypatch.setattr(pilots, "trained", faked(law, calls))
    config = checked({"families": [{"architecture": "relu", "target_l0": targets}]})

    def worst():
        aimed, (found,) = sweeps.settled(config)
        reached = [law(s, 1024) for s in aimed.families[0].settings]
        return np.abs(np.log(np.divide(reached, targets))).max(), found.pilots

    off, table = worst()
    assert off < 0.03
    large = table.tail(min(3, len(targets)))  # as counted, with half of the batch
    assert calls[-1] == ("pilot, large", 512) and list(large["l0"]) == [law(s, 512) for s in large["setting"]]
    monkeypatch.setattr(pilots, "PLACES", 1)
    assert worst()[0] > 0.1


def test_targets_out_of_reach_are_refused_with_the_range(monkeypatch):
    monkeypatch.setattr(pilots, "trained", faked(lambda s, b: 5 + 40 / s, []))
    config = checked({"families": [{"architecture": "relu", "target_l0": [1, 20]}]})
    with pytest.raises(
        pilots.SweepError, match=r"relu: target_l0 1 is out of reach; .*L0 5\.\d+ to 62.*more steps"
    ):
        sweeps.settled(config)


@pytest.mark.parametrize("other", ["relu", "topk"])
def test_targets_above_the_number_of_latents_are_refused_before_the_first_step(tmp_path, monkeypatch, other):
    """Twice a width of 64, which only the file knows; TopK takes its targets without pilots of its own."""
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(600, 64)).astype("float32"))

    def no_step(*args):
        raise AssertionError("a pilot has trained")

    monkeypatch.setattr(pilots, "reported", no_step)
    families = [
        {"architecture": "relu", "target_l0": [8], "expansion": 2, "name": "first"},
        {"architecture": other, "target_l0": [8, 110, 500], "expansion": 2},
    ]
    given = {"files": str(tmp_path / "rows.npy"), "tokens": 512, "context_length": 8}
    training = {"steps": 4, "batch_size": 64}
    config = checked({"activations": given, "families": families, "training": training})
    with pytest.raises(ConfigError, match=rf"{other}.* = 500 is larger than the dictionary of 128"):
        sweeps.settled(config, progress=False)


def test_pilots_use_one_seed_one_rate_and_one_size(monkeypatch):
    seen = []

    def trained(config, progress, what, asked, watch=None):
        seen.append(members(config))
        return faked(lambda s, b: 30 / s, [])(config, progress, what, asked)

    monkeypatch.setattr(pilots, "trained", trained)
    given = {"architecture": "relu", "target_l0": [5, 20], "learning_rate": [1e-3, 1e-2]}
    training = {"seeds": [3, 4], "dictionary_size": [64, 128, 256]}
    config, _ = sweeps.settled(checked({"families": [given], "training": training}))
    assert {(m.seed, m.learning_rate, m.dictionary_size) for m in seen[0]} == {(3, 1e-3, 128)}
    assert len(members(config)) == 2 * 2 * 2 * 3


def test_run_with_targets_trains_and_resumes_from_its_own_file(tmp_path, monkeypatch, capsys):
    config = checked(SMALL | {"families": [{"architecture": "relu", "target_l0": [10, 20]}]})
    write_config(config, tmp_path / "c.toml")
    for line in (
        ["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run"), "--quiet"],
        ["resume", str(tmp_path / "run"), "--quiet"],
    ):
        monkeypatch.setattr(sys, "argv", ["sae-train", *line])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 0, capsys.readouterr().err
    kept = read_config(tmp_path / "run" / "config.toml").families[0]
    (about,) = json.loads((tmp_path / "run" / "sweep.json").read_text())
    assert kept.target_l0 is None and kept.settings == about["settings"] and about["target_l0"] == [10, 20]
    found = pd.read_parquet(tmp_path / "run" / "metrics.parquet").set_index("sparsity_setting")["l0"]
    ratio = found[kept.settings].to_numpy() / [10, 20]
    # 30 steps are far from converged; the 10 and 20 of random settings would be off by factors
    assert np.abs(np.log(ratio)).max() < np.log(1.5)


def test_pilots_of_all_of_a_short_file_take_what_there_is(tmp_path, monkeypatch):
    """They may ask for more rows than a run that takes all of them."""
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(2100, 8)).astype("float32"))
    config = checked({
        "activations": {"files": str(tmp_path / "a.npy"), "tokens": "all"},
        "training": {"steps": 40, "batch_size": 512, "dictionary_size": 16},
        "families": [{"architecture": "relu", "settings": [1.0]}],
    })  # fmt: skip
    small = pilots.pilot_config(config, config.families, 1 / 8)
    assert small.activations.tokens == 64 * 40
    assert len(pilots.trained(small, False, "pilot", config)["relu"]) == 1
    with pytest.raises(TextError, match="too short"):
        pilots.trained(small, False, "pilot", small)
    tried = []

    def torn(config, progress):
        tried.append(config.activations.tokens)
        raise TextError("torn")

    monkeypatch.setattr(pilots, "build_run", torn)
    with pytest.raises(TextError, match="torn"):
        pilots.trained(small, False, "pilot", config)
    assert tried == [64 * 40], "more text mends no other error"
