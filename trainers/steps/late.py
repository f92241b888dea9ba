"""Numbers that pass between host and device without either waiting for the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

AHEAD = 1024
"""Steps whose numbers are sent to the device at a time."""


class SentAhead:
    """The numbers of each step, on the device before they are needed.

    Parameters
    ----------
    numbers : callable
        The numbers of a step.
    steps : int
        Steps of the run; numbers of later ones are sent one at a time.
    """

    def __init__(self, numbers: Callable[[int], Sequence[float]], steps: int, device: torch.device) -> None:
        self.numbers, self.steps, self.device = numbers, steps, device
        self.first, self.rows = 0, torch.empty(0, 0)

    def at(self, step: int) -> Tensor:
        """The numbers of a step, float64."""
        if not self.first <= step < self.first + len(self.rows):
            end = min(step + AHEAD, max(self.steps, step + 1))
            found = [list(self.numbers(s)) for s in range(step, end)]
            self.first, self.rows = step, torch.tensor(found, dtype=torch.float64).to(self.device)
        return self.rows[step - self.first]


class ReadLate:
    """A number of the device's as it was at some earlier step; None before the first has arrived.

    The copy of a step's number begins when it is posted. Whoever reads gets the last that has come.
    """

    def __init__(self) -> None:
        self.known: tuple[int, float] | None = None
        self._sent: tuple[int, Tensor, torch.cuda.Event] | None = None

    def post(self, step: int, value: Tensor) -> None:
        """Send this step's number `[]`, unless one is on its way."""
        if not value.is_cuda:
            self.known = step, float(value)
        elif self._sent is None:
            room = torch.empty((), dtype=value.dtype, pin_memory=True)
            room.copy_(value, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._sent = step, room, event

    def read(self) -> tuple[int, float] | None:
        """Step and number of the last one that has arrived."""
        if self._sent is not None and self._sent[2].query():
            self.known, self._sent = (self._sent[0], float(self._sent[1])), None
        return self.known
