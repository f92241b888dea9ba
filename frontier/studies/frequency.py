"""How often latents fire, against what the SAE costs the model: shares, curves, the most frequent ones.

A curve per family relates the share of latents above a frequency to delta CE. Its units are SAEs: latents of
one SAE are not independent, so the scatter of SAEs around the curve sets the intervals (quasi-likelihood with
t quantiles), not the count of latents.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import t as student

from frontier import Interval
from frontier.metrics import give_back
from frontier.results import Result
from frontier.studies.evaluation import Evaluation, EvaluationError
from frontier.views import View
from frontier.wording import listed, nearest, number, plural

SHARES = {
    "frequency_above_10pct": "firing on more than 10 % of tokens",
    "frequency_above_1pct": "firing on more than 1 % of tokens",
    "frequency_below_1e5": "firing on fewer than 1 in 100,000 tokens",
}
INFORMATIVE = 2
"""SAEs whose share is neither 0 nor 1 that a curve needs."""
NONE = 1e-6
"""A share of latents below this is none: no dictionary of the sizes compared has a latent of it."""
QUADRATIC_FROM = 5
"""SAEs from which on the curve may bend."""


@dataclass(frozen=True, eq=False, repr=False)
class ShareCurve(Result):
    """logit(share of latents) as a polynomial of log delta CE, over the SAEs of one family.

    Attributes
    ----------
    share : str
        Column of the metrics table.
    size : int
        Latents per SAE.
    delta_ce, shares : tuple of float
        The SAEs.
    coefficients : tuple of float
        Of (log delta CE − centre)^0, ^1, ^2.
    covariance : tuple of tuple of float
        Theirs, with the dispersion in it.
    dispersion : float
        Pearson's χ²/df: 1 where latents were independent draws, at least 1 in the intervals.
    """

    family: str
    share: str
    size: int
    delta_ce: tuple[float, ...]
    shares: tuple[float, ...]
    centre: float
    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    dispersion: float
    df: int
    level: float = 0.95

    def at(self, delta_ce: float, level: float | None = None) -> Interval:
        """The share of latents at a delta CE."""
        low, middle, high = self._band(np.array([delta_ce]), level)
        return Interval(float(middle[0]), float(low[0]), float(high[0]), level or self.level)

    def count_at(self, delta_ce: float, level: float | None = None) -> Interval:
        """How many latents at a delta CE."""
        found = self.at(delta_ce, level)
        size = self.size
        return Interval(size * found.estimate, size * found.low, size * found.high, found.level)

    def covers(self, delta_ce: float) -> bool:
        """Whether a delta CE lies inside of what the SAEs cover."""
        return min(self.delta_ce) <= delta_ce <= max(self.delta_ce)

    def band(self, delta_ce: Any) -> pd.DataFrame:
        """Columns `delta_ce`, `share`, `low`, `high`."""
        at = np.asarray(delta_ce, dtype=float)
        low, middle, high = self._band(at, None)
        return pd.DataFrame({"delta_ce": at, "share": middle, "low": low, "high": high})

    def working(self, delta_ce: float) -> tuple[float, float]:
        """Log share, and its standard error."""
        x = self._powers(np.array([delta_ce]))[0]
        eta = float(x @ np.array(self.coefficients))
        error = float(np.sqrt(x @ np.array(self.covariance) @ x))
        return float(np.log(expit(eta))), error * float(expit(-eta))

    def _powers(self, delta_ce: np.ndarray) -> np.ndarray:
        return np.vander(np.log(delta_ce) - self.centre, len(self.coefficients), increasing=True)

    def _band(self, delta_ce: np.ndarray, level: float | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = self._powers(delta_ce)
        eta = x @ np.array(self.coefficients)
        error = np.sqrt(np.einsum("ij,jk,ik->i", x, np.array(self.covariance), x))
        reach = student.ppf(0.5 + (level or self.level) / 2, self.df) * error
        return expit(eta - reach), expit(eta), expit(eta + reach)

    def _view(self) -> View:
        middle = float(np.exp(self.centre))
        found = self.count_at(middle)
        row = (self.family, SHARES[self.share], number(middle), str(found), f"of {self.size}")
        remarks = () if self.dispersion <= 1 else (f"dispersion {number(self.dispersion)}",)
        return View("Share of latents", ("family", "latents", "delta CE", "number", ""), (row,), remarks)


@dataclass(frozen=True, eq=False, repr=False)
class HowMany(Result):
    """Numbers of latents at one delta CE, by family, and the families left out with the reason."""

    delta_ce: float
    share: str
    counts: dict[str, Interval]
    left_out: dict[str, str] = field(default_factory=dict)

    def to_frame(self, backend: str = "pandas") -> Any:
        """Columns `family`, `latents`, `low`, `high`."""
        rows = [(f, i.estimate, i.low, i.high) for f, i in self.counts.items()]
        return give_back(pd.DataFrame(rows, columns=["family", "latents", "low", "high"]), backend)

    def _view(self) -> View:
        rows = tuple((f, str(i)) for f, i in self.counts.items())
        remarks = tuple(f"{f}: {why}" for f, why in self.left_out.items())
        title = f"Latents {SHARES[self.share]}, at delta CE {number(self.delta_ce)}"
        return View(title, ("family", "number [95 %]"), rows, remarks)


def delta_ce(table: pd.DataFrame) -> pd.Series:
    """Cross-entropy with the SAE minus that without, nats per token."""
    return table["ce_sae"] - table["ce_clean"]


def share_curves(
    table: pd.DataFrame,
    share: str = "frequency_above_1pct",
    *,
    degree: int | None = None,
    level: float = 0.95,
) -> dict[str, ShareCurve]:
    """The curve of every family with enough SAEs at a positive delta CE.

    Parameters
    ----------
    degree : {1, 2}, optional
        Default 2 from five SAEs on, else 1.

    Raises
    ------
    ValueError
        If the share is unknown.
    """
    if share not in SHARES:
        raise ValueError(f"no share {share!r}{nearest(share, SHARES)}")
    found = {}
    for family, rows in table.groupby("family", sort=False):
        size, delta = rows["dictionary_size"], delta_ce(rows)
        kept = rows[(delta > 0) & np.isfinite(rows[share])]
        wanted = degree or (2 if len(kept) >= QUADRATIC_FROM else 1)
        if size.eq(size.iloc[0]).all() and len(kept) > wanted + 1 and _informative(kept[share]):
            found[str(family)] = _curve(str(family), kept, share, int(size.iloc[0]), wanted, level)
    return found


def _informative(shares: pd.Series) -> bool:
    return int(((shares > 0) & (shares < 1)).sum()) >= INFORMATIVE


def _curve(family: str, rows: pd.DataFrame, share: str, size: int, degree: int, level: float) -> ShareCurve:
    import statsmodels.api as sm

    delta = delta_ce(rows).to_numpy(float)
    centre = float(np.log(delta).mean())
    x = np.vander(np.log(delta) - centre, degree + 1, increasing=True)
    counts = np.round(rows[share].to_numpy(float) * size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # separation: the interval then says so by being wide
        fitted = sm.GLM(np.column_stack([counts, size - counts]), x, family=sm.families.Binomial()).fit()
    df = len(rows) - degree - 1
    dispersion = float(fitted.pearson_chi2 / df)
    covariance = np.asarray(fitted.normalized_cov_params) * max(dispersion, 1.0)
    return ShareCurve(
        family, share, size, tuple(delta), tuple(counts / size), centre,
        tuple(map(float, fitted.params)), tuple(tuple(map(float, r)) for r in covariance),
        dispersion, df, level,
    )  # fmt: skip


def how_many(
    table: pd.DataFrame, at: float, share: str = "frequency_above_1pct", *, degree: int | None = None
) -> HowMany:
    """How many latents are that frequent in an SAE of each family that costs `at` nats per token.

    Families whose SAEs do not cover `at`, or are too few, are left out and named.
    """
    curves = share_curves(table, share, degree=degree)
    counts, left_out = {}, {}
    for family in dict.fromkeys(map(str, table["family"])):
        if family not in curves:
            left_out[family] = "too few SAEs with shares between 0 and 1, or several dictionary sizes"
        elif not curves[family].covers(at):
            ends = [number(e) for e in (min(curves[family].delta_ce), max(curves[family].delta_ce))]
            left_out[family] = f"its SAEs cover delta CE {ends[0]} to {ends[1]}"
        else:
            found, size = curves[family].count_at(at), curves[family].size
            if found.low < 0.01 * size and found.high > 0.99 * size:
                left_out[family] = f"anything from 0 to {size}: the shares near there are all 0 or all 1"
            else:
                counts[family] = found
    return HowMany(at, share, counts, left_out)


def share_ratio(curve: ShareCurve, reference: ShareCurve, at: float, level: float = 0.95) -> Interval:
    """Share of latents over that of the reference at a delta CE; Welch degrees of freedom.

    Without an upper limit where the reference has next to none (a share below `NONE`).
    """
    (a, sa), (b, sb) = curve.working(at), reference.working(at)
    variance = sa**2 + sb**2
    df = variance**2 / (sa**4 / curve.df + sb**4 / reference.df)
    reach = student.ppf(0.5 + level / 2, df) * np.sqrt(variance)
    middle, low, high = np.exp([a - b, a - b - reach, a - b + reach]).tolist()
    if np.exp(b) < NONE:
        return Interval(np.inf, low, np.inf, level)
    return Interval(middle, low, high, level)


def most_frequent(evaluation: Evaluation, run_id: str | None = None, count: int = 10) -> pd.DataFrame:
    """The latents that fire most often, of one SAE or of all: columns `run_id`, `latent`, `frequency`.

    Raises
    ------
    EvaluationError
        If there is no such SAE.
    """
    if run_id is not None and run_id not in evaluation.frequencies:
        raise EvaluationError(
            f"no SAE {run_id!r} in this evaluation{nearest(run_id, evaluation.frequencies)}"
        )
    parts = []
    for name in evaluation.frequencies if run_id is None else [run_id]:
        fired = evaluation.frequencies[name]
        first = np.argsort(-fired, kind="stable")[:count]
        parts.append(
            pd.DataFrame({"run_id": name, "latent": first, "frequency": fired[first] / evaluation.tokens})
        )
    found = pd.concat(parts, ignore_index=True)
    return found.sort_values("frequency", ascending=False, kind="stable", ignore_index=True)[:count]


def densities(evaluation: Evaluation, per_decade: int = 4) -> pd.DataFrame:
    """Histograms of firing frequency of all SAEs, the same bins for all.

    Columns `run_id`, `family`, `l0`, `low`, `high`, `latents`, `share`; low = high = 0 are the silent ones.
    """
    parts = []
    for own in evaluation.table[["run_id", "family", "l0"]].to_dict("records"):
        bins = evaluation.histogram(str(own["run_id"]), per_decade)
        named = {str(k): v for k, v in own.items()}
        parts.append(bins.assign(**named, share=bins["latents"] / bins["latents"].sum()))
    return pd.concat(parts, ignore_index=True)


def nearest_l0(table: pd.DataFrame, l0: float) -> list[str]:
    """run_id of each family's SAE whose L0 is nearest, in the logarithm."""
    gap = np.log(table["l0"] / l0).abs()
    return [str(table.loc[i, "run_id"]) for i in gap.groupby(table["family"], sort=False).idxmin()]


def resolution_remark(evaluation: Evaluation) -> str:
    """What so many tokens can say about rare latents; empty where 1 in 100,000 can be told."""
    if evaluation.tokens >= 1e5:
        return ""
    silent = listed([f"1 in {evaluation.tokens:,}"])
    return (
        f"{plural(evaluation.tokens, 'token')} were counted: a latent that never fired is rarer than about "
        f"{silent}, which is not yet 1 in 100,000"
    )
