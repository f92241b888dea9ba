"""Where a family and the reference cross, and where around it they do not differ."""

from __future__ import annotations

from dataclasses import dataclass

from frontier.results import Result
from frontier.views import View
from frontier.wording import interval_cell


@dataclass(frozen=True, eq=False, repr=False)
class Crossing(Result):
    """L0 at which two curves are equal, and the set of L0 around it where equality is not rejected."""

    l0: float
    low: float
    high: float
    level: float

    def _view(self) -> View:
        row = (f"{self.l0:.4g}", interval_cell(self.l0, self.low, self.high))
        return View("Crossing", ("L0", f"{100 * self.level:g} % set"), (row,))
