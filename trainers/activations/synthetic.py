"""An endless stream of synthetic activations whose features are known."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch

from trainers.activations.positions import require_same, seeded
from trainers.activations.scaling import Batch, Scaling, scaling_of
from trainers.activations.truth import KnownFeatures, ground_truth
from trainers.language_models.sites import Site

SCALING_ROWS = 16_384
"""Draws that the scale and the mean are measured on."""


def synthetic_stream(
    features: int = 512,
    d: int = 64,
    *,
    l0: float = 8.0,
    batch_size: int = 1024,
    seed: int = 0,
    truth_seed: int | None = None,
    device: str | torch.device = "cpu",
    centre: bool = True,
    **options: Any,
) -> SyntheticStream:
    """Batches drawn from a truth of `features` features in R^d of which `l0` fire on average.

    Parameters
    ----------
    seed : int
        Decides the draws.
    truth_seed : int, optional
        Decides the truth; default: the same as `seed`.
    centre : bool
        The mean is taken off before scaling, as by `activation_stream`.
    options
        Of `ground_truth`: `max_cosine`, `probabilities`, `exponent`, `correlation`, `blocks`, `rank`,
        `children`, `child_chance`, `magnitudes`, `magnitude_sd`, `noise`.
    """
    generator = seeded(seed if truth_seed is None else truth_seed, "truth")
    truth = ground_truth(features, d, l0=l0, generator=generator, **options)
    return SyntheticStream(truth, batch_size=batch_size, seed=seed, device=device, centre=centre)


class SyntheticStream:
    """Batches of draws from a truth, without end, scaled like those of `ActivationStream`.

    Batch i is a function of the seed and i, so that the state is one number.
    """

    def __init__(
        self,
        truth: KnownFeatures,
        *,
        batch_size: int = 1024,
        seed: int = 0,
        device: str | torch.device = "cpu",
        centre: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.truth, self.batch_size, self.seed = truth, batch_size, seed
        self.device = torch.device(device)
        self.d_in = self.d_out = truth.directions.shape[1]
        self.site, self.target_site = "synthetic", None
        self._number, self._centre = 0, centre

    def __repr__(self) -> str:
        count, d = self.truth.directions.shape
        return f"SyntheticStream({count} features in {d} dimensions, L0 {self.truth.l0:.3g})"

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        x, _ = self.truth.sample(self.batch_size, seeded(self.seed, "batch", self._number))
        self._number += 1
        return self.scaling.batch(x.to(self.device), None)

    @cached_property
    def scaling(self) -> Scaling:
        """Scale and means, measured on draws of their own."""
        x, _ = self.truth.sample(SCALING_ROWS, seeded(self.seed, "scaling"))
        x = x.to(self.device)
        site = Site(self.site, width=x.shape[1])
        return scaling_of(x, x, (site, site), self._centre)

    @property
    def description(self) -> dict[str, Any]:
        """What the stream is a function of, as JSON."""
        truth = self.truth
        return {
            "site": self.site,
            "features": len(truth.directions),
            "d": self.d_in,
            "l0": truth.l0,
            "noise": truth.noise,
            "magnitudes": truth.magnitudes,
            "truth": truth.digest(),
            "batch_size": self.batch_size,
            "seed": self.seed,
        }

    def state(self) -> dict[str, Any]:
        """The position, as JSON."""
        return {"batch": self._number, "stream": self.description}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same stream.

        Raises
        ------
        ActivationError
            If the state is of another stream: the differences are named.
        """
        require_same(state, self.description, ("batch",))
        self._number = int(state["batch"])
