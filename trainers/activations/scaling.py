"""The centre and the scale of activations: their mean goes to 0, their mean distance from it to sqrt(d).

Nothing is then in units of the mean: settings, thresholds and bandwidths mean the same at a site whose mean
is thirty times its spread. Without `centre` (runs begun before it existed) the mean norm is sqrt(d) instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

NUMBERS = 2**21
"""Numbers that are turned into float64 at a time: 17 MB."""
FLAT = 1e-6
"""Activations whose spread is this share of their mean are equal, but for rounding."""


class Batch(NamedTuple):
    """One batch: what the SAE reads and what it shall rebuild, both scaled."""

    input: Tensor
    """[B, d_in] float32."""
    target: Tensor
    """[B, d_out] float32; for an autoencoder the same object as `input`."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """What is done to activations, and the means of the result.

    A scaled activation is `scale * (raw − centre)`; export folds both back.
    """

    input_scale: float
    target_scale: float
    input_mean: Tensor
    """[d_in], of the scaled activations."""
    target_mean: Tensor
    """[d_out], of the scaled activations."""
    input_centre: Tensor | None = None
    """[d_in], raw; None is 0."""
    target_centre: Tensor | None = None
    """[d_out], raw; None is 0."""

    def to(self, device: Any) -> Scaling:
        """The same on another device."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def batch(self, input: Tensor, target: Tensor | None) -> Batch:
        """Raw float32 rows, scaled in place; without a target the input is the target."""
        scaled = _scaled(input, self.input_scale, self.input_centre)
        if target is None:
            return Batch(scaled, scaled)
        return Batch(scaled, _scaled(target, self.target_scale, self.target_centre))


def scaling_of(input: Tensor, target: Tensor, names: tuple[str, str], centre: bool = True) -> Scaling:
    """The scaling of activations `[n, d_in]` and `[n, d_out]`; sums are in float64.

    Parameters
    ----------
    centre : bool
        Take the mean off, and measure the scale around it: E‖x − x̄‖ = sqrt(d). Without: E‖x‖ = sqrt(d).

    Raises
    ------
    ValueError
        If all activations of a site are equal (or zero), so that no factor helps.
    """
    scale, mean, centre_in = _measured(input, names[0], centre)
    if target is input:
        return Scaling(scale, scale, mean, mean, centre_in, centre_in)
    target_scale, target_mean, centre_out = _measured(target, names[1], centre)
    return Scaling(scale, target_scale, mean, target_mean, centre_in, centre_out)


def _measured(rows: Tensor, name: str, centre: bool) -> tuple[float, Tensor, Tensor | None]:
    """Scale, mean of the scaled activations, and centre."""
    total = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
    parts = rows.split(max(1, NUMBERS // rows.shape[1]))
    for part in parts:
        total += part.double().sum(0)
    mean = total / len(rows)
    origin = mean.float() if centre else torch.zeros_like(mean).float()
    size = sum(float((part.double() - origin).norm(dim=1).sum()) for part in parts) / len(rows)
    if size <= FLAT * float(mean.norm()) or size == 0:
        same = "equal" if float(mean.norm()) else "zero"
        raise ValueError(f"all {len(rows):,} activations of {name} are {same}; no scale gives them a norm")
    scale = math.sqrt(rows.shape[1]) / size
    return scale, ((mean - origin) * scale).float(), origin if centre else None


def _scaled(rows: Tensor, scale: float, centre: Tensor | None) -> Tensor:
    return (rows if centre is None else rows.sub_(centre)).mul_(scale)
