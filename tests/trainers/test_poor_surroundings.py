"""The command in places that are short of something: address space, a home, letters, a terminal."""

import os
import resource
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
from commands import run_main
from disks import fill, in_one_line, permissions_hold, small_disk
from processes import sae_train
from small_runs import said, small, weights

from trainers.cli import main
from trainers.config import write_config

pytestmark = pytest.mark.slow


def command(*words, limits=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "trainers", *map(str, words)], capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        preexec_fn=limits and (lambda: [resource.setrlimit(k, (v, v)) for k, v in limits.items()]),
    )  # fmt: skip


def not_allowed(*words):
    """The command in this process, without root's right to write everywhere."""
    with permissions_hold():
        return run_main(main, "sae-train", *words)


@pytest.mark.parametrize("size", [1.0e9, 1.6e9, 2.0e9])
def test_too_little_address_space_is_one_line(size):
    done = command("status", ".", limits={resource.RLIMIT_AS: int(size)})
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "ulimit -v" in done.stderr


def test_poor_surroundings_give_the_same_numbers(finished, tmp_path):
    """No writable home, the C locale, no terminal and no asserts, in a Python of its own."""
    write_config(small(), tmp_path / "c.toml")
    poor = {"HOME": "/nonexistent", "LANG": "C", "LC_ALL": "C", "PYTHONOPTIMIZE": "1", "TERM": "dumb"}
    done = command("run", tmp_path / "c.toml", "--out", tmp_path / "run", **poor)
    assert done.returncode == 0, done.stderr
    ours, theirs = (pd.read_parquet(f / "metrics.parquet") for f in (tmp_path / "run", finished))
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize(("limit", "then"), [(1024, "run"), (2048, "resume")])
def test_a_limit_on_file_sizes_names_the_file(tmp_path, limit, then):
    """Of the configuration, and of a checkpoint: the same again without it, or on from there."""
    write_config(small(), tmp_path / "c.toml")
    words = {
        "run": ("run", tmp_path / "c.toml", "--out", tmp_path / "run", "--quiet"),
        "resume": ("resume", tmp_path / "run", "--quiet"),
    }
    limited = sae_train(*words["run"], limits={resource.RLIMIT_FSIZE: limit})
    _, said = limited.communicate()
    assert limited.returncode == 2 and said.count("\n") == 1, said
    assert "File too large" in said and "ulimit -f" in said and "run" in said
    again = sae_train(*words[then])
    _, said = again.communicate()
    assert again.returncode == 0, said


def test_a_folder_that_is_read_only(tmp_path):
    write_config(small(), tmp_path / "c.toml")
    (tmp_path / "run").mkdir(mode=0o500)
    words = ("run", tmp_path / "c.toml", "--out", tmp_path / "run", "--quiet")
    done = not_allowed(*words)
    assert done.returncode == 2
    assert in_one_line(done.stderr, str(tmp_path / "run"), "nothing was changed", "that you may write to")


@pytest.mark.parametrize(("word", "within"), [("resume", False), ("evaluate", True)])
def test_a_run_that_is_read_only(copied, word, within):
    """The folder alone, and all that is in it, as an archive may be."""
    closed = [copied, *(copied.rglob("*") if within else ())]
    for path in closed:
        path.chmod(path.stat().st_mode & ~0o222)
    done = not_allowed(word, copied, "--quiet")
    for path in closed:
        path.chmod(path.stat().st_mode | 0o200)
    assert done.returncode == 2
    assert in_one_line(done.stderr, str(copied), "Permission denied", "that you may write to"), done.stderr


def test_saes_that_cannot_be_replaced(copied):
    (copied / "saes").chmod(0o500)
    done = not_allowed("resume", copied, "--quiet")
    (copied / "saes").chmod(0o755)
    assert in_one_line(done.stderr, "saes/", "what was there before is unchanged"), done.stderr


@pytest.mark.parametrize("kilobytes", [20, 700, 1200])
def test_a_full_disk_while_training(finished, tmp_path, monkeypatch, capsys, kilobytes):
    """At the first, second and last checkpoint; with room again the run ends in the same bits."""
    write_config(small(), tmp_path / "c.toml")
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        words = ("run", tmp_path / "c.toml", "--out", disk / "run", "--quiet")
        code, _, err = said(monkeypatch, capsys, *words)
        assert code == 2 and "checkpoint of step" in err and "No space left" in err and "free some" in err
        assert ("is intact" in err) == (kilobytes > 20) and not list(disk.rglob(".draft_*"))
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        assert said(monkeypatch, capsys, "resume", disk / "run", "--quiet")[0] == 0
        for name, theirs in weights(finished).items():
            assert all(torch.equal(v, weights(disk / "run")[name][k]) for k, v in theirs.items())


def test_a_full_disk_while_saes_are_saved_measured_and_exported(copied, tmp_path, monkeypatch, capsys):
    with small_disk(tmp_path / "disk", 5000) as disk:
        run = shutil.copytree(copied, disk / "run")
        for words, left in (
            (("evaluate", run, "--quiet"), 0),
            (("evaluate", run, "--quiet"), 24),
            (("export", run, "--out", disk / "exported"), 8),
            (("resume", run, "--quiet"), 8),
        ):
            fill(disk, left)
            code, _, err = said(monkeypatch, capsys, *words)
            (disk / "filling").unlink()
            assert code == 2 and str(disk) in err and "No space left" in err and "free some space" in err, err
            assert "Traceback" not in err and not list(disk.rglob(".draft_*")), words
            assert ("; metrics.parquet of before is unchanged; free" in err) == (words[0] == "evaluate"), err
        for name in ("metrics.parquet", "batches.parquet", "frequencies.safetensors"):
            assert (run / name).read_bytes() == (copied / name).read_bytes()
        assert {p.name for p in (run / "saes").iterdir()} == {p.name for p in (copied / "saes").iterdir()}
        assert said(monkeypatch, capsys, "resume", run, "--quiet")[0] == 0


def test_the_version():
    done = command("--version")
    assert done.returncode == 0 and done.stdout.startswith("sae-train 0.")
