"""Training of SAE families: one stream of activations, all members at once, every metric.

===========================  ========================================================================
`trainers.config`            one TOML file with every field explained: `read_config`
`trainers.train`             from a configuration to trained SAEs, resumable: `train`
`trainers.evaluate`          every metric of every SAE in one pass: `evaluate`
`trainers.export`            SAELens and dictionary_learning folders, out and in: `export`, `load`
`trainers.language_models`   a frozen causal LM with named sites and splice-in: `load_language_model`
`trainers.activations`       endless shuffled activations, real or with a known truth
`trainers.architectures`     the kinds of SAE, one short file each; `register` takes your own
`trainers.head_to_head`      a candidate against its rivals, tuned alike, decided in a budget: `versus`
`trainers.studies`           what is done to trained SAEs, and what their latents look like
`trainers.sae_files`         trained SAEs on disk: `load_saes`
===========================  ========================================================================

The results are rows of the metrics table, which `frontier` reads. The names below load when they are used;
functions that are called like their module (`train`, `evaluate`, `export`) are imported from there.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "read_config": "config",
    "write_config": "config",
    "RunConfig": "config",
    "load_language_model": "language_models",
    "activation_stream": "activations",
    "JoinedActivations": "activations",
    "StoredActivations": "activations",
    "synthetic_stream": "activations",
    "evaluation_windows": "activations",
    "recovery": "activations",
    "evaluate_run": "evaluate.runs",
    "decoder_shares": "crosscoders",
    "SAE": "sae",
    "load_sae": "sae_files",
    "load_saes": "sae_files",
    "save_sae": "sae_files",
    "architecture": "architectures",
    "register": "architectures",
    "load": "export",
    "versus": "head_to_head",
    "Versus": "head_to_head",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        module = import_module(f"trainers.{_HOME[name]}")
        found = getattr(module, name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'trainers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
