"""Tables with a known truth: curves, designs and noise, many tables at once as the layers of one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
Curve = Callable[[Array], Array]


def hill(l0: Array, k: float, n: float, top: float = 1.0) -> Array:
    """A Hill curve of the hit in 1 / L0."""
    x = l0**-1.0
    return top * x**n / (k**n + x**n)


def _bent(l0: Array, bend: float) -> Array:
    u = np.log(l0 / 77.5)
    return 0.2 * np.exp(-0.9 * u + bend * u**2)


TRUTHS: dict[str, Curve] = {
    "Hill": lambda l0: hill(l0, 1 / 30, 1.3),
    "power": lambda l0: 0.5 * (20 / l0) ** 0.9,
    "Hill, top .6": lambda l0: hill(l0, 1 / 60, 1.3, 0.6),
    "convex": lambda l0: _bent(l0, 0.15),
    "concave": lambda l0: _bent(l0, -0.15),
    "floor": lambda l0: 0.5 * (20 / l0) ** 1.1 + 0.03,
    "offset": lambda l0: 9 * (1 / l0 - 1 / 500) ** 0.95,
}
"""Hits from 0.02 to 0.7 over L0 from 20 to 300; the offset curve reaches 0 at L0 500."""

BENT: dict[str, Curve] = {
    "exponential to a floor": lambda l0: 0.02 + 0.6 * np.exp(-l0 / 25),
    "sigmoid to a floor": lambda l0: 0.01 + 0.4 / (1 + (l0 / 60) ** 3),
    "Hill": TRUTHS["Hill"],
    "two powers with a knee": lambda l0: 0.3 * (l0 / 50) ** np.where(l0 < 50, -0.5, -1.6),
}
"""Curves that no polynomial of low degree in log L0 follows."""

DESIGNS: dict[str, list[tuple[int, float, float]]] = {
    "8/8": [(8, 20, 300), (8, 20, 300)],
    "12/12": [(12, 20, 300), (12, 20, 300)],
    "8 v 6 on 20-80": [(8, 20, 300), (6, 20, 80)],
    "8 v 8 on 10-150": [(8, 20, 300), (8, 10, 150)],
    "4/4": [(4, 20, 300), (4, 20, 300)],
}
"""SAEs and range of L0 of the reference and of the other family."""

NAMES = ("relu", "topk", "gated", "jumprelu", "batch_topk", "matryoshka", "p_anneal")
NAMES += tuple(f"family {i}" for i in range(len(NAMES) + 1, 31))


@dataclass(frozen=True)
class Noise:
    """SDs of what makes a hit deviate: a share of it, an amount, a share common to a family's runs; AR(1)."""

    share: float = 0.0
    amount: float = 0.0
    common: float = 0.0
    correlation: float = 0.0

    def on(self, rng: np.random.Generator, hit: Array, other: bool) -> Array:
        """Noisy hits, (tables, points); the common offset is the other family's."""
        e = rng.standard_normal(hit.shape)
        for i in range(1, hit.shape[1] if self.correlation else 0):
            e[:, i] = self.correlation * e[:, i - 1] + np.sqrt(1 - self.correlation**2) * e[:, i]
        offset = self.common * rng.standard_normal((len(hit), 1)) if other else 0.0
        return hit * np.exp(self.share * e + offset) + self.amount * rng.standard_normal(hit.shape)


@dataclass(frozen=True)
class Study:
    """One cell of the acceptance table: the curves of the families, where they are seen, the noise."""

    curves: Sequence[Curve]
    design: Sequence[tuple[int, float, float]]
    noise: Noise
    jitter: float = field(default=0.1)

    def tables(self, rng: np.random.Generator, count: int) -> pd.DataFrame:
        """`count` tables as the layers of one metrics table; every run has a setting of its own."""
        parts = []
        for f, (curve, (points, low, high)) in enumerate(zip(self.curves, self.design, strict=True)):
            jitter = self.jitter * rng.uniform(-1, 1, (count, points))
            l0 = np.sort(np.geomspace(low, high, points) * np.exp(jitter), axis=1)
            parts.append(frame(NAMES[f], l0, self.noise.on(rng, curve(l0), f > 0)))
        return pd.concat(parts, ignore_index=True)


def side_by_side(studies: Sequence[Study], rng: np.random.Generator, count: int) -> pd.DataFrame:
    """`count` tables of families that have a study each: a size and a noise of its own."""
    parts = [s.tables(rng, count).assign(family=name) for s, name in zip(studies, NAMES, strict=False)]
    return pd.concat(parts, ignore_index=True)


def frame(family: str, l0: Array, hit: Array) -> pd.DataFrame:
    """Runs of one family, (tables, points), as rows of a metrics table."""
    layer = np.broadcast_to(np.arange(len(l0))[:, None], l0.shape)
    return pd.DataFrame(
        {"family": family, "layer": layer.ravel(), "l0": l0.ravel(), "performance_hit": hit.ravel()}
    )


def needing_fewer(curve: Curve, potency: float) -> Curve:
    """The curve of a family that needs `potency` times fewer latents."""
    return lambda l0: curve(l0 * potency)


def steeper(curve: Curve, factor: float, at: float) -> Curve:
    """A Hill curve with `factor` times the steepness of `curve` (in logits), equal to it at L0 `at`."""

    def logit(hit: Array) -> Array:
        return np.log(hit / (1 - hit))

    def other(l0: Array) -> Array:
        middle = logit(curve(np.asarray(at)))
        return 1 / (1 + np.exp(-(middle + factor * (logit(curve(l0)) - middle))))

    return other
