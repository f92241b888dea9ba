"""Which tool a file is of: by what stands in it, not by its name. Folders are scanned to the bottom."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd

import frontier.readers.compressed as compressed
import frontier.readers.dictionary_learning as dictionary_learning
import frontier.readers.openmoss as openmoss
import frontier.readers.sae_bench as sae_bench
import frontier.readers.sae_lens as sae_lens
import frontier.readers.sparsify as sparsify
import frontier.readers.tables as tables
import frontier.readers.wandb as wandb
from frontier.metrics import metrics_table, require_metrics
from frontier.metrics.cells import numbers_from_text
from frontier.metrics.checks import TableError
from frontier.metrics.columns import canonical_name
from frontier.metrics.frames import from_records
from frontier.readers.found import RECOGNISED, Found, flat
from frontier.readers.nested import rows_in
from frontier.readers.opening import json_content, yaml_content
from frontier.wording import listed

YAML = (".yaml", ".yml")
PLAIN_KINDS = (*tables.SUFFIXES, *YAML)
KINDS = (*PLAIN_KINDS, *(kind + packed for kind in PLAIN_KINDS for packed in compressed.SUFFIXES), ".zip")
"""Endings of files that are looked into."""

MANY = 200
"""From so many files on a progress bar is shown, on a terminal."""


def read_file(path: str, found: Found) -> str:
    """One file into `found`; the kind that it was recognised as.

    Raises
    ------
    TableError
        One line that names the file, when it is broken or holds no table.
    """
    suffix = os.path.splitext(path)[1].lower()
    try:
        suffix, content = compressed.unpacked(path, PLAIN_KINDS, found.options.rows_at)
        if suffix == ".json":
            return _json(json_content(content), path, found)
        if suffix in YAML:
            return _yaml(yaml_content(content), path, found)
        frame, said = tables.read_table(suffix, content, found.options)
        for remark in said:
            found.say(remark, path)
        return _frame(frame, path, found)
    except Exception as error:  # any bytes may stand in a file, and the parsers raise all sorts
        raise tables.cannot_read(path, suffix, error) from error


def _json(content: Any, path: str, found: Found) -> str:
    if isinstance(content, dict):
        kind = _json_dict(content, path, found)
        if kind:
            return kind
    elif isinstance(content, list) and content and isinstance(content[0], dict):
        if sae_lens.is_result(content[0]):
            sae_lens.read_results(content, path, found)
            return "SAELens results"
        if openmoss.is_log(content[0]):
            openmoss.read_records(content, path, found)
            return "OpenMOSS metrics"
    frame, said = numbers_from_text(_records_of(content, found), found.options.decimal)
    for remark in said:
        found.say(remark, path)
    found.frames.append((path, frame))
    return "plain table"


def _records_of(content: Any, found: Found) -> pd.DataFrame:
    """A table of the shapes that everybody writes, or of the rows inside."""
    try:
        table, problem = from_records(content), None
    except TableError as error:
        table, problem = pd.DataFrame(), error
    if found.options.rows_at is None and "l0" in {canonical_name(str(c)) for c in table.columns}:
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
        sae_lens.read_results([content], path, found)
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
    if openmoss.is_log(content):
        openmoss.read_records([content], path, found)
        return "OpenMOSS metrics"
    run = os.path.basename(os.path.dirname(os.path.dirname(path))) or path
    if wandb.is_summary(content) and wandb.read_run(flat(content), {}, run, found):
        return "Weights & Biases run summary"
    return "configuration" if name in ("cfg.json", "config.json") else ""


def _yaml(content: Any, path: str, found: Found) -> str:
    if not sae_lens.is_pretrained(content):
        raise TableError("YAML is read as SAELens' pretrained_saes.yaml only, a dict of releases with saes")
    sae_lens.read_pretrained(content, path, found)
    return "SAELens pretrained_saes.yaml"


def _frame(frame: pd.DataFrame, path: str, found: Found) -> str:
    names = [str(name) for name in frame.columns]
    reader, kind = None, "plain table"
    if wandb.is_runs_table(names):
        reader, kind = wandb.read_runs_table, "Weights & Biases runs table"
    elif wandb.is_api_export(names):
        reader, kind = wandb.read_api_export, "Weights & Biases public-API export"
    elif sae_lens.is_csv(names):
        sae_lens.read_csv(_records(frame), path, found)
        return "SAELens CSV"
    elif openmoss.is_log(dict.fromkeys(names)):
        openmoss.read_records(_records(frame), path, found)
        return "OpenMOSS metrics"
    if reader is not None:
        left = reader(_records(frame), path, found)
        frame = pd.DataFrame(left)
    if len(frame) or not reader:
        found.frames.append((path, frame))
    return kind


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def scan(folder: str, found: Found) -> None:
    """Every result file in a folder and the folders in it into `found`; broken ones are named in a remark.

    Raises
    ------
    TableError
        When none can be read.
    """
    kinds = Counter[str]()
    files = list(_files(folder))
    for path in _tracked(files):
        frames, rows = len(found.frames), len(found.rows)
        try:
            kind = read_file(path, found)
            if len(found.frames) > frames:
                _keep_tables_of_metrics(found, frames)
        except (TableError, OSError) as error:
            found.broken.append(_short(str(error), path, folder))
            found.forget(rows, frames)
            continue
        if (
            len(found.rows) == rows
            and len(found.frames) == frames
            and kind in ("plain table", "configuration")
        ):
            found.ignored.append(os.path.relpath(path, folder))
        else:
            kinds[kind] += 1
    _say_files(found, kinds)
    if not found.rows and not found.frames:
        reason = f"; {found.broken[0]}" if found.broken else ""
        raise TableError(
            f"{folder}: no SAE metrics in {len(files)} files ending in {listed(KINDS, 12)} "
            f"({len(found.broken)} broken, {len(found.ignored)} of other content){reason}"
        )


def _keep_tables_of_metrics(found: Found, first: int) -> None:
    """Check each plain table of a folder by itself: scale and names may differ from file to file."""
    for i in range(len(found.frames) - 1, first - 1, -1):
        path, frame = found.frames[i]
        table = metrics_table(frame)
        try:
            require_metrics(table, path)
        except TableError:
            del found.frames[i]
        else:
            found.frames[i] = (path, table)


def _files(folder: str) -> Iterator[str]:
    """Files of known endings in a stable order; a config beside a result is read with it."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    beside = any(entry.name == "eval_results.json" for entry in entries)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.startswith((".", "__")):
                yield from _files(entry.path)
        elif entry.name.lower().endswith(KINDS) and not (beside and entry.name == "config.json"):
            if entry.is_file():  # no pipes and devices, no links to nowhere
                yield entry.path


def _tracked(files: list[str]) -> Any:
    """The files themselves, under a progress bar where there are many and somebody looks."""
    if len(files) < MANY or not sys.stderr.isatty():
        return files
    from rich.console import Console
    from rich.progress import track

    return track(files, "Reading", console=Console(stderr=True), transient=True)


def _short(message: str, path: str, folder: str) -> str:
    return message.replace(path, os.path.relpath(path, folder), 1)[:300]


def _say_files(found: Found, kinds: Counter[str]) -> None:
    if kinds:
        found.say(RECOGNISED + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    if found.broken:
        found.say(f"{len(found.broken)} broken files left out: {'; '.join(found.broken[:5])}"
                  + (f" and {len(found.broken) - 5} more" if len(found.broken) > 5 else ""))  # fmt: skip
    if found.ignored:
        found.say(f"{len(found.ignored)} files without SAE metrics left out: {listed(found.ignored, 3)}")
