"""Tables of runs: one row per SAE, in the columns that vary or in those of the Gated SAE paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frontier.metrics import metrics_table, values
from frontier.metrics.checks import TableError
from frontier.metrics.columns import COLUMNS
from frontier.metrics.standard_errors import standard_errors
from frontier.pareto import mark_pareto
from frontier.tables.styles import HEADERS, Field, Sheet, filled, header, number_notes
from frontier.wording import listed, nearest

ALWAYS = ("l0",)
"""Columns of runs that are shown even where they are constant."""
LAYOUTS = ("varying", "paper")
MARKS = {"pareto_optimal": "Pareto", "source_pareto_optimal": "Pareto in the source"}
ITALICS = {"pareto_optimal": "Pareto-optimal", "source_pareto_optimal": "Pareto-optimal in the source"}
PAPER_FIRST = ("model", "family", "site", "layer")
PAPER = {
    "sparsity_setting": "λ", "learning_rate": "LR", "l0": "L0", "loss_recovered": "Loss recovered",
    "ce_clean": "CE clean", "ce_sae": "CE SAE", "dictionary_size": "Width", "alive_fraction": "Alive",
    "shrinkage": "γ",
}  # fmt: skip
"""Columns of the Gated SAE paper's tables with their headers; CE ablated stands after CE SAE."""
SMALL = 0.01
"""Coefficients and rates that are all below this are printed with powers of ten."""
PAPER_DECIMALS = {
    "l0": 1, "loss_recovered": 4, "ce_clean": 4, "ce_sae": 4, "ce_zero_ablation": 4, "ce_mean_ablation": 4,
    "alive_fraction": 4, "shrinkage": 3,
}  # fmt: skip


def runs_table(
    table: Any,
    style: str = "text",
    columns: Sequence[str] | None = None,
    *,
    layout: str = "varying",
    italics: str = "",
    also: Sequence[str] = (),
    siunitx: bool = False,
    long: bool = False,
    width: int | None = None,
) -> str:
    """Runs of a metrics table, one row per SAE; why rows are set aside or doubted as numbered notes.

    Source: the layout "paper" is that of Tables 1-8 of the Gated SAE paper (Rajamanoharan et al. 2024,
    arXiv 2404.16014): site, layer, sparsity coefficient, learning rate, L0, loss recovered, CE clean, CE with
    SAE, CE ablated, width, alive, gamma, and the Pareto-optimal rows in italics.

    Parameters
    ----------
    table : anything that `metrics_table` takes
    style : {"text", "markdown", "latex", "html"}
        LaTeX needs the package booktabs.
    columns : column names, derived ones included, optional
        Default: the known columns that vary; those that do not stand in the caption. A value with a standard
        error (`<metric>_se`) is printed with it. On paper choose a dozen at most: more do not fit a page.
    layout : {"varying", "paper"}
        What `columns` are where none are given: those that vary, or those of the Gated SAE paper.
    italics : column of yes and no, optional
        Whose rows stand in italics (in text: are marked in a column of their own). Default: none; in the
        layout "paper" `pareto_optimal`, computed where the table has no such column. `source_pareto_optimal`
        takes a source's own marks.
    also : column names
        Shown beside the default columns, such as a metric that is not known here.
    siunitx, long : bool
        Of LaTeX: numbers for the package siunitx (version 3); a longtable, for tables over several pages.
    width : int, optional
        Of text: columns of the terminal that it must fit; default, no limit.

    Raises
    ------
    ValueError
        Unknown style or layout.
    TableError
        Unknown column.

    Examples
    --------
    >>> import frontier
    >>> runs = [{"l0": 5, "loss_recovered": 0.8}, {"l0": 9, "loss_recovered": 0.9}]
    >>> print(frontier.runs_table(runs, "markdown"))
    |   L0 |   Loss recovered |
    |-----:|-----------------:|
    |    5 |              0.8 |
    |    9 |              0.9 |
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}{nearest(str(layout), LAYOUTS)}")
    table = metrics_table(table)
    paper = layout == "paper"
    if paper and not italics:
        italics = "pareto_optimal"
        table = table if italics in table else mark_pareto(table)
    caption, heads = "", {}
    if columns is None:
        columns, caption = _paper_columns(table) if paper else _usual_columns(table)
        heads = _paper_heads(table) if paper else {}
    fields = [_runs_field(table, c, heads) for c in dict.fromkeys((*columns, *also)) if c != italics]
    said = _remarks(table)
    numbers, notes = number_notes(said)
    marked = _marked(table, italics)
    if any(marked) and style != "text":
        caption = f"{caption} Italics: {ITALICS.get(italics, _in_sentence(italics))}.".strip()
    return Sheet(
        caption, filled([*fields, Field("Notes", numbers)]), tuple(notes), marked,
        MARKS.get(italics, header(italics)), siunitx, long, width,
    ).write(style)  # fmt: skip


def _remarks(table: pd.DataFrame) -> list[list[str]]:
    """Why each row is set aside or doubted."""
    columns = [c for c in ("excluded_because", "doubts") if c in table]
    return [[str(v) for v in row if not pd.isna(v)] for row in table[columns].itertuples(index=False)]


def _marked(table: pd.DataFrame, italics: str) -> tuple[bool, ...]:
    """Rows in italics."""
    if not italics:
        return ()
    if italics not in table:
        raise TableError(f"no column {italics!r}{nearest(italics, list(table.columns))}")
    return tuple(v is True or str(v) == "True" for v in table[italics].tolist())


def _paper_columns(table: pd.DataFrame) -> tuple[list[str], str]:
    """The paper's columns that the table knows, and a caption of what else is the same in all rows."""
    ablated = _ablated(table)
    known = [c for c in (*PAPER_FIRST, *PAPER, ablated) if c in table and table[c].notna().any()]
    varied = [c for c in PAPER_FIRST if c in known and len(set(table[c].astype(str))) > 1]
    shown = [*varied, *(c for c in PAPER if c in known)]
    if ablated in known:
        place = shown.index("ce_sae") + 1 if "ce_sae" in shown else len(shown)
        shown.insert(place, ablated)
    alike = [c for c in (*PAPER_FIRST, "ablation", "protocol") if c in table and c not in varied]
    said = [f"{_in_sentence(c)} {table[c].iloc[0]}" for c in alike if len(set(table[c].astype(str))) == 1]
    text = "; ".join(said)
    return shown, f"{text[0].upper()}{text[1:]}." if text else ""


def _paper_heads(table: pd.DataFrame) -> dict[str, str]:
    """The paper's short headers."""
    names = set(table["sparsity_name"].dropna().astype(str)) if "sparsity_name" in table else set()
    setting = {"lambda": "λ", "k": "k"}.get(names.pop(), "") if len(names) == 1 else ""
    return {**PAPER, _ablated(table): "CE ablated", "sparsity_setting": setting or "Setting"}


def _ablated(table: pd.DataFrame) -> str:
    """The ablated loss that loss recovered is measured against."""
    kinds = set(table["ablation"].dropna().astype(str)) if "ablation" in table else set()
    wanted = f"ce_{kinds.pop()}_ablation" if len(kinds) == 1 else "ce_zero_ablation"
    return wanted if wanted in table or "ce_mean_ablation" not in table else "ce_mean_ablation"


def _usual_columns(table: pd.DataFrame) -> tuple[list[str], str]:
    """Known columns that vary, and a caption of those that do not."""
    known = [c.name for c in COLUMNS if c.name in table and table[c.name].notna().any()]
    if "architecture" in known and "family" in known and (table["architecture"] == table["family"]).all():
        known.remove("architecture")
    alike = [c for c in known if c not in ALWAYS and len(set(table[c].astype(str))) == 1]
    shown = [c for c in known if c not in alike and c != "source"]
    shown += [c for c in ("pareto_optimal", "compared") if c in table and len(set(table[c])) > 1]
    said = [f"{_in_sentence(c)} {_plain(table[c].iloc[0])}" for c in alike]
    if "source" in known and "source" not in alike:
        said.append(f"source {listed(sorted(set(table['source'].dropna().astype(str))), 3)}")
    text = "; ".join(said)
    return shown, f"{text[0].upper()}{text[1:]}." if text else ""


def _in_sentence(column: str) -> str:
    name = header(column)
    return name if name[1:2].isupper() or column in HEADERS else name[0].lower() + name[1:]


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)


def _runs_field(table: pd.DataFrame, column: str, heads: Mapping[str, str]) -> Field:
    name = heads.get(column) or header(column)
    if column in table and pd.api.types.is_bool_dtype(table[column]):
        return Field(name, ["yes" if v is True else "" for v in table[column].tolist()])
    if column in table and not _of_numbers(table[column]):
        return Field(name, ["" if pd.isna(v) else str(v) for v in table[column]])
    found = values(table, column)
    errors = standard_errors(table, column)
    se = np.full(len(found), np.nan) if errors is None else errors
    if heads and column in PAPER_DECIMALS:
        cells = [_number_cell(float(v), float("nan"), PAPER_DECIMALS[column]) for v in found]
        return Field(name, cells, numeric=True, align="right")
    if heads and np.nanmax(np.abs(found), initial=0) < SMALL:
        return Field(name, [_small_cell(float(v)) for v in found], numeric=True, align="right")
    return Field(name, _number_cells(found, se), numeric=True, align="right")


def _of_numbers(column: pd.Series) -> bool:
    """Whether the cells that are not missing are numbers, in columns of Python objects too."""
    kinds = ("integer", "floating", "mixed-integer-float", "decimal")
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.infer_dtype(column, skipna=True) in kinds


def _small_cell(value: float) -> str:
    """A coefficient or a rate as papers print it.

    >>> _small_cell(0.00075), _small_cell(1e-3), _small_cell(float("nan"))
    ('7.5e-4', '1e-3', '')
    """
    if math.isnan(value):
        return ""
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if value else "0"


def _number_cells(found: np.ndarray, se: np.ndarray) -> list[str]:
    """Numbers of one column, with equally many decimals where their size allows it."""
    finite = found[np.isfinite(found)]
    size = np.abs(finite[finite != 0])
    whole = bool((finite == np.round(finite)).all())
    plain = whole or (size.min(initial=1) >= 1e-4 and size.max(initial=1) < 1e5)
    decimals = 0 if whole else max(len(f"{v:.5g}".partition(".")[2]) for v in finite)
    return [
        _number_cell(float(v), float(e), decimals if plain else None) for v, e in zip(found, se, strict=True)
    ]


def _number_cell(value: float, se: float, decimals: int | None) -> str:
    if math.isnan(value):
        return ""
    if math.isfinite(se) and se > 0:
        places = max(0, 1 - math.floor(math.log10(se)))
        return f"{value:.{places}f} ± {se:.{places}f}"
    return f"{value:.4g}" if decimals is None else f"{value:.{decimals}f}"
