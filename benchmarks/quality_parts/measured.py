"""SAEs of one cell, ours or a peer's, on the one evaluator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.quality_parts.design import Cell
from benchmarks.quality_parts.sites import SITES, configuration
from trainers.activations import Scaling, evaluation_windows
from trainers.config import RunConfig
from trainers.evaluate import evaluate
from trainers.export import load
from trainers.run import build_run
from trainers.sae import SAE

COLUMNS = ("setting", "l0", "hit", "fvu", "dead")
"""Of an SAE in the result file; hit is missing where no language model stands behind the rows."""


@dataclass
class Evaluator:
    """The model and the held-out windows of a place."""

    config: RunConfig

    def __post_init__(self) -> None:
        run = build_run(self.config, progress=False)
        self.model, given = run.model, self.config
        self.site = given.activations.site
        length = given.activations.context_length
        self.tokens, self.protocol = evaluation_windows(
            self.model, given.evaluation_text, given.evaluation.windows, length, progress=False
        )

    def __call__(self, saes: list[SAE]) -> list[list[float | None]]:
        """Each SAE's `COLUMNS`."""
        table = evaluate(
            saes, self.model, self.tokens, self.site,
            batch_size=self.config.evaluation.batch_size, protocol=self.protocol,
        ).table  # fmt: skip
        return rows(table)


def rows(table: pd.DataFrame) -> list[list[float | None]]:
    """What the result file keeps of a metrics table."""
    kept = pd.DataFrame(
        {
            "setting": table["sparsity_setting"].astype(float), "l0": table["l0"].round(3),
            "hit": (1 - table["loss_recovered"]).round(5), "fvu": table["fvu"].round(5),
            "dead": (1 - table["alive_fraction"]).round(4),
        }
    )  # fmt: skip
    return kept.astype(object).where(kept.notna(), None).to_numpy().tolist()


def ours(cell: Cell, windows: int) -> tuple[list[SAE], float]:
    """Train our SAEs of a cell at the default learning rate; and that rate."""
    run = build_run(configuration(cell.place, [cell.architecture], [cell.seed], windows), progress=False)
    while run.step < cell.place.steps:
        batch = next(run.stream)
        for engine in run.engines:
            engine.step(batch, run.step)
        run.step += 1
    return run.saes(), run.families[0].members[0].learning_rate


def theirs(folder: Path, cell: Cell, scaling: Scaling) -> list[SAE]:
    """The SAEs that a peer left in a folder, for raw rows, under one name each."""
    found = []
    for setting in cell.settings:
        sae = load(folder / f"{setting:g}")
        identity = {
            "run_id": f"{cell.method} {setting:g}", "family": cell.method, "site": SITES[cell.place.site],
            "sparsity_setting": setting,
        }  # fmt: skip
        if cell.place.site != "shipped":
            identity.pop("site")
        found.append(for_raw_rows(sae, scaling, identity))
    return found


def for_raw_rows(sae: SAE, scaling: Scaling, identity: dict[str, Any]) -> SAE:
    """An SAE trained on scaled rows, with the scale and the centre folded in."""
    parameters = sae.architecture.fold(
        sae.parameters, scaling.input_scale, scaling.target_scale, scaling.input_centre, scaling.target_centre
    )
    return SAE(sae.architecture, parameters, identity)


def error_of_conversion(
    folder: Path, cell: Cell, saes: list[SAE], scaled: torch.Tensor, scaling: Scaling
) -> float:
    """How far our reading of a peer's SAEs is from what the peer itself rebuilds, in their RMS.

    Of 95 % of the rows: where a latent lies within rounding of its threshold or of the k-th place, either may
    be right.
    """
    raw = scaled / scaling.input_scale + (0 if scaling.input_centre is None else scaling.input_centre)
    worst = 0.0
    for sae, setting in zip(saes, cell.settings, strict=True):
        wanted = torch.from_numpy(np.load(folder / f"{setting:g}" / "reconstructed.npy"))
        found = sae(raw)
        if scaling.target_centre is not None:
            found = found - scaling.target_centre
        apart = (found * scaling.target_scale - wanted).abs().amax(1) / wanted.square().mean().sqrt()
        worst = max(worst, float(apart.quantile(0.95)))
    return worst
