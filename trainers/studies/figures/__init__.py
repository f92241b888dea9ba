"""Figures of trained SAEs: axes in, axes out; those of evaluations are in `frontier.studies.figures`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "error_anatomy": ["plot_anatomy"],
        "penalties": ["plot_activation_sizes", "plot_parts"],
        "true_l0": ["plot_recovery"],
    },
)
