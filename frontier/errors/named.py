"""Errors models by the words that users type."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frontier.errors.models import ADDITIVE, LOG, RELATIVE, Additive, Log, Relative, TwoComponent
from frontier.errors.scale import Errors
from frontier.wording import nearest

ERRORS: dict[str, type[Errors]] = {e.name: e for e in (Additive, Log, Relative, TwoComponent)}
_SPELLINGS = {
    "log_y": "log", "logy": "log", "lognormal": "log", "absolute": "additive", "proportional": "relative",
    "two_components": "two_component", "rocke_durbin": "two_component",
}  # fmt: skip


def stacked(models: Sequence[Errors]) -> Errors:
    """Models of one name as the model of a batch, one column each."""
    if isinstance(models[0], TwoComponent):
        return TwoComponent([m.knee_value for m in models])
    return models[0]


def errors_named(errors: str | Errors) -> str:
    """'auto', or the name of an errors model.

    Raises
    ------
    ValueError
        For any other word; nearest names are offered.
    """
    if isinstance(errors, Errors):
        return errors.name
    word = str(errors).lower().replace("-", "_")
    word = _SPELLINGS.get(word, word)
    if word not in ("auto", *ERRORS):
        raise ValueError(f"unknown errors model {errors!r}{nearest(word, ('auto', *ERRORS))}")
    return word


def errors_model(errors: str | Errors, knee: float = np.nan) -> Errors:
    """The errors model of a name; a model stays itself. Two components need their knee.

    >>> float(errors_model("log").residual(2.0, 1.0).round(4))
    0.6931
    """
    if isinstance(errors, Errors):
        return errors
    name = errors_named(errors)
    if name == TwoComponent.name:
        return TwoComponent(knee)
    return {e.name: e for e in (ADDITIVE, LOG, RELATIVE)}[name]
