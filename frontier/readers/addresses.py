"""Addresses, `scheme://...`: which client reads what."""

from __future__ import annotations

from collections.abc import Callable

from frontier.places import name_of
from frontier.readers.found import Found
from frontier.readers.logged import finish

Reader = Callable[[str, str, Found], None]


def read_address(address: str, found: Found) -> str:
    """What lies at an address into `found`; the name under which it is spoken of.

    Raises
    ------
    TableError
        When nothing is found there, or it cannot be reached.
    ImportError
        Names the command that installs the client.
    """
    scheme, _, rest = address.partition("://")
    name = name_of(address)
    _reader(scheme)(address if scheme not in STORES else rest, name, found)
    finish(found)
    if scheme in STORES:
        found.say_left_out("runs")
    return name


STORES = ("wandb", "trackio", "mlflow")
"""Schemes of stores of runs; all others are places with files."""


def _reader(scheme: str) -> Reader:
    from frontier.readers import remote, stores

    return {"wandb": stores.read_wandb, "trackio": stores.read_trackio, "mlflow": stores.read_mlflow}.get(
        scheme, remote.read_files
    )
