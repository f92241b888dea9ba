"""What the families of a configuration name by a path: classes of your own, trained SAEs to go on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainers.architectures import register
from trainers.architectures.named_code import in_full


def own_code(content: dict[str, Any]) -> list[str]:
    """Classes that the families of a configuration name by file or module."""
    named = [f.get("architecture") for f in _families(content)]
    return list(dict.fromkeys(n for n in named if isinstance(n, str) and (":" in n or n.endswith(".py"))))


def named_classes(content: dict[str, Any]) -> dict[str, Any]:
    """The same content, each class named in full, and registered: its code is run.

    Raises
    ------
    ArchitectureError
        If one cannot be found or used, or a file that is named alone holds several.
    """
    full = {typed: in_full(typed) for typed in own_code(content)}
    for typed in full.values():
        register(typed)
    if all(typed == given for given, typed in full.items()):
        return content
    return content | {"families": [_in_full(f, full) for f in content["families"]]}


def find_own_code(content: dict[str, Any], folder: Path) -> None:
    """Where families name files or folders that are not here but beside the configuration, say that path."""
    beside = {}
    for typed in own_code(content):
        place = typed if typed.endswith(".py") else typed.rpartition(":")[0]
        if place.endswith(".py") and not Path(place).exists() and (folder / place).is_file():
            beside[typed] = str(folder / typed)
    for family in _families(content):
        start = family.get("start_from")
        if isinstance(start, str) and not Path(start).exists() and (folder / start).is_dir():
            beside[start] = str(folder / start)
        for field in ("architecture", "start_from"):
            if isinstance(family.get(field), str):
                family[field] = beside.get(family[field], family[field])


def _in_full(family: Any, full: dict[str, str]) -> Any:
    """A family with its class named in full."""
    named = family.get("architecture") if isinstance(family, dict) else None
    return family | {"architecture": full[named]} if isinstance(named, str) and named in full else family


def _families(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The families that are tables, as they should be."""
    families = content.get("families")
    yield from (f for f in (families if isinstance(families, list) else ()) if isinstance(f, dict))
