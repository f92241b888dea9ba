"""The lines of a run's log: read with care, since a kill, a full disk or a hand may have spoilt some."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from frontier.wording import plural
from frontier.writing import write_text

SHOWN = {"l0": ".1f", "fvu": ".3f", "loss": ".3g"}
"""What is shown of a member, and how."""


def log_lines(path: Path) -> list[dict[str, Any]]:
    """The usable lines of a log, in order; how many others there are is said, but for a torn last one."""
    found, spoilt = [], 0
    raw = path.read_bytes().split(b"\n")
    for number, line in enumerate(raw, 1):
        entry = _entry(line)
        if entry is not None:
            found.append(entry)
        elif line.strip() and number < len(raw):  # the last has no end: a kill cut it short
            spoilt += 1
    if spoilt:
        warnings.warn(f"{path}: {plural(spoilt, 'line')} that cannot be read left out", stacklevel=3)
    return found


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line.decode("utf-8"))
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("step"), int):
        return None
    return found if isinstance(found.get("members", {}), dict) else None


def forget_after(path: Path, step: int) -> None:
    """Take out the lines of steps that a resumed run makes again; the file is replaced whole."""
    if not path.exists():
        return
    kept = "".join(json.dumps(e) + "\n" for e in log_lines(path) if e["step"] <= step)
    if kept.encode() != path.read_bytes():
        write_text(path, kept)


def logs_of(folder: Path) -> list[Path]:
    """The logs of a run: one for each process that it ever had."""
    return sorted(folder.glob("log*.jsonl"))


def last_step(folder: Path) -> int:
    """The last step that a run has logged; 0 before the first."""
    return max((line["step"] for path in logs_of(folder) for line in log_lines(path)), default=0)


def heading(step: int) -> str:
    """What stands above it: other tables are of held-out text."""
    return f"on the training batch of step {step:,}:"


def log_table() -> Table:
    """An empty table of what members log at a step."""
    table = Table(box=None, pad_edge=False)
    for name in ("SAE", "L0", "FVU", "loss"):
        table.add_column(name, justify="left" if name == "SAE" else "right")
    return table


def shown(entry: Mapping[str, float]) -> list[str]:
    """The cells of a member in it."""
    return [f"{entry[k]:{form}}" for k, form in SHOWN.items()]
