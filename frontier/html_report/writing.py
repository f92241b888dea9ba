"""From a table, a file or ready comparisons to the page on disk."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frontier.comparison import Comparisons, compare
from frontier.comparison.screen import CURVES
from frontier.html_report.contents import contents, shown_y
from frontier.html_report.excerpt import excerpt
from frontier.html_report.inputs import input_files
from frontier.html_report.page import page
from frontier.html_report.plots import figures
from frontier.metrics import add_notes, metrics_table, usable
from frontier.metrics.asked import with_better
from frontier.metrics.axes import y_axis
from frontier.readers import read
from frontier.renamed import parameters
from frontier.writing import write_bytes

ONE_NAME = "all SAEs"
"""The family of a table that names none."""


@parameters(curves="with_curves")
def report(
    source: Any,
    path: str | os.PathLike[str] = "report.html",
    reference: str | None = None,
    by: Sequence[str] | str | None = None,
    *,
    table: Any = None,
    family: str = "family",
    title: str = "",
    date: str = "",
    preface: Sequence[str] = (),
    reading: Mapping[str, Any] | None = None,
    with_curves: bool | None = None,
    **options: Any,
) -> Path:
    """The path of one HTML file that tells a comparison: verdicts, doubts, figures, tables, provenance.

    The file needs no network and no other file. The same input gives the same bytes, unless `date` is given.
    Where there is nothing to compare (one family), the page holds its frontier and fits. Of more than 10,000
    SAEs, 1,000 cells or 2,000 comparisons it shows a part, and says so; the numbers rest on all.

    Parameters
    ----------
    source : path, table, or Comparisons
        What `frontier.read` takes, or the result of `frontier.compare`.
    path : path of the page to write (.html); missing folders are made
    reference, by, family, options : as in `compare`
        Not with Comparisons, which were made with theirs.
    table : table, optional
        With Comparisons: the table they were made from, which they do not keep; without it the page shows the
        fitted SAEs only.
    title : str, optional
        Default: which families are compared with which.
    date : str, optional
        Day of making, printed as given.
    preface : sequence of str, optional
        Paragraphs above the answer: what a reader must know before it.
    reading : dict, optional
        Options of `frontier.read`.
    with_curves : bool, optional
        Whether curves (k, n, ...) are fitted for the page, on which no verdict rests; default up to
        60 comparisons.

    Raises
    ------
    TableError, ValueError
        As `read` and `compare` do; also when options are given beside Comparisons, or the path has the ending
        of another kind of file.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> import tempfile
    >>> frontier.report(table, f"{tempfile.mkdtemp()}/page.html", "baseline").name
    'page.html'
    """
    path = page_path(path)
    if isinstance(source, Comparisons):
        if reference is not None or by is not None or options:
            raise ValueError("these comparisons are made; reference, by and options belong to `compare`")
        found = source
        rows = fitted_rows(found) if table is None else read(table)
        files = input_files(None, rows)
    else:
        if table is not None:
            raise ValueError("`table` goes with Comparisons; here the first argument is the table")
        rows = with_family(read(source, **(reading or {})), family)
        rows = with_better(rows, options.pop("better", None), options.get("y"))
        options |= {"y": y_axis(rows, options["y"])} if options.get("y") else {}
        found = compare(rows, reference or only_family(rows, family), by, family=family, **options)
        files = input_files(source, rows)
    curves = len(found) <= CURVES if with_curves is None else with_curves
    y = shown_y(found, rows, options.get("y"))
    part = excerpt(found, rows, y)
    said = contents(
        found, rows, files, title=title, date=date, preface=preface, y=y, curves=curves, part=part
    )
    made = page(said, figures(found, rows, y, curves=curves, part=part)).encode(errors="replace")
    return write_bytes(path, made)


def page_path(path: str | os.PathLike[str]) -> Path:
    """Where a page is written; refused with the ending of another kind of file, which it would not be.

    >>> page_path("found/rep.pdf")
    Traceback (most recent call last):
    ValueError: a report is an HTML page, which no .pdf is; name it rep.html
    """
    found = Path(path).expanduser()
    if re.fullmatch(r"\.[A-Za-z]{2,5}", found.suffix) and found.suffix.lower() not in (".html", ".htm"):
        right = found.with_suffix(".html").name
        raise ValueError(f"a report is an HTML page, which no {found.suffix} is; name it {right}")
    return found


def with_family(table: pd.DataFrame, family: str) -> pd.DataFrame:
    """The table itself, or with one family for all of its rows where it names none."""
    if family != "family" or "family" in table or "architecture" in table:
        return table
    named = metrics_table(table.assign(family=ONE_NAME))
    return add_notes(named, "no column names an architecture or a family; all rows are taken as one family")


def only_family(table: pd.DataFrame, family: str) -> str | None:
    """The family's name where there is just one, so that a page without comparisons can be made."""
    names = list(usable(table)[family].dropna().unique()) if family in table else []
    return str(names[0]) if len(names) == 1 else None


def fitted_rows(found: Comparisons) -> pd.DataFrame:
    """The SAEs that were fitted, as a table: all that comparisons keep of theirs."""
    parts = []
    for f in found.fits:
        l0 = f.x if f.x_name == "l0" else 1 / f.x if f.x_name == "sparsity" else None
        columns: dict[str, Any] = {**f.group, f.x_name: f.x, f.y_name: f.y, "run_id": list(f.rows)}
        if l0 is None:
            raise ValueError(f"comparisons over {f.x_name} do not keep L0; give the table with table=...")
        columns["l0"] = l0
        if f.y_name == "performance_hit":
            columns["loss_recovered"] = 1 - f.y
        parts.append(pd.DataFrame({c: np.broadcast_to(v, len(f.x)) for c, v in columns.items()}))
    if not parts:
        raise ValueError("these comparisons hold no fit; give the table with table=...")
    frame = pd.concat(parts, ignore_index=True).drop(columns=["sparsity", "performance_hit"], errors="ignore")
    note = "made from comparisons alone: the table shows the fitted SAEs, not those that were left out"
    return add_notes(metrics_table(frame), note)
