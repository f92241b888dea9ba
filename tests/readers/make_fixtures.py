"""Writes the fixture files: each tool's layout as FORMATS.md describes it, numbers of Hill curves.

`python tests/readers/make_fixtures.py` overwrites tests/readers/fixtures/.
"""

import csv
import json
import shutil
from pathlib import Path

HERE = Path(__file__).parent / "fixtures"
L0 = (12.5, 22.1, 41.7, 83.9, 160.3)
KS = (16, 32, 64, 128, 256)
K = {"standard": 0.9, "gated": 1.6, "topk": 1.8, "batch_topk": 2.1, "jumprelu": 1.9, "relu": 0.9}
CLEAN, ABLATED = 3.33571, 12.45293


def hit(family, l0, i):
    """1 - loss recovered: a Hill curve with a small, fixed scatter."""
    x = 1 / l0
    return x / (K[family] + x) * (1 + 0.02 * (-1) ** i)


def losses(family, l0, i):
    return CLEAN, CLEAN + hit(family, l0, i) * (ABLATED - CLEAN), ABLATED


def dump(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(path, rows, quoting=csv.QUOTE_MINIMAL):
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(n for row in rows for n in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, quoting=quoting, restval="")
        writer.writeheader()
        writer.writerows(rows)


def metrics(family, l0, i, divided=2048.0):
    """The nested metrics of SAELens and SAEBench."""
    clean, spliced, ablated = losses(family, l0, i)
    fvu = 0.9 * hit(family, l0, i) ** 0.5
    return {
        "model_behavior_preservation": {
            "kl_div_score": -1.0,
            "kl_div_with_ablation": -1.0,
            "kl_div_with_sae": -1.0,
        },
        "model_performance_preservation": {
            "ce_loss_score": (ablated - spliced) / (ablated - clean),
            "ce_loss_with_ablation": ablated,
            "ce_loss_with_sae": spliced,
            "ce_loss_without_sae": clean,
        },
        "reconstruction_quality": {
            "explained_variance": 1 - 0.2 * fvu,
            "explained_variance_legacy": 1 - 1.1 * fvu,
            "mse": 40 * fvu / divided,
            "cossim": 1 - 0.4 * fvu,
        },
        "shrinkage": {
            "l2_norm_in": 12.5,
            "l2_norm_out": 12.0,
            "l2_ratio": 0.96,
            "relative_reconstruction_bias": 0.99,
        },
        "sparsity": {"l0": l0, "l1": 40.0 + l0},
        "token_stats": {
            "total_tokens_eval_reconstruction": 409600,
            "total_tokens_eval_sparsity_variance": 4096000,
        },
    }


def sae_bench():
    out = HERE / "sae_bench"
    kinds = {"standard": "standard", "gated": "gated", "topk": "standard", "batch_topk": "jumprelu"}
    for family, saved in kinds.items():
        release = f"sae_bench_pythia70m_sweep_{family}_ctx128_0730"
        for i, l0 in enumerate(L0):
            sae = f"blocks.4.hook_resid_post__trainer_{i}"
            stem = f"{release}_{sae}"
            config = {
                "architecture": saved,
                "d_in": 512,
                "d_sae": 4096,
                "model_name": "pythia-70m-deduped",
                "hook_layer": 4,
                "hook_name": "blocks.4.hook_resid_post",
                "training_tokens": 200_000_000,
            }
            if family == "topk":
                config["activation_fn_str"] = "topk"
            inner = metrics(family, l0, i)
            inner["misc_metrics"] = {
                "freq_over_1_percent": 0.03,
                "freq_over_10_percent": 0.002,
                "normalized_freq_over_1_percent": 0.2,
                "normalized_freq_over_10_percent": 0.05,
                "average_max_encoder_cosine_sim": 0.3,
                "average_max_decoder_cosine_sim": 0.25,
                "frac_alive": 0.97,
            }
            if family == "gated":  # an older file
                del inner["misc_metrics"], inner["reconstruction_quality"]["explained_variance_legacy"]
            core = {
                "eval_type_id": "core",
                "eval_config": {
                    "model_name": "pythia-70m-deduped",
                    "batch_size_prompts": 16,
                    "n_eval_reconstruction_batches": 200,
                    "n_eval_sparsity_variance_batches": 2000,
                    "dataset": "Skylion007/openwebtext",
                    "context_size": 128,
                    "exclude_special_tokens_from_reconstruction": True,
                    "llm_dtype": "float32",
                },
                "eval_id": f"id-{family}-{i}",
                "datetime_epoch_millis": 1737052668610,
                "eval_result_metrics": inner,
                "eval_result_details": [{"index": 0, "feature_density": 0.01}],
                "sae_bench_commit_hash": "8042bb3",
                "sae_lens_id": sae
                if (family, i) != ("standard", 3)
                else sae.replace("trainer_3", "trainer_1"),
                "sae_lens_release_id": release,
                "sae_lens_version": "5.3.0",
                "sae_cfg_dict": config,
                "eval_result_unstructured": None,
            }
            dump(out / "core" / release / f"{stem}_eval_results.json", core)
            others = {
                "absorption": {
                    "mean": {
                        "mean_absorption_fraction_score": 0.1 + 0.01 * i,
                        "mean_full_absorption_score": -1,
                    }
                },
                "sparse_probing": {
                    "llm": {"llm_test_accuracy": 0.95},
                    "sae": {"sae_top_1_test_accuracy": 0.7 + 0.01 * i},
                },
                "scr": {"scr_metrics": {"scr_metric_threshold_10": 0.3 + 0.01 * i}},
                "tpp": {"tpp_metrics": {"tpp_threshold_10_total_metric": 0.2 + 0.01 * i}},
                "autointerp": {"autointerp": {"autointerp_score": 0.8}},
                "unlearning": {"unlearning": {"unlearning_score": 0.05}},
                "ravel": {"ravel": {"disentanglement_score": 0.6}},
            }
            for kind, values in others.items():
                if family == "standard" or kind == "absorption":
                    content = {"eval_type_id": kind, "eval_config": {}, "eval_result_metrics": values}
                    dump(out / kind / release / f"{stem}_eval_results.json", content)


def sae_lens():
    records = []
    for family in ("standard", "gated", "topk"):
        for i, l0 in enumerate(L0):
            sae = f"blocks.4.hook_resid_post/{family}_{i}"
            records.append(
                {
                    "unique_id": f"my-release-{sae.replace('/', '_')}",
                    "sae_set": "my-release",
                    "sae_id": sae,
                    "eval_cfg": {
                        "context_size": 128,
                        "dataset": "Skylion007/openwebtext",
                        "library_version": "6.18.0",
                        "git_hash": "91ca16c",
                        "batch_size_prompts": 16,
                        "n_eval_reconstruction_batches": 10,
                        "compute_ce_loss": True,
                    },
                    "metrics": {
                        k: v for k, v in metrics(family, l0, i).items() if k != "model_behavior_preservation"
                    },
                    "feature_metrics": {
                        "feature_density": [0.01, 0.2],
                        "consistent_activation_heuristic": [1.5, 2.0],
                    },
                    "sae_cfg": {
                        "architecture": family,
                        "d_in": 512,
                        "d_sae": 4096,
                        "normalize_activations": "none",
                        **({"k": round(l0)} if family == "topk" else {}),
                        "metadata": {
                            "model_name": "pythia-70m",
                            "hook_name": "blocks.4.hook_resid_post",
                            "training_tokens": 1e8,
                        },
                    },
                }
            )
    out = HERE / "sae_lens"
    for record in records:
        dump(out / f"{record['unique_id']}_128_Skylion007_openwebtext.json", record)
    dump(out / "all_eval_results.json", records)
    dotted = [dict(flat(r)) for r in records]
    table(out / "all_eval_results.csv", dotted)
    for record in records:
        record["eval_cfg"]["library_version"] = "6.49.2"
        record["metrics"]["reconstruction_quality"]["mse"] *= 2048
        record["metrics"]["reconstruction_quality"]["explained_variance"] -= 0.1
    dump(HERE / "sae_lens_new" / "all_eval_results.json", records)
    rows = []
    for family in ("standard", "gated"):
        for i, l0 in enumerate(L0):
            clean, spliced, ablated = losses(family, l0, i)
            rows.append(
                {
                    "sae_id": f"blocks.4.hook_resid_pre-{family}-{i}",
                    "context_size": 128,
                    "dataset": "Skylion007/openwebtext",
                    "metrics/ce_loss_score": 1 - hit(family, l0, i),
                    "metrics/ce_loss_without_sae": clean,
                    "metrics/ce_loss_with_sae": spliced,
                    "metrics/ce_loss_with_ablation": ablated,
                    "metrics/kl_div_score": 0.99,
                    "metrics/kl_div_with_sae": 0.02,
                    "metrics/l0": l0,
                    "metrics/l1": 50.0,
                    "metrics/explained_variance": 0.8,
                    "metrics/mse": 0.01,
                }
            )
    table(HERE / "sae_lens_2024" / "eval_results.csv", rows)
    (HERE / "pretrained").mkdir(parents=True, exist_ok=True)
    (HERE / "pretrained" / "pretrained_saes.yaml").write_text(
        "gpt2-small-res-jb:\n  conversion_func: connor_rob\n  model: gpt2-small\n  repo_id: jb/gpt2\n"
        "  saes:\n"
        "  - id: blocks.0.hook_resid_pre\n    l0: 10.0\n    neuronpedia: gpt2-small/0-res-jb\n"
        "    path: blocks.0.hook_resid_pre\n    variance_explained: 0.999\n"
        "  - id: blocks.1.hook_resid_pre\n    l0: 10.0\n    norm_scaling_factor: 1.2\n"
        "    path: blocks.1.hook_resid_pre\n    variance_explained: 0.998\n"
        "gemma-scope-2b-pt-res:\n  conversion_func: gemma_2\n  model: gemma-2-2b\n"
        "  repo_id: google/gemma-scope\n  saes:\n"
        "  - id: layer_20/width_16k/average_l0_71\n    l0: 71\n    path: layer_20/width_16k/average_l0_71\n",
        encoding="utf-8",
    )


def flat(record, prefix=""):
    for key, value in record.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


TRAINERS = {
    "standard": ("StandardTrainer", "l1_penalty"),
    "gated": ("GatedSAETrainer", "l1_penalty"),
    "topk": ("TopKTrainer", "k"),
    "jumprelu": ("JumpReluTrainer", "target_l0"),
    "batch_topk": ("BatchTopKTrainer", "k"),
}


def trained(family, i):
    """Settings and results of dictionary_learning."""
    name, knob = TRAINERS[family]
    setting = {"k": KS[i], "target_l0": KS[i], "l1_penalty": 0.1 / KS[i]}[knob]
    l0 = float(KS[i]) if family == "topk" else {"batch_topk": 1.6}.get(family, 1.1) * KS[i]
    clean, spliced, ablated = losses(family, l0, i)
    trainer = {
        "trainer_class": name,
        "dict_class": "AutoEncoder",
        "activation_dim": 512,
        "dict_size": 4096,
        "lr": 1e-3,
        "steps": 10_000,
        "seed": 0,
        "layer": 3,
        "lm_name": "EleutherAI/pythia-70m-deduped",
        "submodule_name": "resid_post_layer_3",
        knob: setting,
    }
    result = {
        "l2_loss": 4.36 + 0.1 * i,
        "l1_loss": 50.9,
        "l0": l0,
        "frac_variance_explained": 0.958,
        "cossim": 0.948,
        "l2_ratio": 0.948,
        "relative_reconstruction_bias": 1.0,
        "loss_original": clean + 1.23e-6,
        "loss_reconstructed": spliced + 1.23e-6,
        "loss_zero": ablated + 1.23e-6,
        "frac_recovered": 1 - hit(family, l0, i) + 0.0011,
        "frac_alive": 1 / 4096 if family == "standard" else 0.9995,
        "hyperparameters": {"n_inputs": 200, "context_length": 1024},
    }
    return trainer, result


def dictionary_learning():
    sweep = {}
    for family in ("standard", "gated", "topk", "batch_topk"):
        for i in range(len(KS)):
            trainer, result = trained(family, i)
            run = (
                HERE
                / "dictionary_learning"
                / f"saes_pythia70m_{family}"
                / "resid_post_layer_3"
                / f"trainer_{i}"
            )
            dump(run / "config.json", {"trainer": trainer, "buffer": {"d_submodule": 512, "ctx_len": 1024}})
            dump(run / "eval_results.json", result)
            (run / "ae.pt").write_bytes(b"\x80\x02never opened")
            sweep[f"dictionary_learning/{family}/trainer_{i}"] = {
                "sae_config_dictionary_learning": {"trainer": trainer},
                "basic_eval_results": result,
            }
    dump(HERE / "dictionary_learning_2024" / "sweep.json", sweep)


def sparsify():
    rows = []
    for family in ("standard", "topk"):
        for i, k in enumerate(KS[:4]):
            run = f"{family}-k{k}"
            row = {
                "Name": run,
                "State": "finished",
                "Created": "2025-03-01T00:00:00.000Z",
                "Runtime": "3600",
                "Sweep": "",
                "k": str(k),
                "expansion_factor": "32",
                "activation": family,
                "model": "EleutherAI/pythia-160m",
            }
            for layer in (4, 5):
                scale = 1.0 if layer == 4 else 1.1
                fvu = scale * 3 * hit(family, k, i) ** 0.6
                row |= {
                    f"fvu/layers.{layer}": str(fvu),
                    f"dead_pct/layers.{layer}": "0.031",
                    f"auxk/layers.{layer}": "0.0",
                    f"multi_topk_fvu/layers.{layer}": "0.0",
                }
                dump(
                    HERE / "sparsify" / run / f"layers.{layer}" / "cfg.json",
                    {
                        "activation": family,
                        "expansion_factor": 32,
                        "normalize_decoder": True,
                        "num_latents": 24576,
                        "k": k,
                        "d_in": 768,
                        "multi_topk": False,
                        "skip_connection": False,
                        "transcode": False,
                    },
                )
            dump(
                HERE / "sparsify" / run / "config.json", {"model": "EleutherAI/pythia-160m", "batch_size": 32}
            )
            rows.append(row)
    table(HERE / "sparsify" / "wandb_export_2025-03-02.csv", rows, csv.QUOTE_ALL)


def openmoss():
    for family in ("relu", "jumprelu"):
        for i, l0 in enumerate(L0):
            clean, spliced, ablated = losses(family, l0, i)
            fvu = 0.9 * hit(family, l0, i) ** 0.5
            dump(
                HERE / "openmoss" / f"{family}_{i}.json",
                {
                    "sae_name": f"{family}-{i}",
                    "act_fn": family,
                    "architecture": family,
                    "d_sae": 8192,
                    "d_model": 512,
                    "hook_point_in": "blocks.4.hook_resid_post",
                    "metrics/explained_variance": 1 - fvu,
                    "metrics/explained_variance_legacy": 1 - 1.1 * fvu,
                    "metrics/l0": l0,
                    "metrics/mean_feature_act": 1.2,
                    "metrics/l2_norm_error": 3.1,
                    "metrics/l2_norm_error_ratio": 0.2,
                    "metrics/downstream_loss_original": clean,
                    "metrics/downstream_loss_reconstructed": spliced,
                    "metrics/downstream_loss_ablated": ablated,
                    "metrics/downstream_loss_ratio": (ablated - clean) / (ablated - spliced),
                    "losses/mse_loss": 12.0,
                    "sparsity/above_1e-1": 4,
                    "sparsity/above_1e-2": 90,
                    "sparsity/below_1e-5": 819,
                    "sparsity/below_1e-6": 400,
                },
            )


def wandb():
    runs, api = [], []
    for family in ("standard", "gated"):
        for i, l0 in enumerate(L0):
            clean, spliced, ablated = losses(family, l0, i)
            summary = {
                "losses/mse_loss": 30.0,
                "losses/overall_loss": 31.0,
                "metrics/l0": l0,
                "metrics/explained_variance": 0.98,
                "metrics/explained_variance_legacy": 0.78,
                "sparsity/dead_features": 41,
                "sparsity/below_1e-5": 82,
                "details/n_training_samples": 100_000_000,
                "details/l1_coefficient": 0.5 + i,
                "model_performance_preservation.ce_loss_score": 1 - hit(family, l0, i),
                "model_performance_preservation.ce_loss_with_sae": spliced,
                "model_performance_preservation.ce_loss_without_sae": clean,
                "model_performance_preservation.ce_loss_with_ablation": ablated,
                "sparsity.l0": l0,
            }
            config = {
                "sae.architecture": family,
                "sae.d_sae": 4096,
                "sae.d_in": 512,
                "model_name": "pythia-70m",
                "hook_name": "blocks.4.hook_resid_post",
                "sae.l1_coefficient": 0.5 + i,
                "seed": 1,
            }
            state = "crashed" if (family, i) == ("gated", 4) else "finished"
            runs.append(
                {
                    "Name": f"{family}-{i}",
                    "State": state,
                    "Notes": "-",
                    "User": "someone",
                    "Tags": "",
                    "Created": "2025-01-01T00:00:00.000Z",
                    "Runtime": "100",
                    "Sweep": "",
                    **config,
                    **summary,
                }
            )
            nested = {
                "sae": {"architecture": family, "d_sae": 4096},
                "model_name": "pythia-70m",
                "hook_name": "blocks.4.hook_resid_post",
            }
            text = repr({**summary, "_runtime": 100.5, "best": None}).replace(
                "'losses/overall_loss': 31.0", "'losses/overall_loss': nan"
            )
            api.append({"": len(api), "summary": text, "config": repr(nested), "name": f"{family}-{i}"})
    table(HERE / "wandb" / "wandb_export_2025-01-02.csv", runs, csv.QUOTE_ALL)
    table(HERE / "wandb_api" / "project.csv", api)
    many, fork = (
        {"Name": "sweep", "State": "finished", "Created": "2025-01-01", "Runtime": "5"},
        {"Name": "fork", "State": "finished", "Created": "2025-01-01", "Runtime": "5"},
    )
    for family in ("standard", "topk"):
        for i, l0 in enumerate(L0):
            clean, spliced, ablated = losses(family, l0, i)
            many |= {
                f"saes.{family}_{i}.architecture": family,
                f"saes.{family}_{i}.d_sae": 4096,
                f"{family}_{i}/metrics/l0": l0,
                f"{family}_{i}/losses/mse_loss": 30.0,
                f"{family}_{i}/model_performance_preservation.ce_loss_score": 1 - hit(family, l0, i),
            }
            trainer, result = trained(family, i)
            name = f"{trainer['trainer_class']}-{i}"
            knob = TRAINERS[family][1]
            fork |= {
                f"{name}.{knob}": trainer[knob],
                f"{name}.dict_size": 4096,
                f"{name}/l2_loss": 4.0,
                f"{name}/frac_recovered": result["frac_recovered"],
                f"{name}/frac_variance_explained": 0.9,
            }
            counted = (
                {f"{name}/l0": 1591.0, f"{name}/effective_l0": result["l0"]}
                if family == "topk"
                else {f"{name}/l0": result["l0"]}
            )
            fork |= counted
    table(HERE / "wandb_many" / "wandb_export.csv", [many], csv.QUOTE_ALL)
    table(HERE / "wandb_fork" / "wandb_export.csv", [fork], csv.QUOTE_ALL)


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    for write in (sae_bench, sae_lens, dictionary_learning, sparsify, openmoss, wandb):
        write()
