"""Sums over batches of everything that is measured of several SAEs, and the table that they make."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frontier.distributions import jackknife_error
from frontier.studies.batch_sums import (
    PER_MEMBER,
    SHARED,
    metrics_of,
    without_each,
)
from frontier.studies.evaluation import Evaluation, EvaluationError
from trainers.evaluate.firing_counts import FiringCounts
from trainers.evaluate.linear_error import LinearError
from trainers.sae import reconstruction

OTHER_COLUMNS = {*SHARED, *PER_MEMBER, *metrics_of({k: np.ones(1) for k in (*SHARED, *PER_MEMBER)})}
"""Names that a metric of an architecture's own cannot have."""
NO_RANGE = "loss_recovered is undefined: ablation does not raise the loss"


class Tally:
    """Sums of all batches and SAEs.

    A batch is opened by the caller, whole or in parts that are added up: it has `input [n, d_in]`,
    `target [n, d_out]`, `target_norm [n]`, the sums that all SAEs share in `shared`, and
    `losses(reconstruction)`, the
    sums of cross-entropy and KL.
    """

    def __init__(self, saes: list[Any], names: list[str], batches: int, input_mean: Tensor) -> None:
        self._names = names
        shape = (batches, len(saes))
        self._sums = {k: np.zeros(shape) for k in (*SHARED, *PER_MEMBER)}
        self._with_own: dict[str, set[int]] = {}
        self._firing = FiringCounts([s.dictionary_size for s in saes], batches)
        self._linear = LinearError(len(saes), saes[0].d_in, saes[0].d_out, batches, input_mean)

    def start(self, batch: int, opened: Any, again: bool = False) -> None:
        """Take what all SAEs share; `again` if it was taken before, for other SAEs."""
        self._linear.start(batch, opened.input, again)
        if again:
            return
        shared = opened.shared
        for name, value in shared.items():
            self._sums[name][batch] += value
        self._firing.add_tokens(batch, shared["tokens"])

    def add(self, batch: int, member: int, sae: Any, opened: Any) -> None:
        """Take one SAE's sums over one batch."""
        f = sae.encode(opened.input)  # [n, F]
        t, t_hat = opened.target, reconstruction(sae, opened.input, f).float()
        if t_hat.shape != t.shape:
            raise EvaluationError(
                f"SAE {self._names[member]!r} gives {list(t_hat.shape)}, the activations are {list(t.shape)}"
            )
        error = t - t_hat
        squared_error, l1 = total(error.square()), total(f.abs())
        if not np.isfinite(squared_error + l1):
            self._give_up(batch, member)
            return
        counts = (f != 0).sum(0)  # [F]
        inner, norm = (t * t_hat).sum(1), t_hat.norm(dim=1)
        cross_entropy, kl = opened.losses(t_hat)
        found = {
            "l0": total(counts), "l1": l1, "squared_error": squared_error,
            "cosine": total(inner / (norm * opened.target_norm).clamp_min(1e-30)),
            "l2_ratio": total(norm / opened.target_norm), "reconstruction_squares": total(norm.square()),
            "inner_product": total(inner), "ce_sae": cross_entropy, "kl": kl,
        }  # fmt: skip
        for name, value in (found | self._own(member, sae, opened, f)).items():
            self._sums[name][batch, member] += value
        self._firing.add(batch, member, counts.cpu().numpy())
        self._linear.add(member, error)

    def _own(self, member: int, sae: Any, opened: Any, f: Tensor) -> dict[str, float]:
        """Sums of the metrics of the architecture's own; other SAEs have none of that name."""
        found = sae.metrics(opened.input, f, opened.target) if hasattr(sae, "metrics") else {}
        for name, values in found.items():
            if name in OTHER_COLUMNS:
                raise EvaluationError(
                    f"SAE {self._names[member]!r}: {name!r} is a column already; name it anew"
                )
            if values.shape != opened.target_norm.shape:
                raise EvaluationError(
                    f"SAE {self._names[member]!r}: metric {name!r} must be a value per token "
                    f"{list(opened.target_norm.shape)}, is {list(values.shape)}"
                )
            own = self._sums.setdefault(name, np.full(self._sums["l0"].shape, np.nan))
            if member not in self._with_own.setdefault(name, set()):
                own[:, member] = np.where(np.isnan(self._sums["l0"][:, member]), np.nan, 0.0)
                self._with_own[name].add(member)
        return {name: total(values.float()) for name, values in found.items()}

    def _give_up(self, batch: int, member: int) -> None:
        if not np.isnan(self._sums["l0"][:, member]).any():
            warnings.warn(
                f"SAE {self._names[member]!r} gives NaN or infinity in batch {batch}; "
                "its metrics are missing",
                stacklevel=5,
            )
        for name in self._sums.keys() - set(SHARED):
            self._sums[name][batch, member] = np.nan

    def result(self, rows: list[dict[str, Any]], common: dict[str, str]) -> Evaluation:
        """The evaluation, once all batches are in."""
        found = metrics_of({k: v.sum(0) for k, v in self._sums.items()})
        errors = {k: jackknife_error(v) for k, v in metrics_of(_left_out(self._sums)).items()}
        found["error_linear_fraction"], errors["error_linear_fraction"] = (
            v.numpy() for v in self._linear.fractions()
        )
        for member, row in enumerate(rows):
            metrics = {k: float(v[member]) for k, v in found.items()} | self._firing.shares(member)
            metrics |= {f"{k}_se": float(v[member]) for k, v in errors.items()}
            if np.isnan(metrics["l0"]):  # given up: what was counted before that says nothing
                metrics = dict.fromkeys(metrics, np.nan)
            row |= metrics | common
            if metrics["ce_mean_ablation"] <= metrics["ce_clean"]:
                row["doubts"] = NO_RANGE
        frequencies = {name: self._firing.total(i) for i, name in enumerate(self._names)}
        tokens = int(self._sums["tokens"][:, 0].sum())
        return Evaluation(pd.DataFrame(rows), self._per_batch(), frequencies, tokens)

    def _per_batch(self) -> pd.DataFrame:
        batches, members = self._sums["l0"].shape
        columns: dict[str, Any] = {
            "run_id": np.repeat(np.array(self._names, dtype=object), batches),
            "batch": np.tile(np.arange(batches), members),
        }
        for name, values in self._sums.items():
            whole = name in ("tokens", "predictions")
            columns[name if whole else f"{name}_sum"] = values.T.ravel().astype(np.int64 if whole else float)
        return pd.DataFrame(columns)


def _left_out(sums: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: without_each(v) for k, v in sums.items()}


def total(values: Tensor) -> float:
    """The sum as a number: rows as they are, then over rows in double precision."""
    rows = values.sum(-1) if values.ndim > 1 else values
    return float(rows.sum(dtype=torch.float64))
