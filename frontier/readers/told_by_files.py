"""What the names of files and folders say of the SAEs in them, where no column does."""

from __future__ import annotations

import pandas as pd

from frontier.metrics.identity import facts_in
from frontier.metrics.parts import below_common
from frontier.wording import listed


def told_by_files(parts: list[pd.DataFrame]) -> list[str]:
    """Architectures, sites, layers and seeds in the names of files, or else of their folders; what to say.

    Each is read where every file tells one, they differ, and no file has a column of it.
    """
    sources = [list(dict.fromkeys(part["source"])) if "source" in part else [] for part in parts]
    if len(parts) < 2 or any(len(names) != 1 for names in sources):
        return []
    known = {column for part in parts for column in part.columns}
    said = []
    for column, cells in facts_in(_names([str(names[0]) for names in sources]), known).items():
        for part, cell in zip(parts, cells, strict=True):
            part[column] = cell
        said.append(f"{column}: read from the names of the files ({listed(list(dict.fromkeys(cells)), 5)})")
    return said


def _names(paths: list[str]) -> list[list[str]]:
    """The names of files without endings, and of their folders below the common one, from the end.

    >>> _names(["runs/layer_3/all.csv", "runs/layer_10/all.csv"])
    [['all', 'layer_3'], ['all', 'layer_10']]
    """
    split = below_common(paths)
    return [[names[-1].partition(".")[0], *reversed(names[:-1])] for names in split]
