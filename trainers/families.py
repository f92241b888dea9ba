"""The families of a run: members of one recipe, size and site, each kind in one stack."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import groupby
from typing import Any

from trainers import sharding
from trainers.activations import ActivationStream
from trainers.config import RunConfig
from trainers.config_joint import family_sites
from trainers.config_members import MemberPlan
from trainers.family import Family, Member
from trainers.language_models.sites import JOINED
from trainers.origin import Origin
from trainers.shards import Shards


def build_families(
    config: RunConfig,
    plans: Iterable[MemberPlan],
    model: Origin,
    stream: ActivationStream,
    device: Any,
    shards: Shards,
) -> list[Family]:
    """Members, or the latents of one shard of them, those of one family, site and size in one stack."""
    sections = {(f.called, site): f for f in config.families for site in family_sites(config, f)}
    target = config.activations.target_site
    kind = partial(sharding.ShardedFamily, shards=shards) if shards.count > 1 else Family
    found = []
    for (name, site, size), part in groupby(plans, lambda m: (m.family, m.site, m.dictionary_size)):
        place = model.site(site).name
        d_in, d_out = stream.widths[place]
        parts = tuple(p.width for p in model.site(target or site).parts)
        found.append(
            kind(
                name, sections[name, site].build(target is None, parts),
                [Member(m.run_id, m.setting, m.seed, m.learning_rate) for m in part],
                d_in=d_in, d_out=d_out, dictionary_size=size, scaling=stream.scalings[place],
                device=device, identity=identity_at(place, config, model, stream),
            )
        )  # fmt: skip
    return found


def identity_at(place: str, config: RunConfig, model: Origin, stream: ActivationStream) -> dict[str, Any]:
    """What all SAEs of a site have in common, under the column names of the metrics table."""
    scaling, target = stream.scalings[place], config.activations.target_site
    found = {
        "model": model.name, "site": place, "layer": model.site(place).layer,
        "context_length": config.activations.context_length or model.context_length,
        "input_scale": scaling.input_scale, "target_scale": scaling.target_scale,
    }  # fmt: skip
    if parts := model.site(target or place).parts:
        assert scaling.target_weights is not None
        weights = scaling.target_weights.split([p.width for p in parts])
        found["part_scales"] = JOINED.join(f"{scaling.target_scale * float(w[0]):.6g}" for w in weights)
    return found | ({"target_site": model.site(target).name} if target else {})
