"""What is done to gradients and decoder rows around an optimiser step."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.architectures import Parameters


def remove_parallel(gradient: Tensor, rows: Tensor) -> None:
    """Take out of each row's gradient, in place, its part along the row of norm 1 (`[..., F, d]`)."""
    along = (gradient * rows).sum(-1, keepdim=True)
    gradient.addcmul_(along, rows, value=-1)


def normalise(rows: Tensor) -> None:
    """Bring each decoder row back to norm 1, in place."""
    rows.div_(rows.norm(dim=-1, keepdim=True).clamp_min(1e-12))


def clip(gradients: Parameters, limit: float) -> Tensor:
    """Scale one member's gradients, in place, to a norm of at most `limit`; return the norm before."""
    norm = torch.stack([g.square().sum() for g in gradients.values()]).sum(0).sqrt()
    factor = (limit / norm.clamp_min(1e-12)).clamp_max(1.0)
    for g in gradients.values():
        g.mul_(factor)
    return norm
