"""Members that go on from a trained SAE (`start_from`): ours, or of SAELens, dictionary_learning or sparsify.

Its weights are taken into the units of the run's activations, so that at step 0 the member computes what the
SAE computed; the optimiser and the schedule begin anew. What it went on from is in its identity: `parent`,
`started_from` (a digest of the weights) and `tokens_before`, which `tokens_trained` counts too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from frontier.wording import listed, nearest, number
from frontier.writing import file_name
from trainers import kept
from trainers.architectures import Architecture, BatchTopK, JumpReLU, Parameters
from trainers.config import ConfigError, RunConfig
from trainers.config_joint import family_sites
from trainers.config_members import MemberPlan
from trainers.export import OURS, READ, LayoutError, load
from trainers.export.files import ExportError
from trainers.export.forms import as_jumprelu, form_name, form_of, subtracting
from trainers.family import Family, Source
from trainers.origin import Origin
from trainers.sae import SAE
from trainers.sae_parts import digest
from trainers.sharding import part_of
from trainers.shards import ALONE, Shards

UNIT = 1e-3
"""Norms of decoder rows that are 1 but for rounding and a last step."""
PER_LATENT = {"W_enc", "W_mag", "b_enc", "b_gate", "b_mag", "threshold"}
"""Tensors whose last dimension is in units of each code."""


class Start(NamedTuple):
    """A trained SAE that computes what the member shall, in raw units, and where it is from."""

    sae: SAE
    source: Source
    place: Path


def read_starts(
    config: RunConfig, plans: Iterable[MemberPlan], model: Origin, shards: Shards = ALONE
) -> dict[str, Start]:
    """What each member starts from, by run_id, of it the latents of one shard; others start anew.

    Raises
    ------
    ConfigError
        If there is no SAE, it cannot be read, or is of another architecture or size; what to type is said.
    """
    begun = [f for f in config.families if f.start_from]
    sections = {(f.called, site): f for f in begun for site in family_sites(config, f)}
    loaded: dict[tuple[str, Path], Start] = {}
    found = {}
    for plan in plans:
        if section := sections.get((plan.family, plan.site)):
            place = _place(Path(str(section.start_from)), plan, model.site(plan.site).name)
            if (plan.family, place) not in loaded:
                kind = section.build(config.activations.target_site is None)
                loaded[plan.family, place] = _read(place, plan.family, kind, shards)
            found[plan.run_id] = one = loaded[plan.family, place]
            there = one.sae.dictionary_size * shards.count
            if there != plan.dictionary_size:
                raise ConfigError(
                    f"{_named(plan.family, place)} has {there:,} latents, the family "
                    f"{plan.dictionary_size:,}; write dictionary_size = {there} in the family"
                )
    return found


def begin(families: Iterable[Family], starts: Mapping[str, Start]) -> None:
    """Give members the weights that they start from.

    Raises
    ------
    ConfigError
        If input or output have another width than the family's, or tensors other names or shapes.
    """
    said: set[tuple[str, str, Path]] = set()
    for family in families:
        for m, member in enumerate(family.members):
            if member.run_id in starts:
                one = starts[member.run_id]
                family.begin(m, *_scaled(one, family, m), one.source)
                if (family.name, family.site, one.place) not in said:
                    said.add((family.name, family.site, one.place))
                    _say_unlike(one, family)


def _read(place: Path, family: str, kind: Architecture, shards: Shards) -> Start:
    """The SAE of a folder as the family's architecture."""
    try:
        sae = load(place, shards)
    except LayoutError as error:
        raise ConfigError(f"family {family}: start_from: {error}") from error
    before = sae.identity.get("tokens_trained")
    tokens = int(before) if isinstance(before, int | float) and before == before else None
    source = Source(str(sae.identity["run_id"]), digest(sae), tokens)
    return Start(_as_kind(sae, kind, _named(family, place)), source, place)


def _named(family: str, place: Path) -> str:
    return f"family {family}: start_from = {place}"


def _place(path: Path, plan: MemberPlan, site: str) -> Path:
    """The folder of the SAE: this one, or in a folder of many (or of a run) that of the member's name.

    Names end with their site where a run has several, and with their step below `kept`.
    """
    if not path.is_dir():
        raise ConfigError(
            f"family {plan.family}: there is no folder {path}; start_from is a folder of an SAE, or of a run"
        )
    files = [OURS, *(layout.FILES for layout in READ.values())]
    if any((path / name).is_file() for own in files for name in own):
        return path
    many = path / "saes" if (path / "saes").is_dir() else path
    there = sorted(p.name for p in many.iterdir() if p.is_dir())
    step = kept.ending_in(many)
    plain = plan.run_id.removesuffix(f"_{file_name(plan.site)}")
    for name in (plan.run_id, f"{plain}_{file_name(site)}"):
        if name + step in there:
            return many / (name + step)
    if plain + step in there:
        found = load(many / (plain + step)).identity.get("site")
        if found == site:
            return many / (plain + step)
        raise ConfigError(
            f"family {plan.family}: start_from = {path} has {plain + step} at {found}, not at {site}. "
            "Name one SAE's folder to start all members from it"
        )
    near = nearest(plan.run_id + step, there) if there else "; there are none"
    raise ConfigError(
        f"family {plan.family}: start_from = {path} has no SAE {plan.run_id + step} (name one SAE's folder "
        f"to start all members from it){near}"
    )


def _as_kind(sae: SAE, kind: Architecture, where: str) -> SAE:
    """The same function as an SAE of the family's architecture."""
    wanted, found = (form_name(type(of)) or of.name for of in (kind, sae.kind))
    shards = sae.shards
    if wanted != found:
        sae = _converted(sae, kind, wanted, found, where)
    if sae.architecture.subtract_decoder_bias != kind.subtract_decoder_bias:
        try:
            moved = subtracting(form_of(sae), kind.subtract_decoder_bias)
        except ExportError as error:
            raise ConfigError(f"{where}: {error}") from error
        sae = replace(sae, parameters=sae.parameters | moved.tensors)
    return SAE(part_of(kind, shards) if shards.count > 1 else kind, sae.parameters, sae.identity)


def _converted(sae: SAE, kind: Architecture, wanted: str, found: str, where: str) -> SAE:
    """An SAE of another form with the same output, where there is one."""
    if wanted == "jumprelu" and found in ("threshold", "gated"):
        try:
            return replace(
                sae, architecture=_like(JumpReLU, sae), parameters=as_jumprelu(form_of(sae)).tensors
            )
        except ExportError as error:
            raise ConfigError(f"{where}: {error}") from error
    if wanted == "threshold" and found == "jumprelu" and len(_extremes(sae, "threshold").unique()) == 1:
        one = sae.parameters | {"threshold": sae.parameters["threshold"][0]}
        return replace(sae, architecture=_like(BatchTopK, sae), parameters=one)
    raise ConfigError(
        f"{where} is {sae.architecture.name}, the family {kind.name}; write architecture = "
        f'"{sae.architecture.name}", or start from an SAE of {kind.name}'
    )


def _extremes(sae: SAE, name: str) -> Tensor:
    """The least and the largest value, over all latents, of what each latent has one of."""
    least, largest = sae.parameters[name].aminmax()
    return torch.stack([sae.shards.least(least), -sae.shards.least(-largest)])


def _like(kind: type[Architecture], sae: SAE) -> Architecture:
    return kind(subtract_decoder_bias=sae.architecture.subtract_decoder_bias, skip=sae.architecture.skip)


def _unit_rows(p: Parameters, kind: Architecture, where: str, shards: Shards) -> Parameters:
    """The same function with decoder rows of norm 1, at which this architecture keeps them."""
    norms = p[kind.decoder].norm(dim=-1).clamp_min(1e-12)
    low, high = float(shards.least(norms.min())), -float(shards.least(-norms.max()))
    if max(high - 1, 1 - low) < UNIT:
        return p
    if high - low > UNIT * high and kind.setting_name == "k":  # its codes are compared with each other
        warnings.warn(
            f"{where}: decoder rows have norms from {number(low)} to {number(high)} in the units of this "
            f"run; {kind.name} keeps them at 1, so that it ranks codes times norms and does not begin "
            "exactly as that SAE",
            stacklevel=2,
        )
    mean = shards.total(norms.mean()) / shards.count
    changed = {k: v * (norms if v.ndim else mean) for k, v in p.items() if k in PER_LATENT}
    return p | changed | {kind.decoder: p[kind.decoder] / norms[:, None]}


def _scaled(start: Start, family: Family, m: int) -> tuple[Parameters, Parameters]:
    """Weights and state of a member that computes on scaled activations what the SAE does on raw ones."""
    sae, kind, scaling = start.sae, family.architecture, family.scaling.to("cpu")
    where, wide = _named(family.name, start.place), (family.d_in, family.d_out)
    if (sae.d_in, sae.d_out) != wide:
        site = sae.identity.get("site")
        raise ConfigError(
            f"{where} reads width {sae.d_in} and writes {sae.d_out}{f' (at {site})' if site else ''}, this "
            f"run {wide[0]} and {wide[1]}; give activations.site the place that it was trained at"
        )
    own = family.leaves[m]
    plain = kind.inference(own, family.state_of(m), family.members[m].setting)
    wrong = [
        f"{name} should be {_shape(plain, name)}, is {_shape(sae.parameters, name)}"
        for name in sorted(plain.keys() | sae.parameters.keys())
        if _shape(plain, name) != _shape(sae.parameters, name)
    ]
    if wrong:
        raise ConfigError(
            f"{where} does not fit {kind.name} with these options: {'; '.join(wrong)}; give the family the "
            "options that it was trained with"
        )
    raw = {k: v.cpu() for k, v in sae.parameters.items()}
    p = scaling.unfold(kind, raw)
    p = _unit_rows(p, kind, where, sae.shards) if kind.unit_norm else p
    return {k: p[k] for k in own}, kind.state_of(p, family.dictionary_size)


def _shape(tensors: Mapping[str, Tensor], name: str) -> Any:
    return tuple(tensors[name].shape) if name in tensors else "absent"


def _say_unlike(start: Start, family: Family) -> None:
    """A word where an SAE was trained on another model or at another site."""
    known = {k: (start.sae.identity.get(k), family.identity.get(k)) for k in ("model", "site", "target_site")}
    unlike = [f"{k} {was} there, {now} here" for k, (was, now) in known.items() if was and now and was != now]
    if unlike:
        warnings.warn(f"{_named(family.name, start.place)}: {listed(unlike)}", stacklevel=2)
