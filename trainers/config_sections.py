"""The sections of a configuration: every field with its default, its limits and its explanation."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    ByteSize,
    Field,
    NonNegativeInt,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)

from frontier import wording as words
from frontier.writing import file_name
from trainers.activations.row_files import RAW_FORM
from trainers.architectures import Architecture, architecture, known
from trainers.config_saved import LAST_MLP
from trainers.config_values import SAVED, Section, check_shares, given_once, positive
from trainers.language_models.sites import JOINED

EXPANSION = 8.0
"""Latents over the width of the activations where a configuration says no size."""
LONGEST_NAME = 120
"""Bytes of a family's name."""


class ModelSection(Section):
    """The language model."""

    name: str = "tiny_lm"
    """tiny_lm is the shipped one; else a folder or a Hugging Face name (never remote code)."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the language model; auto: bfloat16 on a GPU, else float32."""


class ActivationsSection(Section):
    """Which activations the SAEs see."""

    site: str = LAST_MLP
    """resid_post, mlp_out, mlp_neurons, ... and a layer (-1: the last), or a path; a+b is a crosscoder's."""
    sites: list[str] | None = Field(None, min_length=1)
    """Several such places: the model reads the text once, and every family is trained at each."""
    files: str | list[str] | None = None
    """Activations themselves (.npy, .safetensors, Zarr, Arrow, raw) instead of a model that reads text."""
    raw_format: str | None = None
    """Of files without a header (.bin, .dat, .raw): number format and numbers per row, as in float16[768]."""
    target_site: str | None = None
    """Where the output is compared: another site (or several, a+b) makes the SAEs transcoders."""
    text: str | list[str] = "standard-library"
    """standard-library (Python's own sources), a file, a folder, a token array (.npy), or a list."""
    context_length: int | None = Field(None, gt=1)
    """Tokens per window; the model's own by default."""
    exclude_tokens: list[NonNegativeInt] | None = None
    """Ids of tokens left out of training and evaluation, beside the start token and padding."""
    exclude_positions: list[NonNegativeInt] | None = None
    """Places in the window that are left out, from 0 (where the start token is, if the model has one)."""
    exclude_norms_above: float | None = Field(None, gt=1, allow_inf_nan=False)
    """Positions longer than so many times the site's median norm are left out (massive activations)."""
    norm_limits: dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Instead: the norms themselves, by site; a run writes what the line above came to."""
    tokens: int | Literal["all"] = 400_000
    """So many tokens of the text, seen again in a new order when they run out; "all" takes the whole text."""
    seed: int = 0
    """Seed of the order; every family sees the same one."""
    centre: StrictBool = True
    """The mean of the site is taken off before scaling; runs saved before this field existed have false."""
    buffer_tokens: int | None = Field(None, gt=0)
    """Activations that are shuffled together; by default all, if they fit memory_limit."""
    memory_limit: ByteSize = ByteSize(2 * 10**9)
    """Activations that fit are computed once and kept in memory (bytes, or with a unit: 2 GiB)."""
    cache: str | None = None
    """Folder in which activations are kept on disk."""
    cache_limit: ByteSize = ByteSize(20 * 10**9)
    """Size limit of that folder."""

    @property
    def places(self) -> list[str]:
        """The sites, one or several."""
        return self.sites or [self.site]

    @model_validator(mode="before")
    @classmethod
    def site_or_sites(cls, given: Any) -> Any:
        """One of the two is there; of several sites `site` is the first."""
        if isinstance(given, dict) and isinstance(given.get("site"), list):
            both = [JOINED.join(map(str, given["site"])), f"sites = {given['site']}"]
            raise ValueError(
                f'site is one place; write site = "{both[0]}" for crosscoders, {both[1]} to train at each'
            )
        if not isinstance(given, dict) or not isinstance(given.get("sites"), list) or not given["sites"]:
            return given
        if given.get("site") not in (None, given["sites"][0]):
            raise ValueError("give site or sites, one of the two; found both")
        if one := next((k for k in ("files", "target_site") if given.get(k)), None):
            raise ValueError(f"{one} is of one site; leave sites out, and give each site a run of its own")
        return given | {"site": given["sites"][0]}

    @model_validator(mode="after")
    def one_limit(self) -> ActivationsSection:
        """The norms are given once."""
        if self.exclude_norms_above and self.norm_limits:
            raise ValueError("give exclude_norms_above or norm_limits, one of the two; found both")
        return self

    @field_validator("raw_format")
    @classmethod
    def numbers_of_a_row(cls, form: str | None) -> str | None:
        """A number format and how many numbers are together."""
        if form is not None and not re.match(RAW_FORM, form):
            raise ValueError(
                "wanted a number format (float16, bfloat16, float32 or float64) and the numbers of a row, "
                f'"float16[768]", or of a window of rows, "float32[197, 768]"; found {form!r}'
            )
        return form

    @field_validator("files")
    @classmethod
    def some_files(cls, value: Any) -> Any:
        """An empty list is none, and no reason to take a language model."""
        if value == [] or value == "":
            raise ValueError("names no file; leave it out where a language model reads text")
        return value

    @field_validator("tokens")
    @classmethod
    def some_tokens(cls, value: Any) -> Any:
        """A number of tokens is above 0."""
        return value if value == "all" else positive(value)


class TrainingSection(Section):
    """How all members are trained; a family may differ where it says so."""

    steps: int = Field(1000, gt=0)
    """Optimiser steps."""
    batch_size: int = Field(1024, gt=0)
    """Activations per step."""
    expansion: float | list[float] | None = None
    """Latents over the width of the activations, 8 by default; a list trains every family at each."""
    dictionary_size: int | list[int] | None = None
    """Latents, instead of expansion; a list trains every family at every size."""
    learning_rate: float | list[float] | None = None
    """Adam's; the architecture's default where it is not given."""
    seeds: list[NonNegativeInt] = Field([0], min_length=1)
    """Every setting is trained with every seed of the weights (activations.seed: the order of the text)."""
    seeds_in_turn: StrictBool = False
    """Settings take the seeds in turn, one each, instead: seeds are then part of the scatter."""
    warmup: float = Field(0.05, ge=0, le=1)
    """Share of the steps over which the learning rate rises."""
    decay: float = Field(0.2, ge=0, le=1)
    """Share of the steps over which it falls to 0 at the end; with warmup at most 1."""
    sparsity_warmup: float = Field(0.25, ge=0, le=1)
    """Share of the steps over which the sparsity penalty rises."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of one member's gradient; 1 acts at nearly every step (errors are sums over the width)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16: products in half precision, weights in float32; auto: that on a GPU, else float32."""
    engine: Literal["auto", "loop", "stacked"] = "auto"
    """loop: member by member (CPU); stacked: all at once (GPU)."""
    shards: int = Field(1, gt=0)
    """Processes (torchrun) over which the latents of each SAE are divided; a step engine of its own."""
    threads: int = Field(0, ge=0)
    """CPU threads, one member each; 0 takes all cores. Results do not depend on it."""
    log_every: int = Field(25, gt=0)
    """Steps between log lines."""
    checkpoint_every: int = Field(250, gt=0)
    """Steps between checkpoints; the last two are kept."""
    keep_at: list[int] = Field([])
    """Steps after which the SAEs are kept as they are then, and evaluated too: [1000, 10000]."""
    logger: Literal["none", "tensorboard", "wandb", "trackio"] = "none"
    """Also log there, where it is installed; log.jsonl is always written."""

    @field_validator("expansion", "dictionary_size", "learning_rate")
    @classmethod
    def above_zero(cls, value: Any) -> Any:
        """Sizes and rates are above 0."""
        return positive(value)

    @model_validator(mode="after")
    def reaches_its_rate(self, info: ValidationInfo) -> TrainingSection:
        """The rise of the learning rate ends before its fall begins; that of a saved run may not have."""
        if info.context != SAVED:
            check_shares(self.warmup, self.decay)
        return self

    @model_validator(mode="after")
    def keeps_what_it_reaches(self) -> TrainingSection:
        """Steps at which SAEs are kept are steps of the run."""
        outside = [s for s in self.keep_at if not 0 < s <= self.steps]
        if outside:
            found = ", ".join(map(str, outside))
            raise ValueError(f"keep_at: wanted steps from 1 to {self.steps}, the last one, found {found}")
        return self

    @model_validator(mode="after")
    def one_size(self) -> TrainingSection:
        """The size is given once."""
        return given_once(self)


class EvaluationSection(Section):
    """The text on which every metric is measured."""

    text: str | list[str] | None = None
    """As for the activations, and the same by default; its held-out part is taken."""
    windows: int = Field(128, gt=1)
    """Windows of context_length tokens, evenly spread."""
    batch_size: int = Field(16, gt=0)
    """Windows per pass at most; standard errors come from passes, of which there are 16 or more."""


class FamilySection(Section):
    """One family: an architecture over its sparsity settings."""

    architecture: str
    """relu, gated, jumprelu, topk, batch_topk, matryoshka, ... (see README); or yours: my_sae.py:MySAE."""
    name: str | None = None
    """The family's name in tables, figures and folders; the architecture's by default."""
    settings: list[float] | None = Field(None, min_length=1)
    """The sweep: λ, or k for the TopK kinds."""
    target_l0: list[float] | None = Field(None, min_length=1)
    """Instead of settings: the wanted L0 of each member; `sae-train run` finds the settings in a pilot."""
    sites: list[str] | None = Field(None, min_length=1)
    """Of activations.sites those at which it is trained; all by default."""
    start_from: str | None = None
    """Go on from a trained SAE: its folder (ours, or of another library), or a run's, by name."""
    options: dict[str, Any] = Field({})
    """Options of the architecture, for example { p = 0.5 } or { frozen_decoder = false }."""
    expansion: float | list[float] | None = None
    """Instead of that of the training section."""
    dictionary_size: int | list[int] | None = None
    """Instead of that of the training section."""
    learning_rate: float | list[float] | None = None
    """Instead of that of the training section."""
    seeds: list[NonNegativeInt] | None = Field(None, min_length=1)
    """Instead of those of the training section."""

    @field_validator("name")
    @classmethod
    def names_a_folder(cls, value: str | None) -> str | None:
        """A name that can begin the names of folders, with room for setting and seed."""
        if value is not None and (file_name(value) != value or len(value.encode()) > LONGEST_NAME):
            raise ValueError(
                f'must be a name for folders: at most {LONGEST_NAME} bytes, no / \\ : * ? " < > |, no dot in '
                "front"
            )
        return value

    @field_validator("expansion", "dictionary_size", "learning_rate", "settings", "target_l0")
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
    def one_size(self) -> FamilySection:
        """The size is given once."""
        return given_once(self)

    @model_validator(mode="after")
    def options_exist(self) -> FamilySection:
        """The architecture takes these options."""
        if "parts" in self.options:
            raise ValueError("options: parts are those of a joined site; a run fills them in")
        self.build(True)
        return self

    @property
    def kind(self) -> type[Architecture]:
        """The class of the architecture."""
        return known(self.architecture)

    @property
    def called(self) -> str:
        """The family's name."""
        return self.name or self.kind.name

    @property
    def label(self) -> str:
        """The family's name, with its sites where it has some of its own."""
        return f"{self.called} at {words.listed(self.sites)}" if self.sites else self.called

    def build(self, subtract_decoder_bias: bool, parts: tuple[int, ...] = ()) -> Architecture:
        """The architecture with its options; `parts` are the widths of those of a joined target."""
        given = {"subtract_decoder_bias": subtract_decoder_bias, "parts": parts} | self.options
        try:
            return architecture(self.architecture, **given)
        except TypeError as error:
            raise ValueError(f"options of {self.architecture}: {error}") from error
