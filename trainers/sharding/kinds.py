"""An architecture over a part of its latents: its own loss, with sums and choices over all of them."""

from __future__ import annotations

from dataclasses import fields
from typing import ClassVar

import torch
from torch import Tensor

from trainers.architectures import (
    AbsTopK,
    Architecture,
    BatchTopK,
    Gated,
    JumpReLU,
    Knobs,
    Matryoshka,
    PAnneal,
    Parameters,
    ReLU,
    TopK,
    squared_error,
)
from trainers.architectures.aux_k import share_left
from trainers.sharding import penalties
from trainers.sharding.collectives import Shared, Total
from trainers.sharding.selection import among_highest, among_highest_of_batch
from trainers.shards import Shards

DIVISIBLE: tuple[type[Architecture], ...] = (
    ReLU, Gated, JumpReLU, TopK, AbsTopK, BatchTopK, Matryoshka, PAnneal,
)  # fmt: skip
"""Architectures whose losses are sums over latents, or choices among all of them at once."""
DRAWN = 2**26
"""Numbers of a start that are drawn at a time."""


class Part(Architecture):
    """What all architectures need over a part of their latents."""

    whole: ClassVar[Architecture]
    """The architecture over all latents."""

    def over_latents(self, part: Tensor) -> Tensor:
        """The sum over all latents."""
        return Total.apply(part, self.shards)

    def pre_activations(self, p: Parameters, x: Tensor, weight: str = "W_enc", bias: str = "b_enc") -> Tensor:
        """Of these latents; b_dec is everybody's."""
        return super().pre_activations(p | {"b_dec": Shared.apply(p["b_dec"], self.shards)}, x, weight, bias)

    def directions(self, rows: int, columns: int, random: torch.Generator, dim: int = -1) -> Tensor:
        """Those of these latents: all are drawn, as on one device, some rows at a time, and few are kept."""
        size = columns if dim == 0 else rows
        first, last = (i * size // self.shards.count for i in (self.shards.rank, self.shards.rank + 1))
        kept, start = [], 0
        step = max(1, DRAWN // columns // 16) * 16  # torch draws sixteen numbers at a time
        while start < rows:
            end = rows if rows - start < step + 16 else start + step
            block = torch.randn(end - start, columns, generator=random)
            mine = block[:, first:last] if dim == 0 else block[max(first - start, 0) : max(last - start, 0)]
            kept.append(mine.clone())
            start = end
        return torch.nn.functional.normalize(torch.cat(kept), dim=dim)

    def penalised(self, total: Tensor, f: Tensor) -> Tensor:
        """The loss with the optional penalties over all latents."""
        if self.independence:
            total = total + self.independence * penalties.dependence(f, self.shards)
        if self.contrastive:
            total = total + self.contrastive * penalties.overlap(f, self.shards)
        if self.frequency:
            sizes = f.abs() if self.signed else f
            total = total + self.frequency * penalties.excess_frequency(
                sizes, self.frequency_limit, self.shards
            )
        return total


class TopKPart(Part, TopK):
    """The k highest of all latents; AuxK of all that are dead."""

    def select(self, z: Tensor, k: float | Tensor, largest: float | None = None) -> Tensor:
        """Z, or relu(z), at those of the k highest places of each token that are here, else 0."""
        return self.highest_of(z if self.signed else z.relu(), int(k))

    def highest_of(self, f: Tensor, k: int) -> Tensor:
        """F at those of the k highest |f| of each token that are here, else 0."""
        return f * among_highest(f.detach().abs() if self.signed else f.detach(), k, self.shards)

    def any_of(self, latents: Tensor) -> Tensor:
        """Whether one of all latents is marked."""
        return self.shards.any(latents)

    def aux(self, p: Parameters, z: Tensor, target: Tensor, error: Tensor, dead: Tensor, k: int) -> Tensor:
        """What the highest k of all dead latents leave of the error."""
        f = self.highest_of((z if self.signed else z.relu()) * dead, k)
        return share_left(self.over_latents(f @ p["W_dec"]), target, error, self.any_of(dead))


class BatchTopKPart(TopKPart, BatchTopK):
    """The k·B highest of all latents."""

    def select(self, z: Tensor, k: float | Tensor, largest: float | None = None) -> Tensor:
        """relu(z) at those of the k·B highest positive places of the batch that are here, else 0."""
        f = z.relu()
        kept = min(max(round(float(k) * len(f)), 1), f.numel() * self.shards.count)
        return f * among_highest_of_batch(f.detach(), kept, self.shards)

    def smallest(self, f: Tensor) -> Tensor:
        """The smallest positive code of all latents."""
        return self.shards.least(super().smallest(f))

    def highest(self, p: Parameters, x: Tensor, count: int) -> Tensor:
        """The highest positive pre-activations of all latents."""
        found = super().highest(p, x, count)
        every = self.shards.gathered(torch.nn.functional.pad(found, (0, count - len(found)))).flatten()
        every = every.topk(min(count, len(every))).values
        return every[every > 0]


class MatryoshkaPart(BatchTopKPart, Matryoshka):
    """Prefixes of all latents."""

    def reconstruction(self, p: Parameters, f: Tensor, x_hat: Tensor, target: Tensor, knobs: Knobs) -> Tensor:
        """Σ_g w_g mean ‖x − x̂_g‖²; the groups of all prefixes are added up over the shards at once."""
        here, size = f.shape[-1], f.shape[-1] * self.shards.count
        weights = self.weights or (1 / len(self.prefixes),) * len(self.prefixes)
        parts, first = [], 0
        for share in self.prefixes:
            last = max(round(share * size), first)
            a, b = (min(max(i - self.shards.rank * here, 0), here) for i in (first, last))
            parts.append(f[..., a:b] @ p["W_dec"][..., a:b, :])
            first = last
        so_far = self.over_latents(torch.stack(parts)).cumsum(0) + p["b_dec"]
        return squared_error(so_far, target) @ so_far.new_tensor(weights)


PARTS: tuple[tuple[type[Architecture], type[Part]], ...] = (
    (Matryoshka, MatryoshkaPart), (BatchTopK, BatchTopKPart), (TopK, TopKPart), (Architecture, Part),
)  # fmt: skip


def part_of(architecture: Architecture, shards: Shards) -> Architecture:
    """The architecture with the same options, over the latents of one shard."""
    kind = type(architecture)
    base = next(part for whole, part in PARTS if isinstance(architecture, whole))
    both = type(
        kind.__name__,
        (base, kind),
        {"name": kind.name, "__module__": __name__, "shards": shards, "whole": architecture},
    )
    return both(**{f.name: getattr(architecture, f.name) for f in fields(architecture)})


def divisible(kind: type[Architecture]) -> bool:
    """Whether the loss of an architecture is known to hold for a part of its latents."""
    return kind in DIVISIBLE
