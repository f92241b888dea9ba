"""Writes docs/commands/, a page per command from its own help: `python docs/commands_page.py`."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any

import typer

FOLDER = Path(__file__).with_name("commands")

INDEX = """\
# Commands

`sae-frontier` reads tables of SAEs and needs no torch; `sae-train` trains families of them. These pages are
the commands' own help (`python docs/commands_page.py`).
"""


def pages() -> dict[str, str]:
    """Markdown by file name: an index, and one page per command."""
    from frontier.cli import app as frontier
    from trainers.cli import app as trainers

    made = {"index.md": INDEX}
    for program, app in (("sae-frontier", frontier), ("sae-train", trainers)):
        rows = []
        for info in app.registered_commands:
            command = typer.main.get_command(app).commands[info.name or info.callback.__name__]
            name = f"{program}-{command.name}.md"
            made[name] = page(f"{program} {command.name}", command, info.callback)
            rows.append((f"[`{program} {command.name}`]({name})", first_line(command.help)))
        made["index.md"] += f"\n## {program}\n\n" + table(("command", "what it does"), rows)
    return made


def page(name: str, command: Any, function: Any) -> str:
    """One command: what it does, an example, its arguments and options."""
    hints = typing.get_type_hints(function)
    shown = [p for p in command.params if not p.hidden and p.name != "help"]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    usage = " ".join([name, "[OPTIONS]", *(p.name.upper() for p in arguments)])
    parts = [f"# {name}", inspect.cleandoc(command.help), f"```\n{usage}\n```"]
    for title, of in (("Arguments", arguments), ("Options", [p for p in shown if p not in arguments])):
        rows = [(flags(p), p.help or "", choices(hints.get(p.name)), default(p)) for p in of]
        if rows:
            headers = (title[:-1].lower(), "meaning", "one of", "default")
            parts.append(f"## {title}\n\n{table(headers, rows).rstrip()}")
    return "\n\n".join(parts).rstrip() + "\n"


def flags(parameter: Any) -> str:
    """'`-o`, `--out`'."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{o}`" for o in (*parameter.opts, *parameter.secondary_opts))


def choices(annotation: Any) -> str:
    """The values of an enumeration."""
    return ", ".join(f"`{v.value}`" for kind in kinds(annotation) for v in kind)


def kinds(annotation: Any) -> Iterator[type[Enum]]:
    """Enumerations in an annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        yield annotation
    elif isinstance(annotation, UnionType) or typing.get_origin(annotation) is not None:
        for part in typing.get_args(annotation):
            yield from kinds(part)


def default(parameter: Any) -> str:
    """The default, where there is one that says something."""
    value = parameter.default
    if parameter.required:
        return "required"
    if value is None or isinstance(value, bool) or value == "" or callable(value):
        return ""
    return f"`{value.value if isinstance(value, Enum) else value}`"


def first_line(text: str) -> str:
    """The first sentence of a help text."""
    return inspect.cleandoc(text).split("\n\n")[0].replace("\n", " ")


def table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table without the columns that are empty."""
    kept = [i for i in range(len(headers)) if any(row[i] for row in rows)]
    lines = [headers, tuple("---" for _ in headers), *rows]
    cells = ([" ".join(line[i].split()).replace("|", "\\|") for i in kept] for line in lines)
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
