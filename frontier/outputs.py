"""Files on disk: one result as CSV, Parquet, JSON, LaTeX, PDF and PNG under one name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from frontier import figures
from frontier.comparison import BudgetComparisons, Comparisons
from frontier.csv_cells import quoted_frame
from frontier.figures.fits import cells_of
from frontier.fits.frontier_fits import FrontierFits
from frontier.metrics import metrics_table
from frontier.writing import whole_file, write_text

MOST_CELLS = 18
"""Cells that fit on a page, in six rows of three; where there are more, fits and collapse are not drawn."""


def write_frame(frame: pd.DataFrame, stem: Path) -> list[Path]:
    """The frame as CSV, Parquet and JSON lines, under one stem."""
    files = [stem.with_suffix(s) for s in (".csv", ".parquet", ".jsonl")]
    with whole_file(files[0]) as draft:
        quoted_frame(frame).to_csv(draft, index=False)
    with whole_file(files[1]) as draft:
        frame.to_parquet(draft, index=False)
    with whole_file(files[2]) as draft:
        frame.to_json(draft, orient="records", lines=True)
    return files


def write_table(frame: pd.DataFrame, stem: Path, latex: str) -> list[Path]:
    """The frame as CSV, Parquet, JSON lines and LaTeX, under one stem."""
    return [*write_frame(frame, stem), write_text(stem.with_suffix(".tex"), latex)]


def write_fits(fits: FrontierFits, out: Path, name: str = "") -> list[Path]:
    """Table of fits, and figures on both kinds of axes unless there are too many cells (see `undrawn`)."""
    files = write_table(fits.to_frame(), out / f"fits{name}", fits.to_latex())
    if undrawn(fits):
        return files
    for suffix, log in (("", False), ("_log", True)):
        files += write_figure(figures.plot_fits(fits, log_axes=log), out / f"fits{name}{suffix}")
    return files


def undrawn(fits: FrontierFits, what: str = "fits") -> str:
    """Why there is no figure of `what`, in words; empty where there is one."""
    cells = len(cells_of(fits))
    if cells <= MOST_CELLS:
        return ""
    return (
        f"not drawn: {what}, for a page holds {MOST_CELLS} cells, found {cells}; choose some with --where, "
        "or see all with `sae-frontier report`"
    )


def write_comparison(
    found: Comparisons, out: Path, name: str = "", table: pd.DataFrame | None = None
) -> list[Path]:
    """Ratios, fits, verdicts and figures of a comparison; with its table, the frontiers as well."""
    latex = found.ratios.to_latex()
    files = write_table(found.ratios.to_frame(), out / f"ratios{name}", latex)
    files += write_fits(found.fits, out, name)
    files += write_table(found.to_frame(), out / f"verdicts{name}", found.to_latex())
    if len(found.potencies):
        files += write_figure(figures.plot_ratios(found.potencies), out / f"relative_potency{name}")
    if found.shapes and not undrawn(found.fits):
        files += write_figure(figures.plot_collapse(found.shapes), out / f"collapse{name}")
    if table is not None:
        files += write_figure(_frontiers(found, table), out / f"frontier{name}")
    return [*files, found.save(out / f"comparison{name}.json")]


def write_budgets(found: BudgetComparisons, out: Path) -> list[Path]:
    """Potencies by budget, their changes, and the figure of a comparison of budgets."""
    files = write_frame(found.to_frame(), out / "budgets")
    if found.changes:
        changes = pd.concat([c.to_frame() for c in found.changes], ignore_index=True)
        files += write_frame(changes, out / "budget_changes")
    if any(c.is_told for c in found):
        files += write_figure(figures.plot_budget(found), out / "budgets")
    return [*files, found.save(out / "budgets.json")]


def _frontiers(found: Comparisons, table: pd.DataFrame) -> Any:
    """The runs with each family's frontier, on the axis and in the groups of the comparison."""
    y, table = found.y_name, metrics_table(table)
    return figures.plot_frontiers(
        table, by=list(found.group_columns), y="loss_recovered" if y == "performance_hit" else y,
        family=found.family_column, reference=found[0].reference,
        across=[*table.columns],  # whoever compared these rows has been asked
    )  # fmt: skip


def write_figure(axes: Any, stem: Path) -> list[Path]:
    """The figure of one or several axes as PDF and PNG; it is closed afterwards."""
    files = figures.save_figure(axes, stem)
    plt.close(np.ravel(np.asarray(axes, dtype=object))[0].figure)
    return files
