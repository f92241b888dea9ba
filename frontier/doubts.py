"""Doubts: why a number that was computed may not be the answer. Data first; words are for people to read.

Code asks a doubt for its kind and its numbers, never for its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from frontier.wording import plural


class Severity(IntEnum):
    """How much a doubt takes away from a result."""

    grave = 3
    """The number may not answer the question."""
    caution = 2
    """The number stands, but its interval may be too narrow, or it hangs on little."""
    remark = 1
    """Something the reader should know; the result allows for it."""


class Kind(StrEnum):
    """Kinds of doubt, the worst first; each with its severity and the words that head a group of it.

    >>> Kind("no overlap").severity.name, Kind.no_overlap.heading
    ('grave', 'The families share no level')
    """

    severity: Severity
    heading: str

    def __new__(cls, name: str, severity: Severity, heading: str) -> Kind:
        """A kind by its name, which is what files hold."""
        kind = str.__new__(cls, name)
        kind._value_, kind.severity, kind.heading = name, severity, heading
        return kind

    undefined = "undefined", Severity.grave, "A ratio does not exist"
    other_unit = "other unit", Severity.grave, "A number may be in another unit"
    unlike_losses = "unlike losses", Severity.grave, "Hits contradict the losses printed beside them"
    contradicted = "contradicted", Severity.grave, "The curve contradicts the points"
    misfit = "misfit", Severity.grave, "The shape does not fit, so that a crossing is withheld"
    rises = "rises", Severity.grave, "A hit does not fall with L0"
    no_overlap = "no overlap", Severity.grave, "The families share no level"
    not_parallel = "not parallel", Severity.grave, "No single ratio exists"
    confounded = "confounded", Severity.grave, "The families differ in more than their architecture"
    dependent = "dependent", Severity.grave, "Points come from one SAE and err alike"
    above_top = "above top", Severity.grave, "Values exceed the curve's top"
    arbitrary_top = "arbitrary top", Severity.grave, "The curve's top has no meaning on this axis"
    no_noise = "no noise", Severity.grave, "Residuals are zero to rounding"
    no_curve_fits = "no curve fits", Severity.grave, "No curve fits"
    seeds_differ = "seeds differ", Severity.grave, "Seeds differ, and intervals take runs as independent"
    wrong_skew = "wrong skew", Severity.grave, "The runs show no one-sided excess"

    outlier = "outlier", Severity.caution, "One SAE lies far from its family's curve"
    lack_of_fit = "lack of fit", Severity.caution, "The shape leaves a bend"
    own_bend = "own bend", Severity.caution, "The reference bends otherwise than the others"
    correlated = "correlated errors", Severity.caution, "Neighbouring SAEs err alike"
    crossing = "crossing", Severity.caution, "The observed frontiers cross"
    influence = "influence", Severity.caution, "One SAE moves a number far"
    leverage = "leverage", Severity.caution, "One SAE fixes one direction of the curve"
    no_interval = "no interval", Severity.caution, "There is no interval"
    extrapolated = "extrapolated", Severity.caution, "A value is read outside the data"
    extrapolated_k = "extrapolated k", Severity.caution, "k is extrapolated"
    small_overlap = "small overlap", Severity.caution, "The common range is small"
    selected = "selected", Severity.caution, "The frontier keeps the luckiest of many runs"
    unequal_search = "unequal search", Severity.caution, "One family was searched for longer"
    left_out = "left out", Severity.caution, "Something was left out"
    repeated = "repeated", Severity.caution, "A setting was run more than once"
    few_points = "few points", Severity.caution, "The number hangs on few SAEs"
    serial = "serial correlation", Severity.caution, "Neighbouring batches correlate"
    unbounded = "unbounded", Severity.caution, "A parameter has no limit on one side"
    held = "held", Severity.caution, "Intervals hold another parameter where it was found"
    lost_limit = "lost limit", Severity.caution, "A limit could not be followed to its end"
    step = "step", Severity.caution, "The curve rises in one step"
    tie = "tie", Severity.caution, "Curves tie"
    unlikely_curve = "unlikely curve", Severity.caution, "Another curve is far likelier"
    no_excess = "no excess", Severity.caution, "Noise alone explains the scatter"
    all_excess = "all excess", Severity.caution, "No scatter is read as noise"
    said = "said", Severity.caution, "Said"

    unequal_noise = "unequal noise", Severity.remark, "The families' noise differs"
    other_errors = "other errors", Severity.remark, "Another errors model was used than asked"
    unequal_hits = "unequal hits", Severity.remark, "Cells are read at different hits"
    seeds = "seeds", Severity.remark, "Settings were run with several seeds"
    averaged = "averaged", Severity.remark, "A mean over a range"


RANK = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True)
class Doubt:
    """One doubt: what kind, what it concerns, its numbers, and the sentence that says it.

    Attributes
    ----------
    kind : Kind
    text : str
        For readers only.
    family, row, quantity, cell : str
        What it concerns; empty where that does not apply, or is clear from the result that holds it.
    numbers : mapping of str to float

    Examples
    --------
    >>> doubt = Doubt(Kind.extrapolated_k, "k is extrapolated: gated k / largest x = 6.2.", "gated",
    ...     numbers={"gated": 6.2})
    >>> print(doubt)
    k is extrapolated: gated k / largest x = 6.2.
    """

    kind: Kind
    text: str
    family: str = ""
    row: str = ""
    quantity: str = ""
    cell: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return self.text


def said(text: str) -> Doubt:
    """A sentence of which nothing else is known: what results saved by version 0.1 hold.

    >>> said("Only 3 points.").kind.value
    'said'
    """
    return Doubt(Kind.said, text)


def has(doubts: Iterable[Doubt], *kinds: Kind) -> bool:
    """Whether one of the doubts is of one of these kinds."""
    return any(d.kind in kinds for d in doubts)


def in_text(doubts: Iterable[Doubt]) -> str:
    """All sentences in one cell of a table."""
    return " ".join(map(str, doubts))


NAMED = 3
"""More places than these are counted, not named."""


@dataclass(frozen=True)
class DoubtGroup:
    """Doubts of one kind, each with the place (cell, comparison) that it concerns; "" for the whole."""

    kind: Kind
    pairs: tuple[tuple[str, Doubt], ...]
    noun: str = "cell"

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """The doubts, each once."""
        return tuple(dict.fromkeys(d for _, d in self.pairs))

    @property
    def places(self) -> tuple[str, ...]:
        """The places, each once."""
        return tuple(dict.fromkeys(p for p, _ in self.pairs if p))

    @property
    def places_of(self) -> dict[Doubt, list[str]]:
        """The places of each doubt."""
        found: dict[Doubt, list[str]] = {d: [] for d in self.doubts}
        for place, doubt in self.pairs:
            found[doubt] += [place] if place else []
        return found

    @property
    def sentence(self) -> str:
        """All in one sentence: the doubt itself where there is one, else what they share and where."""
        first, count = self.doubts[0], len({d.text for d in self.doubts})
        if count == 1:
            return self._with_places(first, self.places)
        if len(self.places) > 1:
            return f"{self.kind.heading} in {self._counted(self.places)}."
        return f"{self._with_places(first, self.places)} And {count - 1} more of this kind."

    @property
    def sentences(self) -> list[str]:
        """Every doubt, with all its places."""
        return [self._with_places(d, where, len(where)) for d, where in self.places_of.items()]

    def _counted(self, places: Sequence[str], most: int = NAMED) -> str:
        count = plural(len(places), self.noun)
        return f"{count} ({'; '.join(places)})" if len(places) <= most else count

    def _with_places(self, doubt: Doubt, places: Sequence[str], most: int = NAMED) -> str:
        if len(places) > 1:
            return f"In {self._counted(places, most)}: {doubt}"
        named = places and places[0] not in (doubt.family, doubt.cell)
        return f"{places[0]}: {doubt}" if named else str(doubt)


def placed(doubts: Iterable[Doubt], place: str = "") -> tuple[tuple[str, Doubt], ...]:
    """Doubts with the place that they concern."""
    return tuple((place, d) for d in doubts)


def grouped(doubts: Iterable[tuple[str, Doubt]], noun: str = "cell") -> tuple[DoubtGroup, ...]:
    """Doubts with their places, each a `noun`, gathered by kind, the worst first; equal pairs become one.

    >>> pairs = [(f"layer {i}", Doubt(Kind.tie, "Hill and power tie.")) for i in (1, 2)]
    >>> pairs.append(("layer 1", Doubt(Kind.crossing, "They cross.")))
    >>> [g.sentence for g in grouped(pairs)]
    ['layer 1: They cross.', 'In 2 cells (layer 1; layer 2): Hill and power tie.']
    """
    found: dict[Kind, list[tuple[str, Doubt]]] = {}
    for place, doubt in dict.fromkeys(doubts):
        found.setdefault(doubt.kind, []).append((place, doubt))
    return tuple(DoubtGroup(kind, tuple(found[kind]), noun) for kind in sorted(found, key=RANK.__getitem__))


def worst_first(doubts: Sequence[Doubt]) -> tuple[Doubt, ...]:
    """Each doubt once, the gravest first.

    >>> two = Doubt(Kind.tie, "They tie."), Doubt(Kind.crossing, "They cross.")
    >>> [str(d) for d in worst_first([*two, *two])]
    ['They cross.', 'They tie.']
    """
    return tuple(sorted(dict.fromkeys(doubts), key=lambda d: RANK[d.kind]))
