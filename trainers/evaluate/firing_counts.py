"""How often each latent fires over the evaluation text, and the shares that fire often or never."""

from __future__ import annotations

import numpy as np

from frontier.studies.batch_sums import jackknife_error, without_each

BLOCKS = 32
"""Firing counts are kept for so many blocks of batches at most (they are long, and one per SAE)."""

ABOVE = {"frequency_above_10pct": 0.1, "frequency_above_1pct": 0.01}
BELOW = 1e-5


def frequency_shares(counts: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Shares of latents by how often they fire, from counts `[..., F]` and tokens `[...]`."""
    frequency = counts / np.maximum(np.asarray(tokens, dtype=float), 1)[..., None]
    return {
        "alive_fraction": (counts > 0).mean(-1),
        **{name: (frequency > limit).mean(-1) for name, limit in ABOVE.items()},
        "frequency_below_1e5": (frequency < BELOW).mean(-1),
    }


class FiringCounts:
    """How often each latent fired, per block of batches.

    Parameters
    ----------
    sizes : list of int
        Latents of each SAE.
    batches : int
        Batches that will come.
    """

    def __init__(self, sizes: list[int], batches: int) -> None:
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
        return self._counts[member].sum(0)

    def shares(self, member: int) -> dict[str, float]:
        """The shares of latents by frequency, each with its standard error."""
        counts = self._counts[member]
        found = frequency_shares(counts.sum(0), self._tokens.sum())
        left = frequency_shares(without_each(counts), without_each(self._tokens))
        return {k: float(v) for k, v in found.items()} | {
            f"{k}_se": float(jackknife_error(v)) for k, v in left.items()
        }
