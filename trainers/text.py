"""Text that models and SAEs are trained and evaluated on: which documents, which windows, which hash."""

from __future__ import annotations

import difflib
import hashlib
import math
import os
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

STANDARD_LIBRARY = "standard-library"
"""The name of the text that every machine with Python has: the sources of its standard library."""

LEFT_OUT = {
    "test", "tests", "idle_test", "site-packages", "dist-packages", "encodings", "lib2to3", "pydoc_data",
    "__pycache__", "ensurepip", "__phello__",
}  # fmt: skip
"""Folders of the standard library without running text: tests, tables, foreign packages."""

EVALUATION_SHARE = 16
"""One file in so many is held out for evaluation, chosen by the hash of its path."""


PIECE = 2**22
"""Bytes that are read at a time from a file that stands alone."""


class TextError(ValueError):
    """Text that is missing, too short or not readable."""


class TooShortError(TextError):
    """Fewer tokens, or rows, than are wanted."""


@dataclass(frozen=True)
class Document:
    """One file of text: its path below its root, and its characters."""

    path: str
    text: str


class ContentHash:
    """The hash of the documents that passed by: first twelve digits of the SHA-256 of paths and contents."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, item: Document) -> None:
        """Take in one document."""
        self._digest.update(f"{item.path}\0{len(item.text)}\0".encode())
        self._digest.update(item.text.encode())

    def over(self, items: Iterable[Document]) -> Iterator[Document]:
        """The same documents, taken in as they are used."""
        for item in items:
            self.add(item)
            yield item

    def text(self) -> str:
        """The twelve digits."""
        return self._digest.hexdigest()[:12]


def documents(
    source: str | Path | Sequence[str | Path], split: str | None = None, sample: int | None = None
) -> Iterator[Document]:
    """The documents of a source, all or those of one split, read one after the other as they are used.

    Parameters
    ----------
    source : str, path or list of them
        `standard-library`, a file, or a folder (every file below it that reads as UTF-8).
    split : {"train", "evaluation"}, optional
        A file belongs to `evaluation` if the hash of its path says so (see `is_held_out`); a single
        file is cut instead: its last sixteenth is for evaluation, and so is every file of a folder in which
        the rule holds out none or all. None gives everything. A file above 4 MB that is cut comes in pieces.
    sample : int, optional
        Give pieces of so many bytes, one of each file in the order of the hash of its path, then a second
        one of each, far from the first, and so on: wherever one stops, what was read is a sample of the
        whole. By default whole files in the order of their paths.

    Raises
    ------
    TextError
        If a path does not exist or holds no text.
    """
    if split not in (None, "train", "evaluation"):
        raise TextError(f"split must be 'train' or 'evaluation', got {split!r}")
    places = _places_of(source, split)
    if sample is not None:
        yield from _sampled(places, split, sample)
        return
    for place in places:
        yield from _pieces(place, split) if place.alone or (place.cut and split) else _whole(place)


def shared_files(training: str | Path | Sequence[str | Path], evaluation: Any) -> list[Path]:
    """Files that are trained on whole and also evaluated on, or the other way round.

    A file that both cut is cut in the same place, and so is not shared; nothing is where both are one source.
    """
    if training == evaluation:
        return []
    ours = {p.file.resolve(): p.cut for p in _places_of(training, "train")}
    theirs = {p.file.resolve(): p.cut for p in _places_of(evaluation, "evaluation")}
    return sorted(f for f in ours.keys() & theirs.keys() if not (ours[f] and theirs[f]))


def is_cut(source: str | Path | Sequence[str | Path]) -> bool:
    """Whether a file of the source has a part that is trained on and one that is held out."""
    return any(place.cut for place in _places_of(source, None))


def _places_of(source: Any, split: str | None) -> list[_Place]:
    """The files of a source that a split takes."""
    sources = [source] if isinstance(source, str | Path) else list(source)
    if not sources:
        raise TextError(f"no text is named; wanted '{STANDARD_LIBRARY}', a file or a folder")
    places = [place for one in sources for place in _places(one)]
    if split is None:
        return places
    return [p for p in places if p.cut or is_held_out(p.name) == (split == "evaluation")]


@dataclass(frozen=True)
class _Place:
    """A file, the name that orders it, whether it was named by itself, and whether splits cut it."""

    file: Path
    name: str
    alone: bool
    cut: bool


def _places(source: str | Path) -> list[_Place]:
    """The files of one source, in the order of their paths."""
    if str(source) == STANDARD_LIBRARY:
        root, files = standard_library_files()
    elif Path(source).is_dir():
        root = Path(source)
        files = sorted(p for p in root.rglob("*") if p.is_file())
        if not files:
            raise TextError(f"{root} holds no files; wanted a folder of text")
    elif Path(source).is_file():
        return [_Place(Path(source), Path(source).name, True, True)]
    else:
        close = difflib.get_close_matches(str(source), [STANDARD_LIBRARY], cutoff=0.8)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise TextError(f"no text at {source}: wanted '{STANDARD_LIBRARY}', a file or a folder{meant}")
    names = [file.relative_to(root).as_posix() for file in files]
    cut = len({is_held_out(name) for name in names}) < 2  # too few files to hold some out: each is cut
    return [_Place(file, name, False, cut) for file, name in zip(files, names, strict=True)]


@cache
def standard_library_files() -> tuple[Path, list[Path]]:
    """The folder of Python's standard library, and its source files that hold running text.

    Raises
    ------
    TextError
        If this Python keeps no sources (an embedded or zipped one).
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(_running_text(root))
    if len(files) < 100:
        raise TextError(f"{root} has {len(files)} source files; name a text file or folder instead")
    return root, files


def _running_text(root: Path) -> Iterator[Path]:
    """Sources below a folder; foreign packages, which may be a hundred times as many, are not entered."""
    for folder, inner, names in os.walk(root):
        inner[:] = [n for n in inner if n not in LEFT_OUT and not n.startswith("config-")]
        yield from (Path(folder, n) for n in names if n.endswith(".py"))


def is_held_out(path: str) -> bool:
    """Whether a file is for evaluation: the first byte of its path's SHA-256 is a multiple of sixteen.

    >>> is_held_out("argparse.py"), is_held_out("ast.py")
    (False, False)
    """
    return hashlib.sha256(path.encode()).digest()[0] % EVALUATION_SHARE == 0


def content_hash(items: Iterable[Document]) -> str:
    """First twelve digits of the SHA-256 of paths and contents, so that a changed text is seen."""
    digest = ContentHash()
    for item in items:
        digest.add(item)
    return digest.text()


def windows(
    items: Iterable[Document], encode: Callable[[str], Sequence[int]], length: int, start: int | None
) -> Iterator[np.ndarray]:
    """Token windows `[length]`: the documents end to end, cut, each window with the start token in front.

    Parameters
    ----------
    encode : callable
        Text to token ids, without special tokens.
    length : int
        Tokens per window, the start token included.
    start : int or None
        The start token; None for models that have none.

    Notes
    -----
    What is left at the end and fills no window is not used.
    """
    body = length - (start is not None)
    head = [] if start is None else [start]
    left: list[int] = []
    for item in items:
        left.extend(encode(item.text))
        whole = len(left) // body * body
        for i in range(0, whole, body):
            yield np.array(head + left[i : i + body], dtype=np.int64)
        left = left[whole:]


def _whole(place: _Place) -> Iterator[Document]:
    """The document of a file in a folder; none if it is empty or, with a word, not text."""
    try:
        text = place.file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        warnings.warn(f"{place.file} is not UTF-8 text and is left out", stacklevel=2)
        return
    if text:
        yield Document(place.name, text)


def _sampled(places: list[_Place], split: str | None, size: int) -> Iterator[Document]:
    """Pieces of `size` bytes of every file, round after round, until all is read."""
    keys = {place: hashlib.sha256(place.name.encode()).digest() for place in places}
    places = sorted(places, key=lambda place: keys[place])
    number = 0
    while places:
        left = []
        for place in places:
            with place.file.open("rb") as raw:
                begin, end = _range(raw, place, split)
                count = -(-(end - begin) // size)
                if number >= count:
                    continue
                index = (int.from_bytes(keys[place][:4], "big") + number * _stride(count)) % count
                text = _read(raw, place, begin + index * size, min(begin + (index + 1) * size, end))
            if text is not None:
                left.append(place)
            if text:
                yield Document(f"{place.name}#{index}", text)
        places, number = left, number + 1


def _stride(count: int) -> int:
    """A step without common factor with `count`, near its golden section: it visits every place."""
    step = max(1, round(count * 0.618))
    while math.gcd(step, count) > 1:
        step += 1
    return step


def _pieces(place: _Place, split: str | None) -> Iterator[Document]:
    """One file's share of a split, in pieces; its last sixteenth (in bytes) is for evaluation."""
    with place.file.open("rb") as raw:
        begin, end = _range(raw, place, split)
        for number, start in enumerate(range(begin, end, PIECE)):
            text = _read(raw, place, start, min(start + PIECE, end))
            if text:
                yield Document(place.name if number == 0 else f"{place.name}#{number}", text)


def _range(raw: BinaryIO, place: _Place, split: str | None) -> tuple[int, int]:
    """First and last byte of a file's share of a split."""
    size = os.fstat(raw.fileno()).st_size
    if split is None or not place.cut:
        return 0, size
    cut = _character_start(raw, size - size // EVALUATION_SHARE)
    return (0, cut) if split == "train" else (cut, size)


def _read(raw: BinaryIO, place: _Place, begin: int, end: int) -> str | None:
    """The characters that start in a range of bytes; what is not UTF-8 is an error, or None with a word."""
    begin, end = _character_start(raw, begin), _character_start(raw, end)
    raw.seek(begin)
    try:
        return raw.read(end - begin).decode("utf-8")
    except UnicodeDecodeError as error:
        if place.alone:
            raise TextError(f"{place.file} is not UTF-8 text (byte {begin + error.start})") from error
        warnings.warn(f"{place.file} is not UTF-8 text (byte {begin + error.start}): left out", stacklevel=2)
        return None


def _character_start(raw: BinaryIO, place: int) -> int:
    """The first byte at or after `place` that starts a UTF-8 character."""
    raw.seek(place)
    following = raw.read(3)
    return place + next((i for i, byte in enumerate(following) if byte & 0xC0 != 0x80), len(following))
