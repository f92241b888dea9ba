"""SAEBench's own core evaluation of SAEs that we trained and exported, beside ours on the same tokens.

`make interop` makes its environment. Each metric is compared with ours, or, where the definitions differ,
with the other definition worked out here from the activations: so it is known what the difference is. With
SAE_FRONTIER_INTEROP set, all numbers go to sae_bench.json beside that file.
"""

import email.message
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import frontier

sys.path.insert(0, str(Path(__file__).parents[1] / "trainers"))
from small_runs import small

from trainers.evaluate import evaluate
from trainers.export import load
from trainers.export.runs import export_run
from trainers.language_models import kl_from, load_language_model
from trainers.train import train

pytestmark = [pytest.mark.interop, pytest.mark.slow]

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".interop" / "sae-bench" / "bin" / "python"
SITE, LENGTH, PROMPTS = "resid_post.0", 64, 8
FAMILIES = [
    ("relu", 1.0),
    ("gated", 1.0),
    ("jumprelu", 0.1),
    ("topk", 8),
    ("batch_topk", 8),
    ("matryoshka", 8),
]
SAME = {
    "ce_loss_without_sae": "ce_clean", "ce_loss_with_sae": "ce_sae", "l0": "l0",
    "cossim": "cosine_similarity", "l2_ratio": "l2_ratio", "frac_alive": "alive_fraction",
    "freq_over_1_percent": "frequency_above_1pct", "freq_over_10_percent": "frequency_above_10pct",
}  # fmt: skip
"""One definition under two names."""
OTHER = (
    "ce_loss_with_ablation", "ce_loss_score", "kl_div_with_sae", "kl_div_with_ablation", "l1", "mse",
    "relative_reconstruction_bias", "explained_variance", "explained_variance_legacy",
)  # fmt: skip
"""Defined otherwise there: compared with `by_their_definitions`."""
TOLERANCE = 1e-5
"""Relative: two programs run the model in float32, and a latent at the edge of firing may differ."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """SAEs trained for a moment, exported, and what sae_bench made of them."""
    assert PYTHON.exists(), f"{PYTHON} is missing: run `make interop`"
    folder = tmp_path_factory.mktemp("bench")
    families = [{"architecture": a, "settings": [s]} for a, s in FAMILIES]
    activations = {"site": SITE, "tokens": 30000, "buffer_tokens": 30000, "context_length": LENGTH}
    training = {"steps": 150, "batch_size": 512, "dictionary_size": 256}
    train(small(families, activations=activations, training=training), folder / "run", progress=False)
    export_run(folder / "run", folder / "exported", "sae-bench")
    model = shutil.copytree(HERE.parents[1] / "data" / "tiny_lm", folder / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"n_ctx": config["n_positions"]}))  # as in GPT-2's
    (folder / "text").mkdir()
    source = Path(email.message.__file__).with_name("_header_value_parser.py").read_text()
    (folder / "text" / "train.jsonl").write_text(json.dumps({"text": source}) + "\n")
    done = subprocess.run(
        [PYTHON, HERE / "in_sae_bench.py", *(folder / n for n in ("exported", "model", "text", "out"))],
        capture_output=True, text=True, check=False, timeout=900,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (folder / "said.json").write_text(done.stdout.strip().splitlines()[-1])
    return folder


@pytest.fixture(scope="module")
def compared(folder):
    """By SAE and metric: theirs, ours, and what their definition gives here."""
    drawn = load_file(folder / "out" / "tokens.safetensors")["tokens"]
    model, found = load_language_model(device="cpu"), {}
    saes = [load(p.parent) for p in sorted((folder / "exported").glob("*/cfg.json"))]
    first, second = drawn[: len(drawn) // len(saes)].chunk(2)  # of CE and KL, then of the rest
    assert (drawn[:, :, 0] == model.start_token).all() and (drawn[:, :, 1:] != model.start_token).all()
    tables = [
        evaluate(saes, model, t.flatten(0, 1), SITE, protocol="theirs").table.set_index("run_id")
        for t in (first, second)
    ]
    for sae in saes:
        name = sae.identity["run_id"]
        content = json.loads((folder / "out/core" / f"{name}_custom_sae_eval_results.json").read_text())
        theirs = {k: v for group in content["eval_result_metrics"].values() for k, v in group.items()}
        worked = losses(sae, model, first) | by_their_definitions(sae, model, second)
        found[name] = {}
        for metric in (*SAME, *OTHER):
            table = tables[0] if metric.startswith(("ce_", "kl_")) else tables[1]
            ours = OURS.get(metric, metric)
            found[name][metric] = {
                "sae_bench": theirs[metric],
                "ours": float(table.loc[name, ours]) if ours in table else None,
                "their_definition_here": worked.get(metric),
            }
    if path := os.environ.get("SAE_FRONTIER_INTEROP"):
        said = json.loads((folder / "said.json").read_text())
        record = {"versions": said["versions"], "classes": said["classes"], "saes": found}
        Path(path).with_name("sae_bench.json").write_text(json.dumps(record, indent=2) + "\n")
    return found


OURS = SAME | {
    "ce_loss_with_ablation": "ce_zero_ablation", "ce_loss_score": "loss_recovered", "kl_div_with_sae": "kl",
    "relative_reconstruction_bias": "shrinkage",
}  # fmt: skip


@torch.no_grad()
def losses(sae, model, batches):
    """Their cross-entropies and KL: zeros at the start token too, KL at the last one of a window too."""
    bare = load_language_model(device="cpu", ignore=())
    ce, kl = {k: [] for k in ("clean", "sae", "zero")}, {k: [] for k in ("sae", "zero")}
    for tokens in batches:
        logits = {
            "clean": model.logits(tokens), "zero": bare.ablated_logits(tokens, SITE),
            "sae": model.spliced_logits(tokens, SITE, lambda x: sae(x.flatten(0, 1)).view(x.shape)),
        }  # fmt: skip
        for name, value in logits.items():
            of_next = torch.log_softmax(value[:, 1:-1], -1).gather(-1, tokens[:, 2:, None])
            ce[name].append(-of_next.double().mean())
            if name in kl:
                kl[name].append(kl_from(logits["clean"], value)[:, 1:].double().mean())
    mean = {k: float(torch.stack(v).mean()) for k, v in ce.items()}
    return {
        "ce_loss_with_ablation": mean["zero"],
        "ce_loss_score": (mean["zero"] - mean["sae"]) / (mean["zero"] - mean["clean"]),
        "kl_div_with_sae": float(torch.stack(kl["sae"]).mean()),
        "kl_div_with_ablation": float(torch.stack(kl["zero"]).mean()),
    }


@torch.no_grad()
def by_their_definitions(sae, model, batches):
    """What sae_bench's code says of the activations, in double precision; batches are of one size."""
    each = {k: [] for k in ("sse", "squares", "ratio", "legacy", "l1")}
    for tokens in batches:
        x = model.capture(tokens, [SITE])[SITE][:, 1:].flatten(0, 1)
        f = sae.encode(x)
        norms = sae.parameters["W_dec"].norm(dim=-1)
        scaled = f if sae.architecture.name == "topk" else f * norms  # decoder rows are scaled to norm 1
        out, x = sae.decode(f).double(), x.double()
        sse = (x - out).square().sum(1)
        each["sse"].append(sse.mean())
        each["squares"].append(x.square().sum(1).mean())
        each["ratio"].append(out.square().sum(1).mean() / (out * x).sum(1).mean())
        each["legacy"].append((1 - sse / (x - x.mean(0)).square().sum(1)).mean())
        each["l1"].append(scaled.sum(1).double().mean())
    mean = {k: float(torch.stack(v).mean()) for k, v in each.items()}
    s = mean["squares"]
    return {
        "mse": mean["sse"] / len(x), "relative_reconstruction_bias": mean["ratio"], "l1": mean["l1"],
        "explained_variance": 1 - mean["sse"] / (s - (s / x.shape[1]) ** 2),
        "explained_variance_legacy": mean["legacy"],
    }  # fmt: skip


def off(one, other):
    return abs(one - other) / max(abs(other), 1e-3)


def test_where_the_definitions_agree_so_do_the_numbers(compared):
    assert len(compared) == len(FAMILIES)
    worst = {
        (name, m): v for name, metrics in compared.items() for m, v in metrics.items()
        if m in SAME and not off(v["sae_bench"], v["ours"]) < TOLERANCE
    }  # fmt: skip
    assert not worst


def test_where_they_differ_the_difference_is_known(compared):
    worst = {
        (name, m): v for name, metrics in compared.items() for m, v in metrics.items()
        if m in OTHER and not off(v["sae_bench"], v["their_definition_here"]) < TOLERANCE
    }  # fmt: skip
    assert not worst


def test_their_folder_read_back_has_our_numbers(folder, compared):
    table = frontier.read(folder / "out")
    assert len(table) == len(FAMILIES)
    for _, row in table.iterrows():
        metrics = compared[row["run_id"].removesuffix("_custom_sae")]
        for metric, column in SAME.items():
            assert row[column] == metrics[metric]["sae_bench"], (row["run_id"], column)
        assert (
            off(row["mse"], metrics["mse"]["ours"]) < 1.5 / LENGTH
        )  # how many were start tokens is not told
        assert metrics["explained_variance"]["sae_bench"] > 1 and pd.isna(
            row["explained_variance_about_zero"]
        )
        assert "fvu" not in row or pd.isna(row["fvu"])
        assert row["dictionary_size"] == 256 and row["layer"] == 0
        identity = load(folder / "exported" / row["run_id"].removesuffix("_custom_sae")).identity
        for column in ("family", "architecture", "sparsity_setting", "seed", "site"):
            assert row[column] == identity[column], column
