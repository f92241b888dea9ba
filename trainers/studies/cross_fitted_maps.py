"""What linear maps leave of an error: cross-fitted over groups of text, and refitted without each group.

Everything comes from sums of products per group of text. A map is a ridge regression on standardised
predictors, fitted on all groups but the one that it is scored on. Its ridge is the minimum of the squared
error on another group, which neither the map of that choice nor the score has seen: found between
neighbouring decades of `RIDGES`, not on them, and said where it is an end of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

GROUPS = 8
"""Of text, in its order: the folds, and the units of the jackknife."""
DECADES = (-8, 4)
"""The smallest and largest ridge tried, as powers of ten of a predictor's variance."""


@dataclass(frozen=True, eq=False)
class Unexplained:
    """Squared errors that maps leave.

    Attributes
    ----------
    left : array [1 + groups]
        Σ‖e − A z − b‖² over all groups, then over all but each one, with maps that have not seen it either.
    ridges : array [groups]
        The ridge of the map that is scored on each group.
    """

    left: np.ndarray
    ridges: np.ndarray

    @property
    def at_edge(self) -> int:
        """In how many groups the ridge is the smallest or the largest that was tried, to a quarter decade."""
        away = np.abs(np.log10(self.ridges)[:, None] - np.array(DECADES)).min(1)
        return int((away < 0.25).sum())


class MapMoments:
    """Sums of products of predictors z `[n, p]` and errors `[n, d]`, per group of text, in float64."""

    def __init__(self, width: int, d: int, groups: int, device: torch.device) -> None:
        self._ee = torch.zeros(groups, dtype=torch.float64, device=device)
        self._zz = self._ee.new_zeros(groups, width + 1, width + 1)
        self._ze = self._ee.new_zeros(groups, width + 1, d)
        self._shift: tuple[Tensor, Tensor] | None = None

    def add(self, group: int, z: Tensor, error: Tensor) -> None:
        """Take tokens of one group."""
        z, error = z.double(), error.double()
        if self._shift is None:  # any points near the middle: products lose fewer digits
            self._shift = z.mean(0), error.mean(0)
        z, error = z - self._shift[0], error - self._shift[1]
        z = torch.cat([z, z.new_ones(len(z), 1)], dim=1)
        self._zz[group] += z.T @ z
        self._ze[group] += z.T @ error
        self._ee[group] += error.square().sum()

    def centred(self) -> np.ndarray:
        """Σ‖e − ē‖² over all groups, then over all but each one `[1 + groups]`."""
        sums = [_with_and_without(m) for m in (self._ee, self._ze[:, -1], self._zz[:, -1, -1])]
        return (sums[0] - sums[1].square().sum(1) / sums[2]).cpu().numpy()

    def unexplained(self) -> Unexplained:
        """What maps leave of the errors."""
        groups = range(len(self._ee))
        ridges = [self._best_ridge(k) for k in groups]
        left = np.zeros(1 + len(groups))
        for k in groups:
            left[0] += self._loss(k, _map(self._training({k}), ridges[k]))
        for one, other in combinations(groups, 2):  # a map is fitted without both, and scored on either
            training = self._training({one, other})
            left[1 + other] += self._loss(one, _map(training, ridges[one]))
            left[1 + one] += self._loss(other, _map(training, ridges[other]))
        return Unexplained(left, np.array(ridges))

    def _training(self, held: set[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of all groups but these: covariances, their products with e, and how to come back from them.

        Columns that do not vary get no weight.
        """
        kept = [g for g in range(len(self._ee)) if g not in held]
        zz, ze = self._zz[kept].sum(0), self._ze[kept].sum(0)
        zz, ze = zz / zz[-1, -1], ze / zz[-1, -1]
        mean, scale = zz[-1, :-1], self._scale()
        matrix = (zz[:-1, :-1] - torch.outer(mean, mean)) * scale * scale[:, None]
        products = (ze[:-1] - torch.outer(mean, ze[-1])) * scale[:, None]
        back = torch.cat([scale.diag(), -(mean * scale)[None]])  # [p + 1, p]: raw weights and intercept
        return matrix, products, back, ze[-1]

    def _scale(self) -> Tensor:
        """One over each predictor's SD in all text; 0 of one that does not vary.

        By the SD where a map is fitted, a latent that fires there once and faintly, and strongly where the
        map is scored, was thousands of SDs: one of 512 made a share of 0.01 to -0.16.
        """
        last, squares = self._zz[:, -1].sum(0), self._zz.diagonal(dim1=1, dim2=2).sum(0)
        spread = (squares[:-1] / last[-1] - (last[:-1] / last[-1]).square()).clamp_min(0).sqrt()
        return torch.where(spread > 1e-12, 1 / spread.clamp_min(1e-12), 0.0)

    def _loss(self, group: int, weights: Tensor) -> float:
        """Σ‖e − A z − b‖² over one group."""
        along = weights * (self._zz[group] @ weights - 2 * self._ze[group])
        return float(self._ee[group] + along.sum())

    def _best_ridge(self, scored: int) -> float:
        """The ridge of least error on the next group, of maps fitted on all others but it and `scored`."""
        judge = (scored + 1) % len(self._ee)
        matrix, products, back, mean = self._training({scored, judge})
        values, vectors = torch.linalg.eigh(matrix)
        back, products = back @ vectors, vectors.T @ products
        bend = back.T @ self._zz[judge] @ back
        slope = back.T @ (self._ze[judge] - torch.outer(self._zz[judge, :, -1], mean))

        def error(decade: float) -> float:
            weights = products / (values.clamp_min(0) + 10**decade)[:, None]
            return float((weights * (bend @ weights - 2 * slope)).sum())

        tried = np.arange(DECADES[0], DECADES[1] + 1)
        best = int(tried[int(np.argmin([error(float(t)) for t in tried]))])
        around = max(best - 1, DECADES[0]), min(best + 1, DECADES[1])
        found = minimize_scalar(error, bounds=around, method="bounded", options={"xatol": 0.02})
        return float(10 ** (found.x if found.fun < error(best) else best))


def _map(training: tuple[Tensor, Tensor, Tensor, Tensor], ridge: float) -> Tensor:
    """Weights and intercept `[p + 1, d]` of this ridge."""
    matrix, products, back, mean = training
    ridged = matrix.clone()
    ridged.diagonal().add_(ridge)
    found = back @ torch.cholesky_solve(products, torch.linalg.cholesky(ridged))
    found[-1] += mean
    return found


def _with_and_without(parts: Tensor) -> Tensor:
    """The total over groups, then without each one."""
    total = parts.sum(0)
    return torch.cat([total[None], total - parts])
