"""Results of a run as SAEBench writes those of its core evaluation: one JSON file per SAE.

What is not measured here, or is defined otherwise there, is -1, SAEBench's own word for missing: its
`explained_variance` (about zero), its `mse` (divided by the tokens of a batch), KL of the ablated model,
cosines between latents. Our own numbers of that kind stand in `eval_result_unstructured`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from frontier.writing import file_names, write_json
from trainers.export.files import ExportError
from trainers.export.places import hook_name
from trainers.piloting import not_evaluated

MISSING = -1.0
METRICS: dict[str, dict[str, str]] = {
    "model_behavior_preservation": {"kl_div_with_sae": "kl"},
    "model_performance_preservation": {
        "ce_loss_with_ablation": "ce_zero_ablation", "ce_loss_with_sae": "ce_sae",
        "ce_loss_without_sae": "ce_clean",
    },
    "reconstruction_quality": {"cossim": "cosine_similarity"},
    "shrinkage": {"l2_ratio": "l2_ratio", "relative_reconstruction_bias": "shrinkage"},
    "sparsity": {"l0": "l0", "l1": "l1"},
    "misc_metrics": {
        "freq_over_1_percent": "frequency_above_1pct", "freq_over_10_percent": "frequency_above_10pct",
        "frac_alive": "alive_fraction",
    },
}  # fmt: skip
"""Their names to our columns."""
UNKNOWN = {
    "model_behavior_preservation": ("kl_div_score", "kl_div_with_ablation"),
    "model_performance_preservation": ("ce_loss_score",),
    "reconstruction_quality": ("explained_variance", "explained_variance_legacy", "mse"),
    "shrinkage": ("l2_norm_in", "l2_norm_out"),
    "misc_metrics": (
        "normalized_freq_over_1_percent", "normalized_freq_over_10_percent", "average_max_encoder_cosine_sim",
        "average_max_decoder_cosine_sim",
    ),
}  # fmt: skip
OURS = (
    "fvu",
    "mse",
    "loss_recovered",
    "ce_mean_ablation",
    "error_linear_fraction",
    "sparsity_setting",
    "seed",
)


def write_results(folder: str | Path, out: str | Path) -> list[Path]:
    """Write `core/<run>_<run_id>_eval_results.json` for every SAE of an evaluated run.

    Raises
    ------
    ExportError
        If the run was not evaluated.
    """
    from trainers.config import run_config

    folder = Path(folder)
    if not (folder / "metrics.parquet").is_file():
        raise ExportError(not_evaluated(folder))
    table = pd.read_parquet(folder / "metrics.parquet")
    config = run_config(folder)
    given = {
        "llm_dtype": "" if config.activations.files else config.model.dtype,
        "batch_size_prompts": config.evaluation.batch_size,
        "n_eval_reconstruction_batches": -(-config.evaluation.windows // config.evaluation.batch_size),
    }  # fmt: skip
    release, written = folder.resolve().name, []
    names = file_names(f"{release}_{run}" for run in table["run_id"])
    for row, name in zip(table.to_dict("records"), names, strict=True):
        path = Path(out) / "core" / f"{name}_eval_results.json"
        content = result({str(k): v for k, v in row.items()}, given, release)
        written.append(write_json(path, content, indent=2))
    return written


def result(row: Mapping[str, Any], given: Mapping[str, Any], release: str) -> dict[str, Any]:
    """One result in SAEBench's core layout, of a row of the metrics table."""
    metrics: dict[str, dict[str, float]] = {}
    for group, names in METRICS.items():
        metrics[group] = dict.fromkeys(UNKNOWN.get(group, ()), MISSING)
        metrics[group] |= {theirs: _number(row.get(ours)) for theirs, ours in names.items()}
    clean, sae, ablated = (_number(row.get(c)) for c in ("ce_clean", "ce_sae", "ce_zero_ablation"))
    if MISSING not in (clean, sae, ablated) and ablated > clean:
        metrics["model_performance_preservation"]["ce_loss_score"] = (ablated - sae) / (ablated - clean)
    length = row.get("context_length")
    tokens = dict.fromkeys(("total_tokens_eval_reconstruction", "total_tokens_eval_sparsity_variance"), -1)
    evaluation = {
        "model_name": row.get("model"), **given, "dataset": str(row.get("protocol", "")),
        "context_size": int(length or 0), "compute_kl": _number(row.get("kl")) != MISSING,
        "compute_ce_loss": clean != MISSING, "compute_sparsity_metrics": True,
    }  # fmt: skip
    settings = {
        "architecture": row.get("architecture"), "model_name": row.get("model"),
        "d_sae": _whole(row.get("dictionary_size")), "d_in": _whole(row.get("d_model")),
        "hook_layer": _whole(row.get("layer")), "hook_name": hook_name(str(row.get("site", ""))),
        "training_tokens": _whole(row.get("tokens_trained")),
    }  # fmt: skip
    return {
        "eval_type_id": "core", "eval_config": evaluation, "eval_id": str(uuid4()),
        "datetime_epoch_millis": int(time.time() * 1000),
        "eval_result_metrics": metrics | {"token_stats": tokens}, "eval_result_details": [],
        "sae_bench_commit_hash": "", "sae_lens_id": str(row["run_id"]), "sae_lens_release_id": release,
        "sae_lens_version": None, "sae_cfg_dict": settings,
        "eval_result_unstructured": {c: _number(row[c]) for c in OURS if c in row},
    }  # fmt: skip


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else MISSING


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
