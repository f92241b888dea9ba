"""The configuration of a run: one TOML file, checked before anything is loaded."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from frontier._format import nearest
from trainers.architectures import ARCHITECTURES, Architecture, architecture

Positive = Field(gt=0)


class ConfigError(ValueError):
    """A configuration that cannot be used: which field, what was wanted, what was found."""


class Section(BaseModel):
    """Fields with their explanations; unknown fields and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelSection(Section):
    """The language model."""

    name: str = "tiny_lm"
    """tiny_lm is the shipped one; else a folder or a Hugging Face name (never remote code)."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of the language model."""


class ActivationsSection(Section):
    """Which activations the SAEs see."""

    site: str = "mlp_out.-1"
    """resid_post, mlp_out, attn_out, mlp_neurons, ... and a layer (-1: the last), or a module path."""
    target_site: str | None = None
    """Where the output is compared: another site makes the SAEs transcoders."""
    text: str | list[str] = "standard-library"
    """standard-library (Python's own sources), a file, a folder, a token array (.npy), or a list."""
    context_length: int | None = Field(None, gt=1)
    """Tokens per window; the model's own by default."""
    tokens: int | None = Field(400_000, gt=0)
    """At most so many tokens of the text, seen again in a new order when they run out."""
    seed: int = 0
    """Seed of the order; every family sees the same one."""
    buffer_tokens: int = Field(65_536, gt=0)
    """Activations that are shuffled together."""
    memory_limit: str = "2 GB"
    """Activations that fit are computed once and kept in memory."""
    cache: str | None = None
    """Folder in which activations are kept on disk."""
    cache_limit: str = "20 GB"
    """Size limit of that folder."""


class TrainingSection(Section):
    """How all members are trained; a family may differ where it says so."""

    steps: int = Field(1000, gt=0)
    """Optimiser steps."""
    batch_size: int = Field(1024, gt=0)
    """Activations per step."""
    dictionary_size: int | list[int] = 512
    """Latents; a list trains every family at every size."""
    learning_rate: float | list[float] | None = None
    """Adam's; the architecture's default where it is not given."""
    seeds: list[int] = [0]
    """Every setting is trained with every seed."""
    warmup: float = Field(0.05, ge=0, le=1)
    """Share of the steps over which the learning rate rises."""
    decay: float = Field(0.2, ge=0, le=1)
    """Share of the steps over which it falls to 0 at the end."""
    sparsity_warmup: float = Field(0.25, ge=0, le=1)
    """Share of the steps over which the sparsity penalty rises."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of one member's gradient."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: products in half precision on a GPU, weights in float32."""
    engine: Literal["auto", "loop", "stacked"] = "auto"
    """loop: member by member (CPU); stacked: all at once (GPU)."""
    threads: int = Field(0, ge=0)
    """CPU threads, one member each; 0 takes all cores. Results do not depend on it."""
    log_every: int = Field(25, gt=0)
    """Steps between log lines."""
    checkpoint_every: int = Field(250, gt=0)
    """Steps between checkpoints; the last two are kept."""
    logger: Literal["none", "tensorboard", "wandb"] = "none"
    """Also log there, where it is installed; log.jsonl is always written."""

    @field_validator("dictionary_size", "learning_rate")
    @classmethod
    def above_zero(cls, value: Any) -> Any:
        """Sizes and rates are above 0."""
        return positive(value)


class EvaluationSection(Section):
    """The text on which every metric is measured."""

    text: str | list[str] = "standard-library"
    """As for the activations; its held-out part is taken."""
    windows: int = Field(128, gt=1)
    """Windows of context_length tokens, evenly spread."""
    batch_size: int = Field(16, gt=0)
    """Windows per pass; standard errors come from passes."""


class FamilySection(Section):
    """One family: an architecture over its sparsity settings."""

    architecture: str
    """relu, gated, jumprelu, topk, batch_topk, matryoshka or p_anneal."""
    name: str | None = None
    """The family's name in tables and figures; the architecture's by default."""
    settings: list[float] | None = Field(None, min_length=1)
    """The sweep: λ, or k for the TopK kinds."""
    target_l0: list[float] | None = Field(None, min_length=1)
    """Instead of settings: the wanted L0 of each member; `sae-train run` finds the settings in a pilot."""
    options: dict[str, Any] = {}
    """Options of the architecture, for example { p = 0.5 } or { frozen_decoder = false }."""
    dictionary_size: int | list[int] | None = None
    """Instead of that of the training section."""
    learning_rate: float | list[float] | None = None
    """Instead of that of the training section."""
    seeds: list[int] | None = None
    """Instead of those of the training section."""

    @field_validator("dictionary_size", "learning_rate", "settings", "target_l0")
    @classmethod
    def above_zero(cls, value: Any) -> Any:
        """Sizes, rates and settings are above 0."""
        return positive(value)

    @model_validator(mode="after")
    def settings_or_targets(self) -> FamilySection:
        """Exactly one of settings and target_l0 is there."""
        if (self.settings is None) == (self.target_l0 is None):
            found = "neither" if self.settings is None else "both"
            raise ValueError(f"give settings or target_l0, one of the two; found {found}")
        return self

    @model_validator(mode="after")
    def options_exist(self) -> FamilySection:
        """The architecture takes these options."""
        self.build(True)
        return self

    def build(self, subtract_decoder_bias: bool) -> Architecture:
        """The architecture with its options."""
        given = {"subtract_decoder_bias": subtract_decoder_bias} | self.options
        try:
            return architecture(self.architecture, **given)
        except TypeError as error:
            raise ValueError(f"options of {self.architecture}: {error}") from error


class RunConfig(Section):
    """A run: families of SAEs on one stream of activations."""

    model: ModelSection = ModelSection()
    activations: ActivationsSection = ActivationsSection()
    training: TrainingSection = TrainingSection()
    evaluation: EvaluationSection = EvaluationSection()
    families: list[FamilySection] = Field(min_length=1)

    @model_validator(mode="after")
    def members_are_possible(self) -> RunConfig:
        """Names differ, and no k is larger than its dictionary."""
        names = [f.name or f.architecture for f in self.families]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"two families are called {', '.join(twice)}; give them a name each")
        for family, name in zip(self.families, names, strict=True):
            settings = family.settings or []
            smallest = min(listed(family.dictionary_size or self.training.dictionary_size))
            if family.target_l0 and max(family.target_l0) > smallest:
                raise ValueError(
                    f"family {name}: target_l0 = {max(family.target_l0):g} is larger than the dictionary of "
                    f"{smallest}"
                )
            if settings and ARCHITECTURES[family.architecture].setting_name == "k":
                if max(settings) > smallest:
                    raise ValueError(
                        f"family {name}: k = {max(settings):g} is larger than the dictionary of {smallest}"
                    )
                if family.architecture == "topk" and any(s != int(s) for s in settings):
                    raise ValueError(f"family {name}: TopK needs whole k, got {settings}")
        return self


def positive(value: Any) -> Any:
    """The value, if it or every one of a list is above 0."""
    for one in listed(value):
        if one is not None and not one > 0:
            raise ValueError(f"must be above 0, got {one}")
    return value


def listed(value: Any) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def read_config(path: str | Path, changes: Sequence[str] = ()) -> RunConfig:
    """The configuration of a TOML file, with changes such as `training.steps=500`.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, or a field is unknown or out of range: every fault is named.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}; `sae-train init {path}` writes one") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for change in changes:
        apply_change(content, change)
    return checked(content, str(path))


def checked(content: dict[str, Any], name: str = "configuration") -> RunConfig:
    """The configuration of plain values.

    Raises
    ------
    ConfigError
        As `read_config`.
    """
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{name}: " + "; ".join(_fault(e) for e in error.errors())) from error


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
    path.write_text(tomlkit.dumps(document), encoding="utf-8")


def _table(section: Section, explained: bool) -> Any:
    table = tomlkit.table()
    if explained:
        table.add(tomlkit.comment((type(section).__doc__ or "").strip()))
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if explained:
            table.add(tomlkit.comment(field.description or ""))
        if value is None:
            if explained:
                table.add(tomlkit.comment(f"{name} ="))
        elif value != {} or explained:
            table.add(name, _inline(value) if isinstance(value, dict) else value)
    return table


def _inline(value: dict[str, Any]) -> Any:
    table = tomlkit.inline_table()
    table.update(value)
    return table


class MemberPlan(Section):
    """One SAE that a configuration asks for."""

    run_id: str
    family: str
    architecture: str
    setting: float
    seed: int
    learning_rate: float
    dictionary_size: int


def members(config: RunConfig) -> list[MemberPlan]:
    """Every SAE of a configuration, in a fixed order: families, sizes, learning rates, seeds, settings."""
    found = []
    for family in config.families:
        name = family.name or family.architecture
        default = ARCHITECTURES[family.architecture].learning_rate
        sizes = listed(family.dictionary_size or config.training.dictionary_size)
        rates = listed(family.learning_rate or config.training.learning_rate or default)
        seeds = family.seeds or config.training.seeds
        if family.settings is None:
            raise ConfigError(
                f"family {name} has target_l0 and no settings yet; `sae-train run` finds them, "
                "or trainers.sweeps.settled(config)"
            )
        for size, rate, seed, setting in product(sizes, rates, seeds, family.settings):
            parts = [name, f"{setting:g}", f"seed{seed}"]
            parts += [f"F{size}"] * (len(sizes) > 1) + [f"lr{rate:g}"] * (len(rates) > 1)
            found.append(
                MemberPlan(
                    run_id="_".join(parts), family=name, architecture=family.architecture, setting=setting,
                    seed=seed, learning_rate=rate, dictionary_size=size,
                )
            )  # fmt: skip
    names = [m.run_id for m in found]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ConfigError(f"the sweep names the same SAE twice: {', '.join(twice)}")
    return found
