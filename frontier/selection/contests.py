"""All candidates fitted to the points of fits: gaps between curves, and data drawn from each of them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from frontier.fits.curve_fit import CurveFit
from frontier.fits.doubts import PERFECT
from frontier.fits.together import solved
from frontier.problems import Array, Estimate, Problem
from frontier.selection.candidates import Spec, log_likelihood, scores


class Contest:
    """All candidates fitted to one group.

    Attributes
    ----------
    estimates : one column each; `reasons` says why a candidate has no fit (else empty)
    log_likelihoods : (candidates,), NaN without a fit
    gaps_from : what `squared_gaps` has found, by candidate
    """

    def __init__(
        self,
        fit: CurveFit,
        specs: Sequence[Spec],
        found: Sequence[Estimate | str],
        replicates: int,
        seed: int,
    ) -> None:
        self.fit, self.specs = fit, tuple(specs)
        self.replicates, self.seed = replicates, seed
        self.n = fit.n_points
        self.estimates = [None if isinstance(e, str) else e for e in found]
        self.reasons = [e if isinstance(e, str) else "" for e in found]
        self.log_likelihoods = np.array(
            [np.nan if e is None else float(log_likelihood(e)[0]) for e in self.estimates]
        )
        self.gaps_from: dict[int, Array] = {}

    @property
    def best(self) -> int:
        """The candidate with the best score; the first where none has one."""
        known = np.isfinite(self.scores)
        return int(np.where(known, self.scores, np.inf).argmin())

    @property
    def k(self) -> Array:
        """Estimated parameters per candidate, the error variance counted."""
        return np.array([s.k for s in self.specs])

    @cached_property
    def scores(self) -> Array:
        """The deciding score per candidate; NaN without a fit."""
        return scores(self.log_likelihoods, self.k, self.n)

    def sigma(self, errors: str) -> float:
        """Residual SD, sqrt(rss / df), of the likeliest candidate under an errors model; NaN without one."""
        own = [i for i, s in enumerate(self.specs) if s.errors == errors and self.estimates[i] is not None]
        if not own:
            return float("nan")
        best = self.estimates[max(own, key=lambda i: self.log_likelihoods[i])]
        return float(np.sqrt(best.variance[0])) if best is not None else float("nan")

    def fitted(self, index: int) -> Array:
        """A candidate's heights at the data, (points,)."""
        estimate = self.estimates[index]
        assert estimate is not None
        values = {p: float(v[0]) for p, v in estimate.parameters.items()}
        return self.specs[index].curve.value(self.fit.x, values)

    def rivals(self, truth: int) -> dict[int, Problem]:
        """Each rival of a candidate on that candidate's noise-free curve."""
        own = self.specs[truth]
        if self.estimates[truth] is None or not self.sigma(own.errors) > 0:
            return {}
        y, weights = self.fitted(truth)[:, None], self.fit.weights_under(own.model)
        return {
            i: rival.problem(self.fit.x, y, weights, own.model)
            for i, rival in enumerate(self.specs)
            if rival.label != own.label and self.estimates[i] is not None
        }

    @property
    def perfect(self) -> bool:
        """Whether the likeliest candidate leaves residuals that are zero to rounding."""
        if not np.isfinite(self.log_likelihoods).any():
            return False
        i = int(np.nanargmax(self.log_likelihoods))
        best, y = self.estimates[i], self.fit.y
        assert best is not None
        size = best.problem.errors.size(y)
        return float(best.solution.rss[0]) < PERFECT * float((best.problem.weights[:, 0] * size**2).sum())

    @cached_property
    def simulated(self) -> Array:
        """Log-likelihoods on data drawn from every candidate, (truths, candidates, replicates).

        Truths are the fitted curves, all with the noise of the likeliest candidate of their errors model.
        The random stream depends on the seed and the group's data alone. NaN without a fit; minus infinity
        where a replicate is impossible (y <= 0 under log errors) or its fit failed.
        Source: Wagenmakers et al. (2004), Journal of Mathematical Psychology 48, 28.
        """
        count = len(self.specs)
        out = np.full((count, count, self.replicates), np.nan)
        rng = np.random.default_rng([self.seed, *(zlib.crc32(v.tobytes()) for v in (self.fit.x, self.fit.y))])
        draws = rng.standard_normal((self.n, self.replicates))
        for truth, spec in enumerate(self.specs):
            sigma = self.sigma(spec.errors)
            if self.estimates[truth] is None or not sigma > 0:
                continue
            noise = sigma * draws / np.sqrt(self.fit.weights_under(spec.model))[:, None]
            y = spec.model.observed(self.fitted(truth)[:, None], noise)
            for i, rival in enumerate(self.specs):
                if self.estimates[i] is not None:
                    out[truth, i] = self._likelihood_of_draws(rival, y, self.estimates[i])
        return out

    def _likelihood_of_draws(self, spec: Spec, y: Array, near: Estimate | None) -> Array:
        impossible = ~spec.model.defined(y).all(axis=0)
        weights = self.fit.weights_under(spec.model)
        found = log_likelihood(spec.fit(self.fit.x, np.where(impossible, 1.0, y), weights, near=near))
        return np.where(impossible | np.isnan(found), -np.inf, found)


def contests_of(
    fits: Sequence[CurveFit], specs: Sequence[Sequence[Spec]], replicates: int = 0, seed: int = 0
) -> list[Contest]:
    """A contest of each fit's candidates; alike ones of all groups are fitted in one batch."""
    barred = [[_barred(f, s) for s in own] for f, own in zip(fits, specs, strict=True)]
    asked = [
        (f, s)
        for f, own, why in zip(fits, specs, barred, strict=True)
        for s, reason in zip(own, why, strict=True)
        if not reason
    ]
    found = iter(solved([s.problem(f.x, f.y[:, None], f.weights_under(s.model)) for f, s in asked]))
    return [
        Contest(f, own, [w or _kept(s, next(found)) for s, w in zip(own, why, strict=True)], replicates, seed)
        for f, own, why in zip(fits, specs, barred, strict=True)
    ]


def _barred(fit: CurveFit, spec: Spec) -> str:
    """Why the points cannot carry a candidate; empty where they can."""
    if not spec.model.defined(fit.y).all():
        return f"{spec.errors} errors need y > 0"
    if spec.curve.log_x and (fit.x <= 0).any():
        return f"{spec.curve.name} needs x > 0"
    if len(np.unique(fit.x)) < spec.k:
        return f"{spec.k - 1} parameters need {spec.k} distinct x values"
    return ""


def _kept(spec: Spec, estimate: Estimate) -> Estimate | str:
    """The optimum, or why it is none."""
    if not estimate.converged[0]:
        return "no optimum was found"
    if spec.curve.log_x and estimate.parameters[spec.curve.steepness][0] <= 0:
        return "the fitted curve falls"
    return estimate


def squared_gaps(contests: Sequence[Contest], truths: Sequence[int]) -> list[Array]:
    """Squared distance, over sigma^2, of each rival fitted to one candidate's noise-free curve.

    Of each contest the sum over its points of squared differences on the scale of the errors, (candidates,):
    the square of delta. NaN for the candidate itself, the same curve under other errors, and a rival that
    holds this curve as a special case (it fits it exactly and has more parameters).
    """
    new = [
        (c, t, i, problem)
        for c, t in zip(contests, truths, strict=True)
        if t not in c.gaps_from
        for i, problem in c.rivals(t).items()
    ]
    for c, t in zip(contests, truths, strict=True):
        c.gaps_from.setdefault(t, np.full(len(c.specs), np.nan))
    for (c, t, i, _), found in zip(new, solved([problem for *_, problem in new]), strict=True):
        squared = float(found.solution.rss[0]) / c.sigma(c.specs[t].errors) ** 2
        nested = c.specs[i].k > c.specs[t].k and not squared > 1e-12
        c.gaps_from[t][i] = np.nan if nested else squared
    return [c.gaps_from[t] for c, t in zip(contests, truths, strict=True)]


def simulated_scores(contests: Sequence[Contest], index: NDArray[np.intp]) -> Array:
    """Scores on simulated tables, (truths, candidates, replicates), of the candidates of `index`.

    Over several groups the scores are summed, replicate by replicate.
    """
    size, replicates = len(index), contests[0].replicates
    total = np.zeros((size, size, replicates))
    for c in contests:
        drawn = c.simulated[np.ix_(index, index)]
        total += np.stack([scores(row, c.k[index], c.n) for row in drawn]) if size else 0.0
    return total
