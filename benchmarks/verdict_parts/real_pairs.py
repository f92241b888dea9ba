"""The comparison on real SAEs, where the file with them is present: half-widths, and interpolation inside.

126 SAEs of Pythia-160M, layer 8: seven architectures at six sparsities, three widths, two evaluation
protocols; not part of this repository (no licence stated). Only shares and medians are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.api import OLS

import frontier
from frontier.comparison import Comparison
from frontier.distributions import t_quantile
from frontier.shared_shape import Cell, SharedShape
from frontier.shared_shape.cells import batches
from frontier.shared_shape.choosing import choose
from frontier.shared_shape.descent import of_log
from frontier.shared_shape.excess import errors_of
from frontier.shared_shape.models import Layout, fit_linear
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


BANDS = {"the chosen shape": 0, "a shape of one degree more": 1}
"""Bands that predict an SAE left out, with the degrees that they add."""
OWN = "a cubic through its family alone"


def left_out(file: Path = FILE) -> pd.DataFrame | None:
    """Share of SAEs inside the 95 % prediction band that is fitted without them, by band and place.

    The half-width is that of the log hit; `of one family` is the share of the architecture that is missed
    most often in all that are missed.
    """
    if not file.is_file():
        return None
    found = frontier.compare(file, "topk", by=["protocol", "dictionary_size"])
    rows = [
        (band, place, shape.names[i], *predict(shape, i))
        for shape in found.shapes
        for i, place in enumerate(_places(shape.names))
        for band, predict in _bands()
    ]
    frame = pd.DataFrame(rows, columns=["band", "place", "family", "low", "high", "hit"])
    frame["held"] = (frame["low"] <= frame["hit"]) & (frame["hit"] <= frame["high"])
    frame["half"] = np.log(frame["high"] / frame["low"].where(frame["low"] > 0)) / 2
    each = frame.groupby(["band", "place"], sort=False)
    missed = frame[~frame["held"]].groupby(["band", "place"])["family"]
    found = pd.DataFrame(
        {"SAEs": each.size(), "held": each["held"].mean(), "half-width": each["half"].median()}
    )
    found["of one family"] = missed.agg(lambda f: f.value_counts(normalize=True).max())
    found["that family"] = missed.agg(lambda f: f.value_counts().index[0])
    return found.reset_index()


def _places(names: tuple[str, ...]) -> list[str]:
    """Where each SAE stands in its family, ordered by rising L0."""
    first = {n: names.index(n) for n in names}
    last = {n: len(names) - 1 - names[::-1].index(n) for n in names}
    return [
        "sparsest" if i == first[n] else "densest" if i == last[n] else "interior"
        for i, n in enumerate(names)
    ]


def _bands() -> Iterator[tuple[str, Callable[[SharedShape, int], tuple[float, float, float]]]]:
    for name, more in BANDS.items():
        yield name, partial(_shared_band, more=more)
    yield OWN, _own_band


def _shared_band(shape: SharedShape, i: int, more: int) -> tuple[float, float, float]:
    families = list(dict.fromkeys(shape.names))
    f = families.index(shape.names[i])
    without = tuple(shape.names.count(g) - (g == shape.names[i]) for g in families)
    keep = np.arange(len(shape.z)) != i
    cell = Cell(shape.z[keep], shape.y[keep], without)
    return (*predicted(cell, f, float(shape.z[i]), more), float(shape.y[i]))


def _own_band(shape: SharedShape, i: int) -> tuple[float, float, float]:
    """Least squares in log L0 and log hit, from the other SAEs of the family alone."""
    own = (np.array(shape.names) == shape.names[i]) & (np.arange(len(shape.z)) != i)
    middle = shape.z[own].mean()
    found = OLS(np.log(shape.y[own]), np.vander(shape.z[own] - middle, 4)).fit()
    at = found.get_prediction(np.vander([shape.z[i] - middle], 4)).summary_frame(alpha=0.05)
    low, high = np.exp(at[["obs_ci_lower", "obs_ci_upper"]].to_numpy()[0])
    return float(low), float(high), float(shape.y[i])


def predicted(cell: Cell, f: int, z: float, more: int = 0) -> tuple[float, float]:
    """95 % limits of the hit of a further SAE of family `f` at log L0 `z`, by the likeliest free model.

    `more` is added to the degree of its shape.
    """
    (batch,) = batches([cell])
    models = choose(batch)
    k = int(models.best[0])
    errors = errors_of(models.constant[k][:, None])
    base = int(np.argmax(batch.distinct))
    moved = f if f != base else (0 if base else 1)
    chosen = int(models.degree[k, 0]) + more, int(models.deviation[k, 0])
    layout = Layout(batch.sizes, batch.distinct, *chosen, base, moved)
    columns, t = layout.columns(batch.z, moved=True), errors.scale(batch.y)
    free = fit_linear(columns, t, errors, layout.own(batch.z))
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
