"""Runs where SAELens is, without our code: loads what we exported, saves SAEs of its own.

python in_sae_lens.py FOLDER      prints JSON; FOLDER/ours, FOLDER/inputs.safetensors are read;
                                  FOLDER/theirs, FOLDER/from_ours.safetensors and
                                  FOLDER/from_theirs.safetensors are written
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from sae_lens import SAE
from sae_lens.registry import get_sae_training_class
from safetensors.torch import load_file, save_file

D, D_OUT, SIZE = 32, 24, 96


def reconstruction(sae, x):
    heads = sae.cfg.reshape_activations == "hook_z"  # as TransformerLens gives it: one axis for the heads
    if heads:
        x = x.view(len(x), 1, 4, -1)
    return sae(x).reshape(len(x), -1)


def randomise(sae, random):
    for name, value in sae.named_parameters():
        noise = torch.randn(value.shape, generator=random) * 0.1
        value.data = (value.data.float() + noise).to(value.dtype)
        if name == "threshold":
            value.data = noise.abs().to(value.dtype)


def saved(folder, random, x, architecture, **options):
    options = {"d_in": D, "d_sae": SIZE, "dtype": "float32", "device": "cpu"} | options
    cfg = {"architecture": architecture, "normalize_activations": "none", **options}
    cfg["metadata"] = {"model_name": "gpt2", "hook_name": "blocks.2.hook_resid_pre"}
    sae = SAE.from_dict(cfg)
    randomise(sae, random)
    sae.save_model(folder)
    return SAE.load_from_disk(folder, dtype="float32")(x)  # what our loader makes of bfloat16 too


def trained(folder, random, x, architecture, **options):
    """A training SAE, saved for inference as SAELens does at the end of a run."""
    of, config = get_sae_training_class(architecture)
    sae = of(config(d_in=D, d_sae=SIZE, dtype="float32", device="cpu", **options))
    randomise(sae, random)
    if hasattr(sae, "topk_threshold"):
        sae.topk_threshold = torch.tensor(0.7, dtype=torch.double)
    sae.save_inference_model(folder)
    return SAE.load_from_disk(folder)(x)


def main(folder):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    inputs, random = load_file(folder / "inputs.safetensors"), torch.Generator().manual_seed(5)
    classes, from_ours = {}, {}
    for one in sorted((folder / "ours").iterdir()):
        sae = SAE.load_from_disk(one)
        classes[one.name] = type(sae).__name__
        from_ours[one.name] = reconstruction(sae, inputs[one.name]).contiguous()
    x = torch.randn(64, D, generator=random)
    to = folder / "theirs"
    transcoder = {"apply_b_dec_to_input": False, "d_out": D_OUT}
    from_theirs = {
        "standard": saved(to / "standard", random, x, "standard"),
        "standard_no_b_dec": saved(
            to / "standard_no_b_dec", random, x, "standard", apply_b_dec_to_input=False
        ),
        "standard_bfloat16": saved(to / "standard_bfloat16", random, x, "standard", dtype="bfloat16"),
        "gated": saved(to / "gated", random, x, "gated"),
        "jumprelu": saved(to / "jumprelu", random, x, "jumprelu"),
        "topk": saved(to / "topk", random, x, "topk", k=7),
        "topk_rescaled": saved(
            to / "topk_rescaled", random, x, "topk", k=7, rescale_acts_by_decoder_norm=True
        ),
        "transcoder": saved(to / "transcoder", random, x, "transcoder", **transcoder),
        "jumprelu_transcoder": saved(
            to / "jumprelu_transcoder", random, x, "jumprelu_transcoder", **transcoder
        ),
        "abstopk": saved(to / "abstopk", random, x, "abstopk", k=7),
        "abstopk_rescaled": saved(
            to / "abstopk_rescaled", random, x, "abstopk", k=7, rescale_acts_by_decoder_norm=True
        ),
        "matching_pursuit": saved(to / "matching_pursuit", random, x, "matching_pursuit"),
        "matching_pursuit_repeats": saved(
            to / "matching_pursuit_repeats",
            random,
            x,
            "matching_pursuit",
            max_iterations=9,
            residual_threshold=2.0,
            stop_on_duplicate_support=False,
            apply_b_dec_to_input=False,
        ),
        "skip_transcoder": saved(to / "skip_transcoder", random, x, "skip_transcoder", **transcoder),
        "jumprelu_skip_transcoder": saved(
            to / "jumprelu_skip_transcoder", random, x, "jumprelu_skip_transcoder", **transcoder
        ),
        "trained_abstopk": trained(to / "trained_abstopk", random, x, "abstopk", k=6),
        "trained_matching_pursuit": trained(
            to / "trained_matching_pursuit", random, x, "matching_pursuit", max_iterations=6
        ),
        "trained_standard": trained(to / "trained_standard", random, x, "standard"),
        "trained_batchtopk": trained(to / "trained_batchtopk", random, x, "batchtopk", k=6.5),
        "trained_matryoshka": trained(
            to / "trained_matryoshka", random, x, "matryoshka_batchtopk", k=6.0, matryoshka_widths=[32, SIZE]
        ),
    }
    save_file(from_ours, folder / "from_ours.safetensors")
    save_file(
        {"x": x} | {k: v.contiguous() for k, v in from_theirs.items()}, folder / "from_theirs.safetensors"
    )
    packages = ("sae-lens", "transformer-lens", "torch", "safetensors", "transformers")
    print(json.dumps({"versions": {p: version(p) for p in packages}, "classes": classes}))


main(Path(sys.argv[1]))
