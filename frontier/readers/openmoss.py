"""OpenMOSS Language-Model-SAEs (Llamascopium): the metrics that its evaluator returns and logs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from frontier.readers.configs import identity
from frontier.readers.dictionary_learning import ratio_of_means
from frontier.readers.found import Found, flat, num, table, text
from frontier.readers.sae_lens import counts_as_shares, say_changes

TOOL = "OpenMOSS"
OWN = ("downstream_loss_ratio", "downstream_loss_reconstructed", "l2_norm_error_ratio", "l2_norm_error")
"""Metrics that no other tool logs."""

_GROUP = re.compile(r"^(metrics|losses|sparsity)\.")

NAMES = {
    "downstream_loss_original": "ce_clean",
    "downstream_loss_reconstructed": "ce_sae",
    "downstream_loss_ablated": "ce_zero_ablation",
    "mse_loss": "mse_of_scaled_activations",
}


def is_log(names: Mapping[str, Any]) -> bool:
    """Whether flat names are those of OpenMOSS."""
    return any(f"metrics/{own}" in names for own in OWN)


def is_result(content: Mapping[str, Any]) -> bool:
    """Whether a JSON dict holds them, flat or nested."""
    return is_log(content) or any(own in table(content.get("metrics")) for own in OWN)


def is_table(names: list[str]) -> bool:
    """Whether a header is one of them."""
    return is_log(dict.fromkeys(names))


def read_table(records: list[dict[str, Any]], path: str, found: Found) -> None:
    """Rows of a table of metrics."""
    read_results(dict(enumerate(records)), path, found)


def read_results(content: Mapping[Any, dict[str, Any]], path: str, found: Found) -> None:
    """Dicts of metrics as somebody saved them, one per SAE; a config may stand beside them."""
    for key, record in content.items():
        values = {_GROUP.sub(r"\1/", k): v for k, v in flat(record).items()}
        config = {k.rsplit(".", 1)[-1]: v for k, v in values.items() if "/" not in k}
        given = (text(config[k]) for k in ("sae_name", "name", "run_id", "sae_id") if k in config)
        from_log(values, config, next(given, f"{path} {key}".strip()), found, path)


def from_log(
    metrics: Mapping[str, Any], config: Mapping[str, Any], name: str, found: Found, path: str = ""
) -> None:
    """One SAE from flat `metrics/...`, `losses/...` and `sparsity/...`."""
    row, changes = identity(config, name)
    row |= {"run_id": name, "source": path or None, "protocol": None if path else "last logged value"}
    short: dict[str, Any] = {}
    for key, value in metrics.items():
        group, _, leaf = key.rpartition("/")
        if group and num(value) is not None:
            short[f"{leaf}_count" if group.endswith("sparsity") else leaf] = value
    for key, value in short.items():
        row[NAMES.get(key, key)] = value
    changes += counts_as_shares(row, short, row["dictionary_size"])
    changes += _recovered(row)
    variance = num(row.pop("explained_variance", None))
    if variance is not None:
        row["fvu"] = 1 - variance
        changes.append(("fvu", "1 - explained_variance, about the mean of each batch"))
    if "mse_of_scaled_activations" in row:
        changes.append(("mse_of_scaled_activations", "'mse_loss' on normalised activations: for ratios only"))
    say_changes(found, TOOL, changes, name)
    found.add(row, TOOL, "", changes, {"": config} if path else {})


def _recovered(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Loss recovered from `downstream_loss_ratio`, its reciprocal, or from the losses."""
    ratio = num(row.get("downstream_loss_ratio"))
    if "ce_zero_ablation" in row or ratio is not None:
        row["ablation"] = "zero"
    if not ratio:
        return []
    row["loss_recovered"] = 1 / ratio
    again = ", computed again from the losses" if ratio_of_means(row) else ""
    row.pop("mean_of_ratios_recovered", None)
    return [
        ("loss_recovered", f"downstream_loss_ratio is the reciprocal of loss recovered; turned round{again}")
    ]
