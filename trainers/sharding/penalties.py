"""The penalties of `trainers.architectures.penalties` over latents that are divided."""

from __future__ import annotations

from torch import Tensor

from trainers.sharding.collectives import Shared, Total
from trainers.shards import Shards


def dependence(f: Tensor, shards: Shards) -> Tensor:
    """Σ_{i≠j} corr(f_i, f_j)² / F, by the products of tokens, which are sums over latents."""
    centred = f - f.mean(-2, keepdim=True)
    norms = centred.square().sum(-2, keepdim=True)
    unit = centred * norms.clamp_min(1e-12).rsqrt().where(norms > 1e-12, 0.0)
    product = Total.apply(unit @ unit.mT, shards)
    own = Total.apply(unit.square().sum(-2).square().sum(-1), shards)
    return (product.square().sum((-1, -2)) - own) / (f.shape[-1] * shards.count)


def overlap(f: Tensor, shards: Shards) -> Tensor:
    """Mean over pairs of different tokens of the squared cosine of their codes."""
    norms = Shared.apply(Total.apply(f.square().sum(-1, keepdim=True), shards), shards)
    unit = f * norms.clamp_min(1e-12).rsqrt().where(norms > 1e-12, 0.0)
    product = Total.apply(unit @ unit.mT, shards)
    own = Total.apply(unit.square().sum(-1), shards).square().sum(-1)
    tokens = f.shape[-2]
    return (product.square().sum((-1, -2)) - own) / max(tokens * (tokens - 1), 1)


def excess_frequency(f: Tensor, limit: float, shards: Shards) -> Tensor:
    """Σ_i relu(rate_i − limit), with rate_i = mean_b tanh(f_i)."""
    return Total.apply((f.tanh().mean(-2) - limit).relu().sum(-1), shards)
