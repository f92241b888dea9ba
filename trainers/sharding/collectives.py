"""The two sums over shards that gradients go through.

A sum over latents is added up on the way forward; what comes after it is the same in every process, so that
its gradient is there already. A tensor that all have (b_dec) goes into local latents as it is, and the
gradients that come out of them are added up on the way back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainers.shards import Shards


class Total(torch.autograd.Function):
    """The sum over the shards; each part's gradient is that of the sum."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, shards: Shards) -> Tensor:
        """Add up."""
        ctx.dtype = part.dtype
        return shards.total(part)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """As it is."""
        return grad.to(ctx.dtype), None


class Shared(torch.autograd.Function):
    """What every shard has; its gradient is the sum of those of the shards."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, shards: Shards) -> Tensor:
        """As it is."""
        ctx.shards = shards
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Add up."""
        return ctx.shards.total(grad).to(grad.dtype), None
