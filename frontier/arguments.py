"""What public functions take: numbers in their range, results of the right kind, else one clear sentence."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple, TypeVar, cast

from frontier.wording import listed

F = TypeVar("F", bound=Callable[..., Any])


class Range(NamedTuple):
    """The numbers that a parameter takes; `low` and `high` themselves where they are `closed`."""

    words: str
    low: float
    high: float = math.inf
    closed: str = ""
    share: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is one of them."""
        above = value > self.low or ("low" in self.closed and value == self.low)
        return above and (value < self.high or ("high" in self.closed and value == self.high))


RANGES: Mapping[str, Range] = {
    "level": Range("a fraction between 0 and 1, such as 0.95", 0, 1, share=True),
    "sure": Range("a fraction between 0 and 1, such as 0.8", 0, 1, share=True),
    "typical_seed_sd": Range("a share of the hit, 0 or more and below 1, such as 0.05", 0, 1, "low", True),
    "quantile": Range("a fraction above 0 and up to 0.5, such as 0.1", 0, 0.5, "high", True),
    "potency": Range("a ratio above 0, such as 1.2", 0),
    "max_l0": Range("a number of latents above 0", 0),
    "vanishing_l0": Range("a positive number of latents", 0),
    "target": Range("a number above 0", 0),
    "extend": Range("a factor of 1 or more", 1, closed="low"),
    "replicates": Range("a number of 0 or more", 0, closed="low"),
    "points": Range("a number of 2 or more", 2, closed="low"),
    "at": Range("one number, or several", -math.inf),
}
"""By name, for a name means one thing in all functions."""

KINDS: Mapping[str, str] = {
    "CurveFit": "one fit of frontier.fit",
    "FrontierFits": "the fits of frontier.fit",
    "Ratio": "ratios",
    "RatioTable": "the ratios of frontier.ratio_table",
    "Comparisons": "the comparisons of frontier.compare",
    "SharedShape": "shapes of a comparison (.shapes)",
    "CurveSelection": "one choice of frontier.select_curve",
    "CurveSelections": "the choices of frontier.select_curve",
}
"""Kinds of result that functions take, in words."""


def in_range(name: str, value: Any) -> None:
    """Refuse a number outside what a parameter of this name takes.

    Raises
    ------
    ValueError
        Says what it takes, and for a share in per cent what to type.

    >>> in_range("typical_seed_sd", 5)
    Traceback (most recent call last):
    ValueError: typical_seed_sd must be a share of the hit, 0 or more and below 1, such as 0.05; found 5 (5 % is 0.05)
    """  # noqa: E501
    known = RANGES[name]
    at = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if known.holds(at):
        return
    hint = f" ({at:g} % is {at / 100:g})" if known.share and at > 1 and known.holds(at / 100) else ""
    raise ValueError(f"{name} must be {known.words}; found {value!r}{hint}")


def checked(function: F) -> F:
    """Let a function refuse numbers out of their range and results of another kind than it is annotated with.

    >>> @checked
    ... def width(fit: CurveFit, level: float = 0.95): ...
    >>> width(3)
    Traceback (most recent call last):
    TypeError: width wants one fit of frontier.fit as fit; found int
    """
    check = checks_of(function)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        check(arguments, options)
        return function(*arguments, **options)

    return cast(F, call)


def checks_of(function: Callable[..., Any]) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
    """What `checked` looks at before a call."""
    signature = inspect.signature(function)
    taken = {n: str(p.annotation) for n, p in signature.parameters.items()}
    kinds = {n: found for n, text in taken.items() if (found := _kinds(text))}
    ranges = [n for n, text in taken.items() if n in RANGES and re.search(r"float|int|Option", text)]
    words = {n for n, text in taken.items() if re.search(r"str|Option", text)}
    drawn: list[str] = [n for n in ("ax", "axes") if n in taken]

    def check(arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        try:
            given = signature.bind(*arguments, **options).arguments
        except TypeError:  # the call itself says what is missing
            return
        for name in drawn:
            _are_axes(function.__name__, name, given.get(name), "reference" in taken)
        for name in ranges:
            value: Any = given.get(name)
            for one in value if hasattr(value, "__iter__") and not isinstance(value, str) else (value,):
                if one is not None and not (isinstance(one, str) and name in words):
                    in_range(name, one)
        for name in kinds.keys() & given.keys():
            _of_kind(function.__name__, name, given[name], kinds[name])

    return check


def _are_axes(function: str, name: str, value: Any, has_reference: bool) -> None:
    """Refuse what cannot be drawn on: a family's name, a figure."""
    bad = next((v for v in _parts(value) if not _is(v, ("Axes",))), None)
    if bad is None:
        return
    found = repr(bad) if isinstance(bad, str) else type(bad).__name__
    hint = f"; a family is reference={bad!r}" if has_reference and isinstance(bad, str) else ""
    raise TypeError(f"{function} wants matplotlib axes as {name}; found {found}{hint}")


def _parts(value: Any) -> Iterator[Any]:
    """What an array, a list or nothing holds, and what its parts hold; anything else itself."""
    if hasattr(value, "__iter__") and not isinstance(value, (str, Mapping)):
        for part in value:
            yield from _parts(part)
    elif value is not None:
        yield value


class _Kinds(NamedTuple):
    """The kinds of result that an annotation names: of the argument itself, of what is in it, and None."""

    own: tuple[str, ...]
    inside: tuple[str, ...]
    none: bool


def _kinds(annotation: str) -> _Kinds | None:
    """None where a function takes anything."""
    inside = [w for part in re.findall(r"Sequence\[([^\]]*)\]", annotation) for w in re.findall(r"\w+", part)]
    own = re.findall(r"\w+", re.sub(r"Sequence\[[^\]]*\]", "", annotation))
    found = _Kinds(tuple(w for w in own if w in KINDS), tuple(w for w in inside if w in KINDS), "None" in own)
    return found if (found.own or found.inside) and not {"Any", "Hashable"} & set(own) else None


def _of_kind(function: str, name: str, value: Any, kinds: _Kinds) -> None:
    if (value is None and kinds.none) or _is(value, kinds.own):
        return
    bad = value
    if kinds.inside and isinstance(value, Collection) and not hasattr(value, "columns"):
        bad = next((v for v in value if not _is(v, kinds.inside)), None)
        if bad is None:
            return
    wanted = [KINDS[k] for k in kinds.own] + [f"a list of: {KINDS[k]}" for k in kinds.inside]
    what = f"{type(bad).__name__}{_one_of(bad, kinds)}"
    raise TypeError(f"{function} wants {' or '.join(wanted)} as {name}; found {what}")


def _is(value: Any, kinds: Sequence[str]) -> bool:
    return any(kind.__name__ in kinds for kind in type(value).__mro__)


def _one_of(value: Any, kinds: _Kinds) -> str:
    """How to take one where many were given."""
    if "CurveFit" not in kinds.own or type(value).__name__ != "FrontierFits" or not len(value):
        return ""
    shown = [f"[{listed([repr(v) for v in f.group.values()]) or 0}]" for f in value]
    return f" of {len(value)}; take one of them by its name: {listed(shown, 4)}"
