"""Sparse codes by matching pursuit for a given dictionary: many tokens at once, all target L0s in one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 1e-9
"""Slope of the squared error at a code of 0, as a share of the token's length, that counts as downhill."""


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Rows of norm 1, and what they were divided by.

    Attributes
    ----------
    rows : Tensor [F, d]
    lengths : Tensor [F]
        Norms of the decoder's rows; rows of length 0 are never chosen.
    """

    rows: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, decoder: Tensor) -> Dictionary:
        """From decoder rows `[F, d]` of any length."""
        lengths = decoder.norm(dim=1)
        return cls(decoder / lengths.clamp_min(1e-30)[:, None], lengths)

    def without_length(self, tokens: int) -> Tensor:
        """Rows that no token may choose, as a mask `[n, F]` to go on with."""
        return (self.lengths == 0).repeat(tokens, 1)

    def choose(self, residual: Tensor, taken: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
        """The row that explains most of what is left `[n]`, and how much `[n]`; at most 0 where none helps.

        `taken [n, F]` gets a mark for every row that helps and was chosen.
        """
        along = residual @ self.rows.T
        along = along.abs() if signed else along
        height, new = along.masked_fill_(taken, -torch.inf).max(1)
        place = new[:, None]
        taken.scatter_(1, place, taken.gather(1, place) | (height > 0)[:, None])
        return new, height


def orthogonal_matching_pursuit(
    x: Tensor, decoder: Tensor, targets: Sequence[int], *, signed: bool = False
) -> dict[int, Tensor]:
    """Codes `[n, F]` for each target L0: the best row is added, then all chosen ones are fitted anew.

    Parameters
    ----------
    x : Tensor [n, d]
        Less the decoder's bias.
    decoder : Tensor [F, d]
    targets : list of int
        Numbers of latents per token; all are passed through on the way to the largest.
    signed : bool
        False: codes are at least 0, as those of an SAE, found by non-negative least squares (Bruckstein et
        al. 2008, "On the uniqueness of nonnegative sparse solutions", section IV); a token for which no
        row helps any more keeps fewer. True: plain OMP (Pati et al. 1993).
    """
    words, steps = Dictionary.of(decoder), _steps(targets, decoder)
    chosen = torch.zeros(len(x), 0, dtype=torch.long, device=x.device)
    support, residual, found = _Support(x, steps), x, {}
    taken = words.without_length(len(x))
    for step in range(1, steps + 1):
        new, height = words.choose(residual, taken, signed)
        chosen = torch.cat([chosen, new[:, None]], dim=1)
        support.add(words.rows[new] * (height > 0)[:, None])  # else no row helps: nothing is added
        codes = support.least_squares() if signed else support.non_negative()
        residual = support.residual(codes).to(x.dtype)
        if step in targets:
            found[step] = _spread(codes.to(x.dtype), chosen, words)
    return found


def gradient_pursuit(
    x: Tensor, decoder: Tensor, targets: Sequence[int], *, signed: bool = False
) -> dict[int, Tensor]:
    """Codes `[n, F]` for each target L0: the best row is added, then one exact step down the gradient.

    Blumensath & Davies (2008), "Gradient pursuits", equations 6 to 8. With non-negative codes
    (`signed = False`) those that the step takes below 0 are set to 0, as in Smith (2024), "Replacing SAE
    encoders with inference-time optimisation"; parameters as in `orthogonal_matching_pursuit`.
    """
    words, steps = Dictionary.of(decoder), _steps(targets, decoder)
    chosen = torch.zeros(len(x), 0, dtype=torch.long, device=x.device)
    codes, residual, found = x.new_zeros(len(x), 0), x, {}
    useful, taken = codes > 0, words.without_length(len(x))
    for step in range(1, steps + 1):
        new, height = words.choose(residual, taken, signed)
        chosen = torch.cat([chosen, new[:, None]], dim=1)
        useful = torch.cat([useful, (height > 0)[:, None]], dim=1)  # else no row helps: nothing is added
        codes = torch.cat([codes, codes.new_zeros(len(x), 1)], dim=1)
        selected = words.rows[chosen]  # [n, step, d]
        gradient = (selected @ residual[:, :, None])[:, :, 0] * useful
        image = (gradient[:, None] @ selected)[:, 0]
        length = (image * residual).sum(1) / image.square().sum(1).clamp_min(1e-30)
        codes = codes + length[:, None] * gradient
        codes = codes if signed else codes.clamp_min(0)
        residual = x - (codes[:, None] @ selected)[:, 0]
        if step in targets:
            found[step] = _spread(codes, chosen, words)
    return found


def _steps(targets: Sequence[int], decoder: Tensor) -> int:
    for target in targets:
        if target != int(target) or not 1 <= target <= len(decoder):
            raise ValueError(f"targets are whole numbers from 1 to {len(decoder)} latents, got {target:g}")
    return max(targets, default=0)


class _Support:
    """The rows chosen for each token, with their products, in float64; rows of zeros stand for none."""

    def __init__(self, x: Tensor, steps: int) -> None:
        self._x, self._size = x.double(), 0
        self._rows = self._x.new_zeros(len(x), steps, x.shape[1])
        self._gram = self._x.new_zeros(len(x), steps, steps)
        self._right = self._x.new_zeros(len(x), steps)
        self._codes = self._x.new_zeros(len(x), steps)

    def add(self, rows: Tensor) -> None:
        """One more row `[n, d]` for each token."""
        place, self._size = self._size, self._size + 1
        self._rows[:, place] = rows
        products = (self._rows[:, : self._size] @ self._rows[:, place, :, None])[:, :, 0]
        self._gram[:, place, : self._size] = self._gram[:, : self._size, place] = products
        self._right[:, place] = (self._x * self._rows[:, place]).sum(1)

    def residual(self, codes: Tensor) -> Tensor:
        """What codes `[n, s]` leave of each token."""
        return self._x - (codes[:, None] @ self._rows[:, : self._size])[:, 0]

    def least_squares(self) -> Tensor:
        """Codes `[n, s]` of least error."""
        gram, right = self._gram[:, : self._size, : self._size], self._right[:, : self._size]
        return _solved(gram, right, gram.diagonal(dim1=1, dim2=2) > 0)

    def non_negative(self) -> Tensor:
        """Codes `[n, s]` ≥ 0 of least error: the active sets of Lawson & Hanson, all tokens at once.

        They start from those of one row less; a token leaves the rounds when no code of 0 has a slope.
        """
        gram, right = self._gram[:, : self._size, : self._size], self._right[:, : self._size]
        codes = self._codes[:, : self._size]
        free, left = codes > 0, torch.arange(len(codes), device=codes.device)
        free[:, -1] = right[:, -1] - (gram[:, -1] * codes).sum(1) > TOLERANCE * right.amax(1)
        for _ in range(3 * self._size):
            codes[left], free[left], more = _round(gram[left], right[left], codes[left], free[left])
            left = left[more]
            if not len(left):
                break
        return codes


def _round(gram: Tensor, right: Tensor, codes: Tensor, free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes after one round of Lawson & Hanson, which of them are free, and which tokens go on `[n]`."""
    solved = _solved(gram, right, free)
    below = free & (solved <= 0)
    back = torch.where(below, codes / (codes - solved).clamp_min(1e-300), torch.inf)
    share = back.amin(1, keepdim=True).clamp_max(1)
    free = free & ~(below & (back <= share))
    codes = (codes + share * (solved - codes)).clamp_min(0) * free
    slope = (right - (gram @ codes[:, :, None])[:, :, 0]).masked_fill(free, -torch.inf)
    height, best = slope.max(1)
    outside = below.any(1)
    joins = ~outside & (height > TOLERANCE * right.amax(1))
    free = free | (torch.nn.functional.one_hot(best, free.shape[1]).bool() & joins[:, None])
    return codes, free, outside | joins


def _solved(gram: Tensor, right: Tensor, free: Tensor) -> Tensor:
    """Least squares over the free rows `[n, s]`, 0 elsewhere; a trace of ridge against equal rows."""
    inside = gram * (free[:, :, None] & free[:, None])
    inside.diagonal(dim1=1, dim2=2).add_(torch.where(free, 1e-12, 1.0))
    factor = torch.linalg.cholesky_ex(inside)[0]
    return torch.cholesky_solve((right * free)[:, :, None], factor)[:, :, 0]


def _spread(codes: Tensor, chosen: Tensor, words: Dictionary) -> Tensor:
    """Codes `[n, F]` in the decoder's own units."""
    found = codes.new_zeros(len(codes), len(words.lengths))
    found.scatter_add_(1, chosen, codes)  # a place may come twice, the second time with 0
    return found / words.lengths.clamp_min(1e-30)
