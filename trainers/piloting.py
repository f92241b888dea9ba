"""The folder of a run that is in the pilots of its target L0s: how it is known, and what is said of it."""

from __future__ import annotations

import shlex
from pathlib import Path

ASKED = "asked.toml"
"""The configuration before its targets have become settings."""


def in_pilots(folder: Path) -> bool:
    """Whether a run has not got past the pilots of its target L0s, from the files in its folder."""
    begun = (folder / "config.toml").exists() or (folder / "checkpoints").exists()
    return (folder / ASKED).exists() and not begun


def said_of_pilots(folder: Path) -> str:
    """That a run in its pilots has no SAEs yet, and what to type."""
    return (
        f"{folder} is in the pilots of its target_l0 and has no SAEs yet; if it was stopped, "
        f"`sae-train resume {shlex.quote(str(folder))}` begins them anew"
    )


def not_evaluated(folder: Path) -> str:
    """That a run has no metrics, and what to type."""
    measured = f"{folder} has no metrics.parquet; `sae-train evaluate {shlex.quote(str(folder))}` measures it"
    return said_of_pilots(folder) if in_pilots(folder) else measured
