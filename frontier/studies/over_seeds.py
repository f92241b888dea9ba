"""Numbers of several seeds on one text: their means, with what the seeds and what the text leave open."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from frontier.distributions import t_quantile
from frontier.studies.evaluation import EvaluationError


def over_seeds(
    table: pd.DataFrame,
    value: str,
    by: Sequence[str],
    *,
    batches: int,
    within: str | None = None,
    level: float = 0.95,
    comparisons: int = 1,
) -> pd.DataFrame:
    """The mean over seeds of a number that each of them has, by groups; the seed is the unit.

    All seeds are measured on the same text, so that the variance of a mean is that of the seeds, over their
    number, plus that of the text (`<value>_se`, jackknife), which more seeds do not make less. Degrees of
    freedom are Welch's. Of what the text does to a seed alone a part is counted twice: intervals are a
    little too wide.

    Parameters
    ----------
    table : DataFrame
        `by`, `seed`, `value` and `<value>_se`, a row per seed, or several with `within`.
    batches : int
        Of text, behind the standard errors.
    within : str, optional
        Column that tells the rows of a seed apart (a setting): their mean is the seed's number. What is
        missing in one seed is left out of all, and named.
    comparisons : int
        Intervals are widened so that so many hold together (Bonferroni).

    Returns
    -------
    DataFrame
        `by`, `value`, `<value>_low`, `<value>_high`, `seed_sd`, `text_se`, `seeds`, `left_out`.

    Raises
    ------
    EvaluationError
        If a group has one seed.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"family": "topk", "seed": [0, 1, 2], "kl": [0.20, 0.22, 0.21], "kl_se": 0.01})
    >>> over_seeds(table, "kl", ["family"], batches=16)[["family", "kl", "kl_low", "kl_high"]].round(3)
      family    kl  kl_low  kl_high
    0   topk  0.21   0.185    0.235
    """
    rows = []
    for names, part in table.groupby(list(by), sort=False):
        kept, left_out = _in_all(part, value, within)
        means, errors = (kept.groupby("seed")[c].mean().to_numpy(float) for c in (value, f"{value}_se"))
        if part["seed"].nunique() < 2:
            raise EvaluationError(f"{', '.join(map(str, names))} has one seed; the seed is the unit here")
        found = _estimate(means, errors, batches, 1 - (1 - level) / comparisons)
        named = {k if k[0] != "_" else value + k: v for k, v in found.items()}
        rows.append(dict(zip(by, names, strict=True)) | named | {"left_out": left_out})
    return pd.DataFrame(rows).rename(columns={"mean": value})


def _in_all(part: pd.DataFrame, value: str, within: str | None) -> tuple[pd.DataFrame, str]:
    """The rows that every seed has, and what was left out."""
    known = part[np.isfinite(part[value].to_numpy(float))]
    if within is None:
        return known if known["seed"].nunique() == part["seed"].nunique() else known[:0], ""
    seeds = known.groupby(within)["seed"].nunique()
    whole = set(seeds.index[seeds == part["seed"].nunique()])
    missing = [str(v) for v in dict.fromkeys(part[within]) if v not in whole]
    return known[known[within].isin(whole)], ", ".join(missing)


def _estimate(means: np.ndarray, errors: np.ndarray, batches: int, level: float) -> dict[str, float]:
    if not len(means):
        nothing = dict.fromkeys(("mean", "_low", "_high", "seed_sd", "text_se"), math.nan)
        return nothing | {"seeds": 0}
    sd, text = float(means.std(ddof=1)), math.sqrt(float((errors**2).mean()))
    seeds = sd**2 / len(means)
    variance = seeds + text**2
    df = variance**2 / (seeds**2 / (len(means) - 1) + text**4 / (batches - 1)) if variance else 1.0
    mean, half = float(means.mean()), float(t_quantile(df, level)) * math.sqrt(variance)
    return {"mean": mean, "_low": mean - half, "_high": mean + half, "seed_sd": sd, "text_se": text,
            "seeds": len(means)}  # fmt: skip
