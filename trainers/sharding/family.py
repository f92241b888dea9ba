"""A family of which this process has some latents of every member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trainers.architectures import Architecture, Parameters
from trainers.family import Family, Member
from trainers.sae import SAE
from trainers.sae_parts import latent_dims
from trainers.sharding import pieces
from trainers.sharding.kinds import part_of
from trainers.shards import Shards


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

    def sae(self, m: int, rows: Tensor | None = None, **more: Any) -> SAE:
        """These latents of the SAE; every shard makes the same call."""
        return replace(super().sae(m, rows, **more), architecture=self.part)

    @torch.no_grad()
    def threshold(self, m: int, trained: Parameters, rows: Tensor) -> Tensor | None:
        """That of all latents, found on the device."""
        leaves = self.leaves[m]
        found = self.part.threshold(leaves, rows.to(leaves["b_dec"]), self.members[m].setting)
        return None if found is None else found.float().cpu()

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
