"""Frontiers of variants on the same batches of text, compared at equal L0 with paired intervals.

A curve is a list of evaluated SAEs. Its metric at a given L0 is interpolated in log L0 by a cubic that keeps
the points' order (PCHIP: chords would lie above convex frontiers, the more so the wider the points stand);
nothing is extrapolated. The same is done with each batch of text left out, L0 included,
and the spread of those values gives the standard error (jackknife): two curves on the same batches share
what is hard about a text, so that their difference is known far better than either.

What such an interval covers is the choice of the text. That of the SAE is covered only by `over_saes`, where
each SAE gives one number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

from frontier.distributions import jackknife_error, t_quantile
from frontier.studies.batch_sums import metrics_of, without_each
from frontier.studies.evaluation import Evaluation, EvaluationError, sums_of
from frontier.wording import nearest


@dataclass(frozen=True)
class PairedEstimate:
    """A number with its standard error and interval.

    Attributes
    ----------
    df : int
        Degrees of freedom: batches, or SAEs, less one.
    """

    value: float
    se: float
    low: float
    high: float
    df: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


class LeftOut:
    """Metrics of evaluated SAEs `[1 + B]`: on the whole text, then with each batch left out."""

    def __init__(self, evaluation: Evaluation) -> None:
        ordered = evaluation.batches.sort_values("batch", kind="stable")
        self._rows = {name: rows for name, rows in ordered.groupby("run_id", sort=False)}
        self._metrics: dict[str, dict[str, np.ndarray]] = {}

    def metric(self, run_id: str, name: str) -> np.ndarray:
        """One metric of one SAE `[1 + B]`."""
        if run_id not in self._metrics:
            if run_id not in self._rows:
                raise EvaluationError(f"no SAE {run_id!r} in this evaluation{nearest(run_id, self._rows)}")
            sums = sums_of(self._rows[run_id])
            both = {k: np.concatenate([[v.sum()], without_each(v)]) for k, v in sums.items()}
            self._metrics[run_id] = metrics_of(both)
        found = self._metrics[run_id]
        if name not in found:
            raise EvaluationError(f"no metric {name!r} with values per batch{nearest(name, found)}")
        return found[name]

    def curve(self, run_ids: Sequence[str], name: str, l0: float | np.ndarray) -> np.ndarray:
        """A metric of a curve at an L0 `[1 + B]`; missing where the curve does not reach."""
        x = np.log([self.metric(r, "l0") for r in run_ids])  # [points, 1 + B]
        y = np.array([self.metric(r, name) for r in run_ids])
        at = np.log(np.broadcast_to(l0, x.shape[1:]))
        return np.array([_between(x[:, i], y[:, i], at[i]) for i in range(len(at))])


def families_of(evaluation: Evaluation) -> dict[str, list[str]]:
    """Each family's SAEs: the curves of an evaluation."""
    groups = evaluation.table.groupby("family", sort=False)
    return {str(family): list(rows["run_id"]) for family, rows in groups}


def compare_curves(
    evaluation: Evaluation,
    reference: str,
    l0: Sequence[float],
    *,
    curves: Mapping[str, Sequence[str]] | None = None,
    metric: str = "ce_sae",
    level: float = 0.95,
) -> pd.DataFrame:
    """Every curve less the reference at these L0, paired by batch; a row per curve and L0.

    Columns: `family`, `reference`, `l0`, `metric`, `value`, and `difference` with `_se`, `_low` and `_high`.
    The intervals hold together for all rows (Bonferroni). Missing where one of the two does not reach.

    Parameters
    ----------
    curves : dict of name to list of run_id, optional
        Default: the families.
    """
    curves, left, rows = curves or families_of(evaluation), LeftOut(evaluation), []
    if reference not in curves:
        raise EvaluationError(f"no curve {reference!r}{nearest(reference, curves)}")
    others = [name for name in curves if name != reference]
    for at in l0:
        base = left.curve(curves[reference], metric, at)
        for name in others:
            values = left.curve(curves[name], metric, at)
            found = estimate(values - base, level, len(others) * len(l0))
            rows.append({
                "family": name, "reference": reference, "l0": at, "metric": metric, "value": values[0],
                "difference": found.value, "difference_se": found.se, "difference_low": found.low,
                "difference_high": found.high,
            })  # fmt: skip
    return pd.DataFrame(rows)


def changes(evaluation: Evaluation, metric: str = "ce_sae", level: float = 0.95) -> pd.DataFrame:
    """Every changed SAE less its parent, paired by batch; a row for each that stands beside its parent.

    Columns: `run_id`, `parent`, `family`, `l0`, `l0_before`, `metric`, `before`, `change` with `_se`,
    `_low` and `_high`, and `ratio`, the metric over that of the parent, whose logarithm has the standard
    error `log_ratio_se`.
    """
    table, left, rows = evaluation.table, LeftOut(evaluation), []
    known = table[table["parent"].isin(table["run_id"])] if "parent" in table else table[:0]
    for own in known.to_dict("records"):
        name, parent = own["run_id"], own["parent"]
        after, before = left.metric(name, metric), left.metric(parent, metric)
        found = estimate(after - before, level)
        rows.append({
            "run_id": name, "parent": parent, "family": own["family"], "l0": own["l0"],
            "l0_before": left.metric(parent, "l0")[0], "metric": metric, "before": before[0],
            "change": found.value, "change_se": found.se, "change_low": found.low, "change_high": found.high,
            "ratio": after[0] / before[0], "log_ratio_se": estimate(np.log(after / before)).se,
        })  # fmt: skip
    return pd.DataFrame(rows)


def estimate(values: np.ndarray, level: float = 0.95, comparisons: int = 1) -> PairedEstimate:
    """The first value, with the jackknife interval that the others `[B]` give.

    With several comparisons each interval is widened so that all hold together (Bonferroni).
    """
    batches = len(values) - 1
    se = float(jackknife_error(values[1:]))
    return _interval(float(values[0]), se, batches - 1, 1 - (1 - level) / comparisons)


def over_saes(
    values: Sequence[float] | pd.Series, level: float = 0.95, comparisons: int = 1
) -> PairedEstimate:
    """The mean over SAEs, one number each, with a t interval: the SAE is the unit. NaN are an error.

    >>> print(over_saes([1.0, 2.0, 3.0]))  # 2 ± 4.303 / √3
    2 [-0.4841, 4.484]
    """
    found = np.asarray(values, dtype=float)
    if not np.isfinite(found).all():
        raise EvaluationError(
            f"{int((~np.isfinite(found)).sum())} of {len(found)} SAEs have no value; leave them out"
        )
    se = float(found.std(ddof=1) / math.sqrt(len(found))) if len(found) > 1 else math.nan
    mean = float(found.mean()) if len(found) else math.nan
    return _interval(mean, se, len(found) - 1, 1 - (1 - level) / comparisons)


def _interval(value: float, se: float, df: int, level: float) -> PairedEstimate:
    half = float(t_quantile(float(df), level)) * se
    return PairedEstimate(value, se, value - half, value + half, df)


def _between(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """PCHIP interpolation; the ends belong to the curve, beyond them there is nothing."""
    known = np.isfinite(x) & np.isfinite(y)
    places, group = np.unique(x[known], return_inverse=True)
    if not len(places) or not places[0] <= at <= places[-1]:
        return math.nan
    heights = np.bincount(group, y[known]) / np.bincount(group)  # of points at one L0 the mean
    return float(PchipInterpolator(places, heights)(at)) if len(places) > 1 else float(heights[0])
