"""Pareto sets per group, the source's own marks, and how sure a place on the frontier is."""

from frontier.pareto.sets import (
    hypervolume,
    is_pareto_optimal,
    mark_pareto,
    nondominated,
    pareto_set,
)

__all__ = [
    "hypervolume",
    "is_pareto_optimal",
    "mark_pareto",
    "nondominated",
    "pareto_set",
]
