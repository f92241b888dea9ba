"""Parts of tensors in checkpoints: named by the latents that they hold, read by any number of shards.

`a/parameter/W_enc[:,16:32]` is those columns of `a/parameter/W_enc`, `b_enc[16:32]` those entries of `b_enc`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

NAME = re.compile(r"(?P<whole>.*)\[(?P<before>(?::,)*)(?P<first>\d+):(?P<last>\d+)\]", re.DOTALL)


def named(name: str, dim: int, latents: slice) -> str:
    """The name of a part."""
    return f"{name}[{':,' * dim}{latents.start}:{latents.stop}]"


def cut(tensors: Mapping[str, Tensor], name: str, dim: int | None, latents: slice) -> Tensor:
    """The latents of a tensor that was saved whole or in parts; `dim` None: it has no latents.

    Raises
    ------
    KeyError
        If some are missing.
    """
    if name in tensors or dim is None:
        return tensors[name] if dim is None else tensors[name].narrow(dim, latents.start, length(latents))
    found, reached = [], latents.start
    for place, first, last in sorted_parts(tensors, name):
        if first <= reached < min(last, latents.stop):
            end = min(last, latents.stop)
            found.append(tensors[place].narrow(dim, reached - first, end - reached))
            reached = end
    if reached < latents.stop:
        raise KeyError(f"{name} lacks latents from {reached} on")
    return torch.cat(found, dim)


def sorted_parts(tensors: Mapping[str, Tensor], name: str) -> list[tuple[str, int, int]]:
    """Names of the parts of a tensor, with their first latent and the one after the last."""
    found = ((place, NAME.fullmatch(place)) for place in tensors if place.startswith(f"{name}["))
    parts = [(p, int(m["first"]), int(m["last"])) for p, m in found if m and m["whole"] == name]
    return sorted(parts, key=lambda part: part[1:])


def in_parts(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a tensor was saved in parts; where none was, each process reads its own alone."""
    return any(NAME.fullmatch(name) for name in tensors)


def joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors whole: those that were saved in parts are put together.

    Raises
    ------
    KeyError
        If a part is missing.
    """
    found: dict[str, Tensor] = {}
    for place, value in tensors.items():
        part = NAME.fullmatch(place)
        if part is None:
            found[place] = value
        elif part["whole"] not in found:
            size = max(last for _, _, last in sorted_parts(tensors, part["whole"]))
            found[part["whole"]] = cut(tensors, part["whole"], len(part["before"]) // 2, slice(0, size))
    return found


def length(latents: slice) -> int:
    """How many."""
    return latents.stop - latents.start
