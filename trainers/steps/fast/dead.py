"""AuxK in closed form: what dead latents would explain of the error, and where that sends them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainers.architectures import Knobs, Parameters, TopK
from trainers.architectures.sums import variance
from trainers.steps.fast.halves import Halves, squares, where_above_0


class Revived(NamedTuple):
    """The codes of dead latents."""

    codes: Tensor
    """[M, B, F]: the highest of each token, above 0."""
    any_dead: Tensor
    """[M]"""


def revived(kind: TopK, z: Tensor, state: Parameters, knobs: Knobs, width: int) -> Revived:
    """The highest `aux_k` of the dead latents of each token."""
    dead = kind.dead(state["idle"], knobs, z.shape[-2])
    alone = z.masked_fill(~dead.unsqueeze(-2), 0)  # what is at or below 0 is left out in any case
    values, latents = alone.topk(min(kind.aux_k or width // 2, z.shape[-1]), dim=-1)
    return Revived(alone.zero_().scatter_(-1, latents, values.relu_()), dead.any(-1))


def add_aux_k(
    kind: TopK, found: Revived, error: Tensor, target: Tensor, decoder: Tensor, halves: Halves,
    gradients: tuple[Tensor, Tensor],
) -> Tensor:  # fmt: skip
    """The term `[M]`; what it asks of the decoder's rows and of z is added to their `gradients`.

    `error` is x̂ − target; see `trainers.architectures.aux_k`. Rows are done member by member, so that there
    is no second gradient of all weights.
    """
    spread = squares(error - error.mean(-2, keepdim=True)) * error.shape[-2]
    off = halves.product(found.codes, decoder).add_(error)  # ê − e, with e = target − x̂
    factor = kind.aux_coefficient * variance(target) / spread.clamp_min(1e-12) * found.any_dead
    term = factor * squares(off) * off.shape[-2]
    slope = (off * (2 * factor)[:, None, None]).to(halves.dtype)
    d_rows, d_z = gradients
    for m, rows in enumerate(d_rows.split(1)):
        rows.add_(halves.product(found.codes[m : m + 1].mT, slope[m : m + 1]))
    d_z.add_(where_above_0(torch.bmm(slope, decoder.mT), found.codes))
    return term
