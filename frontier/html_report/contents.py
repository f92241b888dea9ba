"""What the page says: answer, doubts, tables, notes, provenance; no number is made here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from frontier import tables
from frontier.comparison import Comparisons
from frontier.doubts import Doubt, DoubtGroup, Kind, grouped
from frontier.html_report.answer import Answer, answer, conclusion, place
from frontier.html_report.excerpt import Excerpt, excerpt
from frontier.html_report.inputs import InputFile
from frontier.metrics import default_y, notes, set_aside_remark, usable, values
from frontier.metrics.names import axis_label, column_named
from frontier.readers import provenance
from frontier.records import versions
from frontier.results import in_words
from frontier.tables.styles import header
from frontier.wording import listed, number, plural

FOLDED = 6
"""With more comparisons than these the page opens folded: sentence and matrix first, the rest on demand."""


SET_ASIDE = 1000
"""So many rows that were set aside are named one by one."""
TITLE = 90
"""Letters of families that a title names; longer ones are counted."""


@dataclass(frozen=True)
class Limit:
    """Doubts of one kind: what heads them, in how many places, and each with its places."""

    heading: str
    count: str
    doubts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class TableSection:
    """One table of the page: ready HTML and LaTeX, made by `frontier.tables`, which escapes every cell."""

    key: str
    title: str
    lead: str
    html: str
    latex: str = ""


@dataclass(frozen=True)
class Contents:
    """All that the page says, in the page's order; `answer` is None where nothing is compared."""

    title: str
    date: str
    answer: Answer | None
    lead: tuple[str, ...]
    limits: tuple[Limit, ...]
    curves: str
    sheets: tuple[TableSection, ...]
    runs: TableSection
    excluded: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    provenance: pd.DataFrame
    versions: tuple[tuple[str, str], ...]
    files: tuple[InputFile, ...]
    y: str
    thinned: str = ""
    set_aside: int = 0
    preface: tuple[str, ...] = ()

    @cached_property
    def folded(self) -> bool:
        """Whether the page opens folded."""
        return self.answer is not None and sum(len(c.cards) for c in self.answer.cells) > FOLDED


def contents(
    found: Comparisons,
    table: pd.DataFrame,
    files: tuple[InputFile, ...],
    *,
    title: str = "",
    date: str = "",
    preface: Sequence[str] = (),
    y: str | None = None,
    curves: bool = True,
    part: Excerpt | None = None,
) -> Contents:
    """What a page about these comparisons and their table says, with or without curves through the points."""
    y = shown_y(found, table, y)
    part = part or excerpt(found, table, y)
    said = replace(answer(part.found), sentence=conclusion(found)) if len(found) else None
    return Contents(
        title or headline(found, table), date, said,
        (*lead(found, table, y, curves), *filter(None, [part.of_cells])),
        limits(part.found, curves), "" if curves else without_curves(found),
        sheets(part.found) if curves else (), runs(part, len(found) > 0), excluded(table),
        _warnings(found, table, curves), column_origins(table), versions(), files, y, part.of_rows,
        int(table["excluded_because"].notna().sum()), tuple(preface),
    )  # fmt: skip


def shown_y(found: Comparisons, table: pd.DataFrame, y: str | None = None) -> str:
    """The quality that a page shows: that of its comparisons, else what is asked, else the table's own."""
    return found.y_name or y or default_y(table)


def headline(found: Comparisons, table: pd.DataFrame) -> str:
    """Who is compared with whom; without comparisons, whose frontiers these are."""
    families = list(dict.fromkeys(c.family for c in found))
    if families:
        named = listed(families, 3)
        who = named if len(named) <= TITLE else plural(len(families), "family")
        return f"{who if len(families) > 1 else families[0]} against {found[0].reference}"
    rows = usable(table)
    column = found.family_column
    names = list(dict.fromkeys(rows[column].astype(str))) if column in rows else []
    return f"Frontier of {listed(names, 3)}" if names else "Frontiers"


def lead(found: Comparisons, table: pd.DataFrame, y: str, curves: bool) -> tuple[str, ...]:
    """What better means, or why nothing is compared; and what the table holds."""
    if not len(found):
        why = _why_nothing(found) if curves else "no group holds both a family and the reference"
        said = f"Nothing is compared here: {why}. The frontiers and their fits follow."
    elif y == "performance_hit":
        said = "Better: fewer active latents (L0) at the same performance hit, which is 1 − loss recovered."
    else:
        said = f"Better: fewer active latents (L0) at the same {y}: {axis_title(y)}."
    remark = set_aside_remark(table)
    return said, f"{plural(len(table), 'SAE')} in the table" + (f"; {remark}." if remark else ".")


def without_curves(found: Comparisons) -> str:
    """Where to get the curves that a large page leaves out."""
    return (
        f"No curves are fitted for a page of {plural(len(found), 'comparison')}; no verdict rests on them. "
        "For k, n and the other parameters: compare(...).fits and .ratios, or sae-frontier fit; to have them "
        "here: report(..., with_curves=True), or sae-frontier report --curves."
    )


def _why_nothing(found: Comparisons) -> str:
    names = {str(f.group.get(found.family_column)) for f in found.fits}
    if not names:
        return "no group could be fitted"
    if len(names) == 1:
        return f"the fits are all of one family, {names.pop()}"
    return "no group holds fits of both a family and the reference"


def limits(found: Comparisons, curves: bool) -> tuple[Limit, ...]:
    """Doubts by kind, the worst first; without comparisons those of the fits."""
    placed: list[tuple[str, Doubt]] = []
    cells: dict[str, str] = {}
    several = len({c.family for c in found}) > 1
    for c in found:
        cell = place(c.group, found)
        where = f"{c.family} in {cell}" if several else cell
        cells[where] = cell
        placed += [(where, d) for d in c.doubts]
    noun = "comparison"
    if curves:
        if not len(found):
            noun = "fit"
            placed += [(f.name, d) for f in found.fits for d in f.doubts]
        placed += [
            (in_words(f.group), Doubt(Kind.left_out, f"Not fitted: {f.reason}")) for f in found.fits.failures
        ]
    return tuple(_limit(g, cells) for g in grouped(placed, noun))


def _limit(group: DoubtGroup, cells: dict[str, str]) -> Limit:
    told = tuple((str(d), listed(_by_cell(places, cells), 6, "; ")) for d, places in group.places_of.items())
    return Limit(group.kind.heading, plural(len(group.places), group.noun), told)


def _by_cell(places: Sequence[str], cells: dict[str, str]) -> list[str]:
    """Places in few words: several families of one cell are counted."""
    counts = Counter(cells.get(p, p) for p in places)
    named = {cells.get(p, p): p for p in places}
    return [named[c] if n == 1 else f"{n} families in {c}" for c, n in counts.items()]


def sheets(found: Comparisons) -> tuple[TableSection, ...]:
    """Ratios and fits as HTML and LaTeX."""
    made = []
    if len(found.ratios):
        lead = "Value of the family / value of the reference, except relative potency, which is L0 / L0."
        made.append(_sheet("ratios", "Ratios", lead, tables.ratios_table, found.ratios))
    if len(found.fits) or found.fits.failures:
        lead = f"{found.fits.curve.capitalize()} curves through each frontier, with intervals."
        made.append(_sheet("fits", "Fits", lead, tables.fits_table, found.fits))
    return tuple(made)


def runs(part: Excerpt, were_compared: bool) -> TableSection:
    """One row per SAE; those that were compared are marked."""
    made = _sheet("runs", "Runs", "", tables.runs_table, part.table.assign(compared=part.marks))
    chosen = "were compared" if were_compared else "make the frontiers"
    lead = f"One row per SAE. {part.compared} of {part.rows} {chosen}, marked by a bar and by 'yes'."
    lead = f"{lead} {part.of_rows}".strip()
    return replace(made, lead=lead, html=mark_rows(made.html, part.marks.tolist()))


def _sheet(key: str, title: str, lead: str, write: object, what: object) -> TableSection:
    assert callable(write)
    return TableSection(key, title, lead, write(what, style="html"), write(what, style="latex"))


def mark_rows(html: str, marks: Iterable[bool]) -> str:
    """A table's HTML with the class 'compared' on marked rows; cells are escaped, so tags are ours.

    >>> mark_rows("<tr><th></th></tr><tr><td></td></tr>", [True])
    '<tr><th></th></tr><tr class="compared"><td></td></tr>'
    """
    before, head, *rows = html.split("<tr>")
    body = [f'<tr class="compared">{r}' if m else f"<tr>{r}" for r, m in zip(rows, marks, strict=True)]
    return f"{before}<tr>{head}{''.join(body)}"


def axis_title(column: str) -> str:
    """An axis' words: the figures' own where they have them, else the table's header with its unit.

    >>> axis_title("l0"), axis_title("ce_sae")
    ('L0 (active latents per token)', 'CE with SAE (nats per token)')
    """
    spec = column_named(column)
    if spec is None or spec.label:
        return axis_label(column)
    return header(column) + (f" ({spec.unit})" if spec.unit else "")


def excluded(table: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """Rows that were set aside: what each is called, and why; of very many the first, the others counted."""
    every = table[table["excluded_because"].notna()]
    gone = every.head(SET_ASIDE)
    l0 = values(gone, "l0")
    named = [c for c in ("run_id", "model", "site", "layer", "family") if c in gone]
    out = []
    for (index, row), size in zip(gone.iterrows(), l0, strict=True):
        words = ", ".join(f"{header(c)} {row[c]}" for c in named if not pd.isna(row[c]))
        name = f"row {index}" + (f" ({words}; L0 {number(float(size)) or 'missing'})" if words else "")
        out.append((name, str(row["excluded_because"])))
    for why, count in Counter(every["excluded_because"].iloc[SET_ASIDE:].astype(str)).items():
        out.append((f"{count} more", why))
    return tuple(out)


def column_origins(table: pd.DataFrame) -> pd.DataFrame:
    """Where every column comes from, as text under readers' headers; what is empty throughout is left out."""
    known = provenance(table).astype(str)
    kept = known[[c for c in known if (known[c] != "").any()]]
    return kept.rename(columns={"changed": "changed on reading"}).rename(columns=header)


def _warnings(found: Comparisons, table: pd.DataFrame, curves: bool) -> tuple[str, ...]:
    """What reading and fitting had to say, each once."""
    of_fits = found.fits.notes if curves else ()
    return tuple(dict.fromkeys(str(n) for n in (*notes(table), *found.notes, *of_fits) if n))
