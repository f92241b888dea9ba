"""Figures of what is done to trained SAEs and seen in them: axes in, axes out. Names load when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "plot_activation_sizes": "penalties",
    "plot_anatomy": "error_anatomy",
    "plot_densities": "frequency",
    "plot_parts": "penalties",
    "plot_recovery": "true_l0",
    "plot_shares": "frequency",
    "plot_pruning": "pruning",
    "plot_pruning_frontiers": "pruning",
    "plot_shrinkage": "shrinkage",
    "plot_inference_time": "inference_time",
    "plot_finetuning": "finetuning",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"trainers.studies.figures.{_HOME[name]}"), name)
    raise AttributeError(f"module 'trainers.studies.figures' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
