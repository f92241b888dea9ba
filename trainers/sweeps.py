"""Sweeps placed by the L0 that is wanted: targets, and the settings that aim at them (from `pilots`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frontier.wording import nearest
from frontier.writing import write_json
from trainers import ranks
from trainers.config import FamilySection, RunConfig, stated, write_config
from trainers.config_joint import family_sites
from trainers.piloting import ASKED
from trainers.pilots import changed, pilots_of, settings_for, with_families


@dataclass(frozen=True, eq=False)
class Sweep:
    """Settings that aim at target L0s, and the pilots that they come from.

    Attributes
    ----------
    family : str
    sites : list of str, optional
        Those of the settings, where a run has several and pilots found other settings for others.
    targets, settings : tuple of float
        In the same order.
    pilots : DataFrame
        `setting`, `l0` as counted and `expected_l0`, that of the full run; empty where the setting is the
        target.
    """

    family: str
    targets: tuple[float, ...]
    settings: tuple[float, ...]
    pilots: pd.DataFrame
    sites: list[str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        placed = {"sites": self.sites} if self.sites else {}
        return {
            "family": self.family, **placed, "target_l0": list(self.targets), "settings": list(self.settings),
            "pilots": self.pilots.to_dict("records"),
        }  # fmt: skip


def even_targets(low: float, high: float, count: int) -> list[float]:
    """L0s from `low` to `high`, even in the logarithm.

    >>> even_targets(2, 32, 5)
    [2.0, 4.0, 8.0, 16.0, 32.0]
    """
    if not 0 < low < high or count < 2:
        raise ValueError(f"wanted 0 < low < high and 2 or more targets, got {low:g}, {high:g}, {count}")
    return [float(f"{v:.6g}") for v in np.geomspace(low, high, count)]


def gap_targets(table: pd.DataFrame, family: str, count: int) -> list[float]:
    """`count` L0s that fill the gaps of a family's frontier: the widest gap, in log L0, is least then.

    Raises
    ------
    ValueError
        If the family is unknown or has fewer than two L0s.
    """
    if "family" not in table or family not in set(table["family"]):
        known = sorted(map(str, set(table.get("family", pd.Series(dtype=object)))))
        raise ValueError(f"no family {family!r} in the table{nearest(family, known)}")
    l0 = table.loc[table["family"] == family, "l0"].to_numpy(float)
    found = np.unique(np.log(l0[np.isfinite(l0) & (l0 > 0)]))
    if len(found) < 2:
        raise ValueError(f"family {family} has {len(found)} L0s; gaps need two or more")
    parts = np.ones(len(found) - 1, dtype=int)
    for _ in range(count):
        parts[np.argmax(np.diff(found) / parts)] += 1
    inside = [np.linspace(a, b, n + 1)[1:-1] for a, b, n in zip(found, found[1:], parts, strict=False)]
    return [float(f"{v:.6g}") for v in np.exp(np.concatenate(inside))]


def planned_targets(plan: Any) -> dict[str, list[float]]:
    """L0s by family that a plan of `frontier.plan` proposes; several at one L0 are set 5 % apart.

    Raises
    ------
    ValueError
        If the plan is not about L0.
    """
    if plan.axis != "L0":
        raise ValueError(f"the plan is about {plan.axis}; targets are L0s")
    found: dict[str, list[float]] = {}
    for one in plan.additions:
        offsets = np.arange(one.count) - (one.count - 1) / 2
        found.setdefault(one.family, []).extend(float(f"{one.at * 1.05**o:.6g}") for o in offsets)
    return {k: sorted(v) for k, v in found.items()}


def with_targets(config: RunConfig, targets: Mapping[str, Sequence[float]]) -> RunConfig:
    """The configuration with these families alone, each aiming at its target L0s.

    Raises
    ------
    ValueError
        If a family is not in the configuration.
    """
    known = {f.called: f for f in config.families}
    for name in targets:
        if name not in known:
            raise ValueError(f"the configuration has no family {name!r}{nearest(name, known)}")
    kept = [changed(known[name], settings=None, target_l0=list(v)) for name, v in targets.items()]
    return with_families(config, kept)


def settled(
    config: RunConfig, folder: str | Path | None = None, *, progress: bool = True
) -> tuple[RunConfig, list[Sweep]]:
    """The configuration with settings in place of target L0s, and how they were found.

    TopK kinds and the target form of JumpReLU take the target itself (TopK the nearest whole number). For the
    others pilots are trained, all families on one stream, with the first seed, the first learning rate and
    the middle dictionary size.

    Parameters
    ----------
    folder : path, optional
        Gets `asked.toml`, the configuration as it is given, from which a killed pilot begins anew, and
        `sweep.json`: targets, settings and pilots.

    Raises
    ------
    SweepError
        If no setting reaches a target.
    """
    if not any(f.target_l0 for f in config.families):
        return config, []
    if folder is not None and ranks.is_first():
        write_config(stated(config), Path(folder) / ASKED)
    config = with_families(config, [one for f in config.families for one in _at_each_site(config, f)])
    asked = [f for f in config.families if f.target_l0 and not is_its_target(f)]
    pilots = pilots_of(config, asked, progress) if asked else {}
    sweeps = {}
    for section in config.families:
        if section.target_l0:
            sweeps[section.label] = _sweep(section, pilots.get(section.label))
    families = [
        changed(f, settings=list(dict.fromkeys(sweeps[n].settings)), target_l0=None) if n in sweeps else f
        for f in config.families
        for n in [f.label]
    ]
    if folder is not None and ranks.is_first():
        write_json(Path(folder) / "sweep.json", [s.to_dict() for s in sweeps.values()],
                   indent=2, allow_nan=True)  # fmt: skip
    return with_families(config, families), list(sweeps.values())


def is_its_target(section: FamilySection) -> bool:
    """Whether the family's setting is an L0 already."""
    return section.build(True).sparsity_name in ("k", "target_l0")


def _at_each_site(config: RunConfig, section: FamilySection) -> list[FamilySection]:
    """A family whose settings pilots must find, at each site by itself; any other as it is."""
    sites = family_sites(config, section)
    if len(sites) == 1 or not section.target_l0 or is_its_target(section):
        return [section]
    return [changed(section, sites=[site]) for site in sites]


def _sweep(section: FamilySection, pilots: pd.DataFrame | None) -> Sweep:
    name, targets = section.called, tuple(section.target_l0 or ())
    if pilots is None:
        whole = section.kind.whole_settings
        settings = tuple(float(max(1, round(t))) if whole else t for t in targets)
        none = pd.DataFrame(columns=["setting", "l0", "expected_l0"])
        return Sweep(name, targets, settings, none, section.sites)
    return Sweep(name, targets, tuple(settings_for(targets, pilots)), pilots, section.sites)
