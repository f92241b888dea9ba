"""The commands of `sae-train` that meet the hub: publish and get."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frontier import terminal
from trainers.cli_options import Use

To = Annotated[str, typer.Option("--to", help="hf://OWNER/NAME.", show_default=False)]


def publish(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    to: To,
    licence: Annotated[
        str,
        typer.Option(
            "--licence", "--license", prompt="Licence of the SAEs (apache-2.0, mit, cc-by-4.0, ...)",
            help="As the hub writes it: apache-2.0, mit, cc-by-4.0, other; asked for where it is not given.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder that is written. Default: published, in the run.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="Reference family of the verdicts.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the folder; send nothing.")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    use: Use = None,
) -> None:  # fmt: skip
    """Put a run on the Hugging Face hub: SAEs as SAELens loads them, metrics, the frontier, verdicts, a card.

    Example: `sae-train publish runs/first --to hf://me/first --licence mit --dry-run`
    """
    from trainers.publishing import prepare, repository_of, summary, upload

    repository = repository_of(to)
    made = prepare(folder, out or folder / "published", repository, licence, reference=reference)
    terminal.say(f"wrote {made.folder}: {summary(made)}")
    if dry_run:
        terminal.say("nothing was sent (--dry-run)")
        return
    upload(made.folder, repository, private=private)
    terminal.say(f"put to hf://{repository}; `frontier.read` of that address gives the table back")


def get(
    address: Annotated[str, typer.Argument(help="hf://OWNER/NAME or a folder in it.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for the SAEs.", show_default=False)],
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A part of an SAE's path; repeatable.")
    ] = None,
) -> None:
    """Copy SAEs of SAELens or dictionary_learning from the hub, and see that they load.

    Example: `sae-train get hf://me/first --out saes --only topk_16`
    """
    from trainers.publishing import get as copied

    made = copied(address, out, only or ())
    terminal.say(f"copied {len(made)} SAEs to {out}; trainers.load(folder) gives one of them")
