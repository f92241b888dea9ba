"""Where a source's own Pareto mark and the computed one differ, and why."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frontier.groups import Groups
from frontier.metrics import values
from frontier.results import in_words
from frontier.wording import number


def mark_differences(
    marked: pd.DataFrame, by: list[str] | None = None, objectives: tuple[str, str] = ("l0", "performance_hit")
) -> list[str]:
    """One sentence per row whose `source_pareto_optimal` is not `pareto_optimal`; both marks are kept.

    Parameters
    ----------
    marked : the result of `mark_pareto` with the same groups and (minimised) objectives
    """
    if "source_pareto_optimal" not in marked:
        return []
    source = marked["source_pareto_optimal"].fillna(False).astype(bool).to_numpy()
    computed = marked["pareto_optimal"].to_numpy(dtype=bool)
    groups = Groups.of(marked, by)
    codes, names = groups.codes, groups.names
    points = np.column_stack([values(marked, o) for o in objectives])
    lines = []
    for i in map(int, np.flatnonzero(source != computed)):
        where = in_words(names[codes[i]])
        label = f"row {marked.index[i]} ({where}, L0 {number(float(points[i, 0]))})"
        reason = marked["excluded_because"].iloc[i]
        if not pd.isna(reason):
            lines.append(f"{label}: marked by the source, but set aside: {reason}")
        elif computed[i]:
            lines.append(f"{label}: not marked by the source, but no row of its group beats it")
        else:
            rivals = computed & (codes == codes[i]) & (points <= points[i]).all(axis=1)
            j = int(np.flatnonzero(rivals)[0])
            l0, better, own = (number(float(v)) for v in (points[j, 0], points[j, 1], points[i, 1]))
            lines.append(
                f"{label}: marked by the source, but row {marked.index[j]} beats it "
                f"(L0 {l0}, {objectives[1]} {better} against {own})"
            )
    return lines
