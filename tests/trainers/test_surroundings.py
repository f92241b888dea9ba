"""The command in places that are short of something: address space, a home, letters, a terminal."""

import os
import resource
import subprocess
import sys

import pandas as pd
import pytest
from processes import sae_train
from small_runs import small

from trainers.config import write_config

pytestmark = pytest.mark.slow


def command(*words, limits=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "trainers", *map(str, words)], capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        preexec_fn=limits and (lambda: [resource.setrlimit(k, (v, v)) for k, v in limits.items()]),
    )  # fmt: skip


@pytest.mark.parametrize("size", [1.0e9, 1.6e9, 2.0e9])
def test_too_little_address_space_is_one_line(size):
    done = command("status", ".", limits={resource.RLIMIT_AS: int(size)})
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "ulimit -v" in done.stderr


def test_poor_surroundings_give_the_same_numbers(finished, tmp_path):
    """No writable home, the C locale and no terminal, in a Python of its own."""
    write_config(small(), tmp_path / "c.toml")
    poor = {"HOME": "/nonexistent", "LANG": "C", "LC_ALL": "C", "TERM": "dumb"}
    done = command("run", tmp_path / "c.toml", "--out", tmp_path / "run", **poor)
    assert done.returncode == 0, done.stderr
    ours, theirs = (pd.read_parquet(f / "metrics.parquet") for f in (tmp_path / "run", finished))
    pd.testing.assert_frame_equal(ours, theirs)


def test_a_limit_on_file_sizes_names_the_file(tmp_path):
    write_config(small(), tmp_path / "c.toml")
    words = ("run", tmp_path / "c.toml", "--out", tmp_path / "run", "--quiet")
    limited = sae_train(*words, limits={resource.RLIMIT_FSIZE: 1024})
    _, said = limited.communicate()
    assert limited.returncode == 2 and said.count("\n") == 1, said
    assert "File too large" in said and "ulimit -f" in said and "run" in said
    resumed = sae_train("resume", tmp_path / "run", "--quiet")
    _, said = resumed.communicate()
    assert resumed.returncode == 0, said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(tmp_path):
    write_config(small(), tmp_path / "c.toml")
    (tmp_path / "run").mkdir(mode=0o500)
    done = command("run", tmp_path / "c.toml", "--out", tmp_path / "run", "--quiet")
    assert done.returncode == 2 and "name a folder that you may write to" in done.stderr


def test_the_version():
    done = command("--version")
    assert done.returncode == 0 and done.stdout.startswith("sae-train 0.")
