"""Which errors model the data support: constant spread (additive) or spread in proportion to y (log)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from frontier.curves import Curve
from frontier.problems import ERRORS, Array, Problem
from frontier.wording import nearest, number, plural

PREFERENCE = 2.0
"""Additive errors are chosen when their pooled log-likelihood is higher by more than this."""
_SPELLINGS = {
    "log_y": "log",
    "logy": "log",
    "lognormal": "log",
    "absolute": "additive",
    "proportional": "relative",
}

Data = tuple[Array, Array, Array]
"""x, y and weights of one group."""


def errors_named(errors: str) -> str:
    """'auto', 'additive', 'log' or 'relative'.

    Raises
    ------
    ValueError
        For any other word; nearest names are offered.
    """
    word = str(errors).lower().replace("-", "_")
    word = _SPELLINGS.get(word, word)
    if word not in ("auto", *ERRORS):
        raise ValueError(f"unknown errors model {errors!r}{nearest(word, ('auto', *ERRORS))}")
    return word


def log_likelihoods(curve: Curve, groups: Sequence[Data], fixed: Mapping[str, float]) -> dict[str, Array]:
    """Maximised log-likelihood of y per group under additive and under log errors; NaN where a fit failed.

    -N/2 (log(2 pi rss / N) + 1), for log errors minus the Jacobian sum(log y), so that both are densities of
    y. Source: Box & Cox (1964), section 3.
    """
    out = {}
    for errors in ("additive", "log"):
        problem = Problem.stacked(curve, groups, errors, fixed)
        n, rss = problem.n_points, problem.fit().solution.rss
        inside = problem.weights > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            value = -0.5 * n * (np.log(2 * np.pi * rss / n) + 1)
        value = value + 0.5 * np.log(np.where(inside, problem.weights, 1.0)).sum(axis=0)
        if errors == "log":
            value = value - np.where(inside, np.log(problem.y), 0.0).sum(axis=0)
        out[errors] = value
    return out


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
