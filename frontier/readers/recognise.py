"""Which tool a file is of: by what stands in it, not by its name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import frontier.readers.columnar as columnar
import frontier.readers.compressed as compressed
import frontier.readers.dictionary_learning as dictionary_learning
import frontier.readers.openmoss as openmoss
import frontier.readers.sae_bench as sae_bench
import frontier.readers.sae_lens as sae_lens
import frontier.readers.sparsify as sparsify
import frontier.readers.tables as tables
import frontier.readers.tensorboard as tensorboard
import frontier.readers.wandb as wandb
import frontier.readers.wandb_files as wandb_files
from frontier.metrics.cells import different_cells
from frontier.metrics.checks import TableError
from frontier.metrics.frames import from_records
from frontier.metrics.names import canonical_name
from frontier.metrics.text_columns import numbers_from_text
from frontier.readers.configs import CLASSES, of_class
from frontier.readers.found import Found, flat, printable
from frontier.readers.nested import rows_in
from frontier.readers.opening import bounded, decode, json_content, json_lines, yaml_content
from frontier.readers.provenance import PLAIN
from frontier.wording import plural

YAML = (".yaml", ".yml")
JSON_LINES = (".jsonl", ".ndjson")
PLAIN_KINDS = (*tables.SUFFIXES, *YAML)
_CLASS = re.compile(r"\w\.\w|^\w*(?:Trainer|SAE|Auto[Ee]ncoder)\w*$")
KINDS = (*PLAIN_KINDS, *(kind + packed for kind in PLAIN_KINDS for packed in compressed.SUFFIXES), ".zip",
         wandb_files.SUFFIX)  # fmt: skip
"""Endings of files that are looked into."""


def is_looked_into(name: str) -> bool:
    """Whether a file's name is one of a kind that is read."""
    return name.lower().endswith(KINDS) or tensorboard.is_events(name)


_ReadRecords = Callable[[list[dict[str, Any]], str, Found], list[dict[str, Any]] | None]
FLAT: tuple[tuple[Callable[[list[str]], bool], _ReadRecords, str], ...] = (
    (wandb.is_runs_table, wandb.read_runs_table, "Weights & Biases runs table"),
    (wandb.is_api_export, wandb.read_api_export, "Weights & Biases public-API export"),
    (sae_lens.is_csv, sae_lens.read_csv, "SAELens CSV"),
    (openmoss.is_table, openmoss.read_table, "OpenMOSS metrics"),
)
"""Tables of known tools: by their header, how they are read, and what they are called. What a reader returns
are rows of no tool that is known, under their own names."""


def read_file(path: str, found: Found) -> str:
    """One file into `found`; the kind that it was recognised as.

    Raises
    ------
    TableError
        One line that names the file, when it is broken or holds no table.
    """
    suffix = os.path.splitext(path)[1].lower()
    try:
        if suffix == wandb_files.SUFFIX:
            return wandb_files.read_log(path, found)
        if tensorboard.is_events(os.path.basename(path)):
            suffix = f".{tensorboard.KIND}"
            return tensorboard.read_events(path, found)
        if suffix in compressed.SUFFIXES:
            suffix, content = compressed.unpacked(path, suffix, PLAIN_KINDS, found.options.rows_at)
        elif suffix in columnar.SUFFIXES:
            return _plain(*columnar.read(path, found.options), path, found)
        else:
            content = bounded(path)
        if suffix == ".json":
            return _json(json_content(content), path, found)
        if suffix in JSON_LINES:
            return _json(json_lines(decode(content)), path, found)
        if suffix in YAML:
            return _yaml(yaml_content(content), path, found)
        return _plain(*tables.read_table(suffix, content, found.options), path, found)
    except Exception as error:  # any bytes may stand in a file, and the parsers raise all sorts
        raise tables.cannot_read(printable(path), suffix, error) from error


def _plain(frame: pd.DataFrame, said: list[str], path: str, found: Found) -> str:
    for remark in said:
        found.say(remark, path)
    return _frame(frame, path, found)


def _json(content: Any, path: str, found: Found) -> str:
    if isinstance(content, dict):
        kind = _json_dict(content, path, found)
        if kind:
            return kind
    if found.options.rows_at is None and (kind := _results(content, path, found)):
        return kind
    if (
        isinstance(content, list)
        and content
        and all(isinstance(r, dict) and wandb.is_api_record(r) for r in content)
    ):
        return _frame(pd.DataFrame([{"name": None, **record} for record in content]), path, found)
    return _frame(_records_of(content, found), path, found)


def _results(content: Any, path: str, found: Found) -> str:
    """The kind of a list or dict of a tool's results, at the top or under one name; empty when it is none."""
    if isinstance(content, dict):
        inner = [value for value in content.values() if isinstance(value, (dict, list))]
        if len(inner) == 1:
            content = inner[0]
    named = dict(enumerate(content)) if isinstance(content, list) else content
    if not isinstance(named, dict) or not all(isinstance(record, dict) for record in named.values()):
        return ""
    for is_result, read_results, kind in (
        (sae_lens.is_result, sae_lens.read_results, "SAELens results"),
        (sae_bench.is_result, sae_bench.read_results, "SAEBench results"),
        (dictionary_learning.is_full_result, dictionary_learning.read_results, "dictionary_learning results"),
        (openmoss.is_result, openmoss.read_results, "OpenMOSS metrics"),
    ):
        if named and all(map(is_result, named.values())):
            read_results(named, path, found)
            return kind
    return ""


def _records_of(content: Any, found: Found) -> pd.DataFrame:
    """A table of the shapes that everybody writes, or of the rows inside."""
    try:
        table, problem = from_records(content), None
    except TableError as error:
        table, problem = pd.DataFrame(), error
    l0 = next((table[c] for c in table.columns if canonical_name(str(c)) == "l0"), None)
    if found.options.rows_at is None and l0 is not None and not any(isinstance(cell, list) for cell in l0):
        return table
    rows = rows_in(content, found.options.rows_at)
    if rows is not None:
        return from_records(rows)
    if problem is not None:
        raise problem
    return table


def _json_dict(content: dict[str, Any], path: str, found: Found) -> str:
    """The kind of a tool's JSON; empty when it is of none."""
    name = os.path.basename(path)
    if sae_bench.is_result(content):
        sae_bench.read_result(content, path, found)
        kind = content.get("eval_type_id", "core")
        return f"SAEBench {str(kind)[:40]} result"
    if sae_lens.is_result(content):
        sae_lens.read_results({"": content}, path, found)
        return "SAELens results"
    if dictionary_learning.is_sweep(content):
        dictionary_learning.read_sweep(content, path, found)
        return "dictionary_learning sweep of 2024"
    if dictionary_learning.is_result(content):
        dictionary_learning.read_result(content, path, found)
        return "dictionary_learning result"
    if sparsify.is_config(content) and name == "cfg.json":
        sparsify.read_config(content, path, found)
        return "sparsify settings"
    if openmoss.is_result(content):
        openmoss.read_results({"": content}, path, found)
        return "OpenMOSS metrics"
    run = os.path.basename(os.path.dirname(os.path.dirname(path))) or path
    if wandb.is_summary(content) and wandb.read_run(flat(content), {}, run, found):
        return "Weights & Biases run summary"
    return "configuration" if name in ("cfg.json", "config.json") else ""


def _yaml(content: Any, path: str, found: Found) -> str:
    if isinstance(content, list) and content and all(isinstance(record, dict) for record in content):
        return _frame(_records_of(content, found), path, found)
    if not sae_lens.is_pretrained(content):
        raise TableError(
            "YAML is read as SAELens' pretrained_saes.yaml only, a dict of releases with saes; or as a list "
            "of SAEs"
        )
    sae_lens.read_pretrained(content, path, found)
    return "SAELens pretrained_saes.yaml"


def _frame(frame: pd.DataFrame, path: str, found: Found) -> str:
    names = [str(name) for name in frame.columns]
    if wandb.is_chart(names):
        raise TableError(
            "it is a Weights & Biases chart, one metric over steps: download the runs table instead"
        )
    if wandb.is_history(names) and not found.options.every_checkpoint:
        frame = _last_logged(frame, path, found)
    of_tool = next(((read, kind) for is_of_tool, read, kind in FLAT if is_of_tool(names)), None)
    read_records, kind = of_tool or (None, PLAIN)
    if read_records is not None:
        frame = pd.DataFrame(read_records(_records(_numbers(frame, path, found)), path, found) or [])
    if len(frame) or read_records is None:
        frame = _numbers(found.options.named(frame), path, found)
        found.frames.append((path, _architectures(frame, path, found)))
    return kind


def _numbers(frame: pd.DataFrame, path: str, found: Found) -> pd.DataFrame:
    """The frame with its text read as numbers, and the marks that it was read by said."""
    frame, said = numbers_from_text(frame, found.options.decimal)
    for remark in said:
        found.say(remark, path)
    return frame


def _last_logged(frame: pd.DataFrame, path: str, found: Found) -> pd.DataFrame:
    """Of a history of known tools' metrics, the last value of each: one row per run."""
    runs = next((frame[c] for c in ("Name", "name", "run_name", "run", "run_id", "id") if c in frame), None)
    last = frame.groupby(0 * np.arange(len(frame)) if runs is None else runs, sort=False).last()
    if len(last) < len(frame):
        found.say(f"a history of {plural(len(frame), 'step')}: the last logged values are taken", path)
    return last.reset_index(drop=runs is None or runs.name in last)


def _architectures(frame: pd.DataFrame, path: str, found: Found) -> pd.DataFrame:
    """A plain table in which an architecture given as a class is one of the usual names."""
    names = [c for c in frame.columns if canonical_name(str(c)) == "architecture"]
    last = {str(c).rpartition(".")[2]: c for c in frame.columns}
    classes = [last[c] for c in ("trainer_class", "dict_class") if c in last]
    if not names and classes:
        found.say(f"{classes[0]!r} read as architecture", path)
        frame, names = frame.rename(columns={classes[0]: "architecture"}), ["architecture"]
    for name in names:
        texts = {cell for cell in different_cells(frame[name]) if isinstance(cell, str)}
        known = {t: of_class(t) for t in texts if t.lower() in CLASSES or _CLASS.search(t)}
        known = {t: kind for t, kind in known.items() if kind and kind != t}
        if known:
            found.say(f"{name}: {'; '.join(f'{t!r} is {kind}' for t, kind in sorted(known.items()))}", path)
            frame = frame.assign(**{name: [known.get(cell, cell) for cell in frame[name]]})
    return frame


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
