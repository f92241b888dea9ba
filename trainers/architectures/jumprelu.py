"""JumpReLU: a threshold per latent, trained through straight-through estimators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from trainers.architectures.architecture import Architecture, Knobs, Losses, Parameters
from trainers.architectures.sums import squared_error, variance, weighted


@dataclass(frozen=True)
class JumpReLU(Architecture):
    """f = z 1[z > θ], z = (x − b_dec) W_enc + b_enc (Rajamanoharan et al., arXiv 2407.14435, sections 3, 4).

        loss = mean ‖x − x̂‖² + λ mean Σ_i 1[z_i > θ_i]

    θ has no true gradient; with the rectangle K(u) = 1[|u| < 1/2] and bandwidth ε it is taken as

        ∂f/∂θ = −(θ/ε) K((z − θ)/ε),    ∂1[z > θ]/∂θ = −(1/ε) K((z − θ)/ε).

    θ itself is trained, not its logarithm: under Adam the logarithm freezes the thresholds.

    Attributes
    ----------
    penalty : {"step", "tanh", "target"}
        `step`: the paper's L0. `tanh`: λ Σ tanh(c f_i n_i) + λ_pre Σ relu(θ − z_i) n_i with estimators to all
        weights (Anthropic, "Circuits Updates, January 2025"). `target`: the setting is the wanted L0*, and
        the penalty coefficient V (L0/L0* − 1)² with L0 of the batch mean, as in dictionary_learning, whose
        activations are scaled so that V, the variance of x, is about 1.
    bandwidth : float
        ε in the scale of the activations (E‖x − x̄‖ = √d; the paper's 0.001 is for a mean square of 1).
    initial_threshold : float
        θ at the start.
    tanh_slope, pre_coefficient : float
        c and λ_pre of the tanh form.
    coefficient : float
        Weight of the target form, in variances of x.
    momentum : float
        Adam's β₁. The paper has 0, which costs 12 to 19 % more latents in short runs (docs/quality.md).
    """

    name = "jumprelu"
    steps_alike = True
    sweep = (0.06, 0.15, 0.4, 1.0, 2.5, 6.0)
    short_runs = 1.5
    input_units = ("b_enc", "threshold")

    penalty: Literal["step", "tanh", "target"] = "step"
    bandwidth: float = 2.0
    initial_threshold: float = 0.5
    tanh_slope: float = 4.0
    pre_coefficient: float = 3e-6
    coefficient: float = 1.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.penalty not in ("step", "tanh", "target"):
            raise ValueError(f"penalty must be step, tanh or target, got {self.penalty!r}")
        if not self.bandwidth > 0:
            raise ValueError(f"bandwidth must be above 0, got {self.bandwidth}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be 0 or above and below 1, got {self.momentum}")

    @property
    def betas(self) -> tuple[float, float]:  # type: ignore[override]
        """Adam's, the first by option."""
        return self.momentum, 0.999

    def start(self, d_in: int, d_out: int, size: int, means: tuple[Tensor, Tensor], seed: int) -> Parameters:
        """The common start, and one threshold for all latents."""
        p = super().start(d_in, d_out, size, means, seed)
        return p | {"threshold": torch.full((size,), self.initial_threshold)}

    def encode(self, p: Parameters, x: Tensor) -> Tensor:
        """Z where it is above its threshold (and above 0), `[..., B, F]`."""
        z = self.pre_activations(p, x)
        return z.relu() * (z > p["threshold"].unsqueeze(-2))

    def loss(
        self, p: Parameters, state: dict[str, Tensor], x: Tensor, target: Tensor, knobs: Knobs
    ) -> Losses:
        """Squared error and the sparsity penalty."""
        z, threshold = self.pre_activations(p, x), p["threshold"].unsqueeze(-2)
        through = self.penalty == "tanh"
        f = Jump.apply(z, threshold, self.bandwidth, through)
        x_hat = self.decode(p, f)
        total = squared_error(x_hat, target)
        if self.penalty == "tanh":
            norms = self.row_norms(p).unsqueeze(-2)
            smooth = self.over_latents(torch.tanh(self.tanh_slope * f * norms).sum(-1).mean(-1))
            idle = self.over_latents(((threshold - z).relu() * norms).sum(-1).mean(-1))
            total = total + weighted(knobs.setting, knobs.ramp * smooth) + self.pre_coefficient * idle
        else:
            l0 = self.over_latents(Heaviside.apply(z, threshold, self.bandwidth).sum(-1).mean(-1))
            if self.penalty == "target":
                off = (weighted(1 / knobs.setting, l0) - 1).square()
                total = total + knobs.ramp * self.coefficient * variance(target) * off
            else:
                total = total + weighted(knobs.setting, knobs.ramp * l0)
        return Losses(total, f, x_hat, {})

    @property
    def sparsity_name(self) -> str:
        """`target_l0` for the target form."""
        return "target_l0" if self.penalty == "target" else self.setting_name

    @property
    def estimated(self) -> tuple[str, ...]:  # type: ignore[override]
        """The threshold; in the tanh form its estimator goes through z to what z is made of."""
        return ("threshold", "W_enc", "b_enc", "b_dec") if self.penalty == "tanh" else ("threshold",)

    @property
    def unit_norm(self) -> bool:
        """The tanh form weights by free decoder norms; the others keep norm 1."""
        return self.penalty != "tanh"


class Heaviside(torch.autograd.Function):
    """1[z > θ]; the gradient goes to θ alone."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        """The step, as floats."""
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth = bandwidth
        return (z > threshold).to(z.dtype) * (z > 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        """−(1/ε) K((z − θ)/ε)."""
        z, threshold = ctx.saved_tensors
        near = (z - threshold).abs() < ctx.bandwidth / 2
        return None, -(grad * near).sum(-2, keepdim=True) / ctx.bandwidth, None


class Jump(torch.autograd.Function):
    """z 1[z > θ]; the gradient to θ is the straight-through estimator, that to z the plain one (or both)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float, through: bool) -> Tensor:
        """The activation."""
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth, ctx.through = bandwidth, through
        return z.relu() * (z > threshold)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """G 1[z > θ] to z; −(θ/ε) K((z − θ)/ε) to θ, and with `through` its negative to z."""
        z, threshold = ctx.saved_tensors
        jump = grad * ((z - threshold).abs() < ctx.bandwidth / 2) * (threshold / ctx.bandwidth)
        to_z = grad * ((z > threshold) & (z > 0))
        if ctx.through:
            to_z = to_z + jump
        return to_z, -jump.sum(-2, keepdim=True), None, None
