"""One trained SAE, in the units of the activations that it was trained for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainers.architectures import Architecture, Parameters


@dataclass(frozen=True, eq=False)
class SAE:
    """A sparse autoencoder (or transcoder) ready for use.

    Attributes
    ----------
    architecture : Architecture
        Its kind and options.
    parameters : dict of str to Tensor
        Weights `W_enc [d_in, F]`, `W_dec [F, d_out]`, `b_dec [d_out]` and what the architecture adds.
    identity : dict
        What is known of it, under the column names of the metrics table.
    """

    architecture: Architecture
    parameters: Parameters = field(repr=False)
    identity: dict[str, Any] = field(default_factory=dict)

    @property
    def dictionary_size(self) -> int:
        """Number of latents."""
        return self.parameters["W_dec"].shape[0]

    @property
    def d_in(self) -> int:
        """Width of the input."""
        return self.parameters["W_enc"].shape[0]

    @property
    def d_out(self) -> int:
        """Width of the output; that of the input unless it is a transcoder."""
        return self.parameters["W_dec"].shape[1]

    def encode(self, x: Tensor) -> Tensor:
        """Codes `[..., F]` of activations `[..., d_in]`."""
        f = self.architecture.encode(self.parameters, _rows(x, self.d_in, "activations"))
        return f.view(*x.shape[:-1], self.dictionary_size)

    def decode(self, f: Tensor) -> Tensor:
        """Reconstruction `[..., d_out]` of codes `[..., F]`."""
        x_hat = self.architecture.decode(self.parameters, _rows(f, self.dictionary_size, "codes"))
        return x_hat.view(*f.shape[:-1], self.d_out)

    def __call__(self, x: Tensor) -> Tensor:
        """x̂ `[..., d_out]`."""
        return self.decode(self.encode(x))

    def to(self, device: Any) -> SAE:
        """The same SAE on another device."""
        moved = {k: v.to(device) for k, v in self.parameters.items()}
        return SAE(self.architecture, moved, self.identity)


def _rows(values: Tensor, width: int, name: str) -> Tensor:
    if values.shape[-1] != width:
        raise ValueError(f"{name} must be [..., {width}] for this SAE, got {list(values.shape)}")
    return values.reshape(-1, width)


BIASES = ("b_dec", "b_enc", "b_gate", "b_mag", "threshold")
"""What carries the unit of the activations; weights and gains do not."""


def fold_scale(
    parameters: Parameters, input_scale: float, target_scale: float, subtract_decoder_bias: bool = False
) -> Parameters:
    """Parameters for raw activations, from those trained on `input_scale · x` and `target_scale · y`.

    For an autoencoder (one scale s) every bias and threshold is divided by s, the weights stay, and codes
    come out in units of x. For a transcoder the codes keep the unit of the input and W_dec takes up the ratio
    of the scales.

    Raises
    ------
    ValueError
        If the scales differ and the encoder subtracts b_dec.
    """
    if input_scale != target_scale and subtract_decoder_bias:
        raise ValueError("with two scales the encoder cannot subtract b_dec, which is in the target's unit")
    folded = dict(parameters)
    for name in BIASES:
        if name in folded:
            folded[name] = folded[name] / (target_scale if name == "b_dec" else input_scale)
    if input_scale != target_scale:
        folded["W_dec"] = folded["W_dec"] * (input_scale / target_scale)
    return folded
