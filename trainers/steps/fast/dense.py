"""Closed forms whose codes are whole `[M, B, F]`: ReLU, JumpReLU, Gated. Each names its passes over codes."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Architecture, Gated, JumpReLU, Knobs, Parameters, ReLU
from trainers.architectures.sums import variance
from trainers.steps.fast.halves import MORE, Halves, Step, decoder_bias, squares, where_above_0


def relu(kind: ReLU, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, halves: Halves) -> Step:
    """ReLU with an L1 penalty: relu, its backward, and a sum are the passes beside the products."""
    rows, b_dec = p["W_dec"], p["b_dec"]
    x, encoder = _encoder(kind, p, batch, "b_enc", halves)
    f = torch.bmm(x, encoder).relu_()
    weight = _per_member(knobs.setting, rows) * knobs.ramp * kind.inside_scale / len(batch.input)
    weight = weight.to(rows.dtype).unsqueeze(-1)  # [M, 1]: of Σ_b f n
    norms = (
        torch.linalg.vector_norm(rows, dim=-1) if kind.free_decoder_norms else rows.new_ones(rows.shape[:2])
    )
    decoder = halves.decoder(rows, weight * norms)
    error = halves.residual(halves.product(f, decoder[..., :-MORE]), b_dec, batch.target)
    slope = halves.slope(error, ones=True)
    sums = f.sum(-2, dtype=rows.dtype)
    d_rows = halves.product(f.mT, slope[..., :-MORE])
    if kind.free_decoder_norms:
        d_rows.addcmul_((weight * sums / norms.clamp_min(1e-30)).unsqueeze(-1), rows)
    d_z = where_above_0(torch.bmm(slope, decoder.mT), f)
    d_encoder = halves.product(x.mT, d_z)
    gradients = {"W_enc": d_encoder[:, :-MORE], "b_enc": d_encoder[:, -MORE], "W_dec": d_rows}
    gradients["b_dec"] = decoder_bias(kind, slope[..., :-MORE], gradients["b_enc"], encoder)
    total = squares(error) + (weight * sums * norms).sum(-1)
    return Step(gradients, total, f, error)


def jumprelu(
    kind: JumpReLU, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, halves: Halves
) -> Step:
    """JumpReLU with its step or target penalty; two masks of bytes are what its passes over codes read."""
    threshold, tokens = p["threshold"], len(batch.input)
    x, encoder = _encoder(kind, p, batch, "b_enc", halves)
    z = torch.bmm(x, encoder)
    limit, half = threshold.unsqueeze(-2), kind.bandwidth / 2
    above = z > limit.clamp_min(0).to(z.dtype)
    near = (z > (limit - half).to(z.dtype)).logical_and_(z < (limit + half).to(z.dtype))
    f = z.mul_(above)
    decoder = halves.decoder(p["W_dec"])
    error = halves.residual(halves.product(f, decoder), p["b_dec"], batch.target)
    l0 = above.sum((-1, -2)).to(threshold.dtype) / tokens
    penalty, push = _penalty_of_l0(kind, l0, batch.target, knobs)
    slope = halves.slope(error)
    d_rows = halves.product(f.mT, slope)
    d_f = torch.bmm(slope, decoder.mT)
    width = kind.bandwidth
    d_threshold = -(threshold / width) * torch.where(near, d_f, 0).sum(-2, dtype=threshold.dtype)
    d_threshold -= push.unsqueeze(-1) / (width * tokens) * near.sum(-2)
    d_encoder = halves.product(x.mT, d_f.mul_(above))
    gradients = {
        "W_enc": d_encoder[:, :-MORE], "b_enc": d_encoder[:, -MORE], "W_dec": d_rows,
        "threshold": d_threshold,
    }  # fmt: skip
    gradients["b_dec"] = decoder_bias(kind, slope, gradients["b_enc"], encoder)
    return Step(gradients, squares(error) + penalty, f, error)


def gated(kind: Gated, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, halves: Halves) -> Step:
    """Gated with tied weights; the magnitude is made from the gate, so that one product serves both."""
    rows, b_dec, tokens = p["W_dec"], p["b_dec"], len(batch.input)
    x, encoder = _encoder(kind, p, batch, "b_gate", halves)
    gain = p["r_mag"].exp() if "r_mag" in p else torch.ones_like(p["b_mag"])
    offset = p["b_mag"] - gain * p["b_gate"]
    gate = torch.bmm(x, encoder)
    one = gain.unsqueeze(-2).to(gate.dtype)
    f = torch.addcmul(offset.unsqueeze(-2).to(gate.dtype), gate, one).relu_()
    opened = gate.relu_()
    f = where_above_0(f, opened)
    weight = (_per_member(knobs.setting, rows) * knobs.ramp / tokens).to(rows.dtype)
    decoder = halves.decoder(rows, weight.unsqueeze(-1).expand(rows.shape[:2]))
    error = halves.residual(halves.product(f, decoder[..., :-MORE]), b_dec, batch.target)
    slope = halves.slope(error)
    total = squares(error) + weight * opened.sum((-1, -2), dtype=rows.dtype)
    d_rows, d_out = halves.product(f.mT, slope), slope.sum(-2, dtype=rows.dtype)
    if kind.auxiliary:
        other = halves.residual(halves.product(opened, decoder[..., :-MORE]), b_dec, batch.target)
        total = total + squares(other)
        aside = halves.slope(other, ones=True)
        if not kind.frozen_decoder:
            d_rows += halves.product(opened.mT, aside[..., :-MORE])
            d_out = d_out + aside[..., :-MORE].sum(-2, dtype=rows.dtype)
        d_gate = where_above_0(torch.bmm(aside, decoder.mT), opened)
    else:
        d_gate = (opened > 0) * weight[:, None, None].to(opened.dtype)
    d_f = where_above_0(torch.bmm(slope, decoder[..., :-MORE].mT), f)
    d_mag = d_f.sum(-2, dtype=rows.dtype)
    gradients = {"W_dec": d_rows, "b_mag": d_mag}
    if "r_mag" in p:  # d_f · gain · (x − b_dec) W = d_f (f − b_mag)
        gradients["r_mag"] = (d_f * f).sum(-2, dtype=rows.dtype) - p["b_mag"] * d_mag
    d_encoder = halves.product(x.mT, d_gate.addcmul_(d_f, one))
    d_bias = d_encoder[:, -MORE]  # of both paths together
    gradients |= {"W_enc": d_encoder[:, :-MORE], "b_gate": d_bias - gain * d_mag}
    gradients["b_dec"] = d_out
    if kind.subtract_decoder_bias:
        gradients["b_dec"] = decoder_bias(kind, slope[:, :0], d_bias, encoder) + d_out
    return Step(gradients, total, f, error)


def _encoder(
    kind: Architecture, p: Parameters, batch: Batch, bias: str, halves: Halves
) -> tuple[Tensor, Tensor]:
    """Inputs with ones and encoder with its bias, ready for one product."""
    subtracted = p["b_dec"] if kind.subtract_decoder_bias else None
    x = halves.inputs(batch.input, subtracted, len(p["W_enc"]))
    return x, halves.encoder(p["W_enc"], p[bias])


def _per_member(setting: Tensor | float, like: Tensor) -> Tensor:
    return torch.as_tensor(setting, device=like.device).expand(len(like))


def _penalty_of_l0(kind: JumpReLU, l0: Tensor, target: Tensor, knobs: Knobs) -> tuple[Tensor, Tensor]:
    """The penalty of each member, and its slope along L0."""
    setting = _per_member(knobs.setting, l0).to(l0.dtype)
    ramp = torch.as_tensor(knobs.ramp, device=l0.device).to(l0.dtype)
    if kind.penalty == "step":
        return setting * ramp * l0, (setting * ramp).expand_as(l0)
    size, off = ramp * kind.coefficient * variance(target), l0 / setting - 1
    return size * off.square(), 2 * size * off / setting
