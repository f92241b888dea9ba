"""The numbers of docs/after_training.md and of the errors in docs/looking_inside.md, in one command.

`python -m benchmarks.pages` trains the runs of `trainers.studies` that are not below `--runs` yet, then does
what the snippets of the pages do: pruning, pursuit (exact, and by gradient), fine-tuning, and the anatomy of
errors. Writes `benchmarks/results/pages.json`, a section at a time; `--sections` makes some of them again and
keeps the others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measuring import arguments, circumstances, folder_of, write
from frontier.studies.paired_frontiers import changes, compare_curves
from frontier.studies.pruning_costs import compare_methods, pruning_costs
from trainers import evaluation_windows, load_language_model, load_saes
from trainers.evaluate import evaluate
from trainers.studies.configurations import run
from trainers.studies.error_anatomy import error_anatomy
from trainers.studies.finetune import KL, MSE, FineTuning, finetune
from trainers.studies.inference_time import METHODS, best_dictionaries, encoder_costs, pursue, pursuit_costs
from trainers.studies.prune import prune

SITE = "mlp_out.-1"
QUICK = 150
"""A quick run has one window in so many, but no fewer than 4; of 1200 the least that the anatomy takes."""
DECODER = replace(KL, parameters=("W_dec",))
TUNING: dict[str, list[FineTuning]] = {
    "topk": [
        replace(KL, learning_rate=3e-3),
        replace(MSE, learning_rate=1e-3),
        FineTuning(mse=1.0, learning_rate=3e-3),
    ],
    "relu": [replace(DECODER, kl=kl, mse=1 - kl, learning_rate=1e-2) for kl in (1.0, 0.0)],
}
"""How each family is fine-tuned: every learning rate was chosen on one SAE and other training windows."""


class Pages:
    """The language model, the SAEs of the studies, and the texts that the pages use."""

    def __init__(self, runs: Path, quick: bool = False) -> None:
        self.model, self._runs, self._quick = load_language_model(), runs, quick
        self._read = cache(partial(evaluation_windows, self.model, progress=False))
        self.tokens, protocol = self._windows(64, "evaluation")
        self.options: dict[str, Any] = {"protocol": protocol, "batch_size": 4}

    def held_out(self, windows: int) -> Any:
        """Windows of text that no SAE was trained on."""
        return self._windows(windows, "evaluation")[0]

    def training(self, windows: int) -> Any:
        """Windows of training text."""
        return self._windows(windows, "train")[0]

    def _windows(self, windows: int, split: str) -> tuple[Any, str]:
        few = max(4, windows // QUICK)
        return self._read(windows=few if self._quick else windows, split=split)

    def saes(self, study: str = "after_training") -> list[Any]:
        """The SAEs of a study, trained now if they are not there."""
        folder = self._runs / study
        if not (folder / "metrics.parquet").exists():
            run(study, folder, progress=False)
        return list(load_saes(folder / "saes"))


def pruning(pages: Pages) -> dict[str, Any]:
    """What halving L0 costs, per SAE and per family."""
    found = prune(
        pages.saes(), pages.model, pages.tokens, SITE, training_tokens=pages.training(200), **pages.options
    )
    costs = {metric: pruning_costs(found, metric=metric) for metric in ("ce_sae", "fvu")}
    return {m: {"saes": rows(c), "families": rows(compare_methods(c))} for m, c in costs.items()}


def pursuit(pages: Pages) -> dict[str, Any]:
    """Encoders and dictionaries, by either pursuit, and what gradient pursuit adds to the error."""
    saes, training = pages.saes(), pages.training(200)
    made: dict[str, Any] = {}
    for method in METHODS:
        found = pursue(saes, pages.model, pages.tokens, SITE, method=method, **pages.options)
        best = best_dictionaries(saes, pages.model, training[::6], SITE, method=method)
        curves = {str(f): list(part["run_id"]) for f, part in best.groupby("family", sort=False)}
        made[method] = {"encoders": rows(encoder_costs(found)), "chosen": rows(best)}
        for metric in ("ce_sae", "fvu"):
            made[method][metric] = rows(_between_dictionaries(found, curves, f"relu + {method}", metric))
    return made | {"gradient over exact": rows(pursuit_costs(saes, pages.model, training[::24], SITE))}


def _between_dictionaries(found: Any, curves: dict[str, list[str]], reference: str, metric: str) -> Any:
    """The chosen dictionaries against those of ReLU where both reach, and by how much of its value."""
    table = compare_curves(found, reference, [2, 4, 8, 16], curves=curves, metric=metric)
    base = table["value"] - table["difference"]
    return table.assign(**{c: table[f"difference{c}"] / base for c in ("", "_low", "_high")})


def finetuning(pages: Pages) -> dict[str, Any]:
    """KL and MSE fine-tuning of TopK (all parameters) and ReLU (the decoder alone): ratios over the SAEs."""
    made: dict[str, Any] = {}
    for family, ways in TUNING.items():
        mine = [s for s in pages.saes() if s.identity["family"] == family]
        training = pages.training(350)
        tuned = [one for how in ways for one in finetune(mine, pages.model, training, SITE, how=how)]
        found = evaluate([*mine, *tuned], pages.model, pages.tokens, SITE, **pages.options)
        made[family] = {m: rows(changes(found, m)) for m in ("kl", "ce_sae", "mse")}
    return made


def anatomy(pages: Pages) -> dict[str, Any]:
    """What errors are made of: the penalties of ReLU beside TopK at 256 latents, and TopK by size."""
    windows = pages.held_out(1200)
    made = {}
    for study in ("penalties", "widths"):
        found = error_anatomy(pages.saes(study), pages.model, windows, SITE)
        made[study] = rows(found.table)
    return made


SECTIONS: dict[str, Callable[[Pages], dict[str, Any]]] = {
    f.__name__: f for f in (pruning, pursuit, finetuning, anatomy)
}


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as records of plain numbers, four digits."""
    plain = table.map(lambda v: float(f"{v:.4g}") if isinstance(v, float | np.floating) else v)
    return json.loads(plain.to_json(orient="records"))


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print the CPU seconds of each section, write the result."""
    parser = arguments(__doc__, "4 to 8 windows of text")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs of the studies")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    asked = parser.parse_args(given)
    folder = folder_of(asked)
    place = folder / "pages.json"
    record = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    pages = Pages(asked.runs, asked.quick)
    for name in asked.sections:
        start = time.process_time()
        found = SECTIONS[name](pages)
        found["cpu_seconds"] = round(time.process_time() - start)
        record |= circumstances("torch", "numpy") | {name: found}
        print(f"{name}: {found['cpu_seconds']} CPU-seconds", flush=True)
        write("pages", record, folder)


if __name__ == "__main__":
    main()
