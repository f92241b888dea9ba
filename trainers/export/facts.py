"""What is known of an SAE beside its weights: written into the configuration, and read back as identity.

Each configuration has a block `sae_frontier` with the identity as we know it. It is believed in names and
settings; sizes and functions come from the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frontier.readers.configs import identity as identity_in
from trainers.export.files import LayoutError
from trainers.export.forms import Form
from trainers.export.places import site_name

BLOCK = "sae_frontier"
LONGEST = 1000
"""Characters of a text in the block."""

OUR_NAMES = {
    "standard": "relu", "standard_april_update": "relu", "matryoshka_batch_topk": "matryoshka",
    "transcoder": "relu", "jumprelu_transcoder": "jumprelu", "skip_transcoder": "relu",
    "jumprelu_skip_transcoder": "jumprelu", "": "",
}  # fmt: skip
"""What the libraries call architectures that have another name here."""


def block(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The identity as JSON: numbers, texts and yes or no; what is missing or of another type is left out."""
    return {k: v for k, v in facts.items() if _is_plain(v)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, bool | int) or (isinstance(value, str) and len(value) <= LONGEST)


def identity(
    config: Mapping[str, Any], form: Form, folder: Path, hook: str, target: str = ""
) -> dict[str, Any]:
    """Columns of the metrics table that a foreign folder tells.

    Parameters
    ----------
    config : flat dict under the library's own names, with our block if there is one
    hook, target : str
        Where the library says that the SAE reads, and writes if elsewhere.
    """
    name = folder.resolve().name
    row, changes = identity_in({k: v for k, v in config.items() if k != BLOCK}, name)
    row["architecture"] = OUR_NAMES.get(row["architecture"] or "", row["architecture"]) or form.kind
    row["site"], row["layer"] = site_name(hook, row["layer"])
    if target and target != hook:
        row["target_site"], _ = site_name(target)
    if form.k is not None:
        row["sparsity_setting"], row["sparsity_name"] = form.k, "k"
    ours = config.get(BLOCK)
    if ours is not None and not isinstance(ours, Mapping):
        raise LayoutError(f"{folder}: {BLOCK} is {type(ours).__name__}, wanted an object")
    row |= block(ours or {})
    if not ours and changes:
        row["remarks"] = "; ".join(f"{column}: {change}" for column, change in changes)
    d_in, size, _ = form.widths
    row |= {"run_id": name, "source": str(folder), "dictionary_size": size, "d_model": d_in}
    return {k: v for k, v in row.items() if v is not None}
