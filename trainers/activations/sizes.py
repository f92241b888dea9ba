"""Sizes as people write them ("10 GB") and as programs need them (bytes)."""

from __future__ import annotations

import re

from frontier.wording import nearest, number

UNITS = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
"""Bytes per unit."""

_LOWERED = {name.lower(): factor for name, factor in UNITS.items()}


def bytes_of(size: str | int) -> int:
    """A size in bytes; a whole number is bytes already.

    >>> bytes_of("10 GB"), bytes_of("1.5MiB"), bytes_of(4096)
    (10000000000, 1572864, 4096)
    >>> bytes_of("10 GBB")
    Traceback (most recent call last):
    ValueError: size '10 GBB' has the unknown unit 'GBB'; did you mean 'GB' or 'GiB'?
    """
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise ValueError(f"a size is a number of bytes or a text such as '10 GB', got {size!r}")
    if isinstance(size, int):
        if size < 0:
            raise ValueError(f"a size is at least 0 bytes, got {size}")
        return size
    parts = re.fullmatch(r"\s*([\d_]*\.?\d+)\s*([A-Za-z]*)\s*", size)
    if parts is None:
        raise ValueError(f"size {size!r} is not a number with a unit, such as '10 GB' or '500 MB'")
    value, unit = parts.groups()
    if unit.lower() not in _LOWERED and unit:
        raise ValueError(f"size {size!r} has the unknown unit {unit!r}{nearest(unit, UNITS)}")
    return int(float(value.replace("_", "")) * _LOWERED.get(unit.lower(), 1))


def readable(size: int) -> str:
    """Bytes with the decimal unit that fits.

    >>> readable(10_000_000_000), readable(512), readable(1_234_567)
    ('10 GB', '512 B', '1.23 MB')
    """
    for unit in ("TB", "GB", "MB", "kB"):
        if size >= UNITS[unit]:
            return f"{number(size / UNITS[unit])} {unit}"
    return f"{size} B"
