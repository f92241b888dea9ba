"""The processes that share one SAE, and all that they tell each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
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

    def part(self, value: Tensor, dim: int | None) -> Tensor:
        """Of a tensor the latents of this shard, counted by `dim`; without one all of it.

        Raises
        ------
        ValueError
            If the latents cannot be divided.
        """
        if dim is None or self.count == 1:
            return value
        here, left = divmod(value.shape[dim], self.count)
        if left:
            raise ValueError(f"its latents cannot be divided over {self.count} processes")
        return value.narrow(dim, self.rank * here, here)

    def total(self, value: Tensor) -> Tensor:
        """The sum over the shards, in every one of them the same bits; on the CPU taken in float64."""
        wide = value.to(torch.float64 if value.is_cpu else torch.promote_types(value.dtype, torch.float32))
        return self._reduced(wide, dist.ReduceOp.SUM).to(torch.promote_types(value.dtype, torch.float32))

    def only(self, value: Tensor) -> Tensor:
        """Each number from the shard that has it: in the others, or in all, it is NaN."""
        there = self.total((~value.isnan()).double())
        return torch.where(there > 0, self.total(value.nan_to_num(0.0)), torch.nan)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over the shards."""
        return self.total(torch.from_numpy(values)).numpy() / self.count

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

    def share(self, items: Tensor) -> Tensor:
        """Of windows those that this process sees through a language model; there may be none."""
        return items.tensor_split(self.count)[self.rank]

    def joined(self, rows: Tensor) -> tuple[Tensor, slice]:
        """The rows `[n, d]` of all shards, however many each has, in their order; which are from here."""
        if self.count == 1:
            return rows, slice(0, len(rows))
        sizes = self.gathered(torch.tensor([len(rows)], device=rows.device)).flatten().tolist()
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        found = [part[:size] for part, size in zip(self.gathered(padded), sizes, strict=True)]
        first = sum(sizes[: self.rank])
        return torch.cat(found), slice(first, first + len(rows))

    def from_first(self, value: Tensor) -> Tensor:
        """The value of the first shard, written over that of the others."""
        if self.group is not None:
            dist.broadcast(value, group=self.group, group_src=0)
        return value

    def to_first(self, value: Tensor) -> Iterator[Tensor]:
        """In the first shard the values of all, one at a time; the others send theirs and get nothing."""
        if self.rank == 0:
            return self._arriving(value)
        dist.send(value.contiguous(), group=self.group, group_dst=0)
        return iter(())

    def _arriving(self, value: Tensor) -> Iterator[Tensor]:
        yield value
        for source in range(1, self.count):
            found = torch.empty_like(value, memory_format=torch.contiguous_format)
            dist.recv(found, group=self.group, group_src=source)
            yield found

    def _reduced(self, value: Tensor, how: Any) -> Tensor:
        if self.group is None:
            return value
        value = value.clone().contiguous()
        dist.all_reduce(value, op=how, group=self.group)
        return value


ALONE = Shards()
"""One process, which has all latents."""


def shards_of(sae: Any) -> Shards:
    """The processes that share an SAE-like object; one that says nothing of it is whole."""
    return getattr(sae, "shards", ALONE)
