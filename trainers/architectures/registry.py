"""Which architectures are known by name: ours, those of installed packages, and those that a user names.

All go through `register`, so that a class of your own is an architecture like the others. Code is run for two
reasons only: a user typed its name (`register`, a configuration's `architecture`, `--use`), or installed a
package that offers it as an entry point `sae_frontier.architectures`. A folder of weights, or of a run, names
its architecture and never brings it along.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from frontier.wording import nearest
from trainers.architectures.architecture import Architecture
from trainers.architectures.named_code import ArchitectureError, class_in, in_full

GROUP = "sae_frontier.architectures"
"""Entry points under which installed packages offer architectures."""

ARCHITECTURES: dict[str, type[Architecture]] = {}
"""Every architecture that is known, by name."""
_TYPED: dict[str, type[Architecture]] = {}
"""By what the user typed: my_sae.py:MySAE or package.module:Class."""


def register(kind: Any) -> Any:
    """Make an architecture known by its name, to configurations and to the loading of SAEs; return its class.

    Parameters
    ----------
    kind : class or str
        A subclass of `Architecture` (so that this serves as a decorator), or where it is: "my_sae.py:MySAE",
        a path from the folder in which you are (the file alone where it holds one), or
        "package.module:Class". The code there is run.

    Raises
    ------
    ArchitectureError
        If it is no architecture, cannot be loaded, or its name is taken.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from trainers.architectures import TopK
    >>> @register
    ... @dataclass(frozen=True)
    ... class LooseTopK(TopK):
    ...     aux_coefficient: float = 0.0
    >>> known("loose_top_k")().aux_coefficient
    0.0
    """
    if isinstance(kind, str):
        typed = in_full(kind)
        kind = class_in(typed)
        _TYPED[typed] = kind
    _check(kind)
    before = ARCHITECTURES.get(kind.name)
    if before is not None and _place(before) != _place(kind):  # the same place: it was written anew
        raise ArchitectureError(
            f"there is an architecture {kind.name!r} already ({origin(before) or 'built in'}); give "
            f'{kind.__name__} another one: name = "..."'
        )
    ARCHITECTURES[kind.name] = kind
    return kind


def _check(kind: Any) -> None:
    """Nothing, if a class can be used by name and options."""
    if not (isinstance(kind, type) and issubclass(kind, Architecture)):
        raise ArchitectureError(
            f"{kind!r:.80} is no architecture; wanted a subclass of trainers.architectures.Architecture"
        )
    if not re.fullmatch(r"[A-Za-z]\w*", kind.name):
        raise ArchitectureError(
            f"{kind.__name__}.name is {kind.name!r}; wanted letters, digits and _, as in a variable's name"
        )
    if "__dataclass_fields__" not in vars(kind) and inspect.get_annotations(kind):
        raise ArchitectureError(f"{kind.__name__} has options; write @dataclass(frozen=True) above its class")
    if needed := [f.name for f in fields(kind) if f.default is f.default_factory]:  # both are MISSING
        raise ArchitectureError(
            f"{kind.__name__}: every option needs a default, {', '.join(needed)} has none"
        )


def known(name: str) -> type[Architecture]:
    """The architecture of a name, or of what a user typed before; no code is run for it.

    Raises
    ------
    ArchitectureError
        If there is none; the nearest names are offered, or what to type.
    """
    found = ARCHITECTURES.get(name) or _TYPED.get(name) or _elsewhere(name) or _installed(name)
    if found is not None:
        return found
    if ":" in name:
        raise ArchitectureError(
            f"{name!r} is code of your own, which no saved file can make run; name it yourself: "
            f'--use {name}, in Python trainers.register("{name}")'
        )
    raise ArchitectureError(f"unknown architecture {name!r}{nearest(name, ARCHITECTURES)}")


def _elsewhere(typed: str) -> type[Architecture] | None:
    """The class that was typed under another path, if it is the only one of that name."""
    name = typed.rpartition(":")[2] if ":" in typed else ""
    found = {k for k in ARCHITECTURES.values() if k.__name__ == name and origin(k)}
    return found.pop() if len(found) == 1 else None


def _installed(name: str) -> type[Architecture] | None:
    """The architecture that an installed package offers under this name."""
    for point in entry_points(group=GROUP, name=name):
        kind = point.load()
        _check(kind)
        if kind.name != name:
            raise ArchitectureError(
                f"{point.value} is offered as {name!r} in {GROUP}, and calls itself {kind.name!r}; these "
                "names must be one"
            )
        return register(kind)
    return None


def _place(kind: type[Architecture]) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


def origin(kind: type[Architecture]) -> str | None:
    """What a user types for a class (my_sae.py:MySAE, package.module:Class); None of those built in."""
    typed = next((t for t, k in _TYPED.items() if k is kind), None)
    if typed:
        return typed
    built_in = kind.__module__.partition(".")[0] == "trainers"
    return None if built_in else f"{kind.__module__}:{kind.__qualname__}"


def digest(kind: type[Architecture]) -> str | None:
    """SHA-256 of the file of a class that is not built in, where there is one."""
    if origin(kind) is None:
        return None
    try:
        return hashlib.sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return None
