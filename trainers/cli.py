"""The command `sae-train`."""

from __future__ import annotations

import json
import os
import shlex
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from frontier import terminal
from trainers import cli_harvest, cli_hub, cli_own, cli_versus
from trainers.address_space import lack_of_address_space
from trainers.cli_endings import fail, in_one_line, resumable, stop
from trainers.cli_options import Quiet, Use
from trainers.interruption import Stopped, raising

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = ("site", "family", "dictionary_size", "learning_rate", "seed", "sparsity_setting", "steps_trained")
METRICS = ("l0", "ce_sae", "loss_recovered", "fvu", "alive_fraction")
"""Columns of the table at the end of a run; the file has them all."""
app = typer.Typer(
    name="sae-train",
    help="Train families of sparse autoencoders on one stream of activations, and measure them.\n\n"
    "A first run: `sae-train init sweep.toml`, then `sae-train run sweep.toml --out runs/first`. Stopped by "
    "Ctrl-C, Slurm or a power cut it goes on with `sae-train resume runs/first`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)

Folder = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]


class Format(StrEnum):
    """Layouts that other libraries load."""

    sae_lens = "sae-lens"
    dictionary_learning = "dictionary-learning"
    sae_bench = "sae-bench"
    sae_bench_results = "sae-bench-results"


def say_version(wanted: bool) -> None:
    """Print the version and end, if it is wanted."""
    if wanted:
        from frontier import __version__

        console.print(f"sae-train {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=say_version)
    ] = False,
) -> None:
    """Options of the command itself."""


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
    from trainers.config import read_config

    checked = read_config(config, change or ())  # before all that a run needs is imported
    from trainers import ranks
    from trainers.run import alone_in
    from trainers.sweeps import settled
    from trainers.train import train

    with resumable(out), ranks.process_group(), alone_in(out):
        if not (out / "config.toml").exists():  # else train says what is in the way
            checked, _ = settled(checked, out, progress=not quiet)
        trained = train(checked, out, progress=not quiet)
        trained.release()
        finish(out, trained.model, quiet)


@app.command()
def resume(folder: Folder, use: Use = None, quiet: Quiet = False) -> None:
    """Go on with a run that was stopped, from its last checkpoint, to the same final weights.

    Example: `sae-train resume runs/first`
    """
    from trainers import ranks
    from trainers.config import read_config, run_config
    from trainers.piloting import ASKED, in_pilots
    from trainers.run import alone_in
    from trainers.sweeps import settled
    from trainers.train import train

    piloting = in_pilots(folder)
    checked = read_config(folder / ASKED, saved=True) if piloting else run_config(folder)
    with resumable(folder), ranks.process_group(), alone_in(folder):
        if piloting:
            checked, _ = settled(checked, folder, progress=not quiet)
        trained = train(checked, folder, progress=not quiet, resume=not piloting)
        trained.release()
        finish(folder, trained.model, quiet)


@app.command()
def evaluate(folder: Folder, use: Use = None, quiet: Quiet = False) -> None:
    """Measure a trained run again; the evaluation section of its config.toml may have changed.

    Example: `sae-train evaluate runs/first`
    """
    from trainers import ranks
    from trainers.config import run_config
    from trainers.run import alone_in

    run_config(folder)  # says so where there is no run, before anything is made there
    with resumable(folder, "evaluate"), ranks.process_group(), alone_in(folder):
        finish(folder, None, quiet)


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", help="Folder for what is written.", show_default=False)],
    layout: Annotated[Format, typer.Option("--format", help="Whose layout.")] = Format.sae_lens,
    only: Annotated[list[str] | None, typer.Option("--only", help="run_id of an SAE; repeatable.")] = None,
    use: Use = None,
) -> None:
    """Write SAEs so that SAELens, dictionary_learning or SAEBench load them, or results as SAEBench's own.

    Example: `sae-train export runs/first --out exported --format sae-lens`
    """
    from trainers.export.runs import export_run

    if layout is Format.sae_bench_results:
        from trainers.export.sae_bench_results import write_results

        console.print(f"wrote {len(write_results(folder, out))} results to {out}/core", markup=False)
        return
    done = export_run(folder, out, str(layout), only or ())
    for name, place in done.places.items():
        if place != name:
            console.print(f"{name!r} is no name for a folder; it is in {place}", markup=False)
    console.print(f"wrote {len(done.places)} SAEs to {out}", markup=False, soft_wrap=True)
    if done.refused:
        fail(done.why)


app.command("new-architecture")(cli_own.new_architecture)
for command in (cli_own.check, cli_versus.versus, cli_harvest.harvest):
    app.command()(command)


@app.command()
def status(folder: Folder, use: Use = None) -> None:
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
    from trainers.demo import run as demonstrate

    terminal.wrote(demonstrate(out, console, fast=fast, progress=not quiet))


app.command()(cli_hub.publish)
app.command()(cli_hub.get)


def found_of_targets(folder: Path, table: pd.DataFrame) -> list[str]:
    """The L0s that a sweep aimed at and those that it found, a line per family."""
    if not (folder / "sweep.json").exists():
        return []
    lines = []
    for sweep in json.loads((folder / "sweep.json").read_text(encoding="utf-8")):
        rows = table[table["family"] == sweep["family"]]
        l0s = [rows.loc[rows["sparsity_setting"] == s, "l0"].map("{:.3g}".format) for s in sweep["settings"]]
        pairs = [f"{t:g} → {', '.join(v)}" for t, v in zip(sweep["target_l0"], l0s, strict=True)]
        name = " at ".join([sweep["family"], *sweep.get("sites", ())])
        lines.append(f"{name}: wanted L0 → found {'; '.join(pairs)}")
    return lines


def finish(folder: Path, model: object, quiet: bool) -> None:
    """Evaluate a trained run and print its table."""
    from trainers import ranks
    from trainers.config import run_config
    from trainers.evaluate.dead import dead_families
    from trainers.evaluate.runs import evaluate_run
    from trainers.kept import finished_rows

    table = evaluate_run(folder, model=model, progress=not quiet)  # type: ignore[arg-type]
    if ranks.is_first():
        from frontier import runs_table

        shown = table.sort_values(["site", "family", "l0"])
        there = shown.notna().any()
        columns = [c for c in (*IDENTITY, *METRICS) if (there[c] if c in METRICS else len(set(shown[c])) > 1)]
        console.print(runs_table(shown, columns=columns), markup=False, soft_wrap=True)
        ended = finished_rows(table)
        for line in (*found_of_targets(folder, ended), *dead_families(ended, run_config(folder))):
            console.print(line, markup=False, soft_wrap=True)
        console.print(f"\nwrote {folder}/metrics.parquet: {len(table)} SAEs", markup=False, soft_wrap=True)
        terminal.say(next_step(table, folder / "metrics.parquet"))


def next_step(table: pd.DataFrame, path: Path) -> str:
    """The command that makes the most of these SAEs: families that a curve can be fitted to are compared."""
    from frontier import fit, pareto_set
    from frontier.ratios.pairs import reference_family

    try:
        fitted = list(dict.fromkeys(str(f.group["family"]) for f in fit(pareto_set(table), "hill")))
    except ValueError:
        fitted = []
    at, choice = shlex.quote(str(path)), ""
    if len(fitted) < 2:
        command, does = ("fit", "fits its frontier") if fitted else ("pareto", "shows the frontier")
        return f"`sae-frontier {command} {at}` {does}"
    try:
        reference_family(fitted)
    except ValueError:
        choice = f" --reference {shlex.quote(fitted[0])}"
    return f"`sae-frontier compare {at}{choice}` compares the families"


def main() -> None:
    """Run the command; bad input ends with one clear line and exit code 2."""
    # Waiting threads that spin cost a step ten times its time on shared cores; torch reads this when it
    # loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.showwarning = in_one_line
    if lack := lack_of_address_space():
        fail(lack)
    smaller = "lower training.dictionary_size, the batch sizes, or the number of members"
    try:
        with raising():
            terminal.run(app, "sae-train", out_of_memory=smaller)
    except Stopped as stopped:
        stop(stopped)
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            fail(f"out of memory; {smaller}")
        if type(error) is RuntimeError:  # torch's own, or a fault of ours: the traceback is wanted
            raise
        fail(str(error))
