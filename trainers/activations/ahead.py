"""The next buffer of activations, read in a thread while the one before is trained on."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

Chunks = tuple[int, ...]
Stopped = Callable[[], bool]
Read = Callable[[Chunks, Stopped], list[list[Tensor]]]
"""Reads chunks; it gives up where it finds that it is stopped."""


class Ahead:
    """Reads one buffer at a time, in a thread of its own and on a GPU in a stream of its own.

    What the thread meets, the one who asks for the buffer gets: also an error. A thread whose buffer is no
    longer wanted ends after the chunk that it is at; so too when Python ends.

    Parameters
    ----------
    read : callable
        Knows nothing of who asks.

    Attributes
    ----------
    on : bool
        Whether anything is read ahead.
    """

    def __init__(self, read: Read, device: torch.device) -> None:
        self.on, self._read, self._side = False, read, Side(device)
        self._task: Task | None = None
        self._tasks: list[Task] = []
        weakref.finalize(self, _end, self._tasks)

    def begin(self, chunks: Chunks) -> None:
        """Read these meanwhile."""
        if self.on and (self._task is None or self._task.chunks != chunks):
            self.drop()
            self._task = Task(self._read, self._side, chunks)
            self._tasks[:] = [self._task]

    def take(self, chunks: Chunks) -> list[list[Tensor]] | None:
        """These, if they were begun; the thread is waited for."""
        task = self._task
        if task is None or task.chunks != chunks:
            self.drop()
            return None
        try:
            found = task.result()
        except Exception:
            self.drop()
            raise
        self._task = None
        self._tasks.clear()
        return self._side.handed_over(found)

    def drop(self) -> None:
        """Give up what was begun."""
        _end(self._tasks)
        self._task = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A context after which nothing is read that nobody has asked for."""
        try:
            yield
        finally:
            self.drop()


class Task:
    """Some chunks, and the thread that reads them."""

    def __init__(self, read: Read, side: Side, chunks: Chunks) -> None:
        self.chunks, self._stop, self._done = chunks, threading.Event(), threading.Event()
        self._found: list[list[Tensor]] = []
        self._fault: BaseException | None = None
        threading.Thread(target=self._work, args=(read, side), name="activations", daemon=True).start()

    def _work(self, read: Read, side: Side) -> None:
        try:
            with side.working():
                self._found = read(self.chunks, self._stop.is_set)
        except BaseException as fault:  # for the one who asks
            self._fault = fault
        finally:
            self._done.set()

    def result(self) -> list[list[Tensor]]:
        """What was read, or the error in its place."""
        self._wait()
        if self._fault is not None:
            raise self._fault
        return self._found

    def end(self) -> None:
        """Stop after the chunk that is being read."""
        self._stop.set()
        self._wait()

    def _wait(self) -> None:
        while not self._done.wait(0.5):  # so that an interruption is seen
            pass


class Side:
    """A stream of a GPU beside that of the steps; on a CPU nothing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @contextmanager
    def working(self) -> Iterator[None]:
        """What a thread does inside goes into the stream."""
        if self._stream is None:
            yield
            return
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            yield

    def handed_over(self, tensors: Sequence[list[Tensor]]) -> list[list[Tensor]]:
        """For the stream of the caller, which waits until they are there."""
        if self._stream is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._stream)
            for tensor in (t for own in tensors for t in own if t.is_cuda):
                tensor.record_stream(current)
        return list(tensors)


def _end(tasks: list[Task]) -> None:
    while tasks:
        tasks.pop().end()


def carried(rows: Tensor, device: torch.device) -> Tensor:
    """Rows on a device; to a GPU through memory from which it copies while others work."""
    if device.type != "cuda" or rows.is_cuda:
        return rows.to(device)
    return rows.pin_memory().to(device, non_blocking=True)
