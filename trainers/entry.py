"""Where both commands begin: another project's `frontier` in the place of ours is named before it runs.

A package called `frontier` on PyPI is of another project; what is installed last lies over the other.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder

OURS = ("records", "metrics", "readers", "comparison")
"""Parts that our `frontier` has."""


def sae_frontier() -> None:
    """The command `sae-frontier`."""
    check("sae-frontier")
    from frontier.cli import main

    main()


def sae_train() -> None:
    """The command `sae-train`."""
    check("sae-train")
    from trainers.cli import main

    main()


def check(command: str) -> None:
    """Nothing, if the package `frontier` is this project's; else one line on standard error, exit code 2."""
    found = PathFinder.find_spec("frontier")
    places = list(found.submodule_search_locations or ()) if found else []
    if all(PathFinder.find_spec(f"frontier.{part}", places) for part in OURS) and _says_so(found):
        return
    where = f", in {places[0]}," if places else ""
    sys.stderr.write(
        f"{command}: the package `frontier` that Python finds{where} is another project's; remove that one "
        "(pip uninstall frontier) and install this one anew (pip install --force-reinstall --no-deps "
        "sae-frontier)\n"
    )
    sys.exit(2)


def _says_so(found: object) -> bool:
    """Whether its first lines are ours: of two packages in one folder, the last has written `__init__.py`."""
    try:
        with open(str(getattr(found, "origin", "")), encoding="utf-8") as file:
            return "sparse autoencoders" in file.readline()
    except (OSError, UnicodeDecodeError):
        return False
