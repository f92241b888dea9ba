"""SAEs on disk, a part of their latents at a time: the file is the one that a single process would write."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from trainers.architectures import Architecture, Parameters
from trainers.sae import SAE
from trainers.shards import Shards
from trainers.tensor_files import TensorsInParts, in_file_order

PROBE = (3, 3, 7)
"""d_in, d_out and latents of a small SAE, whose shapes say which dimension of a tensor counts latents."""
BLOCK = 2**24
"""Numbers of a shard that are sent together."""


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
    shards, dims = sae.shards, latent_dims(sae.kind)
    shapes = {
        k: (v.dtype, [n * (shards.count if i == dims[k] else 1) for i, n in enumerate(v.shape)])
        for k, v in parts.items()
    }
    if shards.rank:
        for name in in_file_order(shapes):
            if dims[name] is not None:
                shards.to_first(parts[name])
        return
    with TensorsInParts(path, shapes) as file:
        for name in in_file_order(shapes):
            dim, here = dims[name], parts[name]
            if dim is None:
                file.write(name, here, None)
                continue
            for number, part in enumerate(shards.to_first(here)):
                file.write(name, part, dim, number * here.shape[dim])


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


def digest(sae: SAE) -> str:
    """SHA-256 of the weights of an SAE: names, shapes and values, whatever files they are in.

    Of one that is divided every shard makes the same call; the first sees some of the others' at a time.
    """
    shards, found = sae.shards, hashlib.sha256()
    dims = latent_dims(sae.kind) if shards.count > 1 else {}
    for name, value in sorted(sae.parameters.items()):
        dim, value = dims.get(name), value.detach().cpu()
        shape = [n * (shards.count if i == dim else 1) for i, n in enumerate(value.shape)]
        found.update(f"{name} {shape} {value.dtype}\n".encode())
        for part in _in_order(value, dim, shards):
            found.update(part.contiguous().view(-1).numpy().data)
    if shards.count == 1:
        return found.hexdigest()
    return bytes(shards.from_first(torch.tensor(list(found.digest()), dtype=torch.uint8)).tolist()).hex()


def _in_order(value: Tensor, dim: int | None, shards: Shards) -> Iterator[Tensor]:
    """The whole of a tensor as it lies in memory, some at a time; of a divided one in the first shard."""
    if dim is None:
        yield value
    elif dim == 0:
        yield from shards.to_first(value)
    else:
        for rows in value.split(max(1, BLOCK // value[0].numel())):
            parts = list(shards.to_first(rows))
            yield torch.cat(parts, dim) if parts else rows[:0]
