"""Arguments and options that commands of `sae-frontier` share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

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
    two_component = "two_component"
    relative = "relative"


Source = Annotated[
    Path,
    typer.Argument(
        help="Table with one row per SAE (CSV, TSV, Markdown, Excel, Parquet, JSON, JSON lines; packed or "
        "not), or a file or folder of results that another tool wrote.",
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

READING: dict[str, Any] = {
    "decimal": Annotated[
        str | None, typer.Option("--decimal", help="Decimal mark of numbers in text, . or , where unclear.")
    ],
    "thousands": Annotated[
        str | None, typer.Option("--thousands", help="Mark between thousands in text, where unclear.")
    ],
    "rows_at": Annotated[
        str | None,
        typer.Option("--rows-at", help="Which list inside JSON, sheet, or file in a ZIP holds the rows."),
    ],
    "checkpoints": Annotated[
        str | None,
        typer.Option("--checkpoints", help="Of one SAE at several steps: last (default), or all."),
    ],
}
"""Options of `frontier.read`, which every command that reads takes."""


def reads(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the options of `read` too, and gets those given as its dict `reading`."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.name != "reading"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in READING.items()
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        said = {name: value for name in READING if (value := given.pop(name, None)) is not None}
        command(**given, reading=said)

    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*own, *added]} | {"return": None}
    return run
