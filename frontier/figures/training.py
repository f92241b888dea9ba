"""Training curves, from the log of a run: L0 and FVU of every SAE by step."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from frontier.arguments import checked
from frontier.figures.panels import (
    EDGE,
    LEAST_WIDTH,
    OWN_LABEL,
    column_label,
    finish_axes,
    label_axes,
    legend_above,
    panels_for,
)
from frontier.figures.style import Style, figure_text, styles_for
from frontier.metrics import metrics_table
from frontier.renamed import parameters
from frontier.wording import nearest

METRICS = ("l0", "fvu")
LABELS = {"loss": "Training loss", "gradient_norm": "Norm of the gradient"}
STEPS = {"step": "Training step", "tokens": "Training tokens"}


def training_log(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The log of a run (`log.jsonl`) as a table: one row per SAE and logged step.

    Returns
    -------
    DataFrame
        `step`, `tokens`, `run_id`, and what was logged: `loss`, `l0`, `fvu`, `gradient_norm`. A last line
        that a kill cut short is left out.

    Raises
    ------
    ValueError
        When the file is no such log.

    Examples
    --------
    >>> import frontier
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "log.jsonl")
    >>> _ = path.write_text('{"step": 1, "tokens": 64, "members": {"relu_1": {"l0": 40.0}}}')
    >>> frontier.training_log(path)["l0"].tolist()
    [40.0]
    """
    rows = []
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            where = {"step": int(entry["step"]), "tokens": int(entry["tokens"])}
            rows += [{**where, "run_id": str(name), **logged} for name, logged in entry["members"].items()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number < len(lines) or not rows:
                raise ValueError(f"{path}, line {number}: not the log of a run") from error
    if not rows:
        raise ValueError(f"{path}: no logged step")
    return pd.DataFrame(rows)


@parameters(log="history")
@checked
def plot_training(
    history: Any,
    axes: Any = None,
    *,
    reference: Hashable | None = None,
    families: Any = None,
    metrics: Sequence[str] = METRICS,
    x: str = "step",
    log_y: bool = True,
    styles: Mapping[Any, Style] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """Logged metrics by step, one panel per metric and one line per SAE, in its family's colour.

    The last logged step of each SAE has its family's marker.

    Parameters
    ----------
    history : path of a run's `log.jsonl`, or a frame of `training_log`
    axes : array of Axes, optional
        One per metric; default a new pyplot figure, or new axes in `figure`.
    families : metrics table or dict of run_id to family, optional
        Default: the run_id up to its first number ("relu_0.7_seed0" is of the family "relu").
    metrics : among what was logged: l0, fvu, loss, gradient_norm
    x : {"step", "tokens"}
    reference : family, optional
        Drawn in grey (see `family_styles`).
    styles : dict of family to Style, optional

    Returns
    -------
    ndarray of Axes, shape (metrics,)

    Raises
    ------
    ValueError
        Not a run's log, or a metric that was not logged.

    Examples
    --------
    >>> import frontier
    >>> import pandas as pd
    >>> logged = {"step": [1, 2], "run_id": "relu_1", "l0": [40.0, 20.0], "fvu": [0.5, 0.3]}
    >>> len(frontier.plot_training(pd.DataFrame(logged)))
    2
    """
    frame = history if isinstance(history, pd.DataFrame) else training_log(history)
    for name in (x, *metrics):
        if name not in frame:
            raise ValueError(f"{name!r} was not logged{nearest(name, [c for c in frame if c != 'run_id'])}")
    names = _families(frame, families)
    looks = styles_for(dict.fromkeys(names.values()), reference, styles)
    grid, owned = panels_for(len(metrics), axes, figure, least=LEAST_WIDTH + OWN_LABEL)
    for ax, metric in zip(grid, metrics, strict=True):
        _draw_panel(ax, frame, x, metric, names, looks)
        finish_axes(ax, x, metric, False, log_y and bool((frame[metric] > 0).any()))
        label_axes(ax, STEPS.get(x, x), LABELS.get(metric) or column_label(metric))
    legend_above(grid, looks, looks, owned)
    return grid


def _families(frame: pd.DataFrame, given: Any) -> dict[str, str]:
    """Every run's family."""
    runs = list(dict.fromkeys(frame["run_id"].astype(str)))
    if given is None:
        return {r: _stem(r) for r in runs}
    if not isinstance(given, Mapping) or "run_id" in given:
        table = metrics_table(given)
        given = dict(zip(table["run_id"].astype(str), table["family"].astype(str), strict=True))
    return {r: str(given.get(r, _stem(r))) for r in runs}


def _stem(run: str) -> str:
    """The words of a run's name before its first number."""
    words = run.split("_")
    first = next((i for i, w in enumerate(words) if w[:1].isdigit()), len(words))
    return "_".join(words[:first]) or run


def _draw_panel(
    ax: Axes, frame: pd.DataFrame, x: str, metric: str, names: Mapping[str, str], looks: Mapping[Any, Style]
) -> None:
    width = 0.7 * float(mpl.rcParams["lines.linewidth"])
    dashes = _dashes_of_flat_lines(frame, metric, names)
    for run, rows in frame.groupby("run_id", sort=False):
        rows = rows.sort_values(x)
        family = names[str(run)]
        style: dict[str, Any] = {"color": looks[family].colour, "linewidth": width, "alpha": 0.85, **EDGE}
        style |= {"marker": looks[family].marker, "markevery": [-1]}
        style["linestyle"] = dashes.get(family, looks[family].line)
        ax.plot(rows[x], rows[metric], label=figure_text(family), **style)


def _dashes_of_flat_lines(
    frame: pd.DataFrame, metric: str, names: Mapping[str, str], length: float = 4
) -> dict[str, Any]:
    """Dashes in turn for families whose lines are all flat, as L0 is at equal k: else one hides the other."""
    ranges = frame.groupby("run_id")[metric].agg(["min", "max"])
    family = ranges.index.astype(str).map(dict(names))
    flat = np.isclose(ranges["min"], ranges["max"], rtol=1e-3).tolist()
    moving = {f for f, is_flat in zip(family, flat, strict=True) if not is_flat}
    still = [f for f in dict.fromkeys(names.values()) if f not in moving]
    if len(still) < 2:
        return {}
    gap = length * (len(still) - 1)
    return {f: (length * i, (length, gap)) for i, f in enumerate(still)}
