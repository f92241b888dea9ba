"""From a table to verdicts in one call: groups, guard, rows, shared shapes, verdicts, doubts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from frontier.comparison.along import check_words, with_potencies
from frontier.comparison.cell_points import called, cell_of, left_out
from frontier.comparison.comparison import Comparison, Comparisons, Tests
from frontier.comparison.crossing import Crossing
from frontier.comparison.own_bend import own_bend
from frontier.comparison.pair_doubts import doubts_of, in_two_units
from frontier.comparison.reading import Reading, p_of_band
from frontier.comparison.search import search_sd
from frontier.comparison.sentences import claim
from frontier.comparison.verdicts import Decision, decisions, parallel_rejected
from frontier.distributions import two_sided
from frontier.doubts import Kind, worst_first
from frontier.fits import fit
from frontier.fits.frontier_fits import FrontierFits
from frontier.fits.points import Points, points_of
from frontier.fits.vanishing import Option
from frontier.groups import Groups
from frontier.guard import guard, nothing_to_compare
from frontier.metrics import metrics_table, y_axis
from frontier.metrics.asked import with_better
from frontier.metrics.axes import falling_axis, falls_to_zero
from frontier.missing_families import missing
from frontier.pareto.rows import ChosenRows, chosen_rows
from frontier.progress import Callback, reported
from frontier.ratios import ratio_table
from frontier.ratios.decided import Decided
from frontier.ratios.observed import ObservedRatio, ObservedRatios, of_chosen
from frontier.ratios.pairs import other_axes, reference_in
from frontier.ratios.ratio import Ratio, RatioTable
from frontier.records import recorded
from frontier.renamed import parameters
from frontier.results import Group, in_words
from frontier.shared_shape import MIDDLE, Analysis, Cell, Pair, SharedShape, analysed, crossing_of
from frontier.shared_shape.excess import name_of, share_of_y
from frontier.wording import plural

CORRELATED = 0.25
"""Level at which neighbouring SAEs of a family count as erring alike; few points show it seldom."""


@parameters(method="intervals")
@recorded
def compare(
    table: Any,
    reference: str | None = None,
    by: Sequence[str] | str | None = None,
    *,
    rows: str = "auto",
    curve: str | None = None,
    x: str = "sparsity",
    y: str | None = None,
    errors: str = "auto",
    max_l0: float | None = None,
    vanishing_l0: Option = None,
    at: float | None = None,
    level: float = 0.95,
    typical_seed_sd: float = 0.0,
    intervals: str = "welch",
    simultaneous: str | None = None,
    fixed: Mapping[str, float] | None = None,
    family: str = "family",
    across: Sequence[str] = (),
    better: Mapping[str, str] | str | None = None,
) -> Comparisons:
    """Every family against the reference, from a metrics table to verdicts.

    All families of a cell (a model, site, layer, width) share one falling shape of the hit over log L0, each
    shifted along it: the shift is its relative potency. A verdict per family: better, worse, crossing, not
    separable, withheld (the curve contradicts the points, or units differ), or not comparable; at most 5 % of
    cells without any difference get another one than not separable (`level`), the choice of shape and errors
    included; about twice as many where a family of few SAEs errs several times as much as the other
    (docs/verdicts.md).

    Parameters
    ----------
    table : path, folder or data frame
        Anything that `frontier.read` or `metrics_table` takes.
    reference : name of a family
        Default: the one named relu, standard, vanilla or baseline, if there is exactly one.
    by : column names, optional
        Cells; default model, site, layer where present, and dictionary_size where every size holds every
        family.
    rows : {"auto", "pareto", "all"}
        Which runs are compared: all of them, or the Pareto set where a family was searched (`chosen_rows`).
    y : column name
        The hit: lower is better. Default performance_hit.
    at : float, optional
        The hit at which relative potency is read, with the limits of the band; default per pair, the
        geometric middle of the common range, with those of a single hit.
    typical_seed_sd : float
        Known seed-to-seed SD of a hit, as a share of it: a verdict that it could undo is none, and intervals
        hold it.
    curve, x, errors, vanishing_l0, fixed, intervals, simultaneous
        Of the fits and ratios that come along (`.fits`, `.ratios`), as in `fit` and `ratio_table`; no verdict
        rests on them.
    across : column names
        Columns among protocol, ablation, model, site, layer whose values may meet in one comparison.
    better : "higher" or "lower", or dict of column to one of them
        Which side of a metric that is not known here is better; a word alone is about `y`.

    Raises
    ------
    TableError
        Unusable table, or rows of different protocol, ablation, model, site or layer in one comparison.
    ValueError
        Unknown reference, rows or curve.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> found = frontier.compare(table, reference="baseline")
    >>> len(found), found["Resid", "gated"].verdict
    (3, 'better')
    """
    check_words(curve, errors, intervals, simultaneous)
    task = task_of(
        table, reference, by, rows=rows, y=y, max_l0=max_l0, at=at, level=level,
        typical_seed_sd=typical_seed_sd, family=family, across=across, better=better,
    )  # fmt: skip
    found = task.run()

    def make() -> tuple[FrontierFits, RatioTable]:
        fits = fit(
            task.chosen.table, curve, task.groups.cells, x=x, y=task.y, errors=errors, max_l0=max_l0,
            vanishing_l0=vanishing_l0, level=level, fixed=fixed, family=family, across=across,
        )  # fmt: skip
        ratios = ratio_table(fits, task.reference, at=at, intervals=intervals, simultaneous=simultaneous)
        return fits, with_potencies(ratios, found)

    return found.with_curves(make)


def task_of(
    table: Any, reference: str | None, by: Sequence[str] | str | None, *, rows: str, y: str | None,
    max_l0: float | None, at: float | None, level: float, typical_seed_sd: float, family: str,
    across: Sequence[str], better: Mapping[str, str] | str | None,
) -> Task:  # fmt: skip
    """The rows that one call compares, in their groups, with its options; else as `compare`."""
    table = with_better(metrics_table(table), better, y)
    y = falling_axis(table, y_axis(table, y))
    groups = Groups.of(table, by, family)
    guard(table, groups.cells, across, groups.family)
    if not groups.family:
        raise ValueError(nothing_to_compare(table))
    name = reference_in(table, groups, y, reference)
    chosen = chosen_rows(table, groups, rows, objectives={"l0": "min", y: "min"})
    several = chosen.table[groups.family].nunique() > 1
    ways = "" if several else other_axes(table, groups, name)
    groups, across = groups.on(chosen.table), tuple(across)
    return Task(chosen, groups, name, y, at, level, typical_seed_sd, max_l0, across, ways)


class Compared(NamedTuple):
    """One cell: its families' points, the reference first, and what was found of them."""

    group: Group
    members: list[Points]
    cell: Cell
    analysis: Analysis | None


SHARES = (10, 50, 15, 25)
"""Of the work on many cells: their points, their analysis, what was observed, what is told of it."""


@dataclass(frozen=True, eq=False)
class Task:
    """What one call compares: chosen rows in groups, the reference, the axis and the options."""

    chosen: ChosenRows
    groups: Groups
    reference: str
    y: str
    at: float | None
    level: float
    typical_seed_sd: float
    max_l0: float | None
    across: tuple[str, ...]
    ways: str = ""
    """Axes on which several families have numbers, where only one has any of y."""

    def analysed(self, done: Callable[[int], None] | None = None) -> tuple[list[Compared], list[str]]:
        """Every cell, in one batch, and remarks on what is left out; `done` hears of two `SHARES`."""
        points, remarks = points_of(
            self.chosen.table, self.groups, "l0", self.y, log_x=True, max_l0=self.max_l0, across=self.across
        )
        cells, left = self._cells(points)
        heard: bool | Callback = (
            True if done is None else lambda _, n, of: done(SHARES[0] + SHARES[1] * n // of)
        )
        found = zip(cells, analysed([c for _, c in cells], heard), strict=True)
        compared = [Compared(self.groups.cell_of(m[0].group), m, c, a) for (m, c), a in found]
        return compared, [*remarks, *left]

    def run(self) -> Comparisons:
        """Every cell told pair by pair, under one bar."""
        with reported(True, "comparing", sum(SHARES)) as done:
            return self.told(*self.analysed(done), done)

    def told(
        self, cells: list[Compared], remarks: list[str], done: Callable[[int], None] = lambda _: None
    ) -> Comparisons:
        """What was found, pair by pair; `done` hears of the other two `SHARES`."""
        observed = of_chosen(self.chosen.table, self.groups, self.reference, self.y, self.max_l0)
        seen, left = _by_pair(observed), list[str]()
        found: list[Comparison] = []
        shapes: list[SharedShape] = []
        for number, (group, members, cell, analysis) in enumerate(cells, 1):
            done(sum(SHARES[:3]) + SHARES[3] * number // len(cells))
            if analysis is None:
                where = in_words(group) or "the table"
                count = plural(sum(len(m.x) for m in members), "SAE")
                few = f"{count}: too few, at one L0, or no hit above 0"
                left.append(f"{where}: not compared, the points carry no shape ({few})")
                continue
            families = [str(m.group[self.groups.family]) for m in members]
            shapes.append(SharedShape.of(group, self.y, families, cell, analysis.shape))
            found += self._told(group, members, cell, families, analysis, seen)
        notes = (*self.groups.notes, self.chosen.set_aside, self.chosen.note, *remarks, *left)
        return Comparisons(
            tuple(found), tuple(shapes), observed, self.groups.cells, self.groups.family, self.y,
            tuple(dict.fromkeys(n for n in notes if n)),
        )  # fmt: skip

    def _cells(self, points: list[Points]) -> tuple[list[tuple[list[Points], Cell]], list[str]]:
        """Each cell's families with points, the reference first, and remarks on what cells lack."""
        by_cell: dict[tuple[Any, ...], list[Points]] = {}
        for p in points:
            if len(p.x):
                by_cell.setdefault(tuple(p.group[c] for c in self.groups.cells), []).append(p)
        cells, there = [], dict[str, list[str]]()
        for key, members in by_cell.items():
            where = in_words(dict(zip(self.groups.cells, key, strict=True))) or "the table"
            members.sort(key=lambda p: str(p.group[self.groups.family]) != self.reference)
            there[where] = [str(p.group[self.groups.family]) for p in members]
            if self.reference in there[where] and len(members) > 1:
                cells.append((members, cell_of(members, floored=not falls_to_zero(self.y))))
        remarks = missing(there, self.reference)
        return cells, [*remarks, self.ways] if self.ways and not cells else remarks

    def _told(
        self,
        group: Group,
        members: list[Points],
        cell: Cell,
        families: list[str],
        analysis: Analysis,
        seen: Seen,
    ) -> Iterator[Comparison]:
        keys = [(*map(str, group.values()), f) for f in families[1:]]
        potencies = [
            next((o for o in seen.get(k, ()) if o.quantity == "relative_potency"), None) for k in keys
        ]
        scatter = analysis.shape.scatter
        of, row = called(members, scatter.outlier)
        outlier = f"{families[of]} row {row}"
        sigma = scatter.sigma * share_of_y(analysis.shape.constant, cell.y)
        search = [search_sd(members[f], members[0], sigma) for f in range(1, len(members))]
        units = [
            in_two_units((f, families[0]), p, members[0]) for f, p in zip(families, members, strict=True)
        ]
        decided = decisions(
            analysis.pairs, potencies, scatter, alpha=1 - self.level,
            typical_seed_sd=self.typical_seed_sd, search_sds=search, units_differ=units[1:],
        )  # fmt: skip
        bend = own_bend(members, families, analysis.pairs, scatter.p_own_bend, self.level)
        for f, (pair, decision) in enumerate(zip(analysis.pairs, decided, strict=True), 1):
            both = (members[f], members[0])
            sd = math.hypot(self.typical_seed_sd, search[f - 1])
            c = self._comparison(group, families[f], pair, decision, analysis, seen.get(keys[f - 1], ()), sd)
            if self.at is None:
                span, row = left_out(pair, members, f)
                c = replace(c, potency_range=span, decisive_row=row)
            if decision.verdict == "crossing" and (met := crossing_of(cell, analysis.shape, f, self.level)):
                c = replace(c, crossing=Crossing(*met, self.level))
            doubts = worst_first((*doubts_of(c, both, decision, scatter, outlier, families), *bend))
            of_ratio = tuple(d for d in doubts if d.kind is Kind.not_parallel)
            c = replace(c, doubts=doubts, potency=replace(c.potency, doubts=of_ratio))
            words = claim(c)
            where = in_words(group)
            yield replace(c, claim=words, sentence=f"{where}: {words}" if where else words)

    def _comparison(
        self,
        group: Group,
        family: str,
        pair: Pair,
        decision: Decision,
        analysis: Analysis,
        seen: tuple[ObservedRatio, ...],
        seed_sd: float,
    ) -> Comparison:
        """The comparison's numbers, without its words and doubts."""
        scatter = analysis.shape.scatter
        errors = name_of(analysis.shape.constant)
        reading = Reading(pair, group, family, self.reference, self.y, errors, self.level, seed_sd)
        sloping = parallel_rejected(pair.p_parallel, decision.level) and math.isfinite(pair.potency[MIDDLE])
        shift = two_sided(pair.shift / pair.shift_se, pair.shift_df) if pair.shift_se > 0 else math.nan
        c = Comparison(
            group, family, self.reference, decision.verdict, decision.why, reading.middle(),
            reading.hit_ratio(), reading.band(), reading.ends() if sloping else None,
            Tests(pair.p_gate, decision.p_adjusted, pair.p_parallel, shift, scatter.p_lack_of_fit),
            decision.tipping, len(analysis.pairs), scatter.p_autocorrelation < CORRELATED, pair.starts_lower,
            None, seen, (math.nan, math.nan), "",
        )  # fmt: skip
        potency = c.potency if self.at is None else self._read_at(c, pair, self.at)
        decided = Decided(decision.verdict, decision.why, decision.p_adjusted)
        return replace(c, potency=replace(potency, decided=decided))

    def _read_at(self, c: Comparison, pair: Pair, at: float) -> Ratio:
        """The potency at an asked hit; none where the two do not share it."""
        try:
            value, low, high = c.potency_at(at)
        except ValueError:
            value = low = high = math.nan
        r = c.potency
        p = math.nan if math.isnan(value) else p_of_band(value, low, high, pair, self.level)
        return replace(r, at=at, ratio=value, ratio_low=low, ratio_high=high, p_value=p)


Seen = dict[tuple[str, ...], tuple[ObservedRatio, ...]]
"""Observed ratios by cell and family."""


def _by_pair(observed: ObservedRatios) -> Seen:
    found: Seen = {}
    for o in observed:
        key = (*map(str, o.group.values()), o.family)
        found[key] = (*found.get(key, ()), o)
    return found
