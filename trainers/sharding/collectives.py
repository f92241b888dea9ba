"""What the processes that share one SAE tell each other, and the two sums that gradients go through.

A sum over latents is added up on the way forward; what comes after it is the same in every process, so that
its gradient is there already. A tensor that all have (b_dec) goes into local latents as it is, and the
gradients that come out of them are added up on the way back.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Shards:
    """The processes that share one SAE, and which of them this is.

    Parameters
    ----------
    group : ProcessGroup, optional
        None: this process has all latents.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.rank = 0 if group is None else dist.get_rank(group)
        self.count = 1 if group is None else dist.get_world_size(group)

    def total(self, value: Tensor) -> Tensor:
        """The sum over the shards, in every one of them the same bits; on the CPU taken in float64."""
        wide = value.to(torch.float64 if value.is_cpu else torch.promote_types(value.dtype, torch.float32))
        return self._reduced(wide, dist.ReduceOp.SUM).to(torch.promote_types(value.dtype, torch.float32))

    def least(self, value: Tensor) -> Tensor:
        """The least value of all shards."""
        return self._reduced(value, dist.ReduceOp.MIN)

    def any(self, flags: Tensor) -> Tensor:
        """Whether a flag is set in any shard."""
        return self._reduced(flags.any().to(torch.int32), dist.ReduceOp.MAX) > 0

    def gathered(self, value: Tensor) -> Tensor:
        """The values of all shards, `[shards, ...]`, in the order of their latents."""
        if self.group is None:
            return value.unsqueeze(0)
        found = value.new_empty(self.count * value.numel())
        dist.all_gather_into_tensor(found, value.contiguous().view(-1), self.group)
        return found.view(self.count, *value.shape)

    def from_first(self, value: Tensor) -> Tensor:
        """The value of the first shard, written over that of the others."""
        if self.group is not None:
            dist.broadcast(value, group=self.group, group_src=0)
        return value

    def to_first(self, value: Tensor) -> list[Tensor]:
        """In the first shard the values of all, on the CPU and one at a time; in the others nothing."""
        value = value.detach().contiguous()
        if self.rank:
            dist.send(value, group=self.group, group_dst=0)
            return []
        found, room = [value.cpu()], torch.empty_like(value)
        for source in range(1, self.count):
            dist.recv(room, group=self.group, group_src=source)
            found.append(room.to("cpu", copy=True))
        return found

    def _reduced(self, value: Tensor, how: Any) -> Tensor:
        if self.group is None:
            return value
        value = value.clone().contiguous()
        dist.all_reduce(value, op=how, group=self.group)
        return value


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
