"""A run published to a hub on this machine by the hub's own client, and taken back from it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hub_server import Hub, serving
from offline import THEIR_WARNINGS

import frontier
import trainers
from trainers.publishing import prepare, repository_of
from trainers.run import RunError

sys.path.insert(0, str(Path(__file__).parent.parent / "trainers"))
from small_runs import said, small

from trainers.evaluate.runs import evaluate_run
from trainers.train import train

pytestmark = [THEIR_WARNINGS, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
TOKEN = "hf_secretsecretsecret"
FAMILIES = [
    {"architecture": "relu", "settings": [0.5, 1.0, 2.0, 4.0]},
    {"architecture": "topk", "settings": [2, 4, 8, 16]},
    {"architecture": "batch_topk", "settings": [4, 8]},
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    done = train(small(FAMILIES), folder, progress=False)
    evaluate_run(folder, model=done.model, progress=False)
    return folder


@pytest.fixture(scope="module")
def published(run, tmp_path_factory):
    return prepare(run, tmp_path_factory.mktemp("out") / "first", "me/first", "mit", reference="relu")


def test_the_folder_gives_the_table_back(run, published):
    table, meant = frontier.read(published.folder), frontier.read(run / "metrics.parquet")
    pd.testing.assert_frame_equal(table[meant.columns], meant, check_exact=True)
    assert frontier.rerun(published.folder / "comparison.json").equal
    assert len(published.saes) == 10 and not published.refused
    assert trainers.load(published.folder / published.saes[0]).identity["dictionary_size"] == 64


def test_the_card_has_all_that_was_asked(published):
    text = (published.folder / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---")[1])
    assert head["license"] == "mit" and head["library_name"] == "saelens"
    assert "](frontier.png)" in text and (published.folder / "frontier.png").stat().st_size > 5000
    for wanted in (
        "## Verdicts", "topk", "## What each family was given", 'SAE.from_pretrained("me/first"',
        'frontier.read("hf://me/first")', "@software{sae_frontier", "gao2024", "bussmann2024",
    ):  # fmt: skip
        assert wanted in text, wanted
    (row,) = [line for line in text.splitlines() if line.startswith("| topk ") and "| 4 " in line][:1]
    assert [cell.strip() for cell in row.strip("|").split("|")][:4] == ["topk", "4", "4", "1"]


def test_what_cannot_be_published_is_said(run, published, tmp_path):
    with pytest.raises(RunError, match="is not empty"):
        prepare(run, published.folder, "me/first", "mit")
    with pytest.raises(RunError, match=r"has no metrics\.parquet"):
        prepare(tmp_path, tmp_path / "out", "me/first", "mit")
    for address in ("me", "hf://datasets/me/x", "hf://a/b/c", "../x/y"):
        with pytest.raises(RunError, match="hf://OWNER/NAME"):
            repository_of(address)


def test_a_dry_run_sends_nothing_and_the_licence_is_asked_for(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("trainers.publishing.upload", lambda *_, **__: pytest.fail("it was sent"))
    words = ("publish", run, "--to", "hf://me/first", "--out", tmp_path / "out", "--dry-run")
    code, out, err = said(monkeypatch, capsys, *words, "--licence", "cc-by-4.0")
    assert code == 0 and "nothing was sent" in out, err
    assert "license: cc-by-4.0" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    monkeypatch.setattr("sys.stdin", open(os.devnull))
    code, out, err = said(monkeypatch, capsys, *words)
    assert code != 0


COMMANDS = """
import json, os, sys
from commands import run_main
from trainers.cli import main
for token, *words in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = token
    done = run_main(main, "sae-train", *words)
    print("DONE", json.dumps([done.returncode, done.stdout, done.stderr]))
import frontier
table = frontier.read("hf://me/first")
print("READ", len(table), round(table["l0"].sum(), 6))
"""
"""`sae-train` several times, then the table, in one process: it takes the hub's address when it starts."""


def commands(hub, cwd, *lines):
    """What each line (a token, then words) gave, and what was read at the end."""
    with serving(hub) as url:
        settings = {
            "HF_ENDPOINT": url, "HF_TOKEN": TOKEN, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
            "HF_HOME": str(cwd / "hf"), "SAE_FRONTIER_CACHE": str(cwd / "cache"), "HF_HUB_DISABLE_XET": "1",
            "USER": "alice_private", "LOGNAME": "alice_private",
        }  # fmt: skip
        env = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | settings
        start = [sys.executable, "-c", COMMANDS, json.dumps(lines)]
        done = subprocess.run(start, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    *said, read = [line for line in done.stdout.splitlines() if line.startswith(("DONE ", "READ "))]
    return [subprocess.CompletedProcess((), *json.loads(line[5:])) for line in said], read[5:]


def test_to_the_hub_and_back(run, tmp_path):
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (make clients)")
    hub = Hub({}, token=TOKEN, new=tmp_path / "hub")
    publish = ("publish", str(run), "--to", "hf://me/first", "--licence", "mit", "--out")
    get = ("get", "hf://me/first", "--out", "saes", "--only", "topk_4")
    lines = ("hf_other", *publish, "none"), (TOKEN, *publish, "out"), (TOKEN, *get)
    (refused, done, got), read = commands(hub, tmp_path, *lines)
    assert refused.returncode == 2 and "hf auth login" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert got.returncode == 0, got.stderr
    root = tmp_path / "hub" / "me" / "first"
    there = {p.relative_to(root).as_posix() for p in root.rglob("*")}
    here = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")}
    assert here and here <= there
    written = b"".join(p.read_bytes() for p in root.rglob("*") if p.is_file())
    for private in (TOKEN, "127.0.0.1", "alice_private", str(tmp_path), str(run.parent)):
        assert private.encode() not in written
    meant = pd.read_parquet(run / "metrics.parquet")
    assert read == f"{len(meant)} {round(meant['l0'].sum(), 6)}"
    copies = sorted(p.parent.name for p in (tmp_path / "saes").rglob("cfg.json"))
    assert copies == ["batch_topk_4_seed0", "topk_4_seed0"]
    assert trainers.load(tmp_path / "saes" / "topk_4_seed0").identity["architecture"] == "topk"
