"""What the sections of a configuration have to be together; each function has one thing to say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from frontier.wording import nearest
from trainers.config_sections import FamilySection
from trainers.config_values import listed
from trainers.language_models.sites import JOINED

if TYPE_CHECKING:
    from trainers.config import RunConfig


def family_sites(config: RunConfig, family: FamilySection) -> list[str]:
    """The sites at which a family is trained."""
    return family.sites or config.activations.places


def family_sizes(config: RunConfig, family: FamilySection) -> list[int] | None:
    """The sizes of a family's dictionaries; None where it has an expansion, whose width is not known yet."""
    own = None if family.expansion else family.dictionary_size or config.training.dictionary_size
    return None if own is None else listed(own)


def check_names(config: RunConfig) -> None:
    """Names differ at every site.

    Raises
    ------
    ValueError
        As all functions here: says what to type.
    """
    placed = [(f.called, site) for f in config.families for site in family_sites(config, f)]
    twice = sorted({n for n, site in placed if placed.count((n, site)) > 1})
    if twice:
        raise ValueError(f"two families are called {', '.join(twice)}; give them a name each")


def check_settings(config: RunConfig, saved: bool) -> None:
    """No setting that is an L0 is larger than its dictionary, and those that count are whole.

    A `saved` run may have a target L0 beyond its dictionary, which was not refused always.
    """
    for family in config.families:
        settings, kind = family.settings or [], family.kind
        name = family.build(True).sparsity_name
        sizes = family_sizes(config, family)
        smallest = math.inf if sizes is None else min(sizes)  # until the width of the activations is known
        are_l0s = name == "k" or (name == "target_l0" and not saved)
        for said, wanted in (("target_l0", family.target_l0), (name, settings if are_l0s else None)):
            if wanted and max(wanted) > smallest:
                raise ValueError(
                    f"family {family.called}: {said} = {max(wanted):g} is larger than the dictionary of "
                    f"{smallest:g}"
                )
        if kind.whole_settings and any(s != int(s) for s in settings):
            raise ValueError(
                f"family {family.called}: {kind.__name__} needs whole {kind.setting_name}, got {settings}"
            )


def check_rows(config: RunConfig) -> None:
    """Stored activations come without a target site and without text, and are of one site."""
    given = config.activations
    if given.files and JOINED in given.site:
        raise ValueError(
            f"activations.files are rows of one site, not of {given.site}; JoinedActivations in Python "
            "joins several"
        )
    if given.files and (given.target_site or config.evaluation.text):
        field = "activations.target_site" if given.target_site else "evaluation.text"
        raise ValueError(
            f"activations.files are rows of one site, and hold their own evaluation; leave {field} out"
        )


def check_sites(config: RunConfig) -> None:
    """A skip leads from one site to another; what encodes by its decoder stays at one."""
    places, target = config.activations.places, config.activations.target_site
    for family in config.families:
        for site in set(family.sites or ()) - set(places):
            known = f"is not in activations.sites{nearest(site, places)}"
            raise ValueError(f"family {family.called}: {site} {known}")
        if family.options.get("skip") and not target:
            raise ValueError(
                f"family {family.called}: skip = true is for transcoders, that of an autoencoder would "
                "learn to copy; give activations.target_site"
            )
        joined = next((site for site in family_sites(config, family) if JOINED in site), None)
        if (target or joined) and not family.kind.transcodes:
            what = "transcoder; leave activations.target_site out"
            what = f"crosscoder; leave it out at {joined}" if joined else what
            own = f"family {family.called}: {family.kind.name}"
            raise ValueError(f"{own} encodes by its decoder and cannot be a {what}")
