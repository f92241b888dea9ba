"""Bins of firing frequencies, equal in the logarithm."""

from __future__ import annotations

import numpy as np

PER_DECADE = 4
"""Bins per factor of ten."""


def frequency_bins(tokens: int, per_decade: int = PER_DECADE) -> np.ndarray:
    """Edges from the decade of one firing in `tokens` up to 1.

    >>> frequency_bins(2000, per_decade=1)
    array([1.e-04, 1.e-03, 1.e-02, 1.e-01, 1.e+00])
    """
    decades = int(np.floor(np.log10(max(tokens, 1)))) + 1
    return 10.0 ** (np.arange(-decades * per_decade, 1) / per_decade)


def latents_by_frequency(counts: np.ndarray, tokens: int, per_decade: int = PER_DECADE) -> np.ndarray:
    """How many latents that fired lie in each bin, low < frequency ≤ high: so "above 1 %" starts at an edge.

    `counts [F]`: on how many of the `tokens` each latent fired.

    >>> latents_by_frequency(np.array([0, 2, 20, 2000]), 2000, per_decade=1)
    array([1, 1, 0, 1])
    """
    edges = frequency_bins(tokens, per_decade) * (1 + 1e-12)
    fired = counts[counts > 0] / tokens
    return np.bincount(np.searchsorted(edges, fired, side="left") - 1, minlength=len(edges) - 1)
