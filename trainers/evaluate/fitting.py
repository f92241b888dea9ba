"""An evaluation in pieces that fit a device: windows of text at once, and SAEs that are there together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from trainers.shards import ALONE, Shards

SHARE = 4
"""A quarter of the free memory is for SAEs and codes, and one for logits."""
LOGITS, CODES = 12, 20
"""Bytes at the peak per logit (clean in float32, spliced in the model's format, the model's own upcast of
them), and per code (itself, its size, its mask, and what an encoder needs)."""


def affordable(device: torch.device, shards: Shards = ALONE) -> int | None:
    """Bytes for one of the two kinds of things, in every shard; None: no limit."""
    if device.type != "cuda":
        return None
    return int(shards.least(torch.tensor(torch.cuda.mem_get_info(device)[0] // SHARE)))


def windows_at_once(saes: Sequence[Any], model: Any, length: int, memory: int | None) -> int:
    """Windows of so many tokens whose logits and codes fit; at least one."""
    if memory is None:
        return 2**31
    predicted = model.vocabulary_size * model.predicts
    return max(1, memory // window_bytes(predicted, length, CODES * max(s.dictionary_size for s in saes)))


def window_bytes(vocabulary: int, length: int, codes: float) -> int:
    """Of a window of so many tokens: their logits, or codes of so many bytes a token."""
    return int(length * max(LOGITS * vocabulary, codes))


def groups_that_fit(saes: Sequence[Any], memory: int | None) -> list[list[int]]:
    """Places of SAEs that are on the device together, in order; one that does not fit is alone."""
    found: list[list[int]] = [[]]
    left = memory
    for place, sae in enumerate(saes):
        size = sum(v.numel() * v.element_size() for v in getattr(sae, "parameters", {}).values())
        if left is not None and memory is not None:
            if size > left and found[-1]:
                found.append([])
                left = memory
            left -= size
        found[-1].append(place)
    return found


def on_device(sae: Any, device: torch.device) -> Any:
    """The SAE there, if it can be moved."""
    return sae.to(device) if hasattr(sae, "to") else sae
