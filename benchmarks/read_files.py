"""Many SAEBench-like files: `frontier.read` against opening and parsing the same files, in one run.

`python -m benchmarks.read_files [files]` prints the ratio, writes `benchmarks/results/read_files.json`.
The baseline opens every file and parses it with `json`, and does nothing else; both sides know the file names
only from the folder. Rounds alternate between the two, and the file cache is warm for both.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

import frontier

ROUNDS, DEFAULT, SEED = 5, 10_000, 20261120
FAMILIES = ("standard", "gated", "topk", "jumprelu", "batch_topk")
EVAL_CONFIG = {
    "model_name": "pythia-70m-deduped",
    "llm_dtype": "float32",
    "batch_size_prompts": 16,
    "n_eval_reconstruction_batches": 200,
    "n_eval_sparsity_variance_batches": 2000,
    "dataset": "Skylion007/openwebtext",
    "context_size": 128,
    "compute_kl": True,
    "compute_ce_loss": True,
    "compute_l2_norms": True,
    "compute_sparsity_metrics": True,
    "compute_variance_metrics": True,
    "compute_featurewise_density_statistics": True,
    "compute_featurewise_weight_based_metrics": True,
    "exclude_special_tokens_from_reconstruction": True,
    "verbose": False,
}
MISC = {
    "freq_over_1_percent": 0.03,
    "freq_over_10_percent": 0.002,
    "normalized_freq_over_1_percent": 0.2,
    "normalized_freq_over_10_percent": 0.05,
    "average_max_encoder_cosine_sim": 0.3,
    "average_max_decoder_cosine_sim": 0.25,
    "frac_alive": 0.97,
}


def metrics(l0: float, hit: float) -> dict:
    """The metrics of one SAE."""
    clean, ablated = 3.33571, 12.45293
    fvu = min(0.9, hit**0.5)
    return {
        "model_behavior_preservation": {
            "kl_div_score": 1 - hit,
            "kl_div_with_ablation": 10.05,
            "kl_div_with_sae": 10.05 * hit,
        },
        "model_performance_preservation": {
            "ce_loss_score": 1 - hit,
            "ce_loss_with_ablation": ablated,
            "ce_loss_with_sae": clean + hit * (ablated - clean),
            "ce_loss_without_sae": clean,
        },
        "reconstruction_quality": {
            "explained_variance": 1 - fvu / 4,
            "explained_variance_legacy": 1 - fvu,
            "mse": fvu / 50,
            "cossim": 1 - fvu / 3,
        },
        "shrinkage": {
            "l2_norm_in": 12.51,
            "l2_norm_out": 12.02,
            "l2_ratio": 0.96,
            "relative_reconstruction_bias": 0.99,
        },
        "sparsity": {"l0": l0, "l1": 3 * l0},
        "token_stats": {
            "total_tokens_eval_reconstruction": 409600,
            "total_tokens_eval_sparsity_variance": 4096000,
        },
        "misc_metrics": MISC,
    }


def content(family: str, i: int, rng: np.random.Generator) -> dict:
    """One core result with the keys and digits of published ones, per-feature details removed."""
    l0 = float(rng.lognormal(4, 1))
    hit = 1 / l0 / (1.5 + 1 / l0) * float(rng.lognormal(0, 0.05))
    return {
        "eval_type_id": "core",
        "eval_config": EVAL_CONFIG,
        "eval_id": f"id-{i}",
        "datetime_epoch_millis": 1737052668610 + i,
        "eval_result_metrics": metrics(l0, hit),
        "eval_result_details": [],
        "sae_bench_commit_hash": "8042bb31c86ac46d3e5d8ad6b9b4a3b6a8cdbbd3",
        "sae_lens_id": "custom_sae",
        "sae_lens_release_id": f"release_{family}_trainer_{i}",
        "sae_lens_version": "5.3.0",
        "sae_cfg_dict": {
            "architecture": family,
            "d_in": 512,
            "d_sae": 4096,
            "dtype": "float32",
            "model_name": "pythia-70m-deduped",
            "hook_name": f"blocks.{i % 6}.hook_resid_post",
            "hook_layer": i % 6,
            "hook_head_index": None,
            "prepend_bos": True,
            "normalize_activations": "none",
            "training_tokens": 499998720,
            "context_size": 128,
        },
        "eval_result_unstructured": None,
    }


def write_files(folder: Path, files: int) -> int:
    """`files` results in the published folder layout; their bytes."""
    rng = np.random.default_rng(SEED)
    size = 0
    for i in range(files):
        family = FAMILIES[i % len(FAMILIES)]
        name = f"release_{family}_trainer_{i}_custom_sae_eval_results.json"
        path = folder / "core" / f"release_{family}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size += path.write_text(json.dumps(content(family, i, rng), indent=2), encoding="utf-8")
    return size


def open_and_parse(folder: Path) -> int:
    """Every file opened and parsed, and nothing else: not even kept."""
    count = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb") as file:
                json.load(file)
            count += 1
    return count


def main() -> None:
    """Run, print, write."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_files(folder, files)
        frontier.read(folder)
        baseline, reading = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            parsed = open_and_parse(folder)
            baseline.append(time.perf_counter() - start)
            assert parsed == files
            start = time.perf_counter()
            table = frontier.read(folder)
            reading.append(time.perf_counter() - start)
            assert len(table) == files
    ratios = [r / b for r, b in zip(reading, baseline, strict=True)]
    result = {
        "files": files,
        "mean_bytes": round(size / files),
        "rounds": ROUNDS,
        "json": "standard library",
        "baseline_s": baseline,
        "read_s": reading,
        "ratio_median": median(ratios),
        "ratio_worst": max(ratios),
        "python": platform.python_version(),
        "pandas": pd.__version__,
        "cpus": os.cpu_count(),
    }
    out = Path(__file__).parent / "results" / "read_files.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(
        f"{files} files of {size / files:.0f} bytes: open and parse {median(baseline):.2f} s, frontier.read "
        f"{median(reading):.2f} s, ratio {median(ratios):.2f} (worst of {ROUNDS}: {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
