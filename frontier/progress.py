"""Progress of long work: a bar on the terminal, a callback, or nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.errors import LiveError
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

Callback = Callable[[str, int, int], None]
"""Called as `callback(what, done, total)`."""


@contextmanager
def reported(progress: bool | Callback, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with how much is done; it moves a bar, calls back, or does nothing.

    The bar is drawn on a terminal, by the first process only, where no other bar is drawn.
    """
    if callable(progress):
        callback = progress
        yield lambda done: callback(what, done, total)
        return
    bar = _bar() if progress else None
    if bar is None:
        yield lambda done: None
        return
    task = bar.add_task(what, total=total)
    try:
        yield lambda done: bar.update(task, completed=done)
    finally:
        bar.stop()


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
