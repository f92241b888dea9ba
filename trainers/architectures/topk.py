"""TopK: the k highest pre-activations of each token."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.architectures.architecture import Architecture, Knobs, Losses, Parameters
from trainers.architectures.aux_k import aux_k_loss, idle_after
from trainers.architectures.sums import at_hand, squared_error


@dataclass(frozen=True)
class TopK(Architecture):
    """f = relu(TopK(z)), z = (x − b_dec) W_enc + b_enc (Gao et al., arXiv 2406.04093, sections 2.3, 2.4).

        loss = mean ‖x − x̂‖² + α V ‖e − ê‖² / ‖e − ē‖²,   e = x − x̂ without gradient

    where ê rebuilds e from the highest `aux_k` latents that are dead, and V is the variance of x.

    Attributes
    ----------
    aux_coefficient : float
        α; 0 switches AuxK off.
    aux_k : int or None
        Dead latents per token in ê; half the width of the activations by default.
    dead_after : float
        A latent is dead when it has not fired for this share of the run (the paper: 10 million tokens).
    """

    name = "topk"
    setting_name = "k"
    whole_settings = True
    steps_alike = True
    sweep = (1, 2, 4, 8, 16, 32)
    short_runs = 2.0
    long_run = 600
    rise = 1.0

    aux_coefficient: float = 1 / 32
    aux_k: int | None = None
    dead_after: float = 0.1

    def __post_init__(self) -> None:
        if not (self.aux_coefficient >= 0 and math.isfinite(self.aux_coefficient)):
            raise ValueError(f"aux_coefficient must be 0 or above, got {self.aux_coefficient}")
        if self.aux_k is not None and self.aux_k < 1:
            raise ValueError(f"aux_k must be 1 or above, got {self.aux_k}")
        if not 0 < self.dead_after <= 1:
            raise ValueError(f"dead_after must be above 0 and at most 1, got {self.dead_after}")

    def state(self, size: int) -> dict[str, Tensor]:
        """Tokens since each latent last fired."""
        return {"idle": torch.zeros(size)}

    def select(self, z: Tensor, k: float | Tensor, largest: float | None = None) -> Tensor:
        """relu(z) at the k highest places of each token, else 0."""
        return z.relu() * is_among_highest(z, k, largest)

    def encode(self, p: Parameters, x: Tensor) -> Tensor:
        """The k highest of each token, `[..., B, F]`."""
        return self.select(self.pre_activations(p, x), p["k"])

    def loss(
        self, p: Parameters, state: dict[str, Tensor], x: Tensor, target: Tensor, knobs: Knobs
    ) -> Losses:
        """Squared error, and the auxiliary loss of dead latents."""
        z = self.pre_activations(p, x)
        f = self.select(z, knobs.setting, knobs.largest)
        x_hat = self.decode(p, f)
        total = self.reconstruction(p, f, x_hat, target, knobs)
        if self.aux_coefficient and knobs.may_be_dead is not False:
            dead = self.dead(state["idle"], knobs, x.shape[-2])
            if knobs.may_be_dead or not at_hand(x) or self.any_of(dead):  # no question to the GPU
                error, k = (target - x_hat).detach(), self.aux_k or x_hat.shape[-1] // 2
                aux = self.aux(p, z, target, error, dead, k)
                total = total + self.aux_coefficient * aux
        return Losses(total, f, x_hat, self.after(state, z.detach(), f.detach(), knobs))

    def aux(self, p: Parameters, z: Tensor, target: Tensor, error: Tensor, dead: Tensor, k: int) -> Tensor:
        """AuxK: what the highest k dead latents leave of the error."""
        return aux_k_loss(p, z, target, error, dead, k, self.signed)

    def any_of(self, latents: Tensor) -> Tensor:
        """Whether one of the latents is marked."""
        return latents.any()

    def reconstruction(self, p: Parameters, f: Tensor, x_hat: Tensor, target: Tensor, knobs: Knobs) -> Tensor:
        """Mean ‖x − x̂‖²; Matryoshka has its prefixes here, HierarchicalTopK its budgets."""
        return squared_error(x_hat, target)

    def after(self, state: dict[str, Tensor], z: Tensor, f: Tensor, knobs: Knobs) -> dict[str, Tensor]:
        """The state of the next step."""
        return {"idle": idle_after(state["idle"], f)}

    def dead(self, idle: Tensor, knobs: Knobs, batch: int) -> Tensor:
        """Which latents have been silent for `dead_after` of the run."""
        return idle >= self.dead_after * knobs.steps * batch

    def inference(self, p: Parameters, state: dict[str, Tensor], setting: float) -> Parameters:
        """The weights and k."""
        return dict(p) | {"k": torch.tensor(int(setting))}


def is_among_highest(z: Tensor, k: float | Tensor, largest: float | None = None) -> Tensor:
    """Mask `[..., B, F]` of exactly the k highest of each token; of equal values the places that topk gives.

    `k` may be a tensor `[M]`, one per member of a stack, with its `largest` value.
    """
    most = int(largest or (k.max() if isinstance(k, Tensor) else k))
    places = z.topk(min(most, z.shape[-1]), dim=-1).indices
    chosen = torch.ones_like(places, dtype=torch.bool)
    if isinstance(k, Tensor) and k.ndim:
        rank = torch.arange(places.shape[-1], device=z.device)
        chosen = (rank < k[:, None, None]).expand(places.shape)
    return torch.zeros_like(z, dtype=torch.bool).scatter(-1, places, chosen)
