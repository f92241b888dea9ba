"""The command `sae-frontier budgets`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from frontier.cli_options import (
    Across,
    By,
    Family,
    Level,
    MaxL0,
    Out,
    Reference,
    RowsName,
    RowsOption,
    Source,
    TypicalSeedSd,
    Verbose,
    YAxis,
    reads,
    split,
)
from frontier.cli_remarks import alone, said
from frontier.terminal import fail, show_result, wrote

Budget = Annotated[
    str | None,
    typer.Option("--budget", help="Column of budgets. Default: tokens_trained, else steps_trained."),
]


@reads
def budgets(
    source: Source, reading: dict[str, Any], reference: Reference = None, by: By = None,
    budget: Budget = None, rows: RowsOption = RowsName.auto, y: YAxis = None, max_l0: MaxL0 = None,
    level: Level = 0.95, typical_seed_sd: TypicalSeedSd = 0.0, family: Family = "family",
    across: Across = None, out: Out = None, verbose: Verbose = False,
) -> None:  # fmt: skip
    """Every family against the reference at each training budget, and how that changes (all checkpoints).

    Example: `sae-frontier budgets runs/first/metrics.parquet --out results`
    """
    from frontier.comparison import compare_budgets
    from frontier.outputs import write_budgets
    from frontier.readers import read

    table = read(source, **(reading | {"checkpoints": "all"}))
    told = said(table, verbose)
    found = compare_budgets(
        table, reference, split(by), budget=budget, rows=str(rows), y=y, max_l0=max_l0, level=level,
        typical_seed_sd=typical_seed_sd, family=family, across=split(across) or (),
    )  # fmt: skip
    if not len(found):
        fail("sae-frontier", f"no pair of families could be compared{alone(table, str(family))}")
    show_result(found, verbose=verbose, told=told)
    if out:
        wrote(write_budgets(found, out))
