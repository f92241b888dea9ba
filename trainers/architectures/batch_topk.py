"""BatchTopK: the k·B highest pre-activations of a batch, one threshold at inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainers.architectures.architecture import Knobs, Parameters
from trainers.architectures.topk import TopK

ROWS = 2048
"""Activations that are encoded at a time, where the threshold is found."""


@dataclass(frozen=True)
class BatchTopK(TopK):
    """relu(z) at the k·B highest places of the whole batch (Bussmann et al. 2024, arXiv 2412.06410).

    The loss is that of TopK. At inference one threshold replaces the batch: f = relu(z) 1[z > θ]. With
    `threshold_from = "final"` θ keeps k per token of training activations, with the final weights; with
    `"running"` it is the running mean of the smallest value kept in each training batch, which lags behind
    the weights. k may be any positive real number.

    Attributes
    ----------
    threshold_decay : float
        Weight of the past in the running mean of θ.
    threshold_from : {"final", "running"}
        Where θ comes from; "running" is all there is where no training activations are at hand.
    """

    name = "batch_topk"
    whole_settings = False
    input_units = ("b_enc", "threshold")

    threshold_decay: float = 0.99
    threshold_from: Literal["final", "running"] = "final"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.threshold_decay < 1:
            raise ValueError(f"threshold_decay must be 0 or above and below 1, got {self.threshold_decay}")

    def state(self, size: int) -> dict[str, Tensor]:
        """Tokens since each latent fired; the threshold, and how much of its running mean is filled."""
        return super().state(size) | {"threshold": torch.zeros(()), "filled": torch.zeros(())}

    def select(self, z: Tensor, k: float | Tensor, largest: float | None = None) -> Tensor:
        """relu(z) at the k·B highest positive places of the batch, else 0."""
        f = z.relu()
        return f * (f > 0) * is_among_highest_of_batch(f, k, largest)

    def encode(self, p: Parameters, x: Tensor) -> Tensor:
        """relu(z) above the threshold, `[..., B, F]`."""
        z = self.pre_activations(p, x)
        return z.relu() * (z > p["threshold"].unsqueeze(-1).unsqueeze(-1))

    def after(self, state: dict[str, Tensor], z: Tensor, f: Tensor, knobs: Knobs) -> dict[str, Tensor]:
        """The threshold follows the smallest value kept; idle times as in TopK."""
        smallest = self.smallest(f)
        smallest = torch.where(smallest.isfinite(), smallest, torch.zeros_like(smallest))
        return super().after(state, z, f, knobs) | self.follow(state, smallest)

    def smallest(self, f: Tensor) -> Tensor:
        """The smallest positive code of each batch, `[...]`; infinity where there is none."""
        return torch.where(f > 0, f, torch.inf).amin((-1, -2))

    def follow(self, state: dict[str, Tensor], smallest: Tensor) -> dict[str, Tensor]:
        """The running mean of the threshold after one more batch."""
        keep = self.threshold_decay
        return {
            "threshold": keep * state["threshold"] + (1 - keep) * smallest,
            "filled": keep * state["filled"] + (1 - keep),
        }

    def inference(self, p: Parameters, state: dict[str, Tensor], setting: float) -> Parameters:
        """The weights and the threshold."""
        return dict(p) | {"threshold": state["threshold"] / state["filled"].clamp_min(1e-12)}

    def state_of(self, p: Parameters, size: int) -> dict[str, Tensor]:
        """The threshold is that of the SAE."""
        return super().state_of(p, size) | {"filled": torch.ones(())}

    def threshold(self, p: Parameters, x: Tensor, setting: float) -> Tensor | None:
        """Half-way between the last value that is kept, if k per token are, and the next one."""
        if self.threshold_from != "final":
            return None
        wanted = max(1, round(setting * len(x)))
        highest = self.highest(p, x, wanted + 1)
        if len(highest) <= wanted:  # all that are above 0
            return x.new_zeros(())
        return (highest[-1] + highest[-2]) / 2

    def highest(self, p: Parameters, x: Tensor, count: int) -> Tensor:
        """The highest positive pre-activations of all rows, falling; at most `count`."""
        found, least = x.new_zeros(0), x.new_zeros(())  # only what is above the least of enough can be kept
        for rows in x.split(ROWS):
            z = self.pre_activations(p, rows).flatten()
            found = torch.cat([found, z[z > least]])
            if len(found) >= count:
                found = found.topk(count, sorted=False).values
                least = found.min()
        return found.sort(descending=True).values


def is_among_highest_of_batch(f: Tensor, k: float | Tensor, largest: float | None = None) -> Tensor:
    """Mask `[..., B, F]` of the round(k·B) highest values of each batch."""
    flat = f.flatten(-2)
    rows, per_token = f.shape[-2], f.shape[-1]
    kept = torch.as_tensor(k, dtype=torch.float64) * rows
    most = round(largest * rows) if largest else int(kept.max().round())
    most = min(max(most, 1), rows * per_token)
    places = flat.topk(most, dim=-1, sorted=bool(kept.ndim)).indices
    chosen = torch.ones_like(places, dtype=torch.bool)
    if kept.ndim:
        rank = torch.arange(most, device=f.device)
        chosen = rank < kept.round().clamp_min(1).to(f.device)[:, None]
    return torch.zeros_like(flat, dtype=torch.bool).scatter(-1, places, chosen).view_as(f)
