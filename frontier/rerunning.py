"""Make a saved result again from its record, and say whether the numbers are the same."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from frontier.metrics.frames import to_pandas
from frontier.records import SOURCES, Record, digest, is_record, spoken, versions
from frontier.results import Result, saved_record
from frontier.views import View
from frontier.wording import listed, number, one_line, plural

CLOSE = 1e-6
"""Relative difference up to which numbers are said to agree, though they are not the same."""
EXACT: dict[str, Any] = {"float_precision": "round_trip"} if pd.__version__ < "3" else {}
"""So that `read_csv` takes numbers to the last digit, as pandas 3 does by itself."""


@dataclass(frozen=True, eq=False, repr=False)
class Rerun(Result):
    """A saved result held against the same call made now.

    Attributes
    ----------
    call : str
        What was called, as one would type it.
    numbers, differing : int
        Numbers of the saved result; how many of them are not exactly the same now.
    largest : float
        Largest relative difference of two numbers; infinite where one of them is missing.
    where : str
        Where it lies.
    texts : tuple of str
        Places where words differ, verdicts among them.
    versions : tuple of str
        Tools of another version than then.
    """

    call: str
    numbers: int
    differing: int
    largest: float
    where: str
    texts: tuple[str, ...]
    versions: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every number and every word is the same."""
        return not self.differing and not self.texts

    @property
    def sentence(self) -> str:
        """The answer."""
        if self.equal:
            return f"equal: all {plural(self.numbers, 'number')} and every word are the same"
        close = not self.texts and self.largest <= CLOSE
        found = f"{'agrees' if close else 'differs'}: {self.differing} of {plural(self.numbers, 'number')}"
        if self.differing:
            found += f", the largest relative difference is {number(self.largest)}, at {self.where}"
        return found + (f"; words differ at {listed(self.texts, 3)}" if self.texts else "")

    def _view(self) -> View:
        changed = [f"made with other versions: {listed(self.versions)}"] if self.versions else []
        return View(self.sentence, remarks=(self.call, *changed))


def rerun(path: str | Path, data: Any = None) -> Rerun:
    """Make a saved result again and compare.

    Only public functions of `frontier` are called, and only files beside the saved result, or below the
    working folder, are read.

    Parameters
    ----------
    path : path
        What `save`, or a command with `--out`, wrote.
    data : path or frame, optional
        The table, where it does not lie under the name that was noted. Its digest is compared in any case.

    Raises
    ------
    ValueError
        When it does not say how it was made, or the data is not found, or is not the same.

    Examples
    --------
    >>> import frontier, tempfile
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> fits = frontier.fit(table[table["layer"] == 20], "power")
    >>> rerun(fits.save(Path(tempfile.mkdtemp()) / "fits.json")).equal
    True
    """
    path = Path(path)
    saved = saved_record(path)
    made: Record = saved.get("made", {}) if isinstance(saved, dict) else {}
    if not is_record(made):
        raise ValueError(f"{path} does not say how it was made; save(...) of version 0.2 or newer writes it")
    try:
        found = _made(made, Sources(path, data))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{path}: its record cannot be followed: {error}") from error
    fresh = {k: v for k, v in json.loads(json.dumps(found.to_dict())).items() if k != "made"}
    then = dict(made.get("of", made).get("versions") or {})
    now = dict(versions())
    changed = tuple(f"{n} {then[n]}, now {now.get(n, 'none')}" for n in then if then[n] != now.get(n))
    return _compared(spoken(made), {k: v for k, v in saved.items() if k != "made"}, fresh, changed)


@dataclass(frozen=True, eq=False)
class Sources:
    """Where data may come from: files beside the saved result and below the working folder, or as given."""

    saved: Path
    given: Any = None

    def file(self, record: Record) -> Any:
        """The path of a file that a record names."""
        name = PurePosixPath(str(record["$file"]))
        if self.given is not None:
            return self.given
        if name.is_absolute() or ".." in name.parts:
            raise ValueError(f"the record names {name}, which is not below a folder; give the data by --data")
        folder, here = self.saved.parent, Path.cwd()
        for place in (folder / name, here / name, folder / name.name):
            if place.exists():
                return place
        alone = (
            "" if len(name.parts) > 1 else "; of data outside of the working folder only the name is noted"
        )
        raise ValueError(
            f"{name} lies neither beside the saved result, in {folder.resolve()}, nor below {here}, "
            f"where this was called{alone}; call it where the result was made, or say where the data is: "
            f"sae-frontier rerun {shlex.quote(str(self.saved))} --data {shlex.quote(f'PLACE/{name.name}')}"
        )

    def table(self, record: Record) -> pd.DataFrame:
        """The table of a record: one whose digest is the same."""
        for frame in self._candidates(record):
            if digest(frame) == record["sha256"]:
                return frame
        if "made" not in record and self.given is None:
            raise ValueError("the table was in memory, so that only its digest is known; give it by --data")
        raise ValueError(
            f"this is not the data that was used: no table of {plural(int(record['rows']), 'row')} with "
            f"sha256 {str(record['sha256'])[:16]} was found"
        )

    def _candidates(self, record: Record) -> Iterator[pd.DataFrame]:
        from frontier.readers import read

        if "made" in record:
            frame = to_pandas(_made(record["made"], self))
            yield frame
            if "labels" in record:
                yield from _rows(frame, [(int(first), int(last)) for first, last in record["labels"]])
        if isinstance(self.given, (str, Path)):
            yield read(self.given)
            if str(self.given).endswith(".csv"):
                yield pd.read_csv(self.given, **EXACT)
            elif str(self.given).endswith(".parquet"):
                yield pd.read_parquet(self.given)
        elif self.given is not None:
            yield to_pandas(self.given)


def _rows(frame: pd.DataFrame, stretches: list[tuple[int, int]]) -> Iterator[pd.DataFrame]:
    """The rows of these labels, where the frame has them all."""
    if sum(last - first + 1 for first, last in stretches) <= len(frame):
        labels = [i for first, last in stretches for i in range(first, last + 1)]
        if set(labels) <= set(frame.index):
            yield frame.loc[labels]


def _made(record: Any, sources: Sources) -> Any:
    """What a record stands for, made now."""
    import frontier

    if isinstance(record, list):
        return [_made(v, sources) for v in record]
    if not isinstance(record, dict):
        return record
    if "$made" in record:
        return _made(record["$made"], sources)
    if "$file" in record:
        return sources.file(record)
    if "$values" in record:
        return {k: _made(v, sources) for k, v in record["$values"].items()}
    if "$data" in record:
        return sources.table(record["$data"])
    if "part" in record:
        return _part(_made(record["of"], sources), record["part"])
    if "call" not in record:
        raise ValueError(f"an argument was {record.get('$unknown', 'unknown')}, which a file cannot hold")
    name = record["call"]
    function = getattr(frontier, name) if name in dir(frontier) else None
    if not getattr(function, "is_recorded", False):
        raise ValueError(f"frontier.{one_line(name)} is no function that can be run again")
    assert function is not None
    arguments = {k: _made(v, sources) for k, v in record["arguments"].items()}
    for argument in SOURCES:
        value = arguments.get(argument)
        if isinstance(value, str) and value is not sources.given:  # it would be opened wherever it lies
            raise ValueError(
                f"{argument} of frontier.{name} is text, where a record has a file with its digest"
            )
    return function(**arguments)


def _part(result: Any, way: list[str | int]) -> Any:
    """A part of a result: fields, properties, rows."""
    for step in way:
        if isinstance(step, int) and isinstance(result, tuple):
            result = result[step]
        elif isinstance(step, str) and isinstance(result, Result) and not step.startswith("_"):
            result = getattr(result, step)
    if not isinstance(result, Result):
        raise ValueError(f"{listed(way, between='.')} is no part of a result")
    return result


def _compared(call: str, then: Any, now: Any, changed: tuple[str, ...]) -> Rerun:
    numbers, differing, largest, where = 0, 0, 0.0, ""
    texts: list[str] = []
    for place, old, new in _pairs(then, now, ""):
        one, two = _number(old), _number(new)
        numbers += one is not None
        if old == new:
            continue
        if one is None or two is None:
            texts.append(place)
            continue
        differing += 1
        gap = abs(one - two) / max(abs(one), abs(two))
        gap = gap if math.isfinite(gap) else math.inf
        largest, where = max((largest, where), (gap, place))
    return Rerun(call, numbers, differing, largest, where, tuple(texts), changed)


def _pairs(then: Any, now: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Every value of either with what stands at its place in the other."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*then, *now]):
            yield from _pairs(then.get(key), now.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(then, list) and isinstance(now, list):
        for i in range(max(len(then), len(now))):
            one, two = (v[i] if i < len(v) else None for v in (then, now))
            yield from _pairs(one, two, f"{place}[{i}]")
    else:
        yield place, then, now


def _number(value: Any) -> float | None:
    """A number, also one that JSON has as a word (nan, inf)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and value not in ("nan", "inf", "-inf"):
        return None
    return float(value)
