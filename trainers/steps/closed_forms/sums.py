"""What the gradients of one batch are summed into, and the parts that all architectures share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Parameters
from trainers.steps.closed_forms.selection import slice_rows


class Sums:
    """What the slices of one batch add up to.

    Attributes
    ----------
    W_enc, b_dec : Tensor
        Gradients, that of b_dec without the encoder's part.
    turned : Tensor [d_out, F]
        Gradient of W_dec, transposed: products that leave wide matrices are the faster ones.
    shift : Tensor [F]
        Σ ∂z, the gradient of what is added to x W_enc; the kernels add to it.
    squares : Tensor
        Σ ‖x̂ − x‖², in double precision.
    active : int
        Codes above 0, where they were asked for.
    """

    def __init__(self, p: Parameters) -> None:
        self.W_enc = torch.zeros_like(p["W_enc"])
        self.turned = torch.zeros(p["W_dec"].T.shape, dtype=p["W_dec"].dtype)
        self.b_dec, self.shift = torch.zeros_like(p["b_dec"]), per_latent(p)
        self.squares = torch.zeros((), dtype=torch.float64)
        self.active = 0

    def add(self, x: Tensor, f: Tensor, g: Tensor, d_z: Tensor, squares: Tensor) -> None:
        """Take the products of one slice."""
        self.turned.addmm_(g.T, f)
        self.W_enc.addmm_(x.T, d_z)
        self.b_dec += g.sum(0)
        self.squares += squares

    def count(self, f: Tensor, wanted: bool) -> None:
        """Take the number of codes above 0."""
        if wanted:
            self.active += int(np.count_nonzero(f.numpy() > 0))

    def finish(self, p: Parameters, subtract: bool) -> Parameters:
        """Gradients of W_enc, W_dec and b_dec, with b_dec's way through the encoder if it is subtracted."""
        found = {"W_enc": self.W_enc, "W_dec": self.turned.T.contiguous(), "b_dec": self.b_dec}
        if subtract:
            through_encoder(p, found, self.shift)
        return found


def through_encoder(p: Parameters, found: Parameters, shift: Tensor) -> None:
    """Add b_dec's way through the encoder to the gradients; `shift` is Σ ∂z, the gradient of the bias."""
    found["W_enc"].addr_(p["b_dec"], shift, alpha=-1)
    found["b_dec"] -= p["W_enc"] @ shift


def per_latent(p: Parameters, value: float = 0) -> Tensor:
    """One number for every latent, `[F]`."""
    return torch.full_like(p["W_enc"][0], value, requires_grad=False)


def slices(batch: Batch, size: int) -> list[tuple[int, Tensor, Tensor]]:
    """(first token, inputs, targets) of slices whose codes and gradients fit into the cache, by d and F."""
    narrow = (
        batch.input.shape[1] <= 64 and 2048 < size <= 8192
    )  # short products: the passes between them count
    rows = 64 if narrow else slice_rows(size)
    starts = range(0, len(batch.input), rows)
    return [(i, batch.input[i : i + rows], batch.target[i : i + rows]) for i in starts]


def shift_of(p: Parameters, bias: Tensor, subtract: bool) -> Tensor:
    """What is added to x W_enc `[F]`: the bias, less b_dec W_enc where the encoder sees x − b_dec."""
    return bias - p["b_dec"] @ p["W_enc"] if subtract else bias
