"""Positions in a stream: generators that depend on a position only, and states that belong to one stream."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

from trainers.activations.harvest import ActivationError


def seeded(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A generator that is a function of the seed, what it is for, and the position."""
    digest = hashlib.sha256(json.dumps([seed, purpose, *position]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def require_same(state: dict[str, Any], ours: dict[str, Any], keys: tuple[str, ...]) -> None:
    """Nothing, if a state has its keys and is of the stream that is described.

    Raises
    ------
    ActivationError
        Names what is lacking, or what differs.
    """
    lacking = [k for k in (*keys, "stream") if k not in state]
    if lacking:
        raise ActivationError(f"the state of a stream lacks {lacking}; it has {list(state)}")
    theirs = state["stream"]
    differ = [
        f"{k} was {theirs.get(k)!r}, is {ours.get(k)!r}"
        for k in ours | theirs
        if theirs.get(k) != ours.get(k)
    ]
    if differ:
        raise ActivationError(f"the state is of another stream: {'; '.join(differ)}")
