"""A comparison on one screen: a row for each pair; where they are many, a matrix or counts of verdicts."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from frontier.comparison.sentences import tipping_cell
from frontier.comparison.verdicts import UNITS, UNTOLD
from frontier.doubts import Doubt, placed
from frontier.ratios.decided import verdict_cell
from frontier.ratios.ratio import ratio_cell
from frontier.results import held, in_words, telling
from frontier.views import View
from frontier.wording import number, p_value_cell, plural

if TYPE_CHECKING:
    from frontier.comparison.comparison import Comparison, Comparisons

PAIRS = 16
"""More pairs than these, of several families in several cells, are shown as a matrix."""
CURVES = 60
"""With more pairs than these the curves are not fitted for a print: ask for `.fits` and `.ratios`."""
TOLD = 3
"""As many comparisons, or fewer, are told in a sentence each."""
CELLS = 30
"""More cells than these are shown as counts of verdicts, one row per family."""
SIGNS = {
    "better": "+",
    "worse": "−",
    "not separable": "=",
    "crossing": "×",
    "withheld": "!",
    "not comparable": "?",
}


def screen(found: Comparisons, columns: list[str] | None = None) -> View:
    """Verdicts and potencies first; all other numbers, and every sentence, when all is asked for.

    `columns` are the group columns to show; default, those that tell the cells apart.
    """
    pairs = found.comparisons
    if not pairs:
        return View("Nothing could be compared", remarks=found.notes)
    grouped = found.group_columns
    columns = telling(grouped, pairs) if columns is None else columns
    families = list(dict.fromkeys(c.family for c in pairs))
    table, details = _listing(found, columns), []
    cells = {_names(c, columns) for c in pairs}
    if len(pairs) > PAIRS and min(len(families), len(cells)) > 1:
        details.append(View("Pair by pair", *table))
        table = _matrix(found, columns, families)
    if len(cells) > CELLS and len(families) > 1:
        details.insert(0, View("Cell by cell", *table))
        table = _summary(found, families)
    headers, rows, legend = table
    told = tuple(_told(c, columns) for c in pairs) if len(pairs) <= TOLD else ()
    remarks = (*legend, *told, *found.notes)
    doubts: list[tuple[str, Doubt]] = []
    for c in pairs:
        where = in_words({v: c.group[v] for v in columns if v in c.group})
        doubts += placed(c.doubts, ", ".join(p for p in (where, c.family if len(families) > 1 else "") if p))
    evidence = _evidence(found, columns).without(remarks, doubts)
    rest = [*details, evidence, *_tests(found, columns)]
    if len(pairs) <= CURVES:
        rest.append(found.ratios._view().without(remarks, doubts))
    title = f"Compared with {pairs[0].reference}{held(grouped, pairs, columns)}"
    return View(title, headers, rows, remarks, tuple(doubts), tuple(rest), "comparison")


Table = tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[str, ...]]
"""Headers, rows, and remarks that explain them."""


def _listing(found: Comparisons, columns: list[str]) -> Table:
    first = found[0].potency
    bears = [tipping_cell(c.tipping) for c in found]
    tipping = ("seed SD it bears",) if any(bears) else ()  # none where seeds are the unit
    potency = f"relative potency [{100 * first.level:g} %]"
    headers = (*columns, "family", "is", potency, f"at {first.height}", *tipping)
    rows = tuple(
        (
            *_names(c, columns), c.family, _is(c), _potency(c), number(c.potency.at),
            *((bear,) if tipping else ()),
        )
        for c, bear in zip(found, bears, strict=True)
    )  # fmt: skip
    return headers, rows, ()


def _potency(c: Comparison) -> str:
    """Blank where no hit is shared at all, or units differ."""
    if c.why == UNITS:
        return ""
    return ratio_cell(c.potency) or ("not shared" if len(c.band.hits) else "")


def _matrix(found: Comparisons, columns: list[str], families: list[str]) -> Table:
    """The verdict's sign and the relative potency: cells by families, or turned where these are more."""
    signs = ", ".join(f"{SIGNS[v]} {v}" for v in _verdicts(found))
    legend = (f"Relative potency after the verdict's sign: {signs}.",)
    known = {(_names(c, columns), c.family): _sign(c) for c in found}
    groups = {_names(c, columns): c.group for c in found}
    if len(families) > len(groups):
        shown = telling(found.group_columns, found.comparisons)
        heads = (in_words({v: group[v] for v in shown if v in group}) for group in groups.values())
        rows = tuple((f, *(known.get((names, f), "") for names in groups)) for f in families)
        return ("family", *heads), rows, legend
    rows = tuple((*names, *(known.get((names, f), "") for f in families)) for names in groups)
    return (*columns, *families), rows, legend


def _summary(found: Comparisons, families: list[str]) -> Table:
    """Families by verdicts: in how many cells each holds; the family of largest relative potency first."""
    verdicts = _verdicts(found)
    rows = []
    for family in families:
        own = [c for c in found if c.family == family]
        known = sorted(c.potency.ratio for c in own if c.verdict not in UNTOLD)
        cells = (str(sum(c.verdict == v for c in own)) for v in verdicts)
        median = statistics.median(known) if known else math.nan
        span = f"{number(known[0])} to {number(known[-1])}" if known else ""
        rows.append((median, (family, *cells, number(median), span)))
    rows.sort(key=lambda row: -row[0] if row[0] == row[0] else math.inf)
    headers = ("family", *verdicts, "median potency", "from least to most")
    count = plural(len({_names(c, list(found.group_columns)) for c in found}), "cell")
    return headers, tuple(r for _, r in rows), (f"Verdicts counted over {count}.",)


def _verdicts(found: Comparisons) -> list[str]:
    """The verdicts that occur, in their usual order."""
    there = {c.verdict for c in found}
    return [v for v in SIGNS if v in there]


def _is(c: Comparison) -> str:
    return verdict_cell(c.verdict, c.potency.ratio_low, c.potency.ratio_high)


def _evidence(found: Comparisons, columns: list[str]) -> View:
    height = found[0].hits.height
    headers = (
        *columns, "family", "is", f"{height} ratio", "at L0", "observed potency", "one SAE left out",
    )  # fmt: skip
    rows = tuple(
        (
            *_names(c, columns), c.family, _is(c), ratio_cell(c.hits), number(c.hits.at), _observed(c),
            _range(c.potency_range),
        )
        for c in found
    )  # fmt: skip
    return View("Beside the verdicts", headers, rows, tuple(_told(c, columns) for c in found))


def _told(c: Comparison, columns: list[str]) -> str:
    """The verdict in a sentence, with the place where there are several."""
    where = in_words({v: c.group[v] for v in columns if v in c.group})
    claim = c.claim or c.sentence
    return f"{where}: {claim}" if where and c.claim else claim


def _tests(found: Comparisons, columns: list[str]) -> list[View]:
    """The p values, and the shapes of the cells."""
    headers = (*columns, "family", "gate: one curve", "gate (Holm)", "parallel", "no shift", "shape fits")
    rows = tuple(
        (
            *_names(c, columns), c.family,
            *(p_value_cell(p) for p in (t.gate, t.holm, t.parallel)),
            p_value_cell(t.shift) if c.parallel else "", p_value_cell(t.lack_of_fit),
        )
        for c in found
        for t in (c.tests,)
    )  # fmt: skip
    blank = "No shift is tested where parallel curves are rejected: the sides decide there."
    said = () if all(c.parallel for c in found) else (blank,)
    return [View("p values of the procedure, in its order", headers, rows, said)]


def _names(c: Comparison, columns: list[str]) -> tuple[str, ...]:
    return tuple(str(c.group.get(v, "")) for v in columns)


def _sign(c: Comparison) -> str:
    value = "" if c.verdict in UNTOLD else number(c.potency.ratio)
    return SIGNS[c.verdict] + value


def _observed(c: Comparison) -> str:
    o = c.observed_potency
    if o is None or math.isnan(o.ratio):
        return "no common range"
    return f"{number(o.ratio)} ({number(o.ratio_min)} to {number(o.ratio_max)})"


def _range(ends: tuple[float, float]) -> str:
    return "" if math.isnan(ends[0]) else f"{number(ends[0])} to {number(ends[1])}"
