"""Gradients in closed form for dense codes of ReLU, JumpReLU and Gated, a slice of tokens at a time.

With G = 2 (x̂ − x) / B the parts that the three share are

    ∂f = G W_decᵀ      ∂W_dec = fᵀ G      ∂W_enc = (x − b_dec)ᵀ ∂z      ∂b_dec = Σ_b G_b − W_enc Σ_b ∂z_b

and b_dec goes through the weights, so that x is never copied. Every sum runs over tokens, so that the batch
is cut into slices whose codes stay in the cache. The plain autograd loss is the oracle: the tests hold both
equal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Gated, JumpReLU, Knobs, Parameters, ReLU
from trainers.steps.closed_forms import kernels
from trainers.steps.closed_forms.memory import Scratch
from trainers.steps.closed_forms.sums import Sums, per_latent, shift_of, slices
from trainers.steps.engine import MemberStep


def errors(p: Parameters, f: Tensor, target: Tensor, x_hat: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """G `[n, d_out]` of a slice and Σ ‖x̂ − x‖² in double precision; x̂ is written to `x_hat`."""
    error = torch.addmm(p["b_dec"], f, p["W_dec"], out=x_hat) - target
    squares = error.square().sum(dtype=torch.float64)
    return error.mul_(2 / tokens), squares


def relu(
    kind: ReLU, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, scratch: Scratch, log: bool
) -> MemberStep:
    """One step of ReLU with the L1 penalty λ s Σ f_i n_i."""
    tokens, size = len(batch.input), p["W_enc"].shape[1]
    weight = knobs.setting * knobs.ramp * kind.inside_scale / tokens
    norms = p["W_dec"].norm(dim=-1) if kind.free_decoder_norms else per_latent(p, 1)
    shift, slope = shift_of(p, p["b_enc"], kind.subtract_decoder_bias), weight * norms
    sums, along, x_hats = Sums(p), per_latent(p), torch.empty_like(batch.target)
    for first, x, target in slices(batch, size):
        f = torch.addmm(shift, x, p["W_enc"], out=scratch.take("f", (len(x), size), x.dtype))
        kernels.rectify(f.numpy(), along.numpy())
        g, squares = errors(p, f, target, x_hats[first : first + len(x)], tokens)
        d_f = torch.addmm(slope, g, p["W_dec"].T, out=scratch.take("d_f", (len(x), size), x.dtype))
        kernels.rectify_back(f.numpy(), d_f.numpy(), sums.shift.numpy())
        sums.add(x, f, g, d_f, squares)
        sums.count(f, log)
    found = sums.finish(p, kind.subtract_decoder_bias) | {"b_enc": sums.shift}
    if kind.free_decoder_norms:
        found["W_dec"].addcmul_((weight * along / norms.clamp_min(1e-30)).unsqueeze(1), p["W_dec"])
    loss = sums.squares / tokens + (slope.double() * along).sum()
    return MemberStep(found, loss.to(x_hats.dtype), {}, (sums.active / tokens, x_hats))


def jumprelu(
    kind: JumpReLU, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, scratch: Scratch, log: bool
) -> MemberStep:
    """One step of JumpReLU with the L0 penalty; ∂θ = −Σ_b (θ ∂f + λ/B) K((z − θ)/ε) / ε."""
    tokens, size = len(batch.input), p["W_enc"].shape[1]
    weight, threshold = knobs.setting * knobs.ramp / tokens, p["threshold"].detach().numpy()
    number, half = threshold.dtype.type, kind.bandwidth / 2
    shift = shift_of(p, p["b_enc"], kind.subtract_decoder_bias)
    sums, window, x_hats = Sums(p), per_latent(p), torch.empty_like(batch.target)
    rest = threshold, number(weight), number(half), window.numpy()
    for first, x, target in slices(batch, size):
        z, f, d_f = (scratch.take(n, (len(x), size), x.dtype) for n in ("z", "f", "d_f"))
        torch.addmm(shift, x, p["W_enc"], out=z)
        sums.active += kernels.jump(z.numpy(), threshold, f.numpy())
        g, squares = errors(p, f, target, x_hats[first : first + len(x)], tokens)
        torch.mm(g, p["W_dec"].T, out=d_f)
        kernels.jump_window(z.numpy(), d_f.numpy(), *rest)
        kernels.rectify_back(f.numpy(), d_f.numpy(), sums.shift.numpy())
        sums.add(x, f, g, d_f, squares)
    found = sums.finish(p, kind.subtract_decoder_bias)
    found |= {"b_enc": sums.shift, "threshold": window / -kind.bandwidth}
    loss = sums.squares / tokens + weight * sums.active
    return MemberStep(found, loss.to(x_hats.dtype), {}, (sums.active / tokens, x_hats))


def gated(
    kind: Gated, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, scratch: Scratch, log: bool
) -> MemberStep:
    """One step of Gated with tied weights and the frozen auxiliary term.

    Codes f and open gates o = relu(π_gate) stand above each other, so that one product decodes both; with the
    gradients ∂f and ∂o of the two terms, and m = 1[f > 0],

        ∂a = 1[o > 0] ∂o + exp(r) m ∂f,    ∂r = Σ_b m ∂f (f − b_mag) = W_dec · ∂W_dec − b_mag Σ_b m ∂f.
    """
    tokens, size = len(batch.input), p["W_enc"].shape[1]
    weight = knobs.setting * knobs.ramp / tokens
    scale = p["r_mag"].exp() if kind.rescale else per_latent(p, 1)
    shift = shift_of(p, p["b_gate"], kind.subtract_decoder_bias)
    offset, number = p["b_mag"] - scale * p["b_gate"], scale.numpy().dtype.type
    sums, x_hats = Sums(p), torch.empty_like(batch.target)
    opened, to_gate, to_magnitude = per_latent(p), per_latent(p), per_latent(p)
    for first, x, target in slices(batch, size):
        both, d_both = (scratch.take(n, (2, len(x), size), x.dtype) for n in ("f", "d_f"))
        out = scratch.take("x_hat", (2, *target.shape), x.dtype)
        f, o = both
        torch.addmm(shift, x, p["W_enc"], out=o)
        kernels.gates(o.numpy(), scale.numpy(), offset.numpy(), f.numpy(), opened.numpy())
        g, squares = errors(p, both.flatten(0, 1), torch.cat([target, target]), out.flatten(0, 1), tokens)
        x_hats[first : first + len(x)] = out[0]
        d_f, d_o = d_both
        torch.mm(g, p["W_dec"].T, out=d_both.flatten(0, 1))
        kernels.rectify_back(f.numpy(), d_f.numpy(), to_magnitude.numpy())
        parts = (v.numpy() for v in (o, d_f, d_o, scale))
        kernels.gates_back(*parts, number(weight), to_gate.numpy())
        sums.add(x, f, g[: len(x)], d_o, squares)
        sums.count(f, log)
    sums.shift += to_gate + scale * to_magnitude
    found = sums.finish(p, kind.subtract_decoder_bias) | {"b_gate": to_gate, "b_mag": to_magnitude}
    if kind.rescale:
        found["r_mag"] = (found["W_dec"] * p["W_dec"]).sum(1) - p["b_mag"] * to_magnitude
    loss = sums.squares / tokens + weight * opened.sum(dtype=torch.float64)
    return MemberStep(found, loss.to(x_hats.dtype), {}, (sums.active / tokens, x_hats))
