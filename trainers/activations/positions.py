"""Positions in a stream: generators that depend on a position only, and states that belong to one stream."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

from trainers.activations.harvest import ActivationError

OF_THE_TEXT = {"tokens_hash", "windows", "activations"}
"""What differs where the text does."""


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
    differ = [k for k in ours | theirs if theirs.get(k) != ours.get(k)]
    if "text" in differ:
        differ = [k for k in differ if k not in OF_THE_TEXT]
    if differ:
        said = "; ".join(_difference(k, theirs.get(k), ours.get(k)) for k in differ)
        raise ActivationError(f"the state is of another stream: {said}")


def _difference(key: str, was: Any, now: Any) -> str:
    """One difference in words; the digest of a text is its last word."""
    if key == "text" and isinstance(was, str) and isinstance(now, str):
        name, _, digest = now.rpartition(" ")
        if was.startswith(f"{name} "):
            return f"the text {name} has changed ({was.split()[-1]} then, {digest} now); put back what was"
    return f"{key} was {was!r}, is {now!r}"
