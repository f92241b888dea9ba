"""Families of which most latents are dead at the end, and the likely cause."""

from __future__ import annotations

import pandas as pd

from frontier.wording import listed
from trainers.config import RunConfig

MOST = 0.5
"""From this share of dead latents on it is said."""


def dead_families(table: pd.DataFrame, config: RunConfig) -> list[str]:
    """A sentence for each family with SAEs of which more than half of the latents never fire."""
    found = []
    by = ["site", "family"] if config.activations.places[1:] else ["family"]
    for names, rows in table.groupby(by, sort=False):
        family = " ".join(map(str, reversed(names)))
        dead = rows[rows["alive_fraction"] < 1 - MOST]
        if dead.empty:
            continue
        shares = [
            f"{100 * (1 - alive):.0f} % at {name} = {setting:g}"
            for alive, name, setting in zip(
                dead["alive_fraction"], dead["sparsity_name"], dead["sparsity_setting"], strict=True
            )
        ]
        found.append(f"{family}: {listed(shares, 3)} of the latents are dead; {_cause(dead, config)}")
    return found


def _cause(dead: pd.DataFrame, config: RunConfig) -> str:
    """The first of the known causes that fits: units, penalty, fixed k, width."""
    if not config.activations.centre:
        return (
            "the activations are not centred, so that a mean larger than their spread shrinks what the SAEs "
            "see; activations.centre = true takes it off"
        )
    fixed = set(dead["sparsity_name"]) <= {"k", "target_l0"}
    if bool((dead["l0"] < 1).all()):
        if fixed:
            return (
                "less than one latent fires per token: is the learning rate too large, or a row far too long?"
            )
        return "less than one latent fires per token: the setting is too large"
    if fixed:
        return (
            "of so many latents each wins too seldom at so small a k; take a smaller dictionary_size or more "
            "steps"
        )
    return "take a smaller setting, a smaller dictionary_size, or more steps"
