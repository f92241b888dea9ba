"""Tables and numbers as the pages print them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tabulate import tabulate

Record = dict[str, Any]


def table(rows: Iterable[Iterable[Any]], *head: str) -> str:
    """A Markdown table; numbers stand as they are written here."""
    return tabulate([list(map(str, row)) for row in rows], head, tablefmt="github", disable_numparse=True)


def circumstances(record: Record, command: str) -> str:
    """When and where, in one line."""
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items() if k != "sae-frontier")
    return (
        f"`python -m benchmarks.{command}`, {record['date']}, {record['machine']}, "
        f"{record['cpus']} shared cores, "
        f"load {record['load']}; Python {record['python']}, {versions}."
    )


def milliseconds(seconds: float | None) -> str:
    """Three digits."""
    return "–" if seconds is None else f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:,.0f}"


def met(value: bool) -> str:
    """In a word."""
    return "yes" if value else "**no**"
