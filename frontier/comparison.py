"""From a table to verdicts in one call: groups, guard, Pareto sets, fits, ratios, doubts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from frontier._format import View, interval_cell, listed, number, p_value_cell
from frontier.crossing import Crossing, crossing, significant_sides
from frontier.curve_fit import CurveFit, FrontierFits
from frontier.fits import fit, guard
from frontier.metrics import default_y, give_back, group_columns, metrics_table, set_aside_remark, usable
from frontier.observed import ObservedRatio, ObservedRatios, observed_potency
from frontier.parallel import Parallelism, parallelism
from frontier.pareto import pareto_set
from frontier.problems import x_at
from frontier.ratios import (
    Ratio,
    RatioTable,
    common_x,
    common_y,
    hit_ratio,
    pairs_with,
    parameter_ratio,
    ratio_table,
    reference_family,
    relative_potency,
)
from frontier.results import Group, Result

VERDICTS = ("better", "worse", "crossing", "not separable", "not comparable")
OTHER = {"additive": "log", "log": "additive", "relative": "additive"}
"""The errors model whose answer stands beside the chosen one's."""


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """One family against the reference in one group.

    Attributes
    ----------
    verdict : one of `VERDICTS`
    sentence : str
        The verdict in plain words, with its number.
    potency, hits : Ratio
        L0(reference)/L0(family) at equal hit, hit(family)/hit(reference) at equal L0, at the middle of the
        range that both cover.
    parallel, parallel_other : Parallelism or None
        Whether one ratio exists, under this errors model and under the other one.
    potency_ends : (Ratio, Ratio) or None
        Relative potency at both ends of the hits that both cover, where the curves are not parallel.
    potency_range : (low, high)
        Relative potency with each single SAE left out; `decisive_row` is the SAE that moves it most.
    """

    group: Group
    family: str
    reference: str
    verdict: str
    sentence: str
    potency: Ratio
    hits: Ratio
    parallel: Parallelism | None
    parallel_other: Parallelism | None
    crossing: Crossing | None
    observed: tuple[ObservedRatio, ...]
    potency_ends: tuple[Ratio, Ratio] | None
    potency_range: tuple[float, float]
    decisive_row: str
    doubts: tuple[str, ...]

    def _view(self) -> View:
        rows = (
            ("relative potency", _interval(self.potency), f"at hit {number(self.potency.at)}", p_value_cell(self.potency.p_value)),
            ("hit ratio", _interval(self.hits), f"at L0 {number(self.hits.at)}", p_value_cell(self.hits.p_value)),
        )
        return View(self.sentence, ("quantity", f"ratio [{100 * self.potency.level:g} %]", "where", "p"), rows, self.doubts)


@dataclass(frozen=True, repr=False)
class Comparisons(Result):
    """All comparisons of a table, with the fits, ratios and observed ratios behind them."""

    comparisons: tuple[Comparison, ...]
    fits: FrontierFits
    ratios: RatioTable
    observed: ObservedRatios
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Comparison]:
        return iter(self.comparisons)

    def __len__(self) -> int:
        return len(self.comparisons)

    def __getitem__(self, key: Any) -> Comparison:
        if isinstance(key, (int, np.integer)):
            return self.comparisons[key]
        wanted = key if isinstance(key, tuple) else (key,)
        found = [c for c in self.comparisons if all(w in (c.family, *c.group.values()) for w in wanted)]
        if len(found) != 1:
            raise KeyError(f"{len(found)} comparisons match {key!r}; name group values and family so that one does")
        return found[0]

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per comparison: group columns, `family`, `reference`, `verdict`, the headline ratios with their
        limits, the observed ones, tests of parallelism, crossing, jackknife range, `doubts`.
        """  # noqa: D205
        return give_back(pd.DataFrame([_record(c) for c in self.comparisons]), backend)

    def _view(self) -> View:
        columns = self.ratios.group_columns
        varying = [c for c in columns if len({str(x.group.get(c)) for x in self.comparisons}) > 1]
        rows = tuple(
            (
                *(str(c.group[v]) for v in varying), c.family, c.verdict, _interval(c.potency), number(c.potency.at),
                _interval(c.hits), number(c.hits.at), _observed_cell(c), _parallel_cell(c),
            )
            for c in self.comparisons
        )  # fmt: skip
        headers = (*varying, "family", "is", "relative potency", "at hit", "hit ratio", "at L0", "observed potency", "parallel?")
        reference = self.comparisons[0].reference if self.comparisons else ""
        remarks = [*(c.sentence for c in self.comparisons), *self.notes]
        for c in self.comparisons:
            cell = ", ".join(str(c.group[v]) for v in varying)
            remarks += [f"{cell}: {d}" if cell else d for d in c.doubts]
        return View(f"Compared with {reference}", headers, rows, tuple(dict.fromkeys(remarks)))


def compare(
    table: Any,
    reference: str | None = None,
    by: Sequence[str] | str | None = None,
    *,
    curve: str = "hill",
    x: str = "sparsity",
    y: str | None = None,
    errors: str = "auto",
    max_l0: float | None = None,
    at: float | None = None,
    level: float = 0.95,
    method: str = "welch",
    simultaneous: str | None = None,
    fixed: Mapping[str, float] | None = None,
    family: str = "family",
    across: Sequence[str] = (),
) -> Comparisons:
    """Every family against the reference, from a metrics table to verdicts.

    Pareto sets, fits, ratios and observed ratios per group; a verdict per comparison: better, worse, crossing,
    not separable, or not comparable.

    Parameters
    ----------
    table : anything that `frontier.read` or `metrics_table` takes
    reference : name of a family
        Default: the one named relu, standard, vanilla or baseline, if there is exactly one.
    by : column names, optional
        Groups; default model, site, layer where present, and dictionary_size where every size holds every family.
    at : float, optional
        The hit at which relative potency is read; default per pair, the geometric middle of the common range.
    across : column names
        Columns among protocol, ablation, model, site, layer whose values may meet in one comparison.

    Other parameters are those of `fit` and `ratio_table`.

    Raises
    ------
    TableError
        Unusable table, or rows of different protocol, ablation, model, site or layer in one comparison.
    ValueError
        Unknown reference, curve or method.
    """
    table = metrics_table(table)
    y = default_y(table) if y is None else y
    by = default_groups(table, family) if by is None else by
    columns = group_columns(table, by, family)
    cells = [c for c in columns if c not in (family, "architecture")]
    guard(usable(table), cells, across)
    column = family if family in table else "architecture"
    if column not in table:
        raise ValueError("the table has no architecture or family column, so there is nothing to compare")
    name = reference_family([str(v) for v in usable(table)[column]], reference)
    front = pareto_set(table, by, objectives={"l0": "min", y: "min"}, family=family)
    options: dict[str, Any] = {"x": x, "y": y, "max_l0": max_l0, "level": level, "fixed": fixed, "family": family, "across": across}
    fits = fit(front, curve, by, errors=errors, **options)
    ratios = ratio_table(fits, name, at=at, method=method, simultaneous=simultaneous)
    observed = observed_potency(front, name, by, y=y, max_l0=max_l0, family=family)
    others = {model: fit(front, curve, by, errors=OTHER[model], **options) for model in {f.errors for f in fits}}
    pairs, notes = pairs_with(fits, name)
    comparisons = tuple(_one(f, r, ratios, observed, others[f.errors]) for f, r in pairs)
    remark = set_aside_remark(table)
    return Comparisons(comparisons, fits, ratios, observed, tuple(dict.fromkeys(n for n in (remark, *fits.notes, *notes) if n)))


def default_groups(table: pd.DataFrame, family: str = "family") -> list[str]:
    """Model, site and layer where present; dictionary_size as well where every size holds every family."""
    columns = [c for c in group_columns(table, None, family) if c != family]
    if "dictionary_size" in table and table["dictionary_size"].nunique() > 1 and family in table:
        rows = usable(table)
        keys = [*columns, "dictionary_size"]
        everywhere = rows.groupby(keys, dropna=False)[family].nunique()
        total = rows.groupby(columns, dropna=False)[family].nunique() if columns else None
        full = everywhere.min() == rows[family].nunique() if total is None else (
            everywhere.reset_index().merge(total.rename("total").reset_index(), on=columns).eval(f"{family} == total").all()
        )  # fmt: skip
        if full and rows[family].nunique() > 1:
            columns.append("dictionary_size")
    return columns


def _one(f: CurveFit, ref: CurveFit, ratios: RatioTable, observed: ObservedRatios, other: FrontierFits) -> Comparison:
    potency = next(
        r for r in ratios if r.quantity == "relative_potency" and r.family == _name(f, ref) and _same(r.group, f, ref)
    )
    hits = hit_ratio(f, ref, level=potency.level)
    seen = tuple(o for o in observed if o.family == str(_name(f, ref)) and all(f.group.get(k) == v for k, v in o.group.items()))
    parallel = _parallel(f, ref)
    found = crossing(f, ref, potency.level)
    span, row = _jackknife(f, ref, potency)
    verdict = _verdict(f, ref, potency, found, seen)
    ends = _ends(f, ref, potency.level) if parallel and parallel.rejected else None
    beside = _parallel_other(f, ref, other)
    doubts = _doubts(f, ref, potency, parallel, seen)
    if row:
        doubts.append(f"Leaving out one SAE moves relative potency between {number(span[0])} and {number(span[1])}; {row} decides.")
    sentence = " ".join((_sentence(potency, verdict, found, ends), *_parallel_sentence(parallel, beside)))
    return Comparison(
        potency.group, potency.family, potency.reference, verdict, sentence, potency, hits, parallel, beside, found,
        seen, ends, span, row, tuple(dict.fromkeys(doubts)),
    )  # fmt: skip


def _doubts(f: CurveFit, ref: CurveFit, potency: Ratio, parallel: Parallelism | None, seen: tuple[ObservedRatio, ...]) -> list[str]:
    doubts = []
    if parallel and parallel.rejected:
        doubts.append(
            f"Equal {parallel.parameter} is rejected (p = {p_value_cell(parallel.p_welch)}, {f.errors} errors): no single "
            "ratio exists, it depends on the hit."
        )
    if f.curve == "hill" and "k" in f.problem.free_names:
        doubts += [d for d in parameter_ratio(f, ref, "k", level=potency.level).doubts if d.startswith("k is")]
    doubts += [*potency.doubts, *(d for o in seen for d in o.doubts if "cross" not in d)]
    own = ("k of group", "Without row", "Row ")  # about one fit's parameters, not about the comparison
    return doubts + [d for g in (f, ref) for d in g.doubts if not d.startswith(own)]


def _ends(f: CurveFit, ref: CurveFit, level: float) -> tuple[Ratio, Ratio] | None:
    low, high = common_y(f, ref)
    if low >= high:
        return None
    return relative_potency(f, ref, low, level=level), relative_potency(f, ref, high, level=level)


def _verdict(f: CurveFit, ref: CurveFit, potency: Ratio, found: Crossing | None, seen: tuple[ObservedRatio, ...]) -> str:
    low, high = common_x(f, ref)
    heights = common_y(f, ref)
    if not potency.better_when or not math.isfinite(potency.ratio) or (low >= high and heights[0] >= heights[1]):
        return "not comparable"
    sides = significant_sides(f, ref, potency.level)
    crosses = found is not None or any(o.crosses for o in seen)
    if crosses and sides:
        return "crossing"
    return potency.verdict or "not separable"


def _sentence(potency: Ratio, verdict: str, found: Crossing | None, ends: tuple[Ratio, Ratio] | None) -> str:
    where = ", ".join(str(v) for v in potency.group.values())
    head = f"{where}: {potency.family}" if where else potency.family
    times = _times(potency)
    text = {
        "better": f"{head} is better than {potency.reference}: it needs {times}",
        "worse": f"{head} is worse than {potency.reference}: it needs {times}",
        "not separable": f"{head} and {potency.reference} are not separable: {potency.family} needs {times}",
        "not comparable": f"{head} and {potency.reference} are not comparable on these data",
        "crossing": f"{head} and {potency.reference} cross{_crossing_text(found)}; {potency.family} needs {times}",
    }[verdict]
    if ends and verdict != "not comparable":
        a, b = ends
        text += f", and no single ratio exists: relative potency is {_interval(a)} at hit {number(a.at)}, {_interval(b)} at hit {number(b.at)}"
    return text + "."


def _times(r: Ratio) -> str:
    """'2.5 [2.1, 3.0] times fewer active latents at hit 0.1', or 'more' by the reciprocal."""
    if r.ratio < 1:
        cell = interval_cell(1 / r.ratio, 1 / r.ratio_high if r.ratio_high > 0 else math.inf, 1 / r.ratio_low if r.ratio_low > 0 else math.inf)
        return f"{cell} times more active latents at hit {number(r.at)}"
    return f"{_interval(r)} times fewer active latents at hit {number(r.at)}"


def _parallel_sentence(parallel: Parallelism | None, other: Parallelism | None) -> Iterator[str]:
    if parallel is None:
        return

    def answer(p: Parallelism) -> str:
        return (
            f"with {p.errors} errors {'rejected' if p.rejected else 'not rejected'} (p = {p_value_cell(p.p_welch)}; "
            f"pooled F p = {p_value_cell(p.p_f)})"
        )

    yield f"Equal {parallel.parameter}: {answer(parallel)}" + (f"; {answer(other)}." if other else ".")


def _crossing_text(found: Crossing | None) -> str:
    if found is None:
        return " (observed points only; the fitted curves do not cross in the common range)"
    return f" at L0 {interval_cell(found.l0, found.low, found.high)}"


def _parallel(f: CurveFit, ref: CurveFit) -> Parallelism | None:
    steepness = f.problem.curve.steepness
    return None if f.curve == "linear" or steepness in f.fixed else parallelism(f, ref)


def _parallel_other(f: CurveFit, ref: CurveFit, other: FrontierFits) -> Parallelism | None:
    """The test under the other errors model; None where that has no fit or fell back to another one."""
    try:
        a, b = other[dict(f.group)], other[dict(ref.group)]
    except KeyError:
        return None
    return _parallel(a, b) if a.errors == b.errors != f.errors else None


def _jackknife(f: CurveFit, ref: CurveFit, potency: Ratio) -> tuple[tuple[float, float], str]:
    """Range of relative potency over single SAEs left out, and the SAE that moves it most."""
    assert potency.at is not None
    quantity = x_at(potency.at)
    own = float(f.x_at(potency.at, method="wald").estimate), float(ref.x_at(potency.at, method="wald").estimate)
    values = np.concatenate([f.jackknife(quantity) / own[1], own[0] / ref.jackknife(quantity)])
    values = 1 / values if f.x_name == "l0" else values
    names = [f"{potency.family} row {r}" for r in f.rows] + [f"{potency.reference} row {r}" for r in ref.rows]
    if not np.isfinite(values).any():
        return (math.nan, math.nan), ""
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = np.where(np.isfinite(values), np.abs(np.log(values / potency.ratio)), 0.0)
    return (float(np.nanmin(values)), float(np.nanmax(values))), names[int(np.argmax(shift))]


def _name(f: CurveFit, ref: CurveFit) -> str:
    return ", ".join(str(v) for k, v in f.group.items() if ref.group.get(k) != v)


def _same(group: Group, f: CurveFit, ref: CurveFit) -> bool:
    return all(f.group.get(k) == v == ref.group.get(k) for k, v in group.items()) and len(group) == len(
        [k for k, v in f.group.items() if ref.group.get(k) == v]
    )


def _interval(r: Ratio) -> str:
    return interval_cell(r.ratio, r.ratio_low, r.ratio_high)


def _observed_cell(c: Comparison) -> str:
    o = next((o for o in c.observed if o.quantity == "relative_potency"), None)
    if o is None or math.isnan(o.ratio):
        return "no common range"
    return f"{number(o.ratio)} ({number(o.ratio_min)} to {number(o.ratio_max)})"


def _parallel_cell(c: Comparison) -> str:
    if c.parallel is None:
        return ""
    return f"{'no' if c.parallel.rejected else 'not rejected'}, p {p_value_cell(c.parallel.p_welch)}"


def _record(c: Comparison) -> dict[str, Any]:
    row: dict[str, Any] = {**c.group, "family": c.family, "reference": c.reference, "verdict": c.verdict}
    for name, r in (("relative_potency", c.potency), ("hit_ratio", c.hits)):
        row |= {name: r.ratio, f"{name}_low": r.ratio_low, f"{name}_high": r.ratio_high, f"{name}_at": r.at, f"{name}_p": r.p_value}
    o = next((o for o in c.observed if o.quantity == "relative_potency"), None)
    if o is not None:
        row |= {"observed_potency": o.ratio, "observed_potency_min": o.ratio_min, "observed_potency_max": o.ratio_max}
    row |= {
        "parallel_p": c.parallel.p_welch if c.parallel else math.nan,
        "parallel_p_f": c.parallel.p_f if c.parallel else math.nan,
        "crossing_l0": c.crossing.l0 if c.crossing else math.nan,
        "crossing_l0_low": c.crossing.low if c.crossing else math.nan,
        "crossing_l0_high": c.crossing.high if c.crossing else math.nan,
        "jackknife_low": c.potency_range[0], "jackknife_high": c.potency_range[1], "decisive_row": c.decisive_row,
        "errors": c.potency.errors, "sentence": c.sentence, "doubts": listed(list(c.doubts), 50),
    }  # fmt: skip
    return row
