"""How far a run is, from the files in its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group

from trainers import checkpoints
from trainers.config import run_config
from trainers.config_members import members
from trainers.log_lines import SHOWN, heading, log_lines, log_table, logs_of, shown
from trainers.piloting import in_pilots, said_of_pilots


def run_status(folder: str | Path) -> Group:
    """Steps, checkpoints, and L0 and FVU of every member on the training batch of the last step.

    Values that were logged before the last step are not shown: a resumed run may have logged elsewhere.

    Raises
    ------
    ConfigError
        If the folder holds no run.
    """
    folder = Path(folder)
    if in_pilots(folder):
        return Group(said_of_pilots(folder))
    config = run_config(folder)
    lines = [line for path in logs_of(folder) for line in log_lines(path)]
    newest = checkpoints.latest(folder / "checkpoints")
    reached = int(newest.name.removeprefix("step_")) if newest else 0
    due = reached if reached == config.training.steps else reached - reached % config.training.log_every
    steps = max([due, *(line["step"] for line in lines)])
    head = [f"{folder}: step {max(steps, reached)} of {config.training.steps}"]
    head.append("finished and evaluated" if (folder / "metrics.parquet").exists() else "not evaluated yet")
    head.append(f"last checkpoint {newest.name}" if newest else "no checkpoint yet")
    table = log_table()
    stopped = {k: v for line in lines for k, v in line.get("diverged", {}).items()}
    logged = _by_member(lines)
    for member in members(config):
        step, entry = logged.get(member.run_id, (0, {}))
        if member.run_id in stopped:
            table.add_row(member.run_id, f"diverged at step {stopped[member.run_id] + 1}", "", "")
        elif step == steps and entry:
            table.add_row(member.run_id, *shown(entry))
        else:
            table.add_row(member.run_id, f"last logged at step {step}" if step else "", "", "")
    return Group("; ".join(head), heading(steps), table)


def _by_member(lines: list[dict[str, Any]]) -> dict[str, tuple[int, dict[str, float]]]:
    """The newest step of each member, and what was logged there."""
    found: dict[str, tuple[int, dict[str, float]]] = {}
    for line in sorted(lines, key=lambda entry: entry["step"]):
        for name, entry in line.get("members", {}).items():
            if isinstance(entry, dict) and all(isinstance(entry.get(k), int | float) for k in SHOWN):
                found[name] = line["step"], entry
    return found
