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

ERROR_AT, SPREAD_AT, FVU_AT = "squared_error_at_", "centred_squares_at_", "fvu_at_"
"""Before the name of a part of a joined site: the sums that its FVU is made of, and the FVU."""


def metrics_of(sums: Sums) -> dict[str, np.ndarray]:
    """Every metric that is a ratio of sums, in the shape of the sums.

    With t the activation, t̂ its reconstruction, t̄ the mean activation of the evaluation set:
    mse = mean ‖t − t̂‖², fvu = Σ‖t − t̂‖² / Σ‖t − t̄‖², shrinkage = Σ‖t̂‖² / Σ t̂·t. The cosine of a token whose
    reconstruction is zero counts as 0. Loss recovered is missing where ablation does not raise the loss.
    Of a joined site each part has its own FVU. Any other sum is a metric of an architecture's own, a mean
    over tokens.
    """
    tokens, predictions = sums["tokens"], sums["predictions"]
    parts = [k.removeprefix(ERROR_AT) for k in sums if k.startswith(ERROR_AT)]
    known = (*PER_MEMBER, *SHARED, *(at + p for at in (ERROR_AT, SPREAD_AT) for p in parts))
    own = {k: v / tokens for k, v in sums.items() if k not in known}
    with np.errstate(divide="ignore", invalid="ignore"):
        clean, sae, zero, mean = (sums[k] / predictions for k in ("ce_clean", "ce_sae", "ce_zero", "ce_mean"))
        return own | {
            "l0": sums["l0"] / tokens,
            "l1": sums["l1"] / tokens,
            "ce_clean": clean,
            "ce_sae": sae,
            "ce_zero_ablation": zero,
            "ce_mean_ablation": mean,
            "loss_recovered": np.where(mean > clean, (mean - sae) / (mean - clean), np.nan),
            "loss_recovered_zero": np.where(zero > clean, (zero - sae) / (zero - clean), np.nan),
            "kl": sums["kl"] / predictions,
            "mse": sums["squared_error"] / tokens,
            "fvu": sums["squared_error"] / sums["centred_squares"],
            **{FVU_AT + p: sums[ERROR_AT + p] / sums[SPREAD_AT + p] for p in parts},
            "cosine_similarity": sums["cosine"] / tokens,
            "l2_ratio": sums["l2_ratio"] / tokens,
            "shrinkage": sums["reconstruction_squares"] / sums["inner_product"],
        }


def without_each(parts: np.ndarray) -> np.ndarray:
    """Totals over the first axis with one part left out at a time, `[B, ...]` of `[B, ...]`."""
    return parts.sum(0) - parts
