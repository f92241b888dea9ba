"""Frontiers fitted to all runs, not only the winners."""

from frontier.inefficiency.fitting import (
    METHODS,
    MINIMUM_RUNS,
    InefficiencyFit,
    InefficiencyFits,
    fit_frontier,
    fit_frontier_points,
)

__all__ = [
    "METHODS",
    "MINIMUM_RUNS",
    "InefficiencyFit",
    "InefficiencyFits",
    "fit_frontier",
    "fit_frontier_points",
]
