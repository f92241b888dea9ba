"""The command that holds an architecture against others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from frontier import terminal
from trainers.cli_endings import AGAIN, resumable
from trainers.cli_options import Quiet


class Equal(StrEnum):
    """What is equal between the families."""

    width = "width"
    products = "products"


def versus(
    candidate: Annotated[
        str,
        typer.Argument(
            help="A TOML file whose [[families]] is the candidate, my_sae.py:MySAE, or a name: gated.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder; the same command goes on there after a kill.", show_default=False
        ),
    ],
    against: Annotated[str, typer.Option("--against", help="Rivals, with commas.")] = "relu,batch_topk",
    budget: Annotated[
        str | None, typer.Option("--budget", help="Time for everything, pilots too: 30min, 1h30min.")
    ] = None,
    saes: Annotated[
        int | None, typer.Option("--saes", help="Instead: SAEs that are compared, pilots not counted.")
    ] = None,
    equal: Annotated[
        Equal, typer.Option("--equal", help="Equal latents, or equal multiplications per token.")
    ] = Equal.width,
    rates: Annotated[
        str,
        typer.Option(
            "--rates", help="Learning rates that are tried, over each default; 1 alone tunes nothing."
        ),
    ] = "1/3,1,3",
    l0: Annotated[
        str | None,
        typer.Option("--l0", help="Range of L0: 3,40. Default: √width / 4 to 4 √width, as far as all reach."),
    ] = None,
    looks: Annotated[int, typer.Option("--looks", help="Looks at the verdicts, at most.")] = 3,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a field of the run: training.steps=500. Repeatable."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Is this architecture better than those, fairly? Tune, train, compare, go on until it is decided.

    Every family: one range of L0, its learning rate tuned by as many pilots on the same text, equal steps,
    batch and width. Ends with verdicts, a report and a fairness table.

    Example: `sae-train versus my_sae.py:MySAE --against relu,batch_topk --budget 30min --out runs/versus`
    """
    from trainers.head_to_head import versus as decided

    names = [n.strip() for n in against.split(",") if n.strip()]
    with resumable(out, AGAIN):
        found = decided(
            candidate, names, budget=budget, saes=saes, out=out, equal=equal.value, rates=factors(rates),
            l0=span(l0), looks=looks, changes=change or (), progress=not quiet,
        )  # fmt: skip
    terminal.show_result(found, all_with=f"{out}/result.md")
    terminal.show("")
    terminal.show_result(found.fairness, verbose=True)
    terminal.wrote([out / n for n in ("metrics.parquet", "report.html", "result.json", "result.md")])


def factors(text: str) -> list[float]:
    """Numbers or fractions with commas.

    >>> factors("1/3,1,3")
    [0.3333333333333333, 1.0, 3.0]
    """
    try:
        parts = (part.strip().partition("/") for part in text.split(","))
        return [float(a) / float(b or 1) for a, _, b in parts]
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"wanted factors such as 1/3,1,3, got {text!r}") from error


def span(text: str | None) -> tuple[float, float] | None:
    """Two numbers with a comma."""
    if text is None:
        return None
    try:
        low, high = (float(v) for v in text.split(","))
    except ValueError as error:
        raise ValueError(f"wanted a range of L0 such as 3,40, got {text!r}") from error
    return low, high
