"""Curves of single seeds: y against log L0, or log L0 against log y, and their exact areas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from frontier.groups import Codes
from frontier.problems import Array


@dataclass(frozen=True)
class Runs:
    """Single runs as arrays; an unknown seed is ""."""

    seed: NDArray[np.object_]
    setting: Codes
    log_l0: Array
    y: Array

    def where(self, keep: NDArray[np.bool_]) -> Runs:
        """The runs for which `keep` is True."""
        return Runs(self.seed[keep], self.setting[keep], self.log_l0[keep], self.y[keep])


@dataclass(frozen=True)
class SeedCurve:
    """One seed's curve: knots (x ascending), and for each run its knot, setting, x and y."""

    label: str
    x: Array
    y: Array
    knot: Codes
    setting: Codes
    run_x: Array
    run_y: Array

    def area_weights(self, low: float, high: float) -> Array:
        """Weights of the runs' y in the mean height over [low, high]: the exact trapezoid."""
        at = np.unique(np.concatenate([[low, high], self.x[(self.x > low) & (self.x < high)]]))
        hats = np.stack([np.interp(at, self.x, unit) for unit in np.eye(len(self.x))], axis=1)
        step = np.diff(at)
        weights = (np.append(step, 0) + np.append(0, step)) / 2 @ hats / (high - low)
        return (weights / np.bincount(self.knot))[self.knot]


def upright(label: str, runs: Runs) -> SeedCurve:
    """Heights against log L0; runs of equal L0 are averaged."""
    knot = np.unique(runs.log_l0, return_inverse=True)[1]
    return SeedCurve(
        label, _means(runs.log_l0, knot), _means(runs.y, knot), knot, runs.setting, runs.log_l0, runs.y
    )


def swapped(log: bool, rising: bool) -> Callable[[str, Runs], SeedCurve]:
    """Log L0 against log y (or y); adjacent runs whose y is out of order are averaged first."""

    def curve(label: str, runs: Runs) -> SeedCurve:
        height = np.log(runs.y) if log else runs.y
        order = np.argsort(runs.log_l0, kind="stable")
        blocks = isotonic_regression(height[order], increasing=rising).blocks
        block = np.empty(len(order), int)
        block[order] = np.repeat(np.arange(len(blocks) - 1), np.diff(blocks))
        knot = np.unique(_means(height, block), return_inverse=True)[1][block]
        return SeedCurve(
            label, _means(height, knot), _means(runs.log_l0, knot), knot, runs.setting, height, runs.log_l0
        )

    return curve


def _means(v: Array, index: Codes) -> Array:
    return np.bincount(index, v) / np.bincount(index)


def local_gap(curves: Sequence[Sequence[SeedCurve]], low: float, high: float) -> Array:
    """Difference of the families' mean curves at every knot of the common range."""
    knots = [s.x[(s.x > low) & (s.x < high)] for family in curves for s in family]
    at = np.unique(np.concatenate([[low, high], *knots]))
    one, two = (np.mean([np.interp(at, s.x, s.y) for s in family], axis=0) for family in curves)
    return one - two


def setting_variances(family: Sequence[SeedCurve], low: float, high: float) -> list[tuple[float, int]]:
    """Per setting, the variance it adds to the family's mean area, and its degrees of freedom.

    Deviations are taken from the slope of the mean curve, as a run that lies further along the same curve
    does not change the area.
    """
    x, y = (np.concatenate([getattr(s, name) for s in family]) for name in ("run_x", "run_y"))
    weights = np.concatenate([s.area_weights(low, high) for s in family]) / len(family)
    code = np.unique(np.concatenate([s.setting for s in family]), return_inverse=True)[1]
    runs, mean_x, mean_y = np.bincount(code), _means(x, code), _means(y, code)
    order = np.argsort(mean_x)
    slope = np.zeros(len(runs))
    if (np.diff(mean_x[order]) > 0).all():
        slope[order] = np.gradient(mean_y[order], mean_x[order])
    deviation = y - mean_y[code] - slope[code] * (x - mean_x[code])
    again = runs > 1
    spread = np.bincount(code, deviation**2)
    typical = spread[again].sum() / max((runs[again] - 1).sum(), 1)
    variance = np.where(again, spread / np.maximum(runs - 1, 1), typical)
    df = np.where(again, runs - 1, max((runs[again] - 1).sum(), 1))
    added = variance * np.bincount(code, weights**2)
    return [(float(v), int(d)) for v, d in zip(added, df, strict=True)] if again.any() else []
