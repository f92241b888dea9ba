"""An evaluation in pieces that fit a device: windows of text at once, and SAEs that are there together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from trainers.counting.traffic import Traffic
from trainers.device_memory import free_memory
from trainers.shards import ALONE, Shards

SHARE = 4
"""A quarter of the free memory is for SAEs and codes, and one for logits."""
CODES = 20
"""Bytes at the peak per code: itself, its size, its mask, and what an encoder needs."""
CLEAN = 4
"""Bytes that are kept per logit of the clean text: log-probabilities in float32."""
LOGIT_BYTES = 2**26
"""Float32 logits that are turned into losses at a time."""
LOSSES = 12
"""Bytes for each of these: log-probabilities, probabilities, their product; one more where
tokens are masked."""


def affordable(device: torch.device, shards: Shards = ALONE) -> int | None:
    """Bytes for one of the two kinds of things, in every shard; None: no limit."""
    free = free_memory(device)
    return None if free is None else int(shards.least(torch.tensor(free // SHARE)))


class PassBytes(NamedTuple):
    """Bytes per logit of a pass of a language model."""

    peak: float
    """With what the model makes of logits on the way."""
    left: float
    """Of the logits that it gives."""


def pass_bytes(model: Any) -> PassBytes:
    """Counted on two tokens; of the storages, those of the vocabulary's width."""
    if not model.predicts:
        return PassBytes(0.0, 0.0)
    tokens = torch.zeros(1, 2, dtype=torch.long)
    with Traffic(width=model.vocabulary_size) as traffic:
        logits = model.logits(tokens)
    return PassBytes(traffic.peak / logits.numel(), logits.element_size())


def windows_at_once(
    saes: Sequence[Any], logits: int, length: int, memory: int, of_pass: PassBytes, shards: int = 1
) -> int:
    """Windows of so many tokens whose logits and codes fit; at least one.

    Each of the shards has the codes of all of them, and the logits of its share.
    """
    fit = memory // (length * CODES * max(s.dictionary_size for s in saes))
    if logits:
        one = length * logits
        passes = memory // (one * (CLEAN + of_pass.peak))
        losses = (memory - _compared(one)) // (one * (CLEAN + of_pass.left))
        fit = min(fit, shards * int(min(passes, losses)))
    return max(1, fit)


def window_bytes(logits: int, length: int, codes: float, of_pass: PassBytes) -> int:
    """The most at one time of a window of so many tokens, with so many logits, and bytes of codes, each.

    The clean text's logits are kept; beside them are codes, or those of a pass and what is compared.
    """
    one = length * logits
    beside = max(one * of_pass.peak, one * of_pass.left + _compared(one), length * codes)
    return int(one * CLEAN + beside)


def _compared(logits: int) -> int:
    return LOSSES * min(logits, LOGIT_BYTES // 4)


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
