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
from frontier.distributions import t_quantile
from frontier.errors import LOG, TwoComponent
from frontier.shared_shape import Cell, SharedShape
from frontier.shared_shape.cells import batches
from frontier.shared_shape.choosing import choose
from frontier.shared_shape.models import Layout, fit_linear, of_log
from frontier.shared_shape.pair_curves import Curves

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


def left_out(file: Path = FILE) -> dict[str, float] | None:
    """Share of SAEs inside the 95 % prediction band of the shared shape fitted without them, by place."""
    if not file.is_file():
        return None
    found = frontier.compare(file, "topk", by=["protocol", "dictionary_size"])
    held: dict[str, list[bool]] = {"densest": [], "interior": [], "sparsest": []}
    for shape in found.shapes:
        families = list(dict.fromkeys(shape.names))
        sizes = [shape.names.count(f) for f in families]
        for i, name in enumerate(shape.names):
            of = np.flatnonzero(np.array(shape.names) == name)
            place = {int(of[0]): "sparsest", int(of[-1]): "densest"}.get(i, "interior")
            keep = np.arange(len(shape.z)) != i
            f = families.index(name)
            without = tuple(n - (g == f) for g, n in enumerate(sizes))
            low, high = predicted(Cell(shape.z[keep], shape.y[keep], without), f, shape.z[i])
            held[place].append(low <= shape.y[i] <= high)
    return {place: float(np.mean(v)) for place, v in held.items()}


def predicted(cell: Cell, f: int, z: float) -> tuple[float, float]:
    """95 % limits of the hit of a further SAE of family `f` at log L0 `z`, by the likeliest free model."""
    (batch,) = batches([cell])
    models = choose(batch)
    k = int(models.best[0])
    knee = models.knee[k]
    errors = TwoComponent(knee[:, None]) if knee[0] else LOG
    base = int(np.argmax(batch.distinct))
    moved = f if f != base else (0 if base else 1)
    chosen = int(models.degree[k, 0]), int(models.deviation[k, 0])
    layout = Layout(batch.sizes, batch.distinct, *chosen, base, moved)
    free = fit_linear(layout.columns(batch.z, moved=True), errors.scale(batch.y), errors)
    df = batch.z.shape[-1] - layout.n_free
    curves = Curves(layout, free, df, np.ones(1), 1.0)
    at = (np.array([[z]]) - batch.middle) / batch.spread
    mean, root = of_log(errors, curves.value(at, moved=f == moved))
    se = root * curves.error(curves.design(at, moved=f == moved))
    reach = t_quantile(df, 0.95) * np.sqrt(se**2 + free.rss[:, None] / df)
    low, high = (float(errors.unscale(mean + s * reach)[0, 0]) for s in (-1, 1))
    return low, high


def observed(shape: SharedShape, c: Comparison, hit: float) -> float:
    """Log L0 of the reference over that of the family at a hit, by log-log interpolation of the points."""
    at = []
    for name in (c.reference, c.family):
        own = np.array(shape.names) == name
        order = np.argsort(shape.y[own])
        at.append(np.interp(np.log(hit), np.log(shape.y[own][order]), shape.z[own][order]))
    return float(at[0] - at[1])
