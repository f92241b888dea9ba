"""Signals that ask a run to stop: between two steps, after a checkpoint, with a word on how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, n))
"""Ctrl-C; what Slurm and others send before they kill; what users have Slurm send earlier."""


class Stopped(BaseException):
    """A signal that ended the work; `exit_code` is what a shell expects then.

    No KeyboardInterrupt, which typer would take for itself.
    """

    def __init__(self, number: int, place: str = "") -> None:
        super().__init__(number, place)
        self.number, self.place = number, place

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}{self.place}"


@contextmanager
def raising() -> Iterator[None]:
    """Inside, each of the signals raises `Stopped`, so that nothing is left half-done or locked."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    with _handled(stop):
        yield


@contextmanager
def held() -> Iterator[Callable[[], int | None]]:
    """Inside, a signal waits: the function gives its number once it has come. A second one does not wait."""
    come: list[int] = []

    def keep(number: int, _: FrameType | None) -> None:
        if come:
            raise Stopped(number)
        come.append(number)

    with _handled(keep):
        yield lambda: come[0] if come else None


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """The signals go to a handler; only the main thread can have them, elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, handler) for s in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
