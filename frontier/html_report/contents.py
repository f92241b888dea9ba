"""What the page says: answer, doubts, tables, notes, provenance; no number is made here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from frontier import tables
from frontier.comparison import VERDICTS, Comparison, Comparisons
from frontier.comparison.sentences import times_in_words, tipping_cell
from frontier.doubts import Doubt, Kind, has
from frontier.html_report.inputs import InputFile, versions
from frontier.metrics import default_y, notes, set_aside_remark, values
from frontier.metrics.axes import goal
from frontier.metrics.names import axis_label, column_named
from frontier.pareto import mark_pareto
from frontier.ratios.ratio import ratio_cell
from frontier.readers import provenance
from frontier.results import Group, in_words, varying
from frontier.tables.styles import header
from frontier.wording import listed, number, p_value_text, plural

ARE = {
    "better": "better", "worse": "worse", "crossing": "better on one side of a crossing only",
    "not separable": "not separable", "withheld": "without a verdict, as the curve contradicts the points",
    "not comparable": "not comparable",
}  # fmt: skip
assert set(ARE) == set(VERDICTS)


@dataclass(frozen=True)
class Card:
    """One comparison as told: where, the verdict, its sentence, and pairs of a question and an answer."""

    where: str
    verdict: str
    sentence: str
    answers: tuple[tuple[str, str], ...]


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
    """All that the page says, in the page's order."""

    title: str
    date: str
    lead: tuple[str, ...]
    cards: tuple[Card, ...]
    limits: tuple[tuple[str, str], ...]
    sheets: tuple[TableSection, ...]
    excluded: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    provenance: pd.DataFrame
    versions: tuple[tuple[str, str], ...]
    files: tuple[InputFile, ...]
    y: str


def contents(
    found: Comparisons,
    table: pd.DataFrame,
    files: tuple[InputFile, ...],
    *,
    title: str = "",
    date: str = "",
    y: str | None = None,
) -> Contents:
    """What a page about these comparisons and their table says."""
    y = found.y_name or y or default_y(table)
    return Contents(
        title or headline(found), date, lead(found, table, y), tuple(_card(c, found) for c in found),
        limits(found), sheets(found, table, y), excluded(table), _warnings(found, table),
        column_origins(table), versions(), files, y,
    )  # fmt: skip


def headline(found: Comparisons) -> str:
    """Who is compared with whom; without comparisons, whose frontiers these are."""
    families = list(dict.fromkeys(c.family for c in found))
    if families:
        return f"{listed(families, 3)} against {found[0].reference}"
    names = list(dict.fromkeys(str(f.group.get(found.family_column, f.name)) for f in found.fits))
    return f"Frontier of {listed(names, 3)}" if names else "Frontiers"


def lead(found: Comparisons, table: pd.DataFrame, y: str) -> tuple[str, ...]:
    """The answer over all groups in a few sentences, and what better means."""
    said = [_tally(found, family) for family in dict.fromkeys(c.family for c in found)]
    if not said:
        said.append(f"Nothing is compared here: {_why_nothing(found)}. The frontiers and their fits follow.")
    elif y == "performance_hit":
        said.append(
            "Better: fewer active latents (L0) at the same performance hit, which is 1 − loss recovered."
        )
    else:
        said.append(f"Better: fewer active latents (L0) at the same {y}: {axis_title(y)}.")
    remark = set_aside_remark(table)
    said.append(f"{plural(len(table), 'SAE')} in the table" + (f"; {remark}." if remark else "."))
    return tuple(said)


def _tally(found: Comparisons, family: str) -> str:
    """'gated against baseline in 3 groups: better in 2 (Resid, MLP); not separable in 1 (Attn).'"""
    of = [c for c in found if c.family == family]
    pair = f"{family} against {of[0].reference}"
    if len(of) == 1:
        return f"{pair}: {ARE[of[0].verdict]}{_amount(of)}."
    parts = []
    for verdict in VERDICTS:
        places = [place(c.group, found) for c in of if c.verdict == verdict]
        if places:
            count = "all" if len(places) == len(of) else str(len(places))
            named = "" if count == "all" and len(places) > 6 else f" ({'; '.join(places)})"
            of_verdict = [c for c in of if c.verdict == verdict]
            parts.append(f"{ARE[verdict]} in {count}{named}{_amount(of_verdict)}")
    return f"{pair} in {len(of)} groups: {'. '.join([parts[0], *(p[0].upper() + p[1:] for p in parts[1:])])}."


def _amount(of: Sequence[Comparison]) -> str:
    """', with 2.6 [2.3, 2.9] times fewer active latents at hit 0.028', or the range over several groups."""
    known = [c.potency for c in of if not has(c.potency.doubts, Kind.no_overlap)]
    if of[0].verdict not in ("better", "worse") or not known:
        return ""
    if len(known) == 1:
        return f", with {times_in_words(known[0])}"
    low, high = min(r.ratio for r in known), max(r.ratio for r in known)
    ends, word = ((low, high), "fewer") if of[0].verdict == "better" else ((1 / high, 1 / low), "more")
    height = known[0].height
    return f", with {number(ends[0])} to {number(ends[1])} times {word} active latents at equal {height}"


def _why_nothing(found: Comparisons) -> str:
    names = {str(f.group.get(found.family_column)) for f in found.fits}
    if not names:
        return "no group could be fitted"
    if len(names) == 1:
        return f"the fits are all of one family, {names.pop()}"
    return "no group holds fits of both a family and the reference"


def place(group: Group, found: Comparisons) -> str:
    """The group columns that vary over the page, in words; 'all groups' where none does."""
    columns = [c for c in varying(found.group_columns, found) if c in group]
    return in_words({c: group[c] for c in columns}) or in_words(group) or "the whole table"


def _card(c: Comparison, found: Comparisons) -> Card:
    several = len({x.family for x in found}) > 1
    where = f"{c.family} in {place(c.group, found)}" if several else place(c.group, found)
    answers = [("How sure", _how_sure(c)), ("At equal L0", _at_equal_l0(c))]
    if math.isfinite(c.tests.parallel):
        answers.append(("One ratio at every hit?", _by_hit(c)))
    o = c.observed_potency
    if o is not None and not math.isnan(o.ratio):
        span = f"{number(o.ratio)} (over the common range {number(o.ratio_min)} to {number(o.ratio_max)})"
        answers.append(("Without any curve", f"Relative potency {span}, interpolated between points"))
    if c.doubts:
        more = f" And {len(c.doubts) - 1} more, below." if len(c.doubts) > 1 else ""
        answers.append(("What the data cannot say", f"{c.doubts[0]}{more}"))
    return Card(where, c.verdict, c.claim or c.sentence, tuple(answers))


def _at_equal_l0(c: Comparison) -> str:
    where = f"At L0 {number(c.hits.at)} the {c.hits.height} of {c.family}"
    return f"{where} is {ratio_cell(c.hits)} times that of {c.reference} (p {p_value_text(c.hits.p_value)})"


def _by_hit(c: Comparison) -> str:
    p = f"p {p_value_text(c.tests.parallel)} for parallel curves"
    if not c.potency_ends:
        return f"Not rejected ({p})"
    ends = " and ".join(f"{ratio_cell(r)} at {r.height} {number(r.at)}" for r in c.potency_ends)
    return f"No: {ends} ({p})"


def _how_sure(c: Comparison) -> str:
    parts = [f"{100 * c.potency.level:g} % intervals in brackets"]
    if math.isfinite(c.tests.holm):
        parts.append(f"p {p_value_text(c.tests.holm)} for one common curve, after Holm")
    if math.isfinite(c.tipping):
        parts.append(f"the verdict bears a seed-to-seed SD of {tipping_cell(c.tipping)} of the hit")
    if math.isfinite(c.potency.p_value):
        parts.append(
            f"p {p_value_text(c.potency.p_value)} for equal L0 at {c.potency.height} {number(c.potency.at)}"
        )
    low, high = c.potency_range
    if math.isfinite(low) and math.isfinite(high):
        left_out = f"leaving out any one SAE moves the L0 ratio between {number(low)} and {number(high)}"
        parts.append(f"{left_out} ({c.decisive_row} decides)")
    return "; ".join(parts)


def limits(found: Comparisons) -> tuple[tuple[str, str], ...]:
    """Each doubt once, with the comparisons it belongs to; then those of fits that stand alone."""
    where: dict[Doubt | str, dict[str, None]] = {}
    several = len({c.family for c in found}) > 1
    for c in found:
        name = f"{c.family} in {place(c.group, found)}" if several else place(c.group, found)
        for doubt in c.doubts:
            where.setdefault(doubt, {})[name] = None
    if not len(found):
        for f in found.fits:
            for doubt in f.doubts:
                where.setdefault(doubt, {})[f.name] = None
    for failure in found.fits.failures:
        where.setdefault(f"Not fitted: {failure.reason}", {})[in_words(failure.group)] = None
    return tuple((str(doubt), listed(list(names), 6)) for doubt, names in where.items())


def sheets(found: Comparisons, table: pd.DataFrame, y: str) -> tuple[TableSection, ...]:
    """Ratios, fits and runs as HTML and LaTeX."""
    made = []
    if len(found.ratios):
        lead = "Value of the family / value of the reference, except relative potency, which is L0 / L0."
        made.append(_sheet("ratios", "Ratios", lead, tables.ratios_table, found.ratios))
    if len(found.fits) or found.fits.failures:
        lead = f"{found.fits.curve.capitalize()} curves through each frontier, with intervals."
        made.append(_sheet("fits", "Fits", lead, tables.fits_table, found.fits))
    marked = marked_for(found, table, y)
    runs = _sheet("runs", "Runs", "", tables.runs_table, marked)
    optimal = marked["pareto_optimal"].tolist()
    share = f"{sum(optimal)} of {len(optimal)} are Pareto-optimal within their group"
    lead = f"One row per SAE. {share}, marked by a bar and by 'yes'."
    return (*made, TableSection("runs", "Runs", lead, mark_rows(runs.html, optimal), runs.latex))


def marked_for(found: Comparisons, table: pd.DataFrame, y: str) -> pd.DataFrame:
    """The table with `pareto_optimal` for L0 and `y`, in the comparisons' own groups."""
    goals = {"l0": "min", y: goal(table, y)}
    return mark_pareto(table, cells(found), objectives=goals, family=found.family_column or None)


def cells(found: Comparisons) -> list[str]:
    """The columns that name a cell."""
    return list(found.group_columns)


def _sheet(key: str, title: str, lead: str, write: object, what: object) -> TableSection:
    assert callable(write)
    return TableSection(key, title, lead, write(what, style="html"), write(what, style="latex"))


def mark_rows(html: str, marks: Iterable[bool]) -> str:
    """A table's HTML with the class 'pareto' on marked rows of its body; cells are escaped, so tags are ours.

    >>> mark_rows("<tr><th></th></tr><tr><td></td></tr>", [True])
    '<tr><th></th></tr><tr class="pareto"><td></td></tr>'
    """
    before, head, *rows = html.split("<tr>")
    body = [f'<tr class="pareto">{r}' if m else f"<tr>{r}" for r, m in zip(rows, marks, strict=True)]
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
    """Rows that were set aside: what each is called, and why."""
    gone = table[table["excluded_because"].notna()]
    l0 = values(gone, "l0")
    named = [c for c in ("run_id", "model", "site", "layer", "family") if c in gone]
    out = []
    for (index, row), size in zip(gone.iterrows(), l0, strict=True):
        words = ", ".join(f"{header(c)} {row[c]}" for c in named if not pd.isna(row[c]))
        name = f"row {index}" + (f" ({words}; L0 {number(float(size)) or 'missing'})" if words else "")
        out.append((name, str(row["excluded_because"])))
    return tuple(out)


def column_origins(table: pd.DataFrame) -> pd.DataFrame:
    """Where every column comes from, as text under readers' headers; what is empty throughout is left out."""
    known = provenance(table).astype(str)
    kept = known[[c for c in known if (known[c] != "").any()]]
    return kept.rename(columns={"changed": "changed on reading"}).rename(columns=header)


def _warnings(found: Comparisons, table: pd.DataFrame) -> tuple[str, ...]:
    """What reading and fitting had to say, each once."""
    return tuple(dict.fromkeys(str(n) for n in (*notes(table), *found.notes, *found.fits.notes) if n))
