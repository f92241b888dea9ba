"""A known truth: features with directions, firing probabilities and correlations, and draws from it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from frontier.wording import nearest
from trainers.activations.directions import unit_directions

MAGNITUDES = ("half_normal", "lognormal", "constant")
PROBABILITIES = ("power", "uniform")
MOST_FREQUENT = 0.9
"""No feature fires on more than this share of the draws."""


@dataclass(frozen=True, eq=False)
class KnownFeatures:
    """Features that make up synthetic activations: x = sum_g f_g direction_g + noise.

    Feature g fires with its probability and then has a magnitude of mean 1. Firing is correlated through a
    Gaussian copula: g fires where z_g = loadings_g . u + sqrt(1 - |loadings_g|^2) e_g is large, with u and e
    standard normal. A child fires only where its parent does.
    """

    directions: Tensor = field(repr=False)
    """[G, d], unit rows."""
    probabilities: Tensor = field(repr=False)
    """[G] float64, of firing at all (a child's: with its parent)."""
    parents: Tensor = field(repr=False)
    """[G] number of the parent; -1 for features without one."""
    loadings: Tensor = field(repr=False)
    """[G, r]; the copula's correlation of two features is the product of their rows."""
    magnitudes: str
    magnitude_sd: float
    """Standard deviation of log magnitude, for lognormal ones."""
    noise: float
    """Standard deviation of each coordinate of the noise."""

    @property
    def l0(self) -> float:
        """Expected number of features that fire."""
        return float(self.probabilities.sum())

    def digest(self) -> str:
        """First twelve digits of the SHA-256 of all that decides the draws."""
        digest = hashlib.sha256(f"{self.magnitudes} {self.magnitude_sd} {self.noise}".encode())
        for tensor in (self.directions, self.probabilities, self.parents, self.loadings):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Activations `[count, d]` and the features `[count, G]` that made them, float32."""
        features = self.fired(count, generator) * self._magnitudes(count, generator)
        x = features @ self.directions
        if self.noise:
            x = x + self.noise * torch.randn(x.shape, generator=generator)
        return x, features

    def fired(self, count: int, generator: torch.Generator) -> Tensor:
        """Which features fire, bool `[count, G]`."""
        own = torch.randn(count, len(self.directions), generator=generator)
        if self.loadings.shape[1]:
            shared = torch.randn(count, self.loadings.shape[1], generator=generator)
            rest = (1 - self.loadings.square().sum(1)).clamp(min=0).sqrt()
            own = shared @ self.loadings.T + rest * own
        children = self.parents >= 0
        chance = self.probabilities.clone()
        chance[children] /= self.probabilities[self.parents[children]]
        fired = own > torch.special.ndtri(1 - chance).float()
        fired[:, children] &= fired[:, self.parents[children]]
        return fired

    def _magnitudes(self, count: int, generator: torch.Generator) -> Tensor:
        """Magnitudes `[count, G]` of mean 1."""
        shape = (count, len(self.directions))
        if self.magnitudes == "constant":
            return torch.ones(shape)
        normal = torch.randn(shape, generator=generator)
        if self.magnitudes == "half_normal":
            return normal.abs_().mul_(math.sqrt(math.pi / 2))
        return normal.mul_(self.magnitude_sd).sub_(self.magnitude_sd**2 / 2).exp_()


def ground_truth(
    features: int,
    d: int,
    *,
    l0: float,
    generator: torch.Generator,
    max_cosine: float | None = None,
    probabilities: str = "power",
    exponent: float = 0.5,
    correlation: float = 0.0,
    blocks: int | None = None,
    rank: int | None = None,
    children: int = 0,
    child_chance: float = 0.3,
    magnitudes: str = "half_normal",
    magnitude_sd: float = 0.25,
    noise: float = 0.0,
) -> KnownFeatures:
    """A truth of `features` features in R^d of which `l0` fire on average.

    Parameters
    ----------
    max_cosine : float, optional
        Bound on |cosine| between directions; without it they are random (orthogonal ones: 0, if they fit).
    probabilities : {"power", "uniform"}
        Of features without a parent: proportional to rank^-exponent, or equal.
    correlation : float
        Strength of the copula, below 1. With `blocks` the features are dealt to so many blocks (default: one)
        and correlated inside them; with `rank` all are, with both signs, through so many common factors.
    children : int
        So many children follow each parent (features/(1 + children) parents come first); a child fires with
        `child_chance` where its parent does. Not with `correlation`, which would change how often.
    magnitudes : {"half_normal", "lognormal", "constant"}
        All of mean 1.

    Raises
    ------
    ValueError
        If the numbers do not fit together: says which and what would fit.
    """
    _check(features, l0, correlation, blocks, rank, children, child_chance, magnitudes, probabilities)
    parents = _parents(features, children)
    directions = unit_directions(features, d, max_cosine, generator)
    tops = int((parents < 0).sum())
    chance = _scaled_to(
        l0 / (1 + children * child_chance), tops, exponent if probabilities == "power" else 0.0
    )
    inherited = child_chance * chance[parents.clamp(min=0)]
    everyone = torch.where(parents < 0, torch.cat([chance, torch.zeros(features - tops).double()]), inherited)
    return KnownFeatures(
        directions=directions,
        probabilities=everyone,
        parents=parents,
        loadings=_loadings(features, correlation, blocks, rank, generator),
        magnitudes=magnitudes,
        magnitude_sd=magnitude_sd,
        noise=noise,
    )


def _parents(features: int, children: int) -> Tensor:
    """Parent of each feature: the first ones have none, the others are dealt to them in turn."""
    tops = features // (1 + children)
    number = torch.arange(features)
    return torch.where(number < tops, -1, (number - tops) // max(children, 1))


def _scaled_to(l0: float, count: int, exponent: float) -> Tensor:
    """Probabilities proportional to rank^-exponent, at most MOST_FREQUENT each, that sum to `l0`."""
    weights = torch.arange(1, count + 1, dtype=torch.float64) ** -exponent
    if l0 > MOST_FREQUENT * count:
        raise ValueError(
            f"l0 {l0:g} among {count} features: each fires on at most {MOST_FREQUENT} of the draws, "
            f"so l0 is at most {MOST_FREQUENT * count:g}"
        )
    capped = torch.zeros(count, dtype=torch.bool)
    while True:
        free = (l0 - MOST_FREQUENT * int(capped.sum())) * weights / weights[~capped].sum()
        more = ~capped & (free > MOST_FREQUENT)
        if not more.any():
            return torch.where(capped, MOST_FREQUENT, free)
        capped |= more


def _loadings(
    features: int, correlation: float, blocks: int | None, rank: int | None, generator: torch.Generator
) -> Tensor:
    """Loadings `[G, r]` with squared norm `correlation`: one-hot for blocks, random for a rank."""
    if correlation == 0:
        return torch.zeros(features, 0)
    if rank is not None:
        loadings = torch.randn(features, rank, generator=generator)
        return loadings / loadings.norm(dim=1, keepdim=True) * math.sqrt(correlation)
    count = blocks or 1
    return torch.nn.functional.one_hot(torch.arange(features) % count, count).float() * math.sqrt(correlation)


def _check(
    features: int, l0: float, correlation: float, blocks: int | None, rank: int | None, children: int,
    child_chance: float, magnitudes: str, probabilities: str,
) -> None:  # fmt: skip
    if not 0 < l0 < features:
        raise ValueError(f"l0 must be above 0 and below the number of features ({features}), got {l0}")
    if not 0 <= correlation < 1:
        raise ValueError(f"correlation must be at least 0 and below 1, got {correlation}")
    if blocks is not None and rank is not None:
        raise ValueError(f"correlation comes from blocks or from a rank: got blocks={blocks} and rank={rank}")
    if correlation == 0 and (blocks is not None or rank is not None):
        raise ValueError("blocks and rank need a correlation above 0")
    if children and correlation:
        raise ValueError("children and correlation cannot be combined: a child would fire at another rate")
    if children < 0 or features % (1 + children):
        raise ValueError(
            f"{features} features are not a whole number of parents with {children} children each"
        )
    if not 0 < child_chance <= 1:
        raise ValueError(f"child_chance must be above 0 and at most 1, got {child_chance}")
    if magnitudes not in MAGNITUDES:
        raise ValueError(f"no magnitudes {magnitudes!r}{nearest(magnitudes, MAGNITUDES)}")
    if probabilities not in PROBABILITIES:
        raise ValueError(f"no probabilities {probabilities!r}{nearest(probabilities, PROBABILITIES)}")
