"""Configurations of the studies in docs/looking_inside.md: small families on the shipped model."""

from __future__ import annotations

from typing import Any

from trainers.config import RunConfig, checked
from trainers.sweeps import even_targets

L0_TARGETS = even_targets(5, 40, 6)


def study(families: list[dict[str, Any]], **changes: dict[str, Any]) -> RunConfig:
    """Families of 256 latents, 300 steps of 1024 activations at the last MLP output."""
    return checked(
        {
            "activations": {"tokens": 100_000} | changes.get("activations", {}),
            "training": {"steps": 300, "dictionary_size": 256, "threads": 1, "checkpoint_every": 300}
            | changes.get("training", {}),
            "evaluation": {"windows": 96, "batch_size": 4},
            "families": families,
        }
    )


def placed_sweeps() -> RunConfig:
    """Every kind of λ aimed at the same six L0s."""
    return study(
        [{"architecture": a, "target_l0": L0_TARGETS} for a in ("relu", "gated", "jumprelu", "p_anneal")]
    )
