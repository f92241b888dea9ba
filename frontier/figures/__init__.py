"""Figures: axes in, axes out."""

from frontier.figures.frontiers import (
    Style,
    family_styles,
    paper_style,
    plot_fit,
    plot_fits,
    plot_frontier,
    plot_frontiers,
    plot_ratios,
    save_figure,
)

__all__ = [
    "Style",
    "family_styles",
    "paper_style",
    "plot_fit",
    "plot_fits",
    "plot_frontier",
    "plot_frontiers",
    "plot_ratios",
    "save_figure",
]
