"""A batch whose windows the shards of SAEs see through the language model, each its share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainers.evaluate.parts import Parts
from trainers.shards import Shards


class SharedWindows:
    """The rows of all windows of a batch, as a tally takes it; sums of this process are over its own windows.

    Parameters
    ----------
    opened : callable
        Opens the windows of this process.
    parts : Parts
        How the target is measured.
    width, target_width : int
        Of the input and of the target.
    autoencoder : bool
        Input and target are the same.
    """

    def __init__(
        self, opened: Callable[[Tensor], Any], tokens: Tensor, parts: Parts, shards: Shards, *,
        width: int, target_width: int, device: torch.device, autoencoder: bool,
    ) -> None:  # fmt: skip
        mine = shards.share(tokens)
        self._own = opened(mine) if len(mine) else None
        target = torch.empty(0, target_width, device=device) if self._own is None else self._own.target
        inputs = torch.empty(0, width, device=device) if self._own is None else self._own.input
        self.target, self._here = shards.joined(target)
        self.input = self.target if autoencoder else shards.joined(inputs)[0]
        self.parts, self.measured = parts, parts.in_units(self.target)
        self.target_norm = self.measured.norm(dim=1)

    @property
    def shared(self) -> dict[str, float]:
        """The sums that all SAEs share."""
        return {} if self._own is None else self._own.shared

    def losses(self, reconstruction: Tensor) -> tuple[float, float]:
        """Sums of cross-entropy and KL with this at the rows of all windows `[n, d_out]`."""
        return (0.0, 0.0) if self._own is None else self._own.losses(reconstruction[self._here])
