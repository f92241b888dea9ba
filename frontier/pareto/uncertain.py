"""Pareto sets under noise: the probability that a row belongs to one, and attainment surfaces over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frontier.groups import RECIPE, Codes, Groups, setting_codes
from frontier.guard import guard
from frontier.metrics import (
    add_notes,
    default_y,
    give_back,
    metrics_table,
    notes,
    set_aside_remark,
    usable,
    values,
    y_axis,
)
from frontier.metrics.axes import goal
from frontier.metrics.checks import TableError
from frontier.metrics.standard_errors import standard_error_names, standard_errors
from frontier.pareto.sets import mark_pareto, nondominated
from frontier.problems import Array
from frontier.records import recorded
from frontier.renamed import parameters
from frontier.wording import listed, nearest, number, plural

NOISE = ("se", "seeds")
SURE = 0.95
"""A row is decided where the probability is at least this, or at most its complement."""
LEVELS: dict[str, float] = {"best": 0.0, "median": 0.5, "worst": 1.0}
CELLS = 2_000_000
"""Points drawn at once, which bounds the memory."""


@parameters(draws="replicates")
@recorded
def pareto_probability(
    table: Any,
    by: Sequence[str] | str | None = None,
    *,
    replicates: int = 2000,
    seed: int = 0,
    objectives: Mapping[str, str] | None = None,
    noise: str | None = None,
    family: str | None = "family",
    across: Sequence[str] = (),
    backend: str = "pandas",
) -> Any:
    """How probably each row is on its group's Pareto set, given noise in its numbers.

    Parameters
    ----------
    table, by, objectives, family, across
        As in `pareto_set`: families are kept apart unless `family` is None.
    replicates, seed : int
        Simulated tables and their random stream; the standard error of a probability is at most
        0.5 / sqrt(replicates).
    noise : {"se", "seeds"}, optional
        Default: "se" where the table has standard errors, else "seeds" where it has seeds.
        "se": each number is drawn from a normal with its standard error over evaluation batches (`l0_se`,
        `loss_recovered_se`, ...); a missing one means exact. Rows are drawn independently, though SAEs that
        were evaluated on the same text err together: probabilities lie closer to 1/2 than they should.
        "seeds": a row is a configuration (see `seeds.setting_codes`), its mean over seeds is drawn from a
        t distribution with the covariance between runs of one configuration, pooled over the group, on the
        log scale where an objective is positive throughout.

    Returns
    -------
    DataFrame
        noise "se": all rows of the table with `pareto_optimal`, `slack` and `tie_id` (see `mark_pareto`).
        noise "seeds": one row per configuration, with `runs` and the mean of each objective (geometric where
        it was drawn on the log scale). In both `pareto_probability` and `pareto_verdict`: "on", "off", or
        "undecided" between 0.05 and 0.95; missing where nothing is known. `frontier.notes` says what was
        taken as exact.

    Raises
    ------
    TableError
        As `pareto_set`; no configuration with two runs (noise "seeds").
    ValueError
        Unknown noise, or fewer than one replicate.

    Notes
    -----
    Source: probabilistic dominance of Teich (2001) and Hughes (2001), by simulation; all draws run through
    one grouped Pareto pass.

    Examples
    --------
    >>> import frontier
    >>> se = {"loss_recovered_se": 0.01}
    >>> table = [{"l0": 5, "loss_recovered": 0.80, **se}, {"l0": 6, "loss_recovered": 0.79, **se}]
    >>> frontier.pareto_probability(table)["pareto_verdict"].tolist()
    ['on', 'undecided']
    """
    if noise is not None and noise not in NOISE:
        raise ValueError(f"unknown noise {noise!r}{nearest(noise, NOISE)}")
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, found {replicates}")
    table = metrics_table(table)
    goals = dict(objectives) if objectives else {"l0": "min", default_y(table): "min"}
    noise = _noise_of(table, goals) if noise is None else noise
    marked = mark_pareto(table, by, objectives=goals, family=family, across=across)
    groups = Groups.of(marked, by, family)
    rng = np.random.default_rng(seed)
    found = (_by_se if noise == "se" else _by_seeds)(marked, groups, goals, replicates, rng)
    return give_back(found, backend)


def _by_se(
    marked: pd.DataFrame, groups: Groups, goals: Mapping[str, str], draws: int, rng: np.random.Generator
) -> pd.DataFrame:
    inside = marked["excluded_because"].isna().to_numpy()
    rows = marked[inside]
    found = groups.on(rows)
    centre = np.column_stack([values(rows, name) for name in goals])
    spreads, remarks = zip(*(_standard_errors(rows, name) for name in goals), strict=True)
    spread, sign = np.column_stack(spreads), _signs(goals)

    def sample(start: int, stop: int) -> Array:
        return sign * (centre + spread * rng.standard_normal((stop - start, *centre.shape)))

    probability = np.full(len(marked), math.nan)
    probability[inside] = _share_on_front(sample, draws, found.codes, len(found.names))
    return _told(marked, probability, draws, [r for r in remarks if r])


def _standard_errors(rows: pd.DataFrame, name: str) -> tuple[Array, str]:
    """Standard errors of one objective, 0 where unknown, and a remark on those."""
    se, column = standard_errors(rows, name), standard_error_names(name)
    if se is None:
        return np.zeros(len(rows)), f"{name} is taken as exact: no column {column}"
    missing = int((~np.isfinite(se)).sum())
    remark = f"{name} is taken as exact in {plural(missing, 'row')} without {column}" if missing else ""
    return np.where(np.isfinite(se), se, 0.0), remark


def _by_seeds(
    marked: pd.DataFrame, groups: Groups, goals: Mapping[str, str], draws: int, rng: np.random.Generator
) -> pd.DataFrame:
    rows = usable(marked)
    _, config = np.unique(setting_codes(rows, groups.columns), return_inverse=True)
    first = np.unique(config, return_index=True)[1]
    runs = np.bincount(config)
    if runs.max() < 2:
        raise TableError("no configuration has two runs, so nothing tells the scatter between seeds")
    raw = np.column_stack([values(rows, name) for name in goals])
    logs = (raw > 0).all(axis=0)
    points = np.where(logs, np.log(np.where(logs, raw, 1.0)), raw)
    means = _class_means(points, config)
    found = groups.on(rows.iloc[first])
    codes, names = found.codes, found.names
    roots, df = _pooled_roots(points - means[config], config, codes)
    stretch = np.sqrt(df / rng.chisquare(np.maximum(df, 1), (draws, len(df))))
    sign = _signs(goals)

    def sample(start: int, stop: int) -> Array:
        normal = rng.standard_normal((stop - start, *means.shape)) / np.sqrt(runs)[:, None]
        shift = np.einsum("cij,scj->sci", roots[codes], normal)
        return sign * (means + stretch[start:stop][:, codes, None] * shift)

    probability = np.where(df[codes] > 0, _share_on_front(sample, draws, codes, len(names)), math.nan)
    keep = [c for c in dict.fromkeys((*groups.columns, *RECIPE)) if c in rows]
    out = rows.iloc[first][keep].reset_index(drop=True).assign(runs=runs)
    out[list(goals)] = np.where(logs, np.exp(np.where(logs, means, 0.0)), means)
    out["pareto_optimal"] = nondominated(sign * means, codes)
    lone = [listed(list(names[g].values())) or "the table" for g in np.flatnonzero(df == 0)]
    remarks = [*notes(marked)]
    remarks += [f"no configuration of {listed(lone, 4)} has two runs: no probability"] if lone else []
    span = listed([number(float(v)) for v in dict.fromkeys((df.min(), df.max()))])
    remarks.append(f"degrees of freedom for the scatter between seeds: {span}")
    return _told(out, probability, draws, remarks)


def _class_means(points: Array, index: Codes) -> Array:
    return np.column_stack([np.bincount(index, p) for p in points.T]) / np.bincount(index)[:, None]


def _pooled_roots(deviations: Array, config: Codes, codes: Codes) -> tuple[Array, Array]:
    """Per group: a square root of the pooled covariance between runs, and its degrees of freedom.

    Objectives may be exact (a TopK family's L0), so the root is taken through eigenvalues.
    """
    group = codes[config]
    df = (np.bincount(group) - np.bincount(codes)).astype(float)
    products = deviations[:, :, None] * deviations[:, None, :]
    total = np.zeros((len(df), *products.shape[1:]))
    np.add.at(total, group, products)
    eigenvalues, vectors = np.linalg.eigh(total / np.maximum(df, 1)[:, None, None])
    return vectors * np.sqrt(np.maximum(eigenvalues, 0.0))[:, None, :], df


def _signs(goals: Mapping[str, str]) -> Array:
    return np.array([1.0 if sense == "min" else -1.0 for sense in goals.values()])


def _share_on_front(sample: Callable[[int, int], Array], draws: int, codes: Codes, groups: int) -> Array:
    """Share of draws in which each row is non-dominated; a sample has shape (draws, rows, objectives)."""
    count = np.zeros(len(codes))
    step = max(1, CELLS // max(len(codes), 1))
    for start in range(0, draws, step):
        points = sample(start, min(start + step, draws))
        group = np.arange(len(points))[:, None] * groups + codes
        on = nondominated(points.reshape(-1, points.shape[-1]), group.ravel())
        count += on.reshape(group.shape).sum(axis=0)
    return count / draws


def _told(table: pd.DataFrame, probability: Array, draws: int, remarks: Sequence[str]) -> pd.DataFrame:
    """The table with probability, verdict and notes."""
    words = np.select([probability >= SURE, probability <= round(1 - SURE, 12)], ["on", "off"], "undecided")
    table["pareto_probability"] = probability
    table["pareto_verdict"] = pd.Series(words, index=table.index, dtype=object).where(
        ~np.isnan(probability), None
    )
    undecided = int((table["pareto_verdict"] == "undecided").sum())
    decided = f"{undecided} of {plural(int((~np.isnan(probability)).sum()), 'row')} undecided ({draws} draws)"
    return add_notes(table, *remarks, decided)


def _noise_of(table: pd.DataFrame, goals: Mapping[str, str]) -> str:
    """Which noise the table tells of."""
    if any(standard_errors(table, g) is not None for g in goals):
        return "se"
    if "seed" in table and table["seed"].notna().any():
        return "seeds"
    wanted = " or ".join(standard_error_names(g) for g in goals)
    raise TableError(f"the table tells nothing of noise: it has no {wanted} and no seed column")


@parameters(levels="surfaces")
def attainment(
    table: Any,
    by: Sequence[str] | str | None = None,
    *,
    y: str | None = None,
    run: str = "seed",
    surfaces: Sequence[str | float] = ("best", "median", "worst"),
    family: str | None = "family",
    across: Sequence[str] = (),
    backend: str = "pandas",
) -> Any:
    """Attainment surfaces over seeds: the staircase that a share of the runs reaches.

    A point (L0, y) is attained by a run that has an SAE with no more latents and no worse y. "best" is what
    at least one run attains, "median" at least half, "worst" all; a number is any other share. Descriptive
    only: two equal families of 3 seeds each differ fully somewhere in 56 % of cases, so test a gap with
    `compare` or `compare_seeds`.

    Parameters
    ----------
    run : column name
        What tells runs of a whole family apart.
    surfaces : among {"best", "median", "worst"}, and shares from 0 to 1
    across : as in `pareto_set`

    Returns
    -------
    DataFrame
        Group columns, `level`, `l0`, `y` (the corners, L0 rising), `y_name`, `runs`.

    Raises
    ------
    TableError
        No such column, no usable row, or rows of one group that must not be compared unasked.
    ValueError
        Unknown level.

    Notes
    -----
    Source: Grunert da Fonseca, Fonseca & Hall (2001), EMO 2001, LNCS 1993, 213. Runs are told apart by name:
    the result does not depend on the order of rows.

    Examples
    --------
    >>> import frontier
    >>> recipes = {"relu": 0.5, "gated": 0.3}
    >>> table = [
    ...     {"family": f, "seed": s, "l0": l0, "loss_recovered": 1 - scale * (1 + 0.02 * s) * l0**-0.8}
    ...     for f, scale in recipes.items() for l0 in (5, 10, 20, 40) for s in (0, 1, 2)
    ... ]
    >>> surfaces = frontier.attainment(table)
    >>> surfaces["level"].unique().tolist()
    ['best', 'median', 'worst']
    """
    shares = {str(level): _share(level) for level in surfaces}
    table = metrics_table(table)
    y = y_axis(table, y)
    groups = Groups.of(table, by, family)
    if run not in table:
        raise TableError(f"no column {run!r} that tells runs apart{nearest(run, list(table.columns))}")
    rows = usable(table)
    known = np.isfinite(values(rows, y)) & np.isfinite(values(rows, "l0"))
    rows = rows[known & (rows[run].notna().to_numpy() | bool(rows[run].isna().all()))]
    if rows.empty:
        raise TableError(f"no usable row with {run}, l0 and {y}; {set_aside_remark(table)}")
    guard(rows, groups.columns, (*([across] if isinstance(across, str) else across), run), groups.family)
    sign = -1.0 if goal(table, y) == "max" else 1.0
    groups = groups.on(rows)
    labels = pd.factorize(rows[run].astype("string").fillna("(missing)"))[0]
    l0, height = values(rows, "l0"), sign * values(rows, y)
    parts = []
    for code, group in enumerate(groups.names):
        part = groups.codes == code
        count = len(np.unique(labels[part]))
        for level, share in shares.items():
            x, best = attainment_surface(l0[part], height[part], labels[part], share)
            corners = {"level": level, "l0": x, "y": sign * best, "y_name": y, "runs": count}
            parts.append(pd.DataFrame({**group, **corners}))
    left = len(usable(table)) - len(rows)
    remarks = [f"{plural(left, 'row')} without {run}, l0 or {y} left out"] if left else []
    return give_back(add_notes(pd.concat(parts, ignore_index=True), *remarks), backend)


def attainment_surface(x: Array, y: Array, runs: Codes, share: float) -> tuple[Array, Array]:
    """Corners of the staircase that at least `share` of the runs attain, or one run; both are minimised."""
    at = np.unique(x)
    names, index = np.unique(runs, return_inverse=True)
    reached = np.full((len(names), len(at)), np.inf)
    np.minimum.at(reached, (index, np.searchsorted(at, x)), y)
    reached = np.sort(np.minimum.accumulate(reached, axis=1), axis=0)
    level = reached[max(1, math.ceil(share * len(names) - 1e-9)) - 1]
    corner = level < np.append(np.inf, level[:-1])
    return at[corner], level[corner]


def _share(level: str | float) -> float:
    share = LEVELS.get(level, math.nan) if isinstance(level, str) else float(level)
    if not 0 <= share <= 1:
        raise ValueError(f"unknown level {level!r}; there are {listed(list(LEVELS))} and shares from 0 to 1")
    return share
