"""The architectures: one short file each, written for one SAE as in its paper; your own beside ours.

`architecture` is their interface, `registry` knows them by name, `named_code` loads the class that a user
typed.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from frontier.wording import nearest
from trainers.architectures.abs_topk import AbsTopK
from trainers.architectures.architecture import Architecture, Knobs, Losses, Parameters
from trainers.architectures.batch_topk import BatchTopK
from trainers.architectures.gated import Gated, to_jumprelu
from trainers.architectures.hierarchical_topk import HierarchicalTopK
from trainers.architectures.jumprelu import JumpReLU
from trainers.architectures.matching_pursuit import MatchingPursuit
from trainers.architectures.matryoshka import Matryoshka
from trainers.architectures.named_code import ArchitectureError
from trainers.architectures.p_anneal import PAnneal
from trainers.architectures.registry import ARCHITECTURES, known, register
from trainers.architectures.relu import ReLU
from trainers.architectures.sums import squared_error, variance, weighted
from trainers.architectures.topk import TopK

BUILT_IN = tuple(
    register(kind)
    for kind in (
        ReLU, Gated, JumpReLU, TopK, BatchTopK, Matryoshka, PAnneal, AbsTopK, MatchingPursuit,
        HierarchicalTopK,
    )
)  # fmt: skip
"""Those that come with the package."""

__all__ = [
    "ARCHITECTURES",
    "BUILT_IN",
    "AbsTopK",
    "Architecture",
    "ArchitectureError",
    "BatchTopK",
    "Gated",
    "HierarchicalTopK",
    "JumpReLU",
    "Knobs",
    "Losses",
    "MatchingPursuit",
    "Matryoshka",
    "PAnneal",
    "Parameters",
    "ReLU",
    "TopK",
    "architecture",
    "known",
    "options",
    "register",
    "squared_error",
    "to_jumprelu",
    "variance",
    "weighted",
]


def architecture(name: str, **given: Any) -> Architecture:
    """The architecture of a name, with its options.

    Raises
    ------
    ValueError
        If the name or an option is unknown (the nearest names are offered), or an option has a value of
        another type or out of its range.
    """
    kind = known(name)
    there = [f.name for f in fields(kind)]
    for option in given:
        if option not in there:
            raise ValueError(f"{name} has no option {option!r}{nearest(option, there)}")
    return kind(**{k: _checked(kind, k, tuple(v) if isinstance(v, list) else v) for k, v in given.items()})


def _checked(kind: type[Architecture], option: str, value: Any) -> Any:
    """The value, if it is of the option's own type: no text for a number, no number for true or false."""
    from pydantic import TypeAdapter, ValidationError

    wanted = get_type_hints(kind)[option]
    try:
        return TypeAdapter(wanted).validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError(f"{kind.name}: option {option} wants {_in_words(wanted)}, got {value!r}") from error


def _in_words(wanted: Any) -> str:
    if get_origin(wanted) is Literal:
        *most, last = map(str, get_args(wanted))
        return f"{', '.join(most)} or {last}"
    names = {bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(wanted, str(wanted))


def options(of: Architecture) -> dict[str, Any]:
    """The options of an architecture that are not the defaults, as JSON and TOML can hold them."""
    plain = asdict(type(of)())
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(of).items() if v != plain[k]}
