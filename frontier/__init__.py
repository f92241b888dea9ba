"""Frontiers of sparse autoencoders as numbers one can publish.

    table = frontier.read("sweep.csv")            # one row per SAE
    front = frontier.pareto_set(table)            # the SAEs that no other one beats
    fits = frontier.fit(front, "hill")            # k and n with intervals, per family
    frontier.ratio_table(fits, reference="relu")  # how much better, how sure
    frontier.compare(table, reference="relu")     # all of it in one call, with verdicts

Names are loaded when they are first used, so `import frontier` is quick; `__init__.pyi` lists them for Python
and for type checkers alike.
"""

from typing import Any

import lazy_loader

__version__ = "0.2.0"

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _load(name)
    from frontier.renamed import PUBLIC, public

    if name in PUBLIC:
        return public(name)
    raise AttributeError(f"module 'frontier' has no attribute {name!r}")
