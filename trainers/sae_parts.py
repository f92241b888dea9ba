"""SAEs on disk, a part of their latents at a time: the file is the one that a single process would write."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from trainers.architectures import Architecture, Parameters
from trainers.sae import SAE
from trainers.shards import Shards

PROBE = (3, 3, 7)
"""d_in, d_out and latents of a small SAE, whose shapes say which dimension of a tensor counts latents."""
TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}
"""Of the tensors of SAEs, as safetensors calls them."""


def latent_dims(architecture: Architecture) -> dict[str, int | None]:
    """The dimension of each tensor, trained or ready for use, that counts latents; None: it has none."""
    d_in, d_out, size = PROBE
    means = (torch.zeros(d_in), torch.zeros(d_out))
    small, state = architecture.start(d_in, d_out, size, means, 0), architecture.state(size)
    shapes = {k: list(v.shape) for k, v in (small | state | architecture.inference(small, state, 1)).items()}
    return {k: shape.index(size) if size in shape else None for k, shape in shapes.items()}


def write_parts(sae: SAE, path: Path) -> None:
    """Write the tensors of a divided SAE whole; every shard makes the same call.

    The first writes, and holds one part of one tensor of another shard at a time.
    """
    parts = {k: v.detach().cpu().contiguous() for k, v in sae.parameters.items()}
    whole, shards = sae.architecture.whole, sae.shards  # type: ignore[attr-defined]
    dims = latent_dims(whole)
    order = sorted(parts, key=lambda name: (-parts[name].element_size(), name))
    if shards.rank:
        for name in order:
            if dims[name] is not None:
                shards.to_first(parts[name])
        return
    header: dict[str, dict] = {}
    place = 0
    for name in order:
        value, dim = parts[name], dims[name]
        shape = [n * (shards.count if i == dim else 1) for i, n in enumerate(value.shape)]
        end = place + prod(shape) * value.element_size()
        header[name] = {"dtype": TYPES[value.dtype], "shape": shape, "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        for name in order:
            file.seek(start + header[name]["data_offsets"][0])
            if dims[name] is None:
                file.write(parts[name].numpy().tobytes())
                continue
            for number, part in enumerate(shards.to_first(parts[name])):
                rows = part.reshape(prod(part.shape[: dims[name]]), -1).numpy()
                for row, values in enumerate(rows):
                    before = (row * shards.count + number) * values.nbytes
                    file.seek(start + header[name]["data_offsets"][0] + before)
                    file.write(values.data)


def read_part(path: Path, architecture: Architecture, shards: Shards) -> Parameters:
    """The latents of this shard, of each tensor; the others are not read."""
    found: Parameters = {}
    dims = latent_dims(architecture)
    with safe_open(path, "pt") as file:
        for name in file.keys():
            dim = dims[name]
            if dim is None:
                found[name] = file.get_tensor(name)
                continue
            stored = file.get_slice(name)
            here, left = divmod(stored.get_shape()[dim], shards.count)
            if left:
                raise ValueError(f"its latents cannot be divided over {shards.count} processes")
            mine = slice(shards.rank * here, (shards.rank + 1) * here)
            found[name] = stored[(slice(None),) * dim + (mine,)]
    return found


def shapes_in(path: Path) -> dict[str, Tensor]:
    """The tensors of a file without their numbers."""
    with safe_open(path, "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
