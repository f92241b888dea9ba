"""The command `sae-train`."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    name="sae-train",
    help="Train families of sparse autoencoders on one stream of activations, and measure them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)
errors_console = Console(stderr=True, highlight=False)

Folder = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


class Format(StrEnum):
    """Layouts that other libraries load."""

    sae_lens = "sae-lens"
    dictionary_learning = "dictionary-learning"


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("sweep.toml"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a configuration in which every field is explained.

    Example: `sae-train init sweep.toml`
    """
    from trainers.config import write_config
    from trainers.recipes import example

    if path.exists() and not force:
        fail(f"{path} is there already; --force writes over it")
    write_config(example(), path, explained=True)
    console.print(
        f"wrote {path}; `sae-train run {path} --out runs/first` trains it", markup=False, soft_wrap=True
    )


@app.command()
def run(
    config: Annotated[
        Path, typer.Argument(help="TOML file; `sae-train init` writes one.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.", show_default=False)],
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change a field: training.steps=500, families.0.settings=[1, 2, 4]. Repeatable."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train every member of every family, evaluate them, write `metrics.parquet`.

    Families with `target_l0` get their settings from a pilot first (`sweep.json`).

    Example: `sae-train run sweep.toml --out runs/first --set training.steps=500`
    """
    from trainers import ranks
    from trainers.config import read_config
    from trainers.sweeps import settled
    from trainers.train import train

    checked = read_config(config, change or ())
    with ranks.process_group():
        if not (out / "config.toml").exists():  # else train says what is in the way
            checked, _ = settled(checked, out, progress=not quiet)
        trained = train(checked, out, progress=not quiet)
        finish(out, trained.model, quiet)


@app.command()
def resume(folder: Folder, quiet: Quiet = False) -> None:
    """Go on with a run that was stopped, from its last checkpoint, to the same final weights.

    Example: `sae-train resume runs/first`
    """
    from trainers import ranks
    from trainers.config import read_config
    from trainers.train import train

    checked = read_config(folder / "config.toml")
    with ranks.process_group():
        trained = train(checked, folder, progress=not quiet, resume=True)
        finish(folder, trained.model, quiet)


@app.command()
def evaluate(folder: Folder, quiet: Quiet = False) -> None:
    """Measure a trained run again; the evaluation section of its config.toml may have changed.

    Example: `sae-train evaluate runs/first`
    """
    from trainers import ranks

    with ranks.process_group():
        finish(folder, None, quiet)


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", help="One folder per SAE is made here.", show_default=False)],
    layout: Annotated[Format, typer.Option("--format", help="Whose layout.")] = Format.sae_lens,
    only: Annotated[list[str] | None, typer.Option("--only", help="run_id of an SAE; repeatable.")] = None,
) -> None:
    """Write SAEs so that SAELens or dictionary_learning load them.

    Example: `sae-train export runs/first --out exported --format sae-lens`
    """
    from frontier._format import nearest
    from trainers.export import export as write
    from trainers.export.runs import known_of_run
    from trainers.sae_files import load_saes

    saes = {s.identity["run_id"]: s for s in load_saes(folder / "saes")}
    for name in only or ():
        if name not in saes:
            fail(f"{folder} has no SAE {name!r}{nearest(name, saes)}")
    known = known_of_run(folder)
    for name in only or saes:
        write(saes[name], out / name, str(layout), known=known.get(name))
    console.print(f"wrote {len(only or saes)} SAEs to {out}", markup=False, soft_wrap=True)


@app.command()
def status(folder: Folder) -> None:
    """How far a run is, and how each member does.

    Example: `sae-train status runs/first`
    """
    from trainers.status import run_status

    console.print(run_status(folder))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the run, figures and tables.")] = Path(
        "out/demo"
    ),
    fast: Annotated[bool, typer.Option("--fast", help="Fewer steps and smaller dictionaries.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train five architectures on the shipped model, compare them, then show the published Gated tables.

    Example: `sae-train demo --out out/demo`
    """
    from frontier.cli import wrote
    from trainers.demo import run as demonstrate

    wrote(demonstrate(out, console, fast=fast, progress=not quiet))


def finish(folder: Path, model: object, quiet: bool) -> None:
    """Evaluate a trained run and print its table."""
    from trainers import ranks
    from trainers.evaluate.runs import evaluate_run

    table = evaluate_run(folder, model=model, progress=not quiet)  # type: ignore[arg-type]
    if ranks.is_first():
        from frontier import runs_table

        console.print(runs_table(table), markup=False, soft_wrap=True)
        console.print(f"\nwrote {folder}/metrics.parquet: {len(table)} SAEs", markup=False, soft_wrap=True)
        console.print(
            f"`sae-frontier compare {folder}/metrics.parquet` compares the families",
            markup=False,
            soft_wrap=True,
        )


def main() -> None:
    """Run the command; bad input ends with one clear line and exit code 2."""
    # Waiting threads that spin cost a step ten times its time on shared cores; torch reads this when it
    # loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        fail(str(error))
    except RuntimeError as error:
        if type(error) is RuntimeError:  # torch's own, or a fault of ours: the traceback is wanted
            raise
        fail(str(error))


def fail(message: str) -> None:
    """One line on standard error, exit code 2."""
    errors_console.print(f"sae-train: {' '.join(message.split())}", markup=False, soft_wrap=True, style="red")
    sys.exit(2)
