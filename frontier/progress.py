"""Progress of long work: a bar on the terminal, a callback, or nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.errors import LiveError
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

PATIENCE = 2.0
"""Seconds before a bar is drawn."""
Callback = Callable[[str, int, int], None]
"""Called as `callback(what, done, total)`."""


@contextmanager
def reported(progress: bool | Callback, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with how much is done; it moves a bar, calls back, or does nothing.

    The bar is drawn on a terminal, by the first process only, where no other bar is drawn, and only once the
    work has taken `PATIENCE`.
    """
    if callable(progress):
        callback = progress
        yield lambda done: callback(what, done, total)
        return
    began, bars = time.monotonic(), list[Progress | None]()

    def move(done: int) -> None:
        if not bars and time.monotonic() - began >= PATIENCE:
            bars.append(_bar())
            if bars[0] is not None:
                bars[0].add_task(what, total=total)
        if bars and bars[0] is not None:
            bars[0].update(bars[0].task_ids[0], completed=done)

    try:
        yield move if progress else lambda done: None
    finally:
        if bars and bars[0] is not None:
            bars[0].stop()


def _bar() -> Progress | None:
    """A started bar, or None where there is no terminal or another bar has it."""
    console = Console(stderr=True)
    first = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes
    if not (first and console.is_terminal):
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    try:
        bar.start()
    except LiveError:
        return None
    return bar
