"""What the residuals of a cell say: does the shape fit, do neighbours err alike, do seeds differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, stdtr

from frontier.curves import Array
from frontier.distributions import between_classes
from frontier.errors import Errors
from frontier.shared_shape.cells import Cell
from frontier.shared_shape.descent import EXACT, Fitted, either
from frontier.shared_shape.flips import added_column, added_columns, blocks, ranks_of
from frontier.shared_shape.models import Layout, fit_linear
from frontier.shared_shape.noise import UNEQUAL, bartlett, own_variances, unequal

POOLED = 0.25
"""Seeds are the unit where their scatter exceeds the residuals' at this level (Bancroft's rule)."""
HALF = 0.5
MOST_CORRELATED = 0.6
MANY_PAIRS = 4
"""Neighbours that a correlation needs."""
DRAWS, LEAST_DRAWS = 200, 40
MOST_DRAWN = 1 << 22
"""Numbers drawn for one cell; a cell of more than 20,000 points is held against fewer draws of them."""


@dataclass(frozen=True)
class Widened:
    """How many times the variance of a family's curve exceeds that of independent runs that all count.

    Attributes
    ----------
    by_seed : bool
        Whether settings were run with several seeds.
    seeds : float
        Where seeds are the unit: mean square between them over that of the residuals.
    settings : float
        The same of settings run with several seeds: what the shape misses does not shrink with seeds.
    selection : float
        Root of runs over those on the Pareto sets: what is left of a search scatters less than its runs did,
        and its residuals tell too little. By simulation: see "equal search" of `make verdicts`.
    df : float
        Degrees of freedom.
    p_unequal, spreads : float, tuple of float
        Of one variance for all families; residual SDs of each on the errors' scale.
    loud : tuple of int
        Families that err far more than the others.
    """

    by_seed: bool
    seeds: float
    selection: float
    df: float
    p_unequal: float = 1.0
    spreads: tuple[float, ...] = ()
    loud: tuple[int, ...] = ()
    settings: float = 1.0

    @property
    def inflation(self) -> float:
        """All together."""
        return (self.seeds + self.settings - 1) * self.selection

    @property
    def quiet(self) -> tuple[int, ...]:
        """Families compared without the loud ones; none without these, or where the reference is loud."""
        apart = bool(self.loud) and 0 not in self.loud
        return tuple(f for f in range(len(self.spreads)) if f not in self.loud) if apart else ()


@dataclass(frozen=True)
class Scatter:
    """The residuals of one cell under one model.

    Attributes
    ----------
    sigma, df : float
        Residual SD on the errors' scale, and its degrees of freedom.
    p_lack_of_fit : float
        F test of two further powers of log L0 in the common shape; NaN where there is no room for them.
    p_own_bend : float
        F test of a further power of log L0 for the reference alone; NaN where there is no room for it.
    autocorrelation, p_autocorrelation : float
        Of neighbours along a family.
    outlier, p_outlier : int, float
        The point that lies farthest from its family's curve, and the p value of so far a point (Bonferroni).
    widened : Widened
        What variances are multiplied by.
    """

    sigma: float
    df: float
    p_lack_of_fit: float
    p_own_bend: float
    autocorrelation: float
    p_autocorrelation: float
    outlier: int
    p_outlier: float
    widened: Widened


Places = tuple[Array, Array]
"""Log L0 as it is, and with each family where it lies on one shape; (cells, points) each."""


def widenings(layout: Layout, places: Places, y: Array, errors: Errors, cells: list[Cell]) -> list[Widened]:
    """What widens the variances of each cell of a batch under the free model, where that fits better."""
    df, free = y.shape[-1] - layout.n_free, _better(_fitted(layout, places, y, errors))
    out, (p, spreads, loud) = [], unequal(free, layout.family)
    for i, cell in enumerate(cells):
        seeds = None
        if cell.seeds is not None:
            seeds = between_seeds(cell, free.residuals[i], float(np.sqrt(free.rss[i] / df)), df)
        between, df_seeds = seeds or (1.0, float(df))
        settings, df_settings = between_settings(cell, free.residuals[i], df)
        own = float(p[i]), tuple(spreads[i].tolist()), tuple(np.flatnonzero(loud[i]).tolist())
        selection, least = float(np.sqrt(cell.runs_per_kept)), min(df_seeds, df_settings)
        out.append(Widened(seeds is not None, between, selection, least, *own, settings))
    return out


def _fitted(layout: Layout, places: Places, y: Array, errors: Errors) -> tuple[Fitted, Fitted]:
    t = errors.scale(y)
    as_it_is, on_one = (fit_linear(layout.columns(z, moved=True), t, errors, layout.own(z)) for z in places)
    return as_it_is, on_one


def _better(both: tuple[Fitted, Fitted]) -> Fitted:
    return either(both[1].rss < both[0].rss, both[1], both[0])


def scatters(
    layout: Layout, places: Places, y: Array, errors: Errors, widened: list[Widened], cells: list[Cell]
) -> list[Scatter]:
    """The scatter of each cell of a batch around the free model, where that fits better.

    Curves that are one but for their place leave no bend where each lies on the other, curves that cross none
    where they are: a bend is what both leave.
    """
    if not cells:
        return []
    both = _fitted(layout, places, y, errors)
    free, ranks = _better(both), ranks_of(places[0], y)
    df = y.shape[-1] - layout.n_free
    sigma = np.sqrt(free.rss / df)
    lack = np.fmax(*(_lack_of_fit(layout, z, fit, ranks, df) for z, fit in zip(places, both, strict=True)))
    own_bend = np.fmax(*(_own_bend(layout, z, fit, widened) for z, fit in zip(places, both, strict=True)))
    rho, p_rho = _autocorrelation(free, layout.sizes, ranks, np.stack([c.along for c in cells]))
    farthest, p_farthest = _outlier(free, layout.family)
    return [
        Scatter(
            float(sigma[i]), float(df), float(lack[i]), float(own_bend[i]), float(rho[i]),
            float(p_rho[i]), int(farthest[i]), float(p_farthest[i]), own,
        )
        for i, own in enumerate(widened)
    ]  # fmt: skip


def _lack_of_fit(layout: Layout, z: Array, free: Fitted, ranks: NDArray[np.intp], df: int) -> Array:
    """P values of two further powers in the common shape; NaN where there is no room."""
    room = min(2, df - 1)
    if room <= 0:
        return np.full(len(z), np.nan)
    further = np.stack([z ** (layout.degree + j) for j in range(1, room + 1)], -1)
    return added_columns(free, np.concatenate([free.jacobian, further], -1), ranks)[0]


def _own_bend(layout: Layout, z: Array, free: Fitted, widened: list[Widened]) -> Array:
    """P values of the next power after those in which families may differ, for the reference alone."""
    power = layout.deviation + 1
    if power < 2 or layout.distinct[0] <= power or z.shape[-1] - layout.n_free < 2:
        return np.full(len(z), np.nan)
    inflation, df = (np.array([getattr(w, name) for w in widened]) for name in ("inflation", "df"))
    return added_column(free, (layout.family == 0) * z**power, inflation, df, layout.family)


def _outlier(free: Fitted, family: NDArray[np.intp]) -> tuple[NDArray[np.intp], Array]:
    """The point of least likely externally studentised residual, and its p value times the number of points.

    Where families err unequally, each is held against those of its own family. Source: Cook & Weisberg
    (1982), section 2.2.2.
    """
    leverage = free.basis.leverage
    square = free.residuals**2 / np.maximum(1 - leverage, 1e-3)
    variance, left = own_variances(free.residuals, leverage, family)
    together = _least_likely(square, free.rss[:, None], free.df)
    own = _least_likely(square, (variance * left)[:, family], left[:, family])
    apart = bartlett(variance, left) < UNEQUAL
    return np.where(apart, own[0], together[0]), np.where(apart, own[1], together[1])


def _least_likely(square: Array, total: Array, df: Array | int) -> tuple[NDArray[np.intp], Array]:
    """The point whose square is the largest part of its total, by t with one degree of freedom less."""
    share, others = square / np.maximum(total, EXACT), np.maximum(np.subtract(df, 1.0), 1e-3)
    t = np.sqrt(share * others / np.maximum(1 - share, 1e-9))
    p = 2 * square.shape[-1] * stdtr(others, -t)
    return np.argmin(p, axis=-1), np.minimum(p.min(-1), 1.0)


def _autocorrelation(
    free: Fitted, sizes: tuple[int, ...], ranks: NDArray[np.intp], along: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Lag-1 correlation of the errors along the families (`Cell.along`), and the p value of none.

    Residuals of a fit are negatively correlated though the errors are not, so that the statistic is held
    against fits of independent normal errors, and its excess over what these have on average against that of
    errors with correlation 1/2 (E r'Ar / E r'r of residuals r = Me, A taking neighbours, M = 1 - QQ'). The
    data count among the draws, so that no p value is 0: Phipson & Smyth (2010).
    """
    cells, n = ranks.shape
    inner = np.setdiff1d(np.arange(n - 1), np.cumsum(sizes)[:-1] - 1)
    if len(inner) < MANY_PAIRS:
        return np.zeros(cells), np.ones(cells)
    ranks, residuals = np.take_along_axis(ranks, along, 1), np.take_along_axis(free.residuals, along, 1)
    q = np.take_along_axis(free.basis.whole, along[..., None], axis=1)
    null = _refitted(_normal_errors(n), ranks, q, inner)
    aq, cq = _beside(q, inner), _correlated(q, sizes)
    qaq, qcq = np.swapaxes(q, -1, -2) @ aq, np.swapaxes(q, -1, -2) @ cq
    expected = -np.trace(qaq, axis1=-2, axis2=-1) / free.df
    half = (HALF * len(inner) - 2 * (aq * cq).sum((-1, -2)) + np.trace(qaq @ qcq, axis1=-2, axis2=-1)) / (
        n - np.trace(qcq, axis1=-2, axis2=-1)
    )
    exact = (residuals**2).mean(-1) < EXACT
    observed = np.where(exact, -np.inf, _lagged(residuals, inner))
    rho = HALF * (observed - expected) / np.maximum(half - expected, 0.05)
    reached = (null >= observed[:, None]).sum(-1)
    return np.clip(rho, 0.0, MOST_CORRELATED), (1 + reached) / (1 + null.shape[-1])


def _lagged(residuals: Array, inner: NDArray[np.intp]) -> Array:
    """Sum of products of neighbours within families over the sum of squares."""
    square = (residuals**2).sum(-1)
    products = (residuals[..., inner] * residuals[..., inner + 1]).sum(-1)
    return np.asarray(products / np.where(square > 0, square, 1))


def _refitted(errors: Array, ranks: NDArray[np.intp], basis: Array, inner: NDArray[np.intp]) -> Array:
    """The same of the residuals that fits leave of errors, (cells, draws)."""
    found = np.empty((len(basis), len(errors)))
    for cells, some in blocks(len(basis), *errors.shape):
        own = basis[cells]
        drawn = np.swapaxes(errors[some][:, ranks[cells]], 0, 1)
        found[cells, some] = _lagged(drawn - (drawn @ own) @ np.swapaxes(own, -1, -2), inner)
    return found


def _beside(q: Array, inner: NDArray[np.intp]) -> Array:
    """Half the sum of each point's neighbours in its family: A times columns."""
    out = np.zeros_like(q)
    out[:, inner] += q[:, inner + 1] / 2
    out[:, inner + 1] += q[:, inner] / 2
    return out


def _correlated(q: Array, sizes: tuple[int, ...]) -> Array:
    """Covariance of errors with correlation 1/2 along each family, times columns."""
    onward, back = q.copy(), q.copy()
    for begin, end in pairwise(np.cumsum([0, *sizes]).tolist()):
        for i in range(begin + 1, end):
            onward[:, i] += HALF * onward[:, i - 1]
        for i in range(end - 2, begin - 1, -1):
            back[:, i] += HALF * back[:, i + 1]
    return onward + back - q


@lru_cache(maxsize=64)
def _normal_errors(points: int) -> Array:
    """Independent normal errors, (draws, points)."""
    draws = min(DRAWS, max(LEAST_DRAWS, MOST_DRAWN // points))
    return np.random.default_rng(points).standard_normal((draws, points))


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
        if len(np.unique(own)) > 1:
            squares, df_own = between_classes(residuals[family == f], own)
            total, free = total + squares, free + df_own
    if not free:
        return None
    ratio = total / free / sigma**2 if sigma > 0 else 1.0
    if fdtrc(free, df, ratio) > POOLED:
        return 1.0, float(df)
    return max(ratio, 1.0), float(free)


def between_settings(cell: Cell, residuals: Array, df: int) -> tuple[float, float]:
    """Mean square between settings run with several seeds over the residuals', and its degrees of freedom.

    What a shape misses is common to the seeds of a setting: it is the lack of fit of replicated designs.
    Where it exceeds what seeds scatter within settings (Bancroft's rule), curves err by it. Else (1, df).
    Source: Draper & Smith (1998), Applied Regression Analysis, section 2.1.
    """
    own = cell.own_setting
    if own is None:
        return 1.0, float(df)
    squares, less_one = between_classes(residuals, own)
    total, inside = float((residuals**2).sum()), len(residuals) - less_one - 1
    between = df - inside
    if between < 1 or inside < 1 or total <= EXACT * len(residuals):
        return 1.0, float(df)
    if fdtrc(between, inside, squares / between / max((total - squares) / inside, EXACT)) > POOLED:
        return 1.0, float(df)
    return max(squares / between / (total / df), 1.0), float(between)
