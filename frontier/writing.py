"""Files written whole: under a draft name, flushed to the disk, renamed; and names as file names.

A kill, a full disk or a fault at any moment leaves what was there before, or the whole new file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

DRAFT = ".draft_"
"""How the names of unfinished files and folders begin."""
LONGEST = 200
"""Bytes of a file name; file systems allow 255, and endings and drafts need some."""
SUMS = "SHA256SUMS"
"""Digests of the files of a folder, as `sha256sum --check` reads them."""

ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "your quota is used up; free some space",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EROFS: "name a folder that can be written",
    errno.EACCES: "name a folder that you may write to",
    errno.EPERM: "name a folder that you may write to",
}


class WriteError(OSError):
    """A file that could not be written: which, why, what was kept, what to do."""


class DamagedError(ValueError):
    """Files that are not as they were written."""


@contextmanager
def whole_file(path: str | Path, kept: str = "") -> Iterator[Path]:
    """A draft to write inside the block; at its end it takes the place of `path`, or is gone.

    Missing folders are made; the file gets the permissions that the umask gives. `kept` is that of `naming`.

    Raises
    ------
    WriteError
        If the system refuses; what was at `path` before is unchanged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new" / "a.txt"
    >>> with whole_file(path) as draft:
    ...     _ = draft.write_text("all of it")
    >>> path.read_text(), [p.name for p in path.parent.iterdir()]
    ('all of it', ['a.txt'])
    """
    path = Path(path)
    draft = path.with_name(f"{DRAFT}{uuid4().hex}{path.suffix[:40]}")
    with naming(path, kept):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.touch()
            mode = draft.stat().st_mode
            yield draft
            draft.chmod(mode)  # some writers make files for their owner alone
            to_disk(draft)
            os.replace(draft, path)
            to_disk(path.parent)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """A draft folder to fill; at the end of the block its files are in `folder`, with their digests.

    A folder that was not there appears complete or not at all. In one that was, each file is replaced whole,
    others are left alone, and the digests come last: a mixture of old and new does not pass `check_sums`.

    Raises
    ------
    WriteError
        If the system refuses.
    """
    folder = Path(folder)
    draft = folder.with_name(f"{DRAFT}{uuid4().hex}")
    with naming(folder):
        try:
            draft.mkdir(parents=True)
            yield draft
            names = write_sums(draft)
            if not folder.exists():
                os.replace(draft, folder)
            else:
                for name in [*names, SUMS]:
                    os.replace(draft / name, folder / name)
                to_disk(folder)
            to_disk(folder.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file (UTF-8) whole."""
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file whole."""
    with whole_file(path) as draft:
        draft.write_bytes(content)
    return Path(path)


def write_json(path: str | Path, content: Any, **options: Any) -> Path:
    """Write a JSON file whole; NaN and infinity are refused, `options` are those of `json.dumps`."""
    return write_text(path, json.dumps(content, **{"allow_nan": False, **options}) + "\n")


def write_sums(folder: Path, names: Sequence[str] | None = None, sums: str = SUMS) -> list[str]:
    """Write the digests of the files of a folder (or of these), everything to the disk; their names."""
    names = sorted(p.name for p in folder.iterdir()) if names is None else list(names)
    for name in names:
        to_disk(folder / name)
    lines = "".join(f"{digest(folder / name)}  {name}\n" for name in names)
    (folder / sums).write_text(lines, encoding="utf-8")
    to_disk(folder / sums)
    to_disk(folder)
    return names


def check_sums(folder: Path, sums: str = SUMS) -> list[str]:
    """Names of the files whose digests were compared; none where the folder has no list of digests.

    Raises
    ------
    DamagedError
        Names the files that are missing or not as they were written.
    """
    if not (folder / sums).is_file():
        return []
    lines = (folder / sums).read_bytes().decode("utf-8", errors="replace").split("\n")
    found = [re.fullmatch(r"([0-9a-f]{64})  ([^/\x00\r]+)", line) for line in lines[:-1]]
    if not found or None in found or lines[-1]:
        raise DamagedError(f"{folder / sums} is no list of digests as `sha256sum` writes it")
    listed = [m.groups() for m in found if m]
    wrong = [n for d, n in listed if not (folder / n).is_file() or digest(folder / n) != d]
    if wrong:
        raise DamagedError(
            f"{folder}: {', '.join(wrong)} is not as it was written (SHA-256); if you changed it yourself, "
            f"remove {sums}"
        )
    return [name for _, name in listed]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_disk(path: Path) -> None:
    """Flush a file or folder to the disk (folders cannot be flushed on every system)."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # a full disk may show only here
            raise
    finally:
        os.close(handle)


def remove_drafts(folder: Path) -> None:
    """Take away what killed writers left, in a folder that nobody else writes to now."""
    for left in folder.glob(f"{DRAFT}*"):
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, kept: str = "") -> Iterator[None]:
    """Turn the system's refusals inside the block into a `WriteError` that names the file.

    Parameters
    ----------
    kept : str, optional
        What is still there; default: whether the file that was there before is.
    """
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        number = _number(error)
        if number is None and not isinstance(error, OSError):
            raise
        reason = os.strerror(number) if number else str(error)
        kept = kept or ("what was there before is unchanged" if path.exists() else "nothing of it was kept")
        advice = f"; {ADVICE[number]}" if number in ADVICE else ""
        raise WriteError(f"{path} could not be written: {reason}; {kept}{advice}") from error


def _number(error: BaseException) -> int | None:
    """The system's number of an error; libraries in other languages have it in their text."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"\b(?:os error|errno) (\d{1,3})\b", str(error), re.I)
    return int(found[1]) if found else None


def file_name(name: object) -> str:
    """A name from a file or a user as the name of a file: it stays in its folder, on every system.

    Separators, control characters and what Windows forbids become `_`, so do `..` and a dot at either end; of
    more than 200 bytes the first are kept, with eight digits of the digest of all.

    >>> file_name("relu_0.5_seed0"), file_name("../../escape"), file_name("/etc/passwd")
    ('relu_0.5_seed0', '____escape', '_etc_passwd')
    >>> file_name(""), len(file_name("ä" * 300).encode())
    ('_', 199)
    """
    text = str(name).encode("utf-8", "replace").decode()
    clean = "".join("_" if c in '/\\:*?"<>|' or not c.isprintable() else c for c in text)
    clean = re.sub(r"\.{2,}|^[.\s]|[.\s]$", "_", clean) or "_"
    if len(clean.encode()) > LONGEST:
        mark = "_" + hashlib.sha256(text.encode()).hexdigest()[:8]
        clean = clean.encode()[: LONGEST - len(mark)].decode(errors="ignore") + mark
    return clean


def file_names(names: Iterable[object]) -> list[str]:
    """File names of several names, all different, also where a system takes A and a for one.

    >>> file_names(["a/b", "a_b", "A_B", "c"])
    ['a_b', 'a_b_2', 'A_B_3', 'c']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        unique, count = file_name(name), 1
        while unique.casefold() in taken:
            count += 1
            unique = file_name(f"{name}_{count}")
        taken.add(unique.casefold())
        found.append(unique)
    return found
