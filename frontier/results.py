"""What every result can do: show itself in text and HTML, and be saved and reloaded as JSON."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, get_origin

import numpy as np
import pandas as pd

from frontier.doubts import Doubt, said
from frontier.records import is_record, keep, made_line, record_of
from frontier.text_tables import paragraph, terminal_width
from frontier.views import View
from frontier.wording import MISSING, folded, known, listed
from frontier.writing import write_json

if TYPE_CHECKING:
    import cattrs

    from frontier.tables.styles import Sheet

Group = dict[str, str | int | float | bool]
"""The values of the group columns that name one group of rows."""


class Grouped(Protocol):
    """Whatever stands for one group of rows."""

    @property
    def group(self) -> Group:
        """Its group columns and their values."""


class Row(Grouped, Protocol):
    """A result that compares one family within a group."""

    @property
    def family(self) -> str:
        """The family's name."""


R = TypeVar("R", bound=Row)


class Result:
    """Base of the frozen result dataclasses; a subclass gives `_view()`."""

    def _view(self) -> View:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        """Same kind and same content; a result equals its own reload."""
        return type(self) is type(other) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(json.dumps(self._content(), sort_keys=True))

    def __repr__(self) -> str:
        return self._view().text()

    def to_text(self, *, verbose: bool = False, width: int | None = None) -> str:
        """The result as text of `width` columns (default: the terminal's); `verbose` leaves nothing out."""
        text = self._view().text(width, verbose=verbose)
        made = made_line(self) if verbose else ""
        return f"{text}\n\n{paragraph(made, terminal_width() if width is None else width)}" if made else text

    def to_markdown(self) -> str:
        """The result in Markdown, nothing left out; at the end how it was made, where that is known."""
        from frontier.tables.styles import markdown_text

        made = markdown_text(made_line(self))
        return "\n\n".join([sheet.write("markdown") for sheet in self._sheets()] + ([made] if made else []))

    def to_html(self) -> str:
        """The result in HTML, nothing left out; at the end how it was made, where that is known."""
        made = html.escape(made_line(self))
        sheets = [sheet.write("html") for sheet in self._sheets()]
        return "\n".join(sheets + ([f"<p><small>{made}</small></p>"] if made else []))

    def to_latex(self, *, siunitx: bool = False) -> str:
        """The result in LaTeX, nothing left out; a comment at the end says how it was made, where known.

        Parameters
        ----------
        siunitx : bool
            Numbers for the package siunitx (version 3); the package booktabs is needed in any case.
        """
        from frontier.tables.latex import latex_sheets

        made = made_line(self)
        tables = latex_sheets([replace(sheet, siunitx=siunitx) for sheet in self._sheets()])
        return f"{tables}\n\n% {made}" if made else tables

    def _sheets(self) -> tuple[Sheet, ...]:
        """The tables that a paper or a page shows; a subclass may have better ones than its view."""
        from frontier.tables.styles import sheets_of

        return sheets_of(self._view())

    def _repr_html_(self) -> str:
        return self._view().html()

    def to_frame(self, backend: str = "pandas") -> Any:
        """The result as one row: its numbers and words, group columns, intervals as x, x_low, x_high.

        Kinds of result that have rows of their own give these.

        Parameters
        ----------
        backend : {"pandas", "polars"}
        """
        from frontier.metrics import give_back

        return give_back(pd.DataFrame([_one_row(self)]), backend)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain lists, numbers and text, ready for JSON, with how it was made where known."""
        made = record_of(self)
        return self._content() | ({"made": made} if made else {})

    def _content(self) -> dict[str, Any]:
        """The same without how it was made: results of equal content are equal."""
        return {"type": type(self).__name__, **_converter().unstructure(self)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """The result that `to_dict` wrote.

        Raises
        ------
        ValueError
            When `record` is another kind of result or lacks a field.
        """
        found = record.get("type") if isinstance(record, dict) else None
        if found != cls.__name__:
            raise ValueError(f"expected a saved {cls.__name__}, found {found!r}")
        try:
            found = _converter().structure(
                {k: v for k, v in record.items() if k not in ("type", "made")}, cls
            )
        except Exception as error:
            raise ValueError(f"this saved {cls.__name__} is damaged: {error}") from error
        if is_record(record.get("made")):
            keep(found, record["made"])
        return found

    def save(self, path: str | Path) -> Path:
        """Write the result as JSON, with how it was made (see `frontier.rerun`), and return the path."""
        return write_json(path, self.to_dict(), indent=1)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The result that `save` wrote.

        Raises
        ------
        ValueError
            When the file is not JSON, or holds something else.
        """
        return cls.from_dict(saved_record(path))


def saved_record(path: str | Path) -> Any:
    """What a file of JSON holds.

    Raises
    ------
    ValueError
        When it is none; says what a saved result is, and where one that begins like it is damaged.
    """
    content = Path(path).read_bytes()
    try:
        return json.loads(content.decode("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        damage = f" (damaged: {error})" if content.lstrip()[:1] == b"{" else ""
        raise ValueError(
            f"{path} is not a saved result{damage}: that is JSON as save(...) or --out writes it, "
            "comparison.json or fits.json among others"
        ) from error


class Rows(Result, Generic[R]):
    """Base of results that hold one row per group and family; a subclass gives `_rows`.

    `rows["Resid", "gated"]` is the one row that holds all the given values, `rows[0]` the first.
    """

    _noun = "rows"
    _how = "name group values and family so that one does"

    @property
    def _rows(self) -> tuple[R, ...]:
        raise NotImplementedError

    def _labels(self, row: R) -> tuple[Any, ...]:
        """What a row is found by."""
        return (row.family, *row.group.values())

    def __iter__(self) -> Iterator[R]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> R:
        if isinstance(key, (int, np.integer)):
            return self._rows[key]
        wanted = key if isinstance(key, tuple) else (key,)
        found = [r for r in self._rows if all(w in self._labels(r) for w in wanted)]
        if not found:
            names = {folded(w) for w in wanted}
            found = [r for r in self._rows if names <= {folded(v) for v in self._labels(r)}]
        if len(found) != 1:
            known = [", ".join(map(str, reversed(self._labels(r)))) for r in found or self._rows]
            there = f"{self._how}: {listed(known, 12, '; ')}" if known else "there are none"
            raise KeyError(f"{len(found)} {self._noun} match {key!r}; {there}")
        return found[0]


def varying(columns: Sequence[str], rows: Iterable[Grouped]) -> list[str]:
    """The group columns in which the rows differ."""
    rows = list(rows)
    return [c for c in columns if len({str(r.group.get(c)) for r in rows}) > 1]


def telling(columns: Sequence[str], rows: Iterable[Grouped]) -> list[str]:
    """Of the columns in which the rows differ, those that tell groups apart: of two that go together, one.

    The one with the shorter values stays, layer 3 of blocks.3.hook_resid_post, unless the other's say more:
    layers 0 and 1 go with resid_post.0 and mlp_out.1, which stay in their place, and with Resid and MLP,
    which stay beside them.
    """
    groups = [r.group for r in rows]
    values = {c: [str(g.get(c)) for g in groups] for c in columns}
    kept: list[str] = []
    differing = [c for c in columns if len(set(values[c])) > 1]
    for column in sorted(differing, key=lambda c: max(map(len, values[c]))):
        own = values[column]
        beside = [c for c in kept if _paired(own, values[c])]
        if not any(len(set(_rest(own, values[c]))) == 1 for c in beside):
            said = [c for c in beside if _holds(own, values[c])]
            kept = [c for c in kept if c not in said] + [column]
    return [c for c in columns if c in kept]


def held(columns: Sequence[str], rows: Iterable[Grouped], shown: Sequence[str] = ()) -> str:
    """The values that all rows share, in brackets after a title; without the columns that are shown."""
    groups = [r.group for r in rows]
    if not groups:
        return ""
    equal = {c: groups[0][c] for c in columns if c in groups[0] and c not in shown}
    words = in_words({c: v for c, v in equal.items() if all(g.get(c) == v for g in groups)})
    return f" ({words})" if words else ""


def _paired(one: Sequence[str], two: Sequence[str]) -> bool:
    """Whether each value of the one goes with one value of the other."""
    return len(set(one)) == len(set(two)) == len(set(zip(one, two, strict=True)))


def _within(value: str) -> str:
    """A pattern of a value inside a longer one, not of a part of its number or word."""
    return rf"(?<![0-9A-Za-z]){re.escape(value)}(?![0-9A-Za-z])"


def _holds(long: Sequence[str], short: Sequence[str]) -> bool:
    """Whether each longer value has the shorter one in it, where there is one."""
    return all(s == MISSING or re.search(_within(s), v) for v, s in zip(long, short, strict=True))


def _rest(long: Sequence[str], short: Sequence[str]) -> list[str]:
    """What each longer value says beyond the shorter one."""
    return [re.sub(_within(s), "", v) for v, s in zip(long, short, strict=True)]


def in_words(group: Group) -> str:
    """The group's values that are known in one line, numbers with their column; empty without columns.

    >>> in_words({"site": "Resid", "layer": 20}), in_words({"site": "a.0+a.1", "layer": "(missing)"})
    ('Resid, layer 20', 'a.0+a.1')
    """
    found = known(group).items()
    return ", ".join(v if isinstance(v, str) else f"{c.replace('_', ' ')} {v}" for c, v in found)


def own_fields(result: Result) -> dict[str, Any]:
    """The fields of a result by name, as they are."""
    return {f.name: getattr(result, f.name) for f in fields(result)}  # type: ignore[arg-type]


def _one_row(result: Result) -> dict[str, Any]:
    """Fields that are one value, of a group and of an interval each part."""
    row: dict[str, Any] = {}
    for name, given in own_fields(result).items():
        value = plain(given)
        if name == "group" and isinstance(value, dict):
            row |= value
        elif name == "doubts":
            row[name] = "; ".join(map(str, value))
        elif hasattr(value, "estimate") and hasattr(value, "high"):
            row |= {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}
        elif value is None or isinstance(value, (bool, int, float, str)):
            row[name] = value
    return row


def plain(value: Any) -> Any:
    """`value` as a Python scalar where it is a NumPy one."""
    return value.item() if isinstance(value, np.generic) else value


@cache
def _converter() -> cattrs.Converter:
    from cattrs.preconf.json import make_converter

    converter = make_converter()
    converter.register_unstructure_hook(float, _float_out)
    converter.register_structure_hook(float, lambda value, _: math.nan if value is None else float(value))
    converter.register_unstructure_hook_func(_is_array, lambda a: [_nested(v) for v in a.tolist()])
    converter.register_structure_hook_func(_is_array, lambda value, _: np.array(value, dtype=float))
    whole = converter.get_structure_hook(Doubt)
    converter.register_structure_hook(
        Doubt, lambda value, kind: said(value) if isinstance(value, str) else whole(value, kind)
    )  # version 0.1 saved doubts as sentences
    converter.register_structure_hook(str | int, lambda value, _: value)
    converter.register_structure_hook(str | int | float | bool, lambda value, _: value)
    return converter


def _is_array(kind: Any) -> bool:
    return kind is np.ndarray or get_origin(kind) is np.ndarray


def _float_out(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _nested(value: Any) -> Any:
    return [_nested(v) for v in value] if isinstance(value, list) else _float_out(value)
