"""The command `sae-frontier`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from frontier.cli_budgets import budgets
from frontier.cli_options import (
    Across,
    By,
    CurveName,
    CurveOption,
    ErrorsName,
    ErrorsOption,
    Family,
    Level,
    MaxL0,
    Out,
    Reference,
    RowsName,
    RowsOption,
    Source,
    TypicalSeedSd,
    VanishingL0,
    Verbose,
    XAxis,
    YAxis,
    reads,
    split,
    word_or_number,
)
from frontier.cli_remarks import alone, differences, reasons, said
from frontier.terminal import MENDABLE, console, fail, run, say, show, show_result, wrote
from frontier.text_tables import terminal_width
from frontier.wording import plural

if TYPE_CHECKING:
    import pandas as pd

    from frontier.calibration import Calibration
    from frontier.calibration.verdict_rates import VerdictCalibration
    from frontier.comparison import Comparisons
    from frontier.fits.frontier_fits import FrontierFits

Reading = dict[str, Any]
At = Annotated[float | None, typer.Option("--at", help="Hit at which relative potency is read.")]

app = typer.Typer(
    name="sae-frontier",
    help="Frontiers of sparse autoencoders as numbers: Pareto sets, fits, ratios, verdicts.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def version(asked: bool) -> None:
    """Print the version and stop."""
    if asked:
        from frontier import __version__

        say(f"sae-frontier {__version__}")
        raise typer.Exit()


@app.callback()
def entry(
    _: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Frontiers of sparse autoencoders as numbers: Pareto sets, fits, ratios, verdicts."""


@app.command()
@reads
def pareto(
    source: Source,
    reading: Reading,
    by: By = None,
    y: YAxis = None,
    family: Family = "family",
    across: Across = None,
    out: Out = None,
) -> None:
    """The SAEs that no other SAE of their group beats.

    Example: `sae-frontier pareto sweep.csv --by layer --out results`
    """
    from frontier import figures, metrics, pareto, tables
    from frontier.metrics.axes import goal
    from frontier.outputs import write_figure, write_table
    from frontier.readers import read

    table = read(source, **reading)
    told = said(table)
    y = metrics.y_axis(table, y)
    axis = "loss_recovered" if y == "performance_hit" else y
    options: dict[str, Any] = {"family": family, "across": split(across) or ()}
    options["objectives"] = {"l0": "min", y: goal(table, y)}
    marked = pareto.mark_pareto(table, split(by), **options)
    front = pareto.pareto_set(table, split(by), **options)
    said(front, told=told)
    show(tables.runs_table(front, also=[axis], width=terminal_width()))
    show("")
    say(f"{len(front)} of {plural(len(metrics.usable(marked)), 'SAE')} are Pareto-optimal.")
    differences(marked)
    if out:
        files = write_table(front, out / "pareto", tables.runs_table(front, style="latex", also=[axis]))
        drawn: dict[str, Any] = {"y": axis, "family": family, "across": options["across"]}
        axes = figures.plot_frontiers(marked, by=split(by), rows="pareto", **drawn)
        wrote([*files, *write_figure(axes, out / "frontier")])


@app.command()
@reads
def fit(
    source: Source, reading: Reading, by: By = None, x: XAxis = "sparsity", y: YAxis = None,
    curve: CurveOption = None, errors: ErrorsOption = ErrorsName.auto, max_l0: MaxL0 = None,
    vanishing_l0: VanishingL0 = None, level: Level = 0.95, family: Family = "family", across: Across = None,
    rows: RowsOption = RowsName.auto, out: Out = None, verbose: Verbose = False,
) -> None:  # fmt: skip
    """A curve through every group's frontier, with intervals and doubts.

    Example: `sae-frontier fit sweep.csv --curve hill --by layer --max-l0 200 --out results`
    """
    from frontier.outputs import undrawn, write_fits
    from frontier.readers import read

    table = read(source, **reading)
    told = said(table, verbose)
    found, more = fitted(
        table, curve, by, x=x, y=y, errors=str(errors), max_l0=max_l0, level=level, family=family,
        across=split(across) or (), rows=str(rows), vanishing_l0=word_or_number(vanishing_l0),
    )  # fmt: skip
    show_result(found, verbose=verbose, told=(*told, *more))
    if not len(found):
        fail("sae-frontier", "no group could be fitted")
    if out:
        wrote([*write_fits(found, out), found.save(out / "fits.json")], undrawn(found))


@app.command()
@reads
def compare(
    source: Source, reading: Reading, reference: Reference = None, by: By = None,
    rows: RowsOption = RowsName.auto, x: XAxis = "sparsity", y: YAxis = None,
    curve: CurveOption = None, errors: ErrorsOption = ErrorsName.auto, max_l0: MaxL0 = None,
    vanishing_l0: VanishingL0 = None, at: At = None, level: Level = 0.95,
    typical_seed_sd: TypicalSeedSd = 0.0, family: Family = "family", across: Across = None, out: Out = None,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Every family against the reference: verdicts, ratios with intervals, doubts.

    Example: `sae-frontier compare sweep.csv --reference relu --by layer --out results`
    """
    from frontier.comparison import compare as compared
    from frontier.outputs import undrawn, write_comparison
    from frontier.readers import read

    table = read(source, **reading)
    told = said(table, verbose)
    found = compared(
        table, reference, split(by), rows=str(rows), curve=curve, x=x, y=y, errors=str(errors),
        max_l0=max_l0, vanishing_l0=word_or_number(vanishing_l0), at=at, level=level,
        typical_seed_sd=typical_seed_sd, family=family, across=split(across) or (),
    )  # fmt: skip
    if not len(found):
        reasons(found, table)
        fail("sae-frontier", f"no pair of families could be compared{alone(table, str(family))}")
    show_result(found, verbose=verbose, told=told)
    if out:
        wrote(write_comparison(found, out, table=table), undrawn(found.fits, "fits and collapse"))


app.command()(budgets)


@app.command()
@reads
def report(
    source: Source,
    reading: Reading,
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write.")] = Path("report.html"),
    reference: Reference = None, by: By = None, rows: RowsOption = RowsName.auto,
    x: XAxis = "sparsity", y: YAxis = None,
    curve: CurveOption = None, errors: ErrorsOption = ErrorsName.auto, max_l0: MaxL0 = None,
    vanishing_l0: VanishingL0 = None, at: At = None, level: Level = 0.95,
    typical_seed_sd: TypicalSeedSd = 0.0, family: Family = "family", across: Across = None,
    title: Annotated[str, typer.Option("--title", help="Default: who is compared with whom.")] = "",
    date: Annotated[str, typer.Option("--date", help="Day of making, printed as given.")] = "",
    curves: Annotated[
        bool | None,
        typer.Option("--curves/--no-curves", help="Fit curves for the page. Default: up to 60 comparisons."),
    ] = None,
) -> None:  # fmt: skip
    """One self-contained HTML page: frontiers, verdicts, doubts, interactive figures, tables, provenance.

    Example: `sae-frontier report sweep.csv --reference relu --by layer -o report.html`
    """
    from frontier.html_report import report as write

    missing = [f for f in out.expanduser().parents if not f.exists()]
    if len(missing) > 1:
        raise ValueError(f"{out}: there is no folder {missing[-1]}, nor {missing[0]}; is it the right path?")
    wrote([write(
        source, out, reference, split(by), rows=str(rows), curve=curve, x=x, y=y, errors=str(errors),
        max_l0=max_l0, vanishing_l0=word_or_number(vanishing_l0), at=at, level=level,
        typical_seed_sd=typical_seed_sd, family=family, across=split(across) or (), title=title, date=date,
        reading=reading, with_curves=curves,
    )])  # fmt: skip


@app.command()
@reads
def calibrate(
    source: Source, reading: Reading, reference: Reference = None, by: By = None,
    rows: RowsOption = RowsName.auto, x: XAxis = "sparsity", y: YAxis = None,
    curve: CurveOption = None, errors: ErrorsOption = ErrorsName.auto, max_l0: MaxL0 = None,
    vanishing_l0: VanishingL0 = None,
    potency: Annotated[float, typer.Option("--potency", help="Relative potency that is to be seen.")] = 1.2,
    tables: Annotated[
        int | None,
        typer.Option("--tables", min=10, help="Simulated tables. Default: 500 for verdicts, 2000 for fits."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulation.")] = 0,
    level: Level = 0.95, family: Family = "family", across: Across = None, out: Out = None,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """How often verdicts and intervals are right on tables like yours: simulated, compared and fitted anew.

    Example: `sae-frontier calibrate sweep.csv --reference relu --tables 2000`
    """
    from frontier.comparison import compare as compared
    from frontier.outputs import write_frame
    from frontier.readers import read

    table = read(source, **reading)
    told = said(table, verbose)
    options: dict[str, Any] = {
        "x": x, "y": y, "max_l0": max_l0, "level": level, "family": family, "across": split(across) or (),
        "errors": str(errors), "rows": str(rows), "vanishing_l0": word_or_number(vanishing_l0),
    }  # fmt: skip
    results: dict[str, Calibration | VerdictCalibration] = {}
    try:
        found = compared(table, reference, split(by), curve=curve, **options)
    except ValueError as reason:
        if reference is not None:
            raise
        say(f"verdicts are not calibrated: {reason}", "* ")
        fits, _ = fitted(table, curve, by, **options)
    else:
        fits = found.fits
        chosen = {"potency": potency, "replicates": tables, "seed": seed}
        results["verdict_calibration"] = simulated(found, len(found.shapes), **chosen)
    results["calibration"] = simulated(fits, len(fits), reference=reference, replicates=tables, seed=seed)
    for name, result in results.items():
        show("")
        show_result(result, verbose=verbose, told=told)
        if out:
            files = write_frame(result.to_frame(), out / name)
            wrote([*files, result.save(out / f"{name}.json")])


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for figures and tables.")] = Path("out/demo"),
) -> None:
    """Gated against baseline SAEs on Gemma-7B, layer 20, from the published tables.

    Example: `sae-frontier demo --out out/demo`
    """
    from frontier.demo import run as demonstrate

    wrote(demonstrate(out, console))


@app.command()
def rerun(
    result: Annotated[
        Path, typer.Argument(help="Result that save(...) or --out wrote (JSON).", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option("--data", help="The table, where it does not lie beside the result or here."),
    ] = None,
) -> None:
    """Make a saved result again, and say whether the numbers are equal; exit code 1 where they are not.

    Example: `sae-frontier rerun results/comparison.json`
    """
    from frontier.rerunning import rerun as made_again

    found = made_again(result, data)
    show_result(found)
    if not found.equal:
        raise typer.Exit(1)


def main() -> None:
    """Run the command; bad input ends with one clear line and exit code 2."""
    run(app, "sae-frontier", mendable=(*MENDABLE, KeyError))


def fitted(
    table: pd.DataFrame, curve: CurveName | None, by: list[str] | None, *, y: str | None, family: str,
    rows: str, **options: Any,
) -> tuple[FrontierFits, tuple[str, ...]]:  # fmt: skip
    """The curve through the chosen rows of every group, and what was said of their choice."""
    from frontier import fits, metrics
    from frontier.groups import Groups
    from frontier.metrics.axes import goal
    from frontier.pareto.rows import chosen_rows

    y = metrics.y_axis(table, y)
    groups = Groups.of(table, split(by), family)
    chosen = chosen_rows(table, groups, rows, objectives={"l0": "min", y: goal(table, y)})
    found = fits.fit(chosen.table, curve, groups.cells, y=y, family=family, **options)
    return found, said(metrics.add_notes(chosen.table, *groups.notes), told=metrics.notes(table))


def simulated(source: Comparisons | FrontierFits, groups: int, **options: Any) -> Any:
    """The calibration of `source`, with a bar over its groups."""
    from frontier.calibration import calibrate
    from frontier.progress import reported

    with reported(True, "simulating", groups) as done:
        counted = itertools.count(1)
        return calibrate(source, progress=lambda _: done(next(counted)), **options)
