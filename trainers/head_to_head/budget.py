"""How much a head to head may cost: SAEs of full length, or time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from frontier.wording import plural

UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


class VersusError(ValueError):
    """A head to head that cannot be made, or cannot go on: what was wanted, what was found, what to type."""


@dataclass(frozen=True)
class Budget:
    """So many SAEs beside the pilots, or so many seconds for everything; one of the two is None."""

    saes: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return plural(self.saes, "SAE") if self.saes is not None else duration(self.seconds or 0.0)


def budget_of(time: str | float | None = None, saes: int | None = None) -> Budget:
    """The budget that a user typed: 30min, 1h30min, 90s, or a number of SAEs.

    >>> budget_of("1h30min").seconds, budget_of(saes=40).saes
    (5400.0, 40)

    Raises
    ------
    VersusError
        If neither or both are given, or the time has no unit.
    """
    if (time is None) == (saes is None):
        found = "neither" if time is None else "both"
        raise VersusError(f"give a budget of time (30min) or of SAEs (40), one of the two; found {found}")
    if saes is not None:
        if saes < 1:
            raise VersusError(f"a budget of SAEs must be 1 or more, got {saes}")
        return Budget(saes=saes)
    if isinstance(time, int | float):
        seconds = float(time)
    else:
        text = str(time).replace(" ", "").lower()
        parts = re.findall(r"(\d+(?:\.\d+)?)([a-z]+)", text)
        if "".join(n + u for n, u in parts) != text or not all(u in UNITS for _, u in parts) or not parts:
            raise VersusError(f"wanted a time such as 30min, 1h30min or 90s, got {time!r}")
        seconds = sum(float(n) * UNITS[u] for n, u in parts)
    if not 0 < seconds < float("inf"):
        raise VersusError(f"a budget of time must be above 0, got {time!r}")
    return Budget(seconds=seconds)


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(95), duration(5400), duration(7.3)
    ('1 min 35 s', '1 h 30 min', '7 s')
    """
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    parts = [f"{n} {u}" for n, u in ((hours, "h"), (minutes, "min"), (rest if not hours else 0, "s")) if n]
    return " ".join(parts) or "0 s"
