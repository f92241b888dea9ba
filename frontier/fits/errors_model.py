"""Which errors model the data support: constant spread (additive) or spread in proportion to y (log)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from frontier.curves import Curve
from frontier.errors import ADDITIVE, LOG
from frontier.problems import Array, Problem
from frontier.wording import number, plural

PREFERENCE = 2.0
"""Additive errors are chosen when their pooled log-likelihood is higher by more than this."""

Data = tuple[Array, Array, Array]
"""x, y and weights of one group."""


def log_likelihoods(curve: Curve, groups: Sequence[Data], fixed: Mapping[str, float]) -> dict[str, Array]:
    """Maximised log-likelihood of y per group under additive and under log errors; NaN where a fit failed.

    Both are densities of y (see `Errors.log_likelihood`).
    """
    problems = [Problem.stacked(curve, groups, errors, fixed) for errors in (ADDITIVE, LOG)]
    return {p.errors.name: p.errors.log_likelihood(p.y, p.fit().solution.rss, p.weights) for p in problems}


def choose_errors(curve: Curve, groups: Sequence[Data], fixed: Mapping[str, float]) -> tuple[str, str]:
    """The errors model for groups of positive y, pooled, and the evidence in one sentence.

    Log errors unless the pooled log-likelihood of additive ones is higher by more than `PREFERENCE`.
    """
    enough = [g for g in groups if (g[1] > 0).all() and len(np.unique(g[0])) > 2]
    if not enough:
        return "log", "errors: log y by default; no group has points to compare errors models on"
    found = log_likelihoods(curve, enough, fixed)
    gain = found["log"] - found["additive"]
    gain = gain[np.isfinite(gain)]
    if not gain.size:
        return "log", "errors: log y by default; the errors models could not be compared"
    total = float(gain.sum())
    chosen = "additive" if -total > PREFERENCE else "log"
    side = "log y" if total >= 0 else "additive"
    return chosen, (
        f"errors: {'log y' if chosen == 'log' else 'additive'} (the pooled log-likelihood of "
        f"{plural(len(gain), 'group')} is {number(abs(total))} higher for {side} errors)"
    )
