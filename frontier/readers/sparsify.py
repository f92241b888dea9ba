"""EleutherAI sparsify: logged `fvu/{hookpoint}` and `dead_pct/{hookpoint}`, settings from `cfg.json`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from frontier.readers.configs import identity
from frontier.readers.found import Found, num, text

TOOL = "sparsify"
TRAINED_WITH = ("ce_loss", "kl_loss")
_KEY = re.compile(r"(fvu|dead_pct|auxk|multi_topk_fvu)/(.+?)(?:/seed_?(\d+))?")


def is_log(names: Mapping[str, Any]) -> bool:
    """Whether flat names are those of sparsify."""
    return any(str(name).startswith("fvu/") for name in names)


def is_metric(name: str) -> bool:
    """Whether a logged name is one that is read."""
    return name in TRAINED_WITH or _KEY.fullmatch(name) is not None


def is_config(content: dict[str, Any]) -> bool:
    """Whether a JSON dict is the `cfg.json` of one hookpoint."""
    return "k" in content and ("expansion_factor" in content or "num_latents" in content)


def read_config(content: dict[str, Any], path: str, found: Found) -> None:
    """The settings of `{run}/{hookpoint}/cfg.json`, kept for the row of that run and hookpoint."""
    parts = os.path.dirname(path).replace(os.sep, "/").split("/")
    if len(parts) < 2:
        return
    row, _ = identity({**content, "architecture": _architecture(content)}, "")
    facts = {k: v for k, v in row.items() if v is not None}
    found.pass_over("", content)
    facts["l0"] = row.get("sparsity_setting")
    found.tell((TOOL, parts[-2], parts[-1]), facts)


def from_log(metrics: Mapping[str, Any], config: Mapping[str, Any], name: str, found: Found) -> None:
    """Every hookpoint (and seed) of a run is one SAE; its L0 is k."""
    saes: dict[tuple[str, str], dict[str, float]] = {}
    for key, value in metrics.items():
        match, number = _KEY.fullmatch(str(key)), num(value)
        if match and number is not None:
            saes.setdefault((match[2], match[3] or ""), {})[match[1]] = number
    for (hook, seed), values in saes.items():
        known = {**config, "hookpoint": hook, "architecture": _architecture(config)}
        row, changes = identity(known, "")
        row["seed"] = seed or row["seed"]
        row["run_id"] = "/".join(part for part in (name, hook, seed and f"seed{seed}") if part)
        row["protocol"] = "last training batches"
        row["l0"] = row.get("sparsity_setting") if row.get("sparsity_name") == "k" else None
        row["fvu"], dead = values.get("fvu"), values.get("dead_pct")
        row["auxk"], row["multi_topk_fvu"] = values.get("auxk"), values.get("multi_topk_fvu")
        if dead is not None:
            row["alive_fraction"] = 1 - dead
            changes.append(("alive_fraction", "1 - dead_pct, which is a fraction in spite of its name"))
            found.say(
                "sparsify dead_pct is a fraction in spite of its name; alive_fraction is 1 - dead_pct", name
            )
        for key in TRAINED_WITH:
            if num(metrics.get(key)) is not None:
                row[f"training_{key}"] = metrics[key]
        changes.append(("l0", "k: sparsify measures no L0"))
        found.say("sparsify measures no L0, and k stands for it; fvu is of the last training batches", name)
        found.owners[TOOL, name, hook] = row
        found.add(row, TOOL, "", changes, {})


def _architecture(config: Mapping[str, Any]) -> str:
    """TopK is the default activation; a run may say groupmax or another."""
    return text(config.get("architecture")) or text(config.get("activation")) or "topk"
