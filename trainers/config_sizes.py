"""How many latents: the dictionary sizes of a configuration, once the width of the activations is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from frontier import wording as words
from trainers.activations.harvest import distinct_sites
from trainers.activations.stored import StoredActivations
from trainers.config import ConfigError, RunConfig, faults
from trainers.config_joint import family_sites, family_sizes
from trainers.config_sections import EXPANSION, FamilySection, TrainingSection
from trainers.config_values import listed


def located(config: RunConfig, model: Any) -> RunConfig:
    """The configuration with several sites under the names that the model gives them, each once.

    Raises
    ------
    ActivationError
        If two are one place.
    ConfigError
        If the model is rows, which are of one.
    """
    given = config.activations
    if not given.sites:
        return config
    if isinstance(model, StoredActivations):
        raise ConfigError(
            f"activations.sites names {words.listed(given.sites)}; {model.text} has rows of one site; leave "
            "sites out, and give each site a run of its own"
        )
    named = dict(zip(given.sites, distinct_sites(model, given.sites), strict=True))
    families = [
        f.model_copy(update={"sites": [named[s] for s in f.sites]}) if f.sites else f for f in config.families
    ]
    places = list(named.values())
    found = given.model_copy(update={"sites": places, "site": places[0]})
    return config.model_copy(update={"activations": found, "families": families})


def sized(config: RunConfig, width: int | Mapping[str, int]) -> RunConfig:
    """The configuration with every dictionary size written out.

    Parameters
    ----------
    width : int or dict of str to int
        Of the activations, or of each site. Where widths differ, a family with an expansion becomes one of
        that name at each site.

    Raises
    ------
    ConfigError
        If a setting is larger than its dictionary.
    """
    widths = width if isinstance(width, Mapping) else dict.fromkeys(config.activations.places, width)
    training, families = {}, []
    if len(set(widths.values())) == 1:
        width = next(iter(widths.values()))
        training = _sizes(config.training, width, EXPANSION)
        families = [f.model_dump() | _sizes(f, width) for f in config.families]
    for family in () if families else config.families:
        families += _at_each_site(config, family, widths)
    try:
        return RunConfig.model_validate(
            config.model_dump() | {"training": config.training.model_dump() | training, "families": families}
        )
    except ValidationError as error:
        raise ConfigError(faults(error)) from error


def _at_each_site(config: RunConfig, family: FamilySection, widths: Mapping[str, int]) -> list[dict]:
    """A family whose size depends on the site, one at each; as it is where the size is said."""
    if family_sizes(config, family) is not None:
        return [family.model_dump()]
    return [
        family.model_dump() | {"sites": [site]} | _own_sizes(config, family, widths[site])
        for site in family_sites(config, family)
    ]


def _own_sizes(config: RunConfig, family: FamilySection, width: int) -> dict:
    return _sizes(family if family.expansion else config.training, width, EXPANSION)


def _sizes(section: TrainingSection | FamilySection, width: int, default: float | None = None) -> dict:
    """The fields that a section's expansion changes."""
    given = section.expansion if section.dictionary_size or section.expansion else default
    if given is None:
        return {}
    sizes = [max(1, round(times * width)) for times in listed(given)]
    return {"expansion": None, "dictionary_size": sizes if isinstance(given, list) else sizes[0]}


def sizes_in_words(families: Iterable[Any], widths: Mapping[str, tuple[int, int]]) -> list[str]:
    """A line for the sites of one width: the sizes of the dictionaries there."""
    found = []
    for width in dict.fromkeys(d_in for d_in, _ in widths.values()):
        sites = [site for site, own in widths.items() if own[0] == width]
        sizes = [f.dictionary_size for f in families if f.site in sites]
        if sizes:
            found.append(in_words(sizes, width, words.listed(sites)))
    return found


def in_words(sizes: list[int], width: int, site: str) -> str:
    """Sizes and what they are times the width.

    >>> in_words([512, 1024], 128, "mlp_out.1")
    'dictionaries of 512 (4 × 128) and 1,024 (8 × 128) latents; 128 is the width of mlp_out.1'
    """
    parts = [f"{size:,} ({size / width:.3g} × {width})" for size in sorted(set(sizes))]
    return f"dictionaries of {' and '.join(parts)} latents; {width} is the width of {site}"
