"""SAEBench: core results, and the other evaluations joined to them by file name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from frontier.metrics.checks import TableError
from frontier.readers.configs import identity
from frontier.readers.found import Found, Row, num, table, text
from frontier.readers.sae_lens import measured, protocol, say_changes

TOOL = "SAEBench"
EVALUATIONS = (
    "absorption", "absorption_first_letter", "autointerp", "core", "ravel", "scr", "scr_and_tpp",
    "sparse_probing", "sparse_probing_sae_probes", "tpp", "unlearning",
)  # fmt: skip
OURS = (
    "family",
    "architecture",
    "seed",
    "sparsity_setting",
    "sparsity_name",
    "learning_rate",
    "site",
    "layer",
)
_TRAINER = re.compile(r"trainer_(\d+)")


def is_result(content: dict[str, Any]) -> bool:
    """Whether a JSON dict is a SAEBench result."""
    return isinstance(content.get("eval_result_metrics"), dict)


def read_results(content: Mapping[Any, dict[str, Any]], path: str, found: Found) -> None:
    """Several results in one file, under the names of their SAEs or in a list."""
    for key, result in content.items():
        own = "_".join(text(result.get(part)) for part in ("sae_lens_release_id", "sae_lens_id"))
        read_result(result, path, found, key if isinstance(key, str) else own.strip("_") or f"{path} {key}")


def read_result(content: dict[str, Any], path: str, found: Found, name: str = "") -> None:
    """One file: a row for a core result, further columns for the row of the same file name otherwise."""
    kind = content.get("eval_type_id", "core")
    place = _place(path)
    key = (TOOL, place[0], name or place[1])
    if kind == "core":
        _read_core(content, path, key, found)
    elif isinstance(kind, str):
        found.tell(key, _other_columns(kind[:40], content["eval_result_metrics"]))
        found.pass_over("", content)
        for part in ("eval_config", "sae_cfg_dict"):
            found.pass_over(part, table(content.get(part)))
    else:
        raise TableError(f"eval_type_id is {type(kind).__name__}, expected text")


def _read_core(content: dict[str, Any], path: str, key: tuple[str, ...], found: Found) -> None:
    config = table(content.get("sae_cfg_dict"))
    evaluation = table(content.get("eval_config"))
    release, sae = text(content.get("sae_lens_release_id")), text(content.get("sae_lens_id"))
    name = key[-1]
    names = f"{release}/{sae}" if release and sae != "custom_sae" else name
    metadata = table(config.get("metadata"))  # of SAEs that SAELens loaded
    config = {**metadata, **config}
    row, changes = identity(config, _TRAINER.sub("", names))
    ours = table(metadata.get("sae_frontier"))  # what we wrote of an SAE when it was exported
    row |= {k: ours[k] for k in OURS if isinstance(ours.get(k), (int, float, str))}
    row["run_id"], row["protocol"], row["source"] = name, protocol(evaluation), path
    metrics: Row = {}
    for block, inner in content["eval_result_metrics"].items():
        metrics.update(inner if isinstance(inner, dict) else {block: inner})
    changes += measured(row, metrics, evaluation, "", found, name, always_divided=True)
    say_changes(found, TOOL, changes, name)
    if config and "k" not in config and "sparsity_setting" not in row:
        found.say("SAEBench files do not give the sparsity setting, only the index trainer_N", name)
    _compare_indices(row, name, sae, release, found)
    found.owners[key] = row
    version = text(content.get("sae_bench_commit_hash")) or _lens(content)
    found.pass_over("", content)
    beside = {"eval_config": found.once("eval_config", evaluation), "sae_cfg_dict": config}
    found.add(row, TOOL, version, changes, beside)


def _lens(content: Mapping[str, Any]) -> str:
    version = text(content.get("sae_lens_version"))
    return f"with SAELens {version}" if version else ""


def _compare_indices(row: Row, name: str, sae: str, release: str, found: Found) -> None:
    here, there = _TRAINER.search(name), _TRAINER.search(sae) or _TRAINER.search(release)
    if here and there and here[1] != there[1]:
        row["doubts"] = "trainer index differs between file name and content"
        found.say("the index trainer_N differs between file name and content: pair such SAEs by L0", name)


def _place(path: str) -> tuple[str, str]:
    """The folder that holds the evaluation types, and the file name that they share.

    >>> _place("out/core/release/r_sae_eval_results.json"), _place("out/scr/r_sae_eval_results.json")
    (('out', 'r_sae'), ('out', 'r_sae'))
    """
    folder, _, file = path.replace(os.sep, "/").rpartition("/")
    stem = file.removesuffix(".json").removesuffix("_eval_results")
    return _root(folder), stem


@lru_cache(maxsize=4096)
def _root(folder: str) -> str:
    parts = folder.split("/")
    for i in range(len(parts) - 1, -1, -1):
        if parts[i] in EVALUATIONS:
            return "/".join(parts[:i])
    return folder


def _other_columns(kind: str, metrics: Mapping[str, Any]) -> Row:
    """The numbers of another evaluation, each under its evaluation's name; -1 is missing.

    >>> _other_columns("scr", {"scr_metrics": {"scr_metric_threshold_10": 0.4, "scr_dir1_threshold_10": -1}})
    {'scr_metric_threshold_10': 0.4}
    """
    row: Row = {}
    blocks = [b for b in metrics.values() if isinstance(b, dict)]
    for block in blocks or [dict(metrics)]:
        for name, value in block.items():
            short = name if name.startswith(f"{kind}_") else f"{kind}_{name}"
            if num(value) is not None and value != -1:
                row[short] = value
    return row
