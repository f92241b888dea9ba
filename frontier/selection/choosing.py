"""Which curve the points support, and how sure that choice can be.

Evidence ratios between linear, power and Hill, never a bare winner: with them go the discriminability of the
candidates at this noise and these points, and a simulated table of how often each would be chosen rightly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from frontier.curves import curve_named
from frontier.doubts import Doubt, Kind
from frontier.errors import errors_model
from frontier.fits.curve_fit import CurveFit
from frontier.fits.frontier_fits import FrontierFits
from frontier.fits.goodness import SIGNIFICANT, shared_bend
from frontier.problems import Array
from frontier.records import recorded
from frontier.renamed import parameters
from frontier.results import Group
from frontier.selection.candidates import (
    CURVES,
    Spec,
    aicc,
    confusion,
    probability_true,
    specs_of,
)
from frontier.selection.contests import Contest, contests_of, simulated_scores, squared_gaps
from frontier.selection.curve_selection import (
    TIE,
    Candidate,
    CurveSelection,
    CurveSelections,
    label,
    times_as_likely,
)
from frontier.wording import listed, number

UNLIKELY = 10.0
"""A fitted curve less likely than the best one by this factor is doubted."""


@overload
def select_curve(
    fits: CurveFit,
    curves: Sequence[str] = ...,
    *,
    errors: str | Sequence[str] | None = ...,
    replicates: int = ...,
    seed: int = ...,
) -> CurveSelection: ...
@overload
def select_curve(
    fits: FrontierFits,
    curves: Sequence[str] = ...,
    *,
    errors: str | Sequence[str] | None = ...,
    replicates: int = ...,
    seed: int = ...,
) -> CurveSelections: ...
@parameters(fit="fits")
@recorded
def select_curve(
    fits: CurveFit | FrontierFits,
    curves: Sequence[str] = CURVES,
    *,
    errors: str | Sequence[str] | None = None,
    replicates: int = 500,
    seed: int = 0,
) -> CurveSelection | CurveSelections:
    """How much the points speak for each candidate curve, and how far such a choice can be trusted.

    AICc = -2 log L + 2 K + 2 K (K + 1) / (N - K - 1), the error variance counted in K; weights
    exp(-AICc / 2), summed to 1; the evidence ratio is the best weight over a candidate's. Discriminability
    delta = sqrt(N) * (rms gap between the best curve and its nearest rival fitted to it) / sigma: of two
    curves the right one is chosen with probability near Phi(delta / 2).

    Source: Hurvich & Tsai (1989); Burnham & Anderson (2002), sections 2.4 and 2.10; for the simulated table
    Wagenmakers et al. (2004), J. Math. Psychol. 48, 28.

    Parameters
    ----------
    fits : CurveFit or FrontierFits
        Of several fits, one choice for each and, as `pooled`, one curve for all: each group keeps its own
        parameters and noise, so that log-likelihoods and AICc add up, and so do the squares of delta.
    curves : names
        Parameters may be held or freed: "hill(n=1)", "hill(top=free)", "linear(intercept=0)".
    errors : errors model or several, optional
        Default the fit's own. ("additive", "log") compares every curve under both.
    replicates : int
        Simulated data sets per true candidate; 0 leaves the table out.
    seed : int

    Raises
    ------
    ValueError
        Unknown curve, parameter or errors model, fewer than two candidates, or no fit.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> fits = frontier.fit(frontier.pareto_set(table), "hill", errors="additive")
    >>> choice = frontier.select_curve(fits["Resid", "gated"], replicates=0)
    >>> choice.candidates[0].curve
    'hill'
    >>> choices = frontier.select_curve(fits, replicates=0)
    >>> len(choices), choices.pooled.groups
    (6, 6)
    """
    if isinstance(fits, CurveFit):
        return _select(contests_of([fits], [specs_of(fits, curves, errors)], replicates, seed), fits.group)
    if not fits.fits:
        raise ValueError("there is no fit to select a curve for")
    contests = contests_of(list(fits), [specs_of(f, curves, errors) for f in fits], replicates, seed)
    squared_gaps(contests, [c.best for c in contests])  # all in one batch
    each = tuple(_select([c], c.fit.group) for c in contests)
    notes = tuple(f"{', '.join(map(str, x.group.values()))}: not weighed ({x.reason})" for x in fits.failures)
    return CurveSelections(each, _select(contests, {}), fits.group_columns, notes)


@dataclass(frozen=True, eq=False)
class _Tally:
    """Sums over the groups, per candidate; `ranked` are the candidates with a weight, the likeliest first."""

    contests: Sequence[Contest]
    total: Array
    ranked: NDArray[np.intp]
    likelihood: Array
    aicc: Array
    squares: Array
    gaps: Array
    table: Array
    right: float

    @property
    def n(self) -> int:
        """All points."""
        return sum(c.n for c in self.contests)


def _tally(contests: Sequence[Contest]) -> _Tally:
    total = np.sum([c.scores for c in contests], axis=0)
    order = np.argsort(total)
    ranked = order[np.isfinite(total[order])]
    likelihood = np.sum([c.log_likelihoods for c in contests], axis=0)
    corrected = np.sum([aicc(c.log_likelihoods, c.k, c.n) for c in contests], axis=0)
    squares, gaps = np.full(len(total), np.nan), np.full(len(total), np.nan)
    if ranked.size:
        per_group = squared_gaps(contests, [int(ranked[0])] * len(contests))
        errors = [c.specs[ranked[0]].errors for c in contests]
        squares = np.sum(per_group, axis=0)
        scaled = [s * c.sigma(e) ** 2 for s, c, e in zip(per_group, contests, errors, strict=True)]
        gaps = np.sqrt(np.sum(scaled, axis=0) / sum(c.n for c in contests))
    drawn = simulated_scores(contests, ranked) if contests[0].replicates else np.full((0, 0, 0), np.nan)
    table, right = confusion(drawn), probability_true(drawn, total[ranked])
    return _Tally(contests, total, ranked, likelihood, corrected, squares, gaps, table, right)


def _select(contests: Sequence[Contest], group: Group) -> CurveSelection:
    t = _tally(contests)
    found = [_candidate(t, int(i)) for i in np.argsort(t.total)]
    rivals = [c for c in found if not math.isnan(c.delta) and not math.isnan(c.weight)]
    rival = min(rivals, key=lambda c: c.delta, default=None)
    delta = rival.delta if rival else math.nan
    by_delta = float(ndtr(delta / 2))
    right = by_delta if math.isnan(t.right) else t.right
    criterion = "" if not t.ranked.size else "AICc" if np.isfinite(t.aicc[t.ranked]).all() else "likelihood"
    first = contests[0]
    return CurveSelection(
        group=group,
        candidates=tuple(found),
        criterion=criterion,
        n_points=t.n,
        groups=len(contests),
        sigma=first.sigma(found[0].errors) if len(contests) == 1 else math.nan,
        delta=delta,
        rival=label(rival, found) if rival else "",
        probability_right=right,
        probability_by_delta=by_delta,
        confusion=tuple(tuple(map(float, row)) for row in t.table),
        replicates=first.replicates,
        seed=first.seed,
        doubts=tuple(_doubts(t, found, rival)),
        notes=tuple(_notes(contests, found, criterion)),
    )


def _candidate(t: _Tally, i: int) -> Candidate:
    first = t.contests[0]
    spec, estimate = first.specs[i], first.estimates[i]
    weight = evidence = right = math.nan
    if i in t.ranked:
        with np.errstate(over="ignore"):
            evidence = float(np.exp(0.5 * (t.total[i] - t.total[t.ranked[0]])))
            weight = 1 / float(np.exp(0.5 * (t.total[i] - t.total[t.ranked])).sum())
        place = int(np.flatnonzero(t.ranked == i)[0])
        right = float(t.table[place, place]) if t.table.size else math.nan
    values = {}
    if len(t.contests) == 1:
        reason = first.reasons[i]
        values = {p: float(v[0]) for p, v in estimate.parameters.items()} if estimate else {}
    else:
        reason = "; ".join(f"{c.fit.name}: {c.reasons[i]}" for c in t.contests if c.reasons[i])
    errors = listed(list(dict.fromkeys(c.specs[i].errors for c in t.contests)))
    likelihood, corrected = float(t.likelihood[i]), float(t.aicc[i])
    misfit = shared_bend([e for c in t.contests if (e := c.estimates[i]) is not None])[2]
    gap, delta = float(t.gaps[i]), float(np.sqrt(t.squares[i]))
    return Candidate(
        spec.label,
        errors,
        values,
        spec.k,
        likelihood,
        corrected,
        weight,
        evidence,
        gap,
        delta,
        right,
        reason,
        misfit,
    )


def _doubts(t: _Tally, found: Sequence[Candidate], rival: Candidate | None) -> Iterator[Doubt]:
    best, fit = found[0], t.contests[0].fit
    misfits = [c.p_misfit for c in found if not math.isnan(c.weight)]
    if misfits and max(misfits) < SIGNIFICANT:
        text = (
            f"no curve here fits: all {len(misfits)} leave a bend in the residuals (p at most "
            f"{number(max(misfits), 2)}); their parameters describe the formulas, not the data."
        )
        yield Doubt(Kind.no_curve_fits, text, numbers={"p": max(misfits)})
    if any(c.perfect for c in t.contests):
        text = "Residuals are zero to rounding: there is no noise to judge a choice of curve by."
        yield Doubt(Kind.no_noise, text)
    elif rival is not None and rival.delta < TIE:
        gap = errors_model(best.errors).sigma_text(rival.gap)
        needed = number(float(f"{t.n * (TIE / rival.delta) ** 2:.2g}")) if rival.delta > 0 else "unlimited"
        text = (
            f"models tie: where the data lie, {label(best, found)} and {label(rival, found)} differ by {gap} "
            f"rms (delta = {number(rival.delta, 2)}, below {TIE:g}); telling them apart takes about {needed} "
            "points spread like these at this noise, or a wider range."
        )
        yield Doubt(Kind.tie, text, quantity=label(rival, found), numbers={"delta": rival.delta})
    own = Spec(curve_named(fit.curve), fit.fixed, fit.problem.errors).label
    fitted = next((c for c in found if c.curve == own and c.errors == best.errors), None)
    if fitted is not None and fitted.evidence_ratio > UNLIKELY:
        times = times_as_likely(fitted.evidence_ratio)
        text = f"{label(best, found)} is {times} as likely as the fitted {own}."
        numbers = {"evidence_ratio": fitted.evidence_ratio}
        yield Doubt(Kind.unlikely_curve, text, quantity=own, numbers=numbers)


def _notes(contests: Sequence[Contest], found: Sequence[Candidate], criterion: str) -> Iterator[str]:
    lost = [c for c in found if math.isnan(c.aicc) and not c.reason]
    if lost:
        ends = {
            "likelihood": "all candidates have equally many parameters, so the likelihoods give the weights",
            "AICc": f"{listed([label(c, found) for c in lost])} left out of the weights",
            "": "the candidates differ in their number of parameters, so there are no weights",
        }
        n, k = min(c.n for c in contests), max(c.estimated for c in lost)
        yield (
            f"AICc is undefined at N = {n} with K = {k}, "
            f"the error variance counted (N must exceed K + 1); {ends[criterion]}."
        )
    yield from (f"{label(c, found)}: {c.reason}" for c in found if c.reason)
