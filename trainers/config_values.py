"""What the fields of a configuration may hold: no unknown ones, nothing that is another thing in disguise."""

from __future__ import annotations

import math
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

SAVED = "saved"
"""The context in which the configuration of a run's folder is read: what ran once can be read."""
Sized = TypeVar("Sized", bound="Any")
"""A section with an expansion and a dictionary size."""


class Section(BaseModel):
    """Fields with their explanations; unknown fields and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """True and false stand in fields that are made for them, and nowhere else."""
        wanted = cls.model_fields[str(info.field_name)].annotation
        numbers = value.values() if isinstance(value, dict) and float in parts_of(wanted) else listed(value)
        if any(isinstance(one, bool) for one in numbers) and bool not in parts_of(wanted):
            raise ValueError(f"is no field for true or false; found {str(value).lower()}")
        return value


def given_once(section: Sized) -> Sized:
    """The section, if it does not say its size in two ways."""
    if section.expansion is not None and section.dictionary_size is not None:
        raise ValueError("give expansion or dictionary_size, one of the two; found both")
    return section


def check_shares(warmup: float, decay: float) -> None:
    """Nothing, if a learning rate that rises and falls over these shares of a run is reached.

    Raises
    ------
    ValueError
        Says what they may be.
    """
    if warmup + decay > 1 + 1e-9:
        raise ValueError(
            f"warmup = {warmup:g} and decay = {decay:g} are {warmup + decay:g} of the run together, so that "
            "the learning rate is never reached; take 1 at most together"
        )


def parts_of(annotation: Any) -> list[Any]:
    """The types that a field's type is made of.

    >>> parts_of(list[float] | None)
    [<class 'float'>, <class 'NoneType'>]
    """
    parts = get_args(annotation)
    return [part for one in parts for part in parts_of(one)] if parts else [annotation]


def positive(value: Any) -> Any:
    """The value, if it or every one of a list is above 0 and finite."""
    for one in listed(value):
        if one is not None and not 0 < one < math.inf:
            raise ValueError(f"must be above 0 and finite, got {one}")
    return value


def listed(value: Any) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]
