"""Cells in, shapes and pairs out: all groups of a table in a few batched calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from frontier.progress import Callback, reported
from frontier.shared_shape.cells import Batch, Cell, batches
from frontier.shared_shape.choosing import Models, choose
from frontier.shared_shape.models import Array, Layout, fit_shifts, placed_shifts
from frontier.shared_shape.pairs import Pair, Weighted, averaged, estimates
from frontier.shared_shape.scatter import Scatter, scatters, widenings


@dataclass(frozen=True)
class CellShape:
    """The shape chosen for a cell, all its families shifted onto it.

    Attributes
    ----------
    degree, deviation : int
        Of the common polynomial in log L0, and of a family's own deviation where curves are not parallel.
    constant : float
        Of the errors: the knee of two components, minus a floor, or 0 for log errors.
    middle, spread : float
        u = (log L0 + shift − middle) / spread.
    coefficients : (degree + 1,)
        Of the powers of u: log hit of the reference.
    shifts : (families,)
        Log relative potency of each family, 0 for the reference.
    scatter : Scatter
    """

    degree: int
    deviation: int
    constant: float
    middle: float
    spread: float
    coefficients: Array
    shifts: Array
    scatter: Scatter


@dataclass(frozen=True)
class Analysis:
    """One cell: its shape, and its families (the first is the reference) against the reference."""

    shape: CellShape
    pairs: tuple[Pair, ...]


def analysed(cells: Sequence[Cell], progress: bool | Callback = True) -> list[Analysis | None]:
    """Every cell analysed; None where its points carry no shape.

    Where a family errs far more than the others (`noise.LOUD`), these are analysed without it; a cell is
    reported as done when that is.
    """
    found: dict[int, Analysis] = {}
    kept: dict[int, tuple[int, ...]] = {}
    seen = 0
    with reported(progress, "comparing", len(cells)) as done:
        for batch in _by_batch(cells):
            found |= {i: whole for i, whole in batch.items() if whole}
            kept |= {i: families for i in batch if i in found and (families := _quiet(found[i]))}
            seen += len(batch)
            done(seen - len(kept))
        places, again = list(kept), seen - len(kept)
        for batch in _by_batch([cells[i].only(families) for i, families in kept.items()]):
            for j, quiet in batch.items():
                i = places[j]
                if quiet is not None:
                    found[i] = _beside(cells[i], found[i], quiet, kept[i])
            again += len(batch)
            done(again)
    return [found.get(i) for i in range(len(cells))]


def _quiet(whole: Analysis) -> tuple[int, ...]:
    """The families of a cell that are analysed again without the others."""
    return whole.shape.scatter.widened.quiet


def _by_batch(cells: Sequence[Cell]) -> Iterator[dict[int, Analysis | None]]:
    """The comparable cells, by their places, a batch at a time."""
    for batch in batches(cells):
        yield dict(zip(batch.rows, _batch(batch), strict=True))


def _beside(cell: Cell, whole: Analysis, quiet: Analysis, families: tuple[int, ...]) -> Analysis:
    """The quiet families' pairs and shape; of the loud ones what the whole cell says."""
    on = cell.points_of(families)
    pairs, shifts = list(whole.pairs), whole.shape.shifts.copy()
    for pair, shift, f in zip(quiet.pairs, quiet.shape.shifts[1:], families[1:], strict=True):
        left_out = np.full(len(cell.z), np.nan)
        left_out[on] = pair.left_out
        pairs[f - 1], shifts[f] = replace(pair, left_out=left_out), shift
    own, of_all = quiet.shape.scatter, whole.shape.scatter
    told = of_all.widened
    widened = replace(own.widened, p_unequal=told.p_unequal, spreads=told.spreads, loud=told.loud)
    scatter = replace(own, outlier=int(on[own.outlier]), widened=widened)
    if of_all.p_outlier < own.p_outlier:
        scatter = replace(scatter, outlier=of_all.outlier, p_outlier=of_all.p_outlier)
    return Analysis(replace(quiet.shape, shifts=shifts, scatter=scatter), tuple(pairs))


def _batch(batch: Batch) -> list[Analysis | None]:
    shifts = placed_shifts(batch.sizes, batch.levels, batch.z, batch.y)
    placed = batch.z + np.repeat(shifts, batch.sizes, axis=-1)
    models = choose(batch)
    families = range(1, len(batch.sizes))
    said: dict[int, list[Weighted]] = {f: [] for f in families}
    scatter: dict[int, Scatter] = {}
    for degree, deviation, errors, k, rows in models.kinds():
        layout = batch.layout(degree, deviation)
        z, y = batch.z[rows], batch.y[rows]
        cells = [batch.cells[i] for i in rows]
        places = z, placed[rows]
        widened = widenings(layout, places, y, errors, cells)
        best = np.flatnonzero(models.best[rows] == k)
        of_best = places[0][best], places[1][best]
        of_cells = [widened[i] for i in best], [cells[i] for i in best]
        own = scatters(layout, of_best, y[best], errors.take(best), *of_cells)
        scatter |= dict(zip(rows[best].tolist(), own, strict=True))
        inflation, df = np.array([(w.inflation, w.df) for w in widened]).T
        for f in families:
            for part in estimates(layout, f, z, y, errors, inflation, df, shifts[rows]):
                at, weight = part.rows, models.weight[k, rows]
                said[f].append(Weighted(rows[at], weight[at] * part.weight, part.estimates))
    if not scatter:
        return [None] * len(batch.cells)
    pairs = [averaged(said[f], batch, f) for f in families]
    shapes = _shapes(batch, models, pairs, scatter)
    return [
        Analysis(shapes[i], tuple(p[i] for p in pairs)) if i in shapes else None
        for i in range(len(batch.cells))
    ]


def _shapes(
    batch: Batch, models: Models, pairs: list[list[Pair]], scatter: dict[int, Scatter]
) -> dict[int, CellShape]:
    """The likeliest model of each cell with all families on one curve."""
    start = np.array([[p.shift for p in own] for own in pairs]).T / batch.spread
    found: dict[int, CellShape] = {}
    for degree, deviation, errors, k, rows in models.kinds():
        best = models.best[rows] == k
        if not best.any():
            continue
        rows, chosen = rows[best], errors.take(np.flatnonzero(best))
        layout = Layout(batch.sizes, batch.distinct, degree, deviation, 0, 1)
        t = chosen.scale(batch.y[rows])
        coefficients, shifts = fit_shifts(layout, batch.z[rows], t, chosen, start[rows])
        for j, i in enumerate(rows.tolist()):
            constant = float(models.constant[models.best[i], i])
            found[i] = CellShape(
                degree, deviation, constant, float(batch.middle[i, 0]), float(batch.spread[i, 0]),
                coefficients[j], np.concatenate([[0.0], shifts[j]]) * batch.spread[i, 0], scatter[i],
            )  # fmt: skip
    return found
