"""The layout of dictionary_learning 0.1: `config.json` and `ae.pt`, which `load_dictionary` reads.

=====================================  ==================================================================
relu, p_anneal: decoder rows of 1      `AutoEncoder`, which sets rows to norm 1 when it is loaded
relu, p_anneal: other rows             `AutoEncoderNew` (April 2024), which keeps them
gated (tied weights)                   `GatedAutoEncoder`
jumprelu                               `JumpReluAutoEncoder`
topk                                   `AutoEncoderTopK`
batch_topk, matryoshka                 `BatchTopKSAE` with its threshold; the groups of the latter are noted
=====================================  ==================================================================

`AutoEncoderNew` and `JumpReluAutoEncoder` do not subtract b_dec: b_enc − b_dec W_enc is stored. The classes
have one width, so that transcoders between different widths are refused. `MatryoshkaBatchTopKSAE` is read,
not written: its encoder clears the wrong axis of inputs of three dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frontier.wording import nearest
from trainers.architectures import Matryoshka
from trainers.export.facts import BLOCK, block, identity
from trainers.export.files import (
    ExportError,
    LayoutError,
    Sizes,
    Weights,
    checked,
    latent_dim,
    read_json,
    read_state_dict,
    sizes_of,
    whole_number,
)
from trainers.export.forms import Form, form_of, subtracting
from trainers.sae import SAE
from trainers.shards import ALONE, Shards

FILES = ("config.json", "ae.pt")

F, D = ("dict_size",), ("activation_dim",)
LINEAR: Sizes = {"encoder.weight": F + D, "decoder.weight": D + F}
FREE: Sizes = {"W_enc": D + F, "W_dec": F + D, "b_enc": F, "b_dec": D}
TENSORS: dict[str, Sizes] = {
    "AutoEncoder": LINEAR | {"bias": D, "encoder.bias": F},
    "AutoEncoderNew": LINEAR | {"decoder.bias": D, "encoder.bias": F},
    "GatedAutoEncoder": LINEAR | {"decoder_bias": D, "r_mag": F, "gate_bias": F, "mag_bias": F},
    "JumpReluAutoEncoder": FREE | {"threshold": F},
    "AutoEncoderTopK": LINEAR | {"b_dec": D, "encoder.bias": F, "threshold": ()},
    "BatchTopKSAE": LINEAR | {"b_dec": D, "encoder.bias": F, "threshold": ()},
    "MatryoshkaBatchTopKSAE": FREE | {"threshold": ()},
}
"""Tensors of each class; `k` and `group_sizes` are apart, being whole numbers."""

KINDS = {
    "AutoEncoder": "relu", "AutoEncoderNew": "relu", "GatedAutoEncoder": "gated",
    "JumpReluAutoEncoder": "jumprelu", "AutoEncoderTopK": "topk", "BatchTopKSAE": "threshold",
    "MatryoshkaBatchTopKSAE": "threshold",
}  # fmt: skip
NO_CLASS = ("abs_topk", "matching_pursuit")
SUBTRACT = {name: name not in ("AutoEncoderNew", "JumpReluAutoEncoder") for name in TENSORS}
NAMES = {
    "bias": "b_dec", "decoder.bias": "b_dec", "decoder_bias": "b_dec", "encoder.bias": "b_enc",
    "gate_bias": "b_gate", "mag_bias": "b_mag",
}  # fmt: skip
TRAINERS = {
    "p_anneal": ("PAnnealTrainer", "initial_sparsity_penalty"),
    "gated": ("GatedSAETrainer", "l1_penalty"),
    "jumprelu": ("JumpReluTrainer", "sparsity_penalty"),
    "topk": ("TopKTrainer", "k"),
    "hierarchical_topk": ("TopKTrainer", "k"),
    "batch_topk": ("BatchTopKTrainer", "k"),
    "matryoshka": ("MatryoshkaBatchTopKTrainer", "k"),
}
"""The trainer of each architecture, and its name of the sparsity setting."""

MOST = 2**31


def contents(sae: SAE, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The files of an SAE.

    Raises
    ------
    ExportError
        If dictionary_learning has no class with this function.
    """
    if sae.d_in != sae.d_out:
        raise ExportError(
            f"a transcoder from {sae.d_in} to {sae.d_out} dimensions cannot be exported: the classes of "
            "dictionary_learning have one width; SAELens has transcoders"
        )
    form = form_of(sae)
    if form.skip or form.kind in NO_CLASS:
        what = "a transcoder with a skip" if form.skip else form.kind
        raise ExportError(f"{what} cannot be exported: dictionary_learning has no class of this function")
    name = _class(form)
    form = subtracting(form, SUBTRACT[name])
    config: dict[str, Any] = {"trainer": _trainer(sae, form, name, facts), BLOCK: block(facts)}
    more = {}
    if form.kind in ("topk", "threshold"):
        more["k"] = torch.tensor(config["trainer"]["k"], dtype=torch.int32)
    if facts.get("context_length"):
        config["buffer"] = {"ctx_len": facts["context_length"]}
    sizes = dict(zip(D + F, form.widths, strict=False))
    weights = Weights(
        sizes_of(TENSORS[name], sizes), {key: latent_dim(shape) for key, shape in TENSORS[name].items()},
        ((latents.start, _state_dict(form, name, latents)) for latents in form.parts()), more,
    )  # fmt: skip
    return {FILES[0]: config, FILES[1]: weights}


def _class(form: Form) -> str:
    if form.kind != "relu":
        return {kind: name for name, kind in KINDS.items() if name != "MatryoshkaBatchTopKSAE"}[form.kind]
    unit = all(_of_norm_1(form.part(latents)["W_dec"]) for latents in form.parts())
    return "AutoEncoder" if unit and form.subtract else "AutoEncoderNew"


def _of_norm_1(rows: Tensor) -> bool:
    """Whether the loader leaves them alone."""
    return bool(((rows.double().norm(dim=-1) - 1).abs() < 9e-6).all())


def _state_dict(form: Form, name: str, latents: slice) -> dict[str, Tensor]:
    """The tensors of some latents under the names and in the shapes of a class."""
    p, found = form.part(latents), {}
    for key in TENSORS[name]:
        if key.endswith(".weight"):
            found[key] = p["W_enc" if key.startswith("encoder") else "W_dec"].T
        elif key == "threshold" and form.kind == "topk":
            found[key] = torch.tensor(-1.0)  # unset: TopK does without
        else:
            found[key] = p[NAMES.get(key, key)]
    return found


def _trainer(sae: SAE, form: Form, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the configuration that `load_dictionary` and other tools read."""
    trained = str(facts.get("architecture", sae.architecture.name))
    plain = "StandardTrainer" if name == "AutoEncoder" else "StandardTrainerAprilUpdate"
    trainer, setting_name = TRAINERS.get(trained, (plain, "l1_penalty"))
    setting = facts.get("sparsity_setting")
    if form.kind == "topk":
        setting = form.k
    elif form.kind == "threshold":
        setting = _whole_k(setting)
    elif facts.get("sparsity_name") in ("k", "target_l0"):
        setting_name = str(facts["sparsity_name"])
    d, size, _ = form.widths
    found = {
        "trainer_class": trainer, "dict_class": name, "activation_dim": d, "dict_size": size,
        setting_name: setting, "layer": facts.get("layer"), "lm_name": facts.get("model"),
        "submodule_name": facts.get("site"),
        "lr": facts.get("learning_rate"), "seed": facts.get("seed"), "device": "cpu",
    }  # fmt: skip
    if isinstance(sae.architecture, Matryoshka):
        found["group_sizes"] = _group_sizes(sae.architecture.prefixes, size)
    return {k: v for k, v in found.items() if v is not None}


def _whole_k(setting: Any) -> int:
    """Whole-number k, which the class asks for and, having a threshold, does not use."""
    if not isinstance(setting, int | float) or not setting > 0:
        raise ExportError(f"BatchTopKSAE needs k, and the SAE's sparsity_setting is {setting!r}")
    return max(1, round(setting))


def _group_sizes(prefixes: tuple[float, ...], size: int) -> list[int]:
    ends = [0, *(round(share * size) for share in prefixes)]
    return [b - a for a, b in pairwise(ends) if b > a]


def read(folder: Path, shards: Shards = ALONE) -> SAE:
    """The SAE of a folder, or the latents of one shard of it.

    Raises
    ------
    LayoutError
        If it is malformed, or of an unknown class.
    """
    path, weights = folder / FILES[0], folder / FILES[1]
    config = read_json(path)
    trainer = config.get("trainer")
    if not isinstance(trainer, dict):
        raise LayoutError(f"{path} has no object 'trainer', which names the class of the SAE")
    name = trainer.get("dict_class")
    if not isinstance(name, str) or name not in TENSORS:
        raise LayoutError(f"{path}: unknown dict_class {name!r:.60}{nearest(str(name)[:60], TENSORS)}")
    state = read_state_dict(weights)
    sizes = _sizes(state, name, trainer, path, weights)
    k = _k(state, trainer, weights, sizes["dict_size"]) if KINDS[name] in ("topk", "threshold") else None
    if name == "MatryoshkaBatchTopKSAE":
        _check_groups(state.pop("group_sizes", None), sizes["dict_size"], weights)
    tensors = _ours(checked(state, TENSORS[name], sizes, weights, shards))
    form = _form(name, tensors, k)
    flat = {**trainer, BLOCK: config.get(BLOCK)} | ({} if k is None else {"k": k})
    found = identity(flat, form, folder, str(trainer.get("submodule_name") or ""))
    if form.kind == "threshold" and float(tensors["threshold"]) < 0:
        found["remarks"] = "its threshold was never set: every positive latent fires"
    return form.sae(found)


def _sizes(
    state: Mapping[str, Tensor], name: str, trainer: Mapping[str, Any], path: Path, weights: Path
) -> dict[str, int]:
    """Sizes from the configuration, or from the encoder where it is silent."""
    key = next(k for k in TENSORS[name] if k in ("encoder.weight", "W_enc"))
    shape = list(state[key].shape) if key in state and state[key].ndim == 2 else [0, 0]
    shape = shape[::-1] if key == "encoder.weight" else shape
    found = {}
    for size, of_encoder in zip(("activation_dim", "dict_size"), shape, strict=True):
        where = path if size in trainer or not of_encoder else weights
        found[size] = whole_number(trainer.get(size, of_encoder or None), size, where, MOST)
    return found


def _check_groups(groups: Tensor | None, size: int, weights: Path) -> None:
    if groups is None or groups.dtype not in (torch.int64, torch.int32) or int(groups.sum()) != size:
        shown = "missing" if groups is None else str(groups.tolist())[:60]
        raise LayoutError(f"{weights}: group_sizes is {shown}, wanted whole numbers that add up to {size}")


def _k(state: dict[str, Tensor], trainer: Mapping[str, Any], weights: Path, most: int) -> int:
    """k, taken out of the state; the configuration has it for states from before it was stored."""
    stored = state.pop("k", None)
    k = whole_number(trainer.get("k") if stored is None else stored, "k", weights, most)
    if "k" in trainer and trainer["k"] != k:
        raise LayoutError(f"{weights}: k is {k}, and the configuration says {trainer['k']!r:.60}")
    return k


def _ours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for key, value in tensors.items():
        if key.endswith(".weight"):
            found["W_enc" if key.startswith("encoder") else "W_dec"] = value.T.contiguous()
        else:
            found[NAMES.get(key, key)] = value
    return found


def _form(name: str, tensors: dict[str, Tensor], k: int | None) -> Form:
    kind = KINDS[name]
    if kind == "topk":
        tensors = {key: v for key, v in tensors.items() if key != "threshold"}
    return Form(kind, tensors, SUBTRACT[name], k if kind == "topk" else None)
