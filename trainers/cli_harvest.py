"""The command that writes a store of activations."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from frontier import terminal
from trainers.cli_endings import AGAIN, resumable
from trainers.cli_options import Quiet

if TYPE_CHECKING:
    from trainers.activations.storing import Written
    from trainers.config import RunConfig


def harvest(
    config: Annotated[
        Path, typer.Argument(help="TOML file of a run; its families do not matter.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the store.", show_default=False)],
    part: Annotated[
        str | None,
        typer.Option("--part", help="This process's share, as in 2/8; under torchrun its rank says it."),
    ] = None,
    limit: Annotated[
        str | None, typer.Option("--limit", help="Size that the store may have: 100GB. Default: the disk's.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", help="float32, bfloat16 or float16. Default: the model's own, which loses nothing."
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a field: activations.tokens=2_000_000. Repeatable."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the activations of a configuration's site to disk, for runs with `[activations] files`.

    Text and held-out text are those of a run, so that training on the store is training on the model. What is
    there already is left: the same command goes on after a kill.

    Example: `sae-train harvest sweep.toml --out stores/layer3 --limit 100GB`
    """
    from trainers.activations.sizes import bytes_of
    from trainers.config import read_config

    share = part_of(part)
    most = None if limit is None else bytes_of(limit)
    checked = read_config(config, change or ())
    with resumable(out, AGAIN):
        terminal.say(f"wrote {harvested(checked, out, share, most, dtype, progress=not quiet)}")


def harvested(
    config: RunConfig, out: Path, part: tuple[int, int], limit: int | None, dtype: str | None, progress: bool
) -> Written:
    """The store of a configuration, or this process's part of it, written."""
    from frontier.places import address_of
    from frontier.wording import listed
    from trainers.activations.evaluation_text import evaluation_windows
    from trainers.activations.sources import TokenWindows, require_places, token_windows
    from trainers.activations.store import ActivationStore
    from trainers.activations.storing import write_store
    from trainers.exclusions import with_exclusions
    from trainers.held_out import refuse_shared_text
    from trainers.origin import origin_of
    from trainers.precision import prepare, with_formats
    from trainers.run import chosen_device

    if address_of(out):
        raise ValueError("a store is written to a folder; copy it from there to an address")
    if config.activations.target_site:
        raise ValueError("a store has one site; leave activations.target_site out")
    if config.activations.places[1:]:
        raise ValueError(
            f"a store has one site, activations.sites has {listed(config.activations.places)}; "
            "--set activations.site=... names one of them"
        )
    device = chosen_device(config.model.device)
    config = with_formats(config, device)
    prepare(device, config.training.precision)
    model, given = origin_of(config, device), config.activations
    if isinstance(model, ActivationStore):
        raise ValueError(f"{given.files} is a store already")
    config = with_exclusions(config, model)
    refuse_shared_text(config, model)
    windows = token_windows(
        model, given.text, split="train", context_length=given.context_length,
        tokens=None if given.tokens == "all" else given.tokens, progress=progress,
    )  # fmt: skip
    require_places(model, windows)
    tokens, protocol = evaluation_windows(
        model, config.evaluation_text, config.evaluation.windows, given.context_length, progress=progress
    )
    held_out = TokenWindows(tokens.int(), protocol)
    return write_store(
        model, windows, held_out, given.site, out, part=part, limit=limit, dtype=dtype, progress=progress
    )


def part_of(text: str | None) -> tuple[int, int]:
    """Which of how many parts; where none is given, those of torchrun, else all.

    >>> part_of("2/8")
    (2, 8)
    >>> part_of("8/2")
    Traceback (most recent call last):
    ValueError: wanted a part such as 2/8, from 1/8 to 8/8, got '8/2'
    """
    if text is None:
        return int(os.environ.get("RANK", 0)) + 1, int(os.environ.get("WORLD_SIZE", 1))
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"wanted a part such as 2/8, from 1/8 to 8/8, got {text!r}")
    return int(found[1]), int(found[2])
