"""docs/quality.md: its table from the result file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.measuring import between
from benchmarks.quality_parts.comparing import LEAST, comparison, metrics_at
from benchmarks.quality_parts.design import ARCHITECTURES, PEERS, Place
from frontier.writing import write_text

PAGE = Path("docs/quality.md")
PLACES = [Place(site, e, s) for s, site, e in product((600, 3000), ("shipped", "encoder"), (4, 32))]
NAMES = {"dictionary_learning": "dictionary_learning", "sae_lens": "SAELens"}


def limits(found: list[float] | None) -> str:
    """A ratio with its limits, in words where there is none."""
    return "no one ratio" if found is None else "{:.2f} [{:.2f}, {:.2f}]".format(*found)


def met(found: list[float] | None) -> str:
    """Whether ours is not worse: the lower limit against the aim."""
    return "–" if found is None else "yes" if found[1] >= LEAST else "**no**"


def shares(found: dict[float, float]) -> str:
    """Dead latents in per cent, by setting."""
    return ", ".join(f"{100 * found[s]:.1f}" for s in sorted(found))


def lines(record: dict[str, Any]) -> list[Sequence[str]]:
    """A line per place, architecture and peer that is measured."""
    found = []
    for place, architecture, method in product(PLACES, ARCHITECTURES, PEERS):
        c = comparison(record["cells"], place, method, architecture)
        if c is None:
            continue
        found.append(
            (
                f"{place.site}, {place.expansion} d, {place.steps:,}", architecture, NAMES[method],
                f"{c['rate']:g} of {', '.join(f'{r:g}' for r in c['rates'])}", "{}, {}".format(*c["seeds"]),
                *(limits(c["potency"][m]) if m in c["potency"] else "–" for m in ("loss_recovered", "fvu")),
                met(c["potency"][metrics_at(place)[0]]), *map(shares, c["dead"]),
            )
        )  # fmt: skip
    return found


def missing(record: dict[str, Any]) -> str:
    """Which parts of the design are not measured."""
    lacks = []
    for place, method in product(PLACES, PEERS):
        names = [a for a in ARCHITECTURES if comparison(record["cells"], place, method, a) is None]
        if names:
            which = "nothing" if len(names) == len(ARCHITECTURES) else f"not {', '.join(names)}"
            where = f"{place.site}, F = {place.expansion} d, {place.steps:,} steps"
            lacks.append(f"- {where}, {NAMES[method]}: {which}")
    return "\n".join(lacks) or "- every cell is measured"


def content(record: dict[str, Any]) -> str:
    """The part of the page that is made anew."""
    head = (
        "place, F, steps", "architecture", "peer", "its best rate", "seeds, ours and its",
        "L0 of the peer over ours at equal hit [95 %]", "at equal FVU", f"lower limit {LEAST} or more",
        "dead, ours, %", "dead, peer, %",
    )  # fmt: skip
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    table = tabulate(lines(record), head, tablefmt="github", disable_numparse=True)
    where = f"{record['date']}, {record['machine']}, {versions}."
    return f"{where}\n\n{table}\n\nNot measured:\n\n{missing(record)}\n"


def write(record: dict[str, Any]) -> None:
    """Write the page's table anew."""
    write_text(PAGE, between(PAGE.read_text(encoding="utf-8"), "quality", content(record)))
