"""Where a difference known on a grid changes sign."""

from __future__ import annotations

import numpy as np

from frontier.problems import Array


def sign_changes(x: Array, gap: Array) -> list[tuple[int, int, float]]:
    """Each change of sign: the last point before it, the first after it, and where the line between is 0.

    Points where the difference is exactly 0 lie within a change, which then is in their middle; a touch,
    with one sign on both sides, is none, and neither is a 0 at an end.

    Parameters
    ----------
    x, gap : (points,)
        Places in rising order, and the difference there.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(5.0)
    >>> sign_changes(x, np.array([-1.0, 1, 3, 0, -2]))
    [(0, 1, 0.5), (2, 4, 3.0)]
    >>> sign_changes(x, np.array([0.0, 1, 0, 0, 2]))
    []
    """
    apart = np.flatnonzero(gap != 0)
    side = np.sign(gap[apart])
    found = []
    for turn in np.flatnonzero(side[:-1] * side[1:] < 0):
        i, j = int(apart[turn]), int(apart[turn + 1])
        share = gap[i] / (gap[i] - gap[j])
        root = x[i] + share * (x[j] - x[i]) if j == i + 1 else (x[i + 1] + x[j - 1]) / 2
        found.append((i, j, float(root)))
    return found
