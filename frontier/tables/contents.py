"""Tables for papers, notes and pages: fits, ratios and runs as text, Markdown, LaTeX (booktabs) and HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frontier._format import interval_cell, listed, number, p_value_cell
from frontier.fits.curve_fit import CurveFit, FrontierFits, GroupFailure
from frontier.metrics import metrics_table, values
from frontier.metrics.columns import COLUMNS
from frontier.metrics.frames import to_pandas
from frontier.tables.styles import HEADERS, Field, Sheet, header, number_notes

RATIO_COLUMNS = (
    "family", "reference", "quantity", "at", "ratio", "ratio_low", "ratio_high", "p_value", "p_adjusted",
    "better_when", "df", "errors", "method", "doubts",
)  # fmt: skip
"""Columns of a ratio table that name no group."""
WORDS = {"relative_potency": "relative potency", "hit_ratio": "hit ratio"}
ALWAYS = ("l0",)
"""Columns of runs that are shown even where they are constant."""


def fits_table(fits: FrontierFits, style: str = "text") -> str:
    """Parameters with intervals, one row per group; the doubts as numbered notes.

    Group columns that do not vary, fixed parameters and the errors model stand in the caption.

    Parameters
    ----------
    fits : FrontierFits
    style : {"text", "markdown", "latex", "html"}
        LaTeX needs the package booktabs.

    Raises
    ------
    ValueError
        Unknown style.
    """
    everyone: list[CurveFit | GroupFailure] = [*fits.fits, *fits.failures]
    groups = [g.group for g in everyone]
    shown, constant = _split(groups, fits.group_columns)
    fitted = list(fits.fits)
    free = [p for p in (fitted[0].parameters if fitted else {}) if p not in fitted[0].fixed]
    numbers, notes = number_notes([*(f.doubts for f in fitted), *([f.reason] for f in fits.failures)])
    blank = [""] * len(fits.failures)
    fields = [Field(header(c), [str(g[c]) for g in groups]) for c in shown]
    for i, p in enumerate(free):
        missing = ["not fitted" if i == 0 else ""] * len(fits.failures)
        fields.append(Field(header(p), [*(str(f[p]) for f in fitted), *missing], numeric=True))
    if fits.curve == "hill":
        share = [number(f["k"].estimate / float(f.x.max()), 2) for f in fitted]
        fields.append(Field("k / largest x", [*share, *blank], numeric=True))
    fields.append(Field("Points", [str(f.n_points) for f in everyone], numeric=True))
    if len({f.errors for f in fitted}) > 1:
        fields.append(Field("Errors", [*(f.errors for f in fitted), *blank]))
    fields.append(Field("Notes", numbers))
    return Sheet(_fits_caption(fits, fitted, constant), _filled(fields), tuple(notes)).write(style)


def ratios_table(ratios: Any, style: str = "text", *, wide: bool | None = None) -> str:
    """Ratios with intervals and p values; the doubts as numbered notes.

    Parameters
    ----------
    ratios : RatioTable, or its frame
    style : {"text", "markdown", "latex", "html"}
        LaTeX needs the package booktabs.
    wide : bool, optional
        True: one row per comparison, a column for each quantity. False: one row per ratio. Default: wide
        where there are at most two quantities.

    Raises
    ------
    ValueError
        Unknown style.
    """
    frame = ratio_frame(ratios)
    if not len(frame):
        return Sheet("No ratio.", (Field("Quantity", []), Field("Ratio", []))).write(style)
    groups = [c for c in frame.columns if c not in RATIO_COLUMNS]
    said = _doubts(frame, ratios)
    quantities = list(dict.fromkeys(frame["quantity"]))
    keys = [*groups, "family", "reference"]
    if wide is None:
        wide = len(quantities) <= 2
    wide = wide and not frame.duplicated([*keys, "quantity"]).any()
    shown, constant = _split(frame[keys].to_dict("records"), keys)
    fields, numbers, notes = (_wide if wide else _long)(frame, shown, keys, said)
    levels = {r.level for r in ratios} if hasattr(ratios, "to_frame") else set()
    caption = _ratios_caption(frame, constant, levels, getattr(ratios, "notes", ()))
    return Sheet(caption, _filled([*fields, Field("Notes", numbers)]), tuple(notes)).write(style)


def runs_table(table: Any, style: str = "text", columns: Sequence[str] | None = None) -> str:
    """Runs of a metrics table, one row per SAE; why rows are set aside or doubted as numbered notes.

    Parameters
    ----------
    table : anything that `metrics_table` takes
    style : {"text", "markdown", "latex", "html"}
        LaTeX needs the package booktabs.
    columns : column names, derived ones included, optional
        Default: the known columns that vary; those that do not stand in the caption. A value with a standard
        error (`<metric>_se`) is printed with it.

    Raises
    ------
    ValueError
        Unknown style.
    TableError
        Unknown column.
    """
    table = metrics_table(table)
    caption = ""
    if columns is None:
        columns, caption = _usual_columns(table)
    fields = [_runs_field(table, c) for c in columns]
    remarks = [c for c in ("excluded_because", "doubts") if c in table]
    said = [[str(v) for v in row if not pd.isna(v)] for row in table[remarks].itertuples(index=False)]
    numbers, notes = number_notes(said)
    return Sheet(caption, _filled([*fields, Field("Notes", numbers)]), tuple(notes)).write(style)


def ratio_frame(ratios: Any) -> pd.DataFrame:
    """A ratio table, or any kind of frame of one, as a pandas frame."""
    frame = ratios.to_frame() if hasattr(ratios, "to_frame") else to_pandas(ratios)
    return frame.reset_index(drop=True)


def _split(groups: Sequence[Any], columns: Iterable[str]) -> tuple[list[str], dict[str, Any]]:
    """Group columns that vary, and the values of the others."""
    shown = [c for c in columns if len({str(g.get(c)) for g in groups}) > 1]
    constant = {c: groups[0].get(c) for c in columns if c not in shown} if groups else {}
    return shown, constant


def _filled(fields: Iterable[Field]) -> tuple[Field, ...]:
    """Fields without the notes where there are none."""
    return tuple(f for f in fields if f.header != "Notes" or any(f.cells))


def _fits_caption(fits: FrontierFits, fitted: Sequence[CurveFit], constant: Mapping[str, Any]) -> str:
    parts = [f"{c.replace('_', ' ')} {v}" for c, v in constant.items()]
    if not fitted:
        return _sentence(f"{fits.curve.capitalize()} fits", parts, fits.notes)
    one = fitted[0]
    parts += [f"{p} = {number(v)} fixed" for p, v in one.fixed.items()]
    if len({f.errors for f in fitted}) == 1:
        parts.append(f"{one.errors} errors")
    parts.append(f"{100 * one.level:g} % {one.interval_method} intervals")
    names = (one.y_name.replace("_", " "), one.x_name.replace("_", " "))
    return _sentence(f"{fits.curve.capitalize()} fits of {names[0]} against {names[1]}", parts, fits.notes)


def _ratios_caption(
    frame: pd.DataFrame, constant: Mapping[str, Any], levels: set[float], remarks: Sequence[str]
) -> str:
    family, reference = constant.get("family", "family"), constant.get("reference", "reference")
    parts = [f"{c.replace('_', ' ')} {v}" for c, v in constant.items() if c not in ("family", "reference")]
    if "relative_potency" in set(frame["quantity"]):
        parts.append(f"relative potency = L0 of {reference} / L0 of {family} at equal performance hit")
    if len(levels) == 1:
        parts.append(f"{100 * levels.pop():g} % intervals")
    return _sentence(f"Ratios {family} / {reference}", parts, remarks)


def _sentence(head: str, parts: Sequence[str], remarks: Sequence[str]) -> str:
    """A caption, with what was said about the whole table after it."""
    first = f"{head}: {'; '.join(parts)}." if parts else f"{head}."
    return " ".join([first, *(f"{r[:1].upper()}{r[1:].rstrip('.')}." for r in remarks)])


def _doubts(frame: pd.DataFrame, ratios: Any) -> list[list[str]]:
    """Doubts row by row; one that differs between quantities by degrees of freedom only is said once."""
    if hasattr(ratios, "to_frame"):
        rows = [list(r.doubts) for r in ratios]
    else:
        rows = [[d] if isinstance(d, str) and d else [] for d in frame.get("doubts", [""] * len(frame))]
    first: dict[str, str] = {}
    return [[first.setdefault(d.split("; Welch")[0], d) for d in row] for row in rows]


def _quantity(name: str) -> str:
    return WORDS.get(name, f"{name} ratio")


def _cell(record: Mapping[Any, Any]) -> str:
    return interval_cell(float(record["ratio"]), float(record["ratio_low"]), float(record["ratio_high"]))


def _p_columns(frame: pd.DataFrame) -> dict[str, str]:
    """The columns of p values to print, with their headers."""
    adjusted = "p_adjusted" in frame and not np.allclose(
        frame["p_adjusted"], frame["p_value"], equal_nan=True
    )
    return {"p_value": "p", "p_adjusted": "p (Holm)"} if adjusted else {"p_value": "p"}


def _long(
    frame: pd.DataFrame, shown: list[str], keys: list[str], said: list[list[str]]
) -> tuple[list[Field], list[str], list[str]]:
    records = frame.to_dict("records")
    fields = [Field(header(c), [str(r[c]) for r in records]) for c in shown]
    fields.append(Field("Quantity", [_quantity(r["quantity"]) for r in records], ours=True))
    if "at" in frame and frame["at"].notna().any():
        fields.append(Field("At", [number(float(v)) for v in frame["at"]], numeric=True))
    fields.append(Field("Ratio", [_cell(r) for r in records], numeric=True))
    for column, name in _p_columns(frame).items():
        fields.append(Field(name, [p_value_cell(float(v)) for v in frame[column]], numeric=True))
    return fields, *number_notes(said)


def _wide(
    frame: pd.DataFrame, shown: list[str], keys: list[str], said: list[list[str]]
) -> tuple[list[Field], list[str], list[str]]:
    rows: dict[tuple[str, ...], dict[str, int]] = {}
    for i, record in enumerate(frame.to_dict("records")):
        rows.setdefault(tuple(str(record[k]) for k in keys), {})[str(record["quantity"])] = i
    fields = [Field(header(c), [key[keys.index(c)] for key in rows]) for c in shown]
    p_column, p_name = list(_p_columns(frame).items())[-1]
    records = frame.to_dict("records")
    for quantity in dict.fromkeys(frame["quantity"]):
        found = [records[of[quantity]] if quantity in of else None for of in rows.values()]
        at = [number(float(r["at"])) if r and "at" in r and r["at"] is not None else "" for r in found]
        if any(at):
            fields.append(Field("At", at, numeric=True))
        name = _quantity(quantity)
        fields.append(
            Field(
                name[0].upper() + name[1:] if len(quantity) > 1 else name,
                [_cell(r) if r else "" for r in found],
                numeric=True,
            )
        )
        fields.append(
            Field(p_name, [p_value_cell(float(r[p_column])) if r else "" for r in found], numeric=True)
        )
    return fields, *number_notes([[d for i in of.values() for d in said[i]] for of in rows.values()])


def _usual_columns(table: pd.DataFrame) -> tuple[list[str], str]:
    """Known columns that vary, and a caption of those that do not."""
    known = [c.name for c in COLUMNS if c.name in table and table[c.name].notna().any()]
    if "architecture" in known and "family" in known and (table["architecture"] == table["family"]).all():
        known.remove("architecture")
    alike = [c for c in known if c not in ALWAYS and len(set(table[c].astype(str))) == 1]
    shown = [c for c in known if c not in alike and c != "source"]
    if "pareto_optimal" in table and len(set(table["pareto_optimal"])) > 1:
        shown.append("pareto_optimal")
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


def _runs_field(table: pd.DataFrame, column: str) -> Field:
    if column in table and pd.api.types.is_bool_dtype(table[column]):
        return Field(header(column), ["yes" if v is True else "" for v in table[column].tolist()])
    if column in table and not pd.api.types.is_numeric_dtype(table[column]):
        return Field(header(column), ["" if pd.isna(v) else str(v) for v in table[column]])
    found = values(table, column)
    se = values(table, f"{column}_se") if f"{column}_se" in table else np.full(len(found), np.nan)
    return Field(header(column), _number_cells(found, se), numeric=True, align="right")


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
