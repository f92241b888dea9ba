"""How a file writes numbers: the decimal mark and the mark between thousands, decided once for all cells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from frontier.metrics.checks import TableError
from frontier.metrics.columns import Column
from frontier.metrics.dressing import undressed
from frontier.metrics.names import spec_of

MARKS = {".": ",", ",": "."}
"""Each decimal mark, and the one that can then only stand between thousands."""

NEVER_THOUSANDS = frozenset({"fvu", "cosine_similarity", "l2_ratio", "shrinkage"})
"""Beside fractions and nats: metrics that never reach 1,000, so that '1.010' is one and a bit."""

_NEUTRAL = re.compile("(?<=\\d)[ \u00a0\u2009\u202f'’_](?=\\d{3}(?!\\d))")
"""Marks between thousands that are no decimal mark anywhere."""

_PER = r"(?:\s*(?:/|per)\s*tok(?:en)?s?)?"
_NUMBER = re.compile(
    r"'?[~≈]?\s*(?P<sign>[+-]?)(?P<body>\d[\d.,]*|[.,]\d+)"
    r"(?:[eE](?P<power>[+-]?\d+)|\s*[x×·*]\s*10\^?(?P<times>[+-]?\d+))?"
    r"\s*(?:(?P<percent>%)|(?P<scale>[kKmMbB])?\s*(?:active\s+)?"
    rf"(?:(?:latent|feature|unit|neuron|nat|token|tok|dim|dimension)s?{_PER})?)"
    r"(?P<spread>\s*(?:±|\+/?-)\s*[\d.,]+\s*%?|\s*\([\d.,]+\s*%?\)|\s*\[[-−\d.,;:%\s–]+\])?"
    r"\s*[*†‡§¶]*"
)
_GROUPED = re.compile(r"[1-9]\d{0,2}([.,])\d{3}(?:\1\d{3})*")
_INDIAN = re.compile(r"[1-9]\d?(?:,\d{2})+,\d{3}")
_AMBIGUOUS = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
_RAISED = str.maketrans("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹", "-+0123456789")
_DASH = re.compile(r"^–(?=[\d.])|(?<=\d[eE])–(?=\d)")
_WITHIN = re.compile(r"^\((.*?)((?:±|\+/?-).*)\)\s*(%?)$")
_POWER = re.compile(r"[x×·*]\s*10[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_NOTE = re.compile(r"(?<=[\d%)\]])(?<!(?<![\d.,])10)[⁰¹²³⁴⁵⁶⁷⁸⁹ᵃᵇᶜᵈ]+$")
"""Raised digits behind a number are a power of ten or the mark of a footnote."""


class Written(NamedTuple):
    """A cell that is a number: what it shows of the file's marks, and what it means under each.

    Attributes
    ----------
    shows : str
        The decimal mark that this number proves; '' where it has no mark, '?' where it may be either.
    percent : bool
        A per-cent sign follows.
    scale : str
        'k', 'm' or 'b' where one follows.
    spread : str
        What follows of an error or a range: '± 0.01', '(12)', '[0.8, 0.9]'.
    """

    digits: str
    power: int
    shows: str
    percent: bool
    scale: str
    spread: str

    def value(self, decimal: str) -> float:
        """The number, its percent sign and scale aside, where `decimal` settles what it does not show."""
        mark = decimal if self.shows == "?" else self.shows or "."
        plain = self.digits.replace(MARKS[mark], "").replace(mark, ".")
        return float(f"{plain}e{self.power}")


@lru_cache(maxsize=8192)
def written(text: str) -> Written | None:
    """The number that a cell's text spells, if it spells one.

    >>> written("1.010").shows, written("0,712").shows, written("1.010.000").shows, written("64").shows
    ('?', ',', ',', '')
    >>> written("1.010").value(","), written("12 500,5").value("."), written("97.5 %").percent
    (1010.0, 12500.5, True)
    >>> written("6.45.1"), written("relu")
    (None, None)
    """
    text = _NOTE.sub("", undressed(text.strip()).replace("−", "-"))
    text = _WITHIN.sub(r"\1\3\2", _DASH.sub("-", text))
    text = _NEUTRAL.sub("", _POWER.sub(lambda m: m[0].translate(_RAISED), text))
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    shows = _shown(found["body"])
    if shows is None:
        return None
    exponent = found["power"] or found["times"] or ""
    scaled = bool(exponent or found["percent"] or found["scale"])
    if shows == "?" and scaled:  # nobody writes 1.010e3 or 1.010k for thousands of thousands
        shows = "," if "," in found["body"] else "."
    power = int(exponent[:6] or 0)
    return Written(
        found["sign"] + found["body"], power, shows, bool(found["percent"]), (found["scale"] or "").lower(),
        (found["spread"] or "").strip(),
    )  # fmt: skip


def _shown(body: str) -> str | None:
    """The decimal mark that the digits prove, '' or '?'; None when they are no number."""
    kinds = [mark for mark in MARKS if mark in body]
    if not kinds:
        return ""
    if len(kinds) == 2:
        last = max(kinds, key=body.rfind)
        whole, _, rest = body.rpartition(last)
        return last if rest.isdigit() and _is_grouped(whole) else None
    (mark,) = kinds
    if body.count(mark) > 1:
        return MARKS[mark] if _is_grouped(body) else None
    return "?" if _AMBIGUOUS.fullmatch(body) else mark


def _is_grouped(digits: str) -> bool:
    return bool(_GROUPED.fullmatch(digits) or _INDIAN.fullmatch(digits))


def shows(text: str, spec: Column | None) -> str:
    """The decimal mark that a cell of column `spec` proves, '?' or ''.

    Counts are whole, so '16.384' latents are sixteen thousand; a loss never reaches a thousand, so '3.312'
    nats are three and a bit.

    >>> from frontier.metrics.columns import BY_NAME as column
    >>> shows("16.384", column["d_model"]), shows("3.312", column["kl"]), shows("1.010", column["l0"])
    (',', '.', '?')
    """
    number = written(text)
    if number is None:
        return ""
    mark = "," if "," in number.digits else "."
    if number.shows == "?" and spec is not None:
        if spec.kind == "count":
            return MARKS[mark]
        if spec.kind == "fraction" or spec.unit == "nats per token" or spec.name in NEVER_THOUSANDS:
            return mark
    if spec is not None and spec.kind == "count" and number.digits.endswith(".0"):
        return ""  # a whole number as programs write it, whatever the file's marks
    return number.shows


def decimal_given(decimal: str | None, thousands: str | None) -> str | None:
    """The decimal mark that the options say; None where they say nothing.

    >>> decimal_given(None, "."), decimal_given(".", None), decimal_given(None, None)
    (',', '.', None)

    Raises
    ------
    ValueError
        When they are no marks, or the same.
    """
    if decimal is not None and decimal not in MARKS:
        raise ValueError(f'decimal must be "." or ",", found {decimal!r}')
    if thousands is not None and thousands not in (*MARKS, " ", "'", "’", "_", "\u00a0", "\u202f", "\u2009"):
        raise ValueError(f'thousands must be ".", ",", a space or an apostrophe, found {thousands!r}')
    if thousands in MARKS:
        if decimal == thousands:
            raise ValueError(f"decimal and thousands are both {decimal!r}")
        return MARKS[thousands]
    return decimal


def decide(shown: Mapping[str, Iterable[str]], given: str | None = None) -> dict[str, str | None]:
    """The decimal mark of every column: its own where it proves one, else the one that the others prove.

    Parameters
    ----------
    shown : dict
        Per column, what its cells show.
    given : str, optional
        What the user says, which settles all that cells do not show.

    Returns
    -------
    dict
        None where nothing tells, or where the columns contradict each other.

    >>> decide({"l0": {"?"}, "loss_recovered": {","}})
    {'l0': ',', 'loss_recovered': ','}
    """
    proved = {name: set(marks) & set(MARKS) for name, marks in shown.items()}
    known = [marks for name, marks in proved.items() if marks and spec_of(name)]
    everywhere = set().union(*(known or proved.values()))
    shared = given or (everywhere.pop() if len(everywhere) == 1 else None)
    return {
        name: given or (next(iter(marks)) if len(marks) == 1 else None if marks else shared)
        for name, marks in proved.items()
    }


def question(name: str, text: str) -> TableError:
    """What to ask where nothing tells whether a mark is decimal."""
    number = written(text)
    assert number is not None
    mark = "," if "," in number.digits else "."
    large, small = f"{number.value(MARKS[mark]):.0f}", f"{number.value(mark):g}"
    return TableError(
        f"column {name}: {text!r} is {large} or {small}, and nothing in the table tells; for {large} say "
        f'read(..., thousands="{mark}") or --thousands "{mark}", for {small} decimal="{mark}" or --decimal '
        f'"{mark}"'
    )


def decimals(value: float) -> int:
    """Decimals in which a number is printed.

    >>> decimals(0.741), decimals(15.0)
    (3, 0)
    """
    return len(repr(float(value)).rpartition(".")[2]) if value % 1 else 0
