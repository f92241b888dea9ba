"""Which latents fire: pre-activations are made slice by slice, and only the chosen values leave the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.steps.closed_forms import kernels
from trainers.steps.closed_forms.codes import Codes
from trainers.steps.closed_forms.memory import Scratch

SMALLEST = float(np.nextafter(np.float32(0), np.float32(1)))
"""The least positive float32: what is not below it is positive."""


@dataclass(frozen=True)
class Encoder:
    """z = x W + shift, in slices that fit into the cache.

    Attributes
    ----------
    weight : Tensor [d_in, F]
    shift : Tensor [F]
    x : Tensor [B, d_in]
    """

    weight: Tensor
    shift: Tensor
    x: Tensor
    scratch: Scratch

    @property
    def shape(self) -> tuple[int, int]:
        """(B, F)."""
        return len(self.x), self.weight.shape[1]

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """(first token, z of the slice); the next slice is written over it."""
        rows = slice_rows(self.shape[1])
        for first in range(0, len(self.x), rows):
            yield first, self.some(self.x[first : first + rows])

    def some(self, x: Tensor) -> Tensor:
        """Z of these tokens."""
        out = self.scratch.take("f", (len(x), self.shape[1]), x.dtype)
        return torch.addmm(self.shift, x, self.weight, out=out)


def slice_rows(size: int) -> int:
    """Tokens per slice, by F: few for the cache, many for the products."""
    return 256 if size <= 8192 else 512


def codes_from(encoder: Encoder, limit: float | np.ndarray) -> Codes:
    """Every z that is not below its limit, which is one number or `[F]`."""
    return joined([reaching(z, limit, encoder.scratch) for _, z in encoder])


def token_codes(encoder: Encoder, k: float, signed: bool = False) -> Codes:
    """The positive ones of the k highest of each token, or the k largest |z|; of equal ones the first."""
    k = min(int(k), encoder.shape[1])

    def choose(z: np.ndarray, *found: np.ndarray) -> int:
        return kernels.highest(z, k, z.dtype.type(SMALLEST), *found)

    if signed:
        return joined([with_signs(z, choose, encoder.scratch) for _, z in encoder])
    return joined([picked(z, choose, encoder.scratch) for _, z in encoder])


def with_signs(z: Tensor, choose: Callable[..., int], scratch: Scratch) -> Codes:
    """What `choose` leaves of |z|, with the signs of z."""
    codes = picked(torch.abs(z, out=scratch.take("sizes", tuple(z.shape), z.dtype)), choose, scratch)
    kernels.taken(z.numpy(), codes.begins, codes.places, codes.values)
    return codes


def batch_codes(encoder: Encoder, k: float) -> Codes:
    """The round(k·B) highest positive values of the whole batch; of equal ones the first."""
    kept = max(round(k * encoder.shape[0]), 1)
    codes = codes_from(encoder, likely_limit(encoder, k))
    if len(codes.values) < kept:
        codes = codes_from(encoder, SMALLEST)
    extra = len(codes.values) - kept
    if extra <= 0:
        return codes
    limit = np.partition(codes.values, extra)[extra]
    take = ~(codes.values <= limit)
    take[np.flatnonzero(codes.values == limit)[: kept - np.count_nonzero(take)]] = True
    return codes.some(np.flatnonzero(take))


def likely_limit(encoder: Encoder, k: float, tokens: int = 128, margin: float = 1.5) -> float:
    """A positive number that somewhat more than k·B values should exceed, by the first tokens."""
    values = encoder.some(encoder.x[:tokens]).numpy().reshape(-1)
    values = values[values > 0]
    extra = len(values) - int(margin * k * min(tokens, encoder.shape[0])) - 32
    return float(np.partition(values, extra)[extra]) if extra > 0 else SMALLEST


def density(encoder: Encoder, *limits: float | np.ndarray, tokens: int = 32) -> list[float]:
    """Share of the z above each of these limits, by the first tokens of the batch."""
    z = encoder.some(encoder.x[:tokens]).numpy()
    return [np.count_nonzero(z > limit) / max(z.size, 1) for limit in limits]


def reaching(z: Tensor, limit: float | np.ndarray, scratch: Scratch) -> Codes:
    """Every value of a slice that is not below its latent's limit."""
    limits = np.ascontiguousarray(np.broadcast_to(np.asarray(limit, z.numpy().dtype), z.shape[1]))
    return picked(z, lambda plain, *found: kernels.reach(plain, limits, *found), scratch)


def picked(z: Tensor, choose: Callable[..., int], scratch: Scratch) -> Codes:
    """What `choose` leaves of a slice: it writes places, values and row ends, and says how many there are."""
    places = scratch.take("places", tuple(z.shape), torch.int32).view(-1).numpy()
    values = scratch.take("values", tuple(z.shape), z.dtype).view(-1).numpy()
    begins = np.zeros(len(z) + 1, np.int32)
    n = choose(z.numpy(), places, values, begins[1:])
    return Codes(begins, places[:n].copy(), values[:n].copy(), (z.shape[0], z.shape[1]))


def joined(parts: list[Codes]) -> Codes:
    """The codes of all slices, below each other."""
    ends = np.cumsum([p.begins[-1] for p in parts])
    begins = [p.begins[1:] + np.int32(end - p.begins[-1]) for p, end in zip(parts, ends, strict=True)]
    return Codes(
        np.concatenate([np.zeros(1, np.int32), *begins]),
        np.concatenate([p.places for p in parts]),
        np.concatenate([p.values for p in parts]),
        (sum(p.shape[0] for p in parts), parts[0].shape[1]),
    )
