"""The scale that gives activations a mean norm of sqrt(d), and how it is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

ROWS = 65_536
"""Rows that are turned into float64 at a time."""


class Batch(NamedTuple):
    """One batch: what the SAE reads and what it shall rebuild, both scaled."""

    input: Tensor
    """[B, d_in] float32."""
    target: Tensor
    """[B, d_out] float32; for an autoencoder the same object as `input`."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """Factors that make the mean norm sqrt(d), and the means of the scaled activations.

    A scaled activation is `scale * raw`; export folds the factors back.
    """

    input_scale: float
    target_scale: float
    input_mean: Tensor
    """[d_in], of the scaled activations."""
    target_mean: Tensor
    """[d_out], of the scaled activations."""


def scaling_of(input: Tensor, target: Tensor, names: tuple[str, str]) -> Scaling:
    """The scaling of activations `[n, d_in]` and `[n, d_out]`; sums are in float64.

    Raises
    ------
    ValueError
        If all activations of a site are zero, so that no factor helps.
    """
    scale, mean = _scale_and_mean(input, names[0])
    if target is input:
        return Scaling(scale, scale, mean, mean)
    target_scale, target_mean = _scale_and_mean(target, names[1])
    return Scaling(scale, target_scale, mean, target_mean)


def _scale_and_mean(rows: Tensor, name: str) -> tuple[float, Tensor]:
    total = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
    norms = torch.zeros((), dtype=torch.float64, device=rows.device)
    for part in rows.split(ROWS):
        part = part.double()
        total += part.sum(0)
        norms += part.norm(dim=1).sum()
    mean_norm = float(norms) / len(rows)
    if mean_norm == 0:
        raise ValueError(f"all {len(rows):,} activations of {name} are zero; no scale gives them a norm")
    scale = math.sqrt(rows.shape[1]) / mean_norm
    return scale, (total / len(rows) * scale).float()
