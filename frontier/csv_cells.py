"""CSV files that no spreadsheet obeys: a text that would run as a formula stands behind an apostrophe.

The rule: a cell of text, or a column's name, that begins with `=`, `+`, `-` or `@` (full-width too, or after
blanks) and is no number gets one apostrophe in front when it is written, and loses one when it is read. A
text that begins with apostrophes before such a sign gets one more, so that every table comes back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

_SIGN = re.compile(r"'*[\s\0]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_QUOTED = re.compile(f"(?='){_SIGN.pattern}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?%?|[+-]?inf(inity)?", re.IGNORECASE)


def quoted(text: str) -> str:
    """A cell as it is written.

    >>> [quoted(t) for t in ("=1+1", "-gated", "-1.5e3", "relu", "'=x", " =1")]
    ["'=1+1", "'-gated", '-1.5e3', 'relu', "''=x", "' =1"]
    """
    return f"'{text}" if _SIGN.match(text) and not _NUMBER.fullmatch(text.strip()) else text


def unquoted(text: str) -> str:
    """A cell as it was before it was written.

    >>> [unquoted(quoted(t)) for t in ("=1+1", "-1.5e3", "'=x", "'tis")]
    ['=1+1', '-1.5e3', "'=x", "'tis"]
    """
    return text[1:] if _QUOTED.match(text) else text


def quoted_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A table with its cells of text, and its columns' names, as they are written."""
    return _mapped(frame, quoted)


def unquoted_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """A table that was read, as it was before it was written."""
    return _mapped(frame, unquoted)


def _mapped(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    frame = frame.rename(columns=lambda c: change(c) if isinstance(c, str) else c)
    for i, kind in enumerate(frame.dtypes):
        if not (pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind)):
            changed = frame.iloc[:, i].map(lambda v: change(v) if isinstance(v, str) else v)
            frame.isetitem(i, changed.to_numpy())
    return frame
