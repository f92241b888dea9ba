"""Configurations to start from: the example of `sae-train init`, and those of the demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainers.architectures import known
from trainers.config import RunConfig, checked
from trainers.config_sections import EXPANSION

DEMO = ("relu", "gated", "topk", "batch_topk", "jumprelu")


def families(*names: str) -> list[dict[str, Any]]:
    """The sweeps of these architectures, as a configuration has them."""
    return [{"architecture": name, "settings": list(known(name).sweep)} for name in names]


def example() -> RunConfig:
    """What `sae-train init` writes: two architectures on the shipped model, a few minutes."""
    return checked({"training": {"expansion": EXPANSION}, "families": families("relu", "topk")})


def demo(fast: bool = False) -> RunConfig:
    """Five architectures × six settings on the MLP output of the shipped model's last layer."""
    training = {"steps": 150, "dictionary_size": 256} if fast else {"steps": 600, "dictionary_size": 512}
    return checked(
        {
            "activations": {"tokens": 60_000 if fast else 200_000},
            "training": training | {"checkpoint_every": 200},
            "evaluation": {"windows": 64 if fast else 128, "batch_size": 8},
            "families": families(*DEMO),
        }
    )


GATED_ABLATIONS = {
    "gated": {},
    "gated without auxiliary loss": {"auxiliary": False},
    "gated with unfrozen decoder": {"frozen_decoder": False},
    "gated with untied weights": {"tied": False},
    "gated without rescaling": {"rescale": False},
}
"""Options of each of the ablations in section 5.2 of the Gated SAE paper, beside Gated as it is."""


def gated_ablations(settings: Sequence[float] = (1.2, 2.8, 4.5, 11.0), steps: int = 300) -> RunConfig:
    """Gated and its four ablations, each over the same λ and three seeds: their names are the families."""
    sections = [
        {"name": name, "architecture": "gated", "options": options, "settings": list(settings)}
        for name, options in GATED_ABLATIONS.items()
    ]
    return checked(
        {
            "activations": {"tokens": 100_000},
            "training": {
                "steps": steps, "dictionary_size": 256, "checkpoint_every": steps, "seeds": [0, 1, 2]
            },
            "evaluation": {"windows": 64, "batch_size": 4},
            "families": sections,
        }
    )  # fmt: skip
