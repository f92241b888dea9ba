"""What intervals cover: tables like the user's, simulated from a known truth and fitted by the same code."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd

from frontier import intervals as ci
from frontier.curves import VANISHING, curve_named
from frontier.distributions import welch_reach
from frontier.errors import Errors, errors_model
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits
from frontier.metrics import give_back
from frontier.problems import Array, Estimate, Problem, Quantity, parameter, x_at
from frontier.ratios.pairs import common_y, middle, pairs_with, reference_family
from frontier.records import recorded
from frontier.renamed import parameters
from frontier.results import Group, Result, in_words
from frontier.views import View
from frontier.wording import number

if TYPE_CHECKING:
    from frontier.comparison.verdict_rates import VerdictCalibration


@dataclass(frozen=True, eq=False)
class Truth:
    """A curve, the x at which it is observed, and the noise: all that a simulated group needs.

    `sigma` is the residual SD of a point of weight 1; `weights` default to 1. A knee or a vanishing L0 that
    was estimated is taken as known, at the degrees of freedom that it cost (`spent`).
    """

    curve: str
    parameters: Mapping[str, float]
    x: Array
    sigma: float
    errors: str | Errors
    fixed: Mapping[str, float]
    weights: Array | None = None
    spent: float = 0.0

    @classmethod
    def of(cls, fit: CurveFit) -> Truth:
        """A fit taken for the truth."""
        return cls(
            fit.curve, fit.values, fit.x, fit.sigma, fit.problem.errors, fit.fixed, fit.weights, fit.spent
        )

    def simulate(self, replicates: int, rng: np.random.Generator) -> Problem:
        """`replicates` data sets at the same x and weights: normal noise on the scale of the errors model."""
        weights = np.ones_like(self.x) if self.weights is None else self.weights
        height = curve_named(self.curve).value(self.x, self.parameters)
        y = errors_model(self.errors).draw(rng, height, self.sigma, weights, replicates)
        return Problem.of(self.curve, self.x, y, weights, self.errors, self.fixed, self.spent)

    def working(self, quantity: Quantity) -> float:
        """The true value of a quantity on its working scale."""
        curve = curve_named(self.curve)
        if quantity.kind == "x_at":
            x = curve.x_at(float(np.asarray(quantity.at)), self.parameters)
            return float(curve.abscissa(x - 1 / self.parameters.get(VANISHING, np.inf)))
        value = self.parameters[quantity.name]
        return math.log(value) if quantity.name in curve.positive else value


@dataclass(frozen=True, eq=False, repr=False)
class Coverage(Result):
    """How often the intervals of one quantity held the truth.

    Attributes
    ----------
    covered, standard_error : share of the simulated tables with an interval, and its binomial error
    missing : share of the tables without an interval (no convergence, or limits that could not be followed)
    open : share of the intervals with an infinite limit
    width : median width, on the log scale for positive quantities
    """

    group: Group
    quantity: str
    level: float
    covered: float
    standard_error: float
    missing: float
    open: float
    width: float
    tables: int

    @property
    def cell(self) -> str:
        """The share in per cent, with its error."""
        return f"{100 * self.covered:.1f} ± {100 * self.standard_error:.1f}"

    def _view(self) -> View:
        return Calibration((self,), self.level, 0)._view()


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(Result):
    """Coverage of every interval of a set of fits."""

    coverages: tuple[Coverage, ...]
    level: float
    seed: int

    @property
    def worst(self) -> Coverage:
        """The quantity whose coverage is furthest from the level."""
        return max(self.coverages, key=lambda c: abs(c.covered - c.level))

    @property
    def sentence(self) -> str:
        """The result in plain words."""
        if not self.coverages:
            return "Nothing to calibrate."
        mean = float(np.mean([c.covered for c in self.coverages]))
        w = self.worst
        where = f" of {in_words(w.group)}" if w.group else ""
        return (
            f"In {w.tables} simulated tables like yours the {100 * self.level:g} % intervals covered "
            f"{100 * mean:.1f} % on average; worst: {w.quantity}{where}, {100 * w.covered:.1f} %. "
            "The SAEs are taken as given: luck in selecting a Pareto set is not counted."
        )

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per group and quantity."""
        rows = [
            {
                **c.group, "quantity": c.quantity, "level": c.level, "covered": c.covered,
                "standard_error": c.standard_error, "missing": c.missing, "open": c.open, "width": c.width,
                "tables": c.tables,
            }
            for c in self.coverages
        ]  # fmt: skip
        return give_back(pd.DataFrame(rows), backend)

    def _view(self) -> View:
        rows = tuple(
            (
                in_words(c.group), c.quantity, c.cell,
                f"{100 * c.open:.1f}", f"{100 * c.missing:.1f}", number(c.width),
            )
            for c in self.coverages
        )  # fmt: skip
        headers = ("group", "quantity", "covered %", "open ends %", "no interval %", "median width")
        return View(f"Coverage of {100 * self.level:g} % intervals", headers, rows, (self.sentence,))


@overload
def calibrate(
    source: FrontierFits, reference: str | None = None, *, at: float | None = None, potency: float = 1.2,
    replicates: int | None = None, seed: int = 0, progress: Callable[[str], None] | None = None,
) -> Calibration: ...  # fmt: skip


@overload
def calibrate(
    source: Any, reference: str | None = None, *, at: float | None = None, potency: float = 1.2,
    replicates: int | None = None, seed: int = 0, progress: Callable[[str], None] | None = None,
) -> VerdictCalibration: ...  # fmt: skip


@parameters(tables="replicates", fits="source")
@recorded
def calibrate(
    source: Any, reference: str | None = None, *, at: float | None = None, potency: float = 1.2,
    replicates: int | None = None, seed: int = 0, progress: Callable[[str], None] | None = None,
) -> Calibration | VerdictCalibration:  # fmt: skip
    """How often verdicts and intervals are right on tables like the user's, simulated and analysed anew.

    From a comparison, or a table, which is compared first: each cell's shared shape is taken for the truth,
    with the same L0, families and errors. All families on one curve: how often is one told apart? One family
    of a given potency: how often is it seen? And how many intervals of the potency hold the truth?

    From fits: every fit is taken for the truth (same N, x, weights, noise, curve and errors model), and the
    coverage of all intervals is counted. Holds the curve and the errors model as right.

    Parameters
    ----------
    source : Comparisons, FrontierFits, or anything that `compare` takes
    reference : name of a family, optional
        Of a table; of fits, k ratios and relative potencies are covered where it is given (or one is usual).
    at : float, optional
        Of fits: the hit at which relative potency is read.
    potency : float
        Of a comparison: the relative potency that is to be seen.
    replicates, seed : int
        Simulated tables (default 500 of a comparison's cell, 2000 of fits), and their random stream.
    progress : called with the name of each group

    Returns
    -------
    VerdictCalibration
        Of a comparison or table.
    Calibration
        Of fits.

    Raises
    ------
    ValueError
        Unknown reference; a potency of 1, or not above 0; an option that belongs to another source.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> found = frontier.calibrate(table, "baseline", replicates=50)
    >>> [f.family for f in found.families], found.null_error < 0.2
    (['gated', 'gated', 'gated'], True)
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> found = frontier.calibrate(fits, "baseline", replicates=50)
    >>> sorted({c.quantity for c in found.coverages})
    ['k', 'k ratio', 'n', 'relative potency']
    """
    if isinstance(source, FrontierFits):
        return _of_fits(source, reference, at, replicates or 2000, seed, progress)
    from frontier.comparison import Comparisons, compare
    from frontier.comparison.verdict_rates import REPLICATES, verdict_rates

    if at is not None:
        raise ValueError("at= is for fits: the potency of a comparison is read at the middle of each range")
    if not isinstance(source, Comparisons):
        source = compare(source, reference)
    elif reference not in (None, *(c.reference for c in source)):
        raise ValueError(f"the comparison's reference is {source[0].reference!r}, not {reference!r}")
    replicates = REPLICATES if replicates is None else replicates
    return verdict_rates(source, potency=potency, replicates=replicates, seed=seed, progress=progress)


def _of_fits(
    fits: FrontierFits, reference: str | None, at: float | None, replicates: int, seed: int,
    progress: Callable[[str], None] | None,
) -> Calibration:  # fmt: skip
    """Coverage of every interval of `fits`."""
    say = progress or (lambda _: None)
    rng = np.random.default_rng(seed)
    level = fits.fits[0].level if len(fits) else 0.95
    found: list[Coverage] = []
    simulated: dict[int, Estimate] = {}
    for fit in fits:
        say(fit.name)
        truth = Truth.of(fit)
        estimate = simulated[id(fit)] = truth.simulate(replicates, rng).fit()
        for name in fit.problem.free_names:
            quantity = parameter(name)
            low, high = ci.limits(estimate, quantity, level, fit.interval_method)
            found.append(coverage(fit.group, name, truth.working(quantity), low, high, level))
    for fit, ref in _pairs(fits, reference):
        pair = (simulated[id(fit)], simulated[id(ref)])
        height = middle(*common_y(fit, ref)) if at is None else at
        quantities = {"k ratio": parameter("k"), "relative potency": x_at(height)}
        if "k" not in fit.problem.free_names:
            del quantities["k ratio"]
        for label, quantity in quantities.items():
            gap = Truth.of(fit).working(quantity) - Truth.of(ref).working(quantity)
            if math.isfinite(gap):
                low, high = welch_limits(*pair, quantity, level)
                found.append(coverage(fit.group, label, gap, low, high, level))
    return Calibration(tuple(found), level, seed)


def _pairs(fits: FrontierFits, reference: str | None) -> list[tuple[CurveFit, CurveFit]]:
    """The pairs of fits whose ratios are calibrated; none where no reference is given or usual."""
    try:
        name = reference_family([str(f.group.get(fits.family_column, "")) for f in fits], reference)
        return pairs_with(fits, name)[0] if fits.family_column else []
    except ValueError:
        if reference is not None:
            raise
        return []


def coverage(
    group: Group, name: str, truth: float | Array, low: Array, high: Array, level: float
) -> Coverage:
    """Share of the intervals [low, high] that hold `truth`."""
    made = ~(np.isnan(low) | np.isnan(high))
    n = int(made.sum())
    share = float(((low <= truth) & (truth <= high))[made].mean()) if n else math.nan
    width = (high - low)[made]
    finite = np.isfinite(width)
    return Coverage(
        dict(group), name, level, share, _share_error(share, n),
        1 - n / len(low), float((~finite).mean()) if n else math.nan,
        float(np.median(width[finite])) if finite.any() else math.inf, len(low),
    )  # fmt: skip


def welch_limits(one: Estimate, two: Estimate, quantity: Quantity, level: float) -> tuple[Array, Array]:
    """Limits of the difference of working values, column by column (the log ratio of `log_ratio.welch`)."""
    (a, sa), (b, sb) = one.working(quantity), two.working(quantity)
    reach = welch_reach(sa**2, one.problem.df, sb**2, two.problem.df, level)
    return a - b - reach, a - b + reach


def _share_error(share: float, n: int) -> float:
    """Standard error of a share, two hits and two misses added so that 0 and 1 have one (Agresti & Coull)."""
    p = (share * n + 2) / (n + 4)
    return math.sqrt(p * (1 - p) / (n + 4)) if n else math.nan


def percent(share: float, n: int) -> str:
    """A share of `n` tables in per cent, with its standard error.

    >>> percent(0.05, 500)
    '5.0 ± 1.0'
    """
    return f"{100 * share:.1f} ± {100 * _share_error(share, n):.1f}"
