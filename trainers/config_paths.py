"""What the families of a configuration name by a path: classes of your own, trained SAEs to go on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def own_code(content: dict[str, Any]) -> list[str]:
    """Classes that the families of a configuration name by file or module."""
    families = content.get("families")
    named = (
        [f.get("architecture") for f in families if isinstance(f, dict)] if isinstance(families, list) else []
    )
    return list(dict.fromkeys(n for n in named if isinstance(n, str) and ":" in n))


def find_own_code(content: dict[str, Any], folder: Path) -> None:
    """Where families name files or folders that are not here but beside the configuration, say that path."""
    beside = {}
    for typed in own_code(content):
        place, _, name = typed.rpartition(":")
        if place.endswith(".py") and not Path(place).exists() and (folder / place).is_file():
            beside[typed] = f"{folder / place}:{name}"
    families = content.get("families")
    for family in families if isinstance(families, list) else ():
        if isinstance(family, dict):
            start = family.get("start_from")
            if isinstance(start, str) and not Path(start).exists() and (folder / start).is_dir():
                beside[start] = str(folder / start)
            for field in ("architecture", "start_from"):
                if isinstance(family.get(field), str):
                    family[field] = beside.get(family[field], family[field])
