"""Why a verdict may not be the whole answer: the doubts of one comparison, as data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from frontier.comparison.verdicts import CONTRADICTED, MISFIT, RISES, Decision, parallel_rejected
from frontier.doubts import Doubt, Kind, has, worst_first
from frontier.fits.own_facts import own_doubts
from frontier.fits.points import Points
from frontier.ratios.l0_units import units_differ
from frontier.ratios.pairs import design_doubts
from frontier.shared_shape.noise import UNEQUAL
from frontier.shared_shape.scatter import Scatter, Widened
from frontier.wording import listed, number, p_value_text, plural

if TYPE_CHECKING:
    from frontier.comparison.comparison import Comparison

LACK_OF_FIT = 0.05
OUTLIER = 0.01
"""Levels from which it is worth a word."""
FEW = 3
"""Points of a family up to which its slope and bend are mostly those of the others."""


def doubts_of(
    c: Comparison, both: tuple[Points, Points], decision: Decision, scatter: Scatter, outlier: str,
    families: Sequence[str],
) -> tuple[Doubt, ...]:  # fmt: skip
    """The doubts of a comparison whose numbers are known, the gravest first.

    `both` are the points of the family and of the reference; `outlier` names the cell's farthest point,
    `families` are all of the cell.
    """
    found = [
        *_of_the_verdict(c, decision), *_of_the_residuals(c, scatter, outlier, families),
        *_of_the_points(c, both),
        *design_doubts((c.family, c.reference), *both, wider=math.sqrt(scatter.widened.selection)),
    ]  # fmt: skip
    if c.verdict in ("better", "worse"):
        found += [d for o in c.observed for d in o.doubts if d.kind is Kind.crossing]
    found += [d for o in c.observed for d in o.doubts if d.kind is not Kind.crossing]
    return worst_first(found)


def in_two_units(names: tuple[str, str], one: Points, other: Points) -> bool:
    """Whether a family and the reference plainly have L0 or hits in two units."""
    facts = (one.facts, other.facts)
    return units_differ(facts) or has(own_doubts(names, facts), Kind.other_unit)


def _of_the_verdict(c: Comparison, decision: Decision) -> Iterator[Doubt]:
    about = f"{c.family} and {c.reference}"
    kinds = {CONTRADICTED: Kind.contradicted, MISFIT: Kind.misfit, RISES: Kind.rises}
    if c.why in kinds:
        yield Doubt(kinds[c.why], f"{about}: {c.why}.", about)
    if parallel_rejected(c.tests.parallel, decision.level):
        p = c.tests.parallel
        text = f"{about} are not parallel (p {p_value_text(p)}): the ratio depends on the {c.potency.height}."
        yield Doubt(Kind.not_parallel, text, about, quantity="relative_potency", numbers={"p": p})
    if c.potency.at is not None and math.isnan(c.potency.ratio):
        text = f"{about} do not share {c.potency.height} {number(c.potency.at)}."
        if not len(c.band.hits):
            text = f"{about} share no {c.potency.height}: there is no relative potency."
        yield Doubt(Kind.no_overlap, text, about, quantity="relative_potency")
    low, high = c.potency_range
    if c.decisive_row and not c.potency.ratio_low <= low <= high <= c.potency.ratio_high:
        text = (
            f"Leaving out one SAE moves relative potency between {number(low)} and {number(high)}; "
            f"row {c.decisive_row} moves it most{_undone(c)}."
        )
        numbers = {"from": low, "to": high}
        yield Doubt(Kind.influence, text, c.family, c.decisive_row, "relative_potency", numbers=numbers)


def _undone(c: Comparison) -> str:
    """What is said where the limits exclude 1, and limits as wide would not with one SAE left out."""
    r, (low, high) = c.potency, c.potency_range
    above, below = r.ratio_low > 1, r.ratio_high < 1
    holds = (above and r.ratio_low * low <= r.ratio) or (below and r.ratio_high * high >= r.ratio)
    if not holds or c.verdict not in ("better", "worse"):
        return ""
    moved = (r.ratio / low >= high / r.ratio) == above
    return f", and without {'it' if moved else 'another one'} limits as wide would hold 1"


def _of_the_residuals(
    c: Comparison, scatter: Scatter, outlier: str, families: Sequence[str]
) -> Iterator[Doubt]:
    """Doubts that all comparisons of a cell share."""
    if scatter.p_lack_of_fit < LACK_OF_FIT:
        p = scatter.p_lack_of_fit
        text = f"The shape leaves a bend that its cell shares (lack of fit p {p_value_text(p)})."
        yield Doubt(Kind.lack_of_fit, text, numbers={"p": p})
    if scatter.p_outlier < OUTLIER:
        text = (
            f"{outlier} lies far from its family's curve (p {p_value_text(scatter.p_outlier)}) and widens "
            "every interval of its cell: leave it out if its training failed."
        )
        yield Doubt(Kind.outlier, text, row=outlier, numbers={"p": scatter.p_outlier})
    if scatter.widened.p_unequal < UNEQUAL:
        yield _unequal_noise(scatter.widened, families)
    if c.correlated:
        rho, p = scatter.autocorrelation, scatter.p_autocorrelation
        text = (
            f"Neighbouring SAEs of a family seem to err alike (correlation about {number(rho, 1)}, p "
            f"{p_value_text(p)}): intervals may be too narrow by up to a factor "
            f"{number(math.sqrt((1 + rho) / (1 - rho)), 2)}."
        )
        yield Doubt(Kind.correlated, text, numbers={"correlation": rho, "p": p})
    if scatter.widened.by_seed:
        text = "Families are held against the scatter of their seeds."
        if scatter.widened.seeds == 1:
            text = "Seeds of a family differ no more than its runs do, and are pooled."
        numbers = {"inflation": scatter.widened.seeds, "df": scatter.widened.df}
        yield Doubt(Kind.seeds, text, numbers=numbers)


def _unequal_noise(widened: Widened, families: Sequence[str]) -> Doubt:
    spreads = dict(zip(families, widened.spreads, strict=True))
    quiet, loud = min(spreads, key=lambda f: spreads[f]), max(spreads, key=lambda f: spreads[f])
    least, most = spreads[quiet], spreads[loud]
    text = (
        f"{loud} errs {number(most / max(least, 1e-12 * most), 2)} times as much as {quiet} about its curve "
        f"(p {p_value_text(widened.p_unequal)}): {_of_the_loud(widened, families)}."
    )
    return Doubt(Kind.unequal_noise, text, numbers={"least": least, "most": most, "p": widened.p_unequal})


def _of_the_loud(widened: Widened, families: Sequence[str]) -> str:
    if not widened.quiet:
        return "where it is larger, each family's own noise counts"
    return f"the others are compared without {listed([families[f] for f in widened.loud])}"


def _of_the_points(c: Comparison, both: tuple[Points, Points]) -> Iterator[Doubt]:
    for name, points in zip((c.family, c.reference), both, strict=True):
        count = len(points.x)
        if count <= FEW:
            saes = plural(count, "SAE")
            text = f"{name} has {saes}: its slope, bend and noise are mostly those of the others."
            yield Doubt(Kind.few_points, text, name, numbers={"points": count})
