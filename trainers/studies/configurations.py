"""The studies of docs/after_training.md and docs/looking_inside.md: small families on the shipped model.

`python -m trainers.studies penalties runs/penalties` trains and evaluates one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from frontier.wording import nearest
from trainers.config import RunConfig, checked
from trainers.recipes import DEMO, families, gated_ablations
from trainers.studies.equal_compute import equal_size
from trainers.sweeps import even_targets, settled

SIZE = 256
SIZES = [64, 128, 256, 512, 1024]
SEEDS = [0, 1, 2]
KINDS = ("relu", "gated", "jumprelu", "topk", "batch_topk")


def study(sections: list[dict[str, Any]], **changes: dict[str, Any]) -> RunConfig:
    """Families of 256 latents, 300 steps of 1024 activations at the last MLP output, three seeds."""
    training = {"steps": 300, "dictionary_size": SIZE, "checkpoint_every": 300, "seeds": SEEDS}
    return checked(
        {
            "activations": {"tokens": 100_000} | changes.get("activations", {}),
            "training": training | changes.get("training", {}),
            "evaluation": {"windows": 64, "batch_size": 4},
            "families": sections,
        }
    )


def after_training() -> RunConfig:
    """Those of the demonstration, without the densest and the sparsest of each family."""
    sections = [one | {"settings": one["settings"][1:-1]} for one in families(*DEMO)]
    training = {"steps": 600, "dictionary_size": 512, "checkpoint_every": 600}
    return study(sections, activations={"tokens": 200_000}, training=training)


def penalties() -> RunConfig:
    """ReLU with the L1 of activations, of their square roots and of their fourth roots, at the same L0s."""
    targets = even_targets(3, 48, 5)
    powers = {"L1": 1.0, "sqrt-L1": 0.5, "fourth-root-L1": 0.25}
    return study(
        [
            {"architecture": "relu", "name": name, "target_l0": targets, "options": {"p": p} if p < 1 else {}}
            for name, p in powers.items()
        ]
    )


def widths() -> RunConfig:
    """TopK at five dictionary sizes and three L0s."""
    return study([{"architecture": "topk", "settings": [2, 8, 32], "dictionary_size": SIZES}])


def transcoders() -> RunConfig:
    """From the input of the last MLP to its output: three architectures, from too few latents on."""
    kinds: dict[str, list[float]] = {
        "relu": [0.7, 1.5, 3.0, 6.0, 12.0, 25.0],
        "gated": [1.2, 2.2, 4.0, 7.0, 13.0, 25.0],
        "topk": [1, 2, 4, 8, 16, 32],
    }
    sections = [{"architecture": a, "settings": s} for a, s in kinds.items()]
    return study(sections, activations={"site": "mlp_in.1", "target_site": "mlp_out.1"})


def equal_cost() -> RunConfig:
    """Gated against ReLU of the same size and of the size that costs the same multiplications per token."""
    wide = equal_size("relu", "gated", SIZE, 128, 128)
    targets = even_targets(3, 40, 5)
    return study(
        [
            {"architecture": "gated", "target_l0": targets},
            {"architecture": "relu", "target_l0": targets},
            {"architecture": "relu", "name": "relu, as dear", "target_l0": targets, "dictionary_size": wide},
        ]
    )


NEWER: dict[str, Any] = {
    "activations": {"tokens": 100_000},
    "training": {"steps": 300, "dictionary_size": SIZE, "checkpoint_every": 300, "seeds": [0, 1]},
    "evaluation": {"windows": 96, "batch_size": 4},
}


RATE_OF_NEWER_KINDS = 5e-3
"""The rate of the TopK kinds when docs/architectures.md was measured."""


def newer_kinds() -> RunConfig:
    """TopK and the kinds after it, at equal steps, width and rate; AbsTopK at half the width too."""
    k = {"settings": [2, 4, 8, 16, 32], "learning_rate": RATE_OF_NEWER_KINDS}
    half = {"architecture": "abs_topk", "name": "abs_topk, half as wide", "dictionary_size": SIZE // 2}
    kinds = [{"architecture": a} | k for a in ("topk", "abs_topk", "matching_pursuit")]
    return checked(
        NEWER | {"families": [*kinds, half | k, k | {"architecture": "hierarchical_topk", "settings": [32]}]}
    )


def skip_transcoders() -> RunConfig:
    """ReLU and TopK transcoders over the last MLP, with and without W_skip."""
    sites = {"activations": NEWER["activations"] | {"site": "mlp_in.1", "target_site": "mlp_out.1"}}
    plain: list[dict[str, Any]] = [
        {"architecture": "topk", "settings": [2, 4, 8, 16, 32], "learning_rate": RATE_OF_NEWER_KINDS},
        {"architecture": "relu", "settings": [1.2, 2.0, 3.5, 6.0, 10.0]},
    ]
    skip = [f | {"name": f"{f['architecture']} with skip", "options": {"skip": True}} for f in plain]
    training = {"training": NEWER["training"] | {"seeds": [0, 1, 2]}}
    return checked(NEWER | sites | training | {"families": [*plain, *skip]})


CORRELATED: dict[str, Any] = {
    "features": 64,
    "d": 64,
    "l0": 8,
    "max_cosine": 0.0,
    "correlation": 0.6,
    "rank": 4,
}
"""The truth of the recovery study: orthogonal features, correlated through four common factors."""


def recovery_study(
    kinds: Sequence[str] = KINDS, seeds: Sequence[int] = (0, 1, 2), **truth: Any
) -> pd.DataFrame:
    """Recovery of correlated features against L0, for these architectures (5 CPU-seconds a kind and seed)."""
    from trainers.studies.true_l0 import default_settings, recovery_rows

    settings = {name: default_settings(name, CORRELATED["l0"]) for name in kinds}
    return recovery_rows(settings, seeds=seeds, steps=400, **CORRELATED | truth)


OF_PAGES = (after_training, gated_ablations, penalties, widths, transcoders, equal_cost)
"""Studies of the pages on trained SAEs: the defaults, three seeds."""
STUDIES = {f.__name__: f for f in (*OF_PAGES, newer_kinds, skip_transcoders)}


def run(name: str, folder: str | Path, *, progress: bool = True) -> pd.DataFrame:
    """Train and evaluate a study; its metrics table, also written to `folder`.

    Raises
    ------
    ValueError
        If there is no such study.
    """
    from trainers.evaluate.runs import evaluate_run
    from trainers.train import train

    if name not in STUDIES:
        raise ValueError(f"no study {name!r}{nearest(name, STUDIES)}")
    config, _ = settled(STUDIES[name](), folder, progress=progress)
    trained = train(config, folder, progress=progress)
    trained.release()
    return evaluate_run(folder, model=trained.model, progress=progress)
