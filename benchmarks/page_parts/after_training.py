"""The sections of docs/after_training.md: what is done to trained SAEs, and what that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.page_parts import figures
from benchmarks.page_parts.runs import BATCHES, SITE, Pages, by_seed, part_of, records, settings_of
from frontier.studies.evaluation import Evaluation
from frontier.studies.over_seeds import over_seeds
from frontier.studies.paired_frontiers import changes, compare_curves
from frontier.studies.pruning_costs import BEST_OF_THE_POST, pruning_costs
from trainers.evaluate import evaluate
from trainers.recipes import GATED_ABLATIONS
from trainers.studies.finetune import KL, MSE, FineTuning, finetune
from trainers.studies.inference_time import EXACT, best_dictionaries, encoder_costs, pursue, pursuit_costs
from trainers.studies.prune import prune
from trainers.studies.rescale import rescale

means = partial(over_seeds, batches=BATCHES)
KEPT = (0.6, 0.5, 0.4)
"""Shares of the L0 to prune to: the nearest to a half, between which a half is read off."""
AT = (3.0, 6.0, 12.0, 20.0)
TARGETS = (1, 2, 4, 8, 16)
BETWEEN = (2.0, 4.0, 8.0, 15.0)
"""L0s at which dictionaries are compared: pursuit to 16 latents ends a little below, where no more help."""
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


def pruning(pages: Pages) -> dict[str, Any]:
    """What halving L0 costs, per SAE and per family."""
    training = pages.training(200)

    def pruned(seed: int, saes: list[Any]) -> pd.DataFrame:
        found = prune(
            saes, pages.model, pages.tokens, SITE, training_tokens=training, kept=KEPT, **pages.options
        )
        setting = settings_of(found.table)
        if not seed:
            relu = [s.identity["run_id"] for s in saes if s.identity["family"] == "relu"]
            pages.draw(figures.pruning, found, str(relu[len(relu) // 2]))
        costs = [pruning_costs(found, metric=m) for m in ("ce_sae", "fvu")]
        return pd.concat(costs).assign(setting=lambda t: t["parent"].map(setting))

    costs = by_seed(pages, pruned)
    best, others = (costs[(costs["method"] == BEST_OF_THE_POST) == is_best] for is_best in (True, False))
    return {
        "cost": records(means(costs, "cost", ["metric", "base", "method"], within="setting")),
        "behind": records(
            means(others, "behind", ["metric", "base", "method"], within="setting", comparisons=3)
        ),
        "per SAE": records(_with_l0(best, means(best, "cost", ["metric", "base", "setting"]))),
        "against trained": records(means(best, "against_trained", ["metric", "base", "setting"])),
    }


def _with_l0(costs: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    return found.merge(costs.groupby(["metric", "base", "setting"], as_index=False)["l0"].mean())


def shrinkage(pages: Pages) -> dict[str, Any]:
    """γ of every SAE, and ReLU rescaled, pruned, and both, against Gated at equal L0."""
    training, few, gammas = pages.training(400), pages.training(200), []

    def differences(seed: int, saes: list[Any]) -> pd.DataFrame:
        relu = [s for s in saes if s.identity["family"] == "relu"]
        fitted = rescale(relu, pages.model, training, SITE)
        found = evaluate([*saes, *fitted], pages.model, pages.tokens, SITE, **pages.options)
        gammas.append(found.table.assign(seed=seed))
        if not seed:
            pages.draw(figures.shrinkage, found)
        how = pages.options | {"training_tokens": few, "kept": (0.5,)}
        both = prune([*relu, *fitted], pages.model, pages.tokens, SITE, **how)
        found = _joined(found, part_of(both, both.table["sparsity_name"].eq(BEST_OF_THE_POST)))
        curves = {str(f): list(part["run_id"]) for f, part in found.table.groupby("family", sort=False)}
        curves = {f: curves[f] for f in curves if f == "gated" or f.startswith("relu")}
        return pd.concat(
            [compare_curves(found, "gated", AT, curves=curves, metric=m) for m in ("ce_sae", "fvu")]
            + [compare_curves(found, "relu", AT, curves=curves)]
        )

    found = by_seed(pages, differences)
    of = ["reference", "metric", "family", "l0"]
    gamma = pd.concat(gammas, ignore_index=True)
    return {
        "gamma": records(_with_mean_l0(gamma, means(gamma, "shrinkage", ["family", "sparsity_setting"]))),
        "differences": records(means(found, "difference", of, comparisons=len(AT))),
    }


def _with_mean_l0(table: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    return found.merge(table.groupby(["family", "sparsity_setting"], as_index=False)["l0"].mean())


def _joined(one: Evaluation, other: Evaluation) -> Evaluation:
    tables, batches = ([getattr(e, n) for e in (one, other)] for n in ("table", "batches"))
    counts = one.frequencies | other.frequencies
    return Evaluation(pd.concat(tables), pd.concat(batches), counts, one.tokens)


def ablations(pages: Pages) -> dict[str, Any]:
    """Gated's ablations at equal L0, less Gated as it is."""
    parts, at = [], (2.0, 4.0, 10.0, 25.0)
    for seed in (0, 1, 2):
        found = pages.evaluation("gated_ablations", seed)
        if set(found.table["family"]) == set(GATED_ABLATIONS):
            for metric in ("ce_sae", "fvu"):
                parts.append(compare_curves(found, "gated", at, metric=metric).assign(seed=seed))
    table = pages.table("gated_ablations")
    l0 = table.groupby(["family", "sparsity_setting"], as_index=False)["l0"].mean()
    if not parts:
        return {"l0": records(l0)}
    differences = means(pd.concat(parts), "difference", ["metric", "family", "l0"], comparisons=16)
    return {"l0": records(l0), "differences": records(differences)}


def pursuit(pages: Pages) -> dict[str, Any]:
    """Encoders and dictionaries by exact pursuit, and what gradient pursuit adds to the error."""
    training = pages.training(200)[::12]
    encoders, beside, chosen = [], [], []

    def dictionaries(seed: int, saes: list[Any]) -> pd.DataFrame:
        found = pursue(saes, pages.model, pages.tokens, SITE, targets=TARGETS, **pages.options)
        best = best_dictionaries(saes, pages.model, training, SITE, targets=TARGETS)
        setting = settings_of(found.table)
        costs = encoder_costs(found)
        encoders.append(costs.assign(seed=seed, setting=costs["parent"].map(setting)))
        chosen.append(best.assign(seed=seed, setting=best["parent"].map(setting)))
        at_8 = [s for s in saes if s.identity["run_id"] in set(best.loc[best["target"] == 8, "parent"])]
        beside.append(pursuit_costs(at_8, pages.model, training, SITE, targets=TARGETS).assign(seed=seed))
        curves = {str(f): list(part["run_id"]) for f, part in best.groupby("family", sort=False)}
        if not seed:
            pages.draw(figures.inference_time, found, list(best["run_id"]))
        return pd.concat([_between_dictionaries(found, curves, m) for m in ("fvu", "ce_sae")])

    between = by_seed(pages, dictionaries)
    cost = pd.concat(encoders, ignore_index=True)
    ratios = pd.concat(beside, ignore_index=True).assign(mse_ratio_se=0.0)
    return {
        "encoders": records(
            means(cost, "cost", ["family", "setting"]).merge(
                cost.groupby(["family", "setting"], as_index=False)["l0"].mean()
            )
        ),
        "dictionaries": records(means(between, "difference", ["metric", "family", "l0"], comparisons=16)),
        "chosen": records(pd.concat(chosen)[["family", "seed", "target", "setting"]]),
        "gradient over exact": records(means(ratios, "mse_ratio", ["family", "target"])),
    }


def _between_dictionaries(found: Evaluation, curves: dict[str, list[str]], metric: str) -> pd.DataFrame:
    """The chosen dictionaries less those of ReLU; squared error as a share of ReLU's."""
    table = compare_curves(found, f"relu + {EXACT}", BETWEEN, curves=curves, metric=metric)
    if metric == "ce_sae":
        return table
    base = table["value"] - table["difference"]
    return table.assign(**{c: table[c] / base for c in ("difference", "difference_se")})


def finetuning(pages: Pages) -> dict[str, Any]:
    """KL and MSE fine-tuning of TopK (all parameters) and ReLU (the decoder alone): ratios over the SAEs."""
    training, parts, drawn = pages.training(350), [], []
    for family, ways in TUNING.items():
        for seed, mine in pages.saes("after_training", family):
            tuned = [one for how in ways for one in finetune(mine, pages.model, training, SITE, how=how)]
            found = evaluate([*mine, *tuned], pages.model, pages.tokens, SITE, **pages.options)
            setting = settings_of(found.table)
            drawn += [] if seed else [found]
            for metric in ("kl", "ce_sae", "mse"):
                parts.append(
                    changes(found, metric).assign(seed=seed, setting=lambda t, s=setting: t["parent"].map(s))
                )
    pages.draw(figures.finetuning, _joined(*drawn))
    found = pd.concat(parts, ignore_index=True)
    found["log_ratio"] = np.log(found["ratio"])
    kl = found[found["metric"] == "kl"]
    control = kl[kl["family"].isin(["topk + MSE fine-tuning", "relu + MSE fine-tuning"])]
    beside = kl[kl["family"].isin(["topk + KL fine-tuning", "relu + KL fine-tuning"])].merge(
        control[["parent", "log_ratio"]], on="parent", suffixes=("", "_of_control")
    )
    beside["log_ratio"] -= beside["log_ratio_of_control"]
    of = ["metric", "family"]
    return {
        "ratios": records(means(found, "log_ratio", of, within="setting")),
        "per SAE": records(means(found, "log_ratio", [*of, "setting"])),
        "change": records(means(found, "change", [*of, "setting"])),
        "kl over control": records(means(beside, "log_ratio", of, within="setting")),
    }


SECTIONS: dict[str, Callable[[Pages], dict[str, Any]]] = {
    f.__name__: f for f in (pruning, shrinkage, ablations, pursuit, finetuning)
}
