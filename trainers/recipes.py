"""Configurations to start from: the example of `sae-train init`, and those of the demonstration."""

from __future__ import annotations

from typing import Any

from trainers.architectures import known
from trainers.config import RunConfig, checked
from trainers.config_sections import EXPANSION

AS_QUOTED = {"centre": False, "buffer_tokens": 65_536}
"""Activations as in the runs that docs/after_training.md and docs/looking_inside.md quote."""
RATE_AS_QUOTED = 5e-3
"""The learning rate of every family in those runs."""


def as_quoted(sections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Families as in those runs: their rate, a running mean as the one threshold, no momentum of JumpReLU."""
    running = {"threshold_from": "running"}
    was = {"batch_topk": running, "matryoshka": running, "jumprelu": {"momentum": 0.0}}
    kept = [{"learning_rate": RATE_AS_QUOTED} | f for f in sections]
    return [
        f | {"options": was[f["architecture"]] | f.get("options", {})} if f["architecture"] in was else f
        for f in kept
    ]


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


def gated_ablations(settings: list[float] | None = None, steps: int = 300) -> RunConfig:
    """Gated and its four ablations, each over the same λ: their names are the families."""
    settings = settings or [1.2, 2.8, 4.5, 11.0]
    sections = [
        {"name": name, "architecture": "gated", "options": options, "settings": settings}
        for name, options in GATED_ABLATIONS.items()
    ]
    return checked(
        {
            "activations": AS_QUOTED | {"tokens": 200_000},
            "training": {"steps": steps, "dictionary_size": 512, "checkpoint_every": steps},
            "evaluation": {"windows": 64, "batch_size": 4},
            "families": sections,
        }
    )
