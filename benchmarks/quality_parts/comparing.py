"""Ours over a peer: L0 at equal hit with its limits, and dead latents."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import pandas as pd

import frontier
from benchmarks.quality_parts.design import OURS, Place

Record = dict[str, Any]
LEAST = 0.97
"""What the lower limit of a peer's L0 over ours is meant to be at least."""


def cells_of(cells: Sequence[Record], place: Place, method: str, architecture: str) -> list[Record]:
    """The measured cells of a method and architecture at a place."""
    wanted = {"site": place.site, "expansion": place.expansion, "steps": place.steps}
    wanted |= {"method": method, "architecture": architecture}
    return [c for c in cells if all(c[k] == v for k, v in wanted.items())]


def table_of(cells: Sequence[Record]) -> pd.DataFrame:
    """A row per SAE: family (the method), l0, loss recovered and FVU."""
    return pd.DataFrame(
        [
            {"family": c["method"], "l0": l0, "loss_recovered": None if hit is None else 1 - hit, "fvu": fvu}
            for c in cells
            for _, l0, hit, fvu, _ in c["saes"]
        ]
    )  # fmt: skip


def potency(ours: Sequence[Record], theirs: Sequence[Record], metric: str) -> list[float] | None:
    """L0 of the peer over ours at equal metric and its 95 % limits; None where there is no one ratio."""
    table = table_of([*ours, *theirs])[["family", "l0", metric]]
    return _potency(tuple(table.itertuples(index=False, name=None)), metric, theirs[0]["method"])


@cache
def _potency(rows: tuple[tuple[Any, ...], ...], metric: str, peer: str) -> list[float] | None:
    """Of one table, once: a page asks for the best rate's again."""
    table = pd.DataFrame(rows, columns=["family", "l0", metric])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = frontier.compare(table, peer, rows="all").potencies
    for r in found:
        if r.family == OURS:
            return [round(float(v), 3) for v in (r.ratio, r.ratio_low, r.ratio_high)]
    return None


def metrics_at(place: Place) -> tuple[str, ...]:
    """What is compared: the hit where a language model stands behind the rows, and FVU."""
    return ("loss_recovered", "fvu") if place.site == "shipped" else ("fvu",)


def ratio_over(cells: Sequence[Record], place: Place, method: str, architecture: str) -> dict[float, float]:
    """L0 of a peer over ours at equal hit, by the peer's learning rate; infinity where it has none.

    Of the peer's first seed alone, as when its rates were tried: further seeds, trained at the best one, do
    not choose it anew.
    """
    ours, theirs = (cells_of(cells, place, m, architecture) for m in (OURS, method))
    first = min((c["seed"] for c in theirs), default=None)
    if not ours:
        return {}
    found = {c["rate"]: potency(ours, [c], metrics_at(place)[0]) for c in theirs if c["seed"] == first}
    return {rate: math.inf if p is None else p[0] for rate, p in found.items()}


def dead(cells: Sequence[Record]) -> dict[float, float]:
    """Mean share of latents that never fire on the evaluation text, by setting."""
    rows = [(saes[0], saes[4]) for c in cells for saes in c["saes"]]
    return pd.DataFrame(rows, columns=["setting", "dead"]).groupby("setting")["dead"].mean().to_dict()


def comparison(cells: Sequence[Record], place: Place, method: str, architecture: str) -> Record | None:
    """One line of the page: ours over a peer at the peer's best rate; None where a side is not measured."""
    ratios = ratio_over(cells, place, method, architecture)
    if not ratios:
        return None
    best = min(ratios, key=lambda rate: ratios[rate])
    ours = cells_of(cells, place, OURS, architecture)
    theirs = [c for c in cells_of(cells, place, method, architecture) if c["rate"] == best]
    return {
        "rate": best, "rates": sorted(ratios), "seeds": (len(ours), len(theirs)),
        "potency": {m: potency(ours, theirs, m) for m in metrics_at(place)},
        "dead": (dead(ours), dead(theirs)),
    }  # fmt: skip
