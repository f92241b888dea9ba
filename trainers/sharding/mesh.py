"""Which process has which members and which latents: members × shards, by torch's own device mesh."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.distributed.device_mesh import init_device_mesh

from frontier.wording import plural
from trainers import ranks
from trainers.architectures import Architecture
from trainers.sharding.kinds import DIVISIBLE, divisible
from trainers.shards import Shards

T = TypeVar("T")


class ShardError(ValueError):
    """SAEs that cannot be divided as the configuration asks: over these processes, or at all."""


@dataclass(frozen=True)
class Mesh:
    """Where this process stands.

    Attributes
    ----------
    shards : Shards
        The processes that share its members.
    group, groups : int
        Which of the groups of such processes it is in, and how many there are.
    """

    shards: Shards
    group: int
    groups: int

    def mine(self, items: Sequence[T]) -> list[T]:
        """The items of this group: every `groups`-th."""
        return list(items[self.group :: self.groups])


def mesh_of(count: int, device: torch.device) -> Mesh:
    """Groups of `count` neighbouring processes; each group has one share of the members."""
    world = ranks.world_size()
    if count == 1:
        return Mesh(Shards(), ranks.rank(), world)
    whole = init_device_mesh(device.type, (world // count, count), mesh_dim_names=("members", "shards"))
    return Mesh(Shards(whole.get_group("shards")), whole.get_local_rank("members"), world // count)


def check(count: int, sizes: Iterable[int], kinds: Iterable[type[Architecture]]) -> None:
    """Nothing, if dictionaries of these sizes and architectures can be divided over these processes.

    Raises
    ------
    ShardError
        Names the first that cannot.
    """
    if count == 1:
        return
    world = ranks.world_size()
    if world % count:
        raise ShardError(
            f"training.shards = {count} needs {count} processes or a multiple, there "
            f"{'is' if world == 1 else 'are'} {world}; `torchrun --nproc-per-node {count} -m trainers ...` "
            f"starts {count}; or take another training.shards"
        )
    for size in sizes:
        if size % count:
            raise ShardError(
                f"training.shards = {count} cannot divide a dictionary of {size}; take a multiple of {count}"
            )
    for kind in kinds:
        if not divisible(kind):
            raise ShardError(
                f"{kind.name} cannot be divided over {plural(count, 'device')}, "
                f"{', '.join(k.name for k in DIVISIBLE)} can; set training.shards = 1"
            )
