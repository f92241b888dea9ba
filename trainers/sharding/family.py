"""A family of which this process has some latents of every member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from trainers.architectures import Architecture, Parameters
from trainers.family import Family, Member
from trainers.sae import SAE
from trainers.sharding import pieces
from trainers.sharding.collectives import Shards
from trainers.sharding.kinds import part_of

PROBE = (3, 3, 7)
"""d_in, d_out and latents of a small SAE, whose shapes say which dimension of a tensor counts latents."""


class ShardedFamily(Family):
    """As a `Family`, with `dictionary_size / N` of the latents in its tensors.

    Attributes
    ----------
    shards : Shards
        The processes that have the others.
    part : Architecture
        The architecture, over these latents.
    latents : slice
        Those that are here, of the whole dictionary.
    """

    def __init__(
        self, name: str, architecture: Architecture, members: Sequence[Member], *, shards: Shards,
        dictionary_size: int, **given: Any,
    ) -> None:  # fmt: skip
        here = dictionary_size // shards.count
        self.shards, self.part = shards, part_of(architecture, shards)
        self.latents = slice(shards.rank * here, (shards.rank + 1) * here)
        self.dims, self.speaks = latent_dims(architecture), shards.rank == 0
        super().__init__(name, architecture, members, dictionary_size=dictionary_size, **given)

    @property
    def member_bytes(self) -> int:
        """Bytes of the parameters of one member, whole: those of all shards."""
        counts = {name: 1 if dim is None else self.shards.count for name, dim in self.dims.items()}
        sizes = {k: v.numel() * v.element_size() // len(self) for k, v in self.parameters.items()}
        return sum(size * counts[name] for name, size in sizes.items())

    def start(self, member: Member) -> tuple[Parameters, Parameters]:
        """The part of these latents of what one device would start with."""
        means = (self.scaling.input_mean.float(), self.scaling.target_mean.float())
        parameters = self.part.start(self.d_in, self.d_out, self.dictionary_size, means, member.seed)
        return self.here(parameters), self.here(self.architecture.state(self.dictionary_size))

    def here(self, whole: Parameters) -> Parameters:
        """These latents of each tensor; what was drawn for them alone is left."""
        found = {}
        for name, value in whole.items():
            dim = self.dims[name]
            mine = dim is None or value.shape[dim] < self.dictionary_size
            found[name] = value if mine or dim is None else value[(slice(None),) * dim + (self.latents,)]
        return found

    def saes(self, rows: Tensor | None = None, **more: Any) -> list[SAE]:
        """The members as SAEs in the first shard, on the CPU and one tensor at a time; in the others none."""
        return [sae for m in self.active for sae in self._gathered(m, rows, more)]

    @torch.no_grad()
    def _gathered(self, m: int, rows: Tensor | None, more: dict[str, Any]) -> list[SAE]:
        leaves, threshold = self.leaves[m], None
        if rows is not None:
            threshold = self.part.threshold(leaves, rows.to(leaves["b_dec"]), self.members[m].setting)
        whole = [{k: self._whole(k, v) for k, v in some.items()} for some in (leaves, self.state_of(m))]
        if self.shards.rank:
            return []
        found = None if threshold is None else threshold.float().cpu()
        return [self.folded(m, whole[0], whole[1], found, **more)]

    def _whole(self, name: str, value: Tensor) -> Tensor:
        """All latents of a tensor, in the first shard."""
        dim = self.dims[name]
        if dim is None:
            return value.detach().float().cpu().clone()
        parts = self.shards.to_first(value.detach().float())
        return torch.cat(parts, dim) if parts else value

    def tensors(self) -> Parameters:
        """Of every member what is here: parts under names of their own, the rest in the first shard."""
        found: Parameters = {}
        for m, member in enumerate(self.members):
            for kind, own in (("parameter", self.parameters), ("state", self.state)):
                for name, value in own.items():
                    found |= self.named(f"{member.run_id}/{kind}/{name}", name, value[m].detach())
        return found

    def named(self, place: str, name: str, value: Tensor) -> Parameters:
        """A tensor with the latents of parameter or state `name`, as this process saves it."""
        dim = self.dims[name]
        if dim is not None and value.ndim:
            return {pieces.named(place, dim, self.latents): value}
        return {} if self.shards.rank else {place: value}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up these latents of what any number of shards saved."""
        with torch.no_grad():
            for m, member in enumerate(self.members):
                for kind, own in (("parameter", self.parameters), ("state", self.state)):
                    for name, value in own.items():
                        saved = f"{member.run_id}/{kind}/{name}"
                        value[m].copy_(pieces.cut(tensors, saved, self.dims[name], self.latents))


def latent_dims(architecture: Architecture) -> dict[str, int | None]:
    """The dimension of each tensor that counts latents; None: it has none."""
    d_in, d_out, size = PROBE
    means = (torch.zeros(d_in), torch.zeros(d_out))
    small = architecture.start(d_in, d_out, size, means, 0) | architecture.state(size)
    shapes = {k: list(v.shape) for k, v in small.items()}
    return {k: shape.index(size) if size in shape else None for k, shape in shapes.items()}
