"""Gradients in closed form for codes that are not sparse: ReLU, JumpReLU and Gated, a slice of tokens at a time.

With G = 2 (x̂ − x) / B the parts that the three share are

    ∂f = G W_decᵀ        ∂W_dec = fᵀ G        ∂W_enc = (x − b_dec)ᵀ ∂z        ∂b_dec = Σ_b G_b − W_enc Σ_b ∂z_b

and b_dec goes through the weights, so that x is never copied. Every sum runs over tokens, so that the batch is cut
into slices whose codes stay in the cache. The plain autograd loss is the oracle: the tests hold both equal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Gated, JumpReLU, Knobs, Parameters, ReLU
from trainers.steps.memory import Scratch


class Sums:
    """What the slices of one batch add up to.

    Attributes
    ----------
    W_enc, W_dec, b_dec : Tensor
        Gradients, that of b_dec without the encoder's part.
    shift : Tensor [F]
        Σ ∂z, the gradient of what is added to x W_enc.
    squares : Tensor
        Σ ‖x̂ − x‖², in double precision.
    active : Tensor
        Codes that are not 0, where they were asked for.
    """

    def __init__(self, p: Parameters) -> None:
        self.W_enc, self.W_dec = torch.zeros_like(p["W_enc"]), torch.zeros_like(p["W_dec"])
        self.b_dec, self.shift = torch.zeros_like(p["b_dec"]), torch.zeros(p["W_enc"].shape[1])
        self.squares = torch.zeros((), dtype=torch.float64)
        self.active = torch.zeros((), dtype=torch.int64)

    def finish(self, p: Parameters, subtract: bool) -> Parameters:
        """Gradients of W_enc, W_dec and b_dec, with b_dec's way through the encoder where it is subtracted."""
        if subtract:
            self.W_enc.addr_(p["b_dec"], self.shift, alpha=-1)
            self.b_dec -= p["W_enc"] @ self.shift
        return {"W_enc": self.W_enc, "W_dec": self.W_dec, "b_dec": self.b_dec}


def slices(batch: Batch, size: int) -> list[tuple[int, Tensor, Tensor]]:
    """(first token, inputs, targets) of slices whose codes fit into the cache; the cut depends on F alone."""
    rows = 256 if size <= 2048 else 512
    starts = range(0, len(batch.input), rows)
    return [(i, batch.input[i : i + rows], batch.target[i : i + rows]) for i in starts]


def shift_of(p: Parameters, bias: Tensor, subtract: bool) -> Tensor:
    """What is added to x W_enc `[F]`: the bias, less b_dec W_enc where the encoder sees x − b_dec."""
    return bias - p["b_dec"] @ p["W_enc"] if subtract else bias


def errors(p: Parameters, f: Tensor, target: Tensor, x_hat: Tensor, sums: Sums | None, tokens: int) -> Tensor:
    """G `[n, d_out]` of a slice; x̂ is written to `x_hat`, squares and ∂b_dec are added to `sums`."""
    torch.addmm(p["b_dec"], f, p["W_dec"], out=x_hat)
    error = x_hat - target
    if sums is not None:
        sums.squares += error.square().sum(dtype=torch.float64)
    error.mul_(2 / tokens)
    if sums is not None:
        sums.b_dec += error.sum(0)
    return error
