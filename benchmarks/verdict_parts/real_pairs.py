"""The comparison on real SAEs, where the file with them is present: half-widths, and interpolation inside.

126 SAEs of Pythia-160M, layer 8: seven architectures at six sparsities, three widths, two evaluation
protocols; not part of this repository (no licence stated). Only shares and medians are kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import frontier
from frontier.comparison import Comparison
from frontier.shared_shape import SharedShape

FILE = Path("../shared/data/real/pythia160m_layer8_two_protocols.csv")
PLACES = ("densest", "middle", "sparsest")


def comparison(file: Path = FILE) -> dict[str, float] | None:
    """Median half-width of log potency, and shares of interpolated values inside; None without the file."""
    if not file.is_file():
        return None
    found = frontier.compare(file, "topk", by=["protocol", "dictionary_size"])
    shapes = {tuple(s.group.values()): s for s in found.shapes}
    half, inside = [], {p: [] for p in PLACES}
    for c in found:
        at = dict(zip(PLACES, c.band.hits[[0, len(c.band.hits) // 2, -1]], strict=True))
        for place, hit in at.items():
            _, low, high = c.potency_at(float(hit))
            seen = observed(shapes[tuple(c.group.values())], c, float(hit))
            inside[place].append(np.log(low) <= seen <= np.log(high))
        half.append(np.log(c.potency.ratio_high / c.potency.ratio_low) / 2)
    shares = {f"interpolated inside, {p}": float(np.mean(v)) for p, v in inside.items()}
    verdicts = pd.Series([c.verdict for c in found]).value_counts().to_dict()
    return {"pairs": len(found), "median half-width": float(np.median(half)), **shares, **verdicts}


def observed(shape: SharedShape, c: Comparison, hit: float) -> float:
    """Log L0 of the reference over that of the family at a hit, by log-log interpolation of the points."""
    at = []
    for name in (c.reference, c.family):
        own = np.array(shape.names) == name
        order = np.argsort(shape.y[own])
        at.append(np.interp(np.log(hit), np.log(shape.y[own][order]), shape.z[own][order]))
    return float(at[0] - at[1])
