"""How often verdicts and intervals are right on tables like the user's, from a comparison or from fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from frontier.calibration.coverage import Calibration
from frontier.calibration.of_fits import of_fits
from frontier.calibration.verdict_rates import REPLICATES, VerdictCalibration, verdict_rates
from frontier.comparison import Comparisons, compare
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits
from frontier.records import recorded
from frontier.renamed import parameters

POTENCY = 1.2
"""That is to be seen, where none is asked for."""


@overload
def calibrate(
    source: FrontierFits, reference: str | None = None, *, at: float | None = None, potency: float = POTENCY,
    replicates: int | None = None, seed: int = 0, progress: Callable[[str], None] | None = None,
) -> Calibration: ...  # fmt: skip


@overload
def calibrate(
    source: Any, reference: str | None = None, *, at: float | None = None, potency: float = POTENCY,
    replicates: int | None = None, seed: int = 0, progress: Callable[[str], None] | None = None,
) -> VerdictCalibration: ...  # fmt: skip


@parameters(tables="replicates", fits="source")
@recorded
def calibrate(
    source: Any, reference: str | None = None, *, at: float | None = None, potency: float = POTENCY,
    replicates: int | None = None, seed: int = 0, progress: Callable[[str], None] | None = None,
) -> Calibration | VerdictCalibration:  # fmt: skip
    """How often verdicts and intervals are right on tables like the user's, simulated and analysed anew.

    From a comparison, or a table, which is compared first: each cell's shared shape is taken for the truth,
    with the same L0, families and errors. All families on one curve: how often is one told apart? One family
    of a given potency: how often is it seen? And how many intervals of the potency hold the truth?

    From fits: every fit is taken for the truth (same N, x, weights, noise, curve and errors model), and the
    coverage of all intervals is counted; a knee or an L* that was estimated is found anew in each table.
    Holds the curve and the errors model as right.

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
        Simulated tables (default 500 of a comparison's cell, 2000 of fits, 500 of fits with a knee or an L*
        that was estimated), and their random stream.
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
    if replicates is not None and replicates < 1:
        raise ValueError(f"replicates must be 1 or more; found {replicates!r}")
    if isinstance(source, CurveFit):
        raise ValueError("calibrate takes all fits, frontier.fit(table), or a comparison; found one CurveFit")
    if isinstance(source, FrontierFits):
        if potency != POTENCY:
            raise ValueError("potency= is for a comparison: calibrate(table, potency=...)")
        return of_fits(source, reference, at, replicates, seed, progress)
    if at is not None:
        raise ValueError("at= is for fits: the potency of a comparison is read at the middle of each range")
    if not isinstance(source, Comparisons):
        source = compare(source, reference)
    elif reference not in (None, *(c.reference for c in source)):
        raise ValueError(f"the comparison's reference is {source[0].reference!r}, not {reference!r}")
    replicates = REPLICATES if replicates is None else replicates
    return verdict_rates(source, potency=potency, replicates=replicates, seed=seed, progress=progress)
