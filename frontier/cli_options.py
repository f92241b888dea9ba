"""Arguments and options that commands of `sae-frontier` share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from frontier.arguments import in_range


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


class RowsName(StrEnum):
    """Rules for the rows that are compared and fitted."""

    auto = "auto"
    pareto = "pareto"
    all = "all"


def in_its_range(name: str) -> Callable[[float], float]:
    """Refuse a number that the functions refuse, in their words, before anything is read."""

    def check(value: float) -> float:
        try:
            in_range(name, value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        return value

    return check


Source = Annotated[
    str,  # pathlib would take slashes out of an address
    typer.Argument(
        help="Table with one row per SAE (CSV, TSV, Markdown, Excel, Parquet, JSON, JSON lines; packed or "
        "not), or a file or folder of results that another tool wrote, or an address (hf://, s3://, "
        "https://, wandb://, trackio://, mlflow://).",
        show_default=False,
        metavar="SOURCE",
    ),
]  # fmt: skip
By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        help="Group column; repeat or separate with commas; none for one group. Default: model, site, layer "
        "where present, and dictionary_size where every size holds every family.",
    ),
]
XAxis = Annotated[str, typer.Option("--x", help="Column of the x axis.")]
YAxis = Annotated[
    str | None, typer.Option("--y", help="Column of the y axis. Default: performance_hit, else fvu.")
]
CurveOption = Annotated[
    CurveName | None,
    typer.Option("--curve", help="Curve to fit. Default: hill where y has an upper bound, else power."),
]
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
    float,
    typer.Option("--level", callback=in_its_range("level"), help="Confidence level of the intervals."),
]
Family = Annotated[str, typer.Option("--family", help="Column that names the family.")]
Across = Annotated[
    list[str] | None,
    typer.Option(
        "--across",
        help="Column whose values may meet in one comparison: protocol, ablation, model, site, layer.",
    ),
]
RowsOption = Annotated[
    RowsName,
    typer.Option(
        "--rows",
        help="SAEs to compare and fit: pareto, all, or auto: the Pareto set of a family that was searched "
        "(several runs per setting), every SAE of another.",
    ),
]
TypicalSeedSd = Annotated[
    float,
    typer.Option(
        "--typical-seed-sd", callback=in_its_range("typical_seed_sd"),
        help="Known seed-to-seed SD of a hit, as a share of it; verdicts and intervals allow for it.",
    ),
]  # fmt: skip
VanishingL0 = Annotated[
    str | None,
    typer.Option(
        "--vanishing-l0",
        help="Curves in 1/L0 - 1/L*, 0 from L* on: d_model, a number, fit (one per cell) or fit_by_family.",
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print every doubt, remark and number, not only the headline.")
]

READING: dict[str, Any] = {
    "columns": Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="theirs=ours: read a column of the source as one of ours, or as 'ignored'; repeat for more.",
        ),
    ],
    "where": Annotated[
        str | None,
        typer.Option("--where", help="Rows to keep, by comparisons: \"protocol == 'a' and l0 < 200\"."),
    ],
    "better": Annotated[
        list[str] | None,
        typer.Option(
            "--better",
            help="Which side of a metric that is not known here is better: higher or lower (of --y), or "
            "name=higher.",
        ),
    ],
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


def split(names: list[str] | None) -> list[str] | None:
    """Column names given by repeating an option or with commas; 'none' for no column."""
    found = [n.strip() for name in names or () for n in name.split(",") if n.strip()]
    return [] if found == ["none"] else found or None


def word_or_number(text: str | None) -> str | float | None:
    """A number where the text is one.

    >>> word_or_number("768"), word_or_number("d_model")
    (768.0, 'd_model')
    """
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def pairs(texts: list[str], usage: str) -> dict[str, str]:
    """What was given as 'name=value', several times.

    >>> pairs(["Active latents=l0"], "--map theirs=ours")
    {'Active latents': 'l0'}
    """
    for text in texts:
        if "=" not in text.strip("="):
            raise ValueError(f"expected {usage}, found {text!r}")
    return {name.strip(): value.strip() for name, _, value in (text.rpartition("=") for text in texts)}


def sides(texts: list[str], y: str | None) -> dict[str, str] | str:
    """Which side of which metric is better; a word alone is about y, or the one metric that is not known.

    >>> sides(["higher"], "score"), sides(["lower"], None), sides(["score=higher"], None)
    ({'score': 'higher'}, 'lower', {'score': 'higher'})
    """
    words = [text for text in texts if "=" not in text]
    named = pairs([text for text in texts if "=" in text], "--better name=higher")
    if words and y is None and not named and len(words) == 1:
        return words[0]
    if words and y is None:
        raise ValueError(f"--better {words[0]} is about which metric? Say --better name={words[0]}")
    return {**named, **{str(y): word for word in words}}


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
        if "columns" in said:
            said["columns"] = pairs(said["columns"], "--map theirs=ours")
        if "better" in said:
            said["better"] = sides(said["better"], given.get("y"))
        command(**given, reading=said)

    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*own, *added]} | {"return": None}
    return run
