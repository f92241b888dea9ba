"""Sweeps placed by the L0 that is wanted: a cheap pilot learns which setting gives which L0.

A pilot trains members at a few settings for all steps of the run but on small batches: it is the number of
optimiser steps that decides an SAE's L0, not the size of its batches (measured in docs/looking_inside.md; a
pilot of a quarter of the steps is off by a factor of 1.4 to 2, one of a sixteenth of the batch by 1.2).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from frontier._format import nearest, number
from trainers import ranks
from trainers.activations import evaluation_windows
from trainers.activations.progress import reported
from trainers.architectures import ARCHITECTURES
from trainers.config import FamilySection, RunConfig
from trainers.recipes import SWEEPS
from trainers.run import Run, build_run

PILOTS = 5
"""Settings of the first round, evenly spread in the logarithm."""
BATCH_SHARE = 1 / 8
"""Activations per step of a pilot, as a share of those of the run."""
SMALLEST_BATCH = 64
ROUNDS = 4
"""Further rounds go where targets lie outside of what the pilots found."""
COVERED = 1.15
"""A target this factor outside of what the pilots found is near enough."""
PILOT_WINDOWS = 32
"""Windows of held-out text on which a pilot's L0 is counted."""


class SweepError(RuntimeError):
    """Targets that no setting reaches."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """Settings that aim at target L0s, and the pilots that they come from.

    Attributes
    ----------
    family : str
    targets, settings : tuple of float
        In the same order.
    pilots : DataFrame
        `setting` and `l0` of every pilot; empty where the setting is the target.
    """

    family: str
    targets: tuple[float, ...]
    settings: tuple[float, ...]
    pilots: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "family": self.family, "target_l0": list(self.targets), "settings": list(self.settings),
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
    known = {f.name or f.architecture: f for f in config.families}
    for name in targets:
        if name not in known:
            raise ValueError(f"the configuration has no family {name!r}{nearest(name, known)}")
    kept = [_changed(known[name], settings=None, target_l0=list(v)) for name, v in targets.items()]
    return _with_families(config, kept)


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
        Gets `sweep.json`: targets, settings and pilots.

    Raises
    ------
    SweepError
        If no setting reaches a target.
    """
    if not any(f.target_l0 for f in config.families):
        return config, []
    asked = [f for f in config.families if f.target_l0 and not is_its_target(f)]
    pilots = _pilots(config, asked, progress) if asked else {}
    sweeps = {}
    for section in config.families:
        name = section.name or section.architecture
        if section.target_l0:
            sweeps[name] = _sweep(name, section, pilots.get(name))
    families = [
        _changed(f, settings=list(dict.fromkeys(sweeps[n].settings)), target_l0=None) if n in sweeps else f
        for f in config.families
        for n in [f.name or f.architecture]
    ]
    if folder is not None and ranks.is_first():
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps([s.to_dict() for s in sweeps.values()], indent=2)
        (Path(folder) / "sweep.json").write_text(text + "\n", encoding="utf-8")
    return _with_families(config, families), list(sweeps.values())


def is_its_target(section: FamilySection) -> bool:
    """Whether the family's setting is an L0 already."""
    kind = ARCHITECTURES[section.architecture]
    return kind.setting_name == "k" or section.options.get("penalty") == "target"


def _sweep(name: str, section: FamilySection, pilots: pd.DataFrame | None) -> Sweep:
    targets = tuple(section.target_l0 or ())
    if pilots is None:
        whole = section.architecture == "topk"
        settings = tuple(float(max(1, round(t))) if whole else t for t in targets)
        return Sweep(name, targets, settings, pd.DataFrame(columns=["setting", "l0"]))
    return Sweep(name, targets, tuple(settings_for(targets, pilots)), pilots)


def settings_for(targets: Sequence[float], pilots: pd.DataFrame) -> list[float]:
    """Settings whose L0, by the pilots, is the target.

    log L0 falls with log setting: noise against that is smoothed away (isotonic regression), a monotone cubic
    goes through the rest, straight lines beyond its ends.

    >>> pilots = pd.DataFrame({"setting": [1.0, 2.0, 4.0], "l0": [32.0, 16.0, 8.0]})
    >>> settings_for([64, 16, 11.3137], pilots)
    [0.5, 2.0, 2.82843]
    """
    x, y = falling(pilots)
    inside = PchipInterpolator(x, y) if len(x) > 2 else lambda at: np.interp(at, x, y)
    found = []
    for at in np.log(np.asarray(targets, dtype=float)):
        if at < x[0]:
            value = y[0] + (at - x[0]) * (y[1] - y[0]) / (x[1] - x[0])
        elif at > x[-1]:
            value = y[-1] + (at - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])
        else:
            value = float(inside(at))
        found.append(float(f"{math.exp(value):.6g}"))
    return found


def falling(pilots: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Log L0, rising, and the log setting at each.

    Raises
    ------
    SweepError
        If the L0 does not fall with the setting.
    """
    usable = pilots[(pilots["l0"] > 0) & np.isfinite(pilots["l0"])].sort_values("setting")
    smooth = isotonic_regression(np.log(usable["l0"].to_numpy(float)), increasing=False).x
    grouped = pd.Series(np.log(usable["setting"].to_numpy(float))).groupby(np.round(smooth, 9)).mean()
    if len(grouped) < 2:
        found = ", ".join(number(v) for v in pilots["l0"])
        raise SweepError(f"the pilots' L0 does not fall with the setting: {found or 'none trained'}")
    return grouped.index.to_numpy(float), grouped.to_numpy(float)


def _pilots(
    config: RunConfig, asked: Sequence[FamilySection], progress: bool
) -> dict[str, pd.DataFrame]:
    """Pilots of each family, in rounds until the targets lie inside of what they found."""
    found: dict[str, pd.DataFrame] = {}
    wanted = {s.name or s.architecture: (s, _first_settings(s)) for s in asked}
    for number_of_round in range(ROUNDS):
        sections = [_changed(s, settings=v, target_l0=None, **_one(s, config)) for s, v in wanted.values()]
        for name, new in _trained(pilot_config(config, sections), progress, number_of_round).items():
            found[name] = pd.concat([found[name], new], ignore_index=True) if name in found else new
        more = {n: beyond(s.target_l0 or [], found[n]) for n, (s, _) in wanted.items()}
        wanted = {n: (s, more[n]) for n, (s, _) in wanted.items() if more[n]}
        if not wanted:
            return found
    name, (section, _) = next(iter(wanted.items()))
    l0, settings = found[name]["l0"], found[name]["setting"]
    raise SweepError(
        f"family {name}: target_l0 {number(min(section.target_l0 or []))} to "
        f"{number(max(section.target_l0 or []))} is out of reach; pilots with settings {number(settings.min())} "
        f"to {number(settings.max())} have L0 {number(l0.min())} to {number(l0.max())}"
    )


def beyond(targets: Sequence[float], pilots: pd.DataFrame) -> list[float]:
    """Settings that would widen the pilots' range of L0 to the targets; none where they lie inside.

    The slope is that of the end, but a step changes the setting by a factor of 1.5 to 10.
    """
    x, y = falling(pilots)
    found = []
    ends = ((min(targets) * COVERED, x[0], x[1], y[0], y[1], 1), (max(targets) / COVERED, x[-1], x[-2], y[-1], y[-2], -1))
    for edge, end, inner, place, next_place, direction in ends:
        missing = (end - math.log(edge)) * direction  # how far the target lies outside, in log L0
        if missing > 0:
            slope = abs((place - next_place) / (end - inner))
            step = min(max((missing + math.log(COVERED)) * slope * 1.2, math.log(1.5)), math.log(10))
            found.append(float(f"{math.exp(place + direction * step):.6g}"))
    return found


def pilot_config(config: RunConfig, sections: Sequence[FamilySection]) -> RunConfig:
    """The run of the pilots: these families, all steps, small batches, no more text than they use."""
    training = config.training
    batch = min(training.batch_size, max(SMALLEST_BATCH, round(training.batch_size * BATCH_SHARE)))
    needed = max(batch * training.steps, 2 * batch)
    tokens = config.activations.tokens
    small = config.model_copy(
        update={
            "training": training.model_copy(update={"batch_size": batch, "seeds": training.seeds[:1]}),
            "activations": config.activations.model_copy(
                update={"tokens": needed if tokens is None else min(tokens, needed)}
            ),
        }
    )
    return _with_families(small, sections)


def _first_settings(section: FamilySection) -> list[float]:
    known = SWEEPS[section.architecture]
    return [float(f"{v:.6g}") for v in np.geomspace(min(known), max(known), PILOTS)]


def _one(section: FamilySection, config: RunConfig) -> dict[str, Any]:
    """One seed, one learning rate and the middle size of a family that has several."""
    sizes, rates = section.dictionary_size or config.training.dictionary_size, section.learning_rate
    rates = rates or config.training.learning_rate
    return {
        "dictionary_size": sorted(sizes)[len(sizes) // 2] if isinstance(sizes, list) else sizes,
        "learning_rate": rates[0] if isinstance(rates, list) else rates,
        "seeds": (section.seeds or config.training.seeds)[:1],
    }


def _trained(config: RunConfig, progress: bool, number_of_round: int) -> dict[str, pd.DataFrame]:
    """Train the pilots; their settings and L0 by family, on all processes."""
    run = build_run(config, progress=progress and ranks.is_first())
    shown = progress and ranks.is_first()
    with reported(shown, f"pilot, round {number_of_round + 1}", config.training.steps) as done:
        while run.step < config.training.steps:
            batch = next(run.stream)
            for engine in run.engines:
                engine.step(batch, run.step)
            run.step += 1
            done(run.step)
    rows = [row for part in _gathered(_l0_of(run)) for row in part]
    table = pd.DataFrame(rows, columns=["family", "setting", "l0"])
    names = [f.name or f.architecture for f in config.families]
    return {n: table.loc[table["family"] == n, ["setting", "l0"]].reset_index(drop=True) for n in names}


@torch.no_grad()
def _l0_of(run: Run) -> list[tuple[str, float, float]]:
    """Family, setting and L0 on held-out text of every member of this process."""
    given, site, model = run.config.evaluation, run.config.activations.site, run.model
    windows = min(PILOT_WINDOWS, given.windows)
    length = run.config.activations.context_length
    tokens, _ = evaluation_windows(model, given.text, windows, length, progress=False)
    saes = [s.to(model.device) for s in run.saes()]
    fired, count = np.zeros(len(saes)), 0
    for batch in tokens.split(given.batch_size):
        batch = batch.to(model.device)
        x = model.capture(batch, [site])[site][model.counted(batch)].float()
        fired += [float((sae.encode(x) != 0).sum()) for sae in saes]
        count += len(x)
    identities = [s.identity for s in saes]
    return [
        (str(i["family"]), float(i["sparsity_setting"]), float(n / count))
        for i, n in zip(identities, fired, strict=True)
    ]


def _gathered(mine: list[Any]) -> list[list[Any]]:
    """The lists of all processes."""
    if ranks.world_size() == 1:
        return [mine]
    found: list[Any] = [None] * ranks.world_size()
    torch.distributed.all_gather_object(found, mine)
    return found


def _changed(section: FamilySection, **fields: Any) -> FamilySection:
    return FamilySection.model_validate(section.model_dump() | fields)


def _with_families(config: RunConfig, families: Sequence[FamilySection]) -> RunConfig:
    """The configuration with these families, checked again."""
    return RunConfig.model_validate(config.model_dump() | {"families": [f.model_dump() for f in families]})
