"""From a table to verdicts in one call: groups, guard, Pareto sets, fits, ratios, doubts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frontier.comparison.results import Comparison, Comparisons, equal_steepness
from frontier.doubts import Doubt, Kind, without
from frontier.fits import fit
from frontier.fits.curve_fit import CurveFit, FrontierFits
from frontier.groups import Groups, guard, varies
from frontier.metrics import metrics_table, set_aside_remark, usable, y_axis
from frontier.metrics.axes import falling_axis, with_better
from frontier.pareto import pareto_set
from frontier.problems import x_at
from frontier.ratios import hit_ratio, leave_one_out_ratios, parameter_ratio, ratio_table, relative_potency
from frontier.ratios.crossing import Crossing, crossing, significant_sides
from frontier.ratios.observed import ObservedRatio, ObservedRatios, observed_potency
from frontier.ratios.pairs import common_x, common_y, family_names, pairs_with, reference_family, shared_group
from frontier.ratios.parallel import Parallelism, parallelism
from frontier.ratios.ratio import Ratio, RatioTable, ratio_cell
from frontier.renamed import parameters
from frontier.results import in_words
from frontier.wording import interval_cell, number, p_value_text

OTHER = {"additive": "log", "log": "additive", "relative": "additive", "two_component": "additive"}
"""The errors model whose answer stands beside the chosen one's."""


@parameters(method="intervals")
def compare(
    table: Any,
    reference: str | None = None,
    by: Sequence[str] | str | None = None,
    *,
    curve: str | None = None,
    x: str = "sparsity",
    y: str | None = None,
    errors: str = "auto",
    max_l0: float | None = None,
    at: float | None = None,
    level: float = 0.95,
    intervals: str = "welch",
    simultaneous: str | None = None,
    fixed: Mapping[str, float] | None = None,
    family: str = "family",
    across: Sequence[str] = (),
    better: Mapping[str, str] | str | None = None,
) -> Comparisons:
    """Every family against the reference, from a metrics table to verdicts.

    Pareto sets, fits, ratios and observed ratios per group; a verdict per comparison: better, worse,
    crossing, not separable, or not comparable.

    Parameters
    ----------
    table : anything that `frontier.read` or `metrics_table` takes
    reference : name of a family
        Default: the one named relu, standard, vanilla or baseline, if there is exactly one.
    by : column names, optional
        Groups; default model, site, layer where present, and dictionary_size where every size holds every
        family.
    at : float, optional
        The hit at which relative potency is read; default per pair, the geometric middle of the common
        range.
    across : column names
        Columns among protocol, ablation, model, site, layer whose values may meet in one comparison.
    better : "higher" or "lower", or dict of column to one of them
        Which side of a metric that is not known here is better; a word alone is about `y`.

    Other parameters are those of `fit` and `ratio_table`.

    Raises
    ------
    TableError
        Unusable table, or rows of different protocol, ablation, model, site or layer in one comparison.
    ValueError
        Unknown reference, curve or intervals.

    Examples
    --------
    >>> import frontier
    >>> table = frontier.load_dataset("gated_gemma7b")
    >>> table = table[table["layer"] == 20]
    >>> found = frontier.compare(table, reference="baseline")
    >>> len(found), found["Resid", "gated"].reference
    (3, 'baseline')
    """
    table = with_better(metrics_table(table), better, y)
    y = falling_axis(table, y_axis(table, y))
    groups = Groups.of(table, by, family)
    by = cells = groups.cells
    guard(usable(table), cells, across)
    if not groups.family:
        raise ValueError("the table has no architecture or family column, so there is nothing to compare")
    name = reference_family(usable(table)[groups.family].tolist(), reference)
    front = pareto_set(table, by, objectives={"l0": "min", y: "min"}, family=family)
    options: dict[str, Any] = {
        "x": x, "y": y, "max_l0": max_l0, "level": level, "fixed": fixed, "family": family, "across": across,
    }  # fmt: skip
    fits = fit(front, curve, by, errors=errors, **options)
    ratios = ratio_table(fits, name, at=at, intervals=intervals, simultaneous=simultaneous)
    observed = observed_potency(front, name, by, y=y, max_l0=max_l0, family=family, across=across)
    others = {
        model: fit(front, curve, by, errors=OTHER[model], **options) for model in {f.errors for f in fits}
    }
    pairs, notes = pairs_with(fits, name)
    comparisons = tuple(_one(f, r, ratios, observed, others[f.errors]) for f, r in pairs)
    notes += _seeds_note(usable(table), cells, fits.family_column, pairs, name)
    said = dict.fromkeys(n for n in (*groups.notes, set_aside_remark(table), *fits.notes, *notes) if n)
    return Comparisons(comparisons, fits, ratios, observed, tuple(said))


def _seeds_note(
    rows: pd.DataFrame,
    cells: Sequence[str],
    family: str,
    pairs: Sequence[tuple[CurveFit, CurveFit]],
    reference: str,
) -> list[str]:
    """What to say where a compared family has several seeds at one setting: the frontier keeps the best."""
    kept: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    for f in {f.name: f for pair in pairs for f in pair}.values():
        kept[str(f.group[family])] += f.n_points
        runs[str(f.group[family])] += f.runs
    if not _several_seeds(rows[rows[family].astype(str).isin(kept)], [*cells, family]):
        return []
    counts = ", ".join(f"{name} {kept[name]} of {runs[name]}" for name in kept)
    return [
        f"several seeds at one setting: the frontier keeps the best of them ({counts} SAEs), which favours "
        "families whose L0 is fixed by the setting; "
        f'frontier.compare_seeds(table, "{reference}") compares them seed by seed'
    ]


def _several_seeds(rows: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Whether runs of one group and setting (L0 where the setting is unknown) have different seeds."""
    if "seed" not in rows or not varies(rows["seed"]):
        return False
    same = [c for c in dict.fromkeys((*columns, "dictionary_size", "tokens_trained")) if c in rows]
    setting = rows["sparsity_setting"].fillna(rows["l0"]) if "sparsity_setting" in rows else rows["l0"]
    seeds = rows.groupby([*(rows[c] for c in same), setting], dropna=False)["seed"].nunique()
    return bool((seeds > 1).any())


def _one(
    f: CurveFit, ref: CurveFit, ratios: RatioTable, observed: ObservedRatios, other: FrontierFits
) -> Comparison:
    family, group = family_names(f, ref)[0], shared_group(f, ref)
    potency = next(
        r for r in ratios if (r.quantity, r.family, r.group) == ("relative_potency", family, group)
    )
    seen = tuple(o for o in observed if o.family == family and o.group.items() <= f.group.items())
    parallel, beside = _parallel(f, ref), _parallel_other(f, ref, other)
    hits = hit_ratio(f, ref, level=potency.level)
    found = _sure_crossing(f, ref, potency.level, parallel)
    span, row = _jackknife(f, ref, potency)
    verdict = _verdict(f, ref, potency, hits, found)
    ends = _ends(f, ref, potency.level) if parallel and parallel.rejected else None
    doubts = _doubts(f, ref, potency, parallel, seen)
    if verdict == "crossing":
        doubts = without(doubts, [Kind.crossing])
    if row and not potency.ratio_low <= span[0] <= span[1] <= potency.ratio_high:  # more than noise does
        low, high = (number(v) for v in span)
        text = f"Leaving out one SAE moves relative potency between {low} and {high}; {row} decides."
        moved = {"from": span[0], "to": span[1]}
        doubts.append(Doubt(Kind.influence, text, family, row, "relative_potency", numbers=moved))
    claim = _claim(potency, hits, verdict, found, ends) if _share_heights(f, ref) else _by_hits(hits, verdict)
    where, equal = in_words(group), equal_steepness(parallel, beside)
    sentence = (f"{where}: {claim}" if where else claim) + (f" {equal}" if equal else "")
    return Comparison(
        group, family, potency.reference, verdict, sentence, potency, hits, parallel,
        beside, found, seen, ends, span, row, tuple(dict.fromkeys(doubts)), claim,
    )  # fmt: skip


def _doubts(
    f: CurveFit, ref: CurveFit, potency: Ratio, parallel: Parallelism | None, seen: tuple[ObservedRatio, ...]
) -> list[Doubt]:
    doubts: list[Doubt] = []
    if parallel and parallel.rejected:
        p = p_value_text(parallel.p_welch)
        text = (
            f"Equal {parallel.parameter} is rejected (p {p}, {f.errors} errors): "
            f"no single ratio exists, it depends on the {potency.height}."
        )
        numbers = {"p": parallel.p_welch}
        doubts.append(Doubt(Kind.not_parallel, text, potency.family, "", parallel.parameter, numbers=numbers))
    if f.curve == "hill" and "k" in f.problem.free_names:
        k = parameter_ratio(f, ref, "k", level=potency.level)
        doubts += [d for d in k.doubts if d.kind is Kind.extrapolated_k]
    doubts += [*potency.doubts, *(d for o in seen for d in o.doubts)]
    own = (Kind.extrapolated_k, Kind.influence, Kind.leverage)  # of one fit's parameters, not of the pair
    return doubts + without((*f.doubts, *ref.doubts), own)


def _ends(f: CurveFit, ref: CurveFit, level: float) -> tuple[Ratio, Ratio] | None:
    low, high = common_y(f, ref)
    if low >= high:
        return None
    return relative_potency(f, ref, low, level=level), relative_potency(f, ref, high, level=level)


def _share_heights(f: CurveFit, ref: CurveFit) -> bool:
    low, high = common_y(f, ref)
    return low < high


def _sure_crossing(f: CurveFit, ref: CurveFit, level: float, parallel: Parallelism | None) -> Crossing | None:
    """Where the fitted curves cross in the common range, if that is more than noise.

    Two noisy frontiers cross somewhere more often than not. It counts where equal steepness is rejected, or
    where each curve is significantly lower somewhere.
    """
    found = crossing(f, ref, level)
    if found is None or (parallel is not None and parallel.rejected):
        return found
    return found if len(significant_sides(f, ref, level)) == 2 else None


def _verdict(f: CurveFit, ref: CurveFit, potency: Ratio, hits: Ratio, found: Crossing | None) -> str:
    low, high = common_x(f, ref)
    if not _share_heights(f, ref):  # only the hit at equal L0 can be read inside the data
        return (hits.verdict if low < high else "") or "not comparable"
    if not potency.better_when or not math.isfinite(potency.ratio):
        return "not comparable"
    if found is not None and significant_sides(f, ref, potency.level):
        return "crossing"
    return potency.verdict or "not separable"


def _claim(
    potency: Ratio, hits: Ratio, verdict: str, found: Crossing | None, ends: tuple[Ratio, Ratio] | None
) -> str:
    head, reference, times = potency.family, potency.reference, times_in_words(potency)
    where = f" at L0 {interval_cell(found.l0, found.low, found.high)}" if found else ""
    text = {
        "better": f"{head} is better than {reference}: it needs {times}",
        "worse": f"{head} is worse than {reference}: it needs {times}",
        "not separable": f"{head} and {reference} are not separable: {_not_told(potency)}",
        "not comparable": f"{head} and {reference} are not comparable on these data",
        "crossing": f"{head} and {reference} cross{where}; {potency.family} needs {times}",
    }[verdict]
    if ends and verdict != "not comparable":
        text += ", and no single ratio exists: relative potency is "
        text += ", ".join(f"{ratio_cell(r)} at {r.height} {number(r.at)}" for r in ends)
    return text + "."


def _by_hits(hits: Ratio, verdict: str) -> str:
    """The sentence where the two share no hit: only hits at equal L0 can be compared."""
    head, reference = hits.family, hits.reference
    at = f"at L0 {number(hits.at)} its {hits.height} is {ratio_cell(hits)} times that of {reference}"
    text = {
        "better": f"{head} is better than {reference}: {at}",
        "worse": f"{head} is worse than {reference}: {at}",
        "not separable": f"{head} and {reference} are not separable: {at}",
        "not comparable": f"{head} and {reference} are not comparable on these data",
    }[verdict]
    return f"{text}; they share no {hits.height}, so relative potency is extrapolated."


def times_in_words(r: Ratio) -> str:
    """'2.5 [2.1, 3.0] times fewer active latents at hit 0.1', or 'more' by the reciprocal."""
    at = f"active latents at {r.height} {number(r.at)}"
    if not r.ratio < 1:
        return f"{ratio_cell(r)} times fewer {at}"
    low, high = (1 / v if v > 0 else math.inf for v in (r.ratio_high, r.ratio_low))
    return f"{interval_cell(1 / r.ratio, low, high)} times more {at}"


def _not_told(r: Ratio) -> str:
    """What is known of a ratio that may lie on either side of 1."""
    return f"the L0 ratio at {r.height} {number(r.at)} is {ratio_cell(r)}"


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
    values, names = leave_one_out_ratios(f, ref, x_at(potency.at))
    values = 1 / values if f.x_name == "l0" else values
    values = np.where(values > 0, values, np.nan)
    if not np.isfinite(values).any():
        return (math.nan, math.nan), ""
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = np.where(np.isfinite(values), np.abs(np.log(values / potency.ratio)), 0.0)
    return (float(np.nanmin(values)), float(np.nanmax(values))), names[int(np.argmax(shift))]
