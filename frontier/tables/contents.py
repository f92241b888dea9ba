"""Tables for papers, notes and pages: fits, ratios and runs as text, Markdown, LaTeX (booktabs) and HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits, GroupFailure
from frontier.metrics.frames import to_pandas
from frontier.ratios.decided import verdict_cell
from frontier.ratios.ratio import p_columns
from frontier.tables.styles import Field, Sheet, filled, header, number_notes
from frontier.wording import interval_cell, number, p_value_cell

RATIO_COLUMNS = (
    "family", "reference", "quantity", "y", "at", "ratio", "ratio_low", "ratio_high", "p_value", "p_adjusted",
    "p_gate_holm", "verdict", "better_when", "df", "errors", "method", "doubts",
)  # fmt: skip
"""Columns of a ratio table that name no group."""
WORDS = {"relative_potency": "relative potency", "hit_ratio": "hit ratio"}


def fits_table(fits: FrontierFits, style: str = "text", *, siunitx: bool = False) -> str:
    """Parameters with intervals, one row per group; the doubts as numbered notes.

    Group columns that do not vary, fixed parameters and the errors model stand in the caption.

    Parameters
    ----------
    fits : FrontierFits
    style : {"text", "markdown", "latex", "html"}
        LaTeX needs the package booktabs.
    siunitx : bool
        Of LaTeX: numbers for the package siunitx (version 3).

    Raises
    ------
    ValueError
        Unknown style.
    """
    return replace(fits_sheet(fits), siunitx=siunitx).write(style)


def fits_sheet(fits: FrontierFits) -> Sheet:
    """The table that `fits_table` writes."""
    everyone: list[CurveFit | GroupFailure] = [*fits.fits, *fits.failures]
    groups = [g.group for g in everyone]
    shown, constant = _split(groups, fits.group_columns)
    fitted = list(fits.fits)
    free = [p for p in (fitted[0].parameters if fitted else {}) if p not in fitted[0].given]
    numbers, notes = number_notes([*(f.doubts for f in fitted), *([f.reason] for f in fits.failures)])
    blank = [""] * len(fits.failures)
    fields = [Field(header(c), [str(g[c]) for g in groups]) for c in shown]
    for i, p in enumerate(free):
        missing = ["not fitted" if i == 0 else ""] * len(fits.failures)
        fields.append(Field(header(p), [*(str(f[p]) for f in fitted), *missing], numeric=True))
    if fits.curve == "hill":
        share = [number(f["k"].estimate / float(f.shifted_x.max()), 2) for f in fitted]
        fields.append(Field("k / largest x", [*share, *blank], numeric=True))
    fields.append(Field("Points", [str(f.n_points) for f in everyone], numeric=True))
    if len({f.errors for f in fitted}) > 1:
        fields.append(Field("Errors", [*(f.errors for f in fitted), *blank]))
    fields.append(Field("Notes", numbers))
    caption = _fits_caption(fits, fitted, constant)
    return Sheet(caption, filled(fields), tuple(notes))


def ratios_table(ratios: Any, style: str = "text", *, wide: bool | None = None, siunitx: bool = False) -> str:
    """Ratios with intervals and p values; the doubts as numbered notes.

    Parameters
    ----------
    ratios : RatioTable, or its frame
    style : {"text", "markdown", "latex", "html"}
        LaTeX needs the package booktabs.
    wide : bool, optional
        True: one row per comparison, a column for each quantity. False: one row per ratio. Default: wide
        where there are at most two quantities.
    siunitx : bool
        Of LaTeX: numbers for the package siunitx (version 3).

    Raises
    ------
    ValueError
        Unknown style.
    """
    return replace(ratios_sheet(ratios, wide), siunitx=siunitx).write(style)


def ratios_sheet(ratios: Any, wide: bool | None = None) -> Sheet:
    """The table that `ratios_table` writes."""
    frame = ratio_frame(ratios)
    if not len(frame):
        return Sheet("No ratio.", (Field("Quantity", []), Field("Ratio", [])))
    groups = [c for c in frame.columns if c not in RATIO_COLUMNS]
    said = _doubts(frame, ratios)
    quantities = list(dict.fromkeys(frame["quantity"]))
    keys = [*groups, "family", "reference"]
    if wide is None:
        wide = len(quantities) <= 2
    wide = wide and not frame.duplicated([*keys, "quantity"]).any()
    shown, constant = _split(frame[keys].to_dict("records"), keys)
    fields, numbers, notes = (_wide if wide else _long)(
        frame, shown, keys, said, getattr(ratios, "adjustment", "Holm")
    )
    levels = {r.level for r in ratios} if hasattr(ratios, "to_frame") else set()
    remarks = (*getattr(ratios, "notes", ()), *getattr(ratios, "in_spite", ()))
    caption = _ratios_caption(frame, constant, levels, remarks)
    columns = filled([*fields, Field("Notes", numbers)])
    return Sheet(caption, columns, tuple(notes))


def ratio_frame(ratios: Any) -> pd.DataFrame:
    """A ratio table, or any kind of frame of one, as a pandas frame."""
    frame = ratios.to_frame() if hasattr(ratios, "to_frame") else to_pandas(ratios)
    return frame.reset_index(drop=True)


def _split(groups: Sequence[Any], columns: Iterable[str]) -> tuple[list[str], dict[str, Any]]:
    """Group columns that vary, and the values of the others."""
    shown = [c for c in columns if len({str(g.get(c)) for g in groups}) > 1]
    constant = {c: groups[0].get(c) for c in columns if c not in shown} if groups else {}
    return shown, constant


def _fits_caption(fits: FrontierFits, fitted: Sequence[CurveFit], constant: Mapping[str, Any]) -> str:
    parts = [f"{c.replace('_', ' ')} {v}" for c, v in constant.items()]
    if not fitted:
        return _sentence(f"{fits.curve.capitalize()} fits", parts, fits.remarks)
    one = fitted[0]
    parts += [f"{p} = {number(v)} fixed" for p, v in one.given.items()]
    if len({f.errors for f in fitted}) == 1:
        parts.append(f"{one.errors} errors")
    parts.append(f"{100 * one.level:g} % {one.interval_method} intervals")
    names = (one.y_name.replace("_", " "), one.x_name.replace("_", " "))
    return _sentence(f"{fits.curve.capitalize()} fits of {names[0]} against {names[1]}", parts, fits.remarks)


def _ratios_caption(
    frame: pd.DataFrame, constant: Mapping[str, Any], levels: set[float], remarks: Sequence[str]
) -> str:
    family, reference = constant.get("family", "family"), constant.get("reference", "reference")
    parts = [f"{c.replace('_', ' ')} {v}" for c, v in constant.items() if c not in ("family", "reference")]
    if "relative_potency" in set(frame["quantity"]):
        height = equal_height(frame)
        parts.append(f"relative potency = L0 of {reference} / L0 of {family} at equal {height}")
    if len(levels) == 1:
        parts.append(f"{100 * levels.pop():g} % intervals")
    return _sentence(f"Ratios {family} / {reference}", parts, remarks)


def equal_height(frame: pd.DataFrame) -> str:
    """The y axis of ratios in words."""
    names = set(frame["y"].dropna().astype(str)) if "y" in frame else set()
    return names.pop().replace("_", " ") if len(names) == 1 else "performance hit"


def _sentence(head: str, parts: Sequence[str], remarks: Sequence[str]) -> str:
    """A caption, with what was said about the whole table after it."""
    first = f"{head}: {'; '.join(parts)}." if parts else f"{head}."
    return " ".join([first, *(f"{r[:1].upper()}{r[1:].rstrip('.')}." for r in remarks)])


def _doubts(frame: pd.DataFrame, ratios: Any) -> list[Sequence[object]]:
    """Doubts row by row."""
    if hasattr(ratios, "to_frame"):
        return [r.doubts for r in ratios]
    return [[d] if isinstance(d, str) and d else [] for d in frame.get("doubts", [""] * len(frame))]


def _quantity(name: str) -> str:
    return WORDS.get(name, f"{name} ratio")


def _cell(record: Mapping[Any, Any]) -> str:
    return interval_cell(float(record["ratio"]), float(record["ratio_low"]), float(record["ratio_high"]))


def _p_columns(frame: pd.DataFrame, adjustment: str) -> dict[str, str]:
    missing = [math.nan] * len(frame)
    own, gates = (frame.get(column, missing) for column in ("p_adjusted", "p_gate_holm"))
    return p_columns(zip(frame["p_value"], own, gates, strict=True), adjustment)


def _verdicts(records: Sequence[Mapping[Any, Any] | None]) -> list[Field]:
    """On which side the family is, where some row says."""
    cells = [
        verdict_cell(str(r.get("verdict") or ""), r["ratio_low"], r["ratio_high"]) if r else ""
        for r in records
    ]
    return [Field("Family is", cells, ours=True)] if any(cells) else []


def _long(
    frame: pd.DataFrame, shown: list[str], keys: list[str], said: list[Sequence[object]], adjustment: str
) -> tuple[list[Field], list[str], list[str]]:
    records = frame.to_dict("records")
    fields = [Field(header(c), [str(r[c]) for r in records]) for c in shown]
    fields.append(Field("Quantity", [_quantity(r["quantity"]) for r in records], ours=True))
    if "at" in frame and frame["at"].notna().any():
        fields.append(Field("At", [number(float(v)) for v in frame["at"]], numeric=True))
    fields.append(Field("Ratio", [_cell(r) for r in records], numeric=True))
    for column, name in _p_columns(frame, adjustment).items():
        fields.append(Field(name, [p_value_cell(float(v)) for v in frame[column]], numeric=True))
    return [*fields, *_verdicts(records)], *number_notes(said)


def _wide(
    frame: pd.DataFrame, shown: list[str], keys: list[str], said: list[Sequence[object]], adjustment: str
) -> tuple[list[Field], list[str], list[str]]:
    rows: dict[tuple[str, ...], dict[str, int]] = {}
    for i, record in enumerate(frame.to_dict("records")):
        rows.setdefault(tuple(str(record[k]) for k in keys), {})[str(record["quantity"])] = i
    fields = [Field(header(c), [key[keys.index(c)] for key in rows]) for c in shown]
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
        for p, p_name in _p_columns(frame[frame["quantity"] == quantity], adjustment).items():
            fields.append(
                Field(p_name, [p_value_cell(float(r[p])) if r else "" for r in found], numeric=True)
            )
        fields += _verdicts(found)
    return fields, *number_notes([[d for i in of.values() for d in said[i]] for of in rows.values()])
