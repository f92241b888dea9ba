"""The same latents as on one device, found from each shard's own best: of equal values the first.

Each shard offers its highest values and all see all offers, so that the last value that is chosen, the limit,
is the same for all. What is above it is chosen; of what equals it the first places are: those of lower
shards, then those of lower latents (for BatchTopK: of earlier tokens before either), as in
`steps.closed_forms`. A shard offers little more than its share; where it may have more above the limit than
it offered, all offer again.
"""

from __future__ import annotations

from torch import Tensor

from trainers.shards import Shards

SHARE = 2
"""Each shard offers so many times its even share, and `LEAST` at least, at first."""
LEAST = 8
MORE = 4
"""So many times as much when that was too little."""


def among_highest(f: Tensor, k: int, shards: Shards) -> Tensor:
    """Mask `[B, f]` of those of the k highest positive values of each token that are in this shard."""
    every, limit = offered(f, k, shards)
    above = (every > limit.unsqueeze(-1)).sum(-1)  # [B, shards]
    equal = (every == limit.unsqueeze(-1)).sum(-1)
    open_places = k - above.sum(-1, keepdim=True) - (equal.cumsum(-1) - equal)
    return chosen(f, limit, open_places[:, shards.rank : shards.rank + 1])


def among_highest_of_batch(f: Tensor, kept: int, shards: Shards) -> Tensor:
    """Mask `[B, f]` of those of the `kept` highest positive values of the batch that are in this shard."""
    every, limit = offered(f.reshape(1, -1), kept, shards)
    above, equal = (every > limit.unsqueeze(-1)).sum(), (every == limit.unsqueeze(-1)).sum()
    if limit == 0 or above + equal <= kept:
        return (f >= limit) & (f > 0)
    ties = shards.gathered((f == limit).sum(-1)).T  # [B, shards]
    before = ties.flatten().cumsum(0).view_as(ties) - ties
    return chosen(f, limit, (kept - above - before)[:, shards.rank : shards.rank + 1])


def offered(f: Tensor, k: int, shards: Shards) -> tuple[Tensor, Tensor]:
    """Offers `[rows, shards, n]` with all that is above the limit, and the limit `[rows, 1]`.

    What equals the limit is there too, or in one shard alone k + 1 values that are not below it.
    """
    most = min(k + 1, f.shape[-1])  # one more than can be chosen: whether there are too many equal ones
    n = most if shards.count == 1 else min(most, max(-(-SHARE * k // shards.count), LEAST))
    while True:
        every = shards.gathered(f.topk(n, dim=-1).values).movedim(0, 1)
        limit = every.flatten(1).topk(min(k, n * shards.count), dim=-1).values[:, -1:]
        last = every[..., -1]
        if n == most or not ((last >= limit) & (last > 0)).any():
            return every, limit
        n = min(most, MORE * n)


def chosen(values: Tensor, limit: Tensor, places: Tensor) -> Tensor:
    """Mask of what is above the limit, and in each row of the first `places [B, 1]` that equal it.

    What is 0 is never chosen: it has no effect.
    """
    above, equal = values > limit, (values == limit) & (limit > 0)
    if (equal.sum(-1, keepdim=True) > places).any():
        equal &= equal.cumsum(-1) <= places
    return above | equal
