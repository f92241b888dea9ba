"""AuxK in closed form: the gradients of dead latents, which touch no others.

With e the error, ê its reconstruction from dead latents, s = ‖e − ē‖² / V and the coefficient α, the loss is
α ‖e − ê‖² / s and the gradient of ê is 2 α (ê − e) / s; from there on it is the step of any sparse code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Parameters, TopK
from trainers.architectures.sums import variance
from trainers.steps.closed_forms.codes import Codes
from trainers.steps.closed_forms.memory import Scratch
from trainers.steps.closed_forms.selection import Encoder, token_codes

MOST_SPARSE = 0.2
"""Above this density whole matrices are faster than bags of rows."""


def add_aux_k(
    kind: TopK, p: Parameters, shift: Tensor, batch: Batch, error: Tensor, dead: Tensor, found: Parameters
) -> Tensor:
    """Add AuxK's gradients to `found` (b_enc's is that of what is added to x W_enc); its part of the loss."""
    x, which = batch.input, dead.nonzero().squeeze(1)
    table = p["W_dec"][which]
    encoder = Encoder(p["W_enc"][:, which], shift[which], x, Scratch())
    codes = token_codes(encoder, kind.aux_k or error.shape[1] // 2, kind.signed)
    sparse = len(codes.values) < MOST_SPARSE * len(x) * len(which)
    f = None if sparse else as_matrix(codes, x)
    rebuilt = codes.decoded(table) if f is None else f @ table
    spread = (error - error.mean(0)).square().sum().clamp_min(1e-12) / variance(batch.target)
    left = rebuilt.sub_(error)
    loss = kind.aux_coefficient * left.square().sum() / spread
    g = left.mul_(2 * kind.aux_coefficient / spread)
    if f is None:
        to_values = codes.slopes(g, table)
        to_columns, to_rows, to_bias = codes.weight_gradients(x, g, codes.values, to_values)
    else:
        to_z = (g @ table.T).mul_(f != 0)
        to_rows, to_columns, to_bias = f.T @ g, x.T @ to_z, to_z.sum(0)
    found["W_dec"][which] += to_rows
    found["W_enc"][:, which] += to_columns
    found["b_enc"][which] += to_bias
    return loss


def as_matrix(codes: Codes, like: Tensor) -> Tensor:
    """The codes `[rows, F]` with their zeros."""
    f = like.new_zeros(codes.shape)
    f[torch.from_numpy(codes.rows).long(), torch.from_numpy(codes.places).long()] = torch.from_numpy(
        codes.values
    )
    return f
