"""Unit directions: random, orthogonal, or with a bound on how alike any two are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STEPS = 2000
"""Steps of pushing apart before giving up."""


def unit_directions(count: int, d: int, max_cosine: float | None, generator: torch.Generator) -> Tensor:
    """Unit rows `[count, d]`: random, or with |cosine| at most `max_cosine` between any two.

    Raises
    ------
    ValueError
        If so many directions cannot be that far apart (Welch 1974 gives a lower bound), or were not found.
    """
    rows = torch.randn(count, d, generator=generator)
    if max_cosine is None:
        return _unit(rows)
    least = welch_bound(count, d)
    if not 0 <= max_cosine <= 1 or max_cosine < least:
        raise ValueError(
            f"max_cosine {max_cosine:g} with {count} directions in {d} dimensions: "
            f"it is at least {least:.3f} and at most 1"
        )
    if count <= d:
        return torch.linalg.qr(rows.T)[0].T.contiguous()
    return _pushed_apart(_unit(rows), max_cosine)


def welch_bound(count: int, d: int) -> float:
    """The largest |cosine| among `count` unit vectors in R^d is at least this (Welch 1974).

    >>> welch_bound(3, 2)
    0.5
    """
    return math.sqrt((count - d) / (d * (count - 1))) if count > d else 0.0


def _pushed_apart(rows: Tensor, max_cosine: float) -> Tensor:
    """Rows moved away from those that are too close, step by step."""
    largest = 1.0
    for _ in range(STEPS):
        cosines = (rows @ rows.T).fill_diagonal_(0)
        largest = float(cosines.abs().max())
        if largest <= max_cosine:
            return rows
        excess = cosines.sign() * (cosines.abs() - 0.95 * max_cosine).clamp(min=0)
        rows = _unit(rows - 0.5 * excess @ rows)
    raise ValueError(
        f"no {len(rows)} directions in {rows.shape[1]} dimensions with |cosine| at most {max_cosine:g} "
        f"were found in {STEPS} steps: reached {largest:.3f}"
    )


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)
