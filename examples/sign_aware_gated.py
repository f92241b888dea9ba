"""A sign-aware Gated SAE: the two latents of a pair ± share one gate, one row and a signed code.

Gated as in arXiv 2404.16014, with u = (x − b_dec) W_enc of either sign:

    open = relu(|u| + b_gate),   f = sign(u) 1[open > 0] relu(exp(r_mag) |u| + b_mag)
    loss = mean ‖x − x̂(f)‖² + λ mean Σ open + mean ‖x − x̂_frozen(sign(u) open)‖²

A dictionary of F rows says what 2 F unsigned latents in pairs say, so it is given half the width.
"""

from dataclasses import dataclass

import torch

from trainers.architectures import Architecture, Losses, squared_error, weighted


@dataclass(frozen=True)
class SignAwareGated(Architecture):
    """Gate and magnitude of |u|; the code has the sign of u."""

    betas = (0.0, 0.999)
    sweep = (1.2, 2.0, 3.5, 6.0, 9.0, 13.0)
    input_units = ("b_gate", "b_mag")
    estimated = ("W_dec", "b_dec")  # frozen in the third term of the loss
    signed = True
    steps_alike = True

    def start(self, d_in, d_out, size, means, seed):
        """The common start; both biases and the gain at 0."""
        p = super().start(d_in, d_out, size, means, seed)
        bias = p.pop("b_enc")
        return p | {"b_gate": bias, "b_mag": bias.clone(), "r_mag": torch.zeros(size)}

    def paths(self, p, x):
        """sign(u), |u| + b_gate and exp(r_mag) |u| + b_mag, each [..., B, F]."""
        u = (x - p["b_dec"].unsqueeze(-2)) @ p["W_enc"]
        size, row = u.abs(), lambda name: p[name].unsqueeze(-2)
        return u.sign(), size + row("b_gate"), size * row("r_mag").exp() + row("b_mag")

    def encode(self, p, x):
        """Signed codes [..., B, F]."""
        sign, gate, magnitude = self.paths(p, x)
        return sign * magnitude.relu() * (gate > 0)

    def loss(self, p, state, x, target, knobs):
        """Squared error, the size of the gates, and the reconstruction from the gates alone."""
        sign, gate, magnitude = self.paths(p, x)
        f, is_open = sign * magnitude.relu() * (gate > 0), gate.relu()
        x_hat = self.decode(p, f)
        frozen = {k: p[k].detach() for k in ("W_dec", "b_dec")}
        total = squared_error(x_hat, target) + squared_error(self.decode(frozen, sign * is_open), target)
        total = total + weighted(knobs.setting, knobs.ramp * is_open.sum(-1).mean(-1))
        return Losses(total, f, x_hat)

    def metrics(self, p, x, f, target):
        """Active latents with a negative code, per token."""
        return {"negative_l0": (f < 0).sum(-1)}
