"""The target site of a transcoder is another place than the one it reads, whatever the two are called."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from frontier.wording import listed
from trainers.config import ConfigError, RunConfig
from trainers.config_joint import family_sites
from trainers.origin import Origin

PROBED = 8
"""Tokens on which two places are compared."""


def check_target(config: RunConfig, model: Origin) -> None:
    """Nothing, if no family is asked to write what it reads: as a whole, or by a skip a part of it.

    Two places are one where their activations are, to the last bit: `resid_post.0` and `resid_pre.1`.

    Raises
    ------
    ConfigError
        Says what to type.
    """
    target = config.activations.target_site
    if not target:
        return
    with_skip = [f for f in config.families if f.options.get("skip")]
    for site in config.activations.places:
        read, written = ([p.name for p in model.site(name).places] for name in (site, target))
        found = _seen(model, [*read, *written])
        copied = [w for w in written if any(torch.equal(found[w], found[r]) for r in read)]
        if len(copied) == len(written) == len(read):
            raise ConfigError(
                f"activations.target_site is {target}, the place that the SAEs read (site = {site}): these "
                "are autoencoders; leave target_site out, and skip too"
            )
        family = next((f for f in with_skip if copied and site in family_sites(config, f)), None)
        if family:
            raise ConfigError(
                f"family {family.called}: skip = true would copy {listed(copied)}, which is read at {site} "
                f"and is in the target_site {target}; leave skip out, or the place out of one of the two"
            )


def _seen(model: Origin, names: list[str]) -> Mapping[str, Tensor]:
    """Activations of a few tokens at some places."""
    tokens = torch.arange(PROBED).remainder(model.vocabulary_size).unsqueeze(0)
    with torch.no_grad():
        return model.capture(tokens.to(model.device), list(dict.fromkeys(names)))
