"""All promises of an architecture, one after the other, to the first that is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from trainers.architectures import Architecture, ArchitectureError, known
from trainers.architectures.named_code import line_of
from trainers.architectures.registry import origin
from trainers.promises import functions, lines, training
from trainers.promises.case import BrokenError, Case

PROMISES: dict[str, Callable[[Case], None]] = {
    "start": functions.starts,
    "shapes": functions.shapes,
    "state returned": functions.keeps_state,
    "codes 0 or above, unless signed": functions.keeps_the_sign,
    "tokens independent": functions.tokens_independent,
    "arguments unchanged": functions.changes_nothing,
    "members independent": functions.members_independent,
    "gradients": functions.gradients,
    "no question to the device": functions.asks_no_device,
    "steps alike": functions.steps_alike,
    "finite": training.stays_finite,
    "resumed bit for bit": training.resumes,
    "nothing fires, b_dec is left": training.nothing_fires,
    "input scale folds": training.folds,
    "equal after saving": training.saves,
}


@dataclass(frozen=True)
class Outcome:
    """One promise: kept, broken (what was found, on which line), or not reached."""

    promise: str
    state: Literal["kept", "broken", "not reached"]
    found: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Report:
    """What became of the promises of one architecture.

    Attributes
    ----------
    architecture, file : str
        Name of the class, and where it is written.
    outcomes : tuple of Outcome
        In the order in which they were checked; none is reached after a broken one.
    """

    architecture: str
    file: str
    outcomes: tuple[Outcome, ...]

    @property
    def broken(self) -> Outcome | None:
        """The promise that is not kept, if there is one."""
        return next((o for o in self.outcomes if o.state == "broken"), None)

    @property
    def fault(self) -> str:
        """One line: file, line, promise, what was found; empty where all are kept."""
        found = self.broken
        if found is None:
            return ""
        line = f", line {found.line}" if found.line else ""
        return f"{self.file}{line}: {self.architecture} breaks the promise {found.promise!r}: {found.found}"

    @property
    def table(self) -> str:
        """Every promise, and whether it is kept, a line each."""
        signs = {"kept": "kept", "broken": "BROKEN", "not reached": "-"}
        width = max(len(o.promise) for o in self.outcomes)
        rows = [f"  {o.promise:{width}}  {signs[o.state]}" for o in self.outcomes]
        return "\n".join([f"{self.architecture} ({self.file})", *rows])

    def __str__(self) -> str:
        return "\n".join([self.table, *([self.fault] if self.fault else [])])


AT_JOINED_SITES: dict[str, Callable[[Case], None]] = {"weights of parts fold": training.folds_weights}
"""Promises that a run asks for where sites are joined."""


def check(architecture: Architecture | type[Architecture] | str, joined: bool = False) -> Report:
    """Whether an architecture keeps its promises; about a second, on the CPU.

    Parameters
    ----------
    architecture : Architecture, its class, or its name
        With these options, or with the defaults.
    joined : bool
        Whether it shall be trained at joined sites (crosscoders).

    Examples
    --------
    >>> from trainers.promises import check
    >>> check("relu").broken is None
    True
    """
    kind = known(architecture) if isinstance(architecture, str) else architecture
    case = Case(kind() if isinstance(kind, type) else kind)
    own = type(case.kind)
    file, outcomes = lines.file_of(own), list[Outcome]()
    for promise, kept in (PROMISES | (AT_JOINED_SITES if joined else {})).items():
        if outcomes and outcomes[-1].state != "kept":
            outcomes.append(Outcome(promise, "not reached"))
        else:
            outcomes.append(_outcome(promise, kept, case, file))
    return Report(own.__name__, lines.shown(file), tuple(outcomes))


def _outcome(promise: str, kept: Callable[[Case], None], case: Case, file: str) -> Outcome:
    with lines.returns(file) as returned:
        try:
            kept(case)
        except BrokenError as error:
            line = error.line or returned.get(error.method) or lines.beginning(type(case.kind), error.method)
            return Outcome(promise, "broken", str(error), line)
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            return Outcome(promise, "broken", said, line_of(error, file))
    return Outcome(promise, "kept")


@cache
def assure(kind: Architecture, joined: bool = False) -> None:
    """Nothing, if an architecture is built in or keeps its promises, at `joined` sites too; checked once.

    Raises
    ------
    ArchitectureError
        Names the promise that is broken, and the line.
    """
    if origin(type(kind)) is not None and (fault := check(kind, joined).fault):
        raise ArchitectureError(fault)
