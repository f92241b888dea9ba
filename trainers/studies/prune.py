"""The lowest activations of trained SAEs removed, in four ways: what each costs at how much less L0.

=====================  =====================================================================================
`top k`                each token keeps its k highest activations
`share of maximum`     each latent keeps what is at least a share of its highest activation
`quantile`             each latent loses the lowest q of its activations
`global threshold`     every activation below one threshold goes
=====================  =====================================================================================

These are the four of "Improving SAE's by Sqrt()-ing L1 & Removing Lowest Activating Features". For `top k`
and `global threshold` the height of an activation is the length of what it adds, f_i ‖W_dec,i‖; with decoder
rows of norm 1, as in the post, that is f_i. Maxima, quantiles and the default strengths come from training
text, so that the evaluation text stays unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frontier.progress import Callback
from frontier.studies.evaluation import Evaluation, joined
from frontier.studies.pruning_costs import METHODS
from frontier.wording import nearest
from trainers.architectures.topk import is_among_highest
from trainers.evaluate import evaluate
from trainers.language_models import LanguageModel
from trainers.studies.variants import (
    SharedCodes,
    Variant,
    VariantError,
    activations_of,
    linear_decoder,
    run_id_of,
    variant_identity,
)

KEPT = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Shares of the L0 that the default strengths of every method keep, on training text."""


@dataclass(frozen=True, eq=False)
class LatentStatistics:
    """Every activation of an SAE on some text, sorted within each latent.

    Attributes
    ----------
    values : Tensor [n]
        |f| where it is not 0: latent after latent, rising within each.
    counts : Tensor [F]
        How many of them each latent has.
    per_token : Tensor [longest + 1]
        On how many tokens 0, 1, 2, ... latents fire.
    norms : Tensor [F]
        Lengths of the decoder's rows.
    """

    values: Tensor
    counts: Tensor
    per_token: Tensor
    norms: Tensor

    def maximum(self) -> Tensor:
        """The highest activation of each latent `[F]`; 0 of one that never fired."""
        ends = (self.counts.cumsum(0) - 1).clamp_min(0)
        return torch.where(self.counts > 0, self.values[ends], 0.0) if len(self.values) else 0 * self.norms

    def quantile(self, q: float) -> Tensor:
        """The q-quantile of each latent's activations `[F]`, interpolated linearly; 0 if it never fired."""
        if not len(self.values):
            return 0 * self.norms
        place = q * (self.counts - 1).clamp_min(0).double()
        low = place.floor().long()
        high = torch.minimum(low + 1, (self.counts - 1).clamp_min(0))
        start = self.counts.cumsum(0) - self.counts
        last = len(self.values) - 1
        below, above = self.values[(start + low).clamp_max(last)], self.values[(start + high).clamp_max(last)]
        found = torch.lerp(below.double(), above.double(), place - low).to(below.dtype)
        return torch.where(self.counts > 0, found, 0.0)

    def strength(self, method: str, kept: float) -> float:
        """The strength at which a method keeps this share of all activations, on this text."""
        if method == "quantile":
            return 1 - kept
        if method == "top k":
            return float(self._highest_per_token(kept))
        per_latent = self.norms if method == "global threshold" else 1 / self.maximum().clamp_min(1e-30)
        heights = (self.values * per_latent.repeat_interleave(self.counts)).sort().values
        return float(heights[min(int((1 - kept) * len(heights)), len(heights) - 1)]) if len(heights) else 0.0

    def _highest_per_token(self, kept: float) -> int:
        """The k whose share of activations, Σ min(fired, k) / Σ fired, is nearest to `kept`."""
        fired = torch.arange(len(self.per_token), dtype=torch.float64)
        ks = torch.arange(1, max(2, len(self.per_token)), dtype=torch.float64)
        left = (torch.minimum(fired, ks[:, None]) * self.per_token.double()).sum(1)
        return int(ks[(left / left[-1].clamp_min(1e-30) - kept).abs().argmin()])


@torch.no_grad()
def latent_statistics(sae: Any, activations: Iterable[Tensor]) -> LatentStatistics:
    """The statistics of an SAE's codes on activations `[n, d_in]`, batch by batch.

    Memory is that of the activations that are not 0: about 16 bytes × tokens × L0.
    """
    norms = linear_decoder(sae)[0].norm(dim=1).float()
    values, latents, fired = [], [], []
    for x in activations:
        f = sae.encode(x).abs().float()
        rows, columns = f.nonzero(as_tuple=True)
        values.append(f[rows, columns])
        latents.append(columns)
        fired.append((f > 0).sum(1))
    if not values:
        raise VariantError(f"no activations to take the maxima and quantiles of {run_id_of(sae, 0)!r} from")
    value, latent = torch.cat(values), torch.cat(latents)
    order = value.argsort()
    order = order[latent[order].argsort(stable=True)]
    counts = torch.bincount(latent, minlength=sae.dictionary_size)
    return LatentStatistics(value[order], counts, torch.bincount(torch.cat(fired)), norms)


def latent_thresholds(method: str, strength: float, statistics: LatentStatistics) -> Tensor:
    """What each latent has to reach `[F]`: three of the four methods are this."""
    if method == "share of maximum":
        return strength * statistics.maximum()
    if method == "quantile":
        return statistics.quantile(strength)
    if method == "global threshold":
        return strength / statistics.norms.clamp_min(1e-30)
    raise VariantError(f"no thresholds for {method!r}{nearest(method, METHODS)}")


class Pruned(Variant):
    """An SAE whose low activations are set to 0.

    Parameters
    ----------
    codes : SharedCodes
        Of the parent, shared by all its variants.
    statistics : LatentStatistics
        From training text.

    Raises
    ------
    VariantError
        If the method is unknown, or the strength is out of range: k is a whole number from 0 on, a share or a
        quantile lies in 0 to 1, a threshold is at least 0.
    """

    def __init__(
        self, codes: SharedCodes, parent: str, method: str, strength: float, statistics: LatentStatistics
    ) -> None:
        super().__init__(codes.sae, variant_identity(codes.sae, parent, method, strength))
        _check(method, strength)
        self._codes, self.method, self.strength = codes, method, strength
        self._norms = statistics.norms
        self._thresholds = None if method == "top k" else latent_thresholds(method, strength, statistics)

    def encode(self, x: Tensor) -> Tensor:
        """The parent's codes `[n, F]`, the low ones 0."""
        f = self._codes(x)
        if self._thresholds is not None:
            return f * (f.abs() >= self._thresholds.to(f.device))
        if self.strength == 0:
            return torch.zeros_like(f)
        return f * is_among_highest(f.abs() * self._norms.to(f.device), int(self.strength))


def prune(
    saes: Sequence[Any],
    model: LanguageModel,
    tokens: Tensor,
    site: str,
    target_site: str | None = None,
    *,
    training_tokens: Tensor,
    protocol: str,
    strengths: Mapping[str, Sequence[float]] | None = None,
    kept: Sequence[float] = KEPT,
    batch_size: int = 16,
    progress: bool | Callback = False,
) -> Evaluation:
    """Every metric of every SAE, as it is and pruned in each way at each strength; one pass over the text.

    Parameters
    ----------
    saes : sequence of SAE
        Ours, or anything that `evaluate` takes with a linear decoder.
    tokens, training_tokens : Tensor
        Windows `[n, T]` to evaluate on, and others from the training text for maxima and quantiles.
    strengths : dict of method to list of numbers, optional
        k, shares, quantiles or thresholds. Methods that are not named are not run.
    kept : list of float
        Without `strengths`: each method gets those that keep these shares of the L0 on the training text.

    Returns
    -------
    Evaluation
        Rows of families such as "relu + global threshold" with the SAE's name in `parent`, after the row of
        the SAE itself.
    """
    found = []
    for place, sae in enumerate(saes):
        statistics = latent_statistics(sae, (x for x, _ in activations_of(model, training_tokens, site)))
        chosen = strengths or {m: sorted({statistics.strength(m, k) for k in kept}) for m in METHODS}
        codes, parent = SharedCodes(sae), run_id_of(sae, place)
        variants = [Pruned(codes, parent, m, s, statistics) for m, some in chosen.items() for s in some]
        found.append(
            evaluate([_Kept(codes, parent), *variants], model, tokens, site, target_site,
                     batch_size=batch_size, protocol=protocol, progress=progress)
        )  # fmt: skip
    return joined(found)


class _Kept(Variant):
    """The SAE as it is, with the codes that its variants share."""

    def __init__(self, codes: SharedCodes, name: str) -> None:
        super().__init__(codes.sae, dict(codes.sae.identity) | {"run_id": name})
        self.encode = codes  # type: ignore[method-assign]


def _check(method: str, strength: float) -> None:
    if method not in METHODS:
        raise VariantError(f"unknown way to prune {method!r}{nearest(method, METHODS)}")
    fits = {"top k": strength >= 0 and strength == int(strength), "global threshold": strength >= 0}
    wanted = {"top k": "a whole number of at least 0", "global threshold": "at least 0"}
    if not fits.get(method, 0 <= strength <= 1):
        raise VariantError(
            f"the strength of {method} must be {wanted.get(method, 'from 0 to 1')}, got {strength:g}"
        )
