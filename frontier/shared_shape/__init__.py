"""The shared shape: all families of a cell on one falling curve, each shifted along log L0.

Frontiers of one cell (a model, site, layer, width) bend alike. One smooth falling shape, log hit as a
polynomial in log L0 of as high a degree as the points support, is fitted to all families together, and each
family is shifted along it: the factor of that shift is its relative potency, whatever the shape. A bend that
families share is then no noise. Where shifts do not suffice, families have slopes (and curvatures) of their
own, and the potency depends on the hit.

`cells` → `choosing` (shape, errors) → `pairs` (tests, over `models`, `flips`, `pair_curves`; `scatter` of the
residuals) → `analysis`, `crossings`. Verdicts are passed in `comparison`.
"""

from frontier.shared_shape.analysis import Analysis, CellShape, analysed
from frontier.shared_shape.cells import Cell
from frontier.shared_shape.crossings import crossing_of
from frontier.shared_shape.pair_curves import HITS, MIDDLE
from frontier.shared_shape.pairs import Pair, Side
from frontier.shared_shape.shared_shape import SharedShape

__all__ = [
    "HITS",
    "MIDDLE",
    "Analysis",
    "Cell",
    "CellShape",
    "Pair",
    "SharedShape",
    "Side",
    "analysed",
    "crossing_of",
]
