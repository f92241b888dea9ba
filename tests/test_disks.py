"""The analysis on full disks and in folders that are read-only: one line each, and nothing half-written."""

import pytest
from commands import sae_frontier
from disks import fill, in_one_line, permissions_hold, small_disk

COMMANDS = {
    "pareto": ("--out", "results", "pareto.csv"),
    "fit": ("--out", "results", "fits.csv"),
    "compare": ("--out", "results", "ratios.csv"),
    "report": ("--out", "page.html", "page.html"),
}


@pytest.fixture
def sweep(layer20, tmp_path):
    layer20[layer20["site"] == "Resid"].to_csv(tmp_path / "sweep.csv", index=False)
    return tmp_path / "sweep.csv"


def words(command, sweep, folder):
    option, place, _ = COMMANDS[command]
    reference = ("--reference", "baseline") if command in ("compare", "report") else ()
    return command, sweep, *reference, option, folder / place


@pytest.mark.parametrize("left", [0, 24])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(command, left, sweep, tmp_path):
    """Full before the first file, and in the midst of them."""
    with small_disk(tmp_path / "disk", 400) as disk:
        fill(disk, left)
        done = sae_frontier(*words(command, sweep, disk))
        assert done.returncode == 2
        assert in_one_line(done.stderr, str(disk), "No space left on device", "kept", "free some space")
        assert not list(disk.rglob(".draft_*"))


def test_a_file_of_before_outlives_a_full_disk(sweep, tmp_path):
    with small_disk(tmp_path / "disk", 400) as disk:
        (disk / "page.html").write_text("the page of before")
        fill(disk, 24)
        done = sae_frontier(*words("report", sweep, disk))
        assert in_one_line(done.stderr, "page.html", "what was there before is unchanged")
        assert (disk / "page.html").read_text() == "the page of before"


@pytest.mark.parametrize("command", ["pareto", "report"])
def test_a_folder_that_is_read_only(command, sweep, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with permissions_hold():
        done = sae_frontier(*words(command, sweep, tmp_path / "closed"))
    assert done.returncode == 2
    named = str(tmp_path / "closed"), COMMANDS[command][2]
    assert in_one_line(
        done.stderr, *named, "Permission denied", "kept", "name a folder that you may write to"
    )
    assert not list((tmp_path / "closed").iterdir())
