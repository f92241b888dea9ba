"""HierarchicalTopK: one SAE for all budgets up to k, a whole frontier from one set of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from frontier.wording import listed
from trainers.architectures.architecture import Knobs, Parameters
from trainers.architectures.topk import TopK


@dataclass(frozen=True)
class HierarchicalTopK(TopK):
    """TopK trained at every budget at once (Balagansky et al. 2025, arXiv 2505.24473).

        loss = (1/k) Σ_{j=1..k} mean ‖x − x̂_j‖² + AuxK,   x̂_j = b_dec + the j highest latents of a token

    Evaluated, one SAE is several points: a row at every budget in `budgets`, with its own L0. Their weights
    are the same, which the column `parent` says, and `frontier.compare` after it.

    Attributes
    ----------
    budgets : tuple of int
        Where a trained SAE is evaluated, beside its k; those above its k are left out, with a word if they
        are above every k of the family. Empty: the powers of 2.
    """

    name = "hierarchical_topk"

    budgets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(k < 1 for k in self.budgets):
            raise ValueError(f"budgets must be 1 or above, got {list(self.budgets)}")

    def reconstruction(self, p: Parameters, f: Tensor, x_hat: Tensor, target: Tensor, knobs: Knobs) -> Tensor:
        """The mean over budgets of mean ‖x − x̂_j‖²; each latent adds its part to what is there before."""
        k = knobs.setting
        most = int(knobs.largest or (k.max() if isinstance(k, Tensor) else k))
        values, places = f.topk(min(most, f.shape[-1]), dim=-1)
        left = target - p["b_dec"].unsqueeze(-2)
        total = x_hat.new_zeros(())
        for j in range(values.shape[-1]):
            left = left - values[..., j : j + 1] * rows_at(p["W_dec"], places[..., j])
            counted = (j < k).to(left.dtype) / k.to(left.dtype) if isinstance(k, Tensor) else (j < k) / k
            total = total + counted * left.square().sum(-1).mean(-1)
        return total

    def shared(self, p: Parameters) -> dict[int, Parameters]:
        """The SAEs of these weights by their k."""
        k = int(p["k"])
        below = {b for b in self.budgets or (2**i for i in range(k.bit_length())) if b < k}
        return {one: p | {"k": torch.tensor(one)} for one in sorted(below | {k})}

    def left_out(self, settings: Sequence[float]) -> str:
        """The budgets above every k."""
        above = sorted({b for b in self.budgets if b > max(settings)})
        if not above:
            return ""
        return (
            f"budgets {listed(above)} are above the largest k, {max(settings):g}, and give no row; "
            f"settings = [{above[-1]}] has them all"
        )


def rows_at(rows: Tensor, places: Tensor) -> Tensor:
    """Rows `[..., F, d]` at places `[..., B]`: `[..., B, d]`."""
    return rows.gather(-2, places.unsqueeze(-1).expand(*places.shape, rows.shape[-1]))
