"""The analysis in poor surroundings, twice at once into one folder: the same files, byte by byte."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import sae_frontier

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
MAIN = "import sys; sys.argv[0] = 'sae-frontier'; from frontier.cli import main; main()"
POOR = {"LANG": "C", "LC_ALL": "C", "PYTHONOPTIMIZE": "1", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def words(sweep, out):
    return "compare", str(sweep), "--reference", "baseline", "--out", str(out)


def started(sweep, out, without=(), **more):
    """`sae-frontier compare` in a Python of its own, without a terminal."""
    given = {k: v for k, v in os.environ.items() if k not in without} | {"MPLBACKEND": "agg", **more}
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *words(sweep, out)], cwd=ROOT, env=given, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def sweep(gemma, tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep.csv"
    gemma[(gemma["layer"] == 20) & (gemma["site"] == "Resid")].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def alone(sweep, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "results"
    done = sae_frontier(*words(sweep, out))
    assert done.returncode == 0, done.stderr
    return files(out)


def test_two_analyses_into_one_folder_at_once_in_poor_surroundings(sweep, alone, tmp_path):
    """No home or one that takes no file, the C locale, no terminal, no asserts: files as of one alone."""
    (tmp_path / "home").mkdir(mode=0o500)
    homes = {"without": ("HOME", "TERM")}, {"without": ("TERM",), "HOME": str(tmp_path / "home")}
    both = [started(sweep, tmp_path / "results", **home, **POOR) for home in homes]
    for process in both:
        ended(process)
    assert files(tmp_path / "results") == alone
