"""Closed form of the TopK kinds: what is selected is a list, and only weight gradients are whole products."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Knobs, Matryoshka, Parameters, TopK
from trainers.architectures.aux_k import idle_at
from trainers.architectures.batch_topk import BatchTopK
from trainers.steps.fast.dead import add_aux_k, revived
from trainers.steps.fast.halves import MORE, Halves, Step, decoder_bias, squares

SUM = 0
"""torch's number of the mode of an embedding bag."""


class Entries(NamedTuple):
    """The selected codes of all members, by place."""

    places: Tensor
    """[M, n] places in B × F, rising within a member."""
    values: Tensor
    """[M, n]; 0 where a member takes fewer, or nothing is above 0."""


def selected(
    kind: TopK, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, halves: Halves
) -> Step:
    """TopK, BatchTopK or Matryoshka; AuxK where a latent may be dead.

    The reconstruction and the gradient of the codes visit the selected rows of the decoder alone; the memory
    of z becomes that of f, and then that of its gradient, for the two products that give the weights'.
    """
    members, size, _ = p["W_dec"].shape
    x = halves.inputs(batch.input, p["b_dec"] if kind.subtract_decoder_bias else None, members)
    encoder = halves.encoder(p["W_enc"], p["b_enc"])
    z = torch.bmm(x, encoder)
    entries, aside = _entries(kind, z, knobs), None
    if kind.aux_coefficient and knobs.may_be_dead:
        aside = revived(kind, z, state, knobs, batch.target.shape[-1])
    decoder, parts = halves.decoder(p["W_dec"]), _parts(kind, size)
    bags = Bags(entries, parts, z.shape)
    errors = bags.sums(decoder, p["b_dec"]).sub_(batch.target)  # [C, M, B, d]
    loss, whole = _loss(kind, errors, halves)
    f = z.flatten(1).zero_().scatter_(1, entries.places, entries.values).view_as(z)
    d_rows = _d_rows(p["W_dec"], f, whole, parts, halves)
    d_values = torch.where(entries.values > 0, bags.slopes(whole, decoder), 0)
    d_z = f.flatten(1).scatter_(1, entries.places, d_values).view_as(z)
    if aside is not None:
        loss = loss + add_aux_k(kind, aside, errors[-1], batch.target, decoder, halves, (d_rows, d_z))
        del aside  # a code for each latent, before the encoder's gradient is made
    d_encoder = halves.product(x.mT, d_z)
    gradients = {"W_enc": d_encoder[:, :-MORE], "b_enc": d_encoder[:, -MORE], "W_dec": d_rows}
    gradients["b_dec"] = decoder_bias(kind, whole[0], gradients["b_enc"], encoder)
    new = _after(kind, state, entries, z.shape)
    return Step(gradients, loss, entries.values.unsqueeze(1), errors[-1], new)


def _entries(kind: TopK, z: Tensor, knobs: Knobs) -> Entries:
    """The selection of `kind.select`, as a list; ties as `topk` breaks them."""
    members, tokens, size = z.shape
    k = torch.as_tensor(knobs.setting, device=z.device)
    largest = knobs.largest if knobs.largest is not None else float(k.max())
    if isinstance(kind, BatchTopK):
        most = min(max(round(largest * tokens), 1), tokens * size)
        values, places = z.flatten(1).topk(most, dim=-1)
        kept = (k.double() * tokens).round().clamp_min(1).expand(members)[:, None]
        chosen = torch.arange(most, device=z.device) < kept
        values = torch.where(chosen, values, 0).relu_()
        places, order = places.sort(dim=-1)
        return Entries(places, values.gather(1, order))
    most = min(int(largest), size)
    values, latents = z.topk(most, dim=-1)
    chosen = torch.arange(most, device=z.device) < k.expand(members)[:, None, None]
    values = torch.where(chosen, values, 0).relu_()
    latents, order = latents.sort(dim=-1)
    rows = torch.arange(tokens, device=z.device)[:, None] * size
    return Entries((latents + rows).flatten(1), values.gather(-1, order).flatten(1))


def _parts(kind: TopK, size: int) -> list[tuple[int, int]]:
    """Latents that one reconstruction has beyond the one before; all of them but in Matryoshka."""
    if not isinstance(kind, Matryoshka):
        return [(0, size)]
    found, first = [], 0
    for share in kind.prefixes:
        last = max(round(share * size), first)
        found.append((first, last))
        first = last
    return found


class Bags:
    """The entries in bags, one for each member, token and part of the dictionary."""

    def __init__(self, entries: Entries, parts: list[tuple[int, int]], shape: torch.Size) -> None:
        members, tokens, size = shape
        self.shape, self.count, device = shape, len(parts), entries.places.device
        latents = entries.places % size
        member = torch.arange(members, device=device)[:, None]
        self.rows = (latents + member * size).flatten()  # of the decoder [M · F, d]
        starts = torch.tensor([a for a, _ in parts], device=device)
        edges = (torch.arange(tokens, device=device)[:, None] * size + starts).flatten()
        before = torch.searchsorted(entries.places, edges.expand(members, -1).contiguous())
        self.offsets = (before + member * entries.places.shape[1]).flatten()
        token, part = entries.places // size, torch.searchsorted(starts, latents, right=True) - 1
        self.bags = ((part * members + member) * tokens + token).flatten()  # of slopes [C, M, B, d]
        self.values = entries.values.flatten()

    def sums(self, decoder: Tensor, b_dec: Tensor) -> Tensor:
        """x̂ of each part and those before it `[C, M, B, d]`, in the precision of b_dec."""
        members, tokens, _ = self.shape
        table = decoder.flatten(0, 1)
        found = torch.embedding_bag(table, self.rows, self.offsets, False, SUM, False, self.values)[0]
        shaped = found.view(members, tokens, self.count, -1).permute(2, 0, 1, 3)
        if self.count > 1:
            shaped = shaped.to(b_dec.dtype).cumsum(0)
        return shaped + b_dec.unsqueeze(-2)

    def slopes(self, slopes: Tensor, decoder: Tensor) -> Tensor:
        """Gradient of each entry `[M, n]`: its decoder row along its bag's slope."""
        found: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            slopes.reshape(-1, slopes.shape[-1]),
            decoder.flatten(0, 1),
            self.rows,
            self.offsets,
            self.bags,
            SUM,
        )
        return found.view(self.shape[0], -1)


def _loss(kind: TopK, errors: Tensor, halves: Halves) -> tuple[Tensor, Tensor]:
    """The loss `[M]`, and for each part the sum of the slopes of the reconstructions that it is in."""
    sizes = squares(errors)  # [C, M]
    if not isinstance(kind, Matryoshka):
        return sizes[0], halves.slope(errors)
    given = kind.weights or (1 / len(kind.prefixes),) * len(kind.prefixes)
    weights = torch.tensor(given, dtype=sizes.dtype, device=sizes.device)
    slopes = errors * weights[:, None, None, None] * (2 / errors.shape[-2])
    return weights @ sizes, slopes.flip(0).cumsum(0).flip(0).to(halves.dtype)


def _d_rows(rows: Tensor, f: Tensor, slopes: Tensor, parts: list[tuple[int, int]], halves: Halves) -> Tensor:
    """Gradient of the decoder's rows `[M, F, d]`, each part's from its slopes; there is no second one."""
    if len(parts) == 1:
        return halves.product(f.mT, slopes[0])
    found = torch.empty_like(rows)
    for slope, (a, b) in zip(slopes, parts, strict=True):
        found[:, a:b] = halves.product(f[..., a:b].mT, slope)
    return found


def _after(kind: TopK, state: Parameters, entries: Entries, shape: torch.Size) -> dict[str, Any]:
    """The state of the next step, as `kind.after` has it."""
    _, tokens, size = shape
    fires = (entries.values > 0).to(state["idle"].dtype)
    counts = torch.zeros_like(state["idle"]).scatter_add_(1, entries.places % size, fires)
    found = {"idle": idle_at(state["idle"], counts > 0, tokens)}
    if isinstance(kind, BatchTopK):
        values = entries.values.to(state["threshold"].dtype)
        smallest = torch.where(values > 0, values, torch.inf).amin(-1)
        smallest = torch.where(smallest.isfinite(), smallest, torch.zeros_like(smallest))
        found |= kind.follow(state, smallest)
    return found
