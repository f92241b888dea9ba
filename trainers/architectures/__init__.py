"""The architectures: one short file each, written for one SAE as in its paper."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from trainers.architectures.architecture import Architecture, Knobs, Losses, Parameters
from trainers.architectures.batch_topk import BatchTopK
from trainers.architectures.gated import Gated, to_jumprelu
from trainers.architectures.jumprelu import JumpReLU
from trainers.architectures.matryoshka import Matryoshka
from trainers.architectures.p_anneal import PAnneal
from trainers.architectures.relu import ReLU
from trainers.architectures.topk import TopK

ARCHITECTURES: dict[str, type[Architecture]] = {
    kind.name: kind for kind in (ReLU, Gated, JumpReLU, TopK, BatchTopK, Matryoshka, PAnneal)
}

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "BatchTopK",
    "Gated",
    "JumpReLU",
    "Knobs",
    "Losses",
    "Matryoshka",
    "PAnneal",
    "Parameters",
    "ReLU",
    "TopK",
    "architecture",
    "options",
    "to_jumprelu",
]


def architecture(name: str, **given: Any) -> Architecture:
    """The architecture of a name, with its options.

    Raises
    ------
    ValueError
        If the name or an option is unknown (the nearest names are offered), or an option has a value of
        another type or out of its range.
    """
    from frontier.wording import nearest

    kind = ARCHITECTURES.get(name)
    if kind is None:
        raise ValueError(f"unknown architecture {name!r}{nearest(name, ARCHITECTURES)}")
    known = [f.name for f in fields(kind)]
    for option in given:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}{nearest(option, known)}")
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
