"""The layout of SAELens 6: `cfg.json` and `sae_weights.safetensors`.

=========================================  ==========================================================
relu, p_anneal                             `standard`
gated (tied weights)                       `gated`, r_mag zeros where the gain was not trained
jumprelu                                   `jumprelu`
topk, hierarchical_topk                    `topk`
abs_topk                                   `abstopk`
matching_pursuit                           `matching_pursuit`
batch_topk, matryoshka                     `jumprelu`, as SAELens saves its own: one threshold, repeated
transcoder: relu, p_anneal                 `transcoder`, with a skip `skip_transcoder`
transcoder: jumprelu, batch_topk,          `jumprelu_transcoder`, with a skip `jumprelu_skip_transcoder`;
matryoshka, gated                          gated becomes the JumpReLU with the same output
=========================================  ==========================================================

Transcoders of TopK kinds have no class. Read are these, and configurations of versions before 6; an input
that was normalised at run time is refused, since its scale is not in the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frontier.wording import nearest
from trainers.export.facts import BLOCK, block, identity
from trainers.export.files import (
    ExportError,
    LayoutError,
    Sizes,
    Weights,
    checked,
    latent_dim,
    read_json,
    read_safetensors,
    sizes_of,
    whole_number,
)
from trainers.export.forms import Form, as_jumprelu, form_of, subtracting
from trainers.export.places import hook_name, is_hook
from trainers.sae import SAE
from trainers.shards import ALONE, Shards

FILES = ("cfg.json", "sae_weights.safetensors")
VERSION = "6.0.0"
"""Layout that is written; without it SAELens converts the names of versions before 6."""

TRAINED_AS = {
    "relu": "standard", "batch_topk": "batchtopk", "matryoshka": "matryoshka_batchtopk",
    "abs_topk": "abstopk",
}  # fmt: skip
"""SAELens' names of what an SAE was trained as, where they differ from ours."""

CLASSES = {
    "relu": "standard", "gated": "gated", "jumprelu": "jumprelu", "topk": "topk", "abs_topk": "abstopk",
    "matching_pursuit": "matching_pursuit",
}  # fmt: skip
TRANSCODERS = {"relu": "transcoder", "jumprelu": "jumprelu_transcoder"}
SKIPPING = {"relu": "skip_transcoder", "jumprelu": "jumprelu_skip_transcoder"}
KINDS = {name: kind for table in (CLASSES, TRANSCODERS, SKIPPING) for kind, name in table.items()}
ROWS: Sizes = {"W_dec": ("d_sae", "d_out"), "b_dec": ("d_out",)}
COMMON: Sizes = {"W_enc": ("d_in", "d_sae"), **ROWS}
SKIP: Sizes = {"W_skip": ("d_out", "d_in")}
TENSORS: dict[str, Sizes] = {
    "relu": COMMON | {"b_enc": ("d_sae",)},
    "topk": COMMON | {"b_enc": ("d_sae",)},
    "abs_topk": COMMON | {"b_enc": ("d_sae",)},
    "matching_pursuit": ROWS,
    "jumprelu": COMMON | {"b_enc": ("d_sae",), "threshold": ("d_sae",)},
    "gated": COMMON | {"b_gate": ("d_sae",), "b_mag": ("d_sae",), "r_mag": ("d_sae",)},
}
NOT_READ = {
    "temporal": "its codes depend on other tokens",
    "batchtopk": "it is a checkpoint of training; SAELens saves the trained SAE as jumprelu",
    "matryoshka_batchtopk": "it is a checkpoint of training; SAELens saves the trained SAE as jumprelu",
}
BEFORE_6 = {
    "hook_point": "hook_name", "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}  # fmt: skip
MOST = 2**31


def contents(sae: SAE, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The files of an SAE.

    Raises
    ------
    ExportError
        If SAELens has no class with this function.
    """
    form, transcoder = form_of(sae), is_transcoder(sae)
    if form.kind == "threshold" or (transcoder and form.kind == "gated"):
        form = as_jumprelu(form)
    if transcoder:
        if form.kind not in TRANSCODERS:
            raise ExportError(
                f"a {form.kind} transcoder cannot be exported: SAELens has only ReLU and JumpReLU transcoders"
            )
        form = subtracting(form, False)
    wanted = TENSORS[form.kind] | (SKIP if form.skip else {})
    sizes = dict(zip(("d_in", "d_sae", "d_out"), form.widths, strict=True))
    weights = Weights(
        sizes_of(wanted, sizes), {name: latent_dim(shape) for name, shape in wanted.items()},
        ((latents.start, form.part(latents)) for latents in form.parts()),
    )  # fmt: skip
    return {FILES[0]: config(sae, form, facts, transcoder), FILES[1]: weights}


def is_transcoder(sae: SAE) -> bool:
    """Whether an SAE writes elsewhere than it reads."""
    site = sae.identity.get("site")
    return sae.d_in != sae.d_out or sae.identity.get("target_site", site) != site


def config(sae: SAE, form: Form, facts: Mapping[str, Any], transcoder: bool) -> dict[str, Any]:
    """`cfg.json`."""
    d_in, size, d_out = form.widths
    described = metadata(sae, facts)
    heads = not transcoder and str(described.get("hook_name", "")).endswith("hook_z")
    found: dict[str, Any] = {
        "architecture": (SKIPPING if form.skip else TRANSCODERS if transcoder else CLASSES)[form.kind],
        "d_in": d_in, "d_sae": size, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": form.subtract, "normalize_activations": "none",
        "reshape_activations": "hook_z" if heads else "none",
    }  # fmt: skip
    if transcoder:
        found["d_out"] = d_out
    if "topk" in form.kind:
        found |= {"k": form.k, "rescale_acts_by_decoder_norm": False}
    if form.kind == "matching_pursuit":
        found |= {
            "max_iterations": form.k, "residual_threshold": form.stops["residual_threshold"],
            "stop_on_duplicate_support": form.stops["stop_when_repeated"],
        }  # fmt: skip
    return found | {"metadata": described}


def metadata(sae: SAE, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What SAELens keeps of an SAE: where it belongs, what it was trained as, and our own block."""
    trained = str(facts.get("architecture", sae.architecture.name))
    site, target = facts.get("site"), facts.get("target_site")
    found: dict[str, Any] = {
        "sae_lens_version": VERSION,
        "model_name": facts.get("model"),
        "prepend_bos": True,  # our windows begin with the start token where the model has one
        "context_size": facts.get("context_length"),
        "training_tokens": facts.get("tokens_trained"),
        "l0": facts.get("l0"),
        "training_architecture": TRAINED_AS.get(trained, trained),
        BLOCK: block(facts),
    }
    if site:
        found["hook_name"] = hook_name(str(site))
        found["model_class_name"] = "AutoModelForCausalLM"
        if is_hook(found["hook_name"]):  # activations of the model as it is, not with centred weights
            found["model_class_name"] = "HookedTransformer"
            found["model_from_pretrained_kwargs"] = {"center_writing_weights": False}
    if target and target != site:
        found["hook_name_out"] = hook_name(str(target))
    return {k: v for k, v in found.items() if v is not None}


def read(folder: Path, shards: Shards = ALONE) -> SAE:
    """The SAE of a folder, or the latents of one shard of it.

    Raises
    ------
    LayoutError
        If it is malformed, or its function is none of ours.
    """
    path = folder / FILES[0]
    cfg = read_json(path)
    about = cfg.get("metadata") or {}
    if not isinstance(about, dict):
        raise LayoutError(f"{path}: metadata is {type(about).__name__}, wanted an object")
    cfg = _of_version_6(cfg)
    kind = _kind(cfg, path)
    sizes = {name: whole_number(cfg.get(name), name, path, MOST) for name in ("d_in", "d_sae")}
    skip = cfg["architecture"] in SKIPPING.values()
    transcoder = skip or cfg["architecture"] in TRANSCODERS.values()
    sizes["d_out"] = whole_number(cfg.get("d_out"), "d_out", path, MOST) if transcoder else sizes["d_in"]
    k = whole_number(cfg.get("k"), "k", path, sizes["d_sae"]) if "topk" in kind else None
    stops: dict[str, Any] = {}
    if kind == "matching_pursuit":
        k, stops = _stops(cfg, path, sizes["d_in"])
    tensors = _without_scaling(read_safetensors(folder / FILES[1]), cfg, folder / FILES[1])
    tensors = checked(tensors, TENSORS[kind] | (SKIP if skip else {}), sizes, folder / FILES[1], shards)
    if "topk" in kind and _flag(cfg, "rescale_acts_by_decoder_norm", False, path):
        tensors = _with_unit_rows(tensors)
    subtract = _subtracts(cfg, transcoder, path)
    if kind == "matching_pursuit" and not subtract:  # SAELens does not add b_dec either
        subtract, tensors = True, tensors | {"b_dec": torch.zeros_like(tensors["b_dec"])}
    form = Form(kind, tensors, subtract, k, stops)
    flat = {**cfg, **about, "architecture": cfg["architecture"]}
    return form.sae(identity(flat, form, folder, _hook(flat), str(flat.get("hook_name_out") or "")))


def _stops(cfg: Mapping[str, Any], path: Path, width: int) -> tuple[int, dict[str, Any]]:
    """Steps of a matching pursuit SAE, and what stops a token earlier."""
    steps, threshold = cfg.get("max_iterations"), cfg.get("residual_threshold", 1e-2)
    k = width if steps is None else whole_number(steps, "max_iterations", path, MOST)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold < math.inf:
        raise LayoutError(f"{path}: residual_threshold is {threshold!r:.60}, wanted a number from 0 on")
    repeated = _flag(cfg, "stop_on_duplicate_support", True, path)
    return k, {"residual_threshold": threshold, "stop_when_repeated": repeated}


def _of_version_6(cfg: dict[str, Any]) -> dict[str, Any]:
    """The configuration under today's names; before version 6 TopK was `standard` with an activation."""
    found = {"architecture": "standard"} | {BEFORE_6.get(k, k): v for k, v in cfg.items()}
    settings = found.get("activation_fn_kwargs")
    if found.get("activation_fn") == "topk" and isinstance(settings, dict) and "k" in settings:
        found |= {"architecture": "topk", "k": settings["k"]}
    return found


def _kind(cfg: Mapping[str, Any], path: Path) -> str:
    name = cfg["architecture"]
    if not isinstance(name, str) or name not in KINDS:
        if isinstance(name, str) and name in NOT_READ:
            raise LayoutError(f"{path}: {name} SAEs are not read: {NOT_READ[name]}")
        raise LayoutError(f"{path}: unknown architecture {name!r:.60}{nearest(str(name)[:60], KINDS)}")
    plain = {"normalize_activations": ("none", False, None), "activation_fn": ("relu", "topk", None)}
    for key, fine in plain.items():
        if cfg.get(key) not in fine:
            raise LayoutError(f"{path}: {key} = {cfg[key]!r:.60} is not read; wanted {fine[0]!r}")
    if cfg.get("activation_fn") == "topk" and name != "topk":
        raise LayoutError(f"{path}: activation_fn is topk, and no k is given")
    return KINDS[name]


def _subtracts(cfg: Mapping[str, Any], transcoder: bool, path: Path) -> bool:
    subtract = _flag(cfg, "apply_b_dec_to_input", not transcoder, path)
    if subtract and transcoder:
        raise LayoutError(f"{path}: apply_b_dec_to_input is true, which no transcoder can have")
    return subtract


def _flag(cfg: Mapping[str, Any], name: str, default: bool, path: Path) -> bool:
    value = cfg.get(name, default)
    if not isinstance(value, bool):
        raise LayoutError(f"{path}: {name} is {value!r:.60}, wanted true or false")
    return value


def _hook(flat: Mapping[str, Any]) -> str:
    hook = str(flat.get("hook_name") or "")
    head = flat.get("hook_head_index")
    return hook if head is None else f"{hook}.head_{head}"


def _without_scaling(tensors: dict[str, Tensor], cfg: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors without `scaling_factor`, of old versions, which is 1 unless it was fine-tuned."""
    scale = tensors.get("scaling_factor")
    if scale is None:
        return tensors
    if not torch.allclose(scale.float(), torch.ones_like(scale, dtype=torch.float32)):
        raise LayoutError(f"{path}: scaling_factor differs from 1; SAEs with fine-tuned scaling are not read")
    return {k: v for k, v in tensors.items() if k != "scaling_factor"}


def _with_unit_rows(p: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same TopK SAE with decoder rows of norm 1, by which it ranks its latents."""
    norms = p["W_dec"].norm(dim=-1).clamp_min(1e-8)
    encoder = {"W_enc": p["W_enc"] * norms, "b_enc": p["b_enc"] * norms}
    return p | encoder | {"W_dec": p["W_dec"] / norms[:, None]}
