"""Saved configurations: fields that a run left out stand for what they were when it began."""

from __future__ import annotations

from typing import Any

from trainers.architectures import BUILT_IN

AS_BEGUN: dict[str, dict[str, Any]] = {
    "model": {"dtype": "float32"},
    "activations": {"centre": False},
    "training": {"expansion": None, "seeds_in_turn": False, "precision": "float32"},
}
"""Fields that a saved run may lack, and what they were before they existed or had another default."""
LAST_MLP = "mlp_out.-1"
"""The site where a configuration says none."""
SIZE_AS_BEGUN = 512
"""Latents of saved runs that say no size; newer runs state theirs."""
RATES_AS_BEGUN = dict.fromkeys((kind.name for kind in BUILT_IN), 5e-3)
"""Default learning rates of saved runs that state none; the folders of newer runs state them."""
MOMENTUM_AS_BEGUN = {"jumprelu": 0.0}
"""Adam's β₁ of saved runs that state none; the folders of newer runs state it."""
FREE_TO_CHANGE = {
    "model": {"device"},
    "activations": {"memory_limit", "cache", "cache_limit"},
    "training": {"threads", "engine", "shards", "log_every", "checkpoint_every", "keep_at", "logger"},
    "evaluation": {"text", "windows", "batch_size"},
}
"""Fields that may differ when a run is resumed: they do not change what is trained."""


def as_begun(content: dict[str, Any]) -> dict[str, Any]:
    """Plain values of a saved configuration, with what it left out as it was when the run began."""
    found, training, families = dict(content), content.get("training") or {}, content.get("families")
    for name, fields in AS_BEGUN.items():
        section = content.get(name) or {}
        if isinstance(section, dict):
            found[name] = fields | section
    if isinstance(training, dict) and not training.get("expansion"):
        found["training"] = {"dictionary_size": SIZE_AS_BEGUN} | found["training"]
    if isinstance(families, list):
        stated_once = isinstance(training, dict) and training.get("learning_rate")
        found["families"] = [
            {"expansion": None, "sites": None, "start_from": None}
            | _with_momentum(f if stated_once else _with_rate(f))
            if isinstance(f, dict)
            else f
            for f in families
        ]
    return found


def _with_rate(family: dict[str, Any]) -> dict[str, Any]:
    """A saved family that states no learning rate, with the one it had."""
    rate = family.get("learning_rate") or RATES_AS_BEGUN.get(str(family.get("architecture")))
    return family if rate is None else family | {"learning_rate": rate}


def _with_momentum(family: dict[str, Any]) -> dict[str, Any]:
    """A saved family that states no momentum, with the one it had."""
    was = MOMENTUM_AS_BEGUN.get(str(family.get("architecture")))
    return family if was is None else family | {"options": {"momentum": was} | family.get("options", {})}


def unsaid_of_rows(activations: dict[str, Any]) -> set[str]:
    """Fields that say nothing where files are read: their text, and a site that nobody named."""
    if not activations.get("files"):
        return set()
    return {"text"} | ({"site"} if activations["site"] in (None, LAST_MLP) else set())


def changed_fields(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What of two configurations differs and matters."""
    found, old = [], as_begun(old)
    for section in ("model", "activations", "training"):
        for field, value in new[section].items():
            was = old[section].get(field)
            if section == "activations" and field in unsaid_of_rows(new[section] | {"site": was}):
                continue
            if field not in FREE_TO_CHANGE[section] and was != value:
                found.append(f"{section}.{field} was {was!r}, is {value!r}")
    if old["families"] != new["families"]:
        found.append("the families differ")
    return found
