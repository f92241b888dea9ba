"""The configuration: every field explained, every fault named."""

import tomllib

import pytest

from trainers import recipes
from trainers.config import ConfigError, RunConfig, checked, read_config, write_config
from trainers.config_members import members
from trainers.config_sizes import sized

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
        members(checked({"families": [FAMILY | {"settings": [2, 2.0], "dictionary_size": 64}]}))
    turns = {"dictionary_size": 64, "seeds": [5, 6], "seeds_in_turn": True}
    plans = members(checked({"training": turns, "families": [FAMILY | {"settings": [2, 2, 8]}]}))
    assert [(p.setting, p.seed) for p in plans] == [(2, 5), (2, 6), (8, 5)]


def test_sizes_come_from_the_width(tmp_path):
    """8 times the width unless it is said; a file of `init` takes a size from the command line."""
    plain = checked({"families": [FAMILY, FAMILY | {"name": "half", "expansion": [0.5, 2]}]})
    assert [(p.family, p.dictionary_size) for p in members(sized(plain, 96))] == [
        ("topk", 768), ("topk", 768), *[("half", size) for size in (48, 48, 192, 192)]
    ]  # fmt: skip
    own = FAMILY | {"name": "own", "dictionary_size": 40}
    given = checked({"training": {"expansion": 4}, "families": [FAMILY, own]})
    assert {p.dictionary_size for p in members(sized(given, 96))} == {384, 40}
    assert sized(sized(given, 96), 7) == sized(given, 96)
    with pytest.raises(ConfigError, match="has an expansion and no dictionary_size yet"):
        members(plain)
    with pytest.raises(ConfigError, match=r"half: k = 4 is larger than the dictionary of 3"):
        sized(plain, 6)
    with pytest.raises(ConfigError, match="give expansion or dictionary_size, one of the two"):
        checked({"training": {"expansion": 4, "dictionary_size": 64}, "families": [FAMILY]})
    write_config(recipes.example(), tmp_path / "c.toml", explained=True)
    assert read_config(tmp_path / "c.toml").training.expansion == 8
    changed = read_config(tmp_path / "c.toml", ["training.dictionary_size=64"]).training
    assert (changed.expansion, changed.dictionary_size) == (None, 64)


def test_a_config_file_is_plain_toml(tmp_path):
    write_config(recipes.demo(), tmp_path / "c.toml")
    assert len(tomllib.loads((tmp_path / "c.toml").read_text())["families"]) == 5
