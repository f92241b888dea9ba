"""How far a run is, from the files in its folder alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from trainers import checkpoints
from trainers.config import members, run_config


def run_status(folder: str | Path) -> Group:
    """Steps, speed, checkpoints, and L0 and FVU of every member at the last log line.

    Raises
    ------
    ConfigError
        If the folder holds no run.
    """
    folder = Path(folder)
    config = run_config(folder)
    logs = [last_line(p) for p in sorted(folder.glob("log*.jsonl"))]
    steps = max((log["step"] for log in logs if log), default=0)
    found = {k: v for log in logs if log for k, v in log["members"].items()}
    stopped = {
        k: v
        for path in folder.glob("log*.jsonl")
        for line in lines(path)
        for k, v in line.get("diverged", {}).items()
    }
    newest = checkpoints.latest(folder / "checkpoints")
    head = [f"{folder}: step {steps} of {config.training.steps}"]
    head.append("finished and evaluated" if (folder / "metrics.parquet").exists() else "not evaluated yet")
    head.append(f"last checkpoint {newest.name}" if newest else "no checkpoint yet")
    table = Table(box=None, pad_edge=False)
    for name in ("SAE", "L0", "FVU", "loss"):
        table.add_column(name, justify="left" if name == "SAE" else "right")
    for member in members(config):
        entry = found.get(member.run_id)
        if member.run_id in stopped:
            table.add_row(member.run_id, f"diverged at step {stopped[member.run_id] + 1}", "", "")
        elif entry:
            table.add_row(member.run_id, f"{entry['l0']:.1f}", f"{entry['fvu']:.3f}", f"{entry['loss']:.3g}")
        else:
            table.add_row(member.run_id, "", "", "")
    return Group("; ".join(head), table)


def last_step(folder: Path) -> int:
    """The step of the last log line of a run; 0 before the first."""
    logs = [last_line(p) for p in sorted(folder.glob("log*.jsonl"))]
    return max((log["step"] for log in logs if log), default=0)


def last_line(path: Path) -> dict[str, Any] | None:
    """The last whole line of a log."""
    found = lines(path)
    return found[-1] if found else None


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; one that a kill cut short is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found
