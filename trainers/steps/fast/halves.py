"""Products in half precision that lose nothing small: biases as rows of the encoder, gradients in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Knobs, Parameters

MORE = 8
"""Rows that are added to an encoder: 16 bytes, so that rows of half precision stay aligned."""


class Step(NamedTuple):
    """One step of a stack before its optimiser."""

    gradients: Parameters
    total: Tensor
    """Loss `[M]`."""
    latents: Tensor
    """Codes `[M, ., .]`; in a closed form perhaps only those that were selected."""
    error: Tensor
    """x̂ − target `[M, B, d_out]`."""
    state: Parameters = {}  # noqa: RUF012  a default, which nobody changes
    """New values of what is not trained by gradients."""


StepOfStack = Callable[[Any, Parameters, Parameters, Batch, Knobs, "Halves"], Step]


@dataclass(frozen=True)
class Halves:
    """How products are taken.

    Attributes
    ----------
    dtype : torch.dtype
        Of the factors, and of the codes: bfloat16 or float32; in tests float64.
    wide : bool
        The device can give a product of halves in float32 without another pass.
    """

    dtype: torch.dtype = torch.bfloat16
    wide: bool = False

    @classmethod
    def on_gpu(cls, half: bool) -> Halves:
        """As a GPU takes them, in bfloat16 or in float32."""
        return cls(torch.bfloat16, wide=True) if half else cls(torch.float32)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """The product `[M, ., .]` in the precision of the weights, in which its sums are too."""
        if self.dtype in (torch.float32, torch.float64):
            return torch.bmm(a, b)
        if self.wide:
            return torch.bmm(a, b, out_dtype=torch.float32)
        return torch.bmm(a, b).float()

    def inputs(self, x: Tensor, b_dec: Tensor | None, members: int) -> Tensor:
        """Inputs x − b_dec and ones `[M, B, d + 8]`, one copy for all members where nothing is subtracted."""
        shape = (1 if b_dec is None else members, len(x), x.shape[1] + MORE)
        found = torch.empty(shape, dtype=self.dtype, device=x.device)
        if b_dec is None:
            found[..., :-MORE] = x
        else:
            torch.sub(x, b_dec.unsqueeze(-2), out=found[..., :-MORE])
        _three_ones(found)
        return found.expand(members, -1, -1)

    def encoder(self, weight: Tensor, bias: Tensor) -> Tensor:
        """W_enc and its bias `[M, d + 8, F]`: the bias in three parts, which together are float32."""
        members, width, size = weight.shape
        found = torch.empty(members, width + MORE, size, dtype=self.dtype, device=weight.device)
        found[:, :width] = weight
        found[:, width:] = self._parts(bias).movedim(-1, -2)
        return found

    def decoder(self, rows: Tensor, slope: Tensor | None = None) -> Tensor:
        """W_dec `[M, F, d]`; with a slope per latent `[M, F]` (of a penalty), that too, `[M, F, d + 8]`."""
        if slope is None:
            return rows.to(self.dtype)
        members, size, width = rows.shape
        found = torch.empty(members, size, width + MORE, dtype=self.dtype, device=rows.device)
        found[..., :width] = rows
        found[..., width:] = self._parts(slope)
        return found

    def _parts(self, values: Tensor) -> Tensor:
        """Numbers `[M, F]` as sums of three in half precision, and zeros `[M, F, 8]`."""
        found = torch.zeros(*values.shape, MORE, dtype=self.dtype, device=values.device)
        left = values
        for place in range(3):
            found[..., place] = left
            left = left - found[..., place]
        return found

    def residual(self, x_hat: Tensor, b_dec: Tensor, target: Tensor) -> Tensor:
        """Error x̂ + b_dec − target `[M, B, d]`, in the place of x̂."""
        return x_hat.add_(b_dec.unsqueeze(-2)).sub_(target)

    def slope(self, error: Tensor, ones: bool = False) -> Tensor:
        """2/B of the error, the gradient of the mean squared error; with ones `[M, B, d + 8]`."""
        factor = 2 / error.shape[-2]
        if not ones:
            found = torch.empty_like(error, dtype=self.dtype)
            return torch.mul(error, factor, out=found)
        shape = (*error.shape[:-1], error.shape[-1] + MORE)
        whole = torch.empty(shape, dtype=self.dtype, device=error.device)
        torch.mul(error, factor, out=whole[..., :-MORE])
        _three_ones(whole)
        return whole


def _three_ones(columns: Tensor) -> None:
    """The last columns: ones for the three parts of a bias, then zeros."""
    columns[..., -MORE:-5] = 1
    columns[..., -5:] = 0


def squares(error: Tensor) -> Tensor:
    """Mean over the batch of ‖error‖², `[M]`."""
    return torch.linalg.vector_norm(error, dim=(-1, -2)).square() / error.shape[-2]


def where_above_0(values: Tensor, codes: Tensor) -> Tensor:
    """The values where the codes are above 0, else 0; in the values' own memory, in one pass."""
    return torch.ops.aten.threshold_backward.grad_input(values, codes, 0, grad_input=values)


def decoder_bias(kind: Any, slope: Tensor, d_bias: Tensor, encoder: Tensor) -> Tensor:
    """Gradient of b_dec `[M, d]`: of the output, and through x − b_dec where the encoder sees that."""
    found = slope.sum(-2, dtype=d_bias.dtype)
    if not kind.subtract_decoder_bias:
        return found
    through = torch.bmm(encoder[:, :-MORE], d_bias.unsqueeze(-1).to(encoder.dtype))
    return found - through.squeeze(-1)
