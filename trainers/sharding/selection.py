"""The same latents as on one device, found from each shard's own best: of equal values the first.

What is chosen over all latents is among the highest of its shard. So each shard offers its highest values,
all see all offers, and the last value that is chosen, the limit, is the same for all. What is above it is
chosen; of what equals it the first places are: those of lower shards, then those of lower latents (for
BatchTopK: of earlier tokens before either), as in `steps.closed_forms`.
"""

from __future__ import annotations

from torch import Tensor

from trainers.sharding.collectives import Shards


def among_highest(f: Tensor, k: int, shards: Shards) -> Tensor:
    """Mask `[B, f]` of those of the k highest positive values of each token that are in this shard."""
    offers = shards.gathered(f.topk(min(k, f.shape[-1]), dim=-1).values)  # [shards, B, k]
    every = offers.movedim(0, -2)
    limit = every.flatten(-2).topk(min(k, every.shape[-1] * shards.count), dim=-1).values[..., -1:]
    above = (every > limit.unsqueeze(-1)).sum(-1)  # [B, shards]
    equal = (every == limit.unsqueeze(-1)).sum(-1)
    open_places = k - above.sum(-1, keepdim=True) - (equal.cumsum(-1) - equal)
    return chosen(f, limit, open_places[..., shards.rank : shards.rank + 1])


def among_highest_of_batch(f: Tensor, kept: int, shards: Shards) -> Tensor:
    """Mask `[B, f]` of those of the `kept` highest positive values of the batch that are in this shard."""
    # One more is offered than can be chosen: whether there are too many equal ones is seen by it.
    offers = shards.gathered(f.flatten().topk(min(kept + 1, f.numel())).values)
    limit = offers.flatten().topk(min(kept, offers.numel())).values[-1]
    above = (offers > limit).sum()
    if limit == 0 or above + (offers == limit).sum() <= kept:
        return (f >= limit) & (f > 0)
    ties = shards.gathered((f == limit).sum(-1)).T  # [B, shards]
    before = ties.flatten().cumsum(0).view_as(ties) - ties
    return chosen(f, limit, (kept - above - before)[:, shards.rank : shards.rank + 1])


def chosen(values: Tensor, limit: Tensor, places: Tensor) -> Tensor:
    """Mask of what is above the limit, and in each row of the first `places [B, 1]` that equal it.

    What is 0 is never chosen: it has no effect.
    """
    above, equal = values > limit, (values == limit) & (limit > 0)
    if (equal.sum(-1, keepdim=True) > places).any():
        equal &= equal.cumsum(-1) <= places
    return above | equal
