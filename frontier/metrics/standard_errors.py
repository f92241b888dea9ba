"""Standard errors of a metric, wherever the table has them: its own, or those of what it is made of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frontier.metrics.axes import values
from frontier.metrics.columns import DERIVED, ONE_MINUS

QUOTIENTS = ("sparsity", "relative_sparsity", "expansion_factor")
"""Computed columns that are no difference."""


def standard_errors(table: pd.DataFrame, column: str) -> np.ndarray | None:
    """Standard errors of a y axis or objective; None where the table has none.

    Its own, or else that of the column that it is computed from, or that is computed from it: the same for a
    difference, for a quotient the same share of it.

    >>> table = pd.DataFrame({"loss_recovered": [0.9], "performance_hit_se": [0.01], "l0": 8, "l0_se": 2})
    >>> [standard_errors(table, c) for c in ("loss_recovered", "performance_hit", "sparsity", "fvu")]
    [array([0.01]), array([0.01]), array([0.03125]), None]
    """
    for source in _with_its_error(column):
        if f"{source}_se" in table:
            se = values(table, f"{source}_se")
            if column in QUOTIENTS and source != column:
                return np.asarray(se * np.abs(values(table, column) / values(table, source)))
            return se
    return None


def standard_error_names(column: str) -> str:
    """The columns that would hold the standard error of a y axis, in words.

    >>> standard_error_names("performance_hit"), standard_error_names("fvu")
    ('performance_hit_se or loss_recovered_se', 'fvu_se')
    """
    return " or ".join(f"{source}_se" for source in _with_its_error(column))


def _with_its_error(column: str) -> list[str]:
    """The column itself, what it is computed from, and what is one minus it."""
    if column.startswith(ONE_MINUS):
        return _with_its_error(column.removeprefix(ONE_MINUS))
    from_it = [c for c, needs in DERIVED.items() if needs == (column,) and c not in QUOTIENTS]
    made_of = DERIVED.get(column, ())
    return [column, *(made_of if column in QUOTIENTS else made_of[:1]), *from_it]
