"""Options that commands of `sae-train` share."""

from __future__ import annotations

from typing import Annotated

import typer


def name_classes(typed: list[str] | None) -> list[str] | None:
    """Register the classes that the user typed."""
    if typed:
        from trainers.architectures import register

        for one in typed:
            register(one)
    return typed


Use = Annotated[
    list[str] | None,
    typer.Option(
        "--use",
        help="An architecture of your own that the run has: my_sae.py:MySAE. Its code is run. Repeatable.",
        callback=name_classes,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
