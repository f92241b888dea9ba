"""wandb://entity/project by the real `wandb.Api` against a server on this machine."""

import json

import pytest
from own_process import reads
from wandb_server import serving

KEY = "0123456789abcdef0123456789abcdef01234567"


def run(i, state="finished", **more):
    summary = {"l0": 10.0 * i, "fvu": 0.5 / i, "_runtime": 3, "_wandb": {"runtime": 3}}
    return {
        "id": f"id{i}", "name": f"run {i}", "state": state, "summary": summary | more,
        "config": {"architecture": "topk", "dictionary_size": 64 * i},
    }  # fmt: skip


def read(url, tmp_path, *addresses, key=KEY):
    """What a process of its own reads: its clients look for servers and keys when they start."""
    pytest.importorskip("wandb", reason="wandb is not installed (make clients)")
    settings = {
        "WANDB_BASE_URL": url, "WANDB_API_KEY": key, "WANDB_ERROR_REPORTING": "false", "HOME": str(tmp_path),
        "WANDB_DIR": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path), "WANDB_CACHE_DIR": str(tmp_path),
    }  # fmt: skip
    said, _ = reads(tmp_path, settings, *addresses, without=["WANDB_MODE"])
    ours = json.dumps(said)
    for secret in (KEY, "alice", "private", url.partition("//")[2]):
        assert secret not in ours
    return said


def test_a_project_in_pages_and_one_run(tmp_path):
    runs = [run(1), run(2, "crashed"), run(3)]
    with serving({("me", "saes"): runs}, KEY) as (url, asked):
        project, one = read(url, tmp_path, "wandb://me/saes", "wandb://me/saes/id2")
    assert project["run_id"] == ["run 1", "run 2", "run 3"] and one["run_id"] == ["run 2"]
    assert project["l0"] == [10.0, 20.0, 30.0] and project["fvu"] == [0.5, 0.25, 0.5 / 3]
    assert project["dictionary_size"] == [64, 128, 192] and set(project["architecture"]) == {"topk"}
    assert project["doubts"] == [None, "run is crashed", None]
    assert asked.count("Runs") == 2 and asked.count("Run") == 1  # pages, no query per run
    assert "me/saes" not in project["made"]


def test_what_cannot_be_read_is_said_in_one_line(tmp_path):
    with serving({("me", "saes"): [run(1)]}, KEY) as (url, _):
        gone, no_run = read(url, tmp_path, "wandb://me/other", "wandb://me/saes/none")
        (refused,) = read(url, tmp_path, "wandb://me/saes", key=KEY[::-1])
    for said in (gone, no_run, refused):
        assert said["error"].startswith("TableError: ") and "WANDB_API_KEY gives access" in said["error"]
