"""Default learning rates, and that a run keeps the one it began with."""

import pytest
import torch
from small_runs import small, weights

from trainers.architectures import BUILT_IN, Gated, JumpReLU, MatchingPursuit, PAnneal, ReLU, TopK
from trainers.config import ConfigError, checked, read_config, run_config, stated, write_config
from trainers.config_members import members
from trainers.precision import with_formats
from trainers.run import build_run, changed_fields
from trainers.train import train

SIZE = {"dictionary_size": 64}


def families(*names, **more):
    return [{"architecture": n, "settings": [4]} | more for n in names]


def test_some_kinds_are_faster_where_runs_are_short():
    """By hand: 5e-3 √(5000 / 1250) is 1e-2; never above 1.5e-2 (JumpReLU: 7.5e-3), never below 5e-3."""
    quick = (ReLU, PAnneal, Gated, JumpReLU, MatchingPursuit)
    for kind in quick:
        most = 7.5e-3 if kind is JumpReLU else 1.5e-2
        assert kind.default_rate(1250) == pytest.approx(min(1e-2, most))
        assert kind.default_rate(1) == kind.default_rate(555) == pytest.approx(most)
        assert kind.default_rate(5000) == kind.default_rate(10**6) == 5e-3
    for kind in {*BUILT_IN} - {*quick}:  # those of a fixed k: 5e-3 · 600 / 400 is 7.5e-3, never above 1e-2
        assert issubclass(kind, TopK) and kind.default_rate(400) == pytest.approx(7.5e-3)
        assert kind.default_rate(1) == kind.default_rate(300) == pytest.approx(1e-2)
        assert kind.default_rate(600) == kind.default_rate(10**6) == 5e-3


def test_the_default_is_that_of_the_steps_unless_one_is_given():
    config = checked({"training": {"steps": 1250} | SIZE, "families": families("relu", "topk")})
    assert [m.learning_rate for m in members(config)] == pytest.approx([1e-2, 5e-3])
    of_all = checked({"training": {"learning_rate": 1e-3} | SIZE, "families": families("relu", "topk")})
    assert [m.learning_rate for m in members(of_all)] == [1e-3, 1e-3]
    own = checked(
        {"training": {"learning_rate": 1e-3} | SIZE, "families": families("relu", learning_rate=[2e-3, 4e-3])}
    )
    assert [m.learning_rate for m in members(own)] == [2e-3, 4e-3]


def test_a_run_states_the_rates_it_trains_with(tmp_path):
    train(small(training={"steps": 2}), tmp_path, progress=False)
    kept = run_config(tmp_path)
    assert [f.learning_rate for f in kept.families] == pytest.approx([1.5e-2, 1e-2])
    assert kept == with_formats(stated(small(training={"steps": 2})), torch.device("cpu"))


def test_a_saved_run_that_states_no_rate_had_5e_3(tmp_path):
    """Every built-in architecture had that default before runs stated theirs; a rate that is there stands."""
    names = [kind.name for kind in BUILT_IN]
    write_config(checked({"families": families(*names)}), tmp_path / "config.toml")
    assert {m.learning_rate for m in members(run_config(tmp_path))} == {5e-3}
    plain = {"training": {"learning_rate": 1e-3}, "families": families("relu")}
    assert [m.learning_rate for m in members(checked(plain, saved=True))] == [1e-3]
    plain = {"families": families("relu", learning_rate=[2e-3, 4e-3])}
    assert [m.learning_rate for m in members(checked(plain, saved=True))] == [2e-3, 4e-3]


def test_an_older_run_goes_on_with_its_own_rate(tmp_path):
    """A folder as older versions left it: neither config.toml nor the checkpoint states a rate."""
    config = small(training={"learning_rate": 5e-3})
    train(config, tmp_path / "whole", progress=False)
    run = build_run(config, progress=False)
    for _ in range(5):
        batch = next(run.stream)
        for engine in run.engines:
            engine.step(batch, run.step)
        run.step += 1
    was = small(model={"dtype": "float32"}, training={"precision": "float32"})
    run.config = was
    write_config(was, tmp_path / "old" / "config.toml")
    run.save(tmp_path / "old" / "checkpoints")
    assert "learning_rate" not in (tmp_path / "old" / "config.toml").read_text()
    train(run_config(tmp_path / "old"), tmp_path / "old", progress=False, resume=True)
    old, whole = weights(tmp_path / "old"), weights(tmp_path / "whole")
    assert old.keys() == whole.keys()
    for name in whole:
        assert all(torch.equal(old[name][k], v) for k, v in whole[name].items())


def test_another_rate_is_another_configuration():
    old = small().model_dump(mode="json")
    assert changed_fields(old, stated(small()).model_dump(mode="json")) == ["the families differ"]
    assert not changed_fields(old, checked(old, saved=True).model_dump(mode="json"))


def test_only_an_option_is_stated(monkeypatch):
    """A class may call something else momentum."""
    monkeypatch.setattr(ReLU, "momentum", 0.9, raising=False)
    assert stated(checked({"families": families("relu")})).families[0].options == {}


def test_a_run_states_its_momentum_and_an_older_one_had_none(tmp_path):
    """JumpReLU without momentum was the only one before it had the option."""
    config = checked({"families": families("jumprelu"), "training": {"steps": 2, "batch_size": 64} | SIZE})
    assert config.families[0].build(True).betas == (0.9, 0.999)
    assert stated(config).families[0].options == {"momentum": 0.9}
    write_config(stated(config), tmp_path / "new.toml")
    assert read_config(tmp_path / "new.toml", saved=True).families[0].build(True).betas == (0.9, 0.999)
    write_config(config, tmp_path / "old.toml")
    assert read_config(tmp_path / "old.toml", saved=True).families[0].build(True).betas == (0.0, 0.999)
    own = checked({"families": families("jumprelu", options={"momentum": 0.5})}, saved=True)
    assert stated(own).families[0].options == {"momentum": 0.5}
    with pytest.raises(ConfigError, match="momentum must be 0 or above and below 1, got 1"):
        checked({"families": families("jumprelu", options={"momentum": 1.0})})
