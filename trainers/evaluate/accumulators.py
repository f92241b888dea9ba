"""From sums over batches to metrics and their standard errors: sums first, one division at the end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Sums = Mapping[str, np.ndarray]
"""Sums by name, of any one shape."""

PER_MEMBER = ("l0", "l1", "squared_error", "cosine", "l2_ratio", "reconstruction_squares", "inner_product",
              "ce_sae", "kl")  # fmt: skip
"""Summed for every SAE."""

SHARED = ("tokens", "predictions", "centred_squares", "ce_clean", "ce_zero", "ce_mean")
"""Summed once for all SAEs."""

BLOCKS = 32
"""Firing counts are kept for so many blocks of batches at most (they are long, and one per SAE)."""

ABOVE = {"frequency_above_10pct": 0.1, "frequency_above_1pct": 0.01}
BELOW = 1e-5


def metrics_of(sums: Sums) -> dict[str, np.ndarray]:
    """Every metric that is a ratio of sums, in the shape of the sums.

    With t the activation, t̂ its reconstruction, t̄ the mean activation of the evaluation set:
    mse = mean ‖t − t̂‖², fvu = Σ‖t − t̂‖² / Σ‖t − t̄‖², shrinkage = Σ‖t̂‖² / Σ t̂·t. The cosine of a token whose
    reconstruction is zero counts as 0.
    """
    tokens, predictions = sums["tokens"], sums["predictions"]
    with np.errstate(divide="ignore", invalid="ignore"):
        clean, sae, zero, mean = (sums[k] / predictions for k in ("ce_clean", "ce_sae", "ce_zero", "ce_mean"))
        return {
            "l0": sums["l0"] / tokens,
            "l1": sums["l1"] / tokens,
            "ce_clean": clean,
            "ce_sae": sae,
            "ce_zero_ablation": zero,
            "ce_mean_ablation": mean,
            "loss_recovered": (mean - sae) / (mean - clean),
            "loss_recovered_zero": (zero - sae) / (zero - clean),
            "kl": sums["kl"] / predictions,
            "mse": sums["squared_error"] / tokens,
            "fvu": sums["squared_error"] / sums["centred_squares"],
            "cosine_similarity": sums["cosine"] / tokens,
            "l2_ratio": sums["l2_ratio"] / tokens,
            "shrinkage": sums["reconstruction_squares"] / sums["inner_product"],
        }


def frequency_shares(counts: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """Shares of latents by how often they fire, from counts `[..., F]` and tokens `[...]`."""
    frequency = counts / np.maximum(np.asarray(tokens, dtype=float), 1)[..., None]
    return {
        "alive_fraction": (counts > 0).mean(-1),
        **{name: (frequency > limit).mean(-1) for name, limit in ABOVE.items()},
        "frequency_below_1e5": (frequency < BELOW).mean(-1),
    }


def without_each(parts: np.ndarray) -> np.ndarray:
    """Totals over the first axis with one part left out at a time, `[B, ...]` of `[B, ...]`."""
    return parts.sum(0) - parts


def jackknife_error(left_out: np.ndarray) -> np.ndarray:
    """Standard errors from estimates `[B, ...]` that each leave one batch out; missing for fewer than two.

    sqrt((B − 1)/B · Σ (θ₍₋b₎ − mean θ₍₋b₎)²), Efron & Tibshirani, An Introduction to the Bootstrap, eq. 11.5.

    >>> x = np.array([1.0, 2.0, 4.0, 9.0])  # of a mean it is the textbook standard error
    >>> jackknife_error(without_each(x) / 3), x.std(ddof=1) / 2
    (np.float64(1.779513...), np.float64(1.779513...))
    """
    count = len(left_out)
    if count < 2:
        return np.full(left_out.shape[1:], np.nan)
    with np.errstate(invalid="ignore"):
        spread = np.square(left_out - left_out.mean(0)).sum(0)
        return np.sqrt((count - 1) / count * spread)


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
