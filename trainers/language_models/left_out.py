"""Positions that are left out of training and evaluation: by token, by place in the window, by size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class LeftOut:
    """What is left out beside start token and padding; no SAE sees it and no splice changes it.

    Attributes
    ----------
    tokens : tuple of int
        Token ids, wherever they stand.
    positions : tuple of int
        Places in the window, from 0.
    norms : dict of str to float
        A position is left out if its activation at one of these sites is longer than this.

    Examples
    --------
    >>> print(LeftOut(tokens=(220,), positions=(0, 1), norms={"resid_post.3": 812.5}))
    token 220, positions 0, 1, norms above 812.5 at resid_post.3
    """

    tokens: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    norms: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tokens or self.positions or self.norms)

    def __str__(self) -> str:
        return ", ".join(self.parts(self.tokens))

    def parts(self, tokens: tuple[int, ...], names: Mapping[int, str] | None = None) -> list[str]:
        """In words, whole: two different ones differ. Tokens by their names, where they have one."""
        found = [(names or {}).get(token, f"token {token}") for token in tokens]
        if self.positions:
            places = ", ".join(map(str, self.positions))
            found.append(f"position{'s' * (len(self.positions) > 1)} {places}")
        return found + [f"norms above {limit:g} at {site}" for site, limit in self.norms.items()]

    def kept_places(self, tokens: Tensor) -> Tensor:
        """Which of `[B, T]` stand at a place that is kept `[T]`."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return ~torch.isin(places, torch.tensor(self.positions, dtype=places.dtype, device=places.device))

    def kept_sizes(self, found: Mapping[str, Tensor]) -> Tensor:
        """Which positions `[B, T]` are small enough at every site, of activations `[B, T, width]` by site."""
        small = [found[site].float().norm(dim=-1) <= limit for site, limit in self.norms.items()]
        return torch.stack(small).all(0)
