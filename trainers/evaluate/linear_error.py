"""How much of an SAE's error a linear map of its input predicts, from cross moments alone, cross-fitted."""

from __future__ import annotations

import torch
from torch import Tensor

from frontier.distributions import jackknife_error

GROUPS = 8
"""Batches in their order make so many groups: the folds, and the units of the standard error."""

MEMORY = 2**29
"""Bytes for the moments of all SAEs; beyond them there are two groups and no standard error."""

TIMES = 4
"""Moments of one group that solving takes besides."""

RIDGE = 1e-9
"""Added to the input's covariance, as a share of its mean eigenvalue: only against exact rank deficiency."""


def groups_of(members: int, d_in: int, d_out: int) -> int:
    """Groups of batches, as many as their moments may take memory for."""
    return GROUPS if GROUPS * members * (d_in + 1) * d_out * 8 <= MEMORY else 2


def moment_bytes(members: int, d_in: int, d_out: int) -> int:
    """Of the moments of all SAEs of a site, where there is a batch for each group."""
    return 8 * groups_of(members, d_in, d_out) * (d_in + 1) * (d_in + 1 + members * d_out)


def solving_bytes(members: int, d_in: int, d_out: int) -> int:
    """More of them, where they are solved: sums, right sides, weights and what these explain."""
    return TIMES * moment_bytes(members, d_in, d_out) // groups_of(members, d_in, d_out)


class LinearError:
    """The linearly predictable part of the errors of several SAEs.

    Σ over tokens of ‖e − A x − b‖² is found for each group of batches with (A, b) fitted by least squares on
    the others; the fraction is 1 − that / Σ‖e − ē‖². As the map is scored on tokens that it has not seen, an
    unpredictable error gets about −d_in/tokens, a little below zero, and not +d_in/tokens. The standard error
    is a jackknife over groups, every map fitted anew without the group that is left out. This is the linear
    part of the "dark matter" of Engels et al. (arXiv 2410.14670).

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
        self._groups = min(groups_of(members, d_in, d_out), batches)
        self._batches, self._mean = batches, mean
        zeros = torch.zeros(self._groups, dtype=torch.float64, device=mean.device)
        self._xx = zeros.new_zeros(self._groups, d_in + 1, d_in + 1)
        self._xe = zeros.new_zeros(self._groups, d_in + 1, members, d_out)
        self._ee = zeros.new_zeros(self._groups, members)
        self._x = zeros.new_zeros(0, d_in + 1)

    def start(self, batch: int, x: Tensor, again: bool = False) -> None:
        """Take the inputs `[n, d_in]` of a batch or a part of it, shared by all SAEs.

        `again`: they have been taken before, for other SAEs.
        """
        if self._groups < 2:
            return
        self._group = batch * self._groups // self._batches
        centred = (x - self._mean).double()
        self._x = torch.cat([centred, centred.new_ones(len(x), 1)], dim=1)
        if not again:
            self._xx[self._group] += self._x.T @ self._x

    def add(self, member: int, error: Tensor) -> None:
        """Take the errors `[n, d_out]` of one SAE in the batch that was started."""
        if self._groups < 2:
            return
        e = error.double()
        self._xe[self._group, :, member].addmm_(self._x.T, e)
        self._ee[self._group, member] += e.flatten().dot(e.flatten())

    def fractions(self) -> tuple[Tensor, Tensor]:
        """The predictable fraction of each SAE and its standard error; missing where tokens are too few."""
        missing = torch.full(self._ee.shape[1:], torch.nan, dtype=torch.float64)
        if self._groups < 2:
            return missing, missing
        xx, xe, ee = self._xx, self._xe, self._ee
        left = _unexplained(xx, xe, ee)
        everything = range(self._groups)
        sums = xx[:, -1, -1], xe[:, -1], ee  # tokens, errors, their squares
        found = _fraction(left.diagonal(dim1=0, dim2=1).sum(-1), [m.sum(0) for m in sums]).cpu()
        if self._groups < 3:
            return found, missing
        without = []
        for out in everything:
            kept = [g for g in everything if g != out]
            without.append(_fraction(left[kept, out].sum(0), [m[kept].sum(0) for m in sums]))
        return found, torch.from_numpy(jackknife_error(torch.stack(without).cpu().numpy()))


def _unexplained(xx: Tensor, xe: Tensor, ee: Tensor) -> Tensor:
    """Σ‖e − A x − b‖² of group g with (A, b) from all groups but g and h `[g, h, members]`.

    Missing where the tokens of these are too few.
    """
    groups, members = ee.shape
    xe = xe.flatten(2)  # [g, d + 1, members · d_out]: all SAEs side by side
    every = xx.sum(0), xe.sum(0)
    found = ee.new_full((groups, groups, members), torch.nan)
    for g in range(groups):
        for h in range(g + 1):
            inverse = _inverse(_without(every[0], xx, {g, h}))
            if inverse is None:
                continue
            weights = inverse @ _without(every[1], xe, {g, h})  # [d + 1, members · d_out]
            pair = sorted({g, h})
            squares = _squares(weights.view(len(weights), members, -1).transpose(0, 1), [xx[s] for s in pair])
            for scored, other, square in zip(pair, reversed(pair), squares, strict=True):
                crossed = (weights * xe[scored]).view(len(weights), members, -1).sum((0, 2))
                found[scored, other] = ee[scored] - 2 * crossed + square
    return found


def _without(sums: Tensor, moments: Tensor, groups: set[int]) -> Tensor:
    """The sum over all groups but these."""
    left = sums.clone()
    for group in groups:
        left -= moments[group]
    return left


def _squares(weights: Tensor, moments: list[Tensor]) -> Tensor:
    """tr(Wᵀ M W) for each of some moments M and each member's W `[moments, members]`.

    It is tr(W Wᵀ M), so that one product serves all M; of so many members at once as W takes memory for.
    """
    members, rows, columns = weights.shape
    found = []
    for some in weights.split(max(1, members * columns // rows)):
        products = (some @ some.mT).flatten(1)
        found.append(torch.stack([products @ m.flatten() for m in moments]))
    return torch.cat(found, dim=1)


def _inverse(xx: Tensor) -> Tensor | None:
    """What gives weights and intercepts by least squares `[d + 1, d + 1]`; None of too few tokens."""
    d = len(xx) - 1
    if xx[-1, -1] <= d + 1:
        return None
    ridge = xx.new_zeros(d + 1)
    ridge[:d] = RIDGE * xx.diagonal()[:d].mean() + torch.finfo(xx.dtype).tiny
    return torch.cholesky_inverse(torch.linalg.cholesky(xx + ridge.diag()))


def _fraction(unexplained: Tensor, sums: list[Tensor]) -> Tensor:
    """1 − what is unexplained over Σ‖e − ē‖² `[members]`."""
    tokens, errors, squares = sums
    total = squares - errors.square().sum(-1) / tokens
    return torch.where(total > 0, 1 - unexplained / total, torch.nan)
