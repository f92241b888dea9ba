"""dictionary_learning: `eval_results.json` beside `config.json`, sweeps, logs; `ae.pt` is never opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from frontier.metrics.checks import TableError
from frontier.metrics.steps import without_step
from frontier.readers.configs import identity
from frontier.readers.found import Found, Row, flat, num, table, text
from frontier.readers.opening import json_file
from frontier.readers.sae_lens import say_changes

TOOL = "dictionary_learning"
NAMES = {
    "frac_recovered": "loss_recovered",
    "loss_original": "ce_clean",
    "loss_reconstructed": "ce_sae",
    "loss_zero": "ce_zero_ablation",
    "cossim": "cosine_similarity",
    "relative_reconstruction_bias": "shrinkage",
    "frac_alive": "alive_fraction",
    "l2_loss": "mean_error_norm",
}
MEASURES = ("l0", "l1_loss", "l2_ratio", "frac_variance_explained", *NAMES)
LOGGED = (*MEASURES, "effective_l0")
SWEEP = ("sae_config_dictionary_learning", "basic_eval_results")
SQUARED = ("topk", "batch_topk", "matryoshka_batch_topk", "jumprelu")
"""Trainers whose logged `l2_loss` is squared."""


def is_result(content: dict[str, Any]) -> bool:
    """Whether a JSON dict is what `evaluate` returns."""
    return num(content.get("l0")) is not None and (
        "frac_recovered" in content
        or "frac_variance_explained" in content
        or ("loss_original" in content and "loss_reconstructed" in content)
    )


def is_sweep(content: dict[str, Any]) -> bool:
    """Whether a JSON dict is a sweep of 2024: one file, keyed by path."""
    return SWEEP[1] in content or any(SWEEP[1] in table(inner) for inner in content.values())


def read_result(content: dict[str, Any], path: str, found: Found) -> None:
    """One `eval_results.json`; its settings are in the `config.json` beside it."""
    folder = os.path.dirname(path)
    settings = os.path.join(folder, "config.json")
    config: Any = {}
    if os.path.isfile(settings):
        try:
            config = json_file(settings)
        except (ValueError, OSError, RecursionError):
            found.broken.append(f"{settings}: it is no JSON, and the settings of its SAE are unknown")
    else:
        found.say("dictionary_learning: no config.json beside the result; the settings are unknown", path)
    _add(content, table(config), _name(folder) or path, path, found)


def _name(folder: str) -> str:
    """The last parts of a folder's name; a checkpoint inside is one more of the same SAE.

    >>> _name("runs/topk/trainer_0"), _name("runs/topk/trainer_0/checkpoints/step_1000")
    ('runs/topk/trainer_0', 'runs/topk/trainer_0/checkpoints/step_1000')
    """
    parts = folder.replace(os.sep, "/").split("/")
    last = "/" + "/".join(parts[-2:])
    return "/".join(parts[-3 - last.count("/") + without_step(last).count("/") :])


def is_full_result(content: dict[str, Any]) -> bool:
    """Whether a dict has the losses and ratios that only this tool's `evaluate` returns together."""
    losses = {"loss_original", "loss_reconstructed", "frac_recovered"} <= content.keys()
    return is_result(content) and losses and bool({"hyperparameters", "l2_ratio", "cossim"} & content.keys())


def read_results(content: Mapping[Any, dict[str, Any]], path: str, found: Found) -> None:
    """Several results in one file; what stands beside the metrics of each is carried along."""
    for key, result in content.items():
        _add(result, result, key if isinstance(key, str) else f"{path} {key}", path, found)
        row = found.rows[-1]
        beside = {k: v for k, v in result.items() if k not in MEASURES and not isinstance(v, (dict, list))}
        row |= {k: v for k, v in beside.items() if k not in row}


def read_sweep(content: dict[str, Any], path: str, found: Found) -> None:
    """A sweep of 2024 in either nesting: by path then part, or by part then path."""
    if SWEEP[1] in content:
        configs, results = table(content.get(SWEEP[0])), table(content[SWEEP[1]])
        if "l0" in results:
            configs, results = {"": configs}, {"": results}
        runs = [(name, table(configs.get(name)), result) for name, result in results.items()]
    else:
        runs = [(n, table(table(run).get(SWEEP[0])), table(run).get(SWEEP[1])) for n, run in content.items()]
    for name, config, result in runs:
        if not isinstance(result, dict) or "l0" not in result:
            raise TableError(f"run {text(name)!r} of the sweep has no results")
        _add(result, config, text(name) or path, path, found)


def _add(result: Mapping[str, Any], config: Mapping[str, Any], name: str, path: str, found: Found) -> None:
    trainer = table(config.get("trainer")) or config
    row, changes = identity(trainer, name)
    hyper = flat(table(result.get("hyperparameters")), "hyperparameters.")
    context = text(hyper.get("hyperparameters.context_length"))
    row |= {"run_id": name, "source": path, **{k: v for k, v in hyper.items() if text(v)}}
    row["protocol"] = f"dictionary_learning evaluate{f', {context} tokens' if context else ''}, BOS included"
    changes += measured(row, result)
    say_changes(found, TOOL, changes, name)
    inner = {name: part for name, part in config.items() if isinstance(part, dict)}
    beside: dict[str, Any] = {"": {k: v for k, v in result.items() if k not in MEASURES}, **inner}
    if trainer is config:
        beside["config"] = config
    found.add(row, TOOL, "", changes, beside)


def measured(row: Row, result: Mapping[str, Any], logged: bool = False) -> list[tuple[str, str]]:
    """Write the results into the row under our names.

    Returns
    -------
    list of (column, change)
    """
    changes = []
    for key in MEASURES:
        value = result.get(key)
        if num(value) is not None:
            row[NAMES.get(key, key)] = value
    if "mean_error_norm" in row and logged and row["architecture"] in SQUARED:
        row["mse"] = row.pop("mean_error_norm")
        changes.append(("mse", f"the log's l2_loss, which is squared for {row['architecture']}"))
    elif "mean_error_norm" in row:
        changes.append(
            ("mean_error_norm", "'l2_loss' is the mean of |x - x_hat|, unsquared: never read as mse")
        )
    if "loss_recovered" in row or "ce_zero_ablation" in row:
        row["ablation"] = "zero"
    changes += ratio_of_means(row)
    return changes


def ratio_of_means(row: Row) -> list[tuple[str, str]]:
    """Loss recovered from the three losses, where they are given; the print is a mean of ratios."""
    ablated, clean, spliced = (num(row.get(name)) for name in ("ce_zero_ablation", "ce_clean", "ce_sae"))
    printed = num(row.get("loss_recovered"))
    if printed is None or ablated is None or clean is None or spliced is None or ablated <= clean:
        return []
    row["mean_of_ratios_recovered"] = printed
    row["loss_recovered"] = (ablated - spliced) / (ablated - clean)
    return [("loss_recovered", "a mean of ratios over batches; computed again as the ratio of means")]


def is_log(metrics: Mapping[str, Any]) -> bool:
    """Whether logged names are those of dictionary_learning."""
    return bool({"l0", "effective_l0"} & metrics.keys()) and (
        "frac_variance_explained" in metrics or "frac_recovered" in metrics
    )


def from_log(metrics: Mapping[str, Any], config: Mapping[str, Any], name: str, found: Found) -> None:
    """One SAE of a run's log; `effective_l0`, where a fork logs it, is the L0 after TopK."""
    row, changes = identity(config, name)
    row |= {"run_id": name, "protocol": "last logged value"}
    changes += measured(row, metrics, logged=True)
    if num(metrics.get("effective_l0")) is not None:
        row["l0_before_topk"], row["l0"] = row.get("l0"), metrics["effective_l0"]
        changes.append(("l0", "effective_l0; the log's l0 counts before TopK"))
    say_changes(found, TOOL, changes, name)
    beside = {k: v for k, v in metrics.items() if k not in LOGGED}
    found.add(row, f"{TOOL} log", "", changes, {"": beside})
