"""How many latents: the dictionary sizes of a configuration, once the width of the activations is known."""

from __future__ import annotations

from pydantic import ValidationError

from trainers.config import ConfigError, RunConfig, faults
from trainers.config_sections import EXPANSION, FamilySection, TrainingSection, listed


def sized(config: RunConfig, width: int) -> RunConfig:
    """The configuration with every dictionary size written out.

    Raises
    ------
    ConfigError
        If a setting is larger than its dictionary.
    """
    training = _sizes(config.training, width, EXPANSION)
    families = [f.model_dump() | _sizes(f, width) for f in config.families]
    try:
        return RunConfig.model_validate(
            config.model_dump() | {"training": config.training.model_dump() | training, "families": families}
        )
    except ValidationError as error:
        raise ConfigError(faults(error)) from error


def _sizes(section: TrainingSection | FamilySection, width: int, default: float | None = None) -> dict:
    """The fields that a section's expansion changes."""
    given = section.expansion if section.dictionary_size or section.expansion else default
    if given is None:
        return {}
    sizes = [max(1, round(times * width)) for times in listed(given)]
    return {"expansion": None, "dictionary_size": sizes if isinstance(given, list) else sizes[0]}


def in_words(sizes: list[int], width: int, site: str) -> str:
    """Sizes and what they are times the width.

    >>> in_words([512, 1024], 128, "mlp_out.1")
    'dictionaries of 512 (4 × 128) and 1,024 (8 × 128) latents; 128 is the width of mlp_out.1'
    """
    parts = [f"{size:,} ({size / width:.3g} × {width})" for size in sorted(set(sizes))]
    return f"dictionaries of {' and '.join(parts)} latents; {width} is the width of {site}"
