"""Compressed files, unpacked in memory and never beyond the bound for plain ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
import zlib

from frontier.metrics.checks import TableError
from frontier.readers.opening import LARGEST, bounded, too_large
from frontier.wording import in_shell, listed, nearest

SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")


def unpacked(path: str, suffix: str, kinds: tuple[str, ...], member: str | None = None) -> tuple[str, bytes]:
    """The ending of what is in a compressed file, and its bytes.

    Parameters
    ----------
    suffix : one of `SUFFIXES`, in which the path ends
    kinds : endings of members that are looked for in a ZIP archive
    member : the one that is meant, where there are several

    Raises
    ------
    TableError
        When it is broken, larger than the bound when unpacked, locked, or an archive of several tables.
    """
    try:
        if suffix == ".zip":
            return _from_zip(path, kinds, member)
        content = _decompressed(bounded(path), suffix)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError) as error:
        raise TableError(f"its {suffix[1:]} compression is broken or cut off ({error})") from error
    return os.path.splitext(path[: -len(suffix)])[1].lower(), _checked(content)


def _decompressed(raw: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=io.BytesIO(raw)).read(LARGEST + 1)
    if suffix == ".bz2":
        return bz2.BZ2File(io.BytesIO(raw)).read(LARGEST + 1)
    if suffix == ".xz":
        stream = lzma.LZMADecompressor(memlimit=2**29)
        content = stream.decompress(raw, LARGEST + 1)
        if not stream.eof and len(content) <= LARGEST:
            raise EOFError("it ends too early")
        return content
    import pyarrow

    with pyarrow.CompressedInputStream(pyarrow.BufferReader(raw), "zstd") as opened:
        content = opened.read(LARGEST + 1)
    if not content:
        raise EOFError("it ends too early")
    return bytes(content)


def _checked(content: bytes) -> bytes:
    if len(content) > LARGEST:
        raise TableError(f"unpacked {too_large(len(content))}")
    return content


def _from_zip(path: str, kinds: tuple[str, ...], member: str | None) -> tuple[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        inside = {m.filename: m for m in archive.infolist() if not m.is_dir()}
        if "xl/workbook.xml" in inside:
            return ".xlsx", bounded(path)
        names = [n for n in inside if n.lower().endswith(kinds) and not n.startswith(("__MACOSX/", "."))]
        if member is not None and member not in names:
            raise TableError(f"no {member!r} in this archive{nearest(member, names)}")
        if member is None and len(names) != 1:
            found = (
                f"{len(names)} tables ({listed(names, 5)})"
                if names
                else f"no table ({listed(list(inside), 5)})"
            )
            first = names[0] if names else ""
            way = f'rows_at="{first}" (--rows-at {in_shell(first)})'
            hint = f"; name one: {way}, or unpack it and read the folder" if names else ""
            raise TableError(f"this archive holds {found}{hint}")
        name = member or names[0]
        if inside[name].flag_bits & 1:
            raise TableError(f"{name!r} in this archive is locked by a password")
        with archive.open(name) as opened:
            return os.path.splitext(name)[1].lower(), _checked(opened.read(LARGEST + 1))
