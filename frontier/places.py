"""Addresses, `scheme://...`: told from paths, and what of them may be said and written."""

from __future__ import annotations

import os
import re
from typing import Any

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?!/*$)(.+)", re.S)
_LONE_LETTER = re.compile(r"[a-zA-Z]:[\\/]")


def address_of(source: Any) -> str:
    """The address that a path is, also where `pathlib` has taken one of its slashes; empty for a path.

    >>> from pathlib import PurePosixPath
    >>> address_of(PurePosixPath("hf://datasets/me/saes")), address_of("sweep.csv"), address_of("C:/a.csv")
    ('hf://datasets/me/saes', '', '')
    """
    if not isinstance(source, (str, os.PathLike)):
        return ""
    text = str(source)
    found = _ADDRESS.fullmatch(text)
    if found is None or _LONE_LETTER.match(text) or (os.path.exists(text) and "://" not in text):
        return ""
    return f"{found[1]}://{found[2]}"


def name_of(address: str) -> str:
    """The last part of an address, which may be said and written: no host, no user, no token.

    >>> name_of("https://user:secret@host.example/a/sweep.csv?token=secret"), name_of("hf://datasets/me/saes/")
    ('sweep.csv', 'saes')
    """
    plain = re.split(r"[?#]", address.partition("://")[2])[0].rstrip("/")
    last = plain.rpartition("/")[2].rpartition("@")
    return last[2] if "/" in plain or not last[0] else "host"
