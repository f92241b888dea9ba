"""Curvature that a curve leaves in its residuals, tested over all groups together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from frontier.fits.curve_fit import CurveFit
from frontier.problems import Array
from frontier.results import in_words
from frontier.wording import plural

LEAST_POINTS = 5
SIGNIFICANT = 0.05


def residuals(fit: CurveFit) -> Array:
    """Residuals on the scale of the errors model, in order of x; shape (points,)."""
    order = np.argsort(fit.x, kind="stable")
    return fit.problem.errors.residual(fit.y, fit.predict(fit.x))[order]


def runs_test(groups: Sequence[Array]) -> float:
    """One-sided p value of too few runs of equal sign, pooled over groups of ordered residuals.

    Least-squares residuals change sign a little more often than independent ones, so the test is careful.
    Source: Wald & Wolfowitz (1940); the groups' counts, expectations and variances are added.
    """
    excess = variance = 0.0
    for group in groups:
        signs = np.sign(group[group != 0])
        n, up = len(signs), int((signs > 0).sum())
        down = n - up
        if up == 0 or down == 0:
            continue
        runs = 1 + int((signs[1:] != signs[:-1]).sum())
        expected = 1 + 2 * up * down / n
        excess += runs - expected
        variance += (expected - 1) * (expected - 2) / (n - 1) if n > 1 else 0.0
    return float(ndtr((excess + 0.5) / math.sqrt(variance))) if variance > 0 else 1.0


def curvature_left(fits: Sequence[CurveFit]) -> str:
    """One sentence where the residuals of the groups run in long stretches of one sign; else empty.

    The pattern shown is that of the group whose stretches are the longest for its points.
    """
    enough = [f for f in fits if f.n_points >= LEAST_POINTS and f.sigma > 0]
    groups = [residuals(f) for f in enough]
    if not groups or runs_test(groups) >= SIGNIFICANT:
        return ""
    bends = [_bend(f, r) for f, r in zip(enough, groups, strict=True)]
    side = 1 if sum(bends) >= 0 else -1
    alike = [i for i, b in enumerate(bends) if b == side]
    clearest = min(alike, key=lambda i: runs_test([groups[i]]))
    pattern = " ".join("+" if r >= 0 else "-" for r in groups[clearest])
    word = "less" if side > 0 else "more"
    name = in_words(enough[clearest].group) or "one"
    where = f"{len(alike)} of {plural(len(bends), 'group')}"
    return f"In {where} the curve bends {word} than the data (residuals of {name} run {pattern})."


def _bend(fit: CurveFit, ordered: Array) -> int:
    """1 where the middle of the data lies above the curve and the ends below, -1 the other way round."""
    u = fit.problem.curve.abscissa(np.sort(fit.x))
    middle = -(((u - u.mean()) / u.std()) ** 2)
    return 1 if float((ordered - ordered.mean()) @ (middle - middle.mean())) >= 0 else -1
