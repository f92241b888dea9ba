"""Files written whole, and names as file names. Oracles: the file system itself, and `sha256sum`."""

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontier.writing import (
    DamagedError,
    WriteError,
    check_sums,
    file_name,
    file_names,
    remove_drafts,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)


@given(st.text(max_size=400))
def test_a_file_name_stays_in_its_folder(tmp_path_factory, name):
    clean = file_name(name)
    assert 0 < len(clean.encode()) <= 200
    assert not set("/\\\0") & set(clean) and ".." not in clean and not clean.startswith(".")
    assert file_name(clean) == clean
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    (folder / clean).touch()
    assert (folder / clean).resolve().parent == folder.resolve()
    (folder / clean).unlink()


@given(st.lists(st.text(alphabet="aAbB/_.", max_size=4), max_size=30))
def test_file_names_are_all_different_on_every_system(names):
    found = file_names(names)
    assert len({f.casefold() for f in found}) == len(names)
    assert all(file_name(f) == f for f in found)


@pytest.mark.parametrize("name", ["relu_0.5_seed0", "a b", "topk + threshold 0.3", "ä", "x" * 200])
def test_plain_names_stay_as_they_are(name):
    assert file_name(name) == name


@pytest.mark.parametrize("where", ["os.replace", "os.fsync", "pathlib.Path.write_bytes"])
@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
def test_a_fault_leaves_the_file_of_before(tmp_path, monkeypatch, where, fault):
    path = write_text(tmp_path / "a.txt", "before")

    def fails(*_, **__):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(where, fails)
        with pytest.raises((KeyboardInterrupt, WriteError)) as found:
            write_text(path, "after")
    assert path.read_text() == "before" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    if found.type is WriteError:
        said = str(found.value)
        assert str(path) in said and "No space left" in said and "unchanged; free some space" in said


def test_a_limit_on_file_sizes(tmp_path):
    """A real one, of 1 KB, in a process of its own (the limit holds for all of a process)."""
    code = (
        "import resource, sys; from frontier.writing import write_text, WriteError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "try: write_text(sys.argv[1], 'x' * 5000)\n"
        "except WriteError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big.txt")], capture_output=True, text=True, check=True
    )
    assert "big.txt could not be written: File too large; nothing of it was kept" in done.stdout
    assert "ulimit -f" in done.stdout and list(tmp_path.iterdir()) == []


def test_permissions_are_those_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "a") as draft:
            draft.write_text("x")
            draft.chmod(0o600)  # as some libraries do
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_folder_appears_whole_and_its_digests_are_those_of_sha256sum(tmp_path):
    with whole_folder(tmp_path / "new") as draft:
        (draft / "a").write_text("one")
        assert not (tmp_path / "new").exists()
    assert check_sums(tmp_path / "new") == ["a"]
    if shutil.which("sha256sum"):
        told = subprocess.run(
            ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path / "new", capture_output=True
        )
        assert told.returncode == 0
    (tmp_path / "new" / "theirs").write_text("stays")
    with whole_folder(tmp_path / "new") as draft:
        (draft / "a").write_text("two")
    assert (tmp_path / "new" / "theirs").read_text() == "stays" and check_sums(tmp_path / "new") == ["a"]
    (tmp_path / "new" / "a").write_text("twp")
    with pytest.raises(DamagedError, match="a is not as it was written"):
        check_sums(tmp_path / "new")
    (tmp_path / "new" / "SHA256SUMS").write_text("")
    with pytest.raises(DamagedError, match="is no list of digests"):
        check_sums(tmp_path / "new")


def test_drafts_are_taken_away_and_nothing_else(tmp_path):
    (tmp_path / ".draft_1").mkdir()
    (tmp_path / ".draft_2").touch()
    (tmp_path / "draft").touch()
    remove_drafts(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["draft"]


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_two_writers_of_one_file_and_a_reader(tmp_path):
    """Two analyses with one --out: what stands there is always one of the two, whole."""
    path, texts = tmp_path / "a.txt", ["x" * 100_000, "y" * 90_000]
    write_text(path, texts[0])
    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(lambda t=t: [write_text(path, t) for _ in range(20)]) for t in texts]
        while not all(w.done() for w in writers):
            assert path.read_text() in texts
        assert all(w.exception() is None for w in writers)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
