"""Figures of evaluated SAEs and of their variants: axes in, axes out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "finetuning": ["plot_finetuning"],
        "frequency": ["plot_densities", "plot_shares"],
        "inference_time": ["plot_inference_time"],
        "pruning": ["plot_pruning", "plot_pruning_frontiers"],
        "shrinkage": ["plot_shrinkage"],
    },
)
