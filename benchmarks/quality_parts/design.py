"""Which SAEs are trained: places, methods, settings and learning rates."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OURS = "ours"
PEERS = {"dictionary_learning": "dictionary-learning", "sae_lens": "sae-lens"}
"""Method to the package that is installed for it."""
METHODS = (OURS, *PEERS)
ARCHITECTURES = ("relu", "gated", "jumprelu", "topk", "batch_topk", "matryoshka")
GRID = (1e-3, 3e-3, 1e-2, 3e-2)
"""Learning rates that peers may have."""
FIRST = (3e-3, 1e-2)
"""Those that are tried first; beyond the better one the next is tried."""
K = [5, 10, 20]
SETTINGS: dict[str, list[float]] = {
    "relu": [1.2, 2.0, 3.5], "gated": [2.0, 3.0, 4.5], "jumprelu": [0.15, 0.4, 1.0],
    "topk": K, "batch_topk": K, "matryoshka": K,
}  # fmt: skip
"""λ where E‖x − x̄‖ = √d, for all methods, and k; their L0 is about 4 to 50 at the shipped model's site."""
OTHER_SETTINGS: dict[tuple[str, str], list[float]] = {("dictionary_learning", "jumprelu"): K}
"""A target L0, where a method has no λ."""


@dataclass(frozen=True)
class Place:
    """What is trained on, how wide, how long."""

    site: str
    """shipped or encoder."""
    expansion: int
    """F/d."""
    steps: int


@dataclass(frozen=True)
class Cell:
    """The SAEs of one method and architecture at one learning rate, over its settings."""

    place: Place
    method: str
    architecture: str
    rate: float | None
    """None: our default."""
    seed: int

    @property
    def settings(self) -> list[float]:
        """Of the sweep."""
        return OTHER_SETTINGS.get((self.method, self.architecture), SETTINGS[self.architecture])

    def plain(self) -> dict[str, Any]:
        """As the result file has it."""
        own = {k: v for k, v in asdict(self).items() if k != "place"}
        return asdict(self.place) | own


def is_cell(record: dict[str, Any], cell: Cell) -> bool:
    """Whether a record of the result file is of this cell; of ours any rate is the default of its time."""
    wanted = cell.plain()
    if cell.method == OURS:
        wanted.pop("rate")
    return all(record[k] == v for k, v in wanted.items())


def next_rate(ratios: dict[float, float]) -> float | None:
    """The rate of the grid to try after these, given a peer's L0 over ours; None: its best is found.

    The lower a ratio, the better the peer; its best rate has a worse one on both sides, or ends the grid.

    >>> next_rate({3e-3: 1.2, 1e-2: 1.1}), next_rate({3e-3: 1.2, 1e-2: 1.1, 3e-2: 1.4})
    (0.03, None)
    """
    best = GRID.index(min(ratios, key=lambda rate: ratios[rate]))
    around = [GRID[i] for i in (best + 1, best - 1) if 0 <= i < len(GRID)]
    return next((rate for rate in around if rate not in ratios), None)
