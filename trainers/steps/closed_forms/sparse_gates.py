"""Gradients in closed form for sparse codes of ReLU, JumpReLU and Gated: what `dense.py` does, at few places.

Only pre-activations that can matter leave the encoder: the positive ones, for JumpReLU those from the lower
end of the estimator's window on. Products run over these places alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Gated, JumpReLU, Knobs, Parameters, ReLU
from trainers.steps.closed_forms import kernels
from trainers.steps.closed_forms.codes import Codes
from trainers.steps.closed_forms.memory import Scratch
from trainers.steps.closed_forms.selection import SMALLEST, Encoder, codes_from, joined, reaching
from trainers.steps.closed_forms.sums import through_encoder
from trainers.steps.engine import MemberStep


def relu(kind: ReLU, p: Parameters, encoder: Encoder, batch: Batch, knobs: Knobs) -> MemberStep:
    """One step of ReLU with the L1 penalty λ s Σ f_i n_i."""
    tokens = len(batch.input)
    weight = knobs.setting * knobs.ramp * kind.inside_scale / tokens
    norms = p["W_dec"].norm(dim=-1) if kind.free_decoder_norms else torch.ones_like(encoder.shift)
    slope, codes = weight * norms, codes_from(encoder, SMALLEST)
    x_hat, g, squares = reconstruction(p, codes, codes.values, batch.target)
    to_z = codes.slopes(g, p["W_dec"]) + slope.numpy().take(codes.places)
    found = products(p, codes, batch.input, g, codes.values, to_z, kind.subtract_decoder_bias)
    along = codes.latent_sums(codes.values)
    if kind.free_decoder_norms:
        found["W_dec"].addcmul_((weight * along / norms.clamp_min(1e-30)).unsqueeze(1), p["W_dec"])
    loss = squares / tokens + (slope * along).sum()
    return MemberStep(found, loss, {}, (len(codes.values) / tokens, x_hat))


def jumprelu(kind: JumpReLU, p: Parameters, encoder: Encoder, batch: Batch, knobs: Knobs) -> MemberStep:
    """One step of JumpReLU with the L0 penalty; ∂θ = −Σ_b (θ ∂f + λ/B) K((z − θ)/ε) / ε."""
    tokens = len(batch.input)
    weight = knobs.setting * knobs.ramp / tokens
    codes = codes_from(encoder, window_start(kind, p))
    thresholds, z = p["threshold"].detach().numpy().take(codes.places), codes.values
    above = (z > thresholds) & (z > 0)
    near = np.abs(z - thresholds) < kind.bandwidth / 2
    f = np.where(above, z, 0)
    x_hat, g, squares = reconstruction(p, codes, f, batch.target)
    to_f = codes.slopes(g, p["W_dec"])
    found = products(p, codes, batch.input, g, f, np.where(above, to_f, 0), kind.subtract_decoder_bias)
    jump = np.where(near, thresholds * to_f + z.dtype.type(weight), 0)
    found["threshold"] = codes.latent_sums(jump) / -kind.bandwidth
    active = np.count_nonzero(above)
    return MemberStep(found, squares / tokens + weight * active, {}, (active / tokens, x_hat))


def jumprelu_wide(
    kind: JumpReLU, p: Parameters, encoder: Encoder, batch: Batch, knobs: Knobs, scratch: Scratch
) -> MemberStep:
    """The same where few latents fire but many are near their thresholds: ∂f is whole, all else sparse."""
    tokens, threshold = len(batch.input), p["threshold"].detach().numpy()
    number = threshold.dtype.type
    weight, half = knobs.setting * knobs.ramp / tokens, kind.bandwidth / 2
    least = np.maximum(np.nextafter(threshold, np.inf, dtype=threshold.dtype), number(SMALLEST))
    parts, x_hats, to_f, window = [], [], [], np.zeros_like(threshold)
    for first, z in encoder:
        codes = reaching(z, least, scratch)
        parts.append(codes)
        x_hats.append(codes.decoded(p["W_dec"]).add_(p["b_dec"]))
        g = (x_hats[-1] - batch.target[first : first + len(z)]).mul_(2 / tokens)
        d_f = torch.mm(g, p["W_dec"].T, out=scratch.take("d_f", tuple(z.shape), z.dtype)).numpy()
        to_f.append(np.empty_like(codes.values))
        kernels.taken(d_f, codes.begins, codes.places, to_f[-1])
        kernels.jump_window(z.numpy(), d_f, threshold, number(weight), number(half), window)
    codes, x_hat = joined(parts), torch.cat(x_hats)
    error = x_hat - batch.target
    squares, g = error.square().sum(), error * (2 / tokens)
    found = products(p, codes, batch.input, g, codes.values, np.concatenate(to_f), kind.subtract_decoder_bias)
    found["threshold"] = torch.from_numpy(window / -kind.bandwidth)
    active = len(codes.values)
    return MemberStep(found, squares / tokens + weight * active, {}, (active / tokens, x_hat))


def window_start(kind: JumpReLU, p: Parameters) -> np.ndarray:
    """A number `[F]` below which z neither fires nor is near its threshold, whatever the rounding."""
    threshold = p["threshold"].detach()
    start = torch.minimum(threshold - kind.bandwidth / 2, threshold.clamp_min(0))
    return (start - 1e-5 * (threshold.abs() + kind.bandwidth)).numpy()


def gated(kind: Gated, p: Parameters, encoder: Encoder, batch: Batch, knobs: Knobs) -> MemberStep:
    """One step of Gated with tied weights and the frozen auxiliary term; the codes are the open gates."""
    tokens = len(batch.input)
    weight = knobs.setting * knobs.ramp / tokens
    scale = p["r_mag"].exp() if kind.rescale else torch.ones_like(encoder.shift)
    offset = p["b_mag"] - scale * p["b_gate"]
    codes = codes_from(encoder, SMALLEST)
    scales = scale.numpy().take(codes.places)
    f = np.maximum(codes.values * scales + offset.numpy().take(codes.places), 0)
    x_hat, g, squares = reconstruction(p, codes, f, batch.target)
    _, g_open, squares_open = reconstruction(p, codes, codes.values, batch.target)
    to_magnitude = np.where(f > 0, codes.slopes(g, p["W_dec"]), 0)
    to_gate = codes.slopes(g_open, p["W_dec"]) + f.dtype.type(weight)
    found = products(p, codes, batch.input, g, f, to_gate + to_magnitude * scales, kind.subtract_decoder_bias)
    found.pop("b_enc")
    found |= {"b_gate": codes.latent_sums(to_gate), "b_mag": codes.latent_sums(to_magnitude)}
    if kind.rescale:
        found["r_mag"] = (found["W_dec"] * p["W_dec"]).sum(1) - p["b_mag"] * found["b_mag"]
    loss = (squares + squares_open) / tokens + weight * float(codes.values.sum(dtype=np.float64))
    return MemberStep(found, loss, {}, (np.count_nonzero(f) / tokens, x_hat))


def reconstruction(
    p: Parameters, codes: Codes, values: np.ndarray, target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """x̂ `[B, d_out]`, G = 2 (x̂ − x) / B, and Σ ‖x̂ − x‖²."""
    x_hat = codes.decoded(p["W_dec"], values).add_(p["b_dec"])
    error = x_hat - target
    squares = error.square().sum()
    return x_hat, error.mul_(2 / len(target)), squares


def products(
    p: Parameters, codes: Codes, x: Tensor, g: Tensor, values: np.ndarray, to_z: np.ndarray, subtract: bool
) -> Parameters:
    """Gradients of W_enc, W_dec and both biases, from the values that are decoded and the gradient of z."""
    to_enc, to_dec, to_bias = codes.weight_gradients(x, g, values, to_z)
    found = {"W_enc": to_enc, "b_enc": to_bias, "W_dec": to_dec, "b_dec": g.sum(0)}
    if subtract:
        through_encoder(p, found, found["b_enc"])
    return found
