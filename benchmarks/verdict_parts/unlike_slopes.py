"""Curves that no shift places on each other: what is said of their ratios, which depend on the hit.

Two Hill curves of unlike n differ in slope and in bend. Limits that count a slope alone once held the potency
of such curves in 64 to 89 % of tables, though parallel ones were held in 95.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmarks.verdict_parts.simulated import NOISES, SEED, compared
from benchmarks.verdict_parts.truths import TRUTHS, Array, Curve, Study, hill
from frontier.comparison import Comparison

PAIRS: dict[str, tuple[Curve, Curve]] = {
    "Hill, n 1.1 and 1.43": (lambda l0: hill(l0, 0.05, 1.1), lambda l0: hill(l0, 0.04, 1.43)),
    "Hill, n 1.5 and 1.25": (lambda l0: hill(l0, 0.05, 1.5), lambda l0: hill(l0, 0.04, 1.25)),
    "power, 1.1 and 1.43": (lambda l0: 0.3 * (20 / l0) ** 1.1, lambda l0: 0.3 * (20 / l0) ** 1.43),
    "offset, 1.1 and 1.4": (
        lambda l0: 0.5 * (20 / l0 - 20 / 600) ** 1.1, lambda l0: 0.45 * (20 / l0 - 20 / 600) ** 1.4,
    ),
    "offset, L* 600 and 450": (
        lambda l0: 0.5 * (20 / l0 - 20 / 600) ** 1.1, lambda l0: 0.45 * (20 / l0 - 20 / 450) ** 1.1,
    ),
    "Hill, parallel": (TRUTHS["Hill"], lambda l0: TRUTHS["Hill"](1.3 * l0)),
    "offset, parallel": (
        lambda l0: 0.5 * (20 / l0 - 20 / 600) ** 1.1, lambda l0: 0.5 * (15.385 / l0 - 20 / 600) ** 1.1,
    ),
}  # fmt: skip
"""A reference and another family. The parallel ones, 1.3 times apart, are beside them for their bands."""
DESIGNS = ((5, "5%"), (8, "5%"), (8, "2%"), (16, "5%"))
"""SAEs of each family, on L0 from 15 to 300, and noise."""
PLACES = np.geomspace(5, 2000, 20001)


def unlike_slopes(tables: int = 500) -> pd.DataFrame:
    """Share of tables whose limits hold the truth: of the potency, its band at all hits, the hit ratio."""
    rows = []
    for i, (truth, curves) in enumerate(PAIRS.items()):
        for j, (saes, noise) in enumerate(DESIGNS):
            study = Study(curves, [(saes, 15, 300)] * 2, NOISES[noise])
            found = compared(study.tables(np.random.default_rng([SEED, 12, i, j]), tables))
            held = np.mean([list(_held(c, *curves)) for c in found], axis=0)
            width = np.median([math.log(c.potency.ratio_high / c.potency.ratio_low) / 2 for c in found])
            rows.append((truth, f"{saes}/{saes}", noise, *held.tolist(), float(width)))
    columns = ["truth", "design", "noise", "coverage", "band", "hit ratio", "half-width"]
    return pd.DataFrame(rows, columns=columns)


def _held(c: Comparison, reference: Curve, family: Curve) -> Iterator[bool]:
    potency = _l0(reference, c.potency.at) / _l0(family, c.potency.at)
    yield c.potency.ratio_low <= potency <= c.potency.ratio_high
    everywhere = _l0(reference, c.band.hits) / _l0(family, c.band.hits)
    yield bool(((c.band.low <= everywhere) & (everywhere <= c.band.high)).all())
    ratio = family(np.array(c.hits.at)) / reference(np.array(c.hits.at))
    yield bool(c.hits.ratio_low <= ratio <= c.hits.ratio_high)


def _l0(curve: Curve, hit: Array | float) -> Array:
    """The L0 at which a curve has a hit, by interpolation on a fine grid."""
    with np.errstate(invalid="ignore"):
        hits = curve(PLACES)
    falls = hits > 0
    return np.exp(np.interp(-np.log(hit), -np.log(hits[falls]), np.log(PLACES[falls])))
