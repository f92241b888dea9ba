"""Thousands of curve fits in one call."""

from frontier.engine.newton import (
    BLOCK,
    DECREMENT,
    FLAT,
    MAX_STEPS,
    NEAR,
    STILL,
    TOP_STARTS,
    Bools,
    Columns,
    Solution,
    solve,
)

__all__ = [
    "BLOCK",
    "DECREMENT",
    "FLAT",
    "MAX_STEPS",
    "NEAR",
    "STILL",
    "TOP_STARTS",
    "Bools",
    "Columns",
    "Solution",
    "solve",
]
