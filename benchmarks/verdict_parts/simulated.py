"""Verdicts on simulated tables, default options, end to end through `frontier.compare`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

import frontier
from benchmarks.verdict_parts.truths import (
    BENT,
    DESIGNS,
    NAMES,
    TRUTHS,
    Array,
    Curve,
    Noise,
    Study,
    frame,
    hill,
    needing_fewer,
    side_by_side,
    steeper,
)
from frontier.comparison import Comparison, Comparisons

SEED = 20261129
NOISES = {f"{s:.0%}": Noise(s) for s in (0.02, 0.05, 0.1, 0.2)} | {"0.003": Noise(amount=0.003)}
TIPPING = 0.02
"""A false verdict that a seed-to-seed SD of 2 % would undo says so in its sentence."""
MIDDLE = math.sqrt(20 * 300)
Found = Comparisons | Sequence[Comparison]


def compared(table: pd.DataFrame, **options: object) -> Comparisons:
    """The comparison of many tables at once."""
    return frontier.compare(table, "relu", by="layer", **options)  # type: ignore[arg-type]


def compared_together(parts: Sequence[pd.DataFrame]) -> list[list[Comparison]]:
    """The comparisons of each part, all found in one call, in which cells of one structure are a batch."""
    firsts = np.cumsum([0, *(part["layer"].max() + 1 for part in parts)])
    table = pd.concat(
        [part.assign(layer=part["layer"] + first) for part, first in zip(parts, firsts, strict=False)],
        ignore_index=True,
    )
    found: list[list[Comparison]] = [[] for _ in parts]
    for c in compared(table):
        found[int(np.searchsorted(firsts, c.group["layer"], side="right")) - 1].append(c)
    return found


def rates(found: Found) -> dict[str, float]:
    """Share of each verdict."""
    verdicts = [c.verdict for c in found]
    return {v: verdicts.count(v) / len(verdicts) for v in ("better", "worse", "crossing", "withheld")}


def false_share(found: Found) -> float:
    """Share of comparisons with a verdict, where there is no difference."""
    told = [c.verdict in ("better", "worse", "crossing") for c in found]
    return float(np.mean(told))


def any_false_share(found: Found) -> float:
    """Share of tables with a verdict on any family, where there is no difference."""
    told = pd.Series([c.verdict in ("better", "worse", "crossing") for c in found])
    return float(told.groupby([c.group["layer"] for c in found]).any().mean())


def coverage(found: Found, truth: float = 1.0) -> float:
    """Share of potency intervals that hold the truth."""
    held = [c.potency.ratio_low <= truth <= c.potency.ratio_high for c in found if c.potency.ratio > 0]
    return float(np.mean(held))


def equal_families(
    tables: int = 2000, truths: tuple[str, ...] = tuple(TRUTHS), designs: tuple[str, ...] = tuple(DESIGNS)
) -> pd.DataFrame:
    """No difference: false verdicts and coverage, a row per truth, design and noise."""
    rows = []
    for truth in truths:
        for design in designs:
            for noise, sds in NOISES.items():
                rng = np.random.default_rng(
                    [SEED, list(TRUTHS).index(truth), list(DESIGNS).index(design), list(NOISES).index(noise)]
                )
                study = Study([TRUTHS[truth]] * 2, DESIGNS[design], sds)
                found = compared(study.tables(rng, tables))
                rows.append((truth, design, noise, false_share(found), coverage(found)))
    return pd.DataFrame(rows, columns=["truth", "design", "noise", "false verdicts", "coverage"])


POTENCIES = (1.0, 1.3, 3.0)


def bent_shapes(tables: int = 1000) -> pd.DataFrame:
    """Strongly bent curves, one family seen further up than the other: what is said of a known potency."""
    rows = []
    kinds = [(i, truth, j, potency) for i, truth in enumerate(BENT) for j, potency in enumerate(POTENCIES)]
    for points, noise in ((8, "5%"), (12, "2%"), (16, "2%")):
        design = [(points, 8, 256), (points, 12, 380)]
        parts = []
        for i, truth, j, potency in kinds:
            curves = [BENT[truth], needing_fewer(BENT[truth], potency)]
            study = Study(curves, design, NOISES[noise], jitter=0.0)
            parts.append(study.tables(np.random.default_rng([SEED, 8, i, points, j]), tables))
        for (_, truth, _, potency), found in zip(kinds, compared_together(parts), strict=True):
            width = np.median([math.log(c.potency.ratio_high / c.potency.ratio_low) for c in found])
            wrong = false_share(found) if potency == 1 else false_share(found) - rates(found)["better"]
            row = (wrong, coverage(found, potency), float(width))
            rows.append((truth, f"{points} v {points}", noise, f"{potency:g}", *row))
    rows.sort(key=lambda row: list(BENT).index(row[0]))
    columns = ["truth", "design", "noise", "potency", "false verdicts", "coverage", "width"]
    return pd.DataFrame(rows, columns=columns)


def five_families(tables: int = 2000) -> pd.DataFrame:
    """Five equal families: tables with any false verdict."""
    rows = []
    for i, (truth, noise) in enumerate((("Hill", "5%"), ("Hill", "10%"), ("floor", "5%"), ("Hill", "0.003"))):
        study = Study([TRUTHS[truth]] * 5, [(8, 20, 300)] * 5, NOISES[noise])
        found = compared(study.tables(np.random.default_rng([SEED, 1, i]), tables))
        rows.append((truth, noise, any_false_share(found)))
    return pd.DataFrame(rows, columns=["truth", "noise", "any false verdict"])


ONCE = ((6, 1), (12, 1), (20, 1), (40, 1))
"""Settings, and runs at each."""


def searched(tables: int = 1000) -> pd.DataFrame:
    """Equal search: N runs, one a setting (all are kept), or several runs a setting (Pareto sets).

    The last column: where the runs that the search dropped are forgotten, so that they widen no interval.
    """
    rows = []
    for i, (settings, runs) in enumerate((*ONCE, (6, 2), (6, 4), (10, 4), (10, 10))):
        table = equal_search(settings, runs, tables, np.random.default_rng([SEED, 2, i]))
        told = forgotten = false_share(compared(table))
        if runs > 1:
            kept = frontier.pareto_set(table, by="layer").drop(columns="group_runs", errors="ignore")
            forgotten = false_share(compared(kept, rows="all"))
        rows.append((settings * runs, runs, told, forgotten))
    return pd.DataFrame(
        rows, columns=["runs", "runs per setting", "false verdicts", "dropped runs forgotten"]
    )


UNLIKE = (((8, 8), 3), ((16, 6), 3), ((16, 5), 7), ((12, 4), 3), ((20, 3), 3), ((8,) * 5, 3), ((6,) * 7, 3))
"""SAEs of the families, and how many times the noise of the others is that of the last."""


def unlike_noise(tables: int = 2000) -> pd.DataFrame:
    """Equal families of which the last has more noise: false verdicts on that one, and coverage."""
    rows = []
    for i, (sizes, times) in enumerate(UNLIKE):
        for j, truth in enumerate(("Hill", "power")):
            rng = np.random.default_rng([SEED, 9, i, j])
            noises = [Noise(0.02)] * (len(sizes) - 1) + [Noise(0.02 * times)]
            studies = [
                Study([TRUTHS[truth]], [(n, 20, 300)], noise) for n, noise in zip(sizes, noises, strict=True)
            ]
            found = compared(side_by_side(studies, rng, tables))
            loud = [c for c in found if c.family == NAMES[len(sizes) - 1]]
            design = " v ".join(map(str, sizes)) if len(sizes) == 2 else f"{len(sizes)} × {sizes[0]}"
            rows.append((truth, design, f"{times} times", false_share(loud), coverage(loud)))
    return pd.DataFrame(rows, columns=["truth", "design", "noise", "false verdicts", "coverage"])


def equal_search(settings: int, runs: int, tables: int, rng: np.random.Generator) -> pd.DataFrame:
    """Two equal families, some runs at each setting; of several, each falls behind by its learning rate."""
    parts = []
    for f in range(2):
        l0 = np.repeat(np.geomspace(20, 300, settings), runs)
        l0 = l0 * np.exp(0.1 * rng.standard_normal((tables, settings * runs)))
        excess = 0.1 * rng.exponential(size=l0.shape) if runs > 1 else 0.0
        hit = TRUTHS["Hill"](l0) * np.exp(0.05 * rng.standard_normal(l0.shape) + excess)
        part = frame(NAMES[f], l0, hit)
        part["sparsity_setting"] = np.tile(np.repeat(np.arange(settings), runs) + 1.0, tables)
        part["learning_rate"] = np.tile(np.tile(np.arange(runs), settings) + 1.0, tables) * 1e-4
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def dependent_errors(tables: int = 2000) -> pd.DataFrame:
    """Errors that are not independent: false verdicts, and those that no sentence puts in doubt."""
    cases = {
        "AR(1) .3": Noise(0.05, correlation=0.3), "AR(1) .5": Noise(0.05, correlation=0.5),
        "offset 2 %": Noise(0.05, common=0.02), "offset 2 %, noise 2 %": Noise(0.02, common=0.02),
    }  # fmt: skip
    rows = []
    for i, (name, noise) in enumerate(cases.items()):
        study = Study([TRUTHS["Hill"]] * 2, DESIGNS["8/8"], noise)
        found = compared(study.tables(np.random.default_rng([SEED, 3, i]), tables))
        unsaid = [
            c.verdict in ("better", "worse", "crossing") and c.tipping >= TIPPING and not c.correlated
            for c in found
        ]
        rows.append((name, false_share(found), float(np.mean(unsaid))))
    return pd.DataFrame(rows, columns=["errors", "false verdicts", "false and not in doubt"])


def power(tables: int = 2000) -> pd.DataFrame:
    """A potency of 1.2, 8/8: what is said, and whether the interval holds 1.2."""
    rows = []
    for i, (truth, noise) in enumerate((("Hill", "5%"), ("Hill", "10%"), ("floor", "5%"), ("floor", "10%"))):
        curve = TRUTHS[truth]
        study = Study([curve, needing_fewer(curve, 1.2)], DESIGNS["8/8"], NOISES[noise])
        found = compared(study.tables(np.random.default_rng([SEED, 4, i]), tables))
        said = rates(found)
        rows.append((truth, noise, said["better"], said["worse"], coverage(found, 1.2)))
    return pd.DataFrame(rows, columns=["truth", "noise", "better", "worse", "coverage"])


def true_crossing(tables: int = 2000) -> pd.DataFrame:
    """Hill curves that meet in the middle, one 1.3 times as steep: what is said."""
    curve: Curve = TRUTHS["Hill"]
    study = Study([curve, steeper(curve, 1.3, MIDDLE)], DESIGNS["12/12"], NOISES["5%"])
    found = compared(study.tables(np.random.default_rng([SEED, 5]), tables))
    said = rates(found)
    near = [bool(c.crossing and c.crossing.low <= MIDDLE <= c.crossing.high) for c in found if c.crossing]
    row = (said["crossing"], said["better"] + said["worse"], float(np.mean(near)))
    return pd.DataFrame([row], columns=["crossing", "better or worse", "limits hold the L0"])


def widths(tables: int = 200) -> pd.DataFrame:
    """Width of the potency's interval (log) over that of Hill fits with Welch limits, medians."""
    rows = []
    for i, (truth, noise) in enumerate(
        (("Hill", "2%"), ("Hill", "10%"), ("convex", "2%"), ("floor", "2%"), ("offset", "2%"))
    ):
        study = Study([TRUTHS[truth]] * 2, DESIGNS["8/8"], NOISES[noise])
        table = study.tables(np.random.default_rng([SEED, 6, i]), tables)
        fits = frontier.fit(table, "hill", by="layer")
        old = [r for r in frontier.ratio_table(fits, "relu") if r.quantity == "relative_potency"]
        new = [c.potency for c in compared(table)]
        width = [
            np.median([math.log(r.ratio_high / r.ratio_low) for r in of if r.ratio_low > 0])
            for of in (new, old)
        ]
        rows.append((truth, noise, float(width[0]), float(width[1]), float(width[0] / width[1])))
    return pd.DataFrame(rows, columns=["truth", "noise", "shared shape", "Hill", "ratio"])


def negative_hit(tables: int = 60) -> pd.DataFrame:
    """Hill curves, potency 3, additive noise .004 that makes some hits negative: limits and spread."""

    def curve(l0: Array) -> Array:
        return hill(l0, 0.05, 1.1)

    study = Study([curve, needing_fewer(curve, 3)], [(8, 8, 1024)] * 2, Noise(amount=0.004), jitter=0.0)
    found = compared(study.tables(np.random.default_rng([SEED, 7]), tables))
    logs = [math.log(c.potency.ratio) for c in found]
    finite = [math.isfinite(c.potency.ratio_high) and c.potency.ratio_low > 0 for c in found]
    row = (float(np.mean(finite)), float(np.std(logs)), coverage(found, 3.0))
    return pd.DataFrame([row], columns=["finite limits", "SD of log potency", "coverage"])
