"""Text: which documents belong to which split, read in pieces, and hashed."""

import numpy as np
import pytest

from trainers.text import (
    LEFT_OUT,
    STANDARD_LIBRARY,
    ContentHash,
    Document,
    TextError,
    _running_text,
    content_hash,
    documents,
    is_held_out,
    shared_files,
    standard_library_files,
    windows,
)


def whole(items):
    return "".join(item.text for item in items)


@pytest.fixture
def folder(tmp_path):
    """Forty files; one has characters of 1, 2, 3 and 4 bytes."""
    for i in range(39):
        (tmp_path / f"file_{i:02d}.txt").write_text(f"{i} " * (20 + 3 * i), encoding="utf-8")
    (tmp_path / "wide.txt").write_text("aé€😀" * 50, encoding="utf-8")
    return tmp_path


def test_the_splits_share_nothing_and_leave_nothing_out(folder):
    train, held_out = (list(documents(folder, split)) for split in ("train", "evaluation"))
    assert sorted(d.path for d in train + held_out) == sorted(p.name for p in folder.iterdir())
    assert all(is_held_out(d.path) for d in held_out) and not any(is_held_out(d.path) for d in train)
    assert held_out, "one file in sixteen is held out; forty files give some"


def test_one_file_is_cut_at_a_character(tmp_path):
    file = tmp_path / "one.txt"
    for extra in range(16):  # the cut falls on every byte of a character in turn
        text = "é€😀" * 40 + "x" * extra
        file.write_text(text, encoding="utf-8")
        train, held_out = (whole(documents(file, split)) for split in ("train", "evaluation"))
        assert train + held_out == text
        assert 0 < len(held_out.encode()) <= len(text.encode()) / 16 + 3


def test_a_large_file_comes_in_pieces_that_join(tmp_path, monkeypatch):
    monkeypatch.setattr("trainers.text.PIECE", 10)
    file = tmp_path / "one.txt"
    file.write_text("aé€😀" * 50, encoding="utf-8")
    items = list(documents(file))
    assert len(items) > 40 and whole(items) == "aé€😀" * 50
    assert len({item.path for item in items}) == len(items)


def test_a_sample_covers_everything_once(folder):
    pieces = list(documents(folder, "train", sample=16))
    by_file = {}
    for item in pieces:
        name, number = item.path.split("#")
        by_file.setdefault(name, {})[int(number)] = item.text
    joined = {name: "".join(parts[i] for i in sorted(parts)) for name, parts in by_file.items()}
    assert joined == {d.path: d.text for d in documents(folder, "train")}


def test_the_start_of_a_sample_comes_from_all_files(folder):
    pieces = [d.path.split("#")[0] for d in documents(folder, "train", sample=16)]
    files = len({*pieces})
    assert len({*pieces[:files]}) == files


def test_the_hash_follows_what_was_read():
    items = [Document("a", "one"), Document("b", "two")]
    seen = ContentHash()
    assert list(seen.over(iter(items))) == items
    assert seen.text() == content_hash(items)
    assert content_hash(items) != content_hash(items[:1])
    assert content_hash(items) != content_hash([Document("a", "onet"), Document("b", "wo")])


def test_windows_are_the_text_end_to_end():
    items = [Document("a", "abcde"), Document("b", "fghij")]
    rows = list(windows(items, lambda text: [ord(c) for c in text], 4, 0))
    np.testing.assert_array_equal(rows, [[0, 97, 98, 99], [0, 100, 101, 102], [0, 103, 104, 105]])


def test_the_standard_library_has_text_of_both_splits():
    assert len(list(documents(STANDARD_LIBRARY, "evaluation"))) > 10
    assert next(documents(STANDARD_LIBRARY, "train")).text


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc\xff")
    with pytest.raises(TextError, match=r"a\.bin is not UTF-8 text \(byte 3\)"):
        list(documents(tmp_path / "a.bin"))
    for sample in (None, 2):
        with pytest.warns(UserWarning, match="a.bin is not UTF-8"):
            list(documents(tmp_path, sample=sample))


@pytest.mark.parametrize(
    ("source", "split", "message"),
    [
        ("no/such/place", None, "no text at no/such/place"),
        ("standard-libary", None, "did you mean 'standard-library'"),
        (STANDARD_LIBRARY, "test", "split must be"),
        ([], None, "no text is named"),
    ],
)
def test_bad_sources(source, split, message):
    with pytest.raises(TextError, match=message):
        list(documents(source, split))


def test_an_empty_folder(tmp_path):
    with pytest.raises(TextError, match="holds no files"):
        list(documents(tmp_path))


def test_a_folder_of_few_files_is_cut_file_by_file(tmp_path):
    """With one or two files the hash of the path holds out none or all; each is then cut as a single file."""
    folder = tmp_path / "own"
    folder.mkdir()
    names = [n for n in (f"doc_{i}.txt" for i in range(40)) if not is_held_out(n)][:2]
    for name in names:
        (folder / name).write_text("".join(f"{name} {i} " for i in range(400)))
    for sample in (None, 64):
        train = "".join(d.text for d in documents(folder, "train", sample=sample))
        held_out = "".join(d.text for d in documents(folder, "evaluation", sample=sample))
        whole = sum((folder / n).stat().st_size for n in names)
        assert len(train) + len(held_out) == whole and 0.04 < len(held_out) / whole < 0.09
        assert all(n in held_out for n in names)
    assert shared_files(folder, folder) == []


def test_files_that_are_trained_on_and_evaluated_on_are_found(tmp_path):
    for i in range(40):
        (tmp_path / f"doc_{i}.txt").write_text("text " * 50)
    assert shared_files(tmp_path, tmp_path) == []
    trained = next(p for p in sorted(tmp_path.iterdir()) if not is_held_out(p.name))
    kept = next(p for p in sorted(tmp_path.iterdir()) if is_held_out(p.name))
    assert shared_files(tmp_path, trained) == [trained.resolve()]
    assert shared_files([tmp_path, kept], tmp_path) == [kept.resolve()]
    assert shared_files(trained, trained) == []
    assert shared_files("standard-library", tmp_path) == []


def test_running_text_is_below_no_folder_that_is_left_out(tmp_path):
    for name in (
        "a.py", "b/c.py", "b/not.txt", "b/test/d.py", "site-packages/e/f.py", "config-3.11/g.py",
        "b/tests.py", "configured/h.py",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = sorted(p.relative_to(tmp_path).as_posix() for p in _running_text(tmp_path))
    assert found == ["a.py", "b/c.py", "b/tests.py", "configured/h.py"]
    root, files = standard_library_files()
    assert files == sorted(files) and all(
        set(f.relative_to(root).parts[:-1]).isdisjoint(LEFT_OUT) for f in files
    )
