"""How often each latent fires over the evaluation text, and the shares that fire often or never."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from trainers.shards import ALONE, Shards

BLOCKS = 32
"""Firing counts are kept for so many blocks of batches at most (they are long, and one per SAE)."""

ABOVE = {"frequency_above_10pct": 0.1, "frequency_above_1pct": 0.01}
BELOW = 1e-5
SPLITS = 100
"""Random divisions of the text that a standard error rests on."""


def frequency_shares(counts: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Shares of latents by how often they fire, from counts `[..., F]` and tokens `[...]`."""
    frequency = counts / np.maximum(np.asarray(tokens, dtype=float), 1)[..., None]
    return {
        "alive_fraction": (counts > 0).mean(-1),
        **{name: (frequency > limit).mean(-1) for name, limit in ABOVE.items()},
        "frequency_below_1e5": (frequency < BELOW).mean(-1),
    }


def share_errors(counts: np.ndarray, tokens: np.ndarray, shards: Shards = ALONE) -> dict[str, float]:
    """Standard errors of the shares, from counts `[B, F]` and tokens `[B]` of blocks of text.

    Other `shards` may have further latents, as many as there are here.

    A share counts latents beyond a limit, and that a latent crosses its limit is no smooth function of the
    text, so that leaving out one block at a time (jackknife) errs. Disjoint parts of the text are texts of
    their own: the variance between halves, V₂, is that of a text half as long, without bias, and so is V₄
    between quarters. Over random divisions of the blocks their means give the variance of the whole,
    V₂ · V₂/V₄, the ratio held between 1/4 and 1 (a mean has 1/2). Missing for fewer than 4 blocks.
    """
    names = list(frequency_shares(counts.sum(0), tokens.sum()))
    if len(counts) < 4:
        return dict.fromkeys(names, np.nan)
    halves, quarters = (_between_parts(counts, tokens, parts, shards) for parts in (2, 4))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(quarters > 0, np.clip(halves / quarters, 0.25, 1), 0.5)
    return dict(zip(names, np.sqrt(halves * ratio).tolist(), strict=True))


def _between_parts(counts: np.ndarray, tokens: np.ndarray, parts: int, shards: Shards) -> np.ndarray:
    """The variance of each share between disjoint parts of the blocks, mean over the orders."""
    size = len(counts) // parts
    found = []
    for some in np.array_split(_orders(len(counts)), 5):  # what is in memory at once
        chosen = some[:, : parts * size].reshape(-1, size)
        inside = np.zeros((len(chosen), len(counts)))
        np.put_along_axis(inside, chosen, 1, axis=1)
        shares = np.stack([*frequency_shares(inside @ counts, inside @ tokens).values()])
        found.append(shards.mean(shares).reshape(len(shares), -1, parts).var(2, ddof=1))
    return np.concatenate(found, axis=1).mean(1)


@cache
def _orders(blocks: int) -> np.ndarray:
    """Random orders of the blocks `[SPLITS, blocks]`, the same for every SAE."""
    draws = np.random.default_rng(0)
    return np.array([draws.permutation(blocks) for _ in range(SPLITS)])


class FiringCounts:
    """How often each latent fired, per block of batches.

    Parameters
    ----------
    sizes : list of int
        Latents of each SAE.
    batches : int
        Batches that will come.
    shards : Shards
        The processes that count as many further latents of each.
    """

    def __init__(self, sizes: list[int], batches: int, shards: Shards = ALONE) -> None:
        self._shards = shards
        self._batches, self._blocks = batches, min(batches, BLOCKS)
        self._counts = [np.zeros((self._blocks, size), dtype=np.int64) for size in sizes]
        self._tokens = np.zeros(self._blocks, dtype=np.int64)

    def add_tokens(self, batch: int, tokens: int) -> None:
        """Count the tokens of a batch, once for all SAEs."""
        self._tokens[batch * self._blocks // self._batches] += tokens

    def add(self, batch: int, member: int, counts: np.ndarray) -> None:
        """Count what fired in a batch, `[F]`."""
        self._counts[member][batch * self._blocks // self._batches] += counts

    def total(self, member: int) -> np.ndarray:
        """Firings of each latent over all batches `[F]`."""
        return self._shards.gathered(torch.from_numpy(self._counts[member].sum(0))).flatten().numpy()

    def shares(self, member: int) -> dict[str, float]:
        """The shares of latents by frequency, each with its standard error."""
        counts = self._counts[member]
        found = frequency_shares(counts.sum(0), self._tokens.sum())
        whole = self._shards.mean(np.array([*found.values()]))
        errors = share_errors(counts, self._tokens, self._shards)
        return dict(zip(found, whole.tolist(), strict=True)) | {f"{k}_se": v for k, v in errors.items()}
