"""Clients of other tools that need not be installed."""

from __future__ import annotations

import importlib
import warnings
from typing import Any


def optional(module: str, extra: str) -> Any:
    """A module of an optional dependency.

    Raises
    ------
    ImportError
        Names the command that installs it.

    >>> optional("no_such_client.part", "wandb")
    Traceback (most recent call last):
    ImportError: this needs no_such_client, which is not installed: pip install 'sae-frontier[wandb]'
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a client about its own parts
            return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise ImportError(
            f"this needs {name}, which is not installed: pip install 'sae-frontier[{extra}]'"
        ) from error
