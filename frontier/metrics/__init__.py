"""The metrics table: what its columns are, how it is read and checked, and its numbers."""

from frontier.metrics.table import (
    CHECKED,
    NOTES,
    REASONS,
    add_notes,
    default_y,
    give_back,
    metrics_table,
    notes,
    require_metrics,
    set_aside,
    set_aside_remark,
    unread_columns,
    usable,
    values,
    y_axis,
)

__all__ = [
    "CHECKED",
    "NOTES",
    "REASONS",
    "add_notes",
    "default_y",
    "give_back",
    "metrics_table",
    "notes",
    "require_metrics",
    "set_aside",
    "set_aside_remark",
    "unread_columns",
    "usable",
    "values",
    "y_axis",
]
