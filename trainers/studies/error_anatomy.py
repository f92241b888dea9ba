"""What an SAE's error is made of: what linear maps of x and of the latents predict of it, and the rest.

Engels et al. (arXiv 2410.14670) find that much of x − x̂ is a linear function of x, and that the rest does not
fall as dictionaries grow. What a map of the latents predicts is what a better decoder would gain (shrinkage,
for instance); x and the latents together predict the error exactly, as x̂ is linear in the latents, so that
the two parts are not added. Maps are ridge regressions, fitted on three quarters of the windows of text and
scored on the fourth (the ridge is chosen inside the three): an unpredictable error gets a share of about 0,
however many latents there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import t as student
from torch import Tensor

from frontier import Interval
from frontier.progress import Callback, reported
from frontier.studies.batch_sums import jackknife_error, without_each
from frontier.wording import nearest
from trainers.language_models import LanguageModel
from trainers.sae import reconstruction

PREDICTORS = ("input", "latents")
FOLDS = 4
RIDGES = (1e-5, 1e-3, 1e-1, 10.0, 1e3)
"""Tried ridges, as shares of the tokens (predictors are standardised)."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The errors of several SAEs on the same windows of text, taken apart.

    Attributes
    ----------
    table : DataFrame
        Rows of the metrics table: the SAEs' identity, `l0`, `fvu`; of the error's variance the shares
        `error_from_input`, `error_from_latents` and `error_rest` = 1 − error_from_input; of the activations'
        variance `fvu_rest` = fvu · error_rest and so on; each with `_se` (jackknife over windows).
    sums : dict of str to array [windows, members]
        `variance` (the same for all), `error`, and what is left of it after each predictor.
    """

    table: pd.DataFrame
    sums: dict[str, np.ndarray] = field(repr=False)

    def difference(self, metric: str, run_id: str, reference: str, level: float = 0.95) -> Interval:
        """metric(run_id) − metric(reference), paired by window.

        Raises
        ------
        ValueError
            If an SAE or the metric is unknown.
        """
        names = list(self.table["run_id"])
        for name in (run_id, reference):
            if name not in names:
                raise ValueError(f"no SAE {name!r} in this anatomy{nearest(name, names)}")
        whole, left = shares({k: v.sum(0) for k, v in self.sums.items()}), _left_out(self.sums)
        if metric not in whole:
            raise ValueError(f"no metric {metric!r}{nearest(metric, whole)}")
        a, b = names.index(run_id), names.index(reference)
        error = float(jackknife_error(left[metric][:, a] - left[metric][:, b]))
        gap = float(whole[metric][a] - whole[metric][b])
        reach = float(student.ppf(0.5 + level / 2, len(left[metric]) - 1)) * error
        return Interval(gap, gap - reach, gap + reach, level)


def shares(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The metrics, from sums of squares in any one shape."""
    found = {"fvu": sums["error"] / sums["variance"]}
    for name in PREDICTORS:
        found[f"error_from_{name}"] = 1 - sums[name] / sums["centred_error"]
        found[f"fvu_from_{name}"] = found["fvu"] * found[f"error_from_{name}"]
    found["error_rest"] = 1 - found["error_from_input"]
    found["fvu_rest"] = found["fvu"] * found["error_rest"]
    return found


def _left_out(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return shares({k: without_each(v) for k, v in sums.items()})


@torch.no_grad()
def error_anatomy(
    saes: Sequence[Any],
    model: LanguageModel,
    tokens: Tensor,
    site: str,
    target_site: str | None = None,
    *,
    protocol: str = "",
    progress: bool | Callback = False,
) -> Anatomy:
    """The errors of SAEs on windows of text `[n, T]`, taken apart; activations of all windows are in memory.

    Raises
    ------
    ValueError
        If there are fewer than 4 windows.
    """
    if len(tokens) < FOLDS:
        raise ValueError(f"wanted at least {FOLDS} windows of text, got {len(tokens)}")
    x, target, windows = _activations(model, tokens, site, target_site or site)
    rows: list[dict[str, Any]] = []
    sums: dict[str, list[np.ndarray]] = {k: [] for k in ("variance", "error", "centred_error", *PREDICTORS)}
    variance = _per_window((target - target.mean(0)).square().sum(1), windows)
    with reported(progress, "errors", len(saes)) as done:
        for index, sae in enumerate(saes):
            f = sae.encode(x)
            error = target - reconstruction(sae, x, f).float()
            sums["variance"].append(variance)
            sums["error"].append(_per_window(error.square().sum(1), windows))
            sums["centred_error"].append(_per_window((error - error.mean(0)).square().sum(1), windows))
            for name, predictor in (("input", x), ("latents", f)):
                sums[name].append(_per_window(unexplained(predictor, error, windows), windows))
            about = {"run_id": str(sae.identity.get("run_id", f"sae_{index}"))}
            about |= {
                "dictionary_size": sae.dictionary_size,
                "model": model.name,
                "site": model.site(site).name,
            }
            rows.append(
                about | dict(sae.identity) | {"l0": float((f != 0).sum() / len(f)), "protocol": protocol}
            )
            done(index + 1)
    stacked = {k: np.stack(v, axis=1) for k, v in sums.items()}
    return Anatomy(_table(rows, stacked), stacked)


def _table(rows: list[dict[str, Any]], sums: dict[str, np.ndarray]) -> pd.DataFrame:
    found, left = shares({k: v.sum(0) for k, v in sums.items()}), _left_out(sums)
    table = pd.DataFrame(rows)
    for name, values in found.items():
        table[name], table[f"{name}_se"] = values, jackknife_error(left[name])
    return table


def _activations(
    model: LanguageModel, tokens: Tensor, site: str, target: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs `[n, d_in]`, targets `[n, d_out]` and the number of each one's window `[n]`."""
    inputs, targets, windows = [], [], []
    for number, row in enumerate(tokens):
        row = row[None].to(model.device)
        found, counted = model.capture(row, list(dict.fromkeys((site, target)))), model.counted(row)
        inputs.append(found[site][counted].float())
        targets.append(found[target][counted].float())
        windows.append(torch.full((int(counted.sum()),), number))
    return torch.cat(inputs), torch.cat(targets), torch.cat(windows).to(model.device)


def _per_window(values: Tensor, windows: Tensor) -> np.ndarray:
    """Sums over the tokens of each window `[windows]`."""
    return torch.bincount(windows, values.double(), int(windows.max()) + 1).cpu().numpy()


def unexplained(predictor: Tensor, error: Tensor, windows: Tensor) -> Tensor:
    """‖e − A z − b‖² of every token `[n]`, (A, b) from the windows of other folds."""
    left = torch.zeros(len(error), dtype=torch.float64, device=error.device)
    fold = windows * FOLDS // (int(windows.max()) + 1)
    for k in range(FOLDS):
        held, inner = fold == k, fold == (k + 1) % FOLDS
        ridge = _best_ridge(predictor, error, ~(held | inner), inner)
        predicted = next(_fits(predictor, error, ~held, held, (ridge,)))
        left[held] = (error[held] - predicted).double().square().sum(1)
    return left


def _best_ridge(predictor: Tensor, error: Tensor, fit: Tensor, score: Tensor) -> float:
    tries = _fits(predictor, error, fit, score, RIDGES)
    losses = [float((error[score] - predicted).square().sum()) for predicted in tries]
    return RIDGES[int(np.argmin(losses))]


def _fits(
    predictor: Tensor, error: Tensor, fit: Tensor, score: Tensor, ridges: Sequence[float]
) -> Iterator[Tensor]:
    """Predictions of the scored tokens, one per ridge; columns that do not vary in the fit get no weight."""
    z, e = predictor[fit], error[fit]
    mean, target_mean = z.mean(0), e.mean(0)
    spread = z.std(0)
    scale = torch.where(spread > 1e-12, 1 / spread.clamp_min(1e-12), 0.0)
    z = (z - mean) * scale
    values, vectors = torch.linalg.eigh((z.T @ z).double() / len(z))
    product = vectors.T @ ((z.T @ (e - target_mean)).double() / len(z))
    new = (predictor[score] - mean) * scale
    for ridge in ridges:
        weights = vectors @ (product / (values.clamp_min(0) + ridge)[:, None])
        yield new @ weights.float() + target_mean
