"""The answer: one sentence over all cells, the matrix of potencies, and each cell told family by family."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frontier.comparison import VERDICTS, Comparison, Comparisons
from frontier.comparison.screen import SIGNS
from frontier.comparison.sentences import height_of, tipping_cell
from frontier.comparison.verdicts import UNTOLD
from frontier.ratios.ratio import ratio_cell
from frontier.results import Group, in_words
from frontier.text_tables import abbreviations
from frontier.wording import listed, number, p_value_text, plural

SHORT = 24
"""Letters of a name in the matrix; the whole name is shown on pointing, and read out."""
FEW = 3
"""So many families are named in the sentence."""
TITLE = 34
"""Letters of a name above a panel, and beside a row of the forest."""
LEAST = 12
"""A column of a name is not made shorter than so many letters."""
STRONGEST = 8.0
"""A relative potency of so many times, or one over it, has the full colour."""


@dataclass(frozen=True)
class Name:
    """A name, and its short form for a narrow column."""

    whole: str
    short: str


@dataclass(frozen=True)
class MatrixCell:
    """One comparison in the matrix: what is seen, what is read out, and by what it is coloured and sorted.

    Attributes
    ----------
    verdict, sign, potency, interval : str
    words : str
        All of it in words, for a screen reader and on pointing.
    strength : int
        Per cent of the verdict's colour, 0 to 100.
    value : str
        The number to sort by; empty where there is none.
    """

    verdict: str
    sign: str
    potency: str
    interval: str
    words: str
    strength: int
    value: str


@dataclass(frozen=True)
class Card:
    """One comparison as told: family, verdict, sentence, and pairs of a question and an answer."""

    family: str
    verdict: str
    sentence: str
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cell:
    """One cell: its name, its row of the matrix (None where a family is not compared), its verdicts told."""

    name: Name
    row: tuple[MatrixCell | None, ...]
    tally: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Answer:
    """What is said of all comparisons: the sentence, the families of the matrix, the cells."""

    sentence: str
    families: tuple[Name, ...]
    cells: tuple[Cell, ...]
    signs: tuple[tuple[str, str], ...]
    level: str


CellsOf = dict[str, set[str]]
"""By family, the names of cells."""


def answer(found: Comparisons) -> Answer:
    """The answer over at least one comparison."""
    families = list(dict.fromkeys(c.family for c in found))
    by_cell: dict[str, list[Comparison]] = {}
    for c in found:
        by_cell.setdefault(place(c.group, found), []).append(c)
    cells = tuple(
        Cell(name, _row(own, families, name.whole), tally(own), tuple(map(_card, own)))
        for name, own in zip(_names(list(by_cell)), by_cell.values(), strict=True)
    )
    there = {c.verdict for c in found}
    signs = tuple((SIGNS[v], v) for v in VERDICTS if v in there)
    level = f"{100 * found[0].potency.level:g} %"
    return Answer(conclusion(found), _names(families), cells, signs, level)


def conclusion(found: Comparisons) -> str:
    """The answer over all cells in one sentence: who is better most often, by how much, and all verdicts."""
    pairs, reference = list(found), found[0].reference
    if len(pairs) == 1:
        return pairs[0].claim or pairs[0].sentence
    families = list(dict.fromkeys(c.family for c in pairs))
    where = [place(c.group, found) for c in pairs]
    cells = len(set(where))
    wins, there = CellsOf({f: set() for f in families}), CellsOf({f: set() for f in families})
    for c, cell in zip(pairs, where, strict=True):
        there[c.family].add(cell)
        wins[c.family] |= {cell} if c.verdict == "better" else set()
    others = [c for c in pairs if c.verdict != "better"]
    if not any(wins.values()):
        who = families[0] if len(families) == 1 else "no family"
        verb = "is not" if len(families) == 1 else "is"
        places = f" in any of {plural(cells, 'cell')}" if cells > 1 else ""
        return _capital(f"{who} {verb} better than {reference}{places}: {tally(pairs)}.")
    best = _most_often(_by_potency(pairs), wins, there)
    places = _in_cells([len(wins[f]) for f in best], {f: len(there[f]) for f in best}, cells)
    are = "is" if len(best) == 1 else "are each"
    said = f"{_together(best)} {are} better than {reference}{places}"
    said += _amount([c for c in pairs if c.family in best and c.verdict == "better"])
    if len(families) > 1:
        said += f"; of all {len(pairs)} comparisons, {tally(pairs)}"
    elif others:
        said += f"; of the other {len(others)}, {tally(others)}"
    return _capital(f"{said}.")


def _most_often(families: Sequence[str], wins: CellsOf, there: CellsOf) -> list[str]:
    """The families that are better in most cells, and those that only lack cells to be among them.

    These share cells with each of the first, and are better in as many of those.
    """
    most = max(map(len, wins.values()))
    first = [f for f in families if len(wins[f]) == most]

    def is_level(f: str, g: str) -> bool:
        shared = there[f] & there[g]
        return bool(shared & wins[f]) and len(shared & wins[f]) >= len(shared & wins[g])

    return [f for f in families if f in first or all(is_level(f, g) for g in first)]


def _in_cells(wins: Sequence[int], there: Mapping[str, int], cells: int) -> str:
    """' in 3 of 4 cells': where the best families are better, and which of them lack cells."""
    if cells == 1:
        return ""
    least, most = min(wins), max(wins)
    if least == most:
        count = f"{most} of {cells}" if most < cells else "both" if cells == 2 else f"all {cells}"
    else:
        count = "all their" if list(wins) == list(there.values()) else f"{least} to {most} of {cells}"
    of = f" of {cells}" if count == "all their" else ""
    fewer = [f"{f} is in {n}{of}" for f, n in there.items() if n < cells]
    return f" in {count} cells" + (f" ({listed(fewer, FEW, '; ')})" if fewer else "")


def _together(families: Sequence[str]) -> str:
    """'a, b and c'; of more than three the tail counted."""
    *first, last = families if len(families) <= FEW else (*families[:FEW], f"{len(families) - FEW} more")
    return f"{', '.join(first)} and {last}" if first else last


def _by_potency(pairs: Sequence[Comparison]) -> list[str]:
    """The families, that of the largest median relative potency first."""
    known: dict[str, list[float]] = {c.family: [] for c in pairs}
    for c in pairs:
        if math.isfinite(c.potency.ratio):
            known[c.family].append(c.potency.ratio)
    return sorted(known, key=lambda f: -statistics.median(known[f] or [0.0]))


def tally(pairs: Sequence[Comparison]) -> str:
    """'4 better, 2 not separable'."""
    counts = Counter(c.verdict for c in pairs)
    return ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])


def _capital(sentence: str) -> str:
    """A sentence that begins with our own word has a capital; names stay as they are."""
    return "N" + sentence[1:] if sentence.startswith("no family ") else sentence


def _amount(better: Sequence[Comparison]) -> str:
    """', with 2.1 to 3.4 times fewer active latents at equal hit' over comparisons that are better."""
    known = [c.potency for c in better if math.isfinite(c.potency.ratio)]
    if not known:
        return ""
    low, high = min(r.ratio for r in known), max(r.ratio for r in known)
    span = number(low) if len(known) == 1 else f"{number(low)} to {number(high)}"
    return f", with {span} times fewer active latents at equal {known[0].height}"


def place(group: Group, found: Comparisons) -> str:
    """The group columns that vary over the page, in words; 'the whole table' where there are none."""
    columns = [c for c in found.varying_columns if c in group]
    return in_words({c: group[c] for c in columns}) or in_words(group) or "the whole table"


def _names(whole: Sequence[str]) -> tuple[Name, ...]:
    return tuple(Name(n, s) for n, s in shortened(whole, SHORT).items())


def shortened(names: Sequence[str], most: int = TITLE) -> dict[str, str]:
    """A form of every name in about so many letters that still tells them apart, column by column.

    >>> shortened(["a/long/model-1, layer 3", "a/long/model-2, layer 3"], 12)
    {'a/long/model-1, layer 3': '1, layer 3', 'a/long/model-2, layer 3': '2, layer 3'}
    """
    names = list(dict.fromkeys(names))
    if all(len(n) <= most for n in names):
        return {n: n for n in names}
    parts = [n.split(", ") for n in names]
    if len({len(p) for p in parts}) > 1:
        parts = [[n] for n in names]
    columns = []
    for values in zip(*parts, strict=True):
        short = abbreviations(list(dict.fromkeys(values)), max(LEAST, most // len(parts[0])))[0]
        columns.append([short.get(v, v) for v in values])
    return dict(zip(names, map(", ".join, zip(*columns, strict=True)), strict=True))


def _row(own: Sequence[Comparison], families: Sequence[str], where: str) -> tuple[MatrixCell | None, ...]:
    of = {c.family: c for c in own}
    return tuple(_matrix_cell(of[f], where) if f in of else None for f in families)


def _matrix_cell(c: Comparison, where: str) -> MatrixCell:
    """A withheld potency is not shown, as on the screen of the command."""
    r = c.potency
    if c.verdict in UNTOLD or not math.isfinite(r.ratio):
        words = f"{c.family} in {where}: {c.verdict}" + (f", {c.why}" if c.why else "")
        return MatrixCell(c.verdict, SIGNS[c.verdict], "", "", words, 0, "")
    potency, _, interval = ratio_cell(r).replace("inf", "∞").partition(" ")
    words = (
        f"{c.family} in {where}: {c.verdict}, relative potency {ratio_cell(r)} at {r.height} {number(r.at)}"
    )
    size = abs(math.log(r.ratio)) / math.log(STRONGEST) if r.ratio > 0 else 1.0
    strength = round(100 * min(1.0, size))
    return MatrixCell(c.verdict, SIGNS[c.verdict], potency, interval, words, strength, f"{r.ratio:.6g}")


def _card(c: Comparison) -> Card:
    answers = [("How sure", _how_sure(c)), ("At equal L0", _at_equal_l0(c))]
    if math.isfinite(c.tests.parallel):
        answers.append((f"One ratio at every {c.potency.height}?", _by_hit(c)))
    o = c.observed_potency
    if o is not None and not math.isnan(o.ratio):
        span = f"{number(o.ratio)} (over the common range {number(o.ratio_min)} to {number(o.ratio_max)})"
        answers.append(("Without any curve", f"Relative potency {span}, interpolated between points"))
    if c.doubts:
        more = f" And {len(c.doubts) - 1} more, below." if len(c.doubts) > 1 else ""
        answers.append(("What the data cannot say", f"{c.doubts[0]}{more}"))
    return Card(c.family, c.verdict, c.claim or c.sentence, tuple(answers))


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
        parts.append(f"p {p_value_text(c.tests.holm)} of the gate (one common curve), after Holm")
    if math.isfinite(c.tipping):
        parts.append(f"the verdict bears a seed-to-seed SD of {tipping_cell(c.tipping)} of {height_of(c)}")
    if math.isfinite(c.potency.p_value):
        parts.append(
            f"p {p_value_text(c.potency.p_value)} for a relative potency of 1 at {c.potency.height} "
            f"{number(c.potency.at)}"
        )
    low, high = c.potency_range
    if math.isfinite(low) and math.isfinite(high):
        left_out = f"leaving out any one SAE moves the L0 ratio between {number(low)} and {number(high)}"
        parts.append(f"{left_out} (row {c.decisive_row} moves it most)")
    return "; ".join(parts)
