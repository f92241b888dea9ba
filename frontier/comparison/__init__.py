"""From a table to verdicts in one call."""

from frontier.comparison.comparing import (
    OTHER,
    Comparisons,
    compare,
)

__all__ = [
    "OTHER",
    "Comparisons",
    "compare",
]
