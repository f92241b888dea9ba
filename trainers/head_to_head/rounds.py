"""Which SAEs each round trains: an even frontier first, then where the planner says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from frontier import fit, plan
from trainers.head_to_head.budget import VersusError
from trainers.sweeps import even_targets, gap_targets, planned_targets

LEAST = 2
"""SAEs of a round, and of a family in the first one."""
FIRST = 0.45
"""Share of the budget that the first round takes."""
ANY_WIDTH = 0.02
"""The width that the planner is told to reach, over the present one: so small that it names every SAE."""

Targets = dict[str, list[float]]
"""L0s by family."""


@dataclass(frozen=True)
class Rules:
    """What a head to head keeps to, whoever trains.

    Attributes
    ----------
    candidate, rivals : families
    low, high : float
        The common range of L0.
    looks : int
        How often the verdicts are asked for, at most.
    alpha : float
        Error rate of all looks and all pairs together.
    """

    candidate: str
    rivals: tuple[str, ...]
    low: float
    high: float
    looks: int = 3
    alpha: float = 0.05

    @property
    def families(self) -> tuple[str, ...]:
        """The candidate, then its rivals."""
        return (self.candidate, *self.rivals)


def first_targets(rules: Rules, affordable: int) -> Targets:
    """The first round: as many SAEs of every family, evenly over the common range.

    Raises
    ------
    VersusError
        If the budget does not hold two SAEs of each family.
    """
    families = len(rules.families)
    if affordable < LEAST * families:
        raise VersusError(
            f"the budget holds {affordable} SAEs and {families} families need {LEAST * families}, "
            f"{LEAST} each; give a larger one"
        )
    share = 1.0 if rules.looks == 1 else FIRST
    each = max(LEAST, math.floor(share * affordable / families))
    return {name: even_targets(rules.low, rules.high, each) for name in rules.families}


def next_count(affordable: int, looks_left: int) -> int:
    """SAEs of the next round: an equal part of what is left for each look."""
    return affordable if looks_left <= 1 else max(LEAST, math.ceil(affordable / looks_left))


def next_targets(rules: Rules, table: pd.DataFrame, undecided: Sequence[str], count: int) -> Targets:
    """`count` SAEs for the pairs that are not decided, each share where the planner puts it."""
    wanted: Targets = {}
    for i, rival in enumerate(undecided):
        share = count // len(undecided) + (i < count % len(undecided))
        for name, l0s in _for_pair(rules, table, rival, share).items():
            wanted.setdefault(name, []).extend(l0s)
    return {name: sorted(l0s) for name, l0s in wanted.items()}


def _for_pair(rules: Rules, table: pd.DataFrame, rival: str, count: int) -> Targets:
    """SAEs that narrow one pair's relative potency most; even gaps where no curve can be planned on."""
    if not count:
        return {}
    span = (rules.low, rules.high)
    try:
        fits = fit(table[table["family"].isin([rival, rules.candidate])])
        proposed = plan(
            fits[rival], fits[rules.candidate], goal="halve", target=ANY_WIDTH, sure=None,
            most=count, l0_range=span,
        )  # fmt: skip
        named = planned_targets(proposed)
        wanted = {n: [min(max(v, rules.low), rules.high) for v in l0s] for n, l0s in named.items()}
        if sum(map(len, wanted.values())) == count:
            return wanted
    except (ValueError, KeyError, ArithmeticError):
        pass  # no fit, no noise or nothing in common: there is nothing to plan on
    halves = {rules.candidate: count - count // 2, rival: count // 2}
    return {n: _between(rules, table, n, c) for n, c in halves.items() if c}


def _between(rules: Rules, table: pd.DataFrame, family: str, count: int) -> list[float]:
    """L0s in a family's widest gaps; evenly over the range where it has none."""
    try:
        return gap_targets(table, family, count)
    except ValueError:
        return even_targets(rules.low, rules.high, count + 2)[1:-1]
