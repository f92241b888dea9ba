"""Which errors model the data support: per cell, by pooled likelihood, among those that take all its y."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frontier.curves import Curve
from frontier.errors import ADDITIVE, LOG, Errors, TwoComponent
from frontier.fits.nuisance import KNEE, Nuisance
from frontier.problems import Array, Estimate, Problem
from frontier.wording import listed, number, plural

PREFERENCE = 2.0
"""Log errors give way to another model whose pooled log-likelihood is higher by more than this."""
LITTLE = 0.5
"""Additive errors give way to two components for so little: where these are not needed they cost no coverage,
and where they are, additive errors cover k in 64 to 82 % instead of 88 to 93 % (families of 6 to 8 SAEs)."""
NEAR_TOP = 0.5
"""Share of a fixed top above which additive errors are usual. There k lies at the low end of the data, which
log errors trust too much where noise is additive: with 5 to 12 SAEs between .5 and .99 they covered k in 80
to 85 % (now 94 to 97), between .3 and .97 n in 85 to 90 % (now 94 to 96). Where noise is that of log y, too,
additive errors cover both in 94 to 99 %."""
KNEES = 24
"""Knees tried per cell, equally spaced in the logarithm; the best is refined between its neighbours."""
LARGEST_BATCH = 2**22
"""Numbers in the arrays of one engine call of the search for a knee."""
ENOUGH = 5000
"""Points of one group that the choice of errors looks at."""
LOST = -1e6
"""Log-likelihood of a group that finds no optimum at a knee, so that another knee is chosen."""
ROUNDING = 1e-24
"""A residual sum of squares below this share of the squares favours no errors model."""
NEAR_ZERO = 1e-3
"""The smallest knee, as a share of the largest |y|, where some y is nearer to 0 than that or below it."""

Data = tuple[Array, Array, Array]
"""x, y and weights of one group."""


@dataclass(frozen=True)
class Choice:
    """The errors model of one cell, how much higher its log-likelihood is than the next one's, its knees."""

    errors: Errors
    over: str = ""
    gain: float = math.nan
    groups: int = 0
    near_top: bool = False
    shared: tuple[Nuisance, ...] = ()


def choose_errors(
    curve: Curve,
    cells: Sequence[Sequence[Data]],
    fixed: Mapping[str, float],
    known_se: ArrayLike = 0.0,
    *,
    of_y: bool = False,
) -> list[Choice]:
    """The errors model of each cell, which is a sequence of groups.

    Candidates are those defined for every y of the cell; likelihoods are pooled over its groups. Additive
    errors are usual where all cells together prefer them to log errors by more than `PREFERENCE`, and in a
    cell of which most y exceed half of a fixed top (`NEAR_TOP`), log errors else; a cell has another model
    where its own likelihood is higher by more than that. Where log errors are usual and some y <= 0, two
    components take their place. `of_y` says that the weights are those of y
    itself, from standard errors; else they are those of each model's residuals.
    """
    shared = knees_of(curve, cells, fixed, known_se, of_y=of_y)
    two = [TwoComponent(n.likeliest) for n in shared]
    groups, owner = _usable(cells)
    knees = np.array([float(t.knee) for t in two])[owner]
    models: list[Errors] = [LOG, ADDITIVE, TwoComponent(knees)]
    found = np.array([_log_likelihoods(curve, groups, m, fixed, of_y=of_y) for m in models]).reshape(3, -1)
    positive = np.array([all(LOG.defined(y).all() for _, y, _ in cell) for cell in cells])
    found[0, ~positive[owner]] = -np.inf
    known = np.isfinite(found[1:]).all(axis=0) & (np.isfinite(found[0]) | ~positive[owner])
    total = np.array([np.bincount(owner[known], row[known], len(cells)) for row in found])
    count = np.bincount(owner[known], minlength=len(cells))
    plain = positive & (count > 0)
    together = total[:2, plain].sum(axis=1)
    usual = int(not plain.any() or together[1] - together[0] > PREFERENCE)
    out = []
    for i in range(len(cells)):
        near = _near_top(curve, cells[i], fixed)
        start = 1 if near or usual else 0 if positive[i] else 2
        best = _preferred(total[:, i], start) if count[i] else (0 if positive[i] else start)
        own: list[Errors] = [LOG, ADDITIVE, two[i]]
        rival = 1 - best if best < 2 and positive[i] else 2 if best < 2 else int(total[1, i] >= total[0, i])
        gain = float(total[best, i] - total[rival, i])
        own_knees = (shared[i],) if best == 2 else ()
        out.append(Choice(own[best], own[rival].name, gain, int(count[i]), near, own_knees))
    return out


def _near_top(curve: Curve, cell: Sequence[Data], fixed: Mapping[str, float]) -> bool:
    """Whether most y of a cell exceed `NEAR_TOP` of the height at which its curves are held to end."""
    if not (curve.has_top and "top" in fixed and cell):
        return False
    return bool(np.median(np.concatenate([y for _, y, _ in cell])) > NEAR_TOP * fixed["top"])


def _preferred(total: Array, usual: int) -> int:
    """The model with the highest log-likelihood where it exceeds that of the usual one by `PREFERENCE`.

    Two components hold the other two as special cases and must exceed both: log errors by as much, additive
    ones by `LITTLE`.
    """
    plain = usual
    if usual < 2 and total[1 - usual] - total[usual] > PREFERENCE:
        plain = 1 - usual
    least = (PREFERENCE, LITTLE)[plain] if plain < 2 else 0.0
    other = total[1 - plain] + LITTLE if plain < 2 else -np.inf
    return 2 if total[2] > max(total[plain] + least, other) else plain


def knees_of(
    curve: Curve,
    cells: Sequence[Sequence[Data]],
    fixed: Mapping[str, float],
    known_se: ArrayLike = 0.0,
    *,
    of_y: bool = False,
) -> list[Nuisance]:
    """Knees of two components, per cell, with their log-likelihood pooled over the cell's groups.

    `known_se` is the standard error of y, per cell: the additive part is no smaller where the data let it be.
    """
    groups, owner = _usable(cells)
    if not groups:
        return [Nuisance(KNEE, (float(_knees(cell)[0]),), (0.0,)) for cell in cells]
    knees = np.array([_knees(cell) for cell in cells])
    se = np.broadcast_to(np.asarray(known_se, dtype=float), len(cells))[:, None]
    rows = np.arange(len(cells))
    tried, totals = np.empty((len(cells), 0)), np.empty((len(cells), 0))
    for _ in range(2):
        total, sigma = _profile(curve, groups, owner, fixed, knees, of_y=of_y)
        total = np.where(knees * sigma >= se, total, -np.inf)
        none = ~np.isfinite(total).any(axis=1)
        total[none, -1] = LOST
        best = total.argmax(axis=1)
        tried, totals = np.hstack([tried, knees]), np.hstack([totals, total])
        low, high = (knees[rows, np.clip(best + d, 0, knees.shape[1] - 1)] for d in (-1, 1))
        knees = np.geomspace(low, high, KNEES // 2, axis=1)
    return [Nuisance.of(KNEE, k, -2 * t) for k, t in zip(tried, totals, strict=True)]


def _profile(
    curve: Curve,
    groups: Sequence[Data],
    owner: NDArray[np.intp],
    fixed: Mapping[str, float],
    knees: Array,
    *,
    of_y: bool,
) -> tuple[Array, Array]:
    """Pooled log-likelihood and residual SD of every cell at each of its knees, (cells, knees) each."""
    cells, tried = knees.shape
    total, rss, df = np.zeros((cells, tried)), np.zeros((cells, tried)), np.zeros(cells)
    longest = max((len(x) for x, _, _ in groups), default=1)
    size = max(LARGEST_BATCH // max(longest * len(groups), 1), 1)
    problem = Problem.stacked(curve, groups, ADDITIVE, fixed)
    np.add.at(df, owner, problem.df)
    for start in range(0, tried, size):
        part = knees[owner, start : start + size]  # (groups, some knees)
        found = _repeated(problem, part, of_y=of_y)
        value, squares = (np.reshape(v, part.shape) for v in found)
        lost = ~np.isfinite(value)
        np.add.at(total[:, start : start + size], owner, np.where(lost, LOST, value))
        np.add.at(rss[:, start : start + size], owner, np.where(lost, 0.0, squares))
    return total, np.sqrt(rss / np.maximum(df, 1.0)[:, None])


def _repeated(problem: Problem, knees: Array, *, of_y: bool) -> tuple[Array, Array]:
    """Log-likelihoods and sums of squares of each column at each of its knees, flat."""
    times = knees.shape[1]
    errors = TwoComponent(knees.ravel())
    columns = np.repeat(np.arange(problem.replicates), times)
    estimate = _under(replace(problem.take(columns), errors=errors), of_y=of_y).fit()
    return restricted_log_likelihood(estimate), estimate.solution.rss


def _under(problem: Problem, *, of_y: bool) -> Problem:
    """The problem with weights on the scale of its errors, from those of y itself where they are."""
    return (
        replace(problem, weights=problem.errors.weights_of(problem.y, problem.weights)) if of_y else problem
    )


def restricted_log_likelihood(estimate: Estimate) -> Array:
    """Log-likelihood of y with the curve's parameters integrated out and sigma maximised, per column.

    -df/2 (log(2 pi rss / df) + 1) - log|J'WJ| / 2 + sum(log w) / 2 + sum(log Jacobian), df = N - p. The
    maximised likelihood favours a model under which the curve can pass through its steep end: with 6 points
    it took additive errors for two components in 80 % of simulated cells of seven families, this one in 16 %.
    Source: Patterson & Thompson (1971), Biometrika 58, 545; Harville (1974), ibid. 61, 383.
    """
    problem, s = estimate.problem, estimate.solution
    free = problem.free_theta
    information = np.moveaxis(s.information[np.ix_(free, free)], -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = problem.df * np.log(np.maximum(s.rss, 1e-300) / problem.df)
        return np.asarray(
            problem.errors.log_density(problem.y, problem.weights)
            - 0.5 * (problem.df * (np.log(2 * np.pi) + 1) + spread + np.linalg.slogdet(information)[1])
        )


def _log_likelihoods(
    curve: Curve, groups: Sequence[Data], errors: Errors, fixed: Mapping[str, float], *, of_y: bool
) -> Array:
    """Log-likelihood of each group; NaN where y is outside the model, or the residuals are rounding alone."""
    if not groups:
        return np.empty(0)
    problem = _under(Problem.stacked(curve, groups, errors, fixed), of_y=of_y)
    inside = problem.weights > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        taken = np.where(inside, errors.defined(problem.y), True).all(axis=0)
        y = np.where(taken, problem.y, 1.0)
        estimate = replace(problem, y=y).fit()
        rss, value = estimate.solution.rss, restricted_log_likelihood(estimate)
        size = np.where(inside, problem.weights * errors.size(y) ** 2, 0.0).sum(axis=0)
    return np.where(taken & (rss > ROUNDING * size), value, np.nan)


def _usable(cells: Sequence[Sequence[Data]]) -> tuple[list[Data], NDArray[np.intp]]:
    """All groups with three or more distinct x, and the cell of each."""
    pairs = [(_thinned(g), i) for i, cell in enumerate(cells) for g in cell if len(np.unique(g[0])) > 2]
    return [g for g, _ in pairs], np.array([i for _, i in pairs], dtype=np.intp)


def _thinned(group: Data) -> Data:
    """Every so many-th point of a large group: a few thousand decide as well as a million."""
    every = max(len(group[0]) // ENOUGH, 1)
    x, y, w = (v[::every] for v in group)
    return x, y, w


def _knees(cell: Sequence[Data]) -> Array:
    """From a tenth of the smallest |y| to ten times the largest."""
    size = np.concatenate([np.abs(y) for _, y, _ in cell]) if cell else np.ones(1)
    largest = float(size.max(initial=0.0)) or 1.0
    smallest = max(0.1 * float(size.min(initial=largest)), NEAR_ZERO * largest)
    return np.geomspace(smallest, 10 * largest, KNEES)


def evidence(choices: Sequence[Choice]) -> str:
    """One sentence on what was chosen, and how clearly."""
    words = {"log": "log y", "additive": "additive", "two_component": "two-component"}
    counts = Counter(words[c.errors.name] for c in choices)
    told = [c for c in choices if c.groups]
    if not told:
        names = listed(list(counts))
        return f"errors: {names} by default; no group has points to compare errors models on"
    if len(counts) > 1:
        parts = listed([f"{name} in {plural(count, 'cell')}" for name, count in counts.items()])
        return f"errors: {parts} (each cell by its pooled log-likelihood)"
    total = sum(c.gain for c in told)
    rivals = listed(list(dict.fromkeys(words[c.over] for c in told)))
    chosen = next(iter(counts))
    side, against = (chosen, rivals) if total >= 0 else (rivals, chosen)
    near = chosen == words[ADDITIVE.name] and total <= PREFERENCE and all(c.near_top for c in told)
    why = f"; usual where most y exceed {NEAR_TOP:g} of the top" if near else ""
    return (
        f"errors: {chosen} (the pooled log-likelihood of {plural(sum(c.groups for c in told), 'group')} is "
        f"{number(abs(total))} higher for {side} errors than for {against}{why})"
    )
