"""Arguments and options that commands of `sae-frontier` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class CurveName(StrEnum):
    """Curves that can be fitted."""

    linear = "linear"
    power = "power"
    hill = "hill"


class ErrorsName(StrEnum):
    """Errors models."""

    auto = "auto"
    additive = "additive"
    log = "log"
    relative = "relative"


Source = Annotated[
    Path,
    typer.Argument(
        help="Table with one row per SAE (CSV, TSV, Parquet, JSON, JSON lines), or a file or folder of "
        "results that another tool wrote.",
        show_default=False,
    ),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        help="Group column; repeat or separate with commas. Default: model, site, layer where present.",
    ),
]
XAxis = Annotated[str, typer.Option("--x", help="Column of the x axis.")]
YAxis = Annotated[
    str | None, typer.Option("--y", help="Column of the y axis. Default: performance_hit, else fvu.")
]
CurveOption = Annotated[CurveName, typer.Option("--curve", help="Curve to fit.")]
ErrorsOption = Annotated[
    ErrorsName, typer.Option("--errors", help="Errors model; auto chooses by pooled likelihood and says so.")
]
Reference = Annotated[
    str | None,
    typer.Option(
        "--reference", help="Reference family. Default: the one called relu, standard, vanilla or baseline."
    ),
]
MaxL0 = Annotated[float | None, typer.Option("--max-l0", help="Leave out SAEs with a larger L0.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for tables (CSV, Parquet, JSON, LaTeX) and figures (PDF, PNG)."),
]
Level = Annotated[
    float, typer.Option("--level", min=0.5, max=0.9999, help="Confidence level of the intervals.")
]
Family = Annotated[str, typer.Option("--family", help="Column that names the family.")]
Across = Annotated[
    list[str] | None,
    typer.Option(
        "--across",
        help="Column whose values may meet in one comparison: protocol, ablation, model, site, layer.",
    ),
]
EveryRow = Annotated[bool, typer.Option("--all", help="Fit all SAEs, not only the Pareto-optimal ones.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print every doubt, remark and number, not only the headline.")
]
