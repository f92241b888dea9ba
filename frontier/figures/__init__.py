"""Figures: axes in, axes out; one function per figure of a paper.

Histograms are seaborn's. The rest is drawn by hand on matplotlib, where seaborn has no such thing or would
decide what must be ours: it draws no band that comes from a fit, dashes no curve where its data end, joins no
Pareto set; its grids of panels take no axes from outside; a family keeps its look in every figure, and the
theme is a venue's. Importing it takes 0.7 s, so that happens where a histogram is drawn.
"""

from frontier.figures.attainment import plot_attainment
from frontier.figures.budget import plot_budget
from frontier.figures.collapse import plot_collapse
from frontier.figures.evidence import plot_evidence
from frontier.figures.files import save_figure
from frontier.figures.fits import plot_fits
from frontier.figures.frequencies import plot_frequencies
from frontier.figures.frontiers import plot_frontiers
from frontier.figures.metrics_by import plot_high_frequency, plot_metrics, plot_reconstruction, plot_settings
from frontier.figures.pruning import plot_pruning
from frontier.figures.ratio_curves import plot_hit_ratios, plot_potencies
from frontier.figures.ratios import plot_ratios
from frontier.figures.regions import plot_regions
from frontier.figures.residuals import plot_residuals
from frontier.figures.style import Style, family_styles, paper_style
from frontier.figures.training import plot_training, training_log

__all__ = [
    "Style",
    "family_styles",
    "paper_style",
    "plot_attainment",
    "plot_budget",
    "plot_collapse",
    "plot_evidence",
    "plot_fits",
    "plot_frequencies",
    "plot_frontiers",
    "plot_high_frequency",
    "plot_hit_ratios",
    "plot_metrics",
    "plot_potencies",
    "plot_pruning",
    "plot_ratios",
    "plot_reconstruction",
    "plot_regions",
    "plot_residuals",
    "plot_settings",
    "plot_training",
    "save_figure",
    "training_log",
]
