"""The parts of a joined site, each measured in units of its own spread: no loud layer hides another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from frontier.studies.batch_sums import ERROR_AT, SPREAD_AT
from frontier.studies.evaluation import EvaluationError
from trainers.evaluate.tally import total
from trainers.language_models.sites import Site
from trainers.shards import ALONE, Shards


@dataclass(frozen=True, eq=False)
class Parts:
    """How the target of an evaluation is measured.

    Attributes
    ----------
    site : Site
        Where reconstructions are compared.
    units : Tensor or None
        1 / sqrt(Σ variances of the part) of each coordinate of a joined site `[d_out]`; its FVU is then the
        mean of its parts' FVUs. None: a plain site is measured as it is.
    """

    site: Site
    units: Tensor | None = None

    def in_units(self, values: Tensor) -> Tensor:
        """Activations or errors `[..., d_out]` as they are measured."""
        return values if self.units is None else values * self.units

    def spreads(self, centred: Tensor) -> dict[str, float]:
        """Sums of squares of each part of activations without their mean `[n, d_out]`, in units."""
        return self._squares(centred, SPREAD_AT)

    def errors(self, error: Tensor) -> dict[str, float]:
        """Sums of squares of each part of errors `[n, d_out]`, in units."""
        return self._squares(error, ERROR_AT)

    def _squares(self, values: Tensor, name: str) -> dict[str, float]:
        parts = self.site.split(values) if self.site.parts else {}
        return {name + place: total(part.square()) for place, part in parts.items()}


def parts_of(site: Site, mean: Tensor, batches: Iterable[Tensor], shards: Shards = ALONE) -> Parts:
    """The parts of a site, in units of their spread over all counted activations `[n, width]` of all shards.

    Raises
    ------
    EvaluationError
        If a part does not vary.
    """
    if not site.parts:
        return Parts(site)
    sums, count = Counter[str](), 0
    for rows in batches:
        sums.update(Parts(site).spreads(rows - mean))
        count += len(rows)
    here = [*(sums[SPREAD_AT + part.name] for part in site.parts), float(count)]
    *spreads, everywhere = shards.total(torch.tensor(here, dtype=torch.float64)).tolist()
    units = []
    for part, spread in zip(site.parts, spreads, strict=True):
        if not spread > 0:
            raise EvaluationError(f"all activations at {part.name} are equal; there is nothing to rebuild")
        units.append(mean.new_full((part.width,), (everywhere / spread) ** 0.5))
    return Parts(site, torch.cat(units))
