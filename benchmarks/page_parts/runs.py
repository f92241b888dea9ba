"""The language model, the SAEs of the studies, and the texts that the pages use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import frontier
from frontier.studies.evaluation import Evaluation
from trainers import evaluation_windows, load_language_model, load_saes
from trainers.studies.configurations import run

SITE = "mlp_out.-1"
BATCHES = 16
"""Of held-out text, 2 windows each: what standard errors of the text rest on."""
QUICK = 150
"""A quick run has one window in so many, but no fewer than 4; of 1200 the least that the anatomy takes."""


class Pages:
    """The language model, the SAEs of the studies, and the texts that the pages use."""

    def __init__(self, runs: Path, figures: Path, quick: bool = False) -> None:
        self.model, self.runs, self._quick = load_language_model(), runs, quick
        self._figures = figures
        self._read = cache(partial(evaluation_windows, self.model, progress=False))
        self.tokens, protocol = self._windows(2 * BATCHES, "evaluation")
        self.options: dict[str, Any] = {"protocol": protocol, "batch_size": 2}

    def held_out(self, windows: int) -> Any:
        """Windows of text that no SAE was trained on."""
        return self._windows(windows, "evaluation")[0]

    def training(self, windows: int) -> Any:
        """Windows of training text."""
        return self._windows(windows, "train")[0]

    def _windows(self, windows: int, split: str) -> tuple[Any, str]:
        few = max(4, windows // QUICK)
        return self._read(windows=few if self._quick else windows, split=split)

    def draw(self, figure: Callable[..., Any], *found: Any) -> None:
        """A figure of the pages, named as its function."""
        from matplotlib import pyplot as plt

        with frontier.paper_style():
            axes = figure(*found)
            frontier.save_figure(axes, self._figures / figure.__name__, ("png",))
        plt.close("all")

    def folder(self, study: str) -> Path:
        """The run of a study, trained now if it is not there."""
        if not (self.runs / study / "metrics.parquet").exists():
            run(study, self.runs / study, progress=False)
        return self.runs / study

    def saes(self, study: str = "after_training", *families: str) -> Iterator[tuple[int, list[Any]]]:
        """The SAEs of each seed, all or those of some families."""
        found = list(load_saes(self.folder(study) / "saes"))
        kept = [s for s in found if not families or s.identity["family"] in families]
        for seed in sorted({s.identity["seed"] for s in kept}):
            yield seed, [s for s in kept if s.identity["seed"] == seed]

    def table(self, study: str = "after_training") -> pd.DataFrame:
        """The metrics of a study."""
        return self.evaluation(study).table

    def evaluation(self, study: str = "after_training", seed: int | None = None) -> Evaluation:
        """What the run of a study was evaluated to be; of one seed, or of all."""
        found = Evaluation.load(self.folder(study))
        return found if seed is None else part_of(found, found.table["seed"] == seed)


def part_of(evaluation: Evaluation, rows: Any) -> Evaluation:
    """Some SAEs of an evaluation."""
    table = evaluation.table[rows]
    mine = evaluation.batches["run_id"].isin(table["run_id"])
    counts = {k: v for k, v in evaluation.frequencies.items() if k in set(table["run_id"])}
    return Evaluation(table, evaluation.batches[mine], counts, evaluation.tokens)


def by_seed(pages: Pages, work: Callable[[int, list[Any]], pd.DataFrame], *of: str) -> pd.DataFrame:
    """One table of what each seed gives."""
    found = [work(seed, saes).assign(seed=seed) for seed, saes in pages.saes(*of)]
    return pd.concat(found, ignore_index=True)


def settings_of(table: pd.DataFrame) -> dict[str, float]:
    """The sparsity setting of each SAE by its name."""
    return dict(zip(table["run_id"], table["sparsity_setting"], strict=True))


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as records of plain numbers, four digits."""
    plain = table.map(lambda v: float(f"{v:.4g}") if isinstance(v, float | np.floating) else v)
    return json.loads(plain.to_json(orient="records"))
