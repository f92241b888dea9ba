"""How commands of `sae-train` end: a signal, a lost process, an error, in one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console

from frontier import terminal
from trainers.interruption import Stopped

AGAIN = "the same command"
"""How a head to head and a harvest go on."""
errors_console = Console(stderr=True, highlight=False)


@contextmanager
def resumable(folder: Path, how: str = "resume") -> Iterator[None]:
    """Inside, a signal ends the work in order, with a word on how to go on and the exit code for shells."""
    try:
        yield
    except Stopped as stopped:
        begun = any((folder / n).exists() for n in ("config.toml", "asked.toml", "versus.json", "store.json"))
        command = f"`sae-train {how} {folder}`" if how != AGAIN else AGAIN
        next_word = f"{command} goes on" if begun else "nothing had begun"
        errors_console.print(f"sae-train: {stopped}; {next_word}", markup=False, soft_wrap=True)
        raise typer.Exit(stopped.exit_code) from stopped
    except RuntimeError as error:
        from trainers.ranks import LostProcess

        if not isinstance(error, LostProcess):
            raise
        if error.first:
            again = f"`sae-train {how} {folder}`, under torchrun, goes on from the last checkpoint"
            fail(f"{error}, and the others with it; {again}")
        raise typer.Exit(2) from error


def stop(stopped: Stopped) -> NoReturn:
    """One line, and the exit code of the signal."""
    errors_console.print(f"sae-train: {stopped}", markup=False, soft_wrap=True)
    sys.exit(stopped.exit_code)


def in_one_line(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """A warning without the source line that gave it."""
    if issubclass(category, UserWarning):
        errors_console.print(f"sae-train: {message}", markup=False, soft_wrap=True, style="yellow")


def fail(message: str) -> NoReturn:
    """One line on standard error, exit code 2."""
    terminal.fail("sae-train", message)
