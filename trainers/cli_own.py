"""The commands for an architecture of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier import terminal


def new_architecture(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("my_sae.py"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write an architecture of your own: a working class, every part of it explained.

    Example: `sae-train new-architecture my_sae.py`
    """
    from frontier.writing import write_text
    from trainers.promises import skeleton

    if path.suffix != ".py" or not path.stem.isidentifier():
        raise ValueError(f"wanted a Python file, as in my_sae.py, got {path}")
    if path.exists() and not force:
        raise ValueError(f"{path} is there already; --force writes over it")
    name = "".join(p[:1].upper() + p[1:] for p in path.stem.split("_"))
    name = name.removesuffix("Sae") + "SAE" if name.endswith("Sae") else name
    text = Path(skeleton.__file__).read_text(encoding="utf-8")
    write_text(path, text.replace("MySAE", name))
    terminal.say(
        f'wrote {path}; `sae-train check {path}` checks it, architecture = "{path}:{name}" in the '
        "configuration trains it"
    )


def check(
    what: Annotated[
        str, typer.Argument(help="my_sae.py, my_sae.py:MySAE, package.module:Class, or a name such as gated.")
    ],
) -> None:
    """Check the promises of an architecture; what is broken is named with its line, exit code 2.

    Example: `sae-train check my_sae.py`
    """
    from trainers.architectures import known, register
    from trainers.architectures.named_code import classes_in
    from trainers.promises import check as checked

    if what.endswith(".py"):
        kinds = [register(f"{what}:{name}") for name in classes_in(what)]
    else:
        kinds = [register(what) if ":" in what else known(what)]
    reports = [checked(kind) for kind in kinds]
    terminal.show("\n\n".join(r.table for r in reports))
    if faults := [r.fault for r in reports if r.broken]:
        terminal.fail("sae-train", "; ".join(faults))
