"""What went in: input files with their sha256, or the table's own digest."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from frontier.places import address_of, name_of
from frontier.readers.folders import files_in
from frontier.wording import plural

MOST = 200
"""So many files of a folder are listed one by one."""


@dataclass(frozen=True)
class InputFile:
    """One input: its name, its size in bytes, its sha256."""

    name: str
    size: int
    sha256: str


def input_files(source: Any, table: pd.DataFrame) -> tuple[InputFile, ...]:
    """The files behind a table, by name, no weights; for one in memory one entry, the digest of its CSV."""
    address = address_of(source)
    if address or not isinstance(source, (str, os.PathLike)):
        text = table.to_csv(index=False).encode()
        what = name_of(address) if address else "table in memory"
        name = f"{what}, {plural(len(table), 'row')} (digest of its CSV)"
        return (InputFile(name, len(text), hashlib.sha256(text).hexdigest()),)
    path = Path(source).expanduser()
    if path.is_file():
        return (_hashed(path, path.name),)
    inside = sorted(map(Path, files_in(str(path), [])))
    files = tuple(_hashed(p, p.relative_to(path).as_posix()) for p in inside)
    return files if len(files) <= MOST else (_together(files), *files[:MOST])


def _hashed(path: Path, name: str) -> InputFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return InputFile(name, path.stat().st_size, digest)


def _together(files: tuple[InputFile, ...]) -> InputFile:
    """All files as one: the digest of the lines 'sha256  name', as `sha256sum` prints them."""
    lines = "".join(f"{f.sha256}  {f.name}\n" for f in files)
    name = f"all {len(files)} files (digest of their sha256sum list); the first {MOST} follow"
    return InputFile(name, sum(f.size for f in files), hashlib.sha256(lines.encode()).hexdigest())
