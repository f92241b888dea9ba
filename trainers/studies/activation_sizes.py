"""How large activations are: histograms and medians of the non-zero ones, with intervals over windows.

Penalties that spare large activations (square roots) move this histogram to the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frontier import Interval
from frontier.results import Result
from frontier.views import View
from trainers.language_models import LanguageModel

RESAMPLES = 400
"""Bootstrap samples of windows behind an interval of a median."""
BINS_PER_DECADE = 100
"""Activations are counted in logarithmic bins; a median is exact to 1 %."""
DECADES = (-6, 6)


@dataclass(frozen=True, eq=False, repr=False)
class ActivationSizes(Result):
    """Non-zero activations of one SAE, counted per window in logarithmic bins.

    Attributes
    ----------
    counts : array [windows, bins]
        Non-zero activations.
    edges : array [bins + 1]
    tokens : int
        Tokens that were counted.
    """

    run_id: str
    counts: np.ndarray
    edges: np.ndarray
    tokens: int

    @property
    def l0(self) -> float:
        """Non-zero activations per token."""
        return float(self.counts.sum() / self.tokens)

    def median(self, level: float = 0.95, seed: int = 0) -> Interval:
        """The median non-zero activation; a bootstrap of windows, since tokens of one are not independent."""
        random = np.random.default_rng(seed)
        windows = len(self.counts)
        weights = random.multinomial(windows, np.full(windows, 1 / windows), size=RESAMPLES)
        drawn = np.array([self._median(row) for row in weights @ self.counts])
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
        return Interval(self._median(self.counts.sum(0)), float(low), float(high), level)

    def histogram(self, per_decade: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Activations per token and decade, `[bins]`, and the bins' edges; `per_decade` divides 100."""
        merge = BINS_PER_DECADE // per_decade
        counts = self.counts.sum(0).reshape(-1, merge).sum(1)
        return counts * per_decade / self.tokens, self.edges[::merge]

    def _median(self, counts: np.ndarray) -> float:
        """The value with half of the counts below it, interpolated in the logarithm inside its bin."""
        total = counts.cumsum()
        half = total[-1] / 2
        place = int(np.searchsorted(total, half))
        before = total[place - 1] if place else 0
        inside = (half - before) / counts[place]
        return float(self.edges[place] * (self.edges[place + 1] / self.edges[place]) ** inside)

    def _view(self) -> View:
        row = (self.run_id, f"{self.l0:.3g}", str(self.median()))
        return View("Non-zero activations", ("SAE", "L0", "median [95 %]"), (row,))


@torch.no_grad()
def activation_sizes(
    saes: Sequence[Any], model: LanguageModel, tokens: Tensor, site: str, *, scaled: bool = True
) -> list[ActivationSizes]:
    """The non-zero activations of each SAE on windows of text `[n, T]`.

    Sizes are f_i ‖W_dec,i‖, what a latent adds to x̂, where the SAE says its decoder rows (else f_i).

    Parameters
    ----------
    scaled : bool
        In the scale that the SAE was trained in, the unit of λ; needs `input_scale` in its identity.
    """
    edges = 10.0 ** np.linspace(*DECADES, BINS_PER_DECADE * (DECADES[1] - DECADES[0]) + 1)
    found = [np.zeros((len(tokens), len(edges) - 1), dtype=np.int64) for _ in saes]
    count = 0
    for window, row in enumerate(tokens):
        row = row[None].to(model.device)
        x = model.capture(row, [site])[site][model.counted(row)].float()
        count += len(x)
        for sae, counts in zip(saes, found, strict=True):
            f = sae.encode(x).abs() * _norms(sae)
            values = f[f > 0].cpu().numpy() * (sae.identity["input_scale"] if scaled else 1.0)
            places = np.clip(np.searchsorted(edges, values, side="left") - 1, 0, len(edges) - 2)
            counts[window] = np.bincount(places, minlength=len(edges) - 1)
    names = [str(s.identity.get("run_id", i)) for i, s in enumerate(saes)]
    return [ActivationSizes(n, c, edges, count) for n, c in zip(names, found, strict=True)]


def _norms(sae: Any) -> Tensor | float:
    """Norms of the decoder rows `[F]`, or 1 where they are unknown."""
    rows = getattr(sae, "rows", None)
    return 1.0 if rows is None else rows.norm(dim=1)
