"""How much of a known truth a dictionary found."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainers.activations.truth import KnownFeatures

FOUND = 0.9
"""A feature counts as found above this cosine similarity."""


@dataclass(frozen=True, eq=False)
class Recovery:
    """Cosine similarity between true directions and decoder rows."""

    mean_max_cosine: float
    """Mean over true features of the largest cosine with any row."""
    weighted_mean_max_cosine: float
    """The same, weighted by how often features fire."""
    matched_cosine: float
    """Mean over true features when each row serves one feature only (best matching); 0 for unmatched ones."""
    weighted_matched_cosine: float
    """The same, weighted by how often features fire."""
    recovered_share: float
    """Share of true features with a matched row above 0.9."""
    max_cosine: Tensor = field(repr=False)
    """[G] largest cosine per true feature."""
    matched: Tensor = field(repr=False)
    """[G] row matched to each true feature; -1 for none."""


def recovery(W_dec: Tensor, truth: KnownFeatures) -> Recovery:
    """Recovery of the true directions by decoder rows `[F, d]` (any scale; rows of zeros match nothing).

    Raises
    ------
    ValueError
        If the widths differ, or a row is not finite.
    """
    from scipy.optimize import linear_sum_assignment  # half a second, which a run does not need

    rows, directions = W_dec.detach().double().cpu(), truth.directions.double().cpu()
    if rows.ndim != 2 or rows.shape[1] != directions.shape[1]:
        raise ValueError(f"W_dec has shape {list(rows.shape)}; wanted [latents, {directions.shape[1]}]")
    if not rows.isfinite().all():
        raise ValueError(
            f"{int((~rows.isfinite()).any(1).sum())} of {len(rows)} rows of W_dec are not finite"
        )
    norms = rows.norm(dim=1, keepdim=True)
    cosines = directions @ (rows / norms.where(norms > 0, 1)).T  # [G, F]
    best = cosines.max(1).values
    features, matches = (torch.as_tensor(i) for i in linear_sum_assignment(cosines.numpy(), maximize=True))
    matched = torch.full((len(directions),), -1)
    matched[features] = matches
    values = torch.zeros(len(directions), dtype=torch.float64)
    values[features] = cosines[features, matches]
    weights = (truth.probabilities / truth.probabilities.sum()).double().cpu()
    return Recovery(
        mean_max_cosine=float(best.mean()),
        weighted_mean_max_cosine=float(weights @ best),
        matched_cosine=float(values.mean()),
        weighted_matched_cosine=float(weights @ values),
        recovered_share=float((values > FOUND).double().mean()),
        max_cosine=best,
        matched=matched,
    )
