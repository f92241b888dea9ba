"""Sizes as people write them ("10 GB") and as programs need them (bytes): pydantic's, errors in one line."""

from __future__ import annotations

from pydantic import ByteSize, TypeAdapter, ValidationError

_SIZE = TypeAdapter(ByteSize)


def bytes_of(size: str | int) -> ByteSize:
    """A size in bytes; a whole number is bytes already.

    >>> int(bytes_of("10 GB")), int(bytes_of("1.5MiB")), int(bytes_of(4096))
    (10000000000, 1572864, 4096)
    >>> bytes_of("10 GBB")
    Traceback (most recent call last):
    ValueError: size '10 GBB': could not interpret byte unit: GBB; write it as 10 GB or 500 MiB
    """
    try:
        return _SIZE.validate_python(size)
    except ValidationError as error:
        raise ValueError(f"size {size!r}: {error.errors()[0]['msg']}; write it as 10 GB or 500 MiB") from None


def readable(size: int) -> str:
    """Bytes with the decimal unit that fits.

    >>> readable(10_000_000_000), readable(512), readable(1_234_567)
    ('10 GB', '512 B', '1.2 MB')
    """
    return ByteSize(size).human_readable(decimal=True, separator=" ").replace(".0 ", " ")
