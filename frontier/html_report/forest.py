"""Forest and collapse of a page as plain data: ratios with intervals, families on their common curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from frontier.comparison import Comparisons
from frontier.html_report.answer import place, shortened
from frontier.html_report.excerpt import spread
from frontier.metrics.names import axis_label
from frontier.ratios.ratio import Ratio, ratio_cell
from frontier.shared_shape import SharedShape
from frontier.wording import number

GRID = 60
"""Points of a common curve."""
TOGETHER = 20
"""So many rows, at most, stand in one forest plot: it must fit a page of paper."""


def ratio_figures(found: Comparisons, *, curves: bool = True) -> list[dict[str, Any]]:
    """One forest plot per quantity, relative potency first: its axis' words and panels of rows.

    A panel holds the families of a cell; where there is one family, all of its cells.
    """
    others = [r for r in found.ratios if r.quantity != "relative_potency"] if curves else []
    rows = [*found.potencies, *others]
    several = len({r.family for r in rows}) > 1
    out = []
    for quantity in dict.fromkeys(r.quantity for r in rows):
        of = [r for r in rows if r.quantity == quantity]
        title = _title("the family" if several else of[0].family, of[0])
        out.append({"name": quantity, "title": title, "panels": _panels(found, of, several)})
    return out


def _panels(found: Comparisons, rows: list[Ratio], several: bool) -> list[dict[str, Any]]:
    if several:
        short = shortened([r.family for r in rows])
        by_cell: dict[str, list[Ratio]] = {place(c.group, found): [] for c in found}
        for r in rows:
            by_cell.setdefault(place(r.group, found), []).append(r)
        parts = {w: [_row(r, r.family, short[r.family]) for r in of] for w, of in by_cell.items()}
    else:
        places = [place(r.group, found) for r in rows]
        short = shortened(places)
        drawn = [_row(r, w, short[w]) for r, w in zip(rows, places, strict=True)]
        cuts = range(0, len(drawn), TOGETHER)
        parts = {f"{i + 1} to {i + TOGETHER}" if len(cuts) > 1 else "": drawn[i : i + TOGETHER] for i in cuts}
    titles = shortened(list(parts))
    return [{"label": label, "short": titles[label], "rows": of} for label, of in parts.items()]


def _row(r: Ratio, label: str, short: str) -> dict[str, Any]:
    """One row of the forest plot; an infinite limit is None, which is drawn as an arrow."""
    known = math.isfinite(r.ratio)
    return {
        "label": label,
        "short": short,
        "family": r.family,
        "text": ratio_cell(r).replace("inf", "∞") if known else "no ratio",
        "at": "" if r.at is None else f" at {number(r.at)}",
        "ratio": _finite(r.ratio), "low": _finite(r.ratio_low), "high": _finite(r.ratio_high),
    }  # fmt: skip


def _title(family: str, r: Ratio) -> str:
    from frontier.figures.ratios import axis_words

    title = axis_words(r.quantity, family, r.reference, r.y_name.replace("_", " "))
    return f"{title} ({r.better_when}: {family} is better)" if r.better_when else title


def collapses(found: Comparisons, most: int) -> list[dict[str, Any]]:
    """One collapse per cell: every family's SAEs at L0 × relative potency, the curve, the residuals."""
    return [_collapse(s, place(s.group, found), most) for s in found.shapes]


def _collapse(s: SharedShape, label: str, most: int) -> dict[str, Any]:
    names, shifts = np.array(s.names, dtype=object), np.array([s.shifts[n] for n in s.names])
    at, residuals = np.exp(s.z + shifts), s.residuals
    line = np.geomspace(at.min(), at.max(), GRID)
    drawn = []
    for family in dict.fromkeys(s.names):
        own = np.flatnonzero(names == family)
        own = own[spread(s.z[own], most // len(s.shifts))]
        drawn.append(
            {
                "family": family, "potency": number(math.exp(s.shifts[family])),
                "l0": short(np.exp(s.z[own])), "x": short(at[own]), "y": short(s.y[own]),
                "residual": short(residuals[own]),
            }
        )  # fmt: skip
    return {
        "label": label, "reference": s.reference, "y": axis_label(s.y_name), "families": drawn,
        "line": {"x": short(line), "y": short(s.expected(line))},
    }  # fmt: skip


def short(numbers: np.ndarray) -> list[float | None]:
    """Numbers with six significant digits; what is not finite is missing."""
    return [_finite(v) for v in np.asarray(numbers, dtype=float).tolist()]


def _finite(value: float) -> float | None:
    """The number with six significant digits, or None where it is infinite or missing."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
