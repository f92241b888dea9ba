"""Gated SAE: one path decides which latents fire, the other how strongly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.architectures.architecture import Architecture, Knobs, Losses, Parameters
from trainers.architectures.jumprelu import JumpReLU
from trainers.architectures.sums import plus, squared_error, weighted


@dataclass(frozen=True)
class Gated(Architecture):
    """Gate and magnitude with shared weights (Rajamanoharan et al. 2024, arXiv 2404.16014, section 3.2).

        π_gate = (x − b_dec) W_gate + b_gate
        f      = 1[π_gate > 0] ⊙ relu((x − b_dec) W_mag + b_mag),   W_mag = W_gate exp(r_mag)
        loss   = mean ‖x − x̂(f)‖² + λ mean Σ relu(π_gate) + mean ‖x − x̂_frozen(relu(π_gate))‖²

    In the third term decoder and b_dec (and a skip) are frozen (no gradient). The paper's ablations are
    options.

    Attributes
    ----------
    auxiliary : bool
        The third term. Without it only the penalty reaches the gate.
    frozen_decoder : bool
        Decoder and b_dec are frozen in the third term.
    rescale : bool
        r_mag is trained; else it stays 0.
    tied : bool
        W_mag from W_gate; else it has weights of its own.
    """

    name = "gated"
    betas = (0.0, 0.999)
    steps_alike = True
    sweep = (1.2, 1.8, 2.8, 4.5, 7.0, 11.0)
    short_runs = 3.0
    readers = ("W_enc", "W_mag")
    input_units = ("b_gate", "b_mag")
    estimated = ("W_dec", "b_dec")

    auxiliary: bool = True
    frozen_decoder: bool = True
    rescale: bool = True
    tied: bool = True

    def start(self, d_in: int, d_out: int, size: int, means: tuple[Tensor, Tensor], seed: int) -> Parameters:
        """The common start; gate and magnitude biases and r_mag at 0."""
        p = super().start(d_in, d_out, size, means, seed)
        bias = p.pop("b_enc")
        p |= {"b_gate": bias, "b_mag": bias.clone()}
        if self.rescale and self.tied:
            p["r_mag"] = torch.zeros(size)
        if not self.tied:
            p["W_mag"] = p["W_enc"].clone()
        return p

    def paths(self, p: Parameters, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gate and magnitude pre-activations, each `[..., B, F]`; one product serves both when tied."""
        gate = self.pre_activations(p, x, bias="b_gate")
        if not self.tied:
            return gate, self.pre_activations(p, x, weight="W_mag", bias="b_mag")
        linear = gate - p["b_gate"].unsqueeze(-2)
        if "r_mag" in p:
            linear = linear * p["r_mag"].exp().unsqueeze(-2)
        return gate, linear + p["b_mag"].unsqueeze(-2)

    def fold_centre(self, p: Parameters, input_centre: Tensor, target_centre: Tensor) -> Parameters:
        """Both paths take their share of the centre off their biases, unless b_dec is subtracted."""
        changed = {"b_dec": plus(p["b_dec"], target_centre)}
        if not self.subtract_decoder_bias:
            shift = -input_centre @ p["W_enc"].double()
            gain = p["r_mag"].double().exp() if "r_mag" in p else 1.0
            magnitude = shift * gain if self.tied else -input_centre @ p["W_mag"].double()
            changed |= {"b_gate": plus(p["b_gate"], shift), "b_mag": plus(p["b_mag"], magnitude)}
        return changed

    def encode(self, p: Parameters, x: Tensor) -> Tensor:
        """1[π_gate > 0] ⊙ relu(magnitude), `[..., B, F]`."""
        gate, magnitude = self.paths(p, x)
        return magnitude.relu() * (gate > 0)

    def loss(
        self, p: Parameters, state: dict[str, Tensor], x: Tensor, target: Tensor, knobs: Knobs
    ) -> Losses:
        """Squared error, λ times the size of the gate, and the auxiliary reconstruction from the gate."""
        gate, magnitude = self.paths(p, x)
        f = magnitude.relu() * (gate > 0)
        x_hat = self.decode(p, f)
        open_gate = gate.relu()
        penalty = knobs.ramp * self.over_latents(open_gate.sum(-1).mean(-1))
        total = squared_error(x_hat, target) + weighted(knobs.setting, penalty)
        if self.auxiliary:
            decoder = {k: p[k].detach() if self.frozen_decoder else p[k] for k in ("W_dec", "b_dec")}
            left = target.detach() if self.frozen_decoder else target
            total = total + squared_error(self.decode(decoder, open_gate), left)
        return Losses(total, f, x_hat, {})


def to_jumprelu(architecture: Gated, p: Parameters) -> tuple[JumpReLU, Parameters]:
    """The JumpReLU SAE with the same output (arXiv 2404.16014, appendix on the equivalence).

    With tied weights the gate is open where magnitude > b_mag − exp(r_mag) b_gate, so that this is the
    threshold; a threshold below 0 is 0, since the magnitude passes a ReLU.

    Raises
    ------
    ValueError
        If gate and magnitude have weights of their own: no JumpReLU SAE is equal then.
    """
    if not architecture.tied:
        raise ValueError(
            "a Gated SAE converts to JumpReLU only with tied weights; this one has W_mag of its own"
        )
    scale = p["r_mag"].exp() if "r_mag" in p else torch.ones_like(p["b_mag"])
    threshold = (p["b_mag"] - scale * p["b_gate"]).clamp_min(0)
    converted = {
        "W_enc": p["W_enc"] * scale.unsqueeze(-2), "b_enc": p["b_mag"], "threshold": threshold,
        "W_dec": p["W_dec"], "b_dec": p["b_dec"], **{k: p[k] for k in ("W_skip",) if k in p},
    }  # fmt: skip
    subtract, skip = architecture.subtract_decoder_bias, "W_skip" in p
    return JumpReLU(subtract_decoder_bias=subtract, skip=skip), converted
