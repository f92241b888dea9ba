"""What the commands print: it fits the terminal, which obeys no character of it; bad input is one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from frontier.text_tables import paragraph, terminal_width
from frontier.wording import inert, one_line

if TYPE_CHECKING:
    from frontier.results import Result

console = Console(highlight=False)
errors_console = Console(stderr=True, highlight=False)


def show(text: str, style: str | None = None) -> None:
    """Print lines that are ready (tables, results), control characters made blanks."""
    console.print(inert(text), markup=False, soft_wrap=True, style=style)


def show_result(
    result: Result, *, verbose: bool = False, all_with: str = "--verbose", told: Collection[str] = ()
) -> None:
    """Print a result on one screen, or all of it, without remarks that were told already.

    `all_with` is said to show what one screen leaves out.
    """
    if told:
        show("")
    show(result._view().without(told).text(verbose=verbose, all_with=all_with))


def say(sentence: object, start: str = "", style: str | None = None) -> None:
    """Print a sentence in lines that fit, the first one after `start`."""
    show(paragraph(sentence, terminal_width(), start), style)


def wrote(files: list[Path], undrawn: str = "") -> None:
    """Say which files were written, and which figures were not."""
    folders = sorted({f.parent for f in files})
    for folder in folders:
        names = ", ".join(sorted(f.name for f in files if f.parent == folder))
        show("")
        say(f"wrote {folder}/: {names}")
    if undrawn:
        say(undrawn)


def fail(command: str, message: object) -> NoReturn:
    """One line on standard error, exit code 2; a terminal gets it broken between words."""
    line = one_line(f"{command}: {message}")
    if errors_console.is_terminal:
        line = paragraph(line, terminal_width())
    errors_console.print(line, markup=False, soft_wrap=True, style="red")
    sys.exit(2)


MENDABLE = (ValueError, OSError, ImportError)
"""Errors that the user can mend."""


def run(
    app: Callable[..., object], command: str, *, mendable: tuple[type[Exception], ...] = MENDABLE,
    out_of_memory: str = "give it fewer rows",
) -> None:  # fmt: skip
    """Run a typer application; what the user can mend ends with one line and exit code 2.

    `out_of_memory` is the advice where memory does not suffice.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show "≤" gets "?"
    try:
        code = app(standalone_mode=False)
    except mendable as error:
        fail(command, error.args[0] if isinstance(error, KeyError) and error.args else error)
    except MemoryError as error:
        fail(command, f"out of memory ({error or 'no room'}); {out_of_memory}")
    except Exception as error:
        if not hasattr(error, "format_message"):  # an unknown option or command; typer has its own click
            raise
        if type(error).__name__ != "NoArgsIsHelpError":  # that one has printed the help
            path = getattr(getattr(error, "ctx", None), "command_path", command)
            reason = error.format_message().replace("Value error, ", "").rstrip(".")  # pydantic's
            fail(command, f"{reason} ({path} --help lists the options)")
        code = 2
    sys.exit(code if isinstance(code, int) else 0)
