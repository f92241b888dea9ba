"""The learning rate of every family: as many full pilots for each, around its own default, on one stream."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from frontier import compare
from frontier.wording import number
from trainers.config import RunConfig, run_config
from trainers.config_sections import FamilySection
from trainers.evaluate.runs import METRICS_FILE, evaluate_run
from trainers.pilots import changed, with_families
from trainers.run import Watch
from trainers.train import train

MORE = 2
"""Further rates for every family, where some family's best one is an end of its grid."""
ENOUGH = 2
"""SAEs of a learning rate below which it is out: the others diverged."""


@dataclass(frozen=True)
class Tuned:
    """How one family's learning rate was chosen.

    Attributes
    ----------
    rates : tuple of float
        The grid.
    over_chosen : tuple of float
        L0 of the chosen rate over that of each, at equal hit: below 1 where a rate is worse; NaN where its
        pilots diverged.
    chosen : float
    pilots : int
        SAEs of full length behind it.
    """

    rates: tuple[float, ...]
    over_chosen: tuple[float, ...]
    chosen: float
    pilots: int

    @property
    def edge(self) -> bool:
        """Whether the chosen rate is an end of a grid of several."""
        return len(self.rates) > 1 and self.chosen in (self.rates[0], self.rates[-1])


def centre(section: FamilySection, config: RunConfig) -> float:
    """The rate around which a family is tuned: its own, that of the run, or its architecture's default."""
    given = section.learning_rate or config.training.learning_rate
    given = given[0] if isinstance(given, list) else given
    return float(given or section.kind.default_rate(config.training.steps))


def tuned(
    config: RunConfig,
    settings: Mapping[str, list[float]],
    factors: Sequence[float],
    folder: Path,
    progress: bool,
    watch: Watch | None = None,
) -> tuple[pd.DataFrame, dict[str, Tuned]]:
    """The pilots, and the best rate of each family.

    While any family's best rate is an end of its grid, every family gets one more rate, `MORE` times at most:
    beyond that end, or else between its two best. `watch` is called after each step of the first pilots.
    """
    grids = {f.called: [_short(centre(f, config) * times) for times in factors] for f in config.families}
    rates, table, step = grids, pd.DataFrame(), max(factors) / sorted(factors)[-2] if len(factors) > 1 else 1
    for again in range(MORE + 1):
        place = folder / ("tuning" if not again else f"tuning_{again + 1}")
        seen = None if again else watch
        new = finished(_run(config, settings, rates), place, progress, told=not again, watch=seen)
        table = pd.concat([table, new], ignore_index=True) if again else new
        found = {
            n: _one(table[table["family"] == n], sorted(grid), len(settings[n])) for n, grid in grids.items()
        }
        if not any(t.edge for t in found.values()) or again == MORE:
            break
        rates = {n: [_further(t, step)] for n, t in found.items()}
        grids = {n: [*grids[n], *rates[n]] for n in grids}
    return table, found


def _run(
    config: RunConfig, settings: Mapping[str, list[float]], rates: Mapping[str, list[float]]
) -> RunConfig:
    """The run of pilots: every family at these rates, at the same few L0s."""
    families = [
        changed(
            f, settings=settings[f.called], target_l0=None, seeds=config.training.seeds[:1],
            learning_rate=rates[f.called],
        )
        for f in config.families
    ]  # fmt: skip
    return with_families(config, families)


def _short(rate: float) -> float:
    return float(f"{rate:.3g}")


def _further(tuned: Tuned, step: float) -> float:
    """One more rate: beyond the end that was chosen, else between the chosen one and the better neighbour."""
    rates, place = tuned.rates, tuned.rates.index(tuned.chosen)
    if place == 0:
        return _short(tuned.chosen / step)
    if place == len(rates) - 1:
        return _short(tuned.chosen * step)
    beside = max((place - 1, place + 1), key=lambda i: -1.0 if math.isnan(v := tuned.over_chosen[i]) else v)
    return _short(math.sqrt(tuned.chosen * rates[beside]))


def _one(own: pd.DataFrame, grid: Sequence[float], each: int) -> Tuned:
    """The best rate of one family by its pilots; `each` at every rate."""
    count = own["learning_rate"].value_counts()
    alive = [r for r in grid if count.get(r, 0) >= ENOUGH]
    middle = (alive or list(grid))[len(alive or grid) // 2]
    shifts = _shifts(own, alive, middle) if len(alive) > 1 else {middle: 0.0}
    best = max(shifts, key=lambda r: shifts[r])
    over = tuple(math.exp(shifts[r] - shifts[best]) if r in shifts else math.nan for r in grid)
    return Tuned(tuple(grid), over, best, len(grid) * each)


def _shifts(own: pd.DataFrame, alive: Sequence[float], middle: float) -> dict[float, float]:
    """Log relative potency of each rate over the middle one, all on one shape."""
    label = {r: f"{r:g}" for r in alive}
    rows = own[own["learning_rate"].isin(alive)]
    measured = [c for c in ("l0", "loss_recovered", "fvu") if c in rows and rows[c].notna().any()]
    table = rows[measured].assign(family=rows["learning_rate"].map(label))
    found = compare(table, label[middle], rows="all").shapes
    known = found[0].shifts if found else {}
    return {r: known[label[r]] for r in alive if math.isfinite(known.get(label[r], math.nan))} or {
        middle: 0.0
    }


def finished(
    config: RunConfig, folder: Path, progress: bool, *, told: bool = False, watch: Watch | None = None
) -> pd.DataFrame:
    """Metrics of a run, which is begun, gone on with or read as its folder asks; `told`: with its sizes."""
    if (folder / METRICS_FILE).exists():
        return one_row_each(pd.read_parquet(folder / METRICS_FILE))
    begun = (folder / "config.toml").exists()
    shown: bool | Literal["bar"] = progress if told or not progress else "bar"
    asked = run_config(folder) if begun else config
    run = train(asked, folder, progress=shown, resume=begun, watch=watch)
    return one_row_each(evaluate_run(folder, model=run.model, progress=progress))


def one_row_each(table: pd.DataFrame) -> pd.DataFrame:
    """An SAE that is evaluated at several k counts once, at its own: further points of it are no others."""
    if "parent" not in table:
        return table
    own = table["parent"].isna() | (table["parent"] == table["run_id"])
    return table[own].drop(columns="parent").reset_index(drop=True)


def rates_in_words(tuned: Tuned) -> str:
    """The grid, the chosen rate marked with a star.

    >>> rates_in_words(Tuned((0.001, 0.003, 0.009), (0.5, 1.0, 0.9), 0.003, 9))
    '0.001, 0.003*, 0.009'
    """
    return ", ".join(number(r) + "*" * (r == tuned.chosen) for r in tuned.rates)
