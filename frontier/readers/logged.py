"""Logs of training: numbers and texts by name, collected per run, made rows of SAEs at the end.

`sae-train` logs a number as `evaluation/<run_id>/<column>` or `training/<run_id>/<metric>`, and what else is
known of an SAE as one JSON text, `saes/evaluation/<run_id>`. Names of other tools are read as in
`frontier.readers.wandb`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

import frontier.readers.wandb as wandb
from frontier.metrics.names import canonical_name
from frontier.readers.found import Found, Row, flat, num
from frontier.wording import plural

EVALUATION, TRAINING = "evaluation", "training"
ROW = "row_of_table"
"""Where an SAE stood in the table."""
_OURS = re.compile(rf"({EVALUATION}|{TRAINING})/(.+)/([^/]+)")
_FACTS = re.compile(rf"saes/({EVALUATION}|{TRAINING})/(.+?)(?:/text_summary)?")
LAST_BATCH = "measured on the last batch of training"
OF_BATCHES = "the log of a run in training: its values are of single training batches, not of held-out text"
KEPT = ("l0", "fvu", "loss", "gradient_norm")
"""Of what is logged in training, what belongs to the SAE and not to the step."""


def metric_name(phase: str, run_id: str, column: str) -> str:
    """The name of a number of an SAE.

    >>> metric_name(EVALUATION, "relu_0.5_seed0", "l0")
    'evaluation/relu_0.5_seed0/l0'
    """
    return f"{phase}/{run_id}/{column}"


def facts_name(phase: str, run_id: str) -> str:
    """The name of what else is known of an SAE."""
    return f"saes/{phase}/{run_id}"


def facts_and_numbers(table: pd.DataFrame) -> tuple[dict[str, str], dict[str, dict[str, float]]]:
    """A table with a `run_id` as two dicts by it: JSON text of all columns but floats, and the floats.

    >>> facts_and_numbers(pd.DataFrame({"run_id": ["a"], "seed": [0], "l0": [2.5]}))
    ({'a': '{"row_of_table": 0, "run_id": "a", "seed": 0}'}, {'a': {'l0': 2.5}})
    """
    facts, numbers = {}, {}
    floats = [str(c) for c in table if pd.api.types.is_float_dtype(table[c].dtype)]
    for i, record in enumerate(table.to_dict("records")):
        row = {str(k): v for k, v in record.items()}
        name = str(row["run_id"])
        own = {k: v for k, v in row.items() if k not in floats and not pd.isna(v)}
        facts[name] = json.dumps({ROW: i, **own}, default=lambda v: v.item())
        numbers[name] = {c: float(row[c]) for c in floats if not pd.isna(row[c])}
    return facts, numbers


@dataclass
class Log:
    """What one run has logged, last values, and where that was read."""

    name: str
    path: str
    values: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    doubt: str = ""


def log_of(found: Found, key: tuple[str, ...], name: str, path: str) -> Log:
    """The log of a run, which several files may make up."""
    return found.logs.setdefault(key, Log(name, path))


def finish(found: Found) -> None:
    """Make rows of all logs. What a table of the same run holds is left out and said."""
    _without_repeats(found)
    tables = list(found.frames)
    plain: dict[tuple[str, ...], list[Row]] = {}
    for log in found.logs.values():
        rows, before = _our_rows(log), len(found.rows)
        if rows:
            known = _known(tables, log.path)
            new = [row for row in rows if row["run_id"] not in known]
            _say_repeats(found, len(rows) - len(new), log.path)
            found.frames += [(log.path, pd.DataFrame(new))] if new else []
        elif wandb.read_run(log.values, flat(log.config), log.name, found):
            for row in found.rows[before:]:
                row["source"] = log.path
                if log.doubt:
                    row["doubts"] = log.doubt
        elif "l0" in {canonical_name(k) for k in log.values}:
            row = _plain_row(log)
            plain.setdefault((log.path, *sorted(row)), []).append(row)
        else:
            found.broken.append(f"{log.path}, the log of {log.name}: no SAE in it has an L0")
    found.frames += [(path, pd.DataFrame(rows)) for (path, *_), rows in plain.items()]
    found.logs.clear()


def _plain_row(log: Log) -> Row:
    """The row of a log of no tool that is known."""
    values = {k: v for k, v in log.values.items() if not k.startswith("_")}
    doubts = {"doubts": log.doubt} if log.doubt else {}
    return {"run_id": log.name, **flat(log.config), **values, **doubts}


def _without_repeats(found: Found) -> None:
    """Take out what `log.jsonl` says of SAEs that a table beside it has."""
    tables = [(path, frame) for path, frame in found.frames if not _is_history(path, frame)]
    for path, frame in [pair for pair in found.frames if _is_history(*pair)]:
        known = frame["run_id"].isin(_known(tables, path))
        _say_repeats(found, len(set(frame.loc[known, "run_id"])), path)
        if not known.all():
            tables.append((path, frame[~known]))
            if path not in found.said.get(OF_BATCHES, ()):
                found.say(OF_BATCHES, path)
    found.frames = tables


def _is_history(path: str, frame: pd.DataFrame) -> bool:
    """Whether a table is the log.jsonl of a run."""
    return os.path.basename(path).startswith("log") and {"run_id", "gradient_norm", "step"} <= set(frame)


def _known(tables: list[tuple[str, pd.DataFrame]], path: str) -> set[str]:
    """The SAEs of tables in the folders above a log."""
    above = os.path.abspath(path)
    return {
        str(run_id)
        for table, frame in tables
        if "run_id" in frame and above.startswith(os.path.dirname(os.path.abspath(table)) + os.sep)
        for run_id in frame["run_id"]
    }


def _say_repeats(found: Found, count: int, path: str) -> None:
    if count:
        found.say(
            f"{plural(count, 'SAE')} of a log stand in a table of the same run, and are not read twice", path
        )


def _our_rows(log: Log) -> list[Row]:
    """Rows of SAEs that `sae-train` logged: as evaluated, or, before that, as last seen in training."""
    saes: dict[str, dict[str, Row]] = {EVALUATION: {}, TRAINING: {}}
    for name, value in log.values.items():
        if (said := _FACTS.fullmatch(name)) and isinstance(value, str):
            saes[said[1]].setdefault(said[2], {}).update(_facts(value))
        elif (named := _OURS.fullmatch(name)) and (named[1] == EVALUATION or named[3] in KEPT):
            saes[named[1]].setdefault(named[2], {})[named[3]] = value
    rows = []
    for run_id in dict.fromkeys([*saes[EVALUATION], *saes[TRAINING]]):
        row = saes[EVALUATION].get(run_id)
        if row is None:
            row = saes[TRAINING][run_id] | {"doubts": LAST_BATCH}
        if num(row.get("l0")) is not None:
            rows.append({"run_id": run_id, **row})
    rows.sort(key=lambda row: row.get(ROW, 0))
    return [{k: v for k, v in row.items() if k != ROW} for row in rows]


def _facts(text: str) -> Row:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return flat(found) if isinstance(found, Mapping) else {}
