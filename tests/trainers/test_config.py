"""The configuration: every field explained, every fault named."""

import tomllib

import pytest

from trainers import recipes
from trainers.config import ConfigError, RunConfig, checked, members, read_config, write_config

FAMILY = {"architecture": "topk", "settings": [2, 4]}


def test_what_init_writes_is_read_back_and_explains_every_field(tmp_path):
    write_config(recipes.example(), tmp_path / "sweep.toml", explained=True)
    text = (tmp_path / "sweep.toml").read_text()
    assert read_config(tmp_path / "sweep.toml") == recipes.example()
    for section in ("model", "activations", "training", "evaluation"):
        kind = RunConfig.model_fields[section].annotation
        for name, field in kind.model_fields.items():
            assert field.description and f"# {field.description}" in text, (
                f"{section}.{name} is not explained"
            )
            assert f"{name} =" in text


def test_options_of_an_architecture_survive_the_file(tmp_path):
    given = {
        "architecture": "matryoshka",
        "settings": [4.5],
        "options": {"prefixes": [0.25, 1.0], "aux_k": 3},
    }
    config = checked(
        {"families": [given | {"name": "nested", "seeds": [0, 7], "learning_rate": [1e-3, 2e-3]}]}
    )
    write_config(config, tmp_path / "c.toml")
    assert read_config(tmp_path / "c.toml") == config
    assert config.families[0].build(True).prefixes == (0.25, 1.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"families": [{"architecture": "toppk", "settings": [1]}]}, "toppk.*topk"),
        ({"families": [FAMILY | {"optoins": {}}]}, "optoins.*options"),
        ({"families": [FAMILY | {"options": {"aux": 1}}]}, "no option 'aux'.*aux_k"),
        ({"families": [FAMILY], "trainng": {}}, "trainng.*training"),
        ({"families": [FAMILY], "training": {"stepz": 3}}, "training.stepz.*steps"),
        ({"families": [FAMILY], "training": {"steps": -3}}, "training.steps.*greater than 0.*-3"),
        ({"families": [FAMILY], "training": {"learning_rate": 0}}, "above 0"),
        ({"families": [FAMILY], "training": {"dictionary_size": 3}}, "topk: k = 4 is larger.*3"),
        ({"families": [FAMILY | {"settings": [2.5]}]}, "whole k"),
        ({"families": [FAMILY | {"settings": []}]}, "settings"),
        ({"families": [FAMILY, FAMILY]}, "two families are called topk"),
        ({"families": []}, "families"),
        ({}, "families"),
        ({"families": [{"architecture": "relu", "settings": [1], "options": {"p": "x"}}]}, "p"),
        ({"families": [{"architecture": "jumprelu", "settings": [1], "options": {"penalty": "l0"}}]}, "l0"),
        ({"families": [FAMILY], "model": {"dtype": "float8"}}, "model.dtype.*float8"),
        ({"families": [FAMILY | {"name": "../../evil"}]}, "families.0.name"),
        ({"families": [FAMILY | {"name": "a/b"}]}, "families.0.name"),
        ({"families": [FAMILY | {"seeds": []}]}, "families.0.seeds"),
        ({"families": [FAMILY | {"seeds": [-1]}]}, "families.0.seeds"),
        ({"families": [FAMILY], "training": {"seeds": []}}, "training.seeds"),
        ({"families": [{"architecture": "relu", "settings": [float("inf")]}]}, "finite"),
        ({"families": [FAMILY], "activations": {"tokens": 0}}, "activations.tokens"),
        ({"families": [FAMILY], "activations": {"tokens": "everything"}}, "activations.tokens"),
        ({"families": [FAMILY], "activations": {"memory_limit": "2 GBB"}}, "memory_limit.*byte unit: GBB"),
    ],
)
def test_a_fault_is_named(content, words):
    with pytest.raises(ConfigError, match=words):
        checked(content)


def test_changes_from_the_command_line(tmp_path):
    path = tmp_path / "c.toml"
    write_config(checked({"families": [FAMILY]}), path)
    changed = read_config(path, ["training.steps=7", "families.0.settings=[1, 8]", "model.name=some/model"])
    assert (changed.training.steps, changed.families[0].settings, changed.model.name) == (
        7,
        [1, 8],
        "some/model",
    )
    for change, words in (
        ("training.steps", "section.field=value"),
        ("families.3.settings=[1]", "there is no 3"),
        ("training.stepz=1", "stepz.*steps"),
        ("training.steps=many", "training.steps"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_config(path, [change])


def test_files_that_are_none(tmp_path):
    with pytest.raises(ConfigError, match="sae-train init"):
        read_config(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("families = [")
    with pytest.raises(ConfigError, match="is not TOML"):
        read_config(tmp_path / "bad.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not TOML"):
        read_config(tmp_path / "bytes.toml")


def test_every_member_of_a_sweep_has_its_name():
    config = checked(
        {
            "training": {"dictionary_size": [64, 128], "seeds": [0, 1]},
            "families": [FAMILY, FAMILY | {"name": "fast", "learning_rate": [1e-3, 1e-2]}],
        }
    )
    plans = members(config)
    # settings x seeds x sizes, and twice as many where there are two learning rates
    assert len(plans) == 2 * 2 * 2 + 2 * 2 * 2 * 2
    assert len({p.run_id for p in plans}) == len(plans)
    assert plans[0].run_id == "topk_2_seed0_F64"
    with pytest.raises(ConfigError, match="same SAE twice"):
        members(checked({"families": [FAMILY | {"settings": [2, 2.0]}]}))


def test_a_config_file_is_plain_toml(tmp_path):
    write_config(recipes.demo(), tmp_path / "c.toml")
    assert len(tomllib.loads((tmp_path / "c.toml").read_text())["families"]) == 5
