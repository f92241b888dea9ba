"""The configuration: every field explained, every fault named."""

import tomllib

import pytest

from trainers import recipes
from trainers.config import ConfigError, RunConfig, checked, read_config, write_config
from trainers.config_members import members
from trainers.config_sections import FamilySection
from trainers.config_sizes import sized
from trainers.family import Schedule

FAMILY = {"architecture": "topk", "settings": [2, 4]}
TARGET_64 = {"architecture": "jumprelu", "settings": [64], "options": {"penalty": "target"}}
P_ANNEAL = {"architecture": "p_anneal", "settings": [1]}
SECTIONS = ("model", "activations", "training", "evaluation", "families")


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
        ({"families": [TARGET_64], "training": {"dictionary_size": 32}}, "target_l0 = 64 is larger.*32"),
        ({"families": [FAMILY], "training": {"warmup": 0.7, "decay": 0.7}}, "decay = 0.7 are 1.4.*1 at most"),
        ({"families": [P_ANNEAL | {"options": {"changes": 0}}]}, "changes must be 1 or above"),
        ({"families": [P_ANNEAL | {"options": {"window": 0}}]}, "window must be 1 or above"),
        ({"families": [P_ANNEAL | {"options": {"changes": True}}]}, "changes wants a whole number.*True"),
    ],
)
def test_a_fault_is_named(content, words):
    with pytest.raises(ConfigError, match=words):
        checked(content)


def of_section(section, values):
    """A configuration with these values of one section."""
    return {"families": [FAMILY | (values if section == "families" else {})]} | (
        {} if section == "families" else {section: values}
    )


@pytest.mark.parametrize("section", SECTIONS)
def test_true_and_false_are_no_numbers_and_numbers_no_truth(section):
    kind = FamilySection if section == "families" else RunConfig.model_fields[section].annotation
    for name, field in kind.model_fields.items():
        for value in (1, "yes") if field.annotation is bool else (True, False, [True], [2, False]):
            with pytest.raises(ConfigError, match=rf"{section}.*{name}\b"):
                checked(of_section(section, {name: value}))
    for value in (True, False):
        assert checked(of_section("activations", {"centre": value})).activations.centre is value
        with pytest.raises(ConfigError, match="norm_limits: is no field for true or false"):
            checked(of_section("activations", {"norm_limits": {"mlp_out.1": value}}))


def test_what_a_saved_run_has_is_read_though_a_new_one_is_refused(tmp_path):
    """Runs that trained once are evaluated and exported; to train them on is refused, with the reason."""
    old = {"families": [TARGET_64], "training": {"warmup": 0.7, "decay": 0.7, "dictionary_size": 32}}
    read = checked(old, saved=True)
    assert (read.training.warmup, read.families[0].settings) == (0.7, [64.0])
    with pytest.raises(ConfigError, match=r"warmup = 0.7 and decay = 0.7"):
        sized(read, 16)


@pytest.mark.parametrize("shares", [(0.05, 0.2), (0.3, 0.7), (0.1, 0.9), (0.35, 0.65), (1, 0), (0, 1)])
@pytest.mark.parametrize("steps", [1, 3, 10, 97, 1000])
def test_a_learning_rate_is_reached(shares, steps):
    schedule = Schedule(steps, *shares)
    assert max(map(schedule.learning_rate, range(steps))) == 1.0
    with pytest.raises(ValueError, match="is never reached"):
        Schedule(steps, shares[0], 1.01 - shares[0])


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
