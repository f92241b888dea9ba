"""What a choice of curve is: the candidates for one group or for several, and the evidence between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from frontier.doubts import Doubt, Kind, has, in_text, placed
from frontier.results import Group, Result, own_fields
from frontier.views import View
from frontier.wording import number, plural

TIE = 2.0
"""Below this delta a choice between two curves is wrong in more than 16 % of cases: they tie."""
ALL_GROUPS = "all groups"


@dataclass(frozen=True, eq=False, repr=False)
class Candidate(Result):
    """One candidate curve.

    Attributes
    ----------
    curve, errors : str
    parameters : dict of str to float; empty where several groups are pooled
    estimated : int
        Estimated parameters per group, the error variance counted (K of AICc).
    log_likelihood, aicc : float
        Of y, so that errors models compare; AICc is missing where N <= K + 1.
    weight, evidence_ratio : float
        Share of the evidence, and how many times as likely the best candidate is.
    gap, delta : float
        Root mean square gap, on the scale of the errors, between the best curve and this one fitted to it
        without noise; delta = sqrt(N) * gap / sigma.
    right : float
        How often this candidate is chosen in data simulated from it.
    reason : str
        Why it has no fit; else empty.
    p_misfit : float
        Of the pooled curvature test: small where the curve leaves a bend in the residuals.
    """

    curve: str
    errors: str
    parameters: dict[str, float]
    estimated: int
    log_likelihood: float
    aicc: float
    weight: float
    evidence_ratio: float
    gap: float
    delta: float
    right: float
    reason: str = ""
    p_misfit: float = math.nan

    def _view(self) -> View:
        return View(self.curve, ("weight", "AICc"), ((number(self.weight), number(self.aicc, 5)),))


@dataclass(frozen=True, eq=False, repr=False)
class CurveSelection(Result):
    """The candidates for one group, or for several groups together, the likeliest first.

    Attributes
    ----------
    criterion : str
        "AICc"; "likelihood" where AICc is undefined and all candidates have one K; else empty (no weights).
    n_points, groups : int
    sigma : float
        Residual SD of the best candidate; missing over several groups.
    delta, rival
        Discriminability of the best candidate from its nearest rival, and that rival.
    probability_right : float
        How often the best candidate is the true one, among tables simulated from every candidate equally
        often, where it is chosen by about this margin; Phi(delta / 2) without replicates.
    probability_by_delta : float
        Phi(delta / 2), for a choice between the best candidate and its nearest rival.
    confusion : tuple of tuple of float
        Share of choices in simulated data: one row per true candidate, one column per chosen one, both in
        the order of the candidates that have a weight.
    doubts : tuple of Doubt
    notes : tuple of str
    """

    group: Group
    candidates: tuple[Candidate, ...]
    criterion: str
    n_points: int
    groups: int
    sigma: float
    delta: float
    rival: str
    probability_right: float
    probability_by_delta: float
    confusion: tuple[tuple[float, ...], ...]
    replicates: int
    seed: int
    doubts: tuple[Doubt, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Candidate | None:
        """The likeliest candidate; None where no weights exist."""
        return self.candidates[0] if self.criterion else None

    @property
    def some_curve_fits(self) -> bool:
        """Whether at least one candidate leaves no significant bend in the residuals."""
        return not has(self.doubts, Kind.no_curve_fits)

    @property
    def name(self) -> str:
        """The group in words."""
        return ", ".join(str(v) for v in self.group.values()) or "all rows"

    @property
    def sentence(self) -> str:
        """The choice in plain words: how much likelier, and how often such a choice is wrong."""
        ranked = [c for c in self.candidates if not math.isnan(c.weight)]
        if len(ranked) < 2:
            return "No choice: fewer than two candidates can be weighed."
        one, two = (label(c, self.candidates) for c in ranked[:2])
        head = f"{one[0].upper()}{one[1:]} is {times_as_likely(ranked[1].evidence_ratio)} as likely as {two}"
        if ranked[1].evidence_ratio < 1.05:
            head = f"{one[0].upper()}{one[1:]} and {two} are equally likely"
        if math.isnan(self.probability_right):
            return f"{head}."
        which = "a choice this close" if self.delta < TIE else "the choice"
        return f"{head}; {which} is wrong {_how_often(1 - self.probability_right)} at this noise and N."

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per candidate, the likeliest first.

        Returns
        -------
        DataFrame
            `curve`, `errors`, `estimated`, `log_likelihood`, `aicc`, `weight`, `evidence_ratio`, `gap`,
            `delta`, `right`, `reason`, `p_misfit`, and the fitted parameters.
        """
        from frontier.metrics import give_back

        return give_back(pd.DataFrame([{**_plain(c), **c.parameters} for c in self.candidates]), backend)

    def confusion_frame(self) -> pd.DataFrame:
        """Share of simulated choices: rows are the true candidates, columns the chosen ones."""
        weighed = [c for c in self.candidates if not math.isnan(c.weight)] if self.confusion else []
        names = [label(c, self.candidates) for c in weighed]
        true, chosen = pd.Index(names, name="true"), pd.Index(names, name="chosen")
        return pd.DataFrame(list(self.confusion), index=true, columns=chosen)

    def _view(self) -> View:
        rows = []
        for c in self.candidates:
            cells = [c.reason or _two(c.log_likelihood), _two(c.aicc) or ("" if c.reason else "undefined")]
            cells += [number(v, 2) for v in (c.weight, c.evidence_ratio, c.delta, c.right)]
            rows.append((label(c, self.candidates), *cells))
        headers = ("curve", "log L", "AICc", "weight", "best is × as likely", "delta", "right if true")
        title = f"Curves for {self.name}: {plural(self.n_points, 'point')}"
        title += f" in {plural(self.groups, 'group')}" if self.groups > 1 else ""
        return View(title, headers, tuple(rows), (self.sentence, *self.notes), placed(self.doubts))


@dataclass(frozen=True, eq=False, repr=False)
class CurveSelections(Result):
    """One selection per group, and one with the groups' evidence summed (each keeps its own parameters)."""

    selections: tuple[CurveSelection, ...]
    pooled: CurveSelection
    group_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[CurveSelection]:
        return iter(self.selections)

    def __len__(self) -> int:
        return len(self.selections)

    def __getitem__(self, index: int) -> CurveSelection:
        return self.selections[index]

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per group, then one for all groups together.

        Returns
        -------
        DataFrame
            The group columns, `n_points`, `best`, `runner_up`, `evidence_ratio`, `delta`, `rival`,
            `probability_right`, one `weight_<curve>` per candidate, `doubts`.
        """
        from frontier.metrics import give_back

        pooled: Group = {c: ALL_GROUPS for c in self.group_columns}
        rows = [_row(s.group, s) for s in self.selections] + [_row(pooled, self.pooled)]
        return give_back(pd.DataFrame(rows), backend)

    def _view(self) -> View:
        curves = [label(c, self.pooled.candidates) for c in self.pooled.candidates]
        rows = []
        for s in (*self.selections, self.pooled):
            weights = {label(c, s.candidates): number(c.weight, 2) for c in s.candidates}
            cells = [weights.get(c, "") for c in curves]
            name = ALL_GROUPS if s is self.pooled else s.name
            best = label(s.best, s.candidates) if s.best else ""
            rows.append((name, best, *cells, number(s.delta, 2), number(s.probability_right, 2)))
        headers = ("group", "likeliest", *(f"weight {c}" for c in curves), "delta", "right choice")
        remarks = (f"All groups together: {self.pooled.sentence}", *self.notes)
        return View(
            f"Curves for {plural(len(self), 'group')}",
            headers,
            tuple(rows),
            remarks,
            placed(self.pooled.doubts),
        )


def times_as_likely(ratio: float) -> str:
    """An evidence ratio in words.

    >>> times_as_likely(1.43), times_as_likely(3e8)
    ('1.4 times', 'more than 10,000 times')
    """
    return f"{number(ratio, 2)} times" if ratio < 10_000 else "more than 10,000 times"


def label(candidate: Candidate, among: Sequence[Candidate]) -> str:
    """The curve, with its errors model where the candidates differ in it."""
    several = len({c.errors for c in among}) > 1
    return f"{candidate.curve} ({candidate.errors} errors)" if several else candidate.curve


def _how_often(share: float) -> str:
    if share < 0.005:
        return "less than once in 100"
    count, of = (round(100 * share), 100) if share < 0.045 else (max(round(10 * share), 1), 10)
    return f"about once in {of}" if count == 1 else f"about {count} times in {of}"


def _two(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _plain(c: Candidate) -> dict[str, Any]:
    return {k: v for k, v in own_fields(c).items() if k != "parameters"}


def _row(group: Group, s: CurveSelection) -> dict[str, Any]:
    ranked = [c for c in s.candidates if not math.isnan(c.weight)]
    names = [label(c, s.candidates) for c in ranked] + ["", ""]
    evidence = ranked[1].evidence_ratio if len(ranked) > 1 else math.nan
    row: dict[str, Any] = {**group, "n_points": s.n_points, "best": names[0], "runner_up": names[1]}
    row |= {
        "evidence_ratio": evidence,
        "delta": s.delta,
        "rival": s.rival,
        "probability_right": s.probability_right,
    }
    row |= {f"weight_{label(c, s.candidates)}": c.weight for c in s.candidates}
    return {**row, "doubts": in_text(s.doubts)}
