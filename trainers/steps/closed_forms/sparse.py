"""TopK and its kin on the CPU: gradients in closed form, from the selected latents alone.

With e = x̂ − x, G = 2 e / B and the selected values v_bi (row b, latent i; above 0, of AbsTopK not 0):

    ∂v_bi = G_b · W_dec,i        ∂W_dec,i = Σ_b v_bi G_b        ∂b_dec = Σ_b G_b − W_enc Σ_b ∂v_b
    ∂W_enc,i = Σ_b ∂v_bi (x_b − b_dec)        ∂b_enc,i = Σ_b ∂v_bi

A prefix of Matryoshka sees the latents of its own group and of those before. So each group has rows of its
own: x̂ of a prefix is a running sum over groups, and G of a latent the sum over its group and those after,
2 w_g e_g / B each. HierarchicalTopK is the same with groups of one: a token's j-th
highest latent is in the j-th. The plain autograd loss is the oracle: the tests hold both equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import BatchTopK, HierarchicalTopK, Knobs, Matryoshka, Parameters, TopK
from trainers.steps.closed_forms.codes import Codes
from trainers.steps.closed_forms.dead_latents import add_aux_k
from trainers.steps.closed_forms.memory import Scratch
from trainers.steps.closed_forms.selection import Encoder, batch_codes, token_codes
from trainers.steps.closed_forms.sums import shift_of, through_encoder
from trainers.steps.engine import MemberStep

Select = Callable[[Encoder, float], Codes]


def step(
    kind: TopK, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, scratch: Scratch, log: bool
) -> MemberStep:
    """One step of TopK, AbsTopK, HierarchicalTopK, BatchTopK or Matryoshka."""
    select = batch_codes if isinstance(kind, BatchTopK) else partial(token_codes, signed=kind.signed)
    return gradients(kind, p, state, batch, knobs, select, scratch)


def gradients(
    kind: TopK, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, select: Select,
    scratch: Scratch | None = None,
) -> MemberStep:  # fmt: skip
    """One step with the latents that `select` picks."""
    x, target = batch
    shift = shift_of(p, p["b_enc"], kind.subtract_decoder_bias)
    codes = select(Encoder(p["W_enc"], shift, x, scratch or Scratch()), knobs.setting)
    grouped, weights = groups_of(kind, codes, knobs.setting)
    x_hats = grouped.decoded(p["W_dec"]).unflatten(0, (len(x), len(weights)))  # [B, groups, d]
    x_hats[:, 0] += p["b_dec"]
    for i in range(1, len(weights)):
        x_hats[:, i] += x_hats[:, i - 1]
    g = x_hats - target.unsqueeze(1)
    squares = torch.stack([e.square().sum() for e in g.unbind(1)])
    loss = (squares * weights.to(g)).sum() / len(x)
    g *= weights.to(g).unsqueeze(1) * (2 / len(x))
    for i in reversed(range(len(weights) - 1)):
        g[:, i] += g[:, i + 1]
    rows = g.flatten(0, 1)
    to_values = grouped.slopes(rows, p["W_dec"])
    to_enc, to_dec, to_bias = grouped.weight_gradients(x, rows, grouped.values, to_values, len(weights))
    found = {"W_enc": to_enc, "b_enc": to_bias, "W_dec": to_dec, "b_dec": g[:, 0].sum(0)}
    x_hat = x_hats[:, -1]
    if kind.aux_coefficient:
        dead = kind.dead(state["idle"], knobs, len(x))
        if dead.any():
            loss = loss + add_aux_k(kind, p, shift, batch, target - x_hat, dead, found)
    if kind.subtract_decoder_bias:
        through_encoder(p, found, found["b_enc"])
    return MemberStep(found, loss, state_after(kind, state, codes), (len(codes.values) / len(x), x_hat))


def groups_of(kind: TopK, codes: Codes, k: float) -> tuple[Codes, Tensor]:
    """The codes with a row for each token and group, and the weight of the prefix that each group ends."""
    size = codes.shape[1]
    if isinstance(kind, HierarchicalTopK):
        budgets = min(int(k), size)
        order = np.lexsort((-codes.values, codes.rows))
        ranked = replace(codes, places=codes.places[order], values=codes.values[order])
        rank = np.arange(len(order), dtype=np.int32) - codes.begins.take(codes.rows)
        return in_groups(ranked, rank, budgets), torch.full((budgets,), 1 / int(k), dtype=torch.float64)
    if not isinstance(kind, Matryoshka):
        return codes, torch.ones(1)
    ends: list[int] = []
    for share in kind.prefixes:
        ends.append(max(round(share * size), ends[-1] if ends else 0))
    group = np.searchsorted(ends, np.arange(size), side="right").astype(np.int32)
    weights = torch.tensor(kind.weights or (1 / len(ends),) * len(ends), dtype=torch.float64)
    return in_groups(codes, group.take(codes.places), len(ends)), weights


def in_groups(codes: Codes, group: np.ndarray, groups: int) -> Codes:
    """The same codes with a row for each token and group; group of each value, rising within a token."""
    rows = codes.rows * np.int32(groups) + group
    counts = np.bincount(rows, minlength=codes.shape[0] * groups)
    begins = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Codes(begins, codes.places, codes.values, (codes.shape[0] * groups, codes.shape[1]))


def state_after(kind: TopK, state: Parameters, codes: Codes) -> Parameters:
    """Tokens since each latent fired; for BatchTopK its threshold."""
    fired = np.zeros(codes.shape[1], dtype=bool)
    fired[codes.places] = True
    new = {"idle": torch.where(torch.from_numpy(fired), 0.0, state["idle"] + codes.shape[0])}
    if isinstance(kind, BatchTopK):
        new |= kind.follow(
            state,
            torch.as_tensor(codes.values.min(initial=np.inf) if len(codes.values) else 0.0).to(
                state["threshold"]
            ),
        )
    return new
