"""Training of SAE families: one stream of activations, all members at once, every metric.

=====================  ==============================================================================
`train`                from a configuration to trained SAEs, resumable: `train`
`read_config`          one TOML file with every field explained: `config`
`load_language_model`  a frozen causal LM with named sites and splice-in: `language_models`
`activation_stream`    endless shuffled activations; `synthetic_stream` with a known truth: `activations`
`evaluate`             every metric of every SAE in one pass: `evaluate`
`load_saes`            trained SAEs back from disk: `sae_files`
`export`, `load`       SAELens and dictionary_learning folders, out and in: `export`
=====================  ==============================================================================

The results are rows of the metrics table, which `frontier` reads. Names load when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "train": "train",
    "resume": "train",
    "read_config": "config",
    "write_config": "config",
    "RunConfig": "config",
    "load_language_model": "language_models",
    "activation_stream": "activations",
    "synthetic_stream": "activations",
    "evaluation_windows": "activations",
    "recovery": "activations",
    "evaluate": "evaluate",
    "evaluate_run": "run_evaluation",
    "SAE": "sae",
    "load_sae": "sae_files",
    "load_saes": "sae_files",
    "save_sae": "sae_files",
    "architecture": "architectures",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        module = import_module(f"trainers.{_HOME[name]}")
        found = getattr(module, name)
        globals()[name] = found  # also over the module of the same name
        return found
    raise AttributeError(f"module 'trainers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
