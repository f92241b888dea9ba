"""Tables larger than two families of one seed: many families, a loud one, several seeds of few settings.

Verdicts were once wrong in ways that five families of one seed cannot show: a loud family hid all others,
Holm's level among 30 hid families of three SAEs, seeds of few settings counted as places of the curve, and
families of few SAEs decided, all together, which errors they have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.verdict_parts.simulated import SEED, any_false_share, compared, coverage, rates
from benchmarks.verdict_parts.truths import NAMES, TRUTHS, Noise, Study, frame, needing_fewer, side_by_side

BETTER, FEW_BETTER, LOUD_BETTER = 1.2, 1.5, 1.9
"""Potencies, where there is a difference, of the second family (of few SAEs) and of a loud one."""
Drawn = Callable[[str, Sequence[float], np.random.Generator, int], pd.DataFrame]
"""Tables from a truth, the potency of each family, a generator, and how many."""


@dataclass(frozen=True)
class Larger:
    """One cell: its families, how its tables are drawn, whether the last family is loud.

    `parts` divide the number of tables, of equal families and of different ones.
    """

    families: int
    draw: Drawn
    truths: tuple[str, ...] = ("Hill", "power")
    loud: bool = False
    parts: tuple[int, int] = (2, 2)
    better: float = BETTER


def one_seed(saes: int, noises: Sequence[float]) -> Drawn:
    """Families of one seed, each with its own noise."""

    def drawn(truth: str, potencies: Sequence[float], rng: np.random.Generator, count: int) -> pd.DataFrame:
        studies = [
            Study([needing_fewer(TRUTHS[truth], p)], [(saes, 20, 300)], Noise(sd))
            for p, sd in zip(potencies, noises, strict=True)
        ]
        return side_by_side(studies, rng, count)

    return drawn


def several_seeds(settings: int, seeds: int, sd: float) -> Drawn:
    """Settings of several seeds; L0 and hit of each run scatter by `sd` about those of its setting.

    Each family's settings are at L0s 15 % above those of the one before.
    """

    def drawn(truth: str, potencies: Sequence[float], rng: np.random.Generator, count: int) -> pd.DataFrame:
        parts = []
        for f, potency in enumerate(potencies):
            middle = np.repeat(np.geomspace(20, 200, settings) * 1.15**f, seeds)
            l0 = middle * np.exp(sd * rng.standard_normal((count, settings * seeds)))
            hit = needing_fewer(TRUTHS[truth], potency)(middle) * np.exp(sd * rng.standard_normal(l0.shape))
            part = frame(NAMES[f], l0, hit)
            part["sparsity_setting"] = np.tile(np.repeat(np.arange(settings), seeds) + 1.0, count)
            parts.append(part.assign(seed=np.tile(np.arange(seeds), settings * count)))
        return pd.concat(parts, ignore_index=True)

    return drawn


CELLS = {
    "30 × 8, 5% noise": Larger(30, one_seed(8, [0.05] * 30), ("Hill",), parts=(4, 10)),
    "20 × 8, 5% noise, one 40%": Larger(
        20, one_seed(8, [0.05] * 19 + [0.4]), ("Hill",), loud=True, parts=(4, 10)
    ),
    "3 × 5, 2% noise, one 20%": Larger(3, one_seed(5, [0.02, 0.02, 0.2]), loud=True),
    "3 × 4 settings × 8 seeds, 2%": Larger(3, several_seeds(4, 8, 0.02)),
    "8 × 3, 2% noise": Larger(8, one_seed(3, [0.02] * 8), parts=(4, 4), better=FEW_BETTER),
}
"""Families and their SAEs. Tables of twenty and thirty families take 0.2 seconds each: they are fewer."""


def equal(tables: int = 2000) -> pd.DataFrame:
    """No difference: tables with any false verdict; coverage, of all families and of the last (the loud)."""
    rows = []
    for i, (design, cell) in enumerate(CELLS.items()):
        for j, truth in enumerate(cell.truths):
            count = max(tables // cell.parts[0], 1)
            rng = np.random.default_rng([SEED, 10, i, j])
            found = compared(cell.draw(truth, [1.0] * cell.families, rng, count))
            last = [c for c in found if c.family == NAMES[cell.families - 1]]
            rows.append((design, truth, count, any_false_share(found), coverage(found), coverage(last)))
    columns = ["design", "truth", "tables", "any false verdict", "coverage", "coverage of the last"]
    return pd.DataFrame(rows, columns=columns)


def different(tables: int = 2000) -> pd.DataFrame:
    """The second family needs `better` times fewer latents, a loud one `LOUD_BETTER`: what is said."""
    rows = []
    for i, (design, cell) in enumerate(CELLS.items()):
        potencies = [1.0, cell.better, *[1.0] * (cell.families - 3), LOUD_BETTER if cell.loud else 1.0]
        for j, truth in enumerate(cell.truths):
            count = max(tables // cell.parts[1], 1)
            found = compared(cell.draw(truth, potencies, np.random.default_rng([SEED, 11, i, j]), count))
            for f in np.flatnonzero(np.array(potencies) > 1):
                of, potency = [c for c in found if c.family == NAMES[f]], potencies[f]
                said = rates(of)
                row = (count, said["better"], said["worse"], coverage(of, potency))
                rows.append((design, truth, f"{potency:g}", *row))
    columns = ["design", "truth", "potency", "tables", "better", "worse", "coverage"]
    return pd.DataFrame(rows, columns=columns)
