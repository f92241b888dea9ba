"""AuxK: dead latents learn to explain what the living ones leave over."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.architectures.architecture import Parameters
from trainers.architectures.sums import variance


def aux_k_loss(
    p: Parameters, pre: Tensor, target: Tensor, error: Tensor, dead: Tensor, k: int, signed: bool = False
) -> Tensor:
    """V ‖e − ê‖² / ‖e − ē‖², `[...]`: the error e rebuilt from the k highest dead latents.

    From arXiv 2406.04093, sections 2.4 and A.2, and its code, which divides both the squared error and this
    term by their variances. Here the squared error is not divided, and so the term is multiplied by the
    variance V = mean ‖x − x̄‖² of the batch: the two keep their proportion at every width and scale.

    Parameters
    ----------
    pre : Tensor [..., B, F]
        Pre-activations.
    target : Tensor [B, d_out]
        x, or what stands for it at another site.
    error : Tensor [..., B, d_out]
        x − x̂, without gradient.
    dead : Tensor [..., F]
        Which latents are dead.
    k : int
        At most so many dead latents per token.
    signed : bool
        The highest by magnitude, with their signs.

    Notes
    -----
    ê has no decoder bias, since e has none. Zero where no latent is dead.
    """
    f = highest_dead(pre, dead, k, signed)
    return share_left(f @ p["W_dec"], target, error, dead.any(-1))


def highest_dead(pre: Tensor, dead: Tensor, k: int, signed: bool = False) -> Tensor:
    """Codes `[..., B, F]` of the k highest dead latents of each token."""
    heights = (pre.abs() if signed else pre).masked_fill(~dead.unsqueeze(-2), -torch.inf)
    values, places = heights.topk(min(k, pre.shape[-1]), dim=-1)
    there = values.isfinite()
    values = pre.gather(-1, places) if signed else values.relu()
    values = torch.where(there, values, torch.zeros_like(values))
    return torch.zeros_like(pre).scatter(-1, places, values)


def share_left(rebuilt: Tensor, target: Tensor, error: Tensor, any_dead: Tensor) -> Tensor:
    """V ‖e − ê‖² / ‖e − ē‖² of ê = `rebuilt [..., B, d_out]`; 0 where no latent is dead."""
    left = (error - rebuilt).square().sum((-1, -2))
    spread = (error - error.mean(-2, keepdim=True)).square().sum((-1, -2))
    share = left / spread.clamp_min(1e-12)
    return torch.where(any_dead, variance(target) * share, torch.zeros_like(left))


def idle_after(idle: Tensor, f: Tensor) -> Tensor:
    """Tokens since each latent last fired, `[..., F]`, after this batch."""
    return idle_at(idle, (f != 0).any(-2), f.shape[-2])


def idle_at(idle: Tensor, fired: Tensor, tokens: int) -> Tensor:
    """The same, where it is known which latents fired `[..., F]`."""
    return torch.where(fired, torch.zeros_like(idle), idle + tokens)
