"""The configuration of a run: one TOML file, checked before anything is loaded."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import ByteSize, Field, ValidationError, ValidationInfo, model_validator

from frontier.wording import nearest
from frontier.writing import write_text
from trainers.activations.sizes import bytes_of, readable
from trainers.architectures import ArchitectureError
from trainers.config_joint import check_names, check_rows, check_settings, check_sites
from trainers.config_paths import find_own_code, named_classes
from trainers.config_saved import as_begun, unsaid_of_rows
from trainers.config_sections import (
    EXPANSION,
    ActivationsSection,
    EvaluationSection,
    FamilySection,
    ModelSection,
    TrainingSection,
)
from trainers.config_values import SAVED, Section
from trainers.piloting import in_pilots, said_of_pilots

INSTEAD = {
    "expansion": "dictionary_size", "dictionary_size": "expansion", "site": "sites", "sites": "site",
    "exclude_norms_above": "norm_limits", "norm_limits": "exclude_norms_above",
}  # fmt: skip
"""Fields of which one stands; a change of the one takes the other away."""


class ConfigError(ValueError):
    """A configuration that cannot be used: which field, what was wanted, what was found."""


class RunConfig(Section):
    """A run: families of SAEs on one stream of activations."""

    model: ModelSection = ModelSection()
    activations: ActivationsSection = ActivationsSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    families: list[FamilySection] = Field(min_length=1)

    @property
    def evaluation_text(self) -> str | list[str]:
        """The text whose held-out part is measured."""
        return self.evaluation.text or self.activations.text

    @model_validator(mode="after")
    def sections_agree(self, info: ValidationInfo) -> RunConfig:
        """The sections are possible together."""
        check_names(self)
        check_settings(self, info.context == SAVED)
        check_rows(self)
        check_sites(self)
        return self


def read_config(path: str | Path, changes: Sequence[str] = (), *, saved: bool = False) -> RunConfig:
    """The configuration of a TOML file, with changes such as `training.steps=500`.

    The code of your own that it names (`architecture = "my_sae.py:MySAE"`) is run. Not so that of a `saved`
    one, of a run's folder; a field that is absent there means what it did before it existed.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, or a field is unknown or out of range: every fault is named.
    """
    path = Path(path)
    content = read_content(path)
    for change in changes:
        apply_change(content, change)
    if not saved:
        find_own_code(content, path.parent)
    return checked(content, str(path), saved=saved)


def read_content(path: Path) -> dict[str, Any]:
    """The plain values of a TOML file, unchecked.

    Raises
    ------
    ConfigError
        If the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}; `sae-train init {path}` writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def run_config(folder: Path) -> RunConfig:
    """The configuration in the folder of a run; where the file is lost, that of the newest checkpoint, said.

    No code is run because the folder names it; see `trainers.register`.

    Raises
    ------
    ConfigError
        If the folder holds no run; else as `read_config`.
    """
    path = folder / "config.toml"
    if has_content(path):
        return read_config(path, saved=True)
    if in_pilots(folder):
        raise ConfigError(said_of_pilots(folder))
    found = _checkpointed(folder / "checkpoints")
    if found is None:
        lost = "is empty, and there is no checkpoint that has its content" if path.exists() else "is missing"
        raise ConfigError(f"there is no run in {folder}: config.toml {lost}")
    warnings.warn(f"{path} is lost; the configuration in the last checkpoint is taken", stacklevel=2)
    return found


def has_content(path: Path) -> bool:
    """Whether a file is there and holds more than what a torn write leaves: nothing, or zeros."""
    return path.is_file() and bool(path.read_bytes().strip(b"\0 \t\r\n"))


def _checkpointed(folder: Path) -> RunConfig | None:
    """The configuration that the newest readable checkpoint was written with."""
    from trainers import checkpoints

    for one in reversed(checkpoints.complete(folder)):
        try:
            return checked(checkpoints.load(one)[1]["config"], str(one), saved=True)
        except (checkpoints.CheckpointError, ConfigError, KeyError):
            continue
    return None


def checked(content: dict[str, Any], name: str = "configuration", *, saved: bool = False) -> RunConfig:
    """The configuration of plain values; `saved` as in `read_config`.

    Raises
    ------
    ConfigError
        As `read_config`.
    """
    if saved:
        content = as_begun(content)
    try:
        if saved:
            return RunConfig.model_validate(content, context=SAVED)
        return RunConfig.model_validate(named_classes(content))
    except ArchitectureError as error:
        raise ConfigError(f"{name}: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{name}: {faults(error)}") from error


def faults(error: ValidationError) -> str:
    """Every fault of a configuration, in one line."""
    return "; ".join(_fault(e) for e in error.errors())


def stated(config: RunConfig) -> RunConfig:
    """The configuration with its expansion, momentum and every rate written out: a run keeps its own."""
    if config.training.expansion is None and config.training.dictionary_size is None:
        training = config.training.model_copy(update={"expansion": EXPANSION})
        config = config.model_copy(update={"training": training})
    families = [
        f.model_copy(update={"options": {"momentum": f.build(True).momentum} | f.options})  # type: ignore[attr-defined]
        if "momentum" in f.kind.__dataclass_fields__
        else f
        for f in config.families
    ]
    config = config.model_copy(update={"families": families})
    if config.training.learning_rate is not None:
        return config
    rates = [f.learning_rate or f.kind.default_rate(config.training.steps) for f in config.families]
    given = zip(config.families, rates, strict=True)
    return config.model_copy(
        update={"families": [f.model_copy(update={"learning_rate": rate}) for f, rate in given]}
    )


def _fault(error: Any) -> str:
    """One fault in words: where, what was wanted, what was found."""
    place = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        known = fields_at(error["loc"][:-1])
        return f"unknown field {place}{nearest(str(error['loc'][-1]), known)}"
    text = error["msg"].removeprefix("Value error, ")
    found = "" if error["type"] in ("missing", "value_error") else f", found {error['input']!r}"
    return f"{place}: {text}{found}" if place else text


def fields_at(place: Sequence[int | str]) -> list[str]:
    """Names of the fields of a section."""
    sections: dict[str, type[Section]] = {
        "model": ModelSection, "activations": ActivationsSection, "training": TrainingSection,
        "evaluation": EvaluationSection, "families": FamilySection,
    }  # fmt: skip
    section = sections.get(str(place[0]), RunConfig) if place else RunConfig
    return list(section.model_fields)


def apply_change(content: dict[str, Any], change: str) -> None:
    """Set one field of the plain values: `section.field=value`, the value as TOML writes it.

    Raises
    ------
    ConfigError
        If it has no such form.
    """
    name, sign, value = change.partition("=")
    parts = name.strip().split(".")
    if not sign or len(parts) < 2:
        raise ConfigError(f"wanted section.field=value, for example training.steps=500, got {change!r}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    place: Any = content
    for part in parts[:-1]:
        try:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        except (IndexError, ValueError) as error:
            raise ConfigError(f"{change!r}: there is no {part} in {'.'.join(parts[:-1])}") from error
    if not isinstance(place, dict):
        raise ConfigError(f"{change!r}: {'.'.join(parts[:-1])} has no fields")
    place[parts[-1]] = parsed
    place.pop(INSTEAD.get(parts[-1], ""), None)


def write_config(config: RunConfig, path: Path, explained: bool = False) -> None:
    """Write a configuration as TOML; with `explained`, every field stands there with its meaning."""
    document = tomlkit.document()
    if explained:
        document.add(
            tomlkit.comment("A run of sae-train. Lines that start with # are explanations or defaults.")
        )
    for name in ("model", "activations", "training", "evaluation"):
        document.add(name, _table(getattr(config, name), explained))
    families = tomlkit.aot()
    for family in config.families:
        families.append(_table(family, explained and family is config.families[0]))
    document.add("families", families)
    write_text(path, tomlkit.dumps(document))


def _table(section: Section, explained: bool) -> Any:
    table = tomlkit.table()
    if explained:
        table.add(tomlkit.comment((type(section).__doc__ or "").strip()))
    unsaid = _unsaid(section) if isinstance(section, ActivationsSection) else set()
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if explained:
            table.add(tomlkit.comment(field.description or ""))
        if value is None:
            if explained:
                table.add(tomlkit.comment(f"{name} ="))
        elif (value != {} or explained) and name not in unsaid:
            table.add(name, _plain(value))
    return table


def _unsaid(given: ActivationsSection) -> set[str]:
    """Fields that hold a default in the place of what is said elsewhere: by `sites`, or by files of rows."""
    return unsaid_of_rows(given.model_dump()) | ({"site"} if given.sites else set())


def _plain(value: Any) -> Any:
    """A value as people write it: sizes with a unit where that is exact, mappings in one line."""
    if isinstance(value, ByteSize):
        return readable(value) if bytes_of(readable(value)) == value else int(value)
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update(value)
        return table
    return value
