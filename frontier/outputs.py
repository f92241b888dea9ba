"""Files on disk: one result as CSV, Parquet, JSON, LaTeX, PDF and PNG under one name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from frontier import figures
from frontier.comparison.results import Comparisons
from frontier.fits.curve_fit import FrontierFits


def write_frame(frame: pd.DataFrame, stem: Path) -> list[Path]:
    """The frame as CSV, Parquet and JSON lines, under one stem."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [stem.with_suffix(s) for s in (".csv", ".parquet", ".jsonl")]
    frame.to_csv(files[0], index=False)
    frame.to_parquet(files[1], index=False)
    frame.to_json(files[2], orient="records", lines=True)
    return files


def write_table(frame: pd.DataFrame, stem: Path, latex: str) -> list[Path]:
    """The frame as CSV, Parquet, JSON lines and LaTeX, under one stem."""
    files = write_frame(frame, stem)
    stem.with_suffix(".tex").write_text(latex, encoding="utf-8")
    return [*files, stem.with_suffix(".tex")]


def write_fits(fits: FrontierFits, out: Path, name: str = "") -> list[Path]:
    """Table and figures of fits, on both kinds of axes."""
    files = write_table(fits.to_frame(), out / f"fits{name}", fits.to_latex())
    for suffix, log in (("", False), ("_log", True)):
        files += write_figure(figures.plot_fits(fits, log_axes=log), out / f"fits{name}{suffix}")
    return files


def write_comparison(found: Comparisons, out: Path, name: str = "") -> list[Path]:
    """Ratios, fits, verdicts and figures of a comparison."""
    latex = found.ratios.to_latex()
    files = write_table(found.ratios.to_frame(), out / f"ratios{name}", latex)
    files += write_fits(found.fits, out, name)
    found.to_frame().to_csv(out / f"verdicts{name}.csv", index=False)
    return [*files, out / f"verdicts{name}.csv", found.save(out / f"comparison{name}.json")]


def write_figure(axes: Any, stem: Path) -> list[Path]:
    """The figure of one or several axes as PDF and PNG; it is closed afterwards."""
    files = figures.save_figure(axes, stem)
    plt.close(np.ravel(np.asarray(axes, dtype=object))[0].figure)
    return files
