"""What the residuals of a cell say: does the shape fit, do neighbours err alike, do seeds differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtr

from frontier.errors import Errors
from frontier.shared_shape.cells import Cell
from frontier.shared_shape.flips import added_columns, blocks, ranks_of
from frontier.shared_shape.models import EXACT, Array, Fitted, Layout, fit_linear

POOLED = 0.25
"""Seeds are the unit where their scatter exceeds the residuals' at this level (Bancroft's rule)."""
HALF = 0.5
MOST_CORRELATED = 0.6
DRAWS, LEAST_DRAWS = 200, 40
MOST_DRAWN = 1 << 22
"""Numbers drawn for one cell; a cell of more than 20,000 points is held against fewer draws of them."""


@dataclass(frozen=True)
class Scatter:
    """The residuals of one cell under one model.

    Attributes
    ----------
    sigma, df : float
        Residual SD on the errors' scale, and its degrees of freedom.
    p_lack_of_fit : float
        F test of two further powers of log L0 in the common shape; NaN where there is no room for them.
    autocorrelation, p_autocorrelation : float
        Of neighbours along a family.
    outlier, p_outlier : int, float
        The point that lies farthest from its family's curve, and the p value of so far a point (Bonferroni).
    by_seed : bool
        Whether settings were run with several seeds.
    inflation, df_inflated : float
        How many times the variance of a family's mean exceeds that of independent runs, seeds being the
        unit, and its degrees of freedom.
    """

    sigma: float
    df: float
    p_lack_of_fit: float
    autocorrelation: float
    p_autocorrelation: float
    outlier: int
    p_outlier: float
    by_seed: bool
    inflation: float
    df_inflated: float


def inflations(layout: Layout, z: Array, y: Array, errors: Errors, cells: list[Cell]) -> tuple[Array, Array]:
    """How many times variances exceed those of independent runs, and their degrees of freedom, (cells,)."""
    df = z.shape[-1] - layout.n_free
    inflation, df_inflated = np.ones(len(cells)), np.full(len(cells), float(df))
    if all(c.seeds is None for c in cells):
        return inflation, df_inflated
    free = fit_linear(layout.columns(z, moved=True), errors.scale(y), errors)
    for i, cell in enumerate(cells):
        sigma = float(np.sqrt(free.rss[i] / df))
        seeds = None if cell.seeds is None else between_seeds(cell, free.residuals[i], sigma, df)
        inflation[i], df_inflated[i] = seeds or (1.0, float(df))
    return inflation, df_inflated


def scatters(layout: Layout, z: Array, y: Array, errors: Errors, cells: list[Cell]) -> list[Scatter]:
    """The scatter of each cell of a batch around the free model."""
    columns = layout.columns(z, moved=True)
    free = fit_linear(columns, errors.scale(y), errors)
    df = z.shape[-1] - columns.shape[-1]
    sigma = np.sqrt(free.rss / df)
    room = min(2, df - 1)
    lack = np.full(len(z), np.nan)
    if room > 0:
        further = np.stack([z ** (layout.degree + j) for j in range(1, room + 1)], -1)
        lack, _ = added_columns(free, np.concatenate([free.jacobian, further], -1), ranks_of(z, y))
    rho, p_rho = _autocorrelation(free, layout.sizes)
    farthest, p_farthest = _outlier(free, df)
    out = []
    for i, cell in enumerate(cells):
        seeds = None if cell.seeds is None else between_seeds(cell, free.residuals[i], float(sigma[i]), df)
        inflation, df_inflated = seeds or (1.0, float(df))
        out.append(
            Scatter(
                float(sigma[i]), float(df), float(lack[i]), float(rho[i]), float(p_rho[i]), int(farthest[i]),
                float(p_farthest[i]), seeds is not None, inflation, df_inflated,
            )
        )  # fmt: skip
    return out


def _outlier(free: Fitted, df: int) -> tuple[NDArray[np.intp], Array]:
    """The point of largest externally studentised residual, and its p value times the number of points.

    Source: Cook & Weisberg (1982), section 2.2.2.
    """
    basis = np.linalg.qr(free.jacobian * free.root_weights[..., None])[0]
    room = np.maximum(1 - (basis**2).sum(-1), 1e-3)
    share = free.residuals**2 / room / np.maximum(free.rss, EXACT)[:, None]
    t = np.sqrt(share * (df - 1) / np.maximum(1 - share, 1e-9)) if df > 1 else np.zeros_like(share)
    farthest = np.argmax(t, axis=-1)
    largest = np.take_along_axis(t, farthest[:, None], -1)[:, 0]
    return farthest, np.minimum(2 * t.shape[-1] * stdtr(max(df - 1, 1), -largest), 1.0)


def _autocorrelation(free: Fitted, sizes: tuple[int, ...]) -> tuple[Array, Array]:
    """Lag-1 correlation of the errors along the families, and the p value of none.

    Residuals of a fit are negatively correlated though the errors are not, so that the statistic is held
    against fits of independent normal errors, and its excess against fits of errors with correlation 1/2.
    """
    columns = free.jacobian * free.root_weights[..., None]
    n = columns.shape[1]
    inner = np.setdiff1d(np.arange(n - 1), np.cumsum(sizes)[:-1] - 1)
    if len(inner) < MANY_PAIRS:
        return np.zeros(len(columns)), np.ones(len(columns))
    basis = np.linalg.qr(columns)[0]

    def lagged(residuals: Array) -> Array:
        square = (residuals**2).sum(-1)
        return (residuals[..., inner] * residuals[..., inner + 1]).sum(-1) / np.where(square > 0, square, 1)

    def fitted(errors: Array) -> Array:
        found = np.empty((len(basis), len(errors)))
        for cells, some in blocks(len(basis), *errors.shape):
            own = basis[cells]
            found[cells, some] = lagged(errors[some] - (errors[some] @ own) @ np.swapaxes(own, -1, -2))
        return found

    independent, correlated = _normal_errors(sizes)
    null, observed = fitted(independent), lagged(free.residuals)
    p = (null >= observed[:, None]).mean(-1)
    gain = np.maximum(fitted(correlated).mean(-1) - null.mean(-1), 0.05) / HALF
    return np.clip((observed - null.mean(-1)) / gain, 0.0, MOST_CORRELATED), p


MANY_PAIRS = 4
"""Neighbours that a correlation needs."""


@lru_cache(maxsize=64)
def _normal_errors(sizes: tuple[int, ...]) -> tuple[Array, Array]:
    """Normal errors, independent and with correlation 1/2 along each family, (draws, points)."""
    n = sum(sizes)
    draws = min(DRAWS, max(LEAST_DRAWS, MOST_DRAWN // n))
    independent = np.random.default_rng(n).standard_normal((draws, n))
    correlated, firsts = independent.copy(), {0, *np.cumsum(sizes).tolist()}
    for i in range(n):
        if i not in firsts:
            correlated[:, i] = HALF * correlated[:, i - 1] + np.sqrt(1 - HALF**2) * independent[:, i]
    return independent, correlated


def between_seeds(cell: Cell, residuals: Array, sigma: float, df: int) -> tuple[float, float] | None:
    """Mean square between the seeds of one family over the residuals', and its degrees of freedom.

    The split-plot rule: families are tested against what differs between their seeds. None where no family
    has several seeds; (1, df) where seeds differ no more than runs do.
    """
    assert cell.seeds is not None
    family = np.repeat(np.arange(len(cell.sizes)), cell.sizes)
    total, free = 0.0, 0
    for f in range(len(cell.sizes)):
        own = cell.seeds[family == f]
        seeds = np.unique(own)
        if len(seeds) < 2:
            continue
        parts = [residuals[family == f][own == s] for s in seeds]
        total += sum(len(part) * float(part.mean()) ** 2 for part in parts)
        free += len(seeds) - 1
    if not free:
        return None
    ratio = total / free / sigma**2 if sigma > 0 else 1.0
    if fdtrc(free, df, ratio) > POOLED:
        return 1.0, float(df)
    return max(ratio, 1.0), float(free)
