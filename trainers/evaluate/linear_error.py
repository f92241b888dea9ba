"""How much of an SAE's error a linear map of its input predicts, from cross moments alone, cross-fitted."""

from __future__ import annotations

import torch
from torch import Tensor

from frontier.studies.batch_sums import jackknife_error

GROUPS = 8
"""Batches are dealt into so many groups, half of them even: enough for a standard error."""

MEMORY = 2**29
"""Bytes for the moments of all SAEs; beyond them there are two groups and no standard error."""

RIDGE = 1e-9
"""Added to the input's covariance, as a share of its mean eigenvalue: only against exact rank deficiency."""


class LinearError:
    """The linearly predictable part of the errors of several SAEs.

    Σ over tokens of ‖e − A x − b‖² is found for the odd batches with (A, b) fitted by least squares on the
    even ones, and the other way round; the fraction is 1 − that / Σ‖e − ē‖². As the map is scored on tokens
    that it has not seen, an unpredictable error gets about −2 d_in/tokens, a little below zero, and not
    +d_in/tokens. This is the linear part of the "dark matter" of Engels et al. (arXiv 2410.14670).

    Parameters
    ----------
    members : int
        How many SAEs.
    d_in, d_out : int
        Widths of the input and of the error.
    batches : int
        Batches that will come.
    mean : Tensor
        Mean input `[d_in]`, taken off before products are formed, for precision.
    """

    def __init__(self, members: int, d_in: int, d_out: int, batches: int, mean: Tensor) -> None:
        affordable = GROUPS * members * (d_in + 1) * d_out * 8 <= MEMORY
        self._groups = min(GROUPS, batches - batches % 2) if affordable else min(2, batches)
        self._batches, self._mean = batches, mean
        self._d_in = d_in
        zeros = torch.zeros(self._groups, dtype=torch.float64, device=mean.device)
        self._xx = zeros.new_zeros(self._groups, d_in + 1, d_in + 1)
        self._xe = zeros.new_zeros(self._groups, members, d_in + 1, d_out)
        self._ee = zeros.new_zeros(self._groups, members)
        self._x = zeros.new_zeros(0, d_in + 1)

    def start(self, batch: int, x: Tensor, again: bool = False) -> None:
        """Take the inputs `[n, d_in]` of a batch or a part of it, shared by all SAEs.

        `again`: they have been taken before, for other SAEs.
        """
        if self._groups < 2:
            return
        pairs = max(1, self._batches // 2)
        self._group = 2 * min(batch // 2 * (self._groups // 2) // pairs, self._groups // 2 - 1) + batch % 2
        centred = (x - self._mean).double()
        self._x = torch.cat([centred, centred.new_ones(len(x), 1)], dim=1)
        if not again:
            self._xx[self._group] += self._x.T @ self._x

    def add(self, member: int, error: Tensor) -> None:
        """Take the errors `[n, d_out]` of one SAE in the batch that was started."""
        if self._groups < 2:
            return
        e = error.double()
        self._xe[self._group, member] += self._x.T @ e
        self._ee[self._group, member] += e.square().sum()

    def fractions(self) -> tuple[Tensor, Tensor]:
        """The predictable fraction of each SAE and its standard error; missing where tokens are too few."""
        missing = torch.full(self._ee.shape[1:], torch.nan, dtype=torch.float64)
        if self._groups < 2:
            return missing, missing
        moments = [self._xx, self._xe, self._ee]
        everything = torch.ones(self._groups, dtype=torch.bool, device=self._ee.device)
        found = self._fraction(moments, everything).cpu()
        if self._groups < 4:
            return found, missing
        left = []
        for group in range(self._groups):
            kept = everything.clone()
            kept[group] = False
            left.append(self._fraction(moments, kept).cpu())
        return found, torch.from_numpy(jackknife_error(torch.stack(left).numpy()))

    def _fraction(self, moments: list[Tensor], kept: Tensor) -> Tensor:
        """The cross-fitted fraction `[members]` from the kept groups."""
        even = kept & (torch.arange(self._groups, device=kept.device) % 2 == 0)
        halves = [[m[half].sum(0) for m in moments] for half in (even, kept & ~even)]
        if min(xx[-1, -1] for xx, _, _ in halves) <= self._d_in + 1:
            return torch.full_like(halves[0][2], torch.nan)
        unexplained = sum(_residual(fit, score) for fit, score in (halves, halves[::-1]))
        xx, xe, ee = (a + b for a, b in zip(*halves, strict=True))
        total = ee - xe[:, -1].square().sum(-1) / xx[-1, -1]
        return torch.where(total > 0, 1 - unexplained / total, torch.nan)


def _residual(fit: list[Tensor], score: list[Tensor]) -> Tensor:
    """Σ‖e − A x − b‖² `[members]` over the scored half, with (A, b) from the other half."""
    xx, xe, _ = fit
    d = len(xx) - 1
    ridge = xx.new_zeros(d + 1)
    ridge[:d] = RIDGE * xx.diagonal()[:d].mean() + torch.finfo(xx.dtype).tiny
    flat = xe.permute(1, 0, 2).reshape(d + 1, -1)  # [d + 1, members · d_out]
    maps = torch.linalg.solve(xx + ridge.diag(), flat)
    other_xx, other_xe, other_ee = score
    explained = 2 * maps * other_xe.permute(1, 0, 2).reshape(d + 1, -1) - maps * (other_xx @ maps)
    return other_ee - explained.view(d + 1, len(other_ee), -1).sum((0, 2))
