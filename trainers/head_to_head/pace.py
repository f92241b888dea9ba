"""A budget of time that cannot suffice: found by the first steps of the pilots, before all are trained."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from frontier.wording import plural
from trainers.config import RunConfig
from trainers.head_to_head.budget import Budget, VersusError, duration
from trainers.head_to_head.rounds import LEAST
from trainers.run import Run, Watch

STEPS = 10
"""Steps whose time is taken."""
SURELY = 1.5
"""A budget that is short by less than this factor is not refused yet: steps come slower and faster."""
SPARE = 2.0
"""The time that is named as enough, over what was counted."""


def pace(
    budget: Budget, spent: float, families: int, to_come: int, *,
    dearer: float = 1.0, keep: Path | None = None,
) -> Watch:  # fmt: skip
    """What looks at a run of pilots after each step, and ends it where the budget cannot hold what comes.

    Parameters
    ----------
    spent : float
        Seconds before this run.
    to_come : int
        SAEs of full length that are trained after this run at the least.
    dearer : float
        How many times dearer one of their steps may be than one here; it is at least as dear.
    keep : path, optional
        Where a checkpoint is left.

    Raises
    ------
    VersusError
        From the function that is returned: says what is enough.
    """
    began, marks = time.monotonic(), list[float]()

    def watch(run: Run) -> None:
        if budget.seconds is None or len(marks) > STEPS:
            return
        marks.append(time.monotonic())
        if len(marks) <= STEPS:
            return
        steps, step = run.config.training.steps, float(np.median(np.diff(marks)))
        here = spent + marks[-1] - began + step * (steps - run.step)
        after = step * steps * to_come / max(sum(len(f) for f in run.families), 1)
        if here + after <= SURELY * budget.seconds:
            return
        if keep is not None:
            run.save(keep)
        minutes = max(1, round(SPARE * (here + dearer * after) / 60 + 0.5))
        goes_on = ", with the same --out it goes on from here" if keep else ""
        raise VersusError(
            f"a budget of {budget} is too small: at the pace of the first {plural(STEPS, 'step')} the pilots "
            f"and {LEAST} SAEs of each of {families} families need {duration(here + after)} or more; give "
            f"--budget {minutes}min{goes_on}"
        )

    return watch


def pilots_to_come(config: RunConfig, each: int, factors: int) -> int:
    """SAEs of full length that follow the small pilots at the least: `each` at every rate, and a round."""
    return len(config.families) * (each * factors + LEAST)
