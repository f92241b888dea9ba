"""Matryoshka BatchTopK: nested prefixes of the dictionary, each a reconstruction of its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainers.architectures.architecture import Knobs, Parameters
from trainers.architectures.batch_topk import BatchTopK
from trainers.architectures.sums import squared_error


@dataclass(frozen=True)
class Matryoshka(BatchTopK):
    """BatchTopK whose first latents must do alone (Bussmann et al. 2025, arXiv 2503.17547).

        loss = Σ_g w_g mean ‖x − x̂_g‖² + AuxK,   x̂_g = f[:m_g] W_dec[:m_g] + b_dec

    Attributes
    ----------
    prefixes : tuple of float
        m_g / F, rising, the last 1.
    weights : tuple of float or None
        w_g; 1 / (number of prefixes) each by default, so that the loss has the size of one squared error.
    """

    name = "matryoshka"

    prefixes: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.prefixes) != sorted(set(self.prefixes)) or not self.prefixes or self.prefixes[-1] != 1:
            raise ValueError(f"prefixes must rise and end with 1, got {list(self.prefixes)}")
        if self.prefixes[0] <= 0:
            raise ValueError(f"prefixes must be above 0, got {list(self.prefixes)}")
        if self.weights is not None and len(self.weights) != len(self.prefixes):
            raise ValueError(f"{len(self.prefixes)} prefixes need as many weights, got {list(self.weights)}")

    def reconstruction(self, p: Parameters, f: Tensor, x_hat: Tensor, target: Tensor, knobs: Knobs) -> Tensor:
        """Σ_g w_g mean ‖x − x̂_g‖²; each prefix adds its part to the one before."""
        weights = self.weights or (1 / len(self.prefixes),) * len(self.prefixes)
        total, so_far, first = x_hat.new_zeros(()), p["b_dec"].unsqueeze(-2), 0
        for share, weight in zip(self.prefixes, weights, strict=True):
            last = max(round(share * f.shape[-1]), first)
            so_far = so_far + f[..., first:last] @ p["W_dec"][..., first:last, :]
            total = total + weight * squared_error(so_far, target)
            first = last
        return total
