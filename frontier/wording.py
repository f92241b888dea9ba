"""How numbers and names look in words and cells."""

from __future__ import annotations

import difflib
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MISSING = "(missing)"
"""The value of a group column that nothing is known of."""
PLAIN_RANGE = (1e-4, 1e6)
"""Magnitudes outside this range are written with an exponent."""


def known(group: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a group whose value is known; all, if none is.

    >>> known({"site": "a.0+a.1", "layer": MISSING}), known({"layer": MISSING})
    ({'site': 'a.0+a.1'}, {'layer': '(missing)'})
    """
    return {c: v for c, v in group.items() if v != MISSING} or dict(group)


def number(value: object, digits: int = 3) -> str:
    """`value` with `digits` significant digits; an empty cell when it is missing.

    >>> number(0.036123), number(float("inf")), number(None), number(1234567.0)
    ('0.0361', 'inf', '', '1.23e+06')
    >>> number(1.0), number(0.25)
    ('1', '0.250')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str) or not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value)
    if isinstance(value, int) or math.isinf(value):
        return str(value)
    if value == round(value) and abs(value) < PLAIN_RANGE[1]:
        return str(round(value))
    return _fixed(value, _decimals_for(value, digits))


MOST_DIGITS = 6
"""Of an estimate, however narrow its interval: of exact points it is as narrow as rounding."""


def interval_cell(estimate: float, low: float, high: float) -> str:
    """An estimate rounded to its interval: two digits of the half-width, at least two of each number.

    A limit that lies far out has no more than four digits of its distance; nothing has more than six in all.

    >>> interval_cell(6.0318, 4.31, 8.52)
    '6.0 [4.3, 8.5]'
    >>> interval_cell(1.493, 0.176, float("inf"))
    '1.5 [0.18, inf]'
    >>> interval_cell(0.34, 1.23e-6, 92868.34)
    '0.34 [1.23e-06, 92868]'
    >>> interval_cell(1.3, 1.3 - 1e-12, 1.3 + 1e-12)
    '1.30000 [1.30000, 1.30000]'
    """
    if math.isnan(low) and math.isnan(high):
        return number(estimate)
    gaps = [g for g in (estimate - low, high - estimate) if math.isfinite(g) and g > 0]
    shared = _decimals_for(min(gaps), 2) if gaps else _decimals_for(estimate, 3)
    wide = []
    for value in (estimate, low, high):
        gap = abs(value - estimate)
        far = _decimals_for(gap, 4) if math.isfinite(gap) and gap > 0 else shared
        most = max(_decimals_for(value, MOST_DIGITS), 0)
        wide.append(_fixed(value, max(min(shared, far, most), _decimals_for(value, 2))))
    return f"{wide[0]} [{wide[1]}, {wide[2]}]"


def p_value_cell(p: float) -> str:
    """A p value as papers print it.

    >>> p_value_cell(0.03217), p_value_cell(4.2e-7), p_value_cell(float("nan"))
    ('0.032', '4e-07', '')
    """
    if math.isnan(p):
        return ""
    if p < 1e-16:
        return "<1e-16"
    return f"{p:.2g}" if p >= 1e-3 else f"{p:.0e}"


def p_value_text(p: float) -> str:
    """The same inside a sentence, after the letter p.

    >>> p_value_text(0.03217), p_value_text(1e-20)
    ('= 0.032', '< 1e-16')
    """
    cell = p_value_cell(p)
    return f"< {cell[1:]}" if cell.startswith("<") else f"= {cell or 'unknown'}"


def in_shell(text: str) -> str:
    """A word of a command line as one types it: between quotes where it needs them.

    >>> print(in_shell("layer,site"), in_shell("protocol == 'a'"), in_shell("`my set` == 'a'"))
    layer,site "protocol == 'a'" '`my set` == '"'"'a'"'"''
    """
    if re.fullmatch(r"[\w@%+=:,./-]+", text):
        return text
    return f'"{text}"' if not re.search(r'["$`\\!]', text) else shlex.quote(text)


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "row"), plural(4, "row"), plural(2, "family")
    ('1 row', '4 rows', '2 families')
    """
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"


def listed(values: Sequence[object], most: int = 8, between: str = ", ") -> str:
    """Names in one line, the tail counted.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = between.join(str(v) for v in values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"


def folded(name: object) -> object:
    """A name as it is compared where no name is exactly equal: without regard to case.

    >>> folded("ReLU") == folded("relu"), folded(3)
    (True, 3)
    """
    return name.casefold() if isinstance(name, str) else name


def nearest(name: str, known: Iterable[object]) -> str:
    """The end of an error message: the nearest known names, or all of them.

    >>> nearest("hil", ["linear", "power", "hill"])
    "; did you mean 'hill'?"
    """
    names = [str(k) for k in known]
    lowered = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(repr(lowered[c]) for c in close) + "?"
    return f"; there are {', '.join(names)}"


def inert(text: object) -> str:
    r"""Text with a blank for every control character (a terminal would obey some of them) but line breaks.

    >>> inert("a\x1b[31mb\nc")
    'a [31mb\nc'
    """
    return "".join(c if c.isprintable() or c == "\n" else " " for c in str(text))


def one_line(text: object) -> str:
    """Text in one line without control characters."""
    return " ".join(inert(text).split())


def _decimals_for(value: float, digits: int) -> int:
    if value == 0 or not math.isfinite(value):
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def _fixed(value: float, decimals: int) -> str:
    if math.isinf(value) or math.isnan(value):
        return str(value)
    if value != 0 and not PLAIN_RANGE[0] <= abs(value) < PLAIN_RANGE[1]:
        return f"{value:.2e}"
    return f"{value:.{decimals}f}"
