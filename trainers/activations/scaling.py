"""The centre and the scale of activations: their mean goes to 0, their mean distance from it to sqrt(d).

Nothing is then in units of the mean: settings, thresholds and bandwidths mean the same at a site whose mean
is thirty times its spread. Without `centre` (runs begun before it existed) the mean norm is sqrt(d) instead.

Each of the P parts of a joined site is brought to sqrt(d / P) by a scale of its own, so that all count alike.
The site's scale is then their geometric mean, and what is left of them are weights of its coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainers.architectures import Architecture, Parameters
from trainers.language_models.sites import Site

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

    A scaled activation is `scale * weights * (raw − centre)`; export folds all back.
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
    input_weights: Tensor | None = None
    """[d_in], of a joined site; None is 1."""
    target_weights: Tensor | None = None
    """[d_out], of a joined site; None is 1."""

    def to(self, device: Any) -> Scaling:
        """The same on another device."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def fold(self, kind: Architecture, p: Parameters) -> Parameters:
        """Parameters for raw activations, from those trained on scaled ones."""
        if self.input_weights is not None or self.target_weights is not None:
            p = kind.fold_weights(p, self.input_weights, self.target_weights)
        scales = self.input_scale, self.target_scale
        return kind.fold(p, *scales, self.input_centre, self.target_centre)

    def unfold(self, kind: Architecture, p: Parameters) -> Parameters:
        """Parameters for scaled activations, from those for raw ones.

        As x = (x_scaled − (−s c)) / s, a scaling is taken back by folding its inverse.
        """
        s, t = self.input_scale, self.target_scale
        centre = None if self.input_centre is None else -s * self.input_centre
        target_centre = None if self.target_centre is None else -t * self.target_centre
        p = kind.fold(p, 1 / s, 1 / t, centre, target_centre)
        if self.input_weights is None and self.target_weights is None:
            return p
        weights = (None if w is None else 1 / w for w in (self.input_weights, self.target_weights))
        return kind.fold_weights(p, *weights)

    def batch(self, input: Tensor, target: Tensor | None) -> Batch:
        """Raw float32 rows, scaled in place; without a target the input is the target."""
        scaled = _scaled(input, self.input_scale, self.input_centre, self.input_weights)
        if target is None:
            return Batch(scaled, scaled)
        return Batch(scaled, _scaled(target, self.target_scale, self.target_centre, self.target_weights))


def scaling_of(input: Tensor, target: Tensor, sites: tuple[Site, Site], centre: bool = True) -> Scaling:
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
    scale, mean, centre_in, weights = _joined(input, sites[0], centre)
    if target is input:
        return Scaling(scale, scale, mean, mean, centre_in, centre_in, weights, weights)
    target_scale, target_mean, centre_out, target_weights = _joined(target, sites[1], centre)
    return Scaling(
        scale, target_scale, mean, target_mean, centre_in, centre_out, weights, target_weights
    )  # fmt: skip


def _joined(rows: Tensor, site: Site, centre: bool) -> tuple[float, Tensor, Tensor | None, Tensor | None]:
    """Scale, mean of the scaled activations, centre, and weights of the parts, which count alike."""
    if not site.parts:
        return *_measured(rows, site.name, centre), None
    found = [_measured(part, name, centre) for name, part in site.split(rows).items()]
    alike = [math.sqrt(site.width / len(found) / part.width) for part in site.parts]
    scales = [scale * factor for (scale, _, _), factor in zip(found, alike, strict=True)]
    means = torch.cat([mean * factor for (_, mean, _), factor in zip(found, alike, strict=True)])
    centres = [own for _, _, own in found if own is not None]
    whole = geometric_mean(scales)
    weights = torch.cat([m.new_full(m.shape, s / whole) for (_, m, _), s in zip(found, scales, strict=True)])
    return whole, means, torch.cat(centres) if centres else None, weights


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


def _scaled(rows: Tensor, scale: float, centre: Tensor | None, weights: Tensor | None) -> Tensor:
    centred = rows if centre is None else rows.sub_(centre)
    return centred.mul_(scale if weights is None else scale * weights)
