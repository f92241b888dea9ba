"""The published tables that ship with the package (see data/README.md for sources and faults)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frontier.metrics import give_back, metrics_table
from frontier.records import recorded
from frontier.wording import nearest

_FOLDERS = (Path(__file__).parent / "data", Path(__file__).parent.parent / "data")
"""In an installed wheel, and in a checkout."""

_GATED = {
    "gated_gemma7b": "Gated SAE paper, sequence length 1024",
    "gated_pythia2p8b": "Gated SAE paper, sequence length 2048",
}
"""The metrics tables and their evaluation protocol."""

_ENCODED_WIDTH = {"gemma-7b": {"Resid": 3072, "MLP": 3072, "Attn": 4096},
                  "pythia-2.8b": {"Resid": 2560, "MLP": 2560, "Attn": 2560}}  # fmt: skip
"""Width of what is encoded: residual stream, MLP output, and the heads' outputs before W_O."""

_PLAIN = ("gated_site_losses", "gated_interpretability_tests")
NAMES = (*_GATED, *_PLAIN)


@recorded
def load_dataset(name: str, *, backend: str = "pandas") -> Any:
    """A published table by name.

    `gated_gemma7b` and `gated_pythia2p8b` are metrics tables (Tables 1-8 of Rajamanoharan et al.,
    arXiv 2404.16014 v2); `gated_site_losses` and `gated_interpretability_tests` are small tables as printed.

    Raises
    ------
    ValueError
        When there is no such table; nearest names are offered.

    Examples
    --------
    >>> import frontier
    >>> len(frontier.load_dataset("gated_gemma7b"))
    176
    """
    if name not in NAMES:
        raise ValueError(f"no data set {name!r}{nearest(str(name), NAMES)}")
    frame = pd.read_csv(_path(name))
    if name in _PLAIN:
        return give_back(frame, backend)
    frame = frame.rename(
        columns={
            "pareto_optimal": "source_pareto_optimal",
            "sparsity_coefficient": "sparsity_setting",
            "note": "source_note",
        }
    )
    frame["sparsity_name"] = "lambda"
    places = zip(frame["model"], frame["site"], strict=True)
    frame["d_model"] = np.array([_ENCODED_WIDTH[model][site] for model, site in places])
    frame["ablation"] = "zero"
    frame["protocol"] = _GATED[name]
    frame["source"] = "arXiv 2404.16014 v2, Table " + frame.pop("source_table").astype(str)
    return give_back(metrics_table(frame), backend)


def _path(name: str) -> Path:
    for folder in _FOLDERS:
        if (folder / f"{name}.csv").is_file():
            return folder / f"{name}.csv"
    raise FileNotFoundError(f"the file of data set {name!r} is not installed; looked in {_FOLDERS}")
