"""Sums over batches of everything that is measured of several SAEs, and the table that they make."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frontier.distributions import jackknife_error
from frontier.studies.batch_sums import (
    ERROR_AT,
    PER_MEMBER,
    SHARED,
    SPREAD_AT,
    metrics_of,
    without_each,
)
from frontier.studies.evaluation import Evaluation, EvaluationError
from trainers.evaluate.firing_counts import FiringCounts
from trainers.evaluate.linear_error import LinearError
from trainers.sae import reconstruction
from trainers.shards import ALONE, Shards

OTHER_COLUMNS = {*SHARED, *PER_MEMBER, *metrics_of({k: np.ones(1) for k in (*SHARED, *PER_MEMBER)})}
"""Names that a metric of an architecture's own cannot have."""
NO_RANGE = "loss_recovered is undefined: ablation does not raise the loss"


class Tally:
    """Sums of all batches and SAEs.

    A batch is opened by the caller, whole or in pieces that are added up: it has `input [n, d_in]`,
    `target [n, d_out]`, `measured`, the target in the units of its `parts`, `target_norm [n]` of that, the
    sums that all SAEs share in `shared`, and `losses(reconstruction)`, the sums of cross-entropy and KL.

    Of SAEs that are divided over `shards` each process counts its own latents, and sees its windows through
    the language model. The moments of the reconstruction, which all have, one of them takes: the first for
    the first SAE, the second for the second. `result` adds up, and is the same in all.
    """

    def __init__(
        self, saes: list[Any], names: list[str], batches: int, input_mean: Tensor, shards: Shards = ALONE,
        parts: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._names, self._shards = names, shards
        shape = (batches, len(saes))
        self._shared = (*SHARED, *(SPREAD_AT + part for part in parts))
        self._per_member = (*PER_MEMBER, *(ERROR_AT + part for part in parts))
        self._sums = {k: np.zeros(shape) for k in (*self._shared, *self._per_member)}
        self._with_own: dict[str, set[int]] = {}
        self._firing = FiringCounts([s.dictionary_size for s in saes], batches, shards)
        self._linear = LinearError(len(saes), saes[0].d_in, saes[0].d_out, batches, input_mean)

    def start(self, batch: int, opened: Any, again: bool = False) -> None:
        """Take what all SAEs share; `again` if it was taken before, for other SAEs."""
        self._linear.start(batch, opened.input, again)
        if again:
            return
        for name, value in opened.shared.items():
            self._sums[name][batch] += value
        self._firing.add_tokens(batch, len(opened.target))

    def add(self, batch: int, saes: dict[int, Any], opened: Any) -> None:
        """Take the sums of SAEs, by their places, over one batch."""
        for place, (member, sae) in enumerate(saes.items()):
            t_hat = self._codes(batch, member, sae, opened)
            if place % self._shards.count == self._shards.rank:
                self._reconstruction(batch, member, t_hat, opened)
            cross_entropy, kl = opened.losses(t_hat)
            self._take(batch, member, {"ce_sae": cross_entropy, "kl": kl})

    def _codes(self, batch: int, member: int, sae: Any, opened: Any) -> Tensor:
        """Take the codes of one SAE; its reconstruction `[n, d_out]`."""
        f = sae.encode(opened.input)  # [n, F]
        t_hat = reconstruction(sae, opened.input, f).float()
        if t_hat.shape != opened.target.shape:
            raise EvaluationError(
                f"SAE {self._names[member]!r} gives {list(t_hat.shape)}, the activations are "
                f"{list(opened.target.shape)}"
            )
        counts = f.bool().sum(0, dtype=torch.int32)  # [F]; f != 0 takes longer
        found = {"l0": total(counts), "l1": total(f.abs())} | self._own(member, sae, opened, f)
        self._take(batch, member, found)
        self._firing.add(batch, member, counts.cpu().numpy())
        return t_hat

    def _reconstruction(self, batch: int, member: int, t_hat: Tensor, opened: Any) -> None:
        """Take what one SAE's reconstruction is."""
        t, t_hat = opened.measured, opened.parts.in_units(t_hat)
        error = t - t_hat
        squared_error = total(error.square())
        if not np.isfinite(squared_error):
            self._take(batch, member, {"squared_error": np.nan})
            return
        inner, norm = (t * t_hat).sum(1), t_hat.norm(dim=1)
        found = {
            "squared_error": squared_error,
            "cosine": total(inner / (norm * opened.target_norm).clamp_min(1e-30)),
            "l2_ratio": total(norm / opened.target_norm), "reconstruction_squares": total(norm.square()),
            "inner_product": total(inner), **opened.parts.errors(error),
        }  # fmt: skip
        self._take(batch, member, found)
        self._linear.add(member, error)

    def _take(self, batch: int, member: int, found: dict[str, float]) -> None:
        for name, value in found.items():
            self._sums[name][batch, member] += value

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
                own[:, member] = 0.0
                self._with_own[name].add(member)
        return {name: total(values.float()) for name, values in found.items()}

    def _all_shards(self) -> None:
        """Add up what each shard has of every SAE; of those that gave NaN or infinity nothing is left."""
        names = [*self._shared, *self._per_member]
        here = torch.from_numpy(np.stack([self._sums[name] for name in names]))
        self._sums |= dict(zip(names, self._shards.total(here).numpy(), strict=True))
        lost = ~np.isfinite(self._sums["squared_error"] + self._sums["l1"])
        for name in self._sums.keys() - set(self._shared):
            self._sums[name][lost] = np.nan
        for member in np.flatnonzero(lost.any(0)) if self._shards.rank == 0 else ():
            warnings.warn(
                f"SAE {self._names[member]!r} gives NaN or infinity in batch {lost[:, member].argmax()}; "
                "its metrics are missing",
                stacklevel=5,
            )

    def result(self, rows: list[dict[str, Any]], common: dict[str, str]) -> Evaluation:
        """The evaluation, once all batches are in."""
        self._all_shards()
        found = metrics_of({k: v.sum(0) for k, v in self._sums.items()})
        errors = {k: jackknife_error(v) for k, v in metrics_of(_left_out(self._sums)).items()}
        found["error_linear_fraction"], errors["error_linear_fraction"] = self._shards.only(
            torch.stack(self._linear.fractions())
        ).numpy()
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
