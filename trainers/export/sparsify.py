"""The layout of EleutherAI's sparsify, which is read alone: `cfg.json` and `sae.safetensors` per hookpoint.

TopK autoencoders (which subtract b_dec) and transcoders (which do not), with W_skip where they have one. What
encodes otherwise (`groupmax`, lookups of tokens) is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainers.export.facts import identity
from trainers.export.files import LayoutError, Sizes, checked, read_json, read_safetensors, whole_number
from trainers.export.forms import Form
from trainers.sae import SAE
from trainers.shards import ALONE, Shards

FILES = ("cfg.json", "sae.safetensors")
TENSORS: Sizes = {
    "encoder.weight": ("num_latents", "d_in"), "encoder.bias": ("num_latents",),
    "W_dec": ("num_latents", "d_in"), "b_dec": ("d_in",),
}  # fmt: skip
SKIP: Sizes = {"W_skip": ("d_in", "d_in")}
OTHERWISE = ("embed_skip", "gram_lookup")
"""Switches that add something to the output which is not in the input."""
MOST = 2**31


def read(folder: Path, shards: Shards = ALONE) -> SAE:
    """The SAE of a folder, or the latents of one shard of it.

    Raises
    ------
    LayoutError
        If it is malformed, or its function is none of ours.
    """
    path, weights = folder / FILES[0], folder / FILES[1]
    cfg = read_json(path)
    if (activation := cfg.get("activation", "topk")) != "topk":
        raise LayoutError(f"{path}: activation {activation!r:.60} is not read; wanted 'topk'")
    if other := next((name for name in OTHERWISE if cfg.get(name)), None):
        raise LayoutError(f"{path}: {other} is not read: its output depends on more than the input")
    state = read_safetensors(weights)
    sizes = {"d_in": whole_number(cfg.get("d_in"), "d_in", path, MOST)}
    given = cfg.get("num_latents") or sizes["d_in"] * whole_number(
        cfg.get("expansion_factor", 32), "expansion_factor", path, MOST
    )
    sizes["num_latents"] = whole_number(given, "num_latents", path, MOST)
    k = whole_number(cfg.get("k", 32), "k", path, sizes["num_latents"])
    skip = _flag(cfg, "skip_connection", path)
    p = checked(state, TENSORS | (SKIP if skip else {}), sizes, weights, shards)
    tensors = {"W_enc": p["encoder.weight"].T.contiguous(), "b_enc": p["encoder.bias"]}
    tensors |= {name: p[name] for name in ("W_dec", "b_dec", *SKIP) if name in p}
    form = Form("topk", tensors, not _flag(cfg, "transcode", path), k)
    return form.sae(identity({"k": k}, form, folder, folder.resolve().name))


def _flag(cfg: dict[str, Any], name: str, path: Path) -> bool:
    value = cfg.get(name, False)
    if not isinstance(value, bool):
        raise LayoutError(f"{path}: {name} is {value!r:.60}, wanted true or false")
    return value
