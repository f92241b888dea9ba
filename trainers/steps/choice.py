"""Which step engine a family gets."""

from __future__ import annotations

from trainers.family import Family
from trainers.steps.engine import Engine, StepOptions
from trainers.steps.loop import LoopEngine
from trainers.steps.stacked import StackedEngine


def engine_for(family: Family, options: StepOptions, kind: str = "auto", threads: int = 1) -> Engine:
    """The step engine of a family: `loop` on the CPU, `stacked` on a GPU, unless one is named.

    Raises
    ------
    ValueError
        If there is no engine of that name.
    """
    if kind == "auto":
        kind = "stacked" if next(iter(family.parameters.values())).is_cuda else "loop"
    if kind == "loop":
        return LoopEngine(family, options, threads)
    if kind == "stacked":
        return StackedEngine(family, options)
    raise ValueError(f"engine must be auto, loop or stacked, got {kind!r}")
