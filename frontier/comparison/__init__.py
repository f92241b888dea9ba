"""From a table to verdicts in one call."""

from frontier.comparison.comparing import (
    OTHER,
    Comparisons,
    compare,
    default_groups,
)

__all__ = [
    "OTHER",
    "Comparisons",
    "compare",
    "default_groups",
]
