"""The sparse step of TopK and BatchTopK on the CPU: gradients in closed form, from the selected latents alone.

With e = x̂ − x, G = 2 e / B and the selected values v_bi (row b, latent i):

    ∂v_bi = G_b · W_dec,i  where v_bi > 0        ∂W_dec,i = Σ_b v_bi G_b        ∂b_dec = Σ_b G_b − W_enc Σ_b ∂v_b
    ∂W_enc,i = Σ_b ∂v_bi (x_b − b_dec)           ∂b_enc,i = Σ_b ∂v_bi

Products run over the selected places only, as weighted bags of rows. The plain autograd loss is the oracle: the
tests hold both equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import BatchTopK, Knobs, Parameters, TopK
from trainers.architectures.aux_k import aux_k_loss


class Codes(NamedTuple):
    """Selected latents of a batch, row after row."""

    places: Tensor
    """Latent of each selected value, `[n]`."""
    values: Tensor
    """relu of its pre-activation, `[n]`."""
    rows: Tensor
    """Token of each, rising, `[n]`."""
    offsets: Tensor
    """Where each token begins, `[B]`."""


def token_codes(z: Tensor, k: float) -> Codes:
    """The k highest of each token of pre-activations `[B, F]`."""
    tokens, size = z.shape
    k = min(int(k), size)
    plain = z.numpy()
    places = np.ascontiguousarray(np.argpartition(plain, size - k, axis=1)[:, size - k :])
    values = np.take_along_axis(plain, places, axis=1)
    rows = torch.arange(tokens).repeat_interleave(k)
    return Codes(
        torch.from_numpy(places.reshape(-1)), torch.from_numpy(values.reshape(-1)).relu_(), rows,
        torch.arange(0, tokens * k, k),
    )  # fmt: skip


def batch_codes(z: Tensor, k: float) -> Codes:
    """The round(k·B) highest positive values of the whole batch."""
    tokens, size = z.shape
    plain = z.numpy().reshape(-1)
    positive = np.flatnonzero(plain > 0)
    values = plain[positive]
    kept = max(round(k * tokens), 1)
    if kept < len(values):
        # Places rise, so that the rows come out in order; of equal values at the limit the first are taken.
        limit = np.partition(values, len(values) - kept)[len(values) - kept]
        above = values > limit
        equal = np.flatnonzero(values == limit)[: kept - int(above.sum())]
        above[equal] = True
        positive, values = positive[above], values[above]
    rows = positive // size
    counts = np.bincount(rows, minlength=tokens)
    offsets = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return Codes(
        torch.from_numpy(positive - rows * size), torch.from_numpy(values), torch.from_numpy(rows),
        torch.from_numpy(offsets),
    )  # fmt: skip


def gradients(
    kind: TopK, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs,
    select: Callable[[Tensor, float], Codes],
) -> tuple[Parameters, Tensor, Parameters, tuple[float, Tensor]]:  # fmt: skip
    """Gradients, loss, new state, and (L0, x̂) of one member."""
    x, target = batch
    z = kind.pre_activations(p, x)
    codes = select(z, knobs.setting)
    x_hat = bags(p["W_dec"], codes.places, codes.values, codes.offsets) + p["b_dec"]
    error = x_hat - target
    loss = error.square().sum() / len(x)
    g = error.mul_(2 / len(x))
    to_values = row_products(g, p["W_dec"], codes).mul_(codes.values > 0)
    order, starts = by_latent(codes, z.shape[1])
    rows = codes.rows[order]
    d_dec = bags(g, rows, codes.values[order], starts)
    d_enc = bags(x, rows, to_values[order], starts).T.contiguous()
    d_bias = torch.zeros_like(p["b_enc"]).index_add_(0, codes.places, to_values)
    found = {"W_enc": d_enc, "b_enc": d_bias, "W_dec": d_dec, "b_dec": g.sum(0)}
    fired = torch.zeros(z.shape[1], dtype=torch.bool)
    fired[codes.places[codes.values > 0]] = True
    if kind.aux_coefficient:
        dead = kind.dead(state["idle"], knobs, len(x))
        if dead.any():
            loss = loss + add_aux(kind, p, z, x, target - x_hat, dead, found)
    if kind.subtract_decoder_bias:
        found["W_enc"].addr_(p["b_dec"], found["b_enc"], alpha=-1)
        found["b_dec"] = found["b_dec"] - p["W_enc"] @ found["b_enc"]
    new = {"idle": torch.where(fired, 0.0, state["idle"] + len(x))}
    if isinstance(kind, BatchTopK):
        new |= kind.follow(state, codes.values.min() if len(codes.values) else torch.zeros(()))
    return found, loss, new, (float((codes.values > 0).sum()) / len(x), x_hat)


def add_aux(
    kind: TopK, p: Parameters, z: Tensor, x: Tensor, error: Tensor, dead: Tensor, found: Parameters
) -> Tensor:
    """Add the gradients of AuxK, which touch the dead latents only; return its part of the loss."""
    which = dead.nonzero().squeeze(1)
    with torch.enable_grad():
        pre = z[:, which].requires_grad_()
        rows = p["W_dec"].detach()[which].requires_grad_()
        everyone = torch.ones(len(which), dtype=torch.bool)
        loss = kind.aux_coefficient * aux_k_loss(
            {"W_dec": rows}, pre, error, everyone, kind.aux_k or error.shape[-1] // 2
        )
        to_pre, to_rows = torch.autograd.grad(loss, (pre, rows))
    found["W_dec"][which] += to_rows
    found["W_enc"][:, which] += x.T @ to_pre
    found["b_enc"][which] += to_pre.sum(0)
    return loss.detach()


def bags(table: Tensor, places: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """Weighted sums of the table's rows, one per bag, `[bags, d]`."""
    return torch.nn.functional.embedding_bag(
        places, table, offsets, mode="sum", per_sample_weights=weights
    )


def row_products(g: Tensor, table: Tensor, codes: Codes) -> Tensor:
    """g[row] · table[place] of each selected value, `[n]`: the gradient of a bag's weights."""
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        g, table, codes.places, codes.offsets, codes.rows, 0
    )


def by_latent(codes: Codes, size: int) -> tuple[Tensor, Tensor]:
    """The order that sorts the selected values by latent, and where each latent begins, `[F]`."""
    places = codes.places.numpy()
    # numpy sorts 16-bit integers by radix, several times faster than wider ones.
    narrow = places.astype(np.int16) if size < 2**15 else places.astype(np.int32)
    order = np.argsort(narrow, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=size))[:-1]])
    return torch.from_numpy(order), torch.from_numpy(starts)
