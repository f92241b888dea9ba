"""What to cite for a result: papers of its methods and of the SAEs that it compares, and this software."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from frontier.records import record_of

WELCH = ("welch1938", "satterthwaite1946")
METHODS: dict[str, tuple[str, ...]] = {
    "SharedShape": ("lawton1972", "carroll1984", "burnham2002", "hemerik2020", "davidson2008"),
    "Comparison": ("marcus1976", "holm1979", "working1929", "mackinnon1985"),
    "CurveFit": ("seber1989", "bates1988"),
    "GoodnessOfFit": ("draper1998",),
    "RatioTable": WELCH,
    "Parallelism": ("bates1988",),
    "SharedFit": ("bates1988", "johansen1980"),
    "PooledRatio": ("hartung2001", "inthout2014", "paule1982", "viechtbauer2007"),
    "CurveSelection": ("hurvich1989", "burnham2002", "wagenmakers2004"),
    "AveragedRatio": ("turek2012", "burnham2002"),
    "Plan": ("fedorov1972", "atkinson1975"),
    "SeedComparison": ("welch1947", "satterthwaite1946", "holm1979"),
    "LackOfFit": ("draper1998", "seber1989"),
}
"""Kinds of result, and what their docstrings name as sources."""

WORDS: dict[str, tuple[str, ...]] = {
    "hill": ("hill1910",),
    "two_component": ("rocke1995", "durbin2002"),
    "log": ("box1964",),
    "mover": ("donner2012",),
    "dunnett": ("dunnett1955", "hasler2008"),
    "stochastic": ("aigner1977", "waldman1982", "jondrow1982", "coelli1995", "schmidt1984"),
    "quantile": ("koenker1978",),
}
"""Curves, errors models and kinds of interval, where a result says that it has them."""
SAYING = ("curve", "errors", "intervals", "estimator", "method")
"""Fields that say so."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "gated": ("rajamanoharan2024gated",),
    "jumprelu": ("rajamanoharan2024jumprelu",),
    "topk": ("gao2024",),
    "batchtopk": ("bussmann2024",),
    "matryoshka": ("bussmann2025",),
    "matryoshkabatchtopk": ("bussmann2025",),
    "panneal": ("karvonen2024",),
    "abstopk": ("zhu2025",),
    "matchingpursuit": ("costa2025",),
    "hierarchicaltopk": ("balagansky2025",),
    "skiptranscoder": ("paulo2025",),
    "jumpreluskiptranscoder": ("paulo2025", "rajamanoharan2024jumprelu"),
}
"""Architectures by the name of a family."""
DATASETS = {"gated_gemma7b": "rajamanoharan2024gated", "gated_pythia2p8b": "rajamanoharan2024gated"}


@dataclass(frozen=True)
class Citations:
    """References as BibTeX: `str(...)` or `.bibtex` is the text, `.keys` are the names to cite by."""

    keys: tuple[str, ...]
    bibtex: str

    def __str__(self) -> str:
        return self.bibtex

    def __repr__(self) -> str:
        return self.bibtex


def cite(result: Any = None) -> Citations:
    """What to cite for a result, as BibTeX: the software in its version first.

    Papers of methods are those that the result rests on: a Hill curve, two-component errors and Dunnett's
    intervals have theirs where they were used. Papers of architectures are those of families that go by an
    architecture's name, and data that ships has its own.

    Parameters
    ----------
    result : any result of `frontier`, or a table that was read, optional
        Without one, the software alone.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> fits = frontier.fit(table[table["layer"] == 20], "hill", errors="additive")
    >>> print(*frontier.cite(fits).keys)
    sae_frontier bates1988 hill1910 rajamanoharan2024gated seber1989
    """
    found: set[str] = set()
    version, made = None, record_of(result)
    if made is not None:
        version = (made.get("of", made).get("versions") or {}).get("sae-frontier")
        for name, value in _arguments(made):
            if name == "simultaneous":  # of which a result keeps the intervals alone
                found |= set(WORDS.get(value, ()))
            elif name == "name" and value in DATASETS:
                found.add(DATASETS[value])
    for part in _parts(result):
        found |= set(METHODS.get(type(part).__name__, ()))
        for name in SAYING:
            found |= set(WORDS.get(str(getattr(part, name, "")), ()))
    names = set(_families(result))
    found |= {key for name in names for key in FAMILIES.get(re.sub(r"[^a-z0-9]", "", name.lower()), ())}
    keys = ("sae_frontier", *sorted(found))
    return Citations(keys, "\n\n".join([_software(version), *(references()[k] for k in keys[1:])]))


@cache
def references() -> dict[str, str]:
    """Every reference by its key."""
    text = (Path(__file__).parent / "references.bib").read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line.startswith("@")]
    return {line.partition("{")[2].partition(",")[0]: _laid_out(line) for line in entries}


def _laid_out(entry: str) -> str:
    """An entry with one field a line."""
    return re.sub(r", (?=\w+ = \{)", ",\n  ", entry).removesuffix("}") + "\n}"


def _software(version: str | None) -> str:
    from frontier import __version__

    return (
        "@software{sae_frontier,\n  author = {{The SAE Frontier authors}},\n  title = {{SAE Frontier}: "
        "Frontiers of Sparse Autoencoders as Numbers},\n"
        f"  version = {{{re.sub(r'[^0-9A-Za-z.+]', '', version or __version__)}}}\n}}"
    )


def _parts(thing: Any) -> Iterator[Any]:
    """A result and all that it consists of; curves of a comparison only where they were fitted."""
    if isinstance(thing, (tuple, list)):
        for one in thing:
            yield from _parts(one)
    elif is_dataclass(thing) and not isinstance(thing, type):
        yield thing
        for field in fields(thing):
            yield from _parts(getattr(thing, field.name))
        yield from _parts(thing.__dict__.get("_curves", ()))


def _families(thing: Any) -> Iterator[str]:
    """Names of the families in a result or a table."""
    if isinstance(thing, pd.DataFrame):
        for column in {"family", "architecture"} & set(thing.columns):
            yield from (str(v) for v in thing[column].dropna().unique())
    for part in _parts(thing):
        yield from (str(getattr(part, name)) for name in ("family", "reference") if hasattr(part, name))
        group = getattr(part, "group", None)
        if isinstance(group, dict):
            yield from (v for v in group.values() if isinstance(v, str))


def _arguments(record: Any) -> Iterator[tuple[str, str]]:
    """Arguments that are words, of a call and of the calls that gave its data."""
    if isinstance(record, dict):
        yield from ((name, value) for name, value in record.items() if isinstance(value, str))
    inner = record.values() if isinstance(record, dict) else record if isinstance(record, list) else ()
    for value in inner:
        yield from _arguments(value)
