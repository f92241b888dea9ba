"""The procedure itself, whoever makes the SAEs: a round, a look, and so on until all is decided or spent.

The simulation of its error rate (`python -m benchmarks.looks`) runs this very code.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import pandas as pd

from frontier.comparison import Comparison
from trainers.head_to_head.looks import Verdict, looked, verdict_of
from trainers.head_to_head.rounds import LEAST, Rules, Targets, first_targets, next_count, next_targets
from trainers.head_to_head.spending import look_levels

FORWARD = 0.01
"""Least part of the budget between two looks."""


class Maker(Protocol):
    """Whoever makes SAEs: by training, or by drawing them where a method is tried out."""

    def made(self, number: int, targets: Targets) -> pd.DataFrame:
        """SAEs of a round, rows of a metrics table with `family`, `l0` and a hit, aimed at these L0s."""

    def affordable(self, trained: int) -> int:
        """SAEs that the budget still holds after so many."""


@dataclass(frozen=True)
class Look:
    """One look: SAEs so far, the share of the budget, the level used, and what it said.

    Attributes
    ----------
    trained : int
        SAEs of all families, those that diverged too.
    share : float
        Of the budget.
    level : float
        Two-sided level of this look.
    verdicts : tuple of Verdict
        Of the pairs that were open.
    """

    trained: int
    share: float
    level: float
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Outcome:
    """How it ended: each pair's verdict in the order of the rivals, all looks, and every SAE."""

    verdicts: tuple[Verdict, ...]
    looks: tuple[Look, ...]
    table: pd.DataFrame


class Asked(NamedTuple):
    """What a look compares: all SAEs so far, the pairs that are open, and the level."""

    table: pd.DataFrame
    undecided: tuple[str, ...]
    level: float


def contest(rules: Rules, maker: Maker) -> Outcome:
    """Train, look, and go on where the planner says, until every pair is decided or the budget is spent.

    Raises
    ------
    VersusError
        If the budget does not hold two SAEs of each family.
    """
    going = looks_of(rules, maker)
    asked = next(going)
    while True:
        try:
            found = looked(asked.table, rules.candidate, asked.undecided, asked.level)
            asked = going.send(found)
        except StopIteration as ended:
            return cast("Outcome", ended.value)


def looks_of(rules: Rules, maker: Maker) -> Generator[Asked, Iterable[Comparison], Outcome]:
    """The contest step by step: it gives what a look compares, and is sent what was found.

    So that many contests can be looked at in one call, where they are simulated.
    """
    targets = first_targets(rules, maker.affordable(0))
    table, trained = pd.DataFrame(), 0
    looks: list[Look] = []
    verdicts: dict[str, Verdict] = {}
    undecided = rules.rivals
    while True:
        number = len(looks) + 1
        new = maker.made(number, targets)
        table = pd.concat([table, new], ignore_index=True) if len(table) else new
        trained += sum(map(len, targets.values()))
        left = maker.affordable(trained)
        last = left < LEAST or number >= rules.looks
        share = 1.0 if last else _share(trained, left, looks[-1].share if looks else 0.0)
        level = look_levels([*(k.share for k in looks), share], rules.alpha)[-1]
        found = list((yield Asked(table, undecided, level)))
        said = [_told(found, table, rules.candidate, rival, number, level) for rival in undecided]
        looks.append(Look(trained, share, level, tuple(said)))
        verdicts |= {v.rival: v for v in said}
        undecided = tuple(v.rival for v in said if not v.decided)
        if last or not undecided:
            return Outcome(tuple(verdicts[r] for r in rules.rivals), tuple(looks), table)
        targets = next_targets(rules, table, undecided, next_count(left, rules.looks - number))


def _share(trained: int, left: int, before: float) -> float:
    """Part of the budget at a look; it grows, even where time turns out to hold more SAEs."""
    return min(max(trained / (trained + left), before + FORWARD), 1.0)


def _told(
    found: Iterable[Comparison], table: pd.DataFrame, candidate: str, rival: str, look: int, level: float
) -> Verdict:
    """The verdict on one rival; a pair without points is not comparable."""
    for c in found:
        if c.family == rival:
            return verdict_of(c, table, look, level)
    nan = float("nan")
    why = f"{rival} or {candidate} has no SAE that can be compared"
    return Verdict(
        candidate, rival, "not comparable", why, nan, nan, nan, nan, look, 0, level,
        f"{candidate} and {rival}: not comparable, {why}.",
    )  # fmt: skip
