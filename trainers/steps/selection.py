"""Which latents fire: pre-activations are made slice by slice, and only the chosen values leave the cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.steps.codes import Codes
from trainers.steps.memory import Scratch

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
    """Tokens per slice; it depends on F alone."""
    return 256 if size <= 2048 else 512


def codes_from(encoder: Encoder, limit: float | np.ndarray) -> Codes:
    """Every z that is not below its limit, which is one number or `[F]`."""
    parts = []
    for first, z in encoder:
        parts.append((first, *chosen(z, limit)))
    return joined(parts, encoder.shape)


def density(encoder: Encoder, limit: float | np.ndarray, tokens: int = 64) -> float:
    """Share of the z above their limits, by the first tokens of the batch."""
    z = encoder.some(encoder.x[:tokens]).numpy()
    return np.count_nonzero(z > limit) / max(z.size, 1)


def token_codes(encoder: Encoder, k: float) -> Codes:
    """The positive ones of the k highest of each token."""
    k = min(int(k), encoder.shape[1])
    return joined([(first, *highest_of_rows(z, k)) for first, z in encoder], encoder.shape)


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
    places = np.flatnonzero(take)
    return Codes(codes.rows.take(places), codes.places.take(places), codes.values.take(places), codes.shape)


def likely_limit(encoder: Encoder, k: float, tokens: int = 128, margin: float = 1.5) -> float:
    """A positive number that somewhat more than k·B values should exceed, by the first tokens."""
    values = encoder.some(encoder.x[:tokens]).numpy().reshape(-1)
    values = values[values > 0]
    extra = len(values) - int(margin * k * min(tokens, encoder.shape[0])) - 32
    return float(np.partition(values, extra)[extra]) if extra > 0 else SMALLEST


def highest_of_rows(z: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Places in the flattened slice, rising, and values: the positive ones of each row's k highest."""
    flat, values = chosen(z, np.maximum(lower_bounds(z, k), SMALLEST))
    rows = flat // np.int32(z.shape[1])
    counts = np.bincount(rows, minlength=len(z)).astype(np.int32)
    if counts.max(initial=0) > k:
        take = np.flatnonzero(highest_of_ragged(values, rows, counts, k))
        flat, values = flat.take(take), values.take(take)
    return flat, values


def lower_bounds(z: Tensor, k: int) -> np.ndarray:
    """A number `[n, 1]` that at least k values of each row reach, and few more.

    The columns are cut into groups; k of the groups' maxima are k values of the row. numpy sorts rows of 128
    maxima within the registers, where rows of all values would not fit.
    """
    size = z.shape[1]
    each = next((g for g in (16, 8, 4, 2) if size // g >= max(2 * k, 64)), 1)
    groups = size // each
    tops = z[:, : groups * each].unflatten(1, (each, groups)).amax(1) if each > 1 else z
    return np.partition(tops.numpy(), groups - k, axis=1)[:, groups - k, np.newaxis]


def highest_of_ragged(values: np.ndarray, rows: np.ndarray, counts: np.ndarray, k: int) -> np.ndarray:
    """Mask `[n]` of the k highest of each row, of equal values the first; rows rise, counts are theirs."""
    begins = np.cumsum(counts, dtype=np.int32) - counts
    width = counts.max()
    # A table with each row's values at its left, and the least number to their right.
    table = np.full(len(counts) * width, -np.inf, values.dtype)
    moved = np.arange(len(counts), dtype=np.int32) * width - begins
    table[np.arange(len(rows), dtype=np.int32) + moved.take(rows)] = values
    limits = np.partition(table.reshape(-1, width), width - k, axis=1)[:, width - k].take(rows)
    mask = ~(values < limits)
    surplus = np.bincount(rows[mask], minlength=len(counts)) - k
    if surplus.max() > 0:
        equal = np.flatnonzero(values == limits)
        found = np.bincount(rows[equal], minlength=len(counts))
        stays = np.cumsum(found) - np.maximum(surplus, 0)
        mask[equal[np.arange(len(equal)) >= stays[rows[equal]]]] = False
    return mask


def chosen(z: Tensor, bounds: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Places in the flattened slice, int32, and values of what is not below its bound; NaN is not below."""
    plain = z.numpy()
    below = np.less(plain, bounds)
    flat = np.flatnonzero(np.logical_not(below, out=below))
    return flat.astype(np.int32), plain.reshape(-1).take(flat)


def joined(parts: list[tuple[int, np.ndarray, np.ndarray]], shape: tuple[int, int]) -> Codes:
    """The codes of all slices: (first token, places in the flattened slice, values)."""
    size = np.int32(shape[1])
    rows = [flat // size for _, flat, _ in parts]
    places = np.concatenate([flat - r * size for (_, flat, _), r in zip(parts, rows, strict=True)])
    tokens = np.concatenate([r + np.int32(first) for (first, _, _), r in zip(parts, rows, strict=True)])
    return Codes(tokens, places, np.concatenate([v for _, _, v in parts]), shape)
