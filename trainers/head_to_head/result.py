"""The result of a head to head: verdicts, how they were reached, and the fairness table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from frontier.results import Result, own_fields
from frontier.views import View
from frontier.wording import number, plural
from trainers.head_to_head.budget import duration
from trainers.head_to_head.contest import Look
from trainers.head_to_head.fairness import Fairness
from trainers.head_to_head.looks import Verdict


@dataclass(frozen=True, eq=False, repr=False)
class Versus(Result):
    """A candidate against its rivals.

    Attributes
    ----------
    candidate : str
    verdicts : tuple of Verdict
        One per rival, as of the look that decided it; the last one where none did.
    looks : tuple of Look
    fairness : Fairness
    budget : str
    seconds : float
        Spent, pilots and all.
    pilots : int
        SAEs of full length that tuned the learning rates, beside those that are compared.
    alpha : float
        Share of contests between equal families that may end with any verdict, all looks together.
    folder : str
        Where the SAEs, their metrics and the report are.
    notes : tuple of str
    """

    candidate: str
    verdicts: tuple[Verdict, ...]
    looks: tuple[Look, ...]
    fairness: Fairness
    budget: str
    seconds: float
    pilots: int
    alpha: float
    folder: str
    notes: tuple[str, ...] = ()

    def __getitem__(self, rival: str) -> Verdict:
        """The verdict against a rival."""
        for v in self.verdicts:
            if v.rival == rival:
                return v
        raise KeyError(f"no rival {rival!r}; there are {', '.join(v.rival for v in self.verdicts)}")

    @property
    def trained(self) -> int:
        """SAEs that were compared."""
        return self.looks[-1].trained

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per rival."""
        from frontier.metrics import give_back

        return give_back(pd.DataFrame([own_fields(v) for v in self.verdicts]), backend)

    def _view(self) -> View:
        level = f"{100 * (1 - self.alpha):g} %, all looks"
        at = f"at {self.verdicts[0].axis}"
        headers = ("against", "is", f"relative potency [{level}]", at, "look", "SAEs of both")
        rows = tuple(
            (v.rival, v.verdict, v.cell, number(v.at), str(v.look), str(v.saes)) for v in self.verdicts
        )
        told = tuple(v.sentence for v in self.verdicts)
        return View(
            f"{self.candidate} head to head", headers, rows, (*told, self._end(), *self.notes),
            details=(self._history(), self.fairness._view()),
        )  # fmt: skip

    def _end(self) -> str:
        undecided = [v.rival for v in self.verdicts if not v.decided]
        spent = (
            f"{plural(self.trained, 'SAE')} and {plural(self.pilots, 'pilot')} in {duration(self.seconds)}, "
            f"budget {self.budget}"
        )
        how = (
            f"Ended with the last look ({spent}); not decided: {', '.join(undecided)}."
            if undecided
            else f"Every pair is decided ({spent})."
        )
        return (
            f"{how} At most {100 * self.alpha:g} % of contests between equal families end with a verdict, "
            f"{plural(len(self.looks), 'look')} and all pairs together."
        )

    def _history(self) -> View:
        rows = tuple(
            (
                str(i), str(k.trained), f"{100 * k.share:.0f} %", f"{k.level:.4f}",
                ", ".join(f"{v.rival}: {v.verdict} {v.cell}" for v in k.verdicts),
            )
            for i, k in enumerate(self.looks, 1)
        )  # fmt: skip
        headers = ("look", "SAEs", "of the budget", "level", "what it said")
        source = (
            "Levels: an O'Brien-Fleming-like spending function (Lan & DeMets 1983, Biometrika 70, 659); a "
            "pair that a look decides stays decided."
        )
        return View("Looks", headers, rows, (source,))
