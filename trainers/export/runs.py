"""What a finished run knows of its SAEs beyond their own folders: measured L0, and the context length."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def known_of_run(folder: str | Path) -> dict[str, dict[str, Any]]:
    """`known` of `export` for every run_id: `l0` from metrics.parquet, `context_length` from config.toml.

    What is not there yet is left out; a run that was not evaluated has no L0.
    """
    import pandas as pd

    from trainers.config import run_config

    folder, shared = Path(folder), {}
    if (folder / "config.toml").is_file():
        length = run_config(folder).activations.context_length
        shared = {"context_length": length} if length else {}
    if not (folder / "metrics.parquet").is_file():
        return {p.parent.name: shared for p in sorted((folder / "saes").glob("*/sae.json"))}
    table = pd.read_parquet(folder / "metrics.parquet", columns=["run_id", "l0"])
    return {
        str(name): shared | ({"l0": float(l0)} if l0 == l0 else {})
        for name, l0 in zip(table["run_id"], table["l0"], strict=True)
    }
