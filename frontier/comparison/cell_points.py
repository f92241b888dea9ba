"""The points of a cell's families laid end to end, each by rising L0, and back to what a point is called."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from frontier.comparison.reading import exp
from frontier.fits.points import Points
from frontier.shared_shape import MIDDLE, Cell, Pair


def cell_of(members: list[Points], *, floored: bool = False) -> Cell:
    """The points of a cell's families, each by rising L0."""
    orders = [np.argsort(p.x, kind="stable") for p in members]

    def joined(name: str) -> Any:
        return np.concatenate([getattr(p, name)[o] for p, o in zip(members, orders, strict=True)])

    se = np.concatenate([np.full(len(p.x), p.known_se or np.nan) for p in members])
    seeds = joined("seeds") if any(p.seeds.any() for p in members) else None
    sizes = tuple(len(p.x) for p in members)
    searched = sum(max(p.runs, len(p.x)) for p in members) / sum(sizes)
    settings = tuple(p.n_settings for p in members)
    repeated = seeds is not None and any(len(np.unique(p.setting)) < len(p.x) for p in members)
    setting = joined("setting") if repeated else None
    return Cell(np.log(joined("x")), joined("y"), sizes, se, seeds, searched, floored, settings, setting)


def called(members: list[Points], point: int) -> tuple[int, str]:
    """Which family a point of a cell belongs to, and its row; points are in the order of `cell_of`."""
    for f, p in enumerate(members):
        if point < len(p.x):
            return f, p.rows[np.argsort(p.x, kind="stable")[point]]
        point -= len(p.x)
    raise IndexError(point)


def left_out(pair: Pair, members: list[Points], f: int) -> tuple[tuple[float, float], str]:
    """Range of relative potency over single SAEs left out, and the SAE that moves it most."""
    edges = np.cumsum([0, *(len(p.x) for p in members)])
    own = np.concatenate([np.arange(edges[i], edges[i + 1]) for i in (0, f)])
    values_out = pair.left_out[own]
    if not np.isfinite(values_out).all():
        return (math.nan, math.nan), ""
    worst = int(np.argmax(np.abs(values_out - pair.potency[MIDDLE])))
    _, row = called([members[0], members[f]], worst)
    return (exp(float(values_out.min())), exp(float(values_out.max()))), row
