"""Readers: files and folders of any tool in, the metrics table out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from frontier.metrics import (
    NOTES,
    UNUSED,
    add_notes,
    give_back,
    metrics_table,
    per_cent,
    require_metrics,
    set_aside_remark,
)
from frontier.metrics.asked import renamed_as_asked, rows_where, with_better
from frontier.metrics.checks import TableError, add_text
from frontier.metrics.columns import FIDELITY
from frontier.metrics.finished import OWN, UNFINISHED, unfinished_runs
from frontier.metrics.frames import to_pandas
from frontier.metrics.number_format import decimal_given
from frontier.metrics.text_columns import numbers_from_text
from frontier.places import address_of
from frontier.readers import columnar
from frontier.readers.addresses import read_address
from frontier.readers.beside import add_beside
from frontier.readers.folders import all_is_kept, scan
from frontier.readers.found import Found, Options, Origin, printable, with_places
from frontier.readers.logged import finish
from frontier.readers.provenance import PLAIN, PROVENANCE, by_origin, provenance, write
from frontier.readers.recognise import KINDS, read_file
from frontier.readers.tables import SUFFIXES, check_path
from frontier.readers.told_by_files import told_by_files
from frontier.records import recorded


@recorded
def read(
    source: Any,
    *,
    backend: str = "pandas",
    decimal: str | None = None,
    thousands: str | None = None,
    rows_at: str | None = None,
    columns: Mapping[str, str] | None = None,
    where: str | None = None,
    better: Mapping[str, str] | str | None = None,
    checkpoints: str = "last",
) -> Any:
    """The metrics table behind a file, a folder or a data frame.

    Parameters
    ----------
    source : path, or pandas/polars frame, or list of records
        A file or a folder (scanned to the bottom) of SAELens, SAEBench, dictionary_learning, sparsify,
        OpenMOSS or Weights & Biases, or plain tables: CSV, TSV, Markdown, Excel (needs openpyxl), Parquet,
        JSON, JSON lines; compressed (.gz, .bz2, .xz, .zst, .zip) or not. Or an address: hf://OWNER/NAME,
        hf://datasets/OWNER/NAME/path, s3://, gs://, https:// (one file), wandb://entity/project,
        trackio://project, mlflow://mlruns (docs/where_results_live.md).
    backend : {"pandas", "polars"}
        The kind of frame to give back.
    decimal, thousands : str, optional
        The marks in numbers that are text, where the file does not show which of '.' and ',' is which.
    rows_at : str, optional
        Where the rows are, where there are several places: a list inside JSON ('results.per_sae'), a sheet of
        a workbook, a file in a ZIP archive.
    columns : dict of a column's name in the source to its name here, optional
        E.g. {"active": "l0", "recipe": "family"}; a column that is to play no part is 'ignored'.
    where : str, optional
        Which rows to keep, as a pandas query of plain comparisons: "protocol == 'a' and layer in [3, 5]".
    better : dict of column to "higher" or "lower", or one of the words
        Which side of a metric that is not known here is better; a word alone where only one is unknown.
    checkpoints : {"last", "all"}
        Of an SAE that stands there at several steps, the last is taken and the others are set aside; or all
        are taken.

    Returns
    -------
    DataFrame
        One row per SAE under this project's names; `frontier.notes(table)` lists what was recognised, every
        mapping, change and row set aside, `frontier.readers.provenance(table)` every column's definition.

    Raises
    ------
    TableError
        When a file is missing or broken, when nothing in a folder can be read, when a mark in a number may be
        decimal or not, or when there is no L0 or no fidelity column.

    Examples
    --------
    >>> import frontier
    >>> frontier.read([{"L0": 5, "ce_loss_score": 0.8}])["loss_recovered"].tolist()
    [0.8]
    """
    if checkpoints not in ("last", "all"):
        raise ValueError(f'checkpoints must be "last" or "all", found {checkpoints!r}')
    every = checkpoints == "all"
    options = Options(
        decimal_given(decimal, thousands), rows_at, every, columns or {}, better=better, where=where
    )
    if address := address_of(source):
        found = Found(options)
        origin = read_address(address, found)
        table = _assembled(origin, found)
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        origin = str(path)
        table = _from_path(path, options)
    else:
        origin = f"this {type(source).__name__}"
        source, left = columnar.collected(source, options)
        frame, said = numbers_from_text(options.named(to_pandas(source)), options.decimal)
        table = add_notes(metrics_table(options.marked(frame)), *left, *said)
        if PROVENANCE not in table.attrs:
            write(table, _plain_origin(table))
    table = with_better(_mapped_late(table, options), better)
    require_metrics(table, origin)
    table, kept = rows_where(table, where)
    if kept:
        table.attrs[NOTES] = [note for note in table.attrs[NOTES] if UNFINISHED not in note]
        kept += unfinished_runs(table)
    table = add_notes(table, *kept)
    remark = set_aside_remark(table)
    return give_back(add_notes(table, remark) if remark else table, backend)


def _mapped_late(table: pd.DataFrame, options: Options) -> pd.DataFrame:
    """The table with columns renamed as asked that no file had, but that a tool's reader carries along."""
    left = {theirs: ours for theirs, ours in options.columns.items() if theirs not in options.mapped}
    if not left:
        return table
    renamed = metrics_table(options.marked(renamed_as_asked(table, left)))
    return add_notes(renamed, *table.attrs[NOTES])


def _from_path(path: Path, options: Options) -> pd.DataFrame:
    folder = check_path(path, KINDS)
    found = Found(options)
    if folder:
        with all_is_kept():
            scan(str(path), found)
    kind = "" if folder else read_file(str(path), found)
    finish(found)
    if kind == PLAIN:
        table = add_notes(_named(str(path), options.marked(found.frames[0][1])), *found.said)
        write(table, _plain_origin(table))
        return table
    if kind == "configuration" and not found.rows:
        raise TableError(f"{path} is a configuration; no metrics are in it")
    if kind:
        found.recognised.append(kind)
        found.say_left_out("broken parts")
    return _assembled(str(path), found)


def _assembled(origin: str, found: Found) -> pd.DataFrame:
    """One table of all rows and plain tables found, with their notes and provenance."""
    found.join()
    unused = add_beside(found)
    if not found.rows and not found.frames:
        raise TableError(f"{origin}: no rows; {'; '.join(found.remarks())}")
    said: list[str] = []
    parts: list[pd.DataFrame] = []
    origins: dict[Origin, dict[str, int]] = {}
    of_files: dict[str, list[str]] = {}
    if found.rows:
        frame = _columns(found)
        origins = by_origin(frame, found.origins)
        parts.append(_flagged(_named(origin, found.options.marked(_use_what_there_is(frame)))))
        said += parts[0].attrs[NOTES]
    several = len(found.frames) + bool(found.rows) > 1
    for path, frame in found.frames:
        name, part = printable(path), _named(path, found.options.marked(frame))
        if "source" not in part:
            part["source"] = name
        for key, columns in _plain_origin(part).items():
            origins[key] = {c: n + origins.get(key, {}).get(c, 0) for c, n in columns.items()}
        for note in part.attrs[NOTES]:
            of_files.setdefault(note, []).append(name)
        parts.append(part)
    if several:  # what is said of all rows together
        of_files = {n: names for n, names in of_files.items() if OWN not in n and UNFINISHED not in n}
    said += [with_places(note, names) if several else note for note, names in of_files.items()]
    said += told_by_files(parts)
    table = parts[0] if len(parts) == 1 else _together(origin, parts, found.options)
    said += [n for n in table.attrs[NOTES] if n not in said]
    table.attrs |= {NOTES: [], UNUSED: unused}
    write(table, origins)
    return add_notes(table, *found.remarks(), *said)


def _columns(found: Found) -> pd.DataFrame:
    """The rows as a frame; columns that no row knows are left out."""
    shapes = dict.fromkeys(map(tuple, found.rows))
    if len(shapes) == 1:  # as in a folder of one tool; cell by cell is slow
        cells = zip(*map(dict.values, found.rows), strict=True)
        columns = dict(zip(next(iter(shapes)), map(list, cells), strict=True))
    else:
        names = dict.fromkeys(name for shape in shapes for name in shape)
        columns = {name: [row.get(name) for row in found.rows] for name in names}
    for name in columns.keys() & {"source", "run_id"}:
        columns[name] = [printable(cell) if isinstance(cell, str) else cell for cell in columns[name]]
    return pd.DataFrame({n: cells for n, cells in columns.items() if any(c is not None for c in cells)})


def _use_what_there_is(frame: pd.DataFrame) -> pd.DataFrame:
    """Where no other fidelity is known, an mse of unknown scale stands for it: its ratios have a meaning."""
    if any(name in frame for name in FIDELITY):
        return frame
    for name in ("mse_of_scaled_activations", "mse_of_unknown_scale"):
        if name in frame:
            frame = frame.rename(columns={name: "mse"})
            add_text(
                frame, "doubts", frame["mse"].notna().to_numpy(), "scale of mse unknown: for ratios only"
            )
            break
    return frame


def _flagged(table: pd.DataFrame) -> pd.DataFrame:
    """Values that are real but odd: kept, and said."""
    if {"l0", "sparsity_setting", "sparsity_name", "architecture"} <= set(table.columns):
        batch = table["architecture"].isin(["batch_topk", "matryoshka_batch_topk"]) & (
            table["sparsity_name"] == "k"
        )
        k, l0 = table["sparsity_setting"].to_numpy(dtype=float), table["l0"].to_numpy(dtype=float)
        far = batch.to_numpy(dtype=bool) & (abs(l0 - k) > 0.25 * k)
        if far.any():
            add_text(table, "doubts", far, "l0 of a BatchTopK SAE is far from k")
            add_notes(table, f"l0 of BatchTopK SAEs is far from k in {int(far.sum())} rows: the threshold of "
                             "inference is not k")  # fmt: skip
    return table


def _together(origin: str, parts: list[pd.DataFrame], options: Options) -> pd.DataFrame:
    """Checked tables one below the other."""
    bare = [part.dropna(axis="columns", how="all") for part in parts]
    for part in bare:
        part.attrs = {}
    table = pd.concat(bare, ignore_index=True)
    table.attrs = {per_cent.SETTLED: True}
    return _named(origin, options.marked(table))


def _plain_origin(table: pd.DataFrame) -> dict[Origin, dict[str, int]]:
    return {Origin(PLAIN, "", ()): {str(c): int(n) for c, n in table.notna().sum().items() if n}}


def _named(origin: str, frame: Any) -> pd.DataFrame:
    """The metrics table of a file's frame; an error names the file."""
    try:
        return metrics_table(frame)
    except TableError as error:
        raise TableError(f"{origin}: {error}") from error


__all__ = ["SUFFIXES", "TableError", "provenance", "read"]
