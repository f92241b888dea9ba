"""A batch of rows behind which no language model stands: what is measured without predictions."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from trainers.evaluate.parts import Parts
from trainers.evaluate.tally import total


class RowsOnly:
    """Stored rows `[n, d]`, as a tally takes a batch; losses are missing."""

    def __init__(self, model: Any, tokens: Tensor, site: str, parts: Parts, mean: Tensor, index: int) -> None:
        rows = model.capture(tokens, [site])[site]
        self.input = self.target = rows[model.counted(tokens).to(rows.device)]
        self.parts, self.measured = parts, parts.in_units(self.target)
        self.target_norm = self.measured.norm(dim=1)
        centred = parts.in_units(self.target - mean)
        self.shared = dict.fromkeys(("ce_clean", "ce_zero", "ce_mean"), math.nan) | {
            "tokens": len(self.target),
            "predictions": 0,
            "centred_squares": total(centred.square()),
            **parts.spreads(centred),
        }

    def losses(self, reconstruction: Tensor) -> tuple[float, float]:
        """No cross-entropy, no KL."""
        return math.nan, math.nan
