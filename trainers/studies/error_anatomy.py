"""What an SAE's error is made of: what linear maps of x and of the latents predict of it, and the rest.

Engels et al. (arXiv 2410.14670) find that much of x − x̂ is a linear function of x, and that the rest does not
fall as dictionaries grow. What a map of the latents predicts is what a better decoder would gain (shrinkage,
for instance); x and the latents together predict the error exactly, as x̂ is linear in the latents, so that
the two parts are not added. Maps are ridge regressions on other groups of windows than they are scored on
(`cross_fitted_maps`): an unpredictable error gets a share of about 0, however many latents there are, and a
predictable one a share that rises with the text, so that every share is a lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student
from torch import Tensor

from frontier import Interval
from frontier.distributions import jackknife_error
from frontier.progress import Callback, reported
from frontier.studies.batch_sums import without_each
from frontier.wording import nearest
from trainers.language_models import LanguageModel
from trainers.sae import reconstruction
from trainers.studies.cross_fitted_maps import GROUPS, MapMoments, Unexplained
from trainers.studies.variants import require_plain

PREDICTORS = ("input", "latents")
ROWS = 8192
"""Tokens that are encoded at a time."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The errors of several SAEs on the same windows of text, taken apart.

    Attributes
    ----------
    table : DataFrame
        Rows of the metrics table: the SAEs' identity, `l0`, `fvu`; of the error's variance the shares
        `error_from_input`, `error_from_latents` and `error_rest` = 1 − error_from_input; of the activations'
        variance `fvu_rest` = fvu · error_rest and so on; each with `_se` (jackknife over groups of windows,
        maps fitted anew without each). What maps explain is a lower bound, what they leave an upper one:
        `error_from_latents_more` is what unlimited text would add, to first order in one over the text.
        `ridge_from_latents` is the geometric mean of the ridges chosen, and `ridges_at_edge` names the
        predictors for which the smallest or largest that was tried was chosen, and for how many groups.
    sums : dict of str to array [1 + groups, members]
        `variance` (the same for all), `error`, `centred_error`, and what is left of it after each predictor:
        of all windows, then without each group.
    """

    table: pd.DataFrame
    sums: dict[str, np.ndarray] = field(repr=False)

    def difference(self, metric: str, run_id: str, reference: str, level: float = 0.95) -> Interval:
        """metric(run_id) − metric(reference), paired by group of windows.

        Raises
        ------
        ValueError
            If an SAE or the metric is unknown.
        """
        names = list(self.table["run_id"])
        for name in (run_id, reference):
            if name not in names:
                raise ValueError(f"no SAE {name!r} in this anatomy{nearest(name, names)}")
        found = shares(self.sums)
        if metric not in found:
            raise ValueError(f"no metric {metric!r}{nearest(metric, found)}")
        gaps = found[metric][:, names.index(run_id)] - found[metric][:, names.index(reference)]
        gap, left = float(gaps[0]), gaps[1:]
        reach = float(student.ppf(0.5 + level / 2, len(left) - 1)) * float(jackknife_error(left))
        return Interval(gap, gap - reach, gap + reach, level)


def shares(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The metrics, from sums of squares in any one shape."""
    found = {"fvu": sums["error"] / sums["variance"]}
    for name in (p for p in PREDICTORS if p in sums):
        found[f"error_from_{name}"] = 1 - sums[name] / sums["centred_error"]
        found[f"fvu_from_{name}"] = found["fvu"] * found[f"error_from_{name}"]
    found["error_rest"] = 1 - found["error_from_input"]
    found["fvu_rest"] = found["fvu"] * found["error_rest"]
    return found


@torch.no_grad()
def error_anatomy(
    saes: Sequence[Any],
    model: LanguageModel,
    tokens: Tensor,
    site: str,
    target_site: str | None = None,
    *,
    latents: bool = True,
    protocol: str = "",
    progress: bool | Callback = False,
) -> Anatomy:
    """The errors of SAEs on windows of text `[n, T]`, taken apart; activations of all windows are in memory.

    A map of the latents has a weight per latent and dimension: give it text, some hundred tokens per latent.
    With `latents=False` there is none, which is most of the work of a large dictionary.

    Raises
    ------
    ValueError
        If there are fewer than 8 windows.
    """
    if len(tokens) < GROUPS:
        raise ValueError(f"wanted at least {GROUPS} windows of text, got {len(tokens)}")
    x, target, windows = _activations(model, tokens, site, target_site or site)
    groups = windows * GROUPS // (int(windows.max()) + 1)
    variance = _per_group((target - target.mean(0)).square().sum(1), groups)
    rows: list[dict[str, Any]] = []
    predictors = PREDICTORS if latents else ("input",)
    sums: dict[str, list[np.ndarray]] = {k: [] for k in ("variance", "error", "centred_error", *predictors)}
    with reported(progress, "errors", len(saes)) as done:
        for index, sae in enumerate(saes):
            moments, errors, fired = _moments(sae, x, target, groups, predictors)
            left = {name: moments[name].unexplained() for name in predictors}
            sums["variance"].append(variance)
            sums["error"].append(errors)
            sums["centred_error"].append(moments["input"].centred())
            for name in predictors:
                sums[name].append(left[name].left)
            about = {
                "run_id": f"sae_{index}", "dictionary_size": sae.dictionary_size, "model": model.name,
                "site": model.site(site).name,
            }  # fmt: skip
            own = {"l0": fired / len(x), "protocol": protocol}
            rows.append(about | dict(sae.identity) | own | _ridges(left))
            done(index + 1)
    stacked = {k: np.stack(v, axis=1) for k, v in sums.items()}
    return Anatomy(_table(rows, stacked), stacked)


def _moments(
    sae: Any, x: Tensor, target: Tensor, groups: Tensor, predictors: Sequence[str]
) -> tuple[dict[str, MapMoments], np.ndarray, float]:
    """Products of the predictors with an SAE's errors, sums of squared errors, count of firings."""
    widths = {"input": x.shape[1], "latents": sae.dictionary_size}
    found = {k: MapMoments(widths[k], target.shape[1], GROUPS, x.device) for k in predictors}
    errors, fired = [], 0.0
    for group in range(GROUPS):
        mine = groups == group
        for part, wanted in zip(x[mine].split(ROWS), target[mine].split(ROWS), strict=True):
            f = sae.encode(part)
            error = wanted - reconstruction(sae, part, f).float()
            fired += float((f != 0).sum())
            errors.append((group, float(error.square().sum(dtype=torch.float64))))
            values = {"input": part, "latents": f}
            for name in predictors:
                found[name].add(group, values[name], error)
    per_group = np.bincount([g for g, _ in errors], [e for _, e in errors], GROUPS)
    return found, _with_and_without(per_group), fired


def _ridges(found: dict[str, Unexplained]) -> dict[str, Any]:
    """Columns of the ridges chosen, and which of them are an end of those tried."""
    ends = [f"{k}: {u.at_edge} of {GROUPS}" for k, u in found.items() if u.at_edge]
    means = {f"ridge_from_{k}": float(np.exp(np.log(u.ridges).mean())) for k, u in found.items()}
    return means | {"ridges_at_edge": "; ".join(ends)}


def _table(rows: list[dict[str, Any]], sums: dict[str, np.ndarray]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    for name, values in shares(sums).items():
        table[name], table[f"{name}_se"] = values[0], jackknife_error(values[1:])
        if name.startswith("error_from"):
            table[f"{name}_more"] = (GROUPS - 1) * (values[0] - values[1:].mean(0))
    return table


def _activations(
    model: LanguageModel, tokens: Tensor, site: str, target: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs `[n, d_in]`, targets `[n, d_out]` and the number of each one's window `[n]`."""
    require_plain(model, site, target)
    inputs, targets, windows = [], [], []
    for number, row in enumerate(tokens):
        row = row[None].to(model.device)
        found, counted = model.capture(row, list(dict.fromkeys((site, target)))), model.counted(row)
        inputs.append(found[site][counted].float())
        targets.append(found[target][counted].float())
        windows.append(torch.full((int(counted.sum()),), number))
    return torch.cat(inputs), torch.cat(targets), torch.cat(windows).to(model.device)


def _per_group(values: Tensor, groups: Tensor) -> np.ndarray:
    """Sums over all tokens, then without each group `[1 + groups]`."""
    return _with_and_without(torch.bincount(groups, values.double(), GROUPS).cpu().numpy())


def _with_and_without(parts: np.ndarray) -> np.ndarray:
    return np.concatenate([[parts.sum(0)], without_each(parts)])
