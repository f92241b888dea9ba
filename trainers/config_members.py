"""Every SAE that a configuration asks for, in a fixed order, each with its name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, product

from frontier.writing import file_name
from trainers.config import ConfigError, RunConfig
from trainers.config_joint import family_sites, family_sizes
from trainers.config_values import Section, listed


class MemberPlan(Section):
    """One SAE that a configuration asks for."""

    run_id: str
    family: str
    architecture: str
    setting: float
    seed: int
    learning_rate: float
    dictionary_size: int
    site: str


def members(config: RunConfig) -> list[MemberPlan]:
    """Every SAE of a configuration, in a fixed order: families, sites, sizes, rates, seeds, settings."""
    several = len(config.activations.places) > 1
    found = []
    for family in config.families:
        name = family.called
        default = family.kind.default_rate(config.training.steps)
        sizes = family_sizes(config, family)
        if sizes is None:
            raise ConfigError(
                f"family {name} has an expansion and no dictionary_size yet; a run finds it, or "
                "trainers.config_sizes.sized(config, width)"
            )
        rates = listed(family.learning_rate or config.training.learning_rate or default)
        seeds = family.seeds or config.training.seeds
        if family.settings is None:
            raise ConfigError(
                f"family {name} has target_l0 and no settings yet; `sae-train run` finds them, "
                "or trainers.sweeps.settled(config)"
            )
        swept = product(family_sites(config, family), sizes, rates, _seeded(config, seeds, family.settings))
        for site, size, rate, (seed, setting) in swept:
            parts = [name, f"{setting:g}", f"seed{seed}"]
            parts += [f"F{size}"] * (len(sizes) > 1) + [f"lr{rate:g}"] * (len(rates) > 1)
            parts += [file_name(site)] * several
            found.append(
                MemberPlan(
                    run_id="_".join(parts), family=name, architecture=family.kind.name, setting=setting,
                    seed=seed, learning_rate=rate, dictionary_size=size, site=site,
                )
            )  # fmt: skip
    for member in found:
        if file_name(member.run_id) != member.run_id:
            raise ConfigError(f"{member.run_id!r} is no name for a folder; give the family a shorter one")
    names = [m.run_id for m in found]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ConfigError(f"the sweep names the same SAE twice: {', '.join(twice)}")
    return found


def _seeded(config: RunConfig, seeds: Sequence[int], settings: Sequence[float]) -> list[tuple[int, float]]:
    """Seed and setting of each SAE of a family: all pairs, or each setting with the next seed."""
    if config.training.seeds_in_turn:
        return list(zip(cycle(seeds), settings, strict=False))
    return list(product(seeds, settings))
