"""Tables in sections: blocks of rows under a line of their own, a comment, or parted by empty lines."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frontier.metrics.identity import SECTION, architecture_in
from frontier.metrics.names import canonical_name
from frontier.metrics.number_format import written

LONGEST = 80
"""Characters of the head of a section."""
COMMENT = "\ue000"
"""Before the text of a comment that stands between rows, in a row of its own."""


def starts(cells: pd.DataFrame) -> tuple[pd.DataFrame, list[str | None]]:
    r"""The rows that hold something, and what stood above each: a comment, an empty line ('') or nothing.

    >>> starts(pd.DataFrame([["relu", 8], [None, None], ["\ue000layer 3", None], ["topk", 8]]))[1]
    [None, 'layer 3']
    """
    filled = cells.notna().any(axis=1).to_numpy()
    comment = np.array([isinstance(c, str) and c.startswith(COMMENT) for c in cells.iloc[:, 0]], dtype=bool)
    kept = filled & ~comment
    if kept.all():
        return cells.reset_index(drop=True), [None] * len(cells)
    above, last = list[str | None](), None
    for keeps, is_comment, cell in zip(kept, comment, cells.iloc[:, 0], strict=True):
        if keeps:
            above.append(last)
            last = None
        else:
            last = str(cell).removeprefix(COMMENT).strip() if is_comment else last or ""
    return cells[kept].reset_index(drop=True), above


def title(cells: pd.DataFrame, above: list[str | None]) -> str | None:
    """The last comment, or line of one cell, in the rows down to the header."""
    found = None
    for row, comment in zip(cells.astype(object).to_numpy(), above, strict=True):
        filled = [str(cell) for cell in row if not pd.isna(cell)]
        found = (filled[0] if len(filled) == 1 else None) or comment or found
    return found


def divided(table: pd.DataFrame, above: list[str | None]) -> pd.DataFrame:
    """The table with the section of each row in a column, where there are several; their heads are no rows.

    >>> table = pd.DataFrame({"arch": ["Layer 3", "relu", "Layer 5", "relu"], "l0": [None, "8", None, "8"]})
    >>> divided(table, [None] * 4)[SECTION].tolist()
    ['Layer 3', 'Layer 5']
    """
    names = [canonical_name(str(c)) for c in table.columns]
    if len(names) < 2 or "l0" not in names:
        return table
    first = table.iloc[:, 0]
    alone = (first.notna() & table.iloc[:, 1:].isna().all(axis=1)).to_numpy()
    if not alone.any() and all(text is None for text in above[1:]):
        return table
    in_rows = set(first[~alone])
    below = pd.Series(~alone)[::-1].cummax()[::-1]  # a head has rows below it
    heads = alone & below.to_numpy() & [_is_head(cell, names[0]) and cell not in in_rows for cell in first]
    labels, numbers, has_rows = [""], list[int](), False
    for head, cell, comment in zip(heads, first, above, strict=True):
        if head or comment is not None:
            labels += [""] if has_rows else []
            labels[-1] = " / ".join(filter(None, (labels[-1], comment, cell if head else "")))
        has_rows = not head
        numbers.append(len(labels) - 1)
    if len(labels) < 2:
        return table
    told = [
        f"part {i + 1}" if not label else f"{label} ({i + 1})" if label in labels[:i] else label
        for i, label in enumerate(labels)
    ]
    return table.assign(**{SECTION: [told[number] for number in numbers]})[~heads].reset_index(drop=True)


def _is_head(cell: object, column: str | None) -> bool:
    """Whether a cell that stands alone in its row may say what the rows below are."""
    if (
        not isinstance(cell, str)
        or written(cell) is not None
        or not cell[:1].isalpha()
        or len(cell) > LONGEST
    ):
        return False
    return not (column in ("architecture", "family") and architecture_in(cell))  # of an SAE not measured
