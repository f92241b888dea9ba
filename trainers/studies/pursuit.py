"""Sparse codes by matching pursuit for a given dictionary: many tokens at once, all target L0s in one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SWEEPS = 200
"""Rounds of coordinate descent for non-negative least squares, at most."""
TOLERANCE = 1e-6
"""Change of a code, as a share of the token's largest, that ends these rounds."""


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
    codes, residual, found = x.new_zeros(len(x), 0), x, {}
    taken = words.without_length(len(x))
    for step in range(1, steps + 1):
        new, height = words.choose(residual, taken, signed)
        chosen = torch.cat([chosen, new[:, None]], dim=1)
        selected = words.rows[chosen]  # [n, step, d]
        useful = height > 0
        codes = torch.cat([codes, torch.where(useful, height, 0.0)[:, None]], dim=1)
        fitted = _least_squares(selected, x) if signed else _non_negative(selected, x, codes)
        codes = torch.where(useful[:, None], fitted, codes)
        residual = x - (codes[:, None] @ selected)[:, 0]
        if step in targets:
            found[step] = _spread(codes, chosen, words)
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


def _least_squares(selected: Tensor, x: Tensor) -> Tensor:
    """Codes `[n, s]` of least error by normal equations in float64, a trace of ridge against equal rows."""
    rows = selected.double()
    gram = rows @ rows.mT
    gram.diagonal(dim1=1, dim2=2).add_(1e-10)
    return torch.linalg.solve(gram, rows @ x.double()[:, :, None])[:, :, 0].to(x.dtype)


def _non_negative(selected: Tensor, x: Tensor, start: Tensor) -> Tensor:
    """Codes `[n, s]` ≥ 0 of least error: coordinate descent over rows of norm 1, from warm codes."""
    codes = start.clone()
    gram = selected @ selected.mT  # [n, s, s]
    slope = (selected @ x[:, :, None])[:, :, 0] - (gram @ codes[:, :, None])[:, :, 0]
    for _ in range(SWEEPS if codes.shape[1] > 1 else 1):
        largest = codes.new_zeros(len(codes))
        for i in range(codes.shape[1]):
            change = (codes[:, i] + slope[:, i]).clamp_min(0) - codes[:, i]
            codes[:, i] += change
            slope -= change[:, None] * gram[:, :, i]
            largest = torch.maximum(largest, change.abs())
        if bool((largest <= TOLERANCE * codes.amax(1)).all()):
            break
    return codes


def _spread(codes: Tensor, chosen: Tensor, words: Dictionary) -> Tensor:
    """Codes `[n, F]` in the decoder's own units."""
    found = codes.new_zeros(len(codes), len(words.lengths))
    found.scatter_add_(1, chosen, codes)  # a place may come twice, the second time with 0
    return found / words.lengths.clamp_min(1e-30)
