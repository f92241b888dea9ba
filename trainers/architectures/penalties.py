"""Optional penalties on how latents are used together; all are off by default.

They are this project's own smooth forms of three wishes: latents that fire independently of each other,
tokens that
use different latents, and no latent that fires on most tokens. Codes are `[..., B, F]`; each value is
`[...]`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def dependence(f: Tensor) -> Tensor:
    """Σ_{i≠j} corr(f_i, f_j)² / F: the squared correlations of latents over the batch, per latent."""
    centred = f - f.mean(-2, keepdim=True)
    norms = centred.square().sum(-2, keepdim=True)
    unit = centred * torch.where(norms > 1e-12, norms.clamp_min(1e-12).rsqrt(), 0.0)
    # ‖uᵀu‖² over pairs of latents equals ‖u uᵀ‖² over pairs of tokens: the smaller product is taken.
    product = unit @ unit.mT if f.shape[-2] < f.shape[-1] else unit.mT @ unit
    own = unit.square().sum(-2).square().sum(-1)
    return (product.square().sum((-1, -2)) - own) / f.shape[-1]


def overlap(f: Tensor) -> Tensor:
    """Mean over pairs of different tokens of the squared cosine of their codes."""
    norms = f.square().sum(-1, keepdim=True)
    unit = f * torch.where(norms > 1e-12, norms.clamp_min(1e-12).rsqrt(), 0.0)
    product = unit @ unit.mT if f.shape[-2] < f.shape[-1] else unit.mT @ unit
    own = unit.square().sum(-1).square().sum(-1)
    tokens = f.shape[-2]
    return (product.square().sum((-1, -2)) - own) / max(tokens * (tokens - 1), 1)


def excess_frequency(f: Tensor, limit: float) -> Tensor:
    """Σ_i relu(rate_i − limit), with the smooth firing rate rate_i = mean_b tanh(f_i)."""
    return (torch.tanh(f).mean(-2) - limit).relu().sum(-1)
