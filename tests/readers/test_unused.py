"""Nothing in a file is dropped in silence: what a table does not have as a column is named as not used."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import yaml
from commands import sae_frontier

import frontier
from frontier.readers import TableError, read

FIXTURES = Path(__file__).parent / "fixtures"
FOLDERS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())


def plant(content, index, planted):
    """Text that all files share, and numbers and texts that differ, in every dict that holds plain facts."""
    if isinstance(content, list):
        for inner in content:
            plant(inner, index, planted)
    if not isinstance(content, dict):
        return
    inner = [value for value in content.values() if isinstance(value, (dict, list))]
    for value in inner:
        plant(value, index, planted)
    if len(inner) < len(content):
        content |= {"planted_shared": "x", "planted_number": index % 2 + 0.5, "planted_name": f"n{index}"}
        planted |= {"planted_shared", "planted_number", "planted_name"}


def planted_folder(name, tmp_path):
    """A folder of results with facts planted in each of its files; their names."""
    shutil.copytree(FIXTURES / name, tmp_path / name)
    planted = set()
    files = (p for p in sorted((tmp_path / name).rglob("*")) if p.suffix in (".json", ".yaml", ".csv"))
    for index, path in enumerate(files):
        if path.suffix == ".csv":
            rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
            parts = ("planted_shared", "config.planted.number", "planted/name")
            cells = [(*row, "x", i % 2 + 0.5, f"n{i}") for i, row in enumerate(rows[1:])]
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([[*rows[0], *parts], *cells])
            planted |= set(parts)
        else:
            is_json = path.suffix == ".json"
            content = json.loads(path.read_text()) if is_json else yaml.safe_load(path.read_text())
            plant(content, index, planted)
            path.write_text(json.dumps(content) if is_json else yaml.safe_dump(content, sort_keys=False))
    return tmp_path / name, planted


def named(table):
    """What the notes name as not used."""
    notes = [n.removeprefix("not used: ") for n in frontier.notes(table) if n.startswith("not used: ")]
    assert len(notes) == 1
    return set(notes[0].split(", "))


@pytest.mark.parametrize("name", FOLDERS)
def test_whatever_is_planted_in_a_file_is_a_column_or_named(name, tmp_path):
    bare = read(FIXTURES / name)
    folder, planted = planted_folder(name, tmp_path)
    table = read(folder)
    unused = named(table)
    assert planted
    for fact in planted:
        assert any(text == fact or text.endswith((f".{fact}", f"/{fact}", f"_{fact}")) for text in unused), (
            fact
        )
    measured = [c for c in bare.columns if c not in ("source", "run_id")]
    assert table[measured].equals(bare[measured])


def test_what_a_plain_table_does_not_use_is_named(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(
        "Name,State,Tags,l0,frac_recovered,colour\na,finished,old,8,0.8,red\nb,finished,old,16,0.9,red\n"
    )
    assert named(read(path)) == {"Tags", "colour"}


def wandb(tmp_path, column, values, head="metrics/l0,model_performance_preservation/ce_loss_score"):
    path = tmp_path / "export.csv"
    rows = [f"r{i},finished,2025,9,topk,{value},{10 + i},{0.8 + i / 100}" for i, value in enumerate(values)]
    path.write_text("\n".join([f"Name,State,Created,Runtime,architecture,{column},{head}", *rows, ""]))
    return path


@pytest.mark.parametrize(
    "head", ["metrics/l0,model_performance_preservation/ce_loss_score", "l0,frac_recovered"]
)
def test_a_setting_that_would_split_runs_of_a_known_tool_is_a_question(tmp_path, head):
    path = wandb(tmp_path, "config.corpus", ["pile"] * 4 + ["owt"] * 4, head)
    table = read(path)
    assert table["config.corpus"].tolist() == ["pile"] * 4 + ["owt"] * 4
    with pytest.raises(TableError, match=r"config\.corpus' is not used, and would split"):
        frontier.fit(table, "hill")
    assert len(frontier.fit(read(path, columns={"config.corpus": "ignored"}), "hill")) == 1
    assert len(frontier.fit(read(path, columns={"config.corpus": "protocol"}), "hill", by=["protocol"])) == 2


@pytest.mark.parametrize("column", ["Tags", "User", "device", "trainer.wandb_name"])
def test_nobody_is_asked_about_machines_and_users(tmp_path, column):
    table = read(wandb(tmp_path, column, ["a"] * 4 + ["b"] * 4))
    assert column in named(table) and len(frontier.fit(table, "hill")) == 1


def test_one_screen_has_the_first_of_very_many_unused_columns(tmp_path):
    path = wandb(tmp_path, "corpus", ["pile"] * 8)
    names = [f"config.field_{i}" for i in range(80)]
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{head},{','.join(names)}", *(row + ",1" * 80 for row in rows), ""]))
    short = " ".join(sae_frontier("fit", path).stdout.split())
    assert "config.field_5," in short and "config.field_70" not in short and "more (--verbose)" in short
    every = " ".join(sae_frontier("fit", path, "--verbose").stdout.split())
    assert all(name in every for name in names)
