"""One family against the reference inside a cell: every number that a verdict rests on.

The gate (one common curve against the family's own deviation), parallelism inside the shape (own slope and
curvature beside a shift), the shift, and the difference over the common range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from frontier.curves import Array
from frontier.errors import Errors
from frontier.shared_shape.cells import Batch
from frontier.shared_shape.descent import Fitted
from frontier.shared_shape.flips import added_columns, ranks_of
from frontier.shared_shape.models import Layout, fit_linear, fit_shift, powers
from frontier.shared_shape.noise import combined
from frontier.shared_shape.own_columns import Coefficients
from frontier.shared_shape.pair_curves import GRID, Curves, around_shift, common_range
from frontier.sign_changes import sign_changes

BENT, STRAIGHT = 0.05, 0.25
"""P values of parallel curves: below the first a family has a bend of its own too, where its points carry
one, above the second none; between, both are averaged, the bent one with a weight that falls from 1 to 0.

Curves that differ in slope differ in bend, as two Hill curves of unlike n do. With a slope alone limits held
their potency in 64 to 89 % of simulated tables (`make verdicts`, unlike slopes).
"""
BENDS = 3
"""Coefficients of a family with its own height, slope and bend."""
ROUNDING = float(np.finfo(float).eps)
"""Of a log hit: no difference is surer, also where points lie on their curves without any error."""


@dataclass(frozen=True)
class Side:
    """Where in the common range of L0 one family's hit is surest below the other's.

    t statistic (0 where it is nowhere below) and standard error of the difference of log hits there.
    """

    t: float
    se: float


@dataclass(frozen=True)
class Pair:
    """One family against the reference.

    Attributes
    ----------
    p_gate, p_parallel : float
        Of one common curve, and of parallel curves (NaN where the points carry no slope of their own).
    shift, shift_se, shift_df : float
        Logarithm of the relative potency L0(reference) / L0(family) of the parallel model.
    slope : float
        Mean d log hit / d log L0 of both curves.
    hits, potency, potency_se, robust_se : (HITS,)
        Log relative potency of the free model, at hits of the range that both cover; NaN without one.
        Standard errors under the errors model, and those that need none where they are larger.
    left_out : (points,)
        That at the middle hit, with each point of the cell left out.
    df : float
    lower, higher : Side
        Where the family's curve is surest below, and above, the reference's.
    hit_ratio, hit_ratio_se, hit_ratio_l0 : float
        Log hit(family) / hit(reference) at the middle L0 of the range that both cover; NaN without one.
    own : float
        Coefficients in which the two curves may differ, the mean over models.
    starts_lower : bool
        Whether the family's curve is the lower one at the least L0 that both cover.
    falls : bool
        Whether both curves fall with L0.
    """

    p_gate: float
    p_parallel: float
    shift: float
    shift_se: float
    shift_df: float
    slope: float
    hits: Array
    potency: Array
    potency_se: Array
    robust_se: Array
    left_out: Array
    df: float
    lower: Side
    higher: Side
    hit_ratio: float
    hit_ratio_se: float
    hit_ratio_l0: float
    own: float
    starts_lower: bool
    falls: bool


@dataclass(frozen=True)
class Estimates:
    """What one kind of model says of one pair in some cells, arrays (cells, ...) on the scaled log L0."""

    gate: Array
    parallel: Array
    shift: Array
    shift_se: Array
    shift_df: Array
    df: Array
    slope: Array
    falls: Array
    hits: Array
    potency: Array
    potency_se: Array
    robust_se: Array
    left_out: Array
    gap: Array
    gap_se: Array
    middle_gap: Array
    middle_gap_se: Array
    own: Array


@dataclass(frozen=True)
class Weighted:
    """Estimates with the cells they are for, and their weights among the models of each cell."""

    rows: NDArray[np.intp]
    weight: Array
    estimates: Estimates


def estimates(
    layout: Layout, f: int, z: Array, y: Array, errors: Errors, inflation: Array, df_inflated: Array,
    shifts: Array,
) -> list[Weighted]:  # fmt: skip
    """Family `f` against family 0 under one kind of model; the one with more points is the base.

    Without and with a bend of the family's own, each with its weight in the cells that it is for.

    The other families stand where they lie on the base's curve, by `shifts` (cells, families).
    """
    base, moved = (0, f) if layout.distinct[0] >= layout.distinct[f] else (f, 0)
    sign = 1.0 if moved == f else -1.0
    layout = replace(layout, base=base, moved=moved)
    by = np.repeat(shifts - shifts[:, base, None], layout.sizes, axis=-1)
    ranks, z = ranks_of(z, y), np.where(layout.family == moved, z, z + by)
    t, own, columns = errors.scale(y), layout.own(z), layout.columns(z, moved=True)
    common = fit_linear(layout.columns(z, moved=False), t, errors, own)
    wide, pair = (inflation, df_inflated, layout.family), layout.sizes[base] + layout.sizes[moved]
    gate, _ = added_columns(common, columns, ranks, *wide, pair=pair)
    shift = fit_shift(layout, z, t, errors)
    parallel = np.full(len(z), np.nan)
    if layout.tested > 1:
        parallel, _ = added_columns(shift, _with_own_powers(layout, shift, z), ranks, *wide, pair=pair)
    last = np.zeros((len(z), 1, shift.theta.shape[-1]))
    last[..., -1] = 1.0
    variance, shift_freedom = combined(shift, last, layout.family, shift.df)
    shift_se = np.sqrt(variance[:, 0] * inflation)
    shift_df = np.minimum(df_inflated, shift_freedom[:, 0])
    of_shift = gate, parallel, sign * shift.theta[:, -1], shift_se, shift_df
    found = []
    for bent, share in _bends(layout, parallel):
        rows = np.flatnonzero(share)
        begin = Coefficients(shift.theta[rows], shift.own_theta[rows])
        read = _read(bent, z[rows], y[rows], errors.take(rows), begin, inflation[rows], sign)
        read["df"] = np.minimum(df_inflated[rows], read["df"])
        found.append(Weighted(rows, share[rows], Estimates(*(v[rows] for v in of_shift), **read)))
    return found


def _bends(layout: Layout, parallel: Array) -> list[tuple[Layout, Array]]:
    """The layout without and with a bend of the family's own, and the weight of each by cell.

    No bend where points carry no slope of their own: p is NaN.
    """
    bent = replace(layout, bend=max(0, BENDS - layout.tested))
    if bent.tested == layout.tested or not bent.leaves_df:
        return [(layout, np.ones(len(parallel)))]
    share = np.where(parallel < STRAIGHT, np.minimum((STRAIGHT - parallel) / (STRAIGHT - BENT), 1.0), 0.0)
    return [(own, of) for own, of in ((layout, 1 - share), (bent, share)) if of.any()]


def _read(
    layout: Layout, z: Array, y: Array, errors: Errors, shift: Coefficients, inflation: Array, sign: float
) -> dict[str, Array]:
    """What both curves say under the free model, by the names of `Estimates`."""
    t = errors.scale(y)
    free = fit_linear(layout.columns(z, moved=True), t, errors, layout.own(z))
    placed, place = around_shift(layout, z, t, errors, free, shift)
    curves = Curves(layout, placed, free.df, inflation, sign, place)
    hits, potency, potency_se, robust_se, left_out, freedom = curves.potencies(z, y)
    gap, gap_se, beside = curves.differences(z)
    return {
        "df": np.where(np.isfinite(freedom), freedom, beside), "slope": curves.slope(z),
        "falls": curves.falls(z).astype(float), "hits": hits, "potency": potency, "potency_se": potency_se,
        "robust_se": robust_se, "left_out": left_out, "gap": gap, "gap_se": gap_se,
        "middle_gap": gap[:, GRID // 2], "middle_gap_se": curves.middle_error(z),
        "own": np.full(len(z), float(layout.tested)),
    }  # fmt: skip


def averaged(models: list[Weighted], batch: Batch, f: int) -> list[Pair]:
    """Each cell's pair, averaged over its models; what they disagree about widens the standard errors."""
    v = {x.name: _mean(models, x.name, len(batch.z)) for x in fields(Estimates) if not x.name.endswith("_se")}
    se = {
        name: _error(models, name, f"{name}_se", v[name])
        for name in ("shift", "potency", "gap", "middle_gap")
    }
    robust = _error(models, "potency", "robust_se", v["potency"])
    if batch.floored:  # which errors hold is less sure than where y falls to 0
        se["potency"] = np.fmax(se["potency"], robust)
    at, apart = common_range(Layout(batch.sizes, batch.distinct, 1, 0, 0, f), batch.z)
    l0 = np.exp(np.clip(at * batch.spread + batch.middle, -700, 700))
    out = []
    for i, unit in enumerate(batch.spread[:, 0]):
        gap, gap_se, middle = v["gap"][i], se["gap"][i], GRID // 2
        t = t_of(gap, gap_se)
        lower, higher = int(np.argmin(t)), int(np.argmax(t))
        nan = np.nan if apart[i, 0] else 1.0
        out.append(
            Pair(
                float(v["gate"][i]), float(v["parallel"][i]), float(v["shift"][i] * unit),
                float(se["shift"][i] * unit), float(v["shift_df"][i]), float(v["slope"][i] / unit),
                v["hits"][i], v["potency"][i] * unit, se["potency"][i] * unit, robust[i] * unit,
                v["left_out"][i] * unit, float(v["df"][i]),
                Side(max(-float(t[lower]), 0.0), float(gap_se[lower])),
                Side(max(float(t[higher]), 0.0), float(gap_se[higher])), float(nan * gap[middle]),
                float(nan * se["middle_gap"][i]), float(nan * l0[i, middle]),
                float(v["own"][i]), bool(gap[0] < 0), bool(v["falls"][i] > 0.5),
            )
        )  # fmt: skip
    return out


def t_of(gap: Array, se: Array) -> Array:
    """T statistics of differences; 0 where there is no standard error.

    >>> import numpy as np
    >>> t_of(np.array([-0.3, 0.3, 0.0, 1.0]), np.array([0.1, 0.0, 0.0, np.nan])) > 1e12
    array([False,  True, False, False])
    """
    return np.where(se >= 0, gap / np.maximum(se, ROUNDING), 0.0)


def crossing(l0: Array, gap: Array, t: Array, reach: float) -> tuple[float, float, float] | None:
    """Where a difference changes sign (at the largest L0), and the ends of the run there with |t| < reach.

    >>> import numpy as np
    >>> l0, gap = np.array([10.0, 20, 40, 80]), np.array([-2.0, -1, 1, 3])
    >>> crossing(l0, gap, gap / 0.9, 2.0)
    (28.284..., 10.0, 80.0)
    """
    turns = sign_changes(np.log(l0), gap)
    if not turns:
        return None
    before, after, root = turns[-1]
    far = np.flatnonzero(np.abs(t) > reach)
    below, above = far[far <= before], far[far >= after]
    low = float(l0[below[-1]]) if len(below) else 0.0
    return math.exp(root), low, float(l0[above[0]]) if len(above) else np.inf


def _mean(models: list[Weighted], name: str, cells: int) -> Array:
    values = [getattr(m.estimates, name) for m in models]
    total = np.zeros((cells, *values[0].shape[1:]))
    for m, value in zip(models, values, strict=True):
        np.add.at(total, m.rows, _along(m.weight, value) * value)
    return total


def _error(models: list[Weighted], name: str, se_name: str, centre: Array) -> Array:
    """Root of the mean variance within models and of the variance between them."""
    total = np.zeros_like(centre)
    for m in models:
        value, se = getattr(m.estimates, name), getattr(m.estimates, se_name)
        np.add.at(total, m.rows, _along(m.weight, value) * (se**2 + (value - centre[m.rows]) ** 2))
    return np.sqrt(total)


def _along(weight: Array, values: Array) -> Array:
    """`weight` with axes added, so that it goes along the first axis of `values`."""
    return weight.reshape(-1, *[1] * (values.ndim - 1))


def _with_own_powers(layout: Layout, shift: Fitted, z: Array) -> Array:
    """The shift model's columns, and the moved family's powers of log L0 from half-way between the two."""
    on = (layout.family == layout.moved)[:, None]
    more = powers(z + shift.theta[:, -1:] / 2, layout.tested - 1)[..., 1:]
    return np.concatenate([shift.jacobian, on * more], -1)
