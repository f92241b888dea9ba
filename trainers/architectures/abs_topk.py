"""AbsTopK: the k largest pre-activations of each token by magnitude, with their signs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainers.architectures.topk import TopK, is_among_highest


@dataclass(frozen=True)
class AbsTopK(TopK):
    """f = z at the k places of largest |z|, z = (x − b_dec) W_enc + b_enc (arXiv 2510.00404).

    Codes are signed: one latent stands for a direction and its opposite. The loss is that of TopK; AuxK
    rebuilds the error from the dead latents of largest |z|, with their signs, as in SAELens.
    """

    name = "abs_topk"
    signed = True

    def select(self, z: Tensor, k: float | Tensor, largest: float | None = None) -> Tensor:
        """Z at the k places of largest |z| of each token, else 0."""
        return z * is_among_highest(z.abs(), k, largest)
