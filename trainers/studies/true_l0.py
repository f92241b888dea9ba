"""Recovery of known features against L0: whether the L0 that finds them is the one that made the data.

Families are trained on synthetic activations; the mean over true features of the largest cosine with any
decoder row says how well a member found them. With correlated features a too small L0 mixes features that
fire together, a too large one splits what is left ("L0 is not a neutral hyperparameter").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student

from frontier import Interval
from frontier.results import Result
from frontier.views import View
from frontier.wording import nearest, number
from trainers.activations import SyntheticStream, recovery, synthetic_stream
from trainers.activations.positions import seeded
from trainers.architectures import architecture, known
from trainers.family import Family, Member, Schedule
from trainers.steps import engine_for
from trainers.steps.engine import StepOptions

SCORED = 8192
"""Fresh draws on which L0 and FVU are measured."""
MEASURES = ("mean_max_cosine", "matched_cosine", "recovered_share")


def recovery_rows(
    families: Mapping[str, Sequence[float]],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    size: int | None = None,
    steps: int = 600,
    batch_size: int = 512,
    options: Mapping[str, dict[str, Any]] | None = None,
    learning_rate: float | None = None,
    **truth: Any,
) -> pd.DataFrame:
    """Rows of the metrics table, one per SAE: `l0`, `fvu`, `true_l0`, and how well it found the features.

    Parameters
    ----------
    families : dict of architecture to settings
    seeds : sequence of int
        Each is a truth, draws and starting weights of its own: the unit of the intervals below.
    size : int, optional
        Latents; default as many as there are features.
    options : dict of architecture to its options, optional
    learning_rate : float, optional
        Default each architecture's own.
    truth
        Of `synthetic_stream`: `features`, `d`, `l0`, `correlation`, ...
    """
    rows = []
    for seed in seeds:
        for name, settings in families.items():
            stream = synthetic_stream(seed=seed, batch_size=batch_size, **truth)
            given = (options or {}).get(name, {})
            wanted = size or len(stream.truth.directions)
            family = trained(
                stream, name, settings, wanted, steps=steps, seed=seed, learning_rate=learning_rate, **given
            )
            rows += [_row(family, m, stream, steps * batch_size) for m in family.active]
    return pd.DataFrame(rows)


def trained(
    stream: SyntheticStream, name: str, settings: Sequence[float], size: int, *,
    steps: int, seed: int, learning_rate: float | None = None, **options: Any,
) -> Family:  # fmt: skip
    """A family of one architecture trained on a stream of synthetic activations."""
    kind = architecture(name, **options)
    rate = learning_rate or kind.default_rate(steps)
    family = Family(
        name, kind, [Member(f"{name}_{s:g}_seed{seed}", s, seed, rate) for s in settings],
        d_in=stream.d_in, d_out=stream.d_out, dictionary_size=size, scaling=stream.scaling,
        device=stream.device, identity={"model": "synthetic", "site": "synthetic"},
    )  # fmt: skip
    engine = engine_for(family, StepOptions(Schedule(steps)), threads=1)
    for step in range(steps):
        engine.step(next(stream), step)
    return family


@torch.no_grad()
def _row(family: Family, member: int, stream: SyntheticStream, tokens: int) -> dict[str, Any]:
    truth = stream.truth
    drawn, _ = truth.sample(SCORED, seeded(stream.seed, "threshold"))
    rows = stream.scaling.batch(drawn.to(stream.device), None).input
    sae = family.sae(member, rows, tokens_trained=tokens)
    x, _ = truth.sample(SCORED, seeded(stream.seed, "recovery"))
    f = sae.encode(x)
    error, spread = (x - sae.decode(f)).square().sum(), (x - x.mean(0)).square().sum()
    found = recovery(sae.rows, truth)
    return sae.identity | {
        "l0": float((f != 0).sum() / len(f)), "fvu": float(error / spread), "true_l0": truth.l0,
        "protocol": f"synthetic {truth.digest()}", "source": "trainers",
        **{name: getattr(found, name) for name in MEASURES},
    }  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class BestL0(Result):
    """The L0 at which one family finds most, over seeds, against the true one.

    Attributes
    ----------
    best : Interval
        Geometric mean over seeds of the best L0, with a t interval of its logarithm.
    ratio : Interval
        The same over the true L0.
    reached : Interval
        The measure of the best SAE, mean over seeds.
    at_end : int
        Seeds whose best L0 is the smallest or largest that was tried: the true best may lie beyond.
    """

    family: str
    measure: str
    best: Interval
    ratio: Interval
    reached: Interval
    seeds: int
    at_end: int

    def _view(self) -> View:
        row = (self.family, str(self.best), str(self.ratio), str(self.reached))
        remark = f"in {self.at_end} of {self.seeds} seeds the best L0 is an end of the sweep"
        headers = ("family", "best L0 [95 %]", "over the true one", self.measure.replace("_", " "))
        return View("L0 that finds the features", headers, (row,), (remark,) if self.at_end else ())


def best_l0(
    table: pd.DataFrame, measure: str = "mean_max_cosine", *, level: float = 0.95
) -> dict[str, BestL0]:
    """The best L0 of every family: per seed the top of a parabola in log L0, through the best three SAEs.

    Raises
    ------
    ValueError
        If the measure is unknown, or a family has fewer than two seeds.
    """
    if measure not in table:
        raise ValueError(f"no measure {measure!r}{nearest(measure, MEASURES)}")
    found = {}
    for family, rows in table.groupby("family", sort=False):
        tops = [_top(part, measure) for _, part in rows.groupby("seed")]
        if len(tops) < 2:
            raise ValueError(f"family {family} has one seed; an interval needs two or more")
        at, reached = np.array([t[0] for t in tops]), np.array([t[1] for t in tops])
        true = np.log([part["true_l0"].iloc[0] for _, part in rows.groupby("seed")])
        best, ratio = (_exp(_mean(v, level)) for v in (at, at - true))
        ends = sum(t[2] for t in tops)
        found[str(family)] = BestL0(str(family), measure, best, ratio, _mean(reached, level), len(tops), ends)
    return found


def _top(rows: pd.DataFrame, measure: str) -> tuple[float, float, bool]:
    """Log L0 of the largest value, the value, and whether it is at an end."""
    rows = rows[rows["l0"] > 0].sort_values("l0")
    x, y = np.log(rows["l0"].to_numpy(float)), rows[measure].to_numpy(float)
    i = int(np.argmax(y))
    if i in (0, len(y) - 1):
        return float(x[i]), float(y[i]), True
    bend, slope, _ = np.polyfit(x[i - 1 : i + 2] - x[i], y[i - 1 : i + 2], 2)
    shift = -slope / (2 * bend) if bend < 0 else 0.0
    return float(x[i] + shift), float(y[i]), False


def at_true_l0(table: pd.DataFrame, measure: str = "mean_max_cosine", *, level: float = 0.95) -> pd.DataFrame:
    """The measure at the true L0, interpolated in log L0: columns `family`, `value`, `low`, `high`, `seeds`.

    Seeds whose SAEs do not cover the true L0 are left out; `seeds` counts the others.
    """
    found = []
    for family, rows in table.groupby("family", sort=False):
        values = []
        for _, part in rows.groupby("seed"):
            part = part[part["l0"] > 0].sort_values("l0")
            x, true = np.log(part["l0"].to_numpy(float)), float(np.log(part["true_l0"].iloc[0]))
            if x[0] - 0.02 <= true <= x[-1] + 0.02:
                values.append(float(np.interp(true, x, part[measure])))
        mean = _mean(np.array(values), level)
        found.append((family, mean.estimate, mean.low, mean.high, len(values)))
    return pd.DataFrame(found, columns=["family", "value", "low", "high", "seeds"])


def _mean(values: np.ndarray, level: float) -> Interval:
    if len(values) < 2:
        return Interval(float(values.mean()) if len(values) else np.nan, -np.inf, np.inf, level)
    reach = student.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    mean = float(values.mean())
    return Interval(mean, float(mean - reach), float(mean + reach), level)


def _exp(i: Interval) -> Interval:
    estimate, low, high = np.exp([i.estimate, i.low, i.high]).tolist()
    return Interval(estimate, low, high, i.level)


def default_settings(name: str, l0: float, count: int = 7) -> list[float]:
    """Settings around a true L0: k from a quarter to four times it, λ over the usual range and below."""
    if architecture(name).setting_name == "k":
        values = np.geomspace(l0 / 4, 4 * l0, count)
        return list(dict.fromkeys(float(round(v)) if name == "topk" else float(f"{v:.4g}") for v in values))
    low, high = min(known(name).sweep), max(known(name).sweep)
    return [float(f"{v:.4g}") for v in np.geomspace(low / 2, high, count)]


def summary(best: Mapping[str, BestL0]) -> str:
    """One line per family."""
    return "\n".join(
        f"{n}: best L0 {b.best}, {number(b.ratio.estimate)} × the true one" for n, b in best.items()
    )
