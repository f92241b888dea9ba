"""The same for all: sizes of equal width or equal cost, and one range of L0 that every family reaches."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from frontier.wording import number
from frontier.writing import write_json
from trainers.architectures.registry import origin
from trainers.config import RunConfig
from trainers.config_joint import family_sizes
from trainers.config_sizes import sized
from trainers.head_to_head.asking import ANY_TARGET, Question
from trainers.head_to_head.budget import VersusError
from trainers.head_to_head.pace import pace, pilots_to_come
from trainers.pilots import (
    BATCH_SHARE,
    COVERED,
    calibrated,
    changed,
    pilot_batch,
    searched,
    settings_for,
    with_families,
)  # fmt: skip
from trainers.run import Watch
from trainers.studies.equal_compute import as_dear
from trainers.sweeps import even_targets, is_its_target

SPAN = 4.0
"""The range is √width over this to √width times it, unless it is given."""
NARROWEST = 2.0
"""Ends of a range that can be compared over, one over the other, at least."""
PILOT_SETTINGS = 3
"""Settings at which each learning rate is tried."""


@dataclass(frozen=True)
class Level:
    """The common range of L0, and the settings that aim at `PILOT_SETTINGS` L0s in it, by family.

    Attributes
    ----------
    wanted : (low, high)
        The range before families narrowed it.
    pilots : dict of family to number of pilots; 0 where a setting is its L0
    """

    low: float
    high: float
    wanted: tuple[float, float]
    settings: dict[str, list[float]]
    pilots: dict[str, int]


def equal_sizes(question: Question, widths: tuple[int, int]) -> RunConfig:
    """The configuration with every size: equal width, or as many multiplications per token for all.

    A size that the candidate's file gives its family stands.
    """
    config = sized(question.config, widths[0])
    if question.equal == "width":
        return config
    architectures = {f.called: f.build(widths[0] == widths[1]) for f in config.families}
    (size,) = family_sizes(config, config.families[1]) or [0]
    sizes = as_dear(architectures, size, *widths)
    own = [f.dictionary_size or sizes[f.called] for f in config.families]
    return with_families(
        config, [changed(f, dictionary_size=n) for f, n in zip(config.families, own, strict=True)]
    )


def level(config: RunConfig, question: Question, width: int, folder: Path, progress: bool) -> Level:
    """The common range, from pilots of every family whose setting is no L0; kept in `pilots.json`.

    Raises
    ------
    VersusError
        If the families share no range that is wide enough.
    """
    path = folder / "pilots.json"
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Level(**kept | {"wanted": tuple(kept["wanted"])})
    wanted = _wanted(config, question, width)
    asked = [changed(f, settings=None, target_l0=list(_three(*wanted))) for f in config.families]
    need = [f for f in asked if not is_its_target(f)]
    found, missed = searched(config, need, progress, _watch(config, question)) if need else ({}, [])
    low, high = _reached(wanted, {f.called: found[f.called] for f in missed})
    targets = _three(low, high)
    need = [changed(f, target_l0=targets) for f in need]
    known = calibrated(config, need, found, progress) if need else {}
    settings = {
        f.called: settings_for(targets, known[f.called])
        if f.called in known
        else own_settings(f.kind.whole_settings, targets)
        for f in asked
    }
    pilots = {f.called: len(known.get(f.called, [])) for f in asked}
    write_json(path, {"low": low, "high": high, "wanted": wanted, "settings": settings, "pilots": pilots})
    return Level(low, high, wanted, settings, pilots)


def _watch(config: RunConfig, question: Question) -> Watch:
    """Over the small pilots: all pilots of full length and the first round come after them."""
    dearer = config.training.batch_size / pilot_batch(config, BATCH_SHARE)
    to_come = pilots_to_come(config, PILOT_SETTINGS, len(question.factors))
    return pace(question.budget, 0.0, len(config.families), to_come, dearer=dearer)


def own_settings(whole: bool, targets: list[float]) -> list[float]:
    """Settings of an architecture whose setting is its L0."""
    return [float(max(1, round(t))) if whole else t for t in targets]


def _three(low: float, high: float) -> list[float]:
    return even_targets(low, high, PILOT_SETTINGS)


def _wanted(config: RunConfig, question: Question, width: int) -> tuple[float, float]:
    """The range that was asked for, by the option or the candidate's file; else around √width."""
    smallest = min(min(family_sizes(config, f) or [width]) for f in config.families)
    given = config.families[0].target_l0 or ANY_TARGET
    if question.l0:
        return question.l0
    if min(given) < max(given):
        return min(given), max(given)
    high = min(SPAN * math.sqrt(width), smallest / 2)
    return max(1.0, round(math.sqrt(width) / SPAN, 2)), round(high, 2)


def _reached(wanted: tuple[float, float], short: dict[str, pd.DataFrame]) -> tuple[float, float]:
    """The part of a range that these families' pilots cover, who miss some of it."""
    low, high = wanted
    for pilots in short.values():
        l0 = pilots.loc[pilots["l0"] > 0, "l0"]
        low, high = max(low, l0.min() / COVERED), min(high, l0.max() * COVERED)
    if low * NARROWEST > high:
        reach = "; ".join(
            f"{name} has L0 {number(p['l0'].min())} to {number(p['l0'].max())}" for name, p in short.items()
        )
        raise VersusError(
            f"no common range of L0 inside {number(wanted[0])} to {number(wanted[1])}: by its pilots "
            f"{reach}; name a range with --l0 LOW,HIGH, or train for more steps"
        )
    return float(f"{low:.4g}"), float(f"{high:.4g}")


def is_own(name: str, config: RunConfig) -> bool:
    """Whether a family's architecture is a class of the user's."""
    return next(origin(f.kind) is not None for f in config.families if f.called == name)
