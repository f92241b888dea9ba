"""What an evaluation found: a row of the metrics table per SAE, sums per batch, firing counts; save, load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from frontier.distributions import jackknife_error
from frontier.metrics.frequencies import PER_DECADE, frequency_bins, latents_by_frequency
from frontier.readers import our_runs
from frontier.studies.batch_sums import metrics_of, without_each
from frontier.wording import nearest
from frontier.writing import naming, whole_file

METRICS_FILE, BATCHES_FILE, FREQUENCIES_FILE = our_runs.METRICS, our_runs.BATCHES, our_runs.FREQUENCIES


class EvaluationError(ValueError):
    """An evaluation that cannot be made or read; the message is one line."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Metrics of several SAEs at one site.

    Attributes
    ----------
    table : DataFrame
        Rows of the metrics table, with `<metric>_se`.
    batches : DataFrame
        Per `run_id` and `batch`: `tokens`, `predictions`, and the sums that the metrics are ratios of
        (`<name>_sum`). The same batches for all SAEs, so that comparisons may be paired.
    frequencies : dict of str to array
        By `run_id`: on how many of the `tokens` each latent fired `[F]`.
    tokens : int
        Tokens that were counted.
    """

    table: pd.DataFrame
    batches: pd.DataFrame = field(repr=False)
    frequencies: dict[str, np.ndarray] = field(repr=False)
    tokens: int

    def histogram(self, run_id: str, per_decade: int = PER_DECADE) -> pd.DataFrame:
        """Latents by firing frequency: columns `low`, `high`, `latents`; bins are low < frequency ≤ high.

        The first row, with low and high 0, holds the latents that never fired; the others are equal in the
        logarithm, from the decade of one firing in all tokens up to 1. Every SAE has the same bins.
        """
        edges = frequency_bins(self.tokens, per_decade)
        counts = self._known(run_id)
        latents = latents_by_frequency(counts, self.tokens, per_decade)
        return pd.DataFrame(
            {
                "low": np.concatenate([[0.0], edges[:-1]]),
                "high": np.concatenate([[0.0], edges[1:]]),
                "latents": np.concatenate([[int((counts == 0).sum())], latents]),
            }
        )

    def difference(self, metric: str, run_id: str, reference: str) -> tuple[float, float]:
        """metric(run_id) − metric(reference) and its standard error, paired by batch (jackknife)."""
        found = {}
        for name in (run_id, reference):
            self._known(name)
            rows = self.batches[self.batches["run_id"] == name].sort_values("batch")
            sums = sums_of(rows)
            whole = metrics_of({k: v.sum() for k, v in sums.items()})
            if metric not in whole:
                raise EvaluationError(f"no metric {metric!r} with values per batch{nearest(metric, whole)}")
            left = metrics_of({k: without_each(v) for k, v in sums.items()})
            found[name] = whole[metric], left[metric]
        ours, theirs = found[run_id], found[reference]
        return float(ours[0] - theirs[0]), float(jackknife_error(ours[1] - theirs[1]))

    def save(self, folder: str | Path, kept: str = "") -> Path:
        """Write `metrics.parquet`, `batches.parquet` and `frequencies.safetensors`.

        All are written before one takes its place, so that a full disk leaves no mixture of old and new;
        `kept` says what is still there then, in place of what is known of the file.
        """
        from safetensors.numpy import save_file

        folder = Path(folder)
        writers: dict[str, Callable[[Path], None]] = {
            METRICS_FILE: lambda draft: self.table.to_parquet(draft, index=False),
            BATCHES_FILE: lambda draft: self.batches.to_parquet(draft, index=False),
            FREQUENCIES_FILE: lambda draft: save_file(self.frequencies, draft, {"tokens": str(self.tokens)}),
        }
        with ExitStack() as all_of_them:
            for name, write in writers.items():
                draft = all_of_them.enter_context(whole_file(folder / name, kept))
                with naming(folder / name, kept):
                    write(draft)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """Read what `save` wrote.

        Raises
        ------
        EvaluationError
            If a file is missing or torn.
        """
        from safetensors import SafetensorError, safe_open

        folder = Path(folder)
        try:
            table, batches = (pd.read_parquet(folder / name) for name in (METRICS_FILE, BATCHES_FILE))
            with safe_open(folder / FREQUENCIES_FILE, framework="np") as file:
                frequencies = {name: file.get_tensor(name) for name in file.keys()}
                tokens = int(file.metadata()["tokens"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise EvaluationError(f"no evaluation in {folder}: {error}") from error
        ordered = {name: frequencies[name] for name in table["run_id"] if name in frequencies}
        if len(ordered) != len(table):
            raise EvaluationError(f"{folder / FREQUENCIES_FILE} has {len(ordered)} of {len(table)} SAEs")
        return cls(table, batches, ordered, tokens)

    def _known(self, run_id: str) -> np.ndarray:
        if run_id not in self.frequencies:
            raise EvaluationError(f"no SAE {run_id!r} in this evaluation{nearest(run_id, self.frequencies)}")
        return self.frequencies[run_id]


def sums_of(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """The sums per batch in the rows of one SAE, by name."""
    own = rows.drop(columns=["run_id", "batch"])
    return {str(c).removesuffix("_sum"): own[c].to_numpy(float) for c in own}


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Evaluations of different SAEs on the same batches of text as one, in their order.

    Raises
    ------
    EvaluationError
        If they are not of one text.
    """
    if len({p.tokens for p in parts}) != 1:
        raise EvaluationError(
            f"evaluations of {sorted({p.tokens for p in parts})} tokens are not of one text"
        )
    return Evaluation(
        pd.concat([p.table for p in parts], ignore_index=True),
        pd.concat([p.batches for p in parts], ignore_index=True),
        {name: counts for p in parts for name, counts in p.frequencies.items()},
        parts[0].tokens,
    )
