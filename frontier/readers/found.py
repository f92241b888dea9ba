"""What a reader has found so far: rows under our names, what there is to say, and what each column means."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from frontier.metrics.asked import renamed_as_asked, with_better, words_in
from frontier.metrics.axes import unknown_numbers
from frontier.metrics.finished import EVERY_CHECKPOINT
from frontier.metrics.per_cent import Scale
from frontier.wording import listed

Row = dict[str, Any]

Changes = tuple[tuple[str, str], ...]

Beside = Mapping[str, Mapping[str, Any]]
"""What stands beside the metrics of an SAE in its file, by the name of its part: configs, facts."""


class Origin(NamedTuple):
    """Where the columns of a row come from: the tool, its version, and what was done to which column."""

    tool: str
    version: str
    changes: Changes


@dataclass(frozen=True)
class Options:
    """What the user says about files that do not say it themselves.

    Attributes
    ----------
    decimal : str or None
        The decimal mark of numbers in text, '.' or ','.
    rows_at : str or None
        Where the rows are: a list inside JSON, a sheet of a workbook, a file in a ZIP archive.
    every_checkpoint : bool
        Intermediate checkpoints count as SAEs.
    columns, mapped : dict, set
        What the user calls which column of ours, and which of these were met so far.
    better : dict or str
        Which side of metrics that are not known here is better (see `frontier.metrics.asked.with_better`).
    where : str or None
        Which rows are wanted; a reader may leave others out.
    """

    decimal: str | None = None
    rows_at: str | None = None
    every_checkpoint: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    mapped: set[str] = field(default_factory=set, compare=False)
    better: Mapping[str, str] | str | None = None
    where: str | None = None

    @property
    def asked(self) -> set[str]:
        """Columns that the user names."""
        sides = set() if isinstance(self.better, str) else set(self.better or ())
        return {*self.columns, *words_in(self.where), *sides}

    def marked(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame, which now says itself whether its checkpoints are wanted."""
        frame.attrs[EVERY_CHECKPOINT] = self.every_checkpoint
        return frame

    def sided(self, table: pd.DataFrame) -> pd.DataFrame:
        """One of several tables, which knows the better side of such metrics as far as it has them."""
        if isinstance(self.better, str):
            return with_better(table, self.better if len(unknown_numbers(table)) == 1 else None)
        return with_better(table, {c: side for c, side in (self.better or {}).items() if c in table})

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A file's table with the columns renamed that the user maps."""
        here = {theirs: ours for theirs, ours in self.columns.items() if theirs in frame}
        self.mapped.update(here)
        return renamed_as_asked(frame, here)


@dataclass
class Found:
    """Rows of any tools, collected as plain dicts; one frame is built at the end.

    Attributes
    ----------
    rows : list of dict
        One per SAE, under the names of the metrics table; other columns are carried along.
    frames : list of (name, frame)
        Plain tables, under their own names.
    recognised : list of str
        Kinds of files, as words.
    said : dict
        Each remark, and the files (or rows) that it is about.
    origins : list of Origin
        Where each row comes from.
    beside : list of dict
        What stood beside the metrics of each row (`frontier.readers.beside`).
    passed : dict
        Names of facts that no row carries, by the part of a file and its names.
    last : dict
        Facts of the last file, by part.
    owners, extras : dict
        Rows by a key, and facts from other files that belong to the row of that key.
    broken, ignored : list
        Files that could not be read, with the reason; files that hold no metrics.
    told : int
        How often facts of other files were added to `extras`.
    repeats : int
        SAEs that had been read from another file already.
    scales : dict
        What the shares in a plain table of a folder seem to be, by its path.
    logs : dict
        Logs of training by run, of which rows are made at the end (see `frontier.readers.logged`).
    """

    options: Options = Options()
    rows: list[Row] = field(default_factory=list)
    frames: list[tuple[str, pd.DataFrame]] = field(default_factory=list)
    said: dict[str, list[str]] = field(default_factory=dict)
    recognised: list[str] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    beside: list[Beside] = field(default_factory=list)
    passed: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    owners: dict[Hashable, Row] = field(default_factory=dict)
    extras: dict[tuple[str, ...], Row] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    told: int = 0
    repeats: int = 0
    scales: dict[str, list[Scale]] = field(default_factory=dict)
    logs: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def add(
        self, row: Row, tool: str, version: str, changes: Iterable[tuple[str, str]], beside: Beside
    ) -> None:
        """One SAE."""
        self.rows.append(row)
        self.origins.append(Origin(tool, version, tuple(changes)))
        self.beside.append(beside)

    def tell(self, key: tuple[str, ...], facts: Row) -> None:
        """Facts of a file beside others that belong to the row of a key."""
        self.extras.setdefault(key, {}).update(facts)
        self.told += bool(facts)

    def pass_over(self, part: str, facts: Mapping[str, Any]) -> None:
        """Facts of a part of a file that no row carries, and that are named as not used."""
        shape = (part, *facts)
        if shape not in self.passed:
            self.passed[shape] = [k for k, value in facts.items() if not isinstance(value, (dict, list))]

    def once(self, part: str, facts: dict[str, Any]) -> dict[str, Any]:
        """The facts of a part, as the very object that the last file gave where they are equal."""
        if self.last.get(part) != facts:
            self.last[part] = facts
        return self.last[part]

    def say(self, remark: str, where: str = "") -> None:
        """A remark about `where`; equal ones are counted."""
        self.said.setdefault(remark, []).append(where)

    def say_left_out(self, what: str) -> None:
        """What could not be read, the first with the reason."""
        if self.broken:
            self.say(f"{len(self.broken)} {what} left out: {listed(self.broken, 5, '; ')}")

    def join(self) -> None:
        """Facts from other files into the rows that they belong to; what finds no row is said."""
        homeless: dict[str, list[str]] = {}
        for key, extra in self.extras.items():
            row = self.owners.get(key)
            if row is None:
                homeless.setdefault(key[0], []).append(key[-1])
                continue
            for name, value in extra.items():
                if row.get(name) is None:
                    row[name] = value
        for tool, names in homeless.items():
            self.say(
                f"{len(names)} {tool} results or settings belong to no result that was read, and are left "
                f"out: {listed(names, 3)}"
            )
        self.extras = {}

    def remarks(self) -> list[str]:
        """What was recognised, then all remarks, each with how many files or rows it is about."""
        return [f"recognised: {kinds}" for kinds in self.recognised] + [
            remark if not any(where) else f"{remark} (in {len(where)}: {_shown(where)})"
            for remark, where in self.said.items()
        ]

    def forget(self, rows: int, frames: int) -> None:
        """All but the first `rows` rows and `frames` tables: what a broken file left behind."""
        gone = {id(row) for row in self.rows[rows:]}
        del self.rows[rows:], self.origins[rows:], self.beside[rows:], self.frames[frames:]
        if gone:
            self.owners = {key: row for key, row in self.owners.items() if id(row) not in gone}


def printable(name: str) -> str:
    r"""A file's name as text that can be printed and saved, also where it is not UTF-8.

    >>> printable("caf\udce9.csv")
    'caf\ufffd.csv'
    """
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def with_places(remark: str, names: list[str]) -> str:
    """A remark about one file, or about several of which the first is named.

    >>> with_places("'L0' read as l0", ["a.csv"]), with_places("'L0' read as l0", ["a.csv", "b.csv"])
    ("a.csv: 'L0' read as l0", "'L0' read as l0 (in 2: a.csv and 1 more)")
    """
    return f"{names[0]}: {remark}" if len(names) == 1 else f"{remark} (in {len(names)}: {_shown(names)})"


def _shown(names: list[str]) -> str:
    short = [name if len(name) <= 60 else f"...{name[-57:]}" for name in map(printable, names[:1])]
    return short[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def num(value: object) -> float | None:
    """A finite number, also from text; None for anything else.

    >>> num("0.5"), num(True), num("x"), num(float("nan"))
    (0.5, None, None, None)
    """
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def table(value: object) -> dict[str, Any]:
    """A dict as it is, anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """Short text or a number as text; anything else is empty."""
    if type(value) is str:
        return value if len(value) <= 200 else value[:200]
    plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return str(value)[:200] if plain else ""


def flat(nested: Mapping[Any, Any], prefix: str = "", depth: int = 8) -> dict[str, Any]:
    """Nested keys as dotted names; lists are left out, they hold one number per latent or per batch.

    >>> flat({"a": {"b": 1, "c": [1, 2]}})
    {'a.b': 1}
    """
    out: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            if depth:
                out |= flat(value, f"{name}.", depth - 1)
        elif not isinstance(value, (list, tuple, set)):
            out[name] = value
    return out
