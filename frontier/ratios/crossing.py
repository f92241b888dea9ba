"""Where two fitted frontiers cross, and on which sides of it they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from frontier.distributions import welch_reach
from frontier.fits.curve_fit import CurveFit
from frontier.problems import Array, height
from frontier.ratios.pairs import common_x, grid
from frontier.results import Result
from frontier.views import View
from frontier.wording import interval_cell

POINTS = 400
"""Points of x at which a difference of curves is looked at."""
REACH = 1e3
"""The confidence set is followed by this factor beyond the common range; beyond, it is called infinite."""


@dataclass(frozen=True, eq=False, repr=False)
class Crossing(Result):
    """L0 at which two fitted curves are equal, and the set of L0 around it where equality is not rejected."""

    l0: float
    low: float
    high: float
    level: float

    def _view(self) -> View:
        row = (f"{self.l0:.4g}", interval_cell(self.l0, self.low, self.high))
        return View("Crossing", ("L0", f"{100 * self.level:g} % set"), (row,))


def crossing(fit: CurveFit, reference: CurveFit, level: float = 0.95) -> Crossing | None:
    """The crossing inside the range of x that both fits cover; None where the curves do not cross there.

    The limits are those x around the crossing at which equal heights are not rejected (the inverted test, as
    Fieller's for a ratio), so they may be infinite. Where curves cross twice, the crossing at larger L0 is
    given.
    """
    low, high = common_x(fit, reference)
    if low >= high:
        return None
    x = grid(low, high, POINTS)
    gap, _ = height_difference(fit, reference, x, level)
    turns = np.flatnonzero(gap[:-1] * gap[1:] < 0)
    if not turns.size:
        return None
    i = int(turns[0])
    at = float(x[i] + (x[i + 1] - x[i]) * gap[i] / (gap[i] - gap[i + 1]))
    wide = np.geomspace(at / REACH, at * REACH, 4 * POINTS) if low > 0 else x
    difference, reach = height_difference(fit, reference, wide, level)
    equal = np.abs(difference) <= reach
    middle = int(np.searchsorted(wide, at))
    below, above = _run(equal, middle)
    lowest = 0.0 if below == 0 else float(wide[below])
    highest = math.inf if above == len(wide) - 1 else float(wide[above])
    if fit.x_name != "sparsity":
        return Crossing(at, lowest, highest, level)
    inverse = [1 / end if end > 0 else math.inf for end in (highest, lowest)]
    return Crossing(1 / at, inverse[0], inverse[1], level)


def height_difference(fit: CurveFit, reference: CurveFit, x: Array, level: float) -> tuple[Array, Array]:
    """Difference of the two curves on the working scale at each x, and its half-width; shape of x.

    The scale is the link's (logit height for Hill with equal tops, log for the power law): a common
    increasing function of height, so its sign is that of the difference. Welch degrees of freedom.
    """
    (a, sa), (b, sb) = (f.repeated(len(x)).working(height(x)) for f in (fit, reference))
    return a - b, welch_reach(sa**2, fit.df, sb**2, reference.df, level)


def _run(equal: np.ndarray, middle: int) -> tuple[int, int]:
    """First and last index of the run of True around `middle`."""
    below = above = middle
    while below > 0 and equal[below - 1]:
        below -= 1
    while above < len(equal) - 1 and equal[above + 1]:
        above += 1
    return below, above
