"""Names that have changed: the old ones work for one version, with a warning that says the new one."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
LAST = "0.2"
"""The last version that knows the old names."""
FACES = "a method of the result: to_text, to_markdown, to_latex or to_html"


class Old(NamedTuple):
    """Where an old public name is still answered, and what is to be typed instead."""

    module: str
    name: str
    new: str


PUBLIC = {
    "plot_fit": Old("figures.fits", "draw_fit", "frontier.plot_fits"),
    "plot_frontier": Old("figures.frontiers", "draw_frontier", "frontier.plot_frontiers"),
    "plot_hit_ratio": Old("figures.ratio_curves", "draw_hit_ratio", "frontier.plot_hit_ratios"),
    "plot_metric": Old("figures.metrics_by", "draw_metric", "frontier.plot_metrics"),
    "plot_potency": Old("figures.ratio_curves", "draw_potency", "frontier.plot_potencies"),
    "plot_region": Old("figures.regions", "draw_region", "frontier.plot_regions"),
    "plot_residual": Old("figures.residuals", "draw_residual", "frontier.plot_residuals"),
    "fits_table": Old("tables.contents", "fits_table", FACES),
    "select_curves": Old("selection.choosing", "select_curve", "frontier.select_curve"),
    "ratios_table": Old("tables.contents", "ratios_table", FACES),
}
"""Old names of `frontier`."""


def public(name: str) -> Any:
    """What an old public name stood for, with a warning."""
    old = PUBLIC[name]
    _warn(f"frontier.{name}", old.new, 4)
    return getattr(importlib.import_module(f"frontier.{old.module}"), old.name)


def parameters(**new_names: str) -> Callable[[F], F]:
    """Let a function take parameters under their old names too, with a warning.

    >>> @parameters(colour_of="colours")
    ... def paint(colours="red"):
    ...     return colours
    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     paint(colour_of="blue"), str(seen[0].message).split(";")[0]
    ('blue', 'paint(colour_of=...) is now paint(colours=...)')
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_old_names(*arguments: Any, **options: Any) -> Any:
            for old in new_names.keys() & options.keys():
                new = new_names[old]
                if new in options:
                    raise TypeError(f"{function.__name__} got {new} under its old name {old} too")
                _warn(f"{function.__name__}({old}=...)", f"{function.__name__}({new}=...)", 3)
                options[new] = options.pop(old)
            return function(*arguments, **options)

        return cast(F, with_old_names)

    return decorate


def _warn(old: str, new: str, stacklevel: int) -> None:
    text = f"{old} is now {new}; version {LAST} is the last that knows the old name"
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel)
