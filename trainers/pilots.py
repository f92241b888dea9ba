"""Pilots: a few members trained cheaply, to learn which sparsity setting gives which L0.

A pilot trains for all steps of the run, but on small batches: it is the number of optimiser steps that
decides an SAE's L0 much more than the size of its batches (docs/looking_inside.md has the measurement). What
is left of the batch's influence is taken off by members with batches four times as large, at the densest, the
middle and the sparsest target.

What larger batches change depends on the setting. By the L0 of SAEs at nine or ten settings and four batches
(mainly ReLU, Gated, p-annealing, JumpReLU), the rms of log(reached / target) is 0.06 and 0.05 on the shipped
model after 300 and 600 steps, 0.06 and 0.08 on synthetic activations. One larger member at the middle target,
its change taken for all settings: 0.16, 0.21, 0.13, 0.14. Two, at the ends: 0.07, 0.09, 0.15, 0.15. Three
with the whole batch, for 1.5 members of the run more: 0.04, 0.04, 0.05, 0.09. More windows of held-out
text than `PILOT_WINDOWS` gain nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from frontier.progress import reported
from frontier.wording import listed, number
from trainers import ranks
from trainers.activations import evaluation_windows
from trainers.config import FamilySection, RunConfig
from trainers.config_joint import family_sites
from trainers.config_sizes import located, sized
from trainers.run import Run, Watch, build_run
from trainers.text import TooShortError

PILOTS = 5
"""Settings of the first round, evenly spread in the logarithm."""
BATCH_SHARE = 1 / 8
"""Activations per step of a pilot, as a share of those of the run."""
SMALLEST_BATCH = 64
LARGER = 4
"""Batches of the calibrating pilots, over those of the others."""
PLACES = 3
"""Calibrating pilots of a family."""
ROUNDS = 4
"""Further rounds go where targets lie outside of what the pilots found."""
COVERED = 1.15
"""A target this factor outside of what the pilots found is near enough."""
PILOT_WINDOWS = 32
"""Windows of held-out text on which a pilot's L0 is counted."""


class SweepError(RuntimeError):
    """Targets that no setting reaches."""


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
    column = "expected_l0" if "expected_l0" in pilots else "l0"
    usable = pilots[(pilots[column] > 0) & np.isfinite(pilots[column])].sort_values("setting")
    smooth = isotonic_regression(np.log(usable[column].to_numpy(float)), increasing=False).x
    grouped = pd.Series(np.log(usable["setting"].to_numpy(float))).groupby(np.round(smooth, 9)).mean()
    if len(grouped) < 2:
        found = ", ".join(number(v) for v in pilots["l0"])
        raise SweepError(f"the pilots' L0 does not fall with the setting: {found or 'none trained'}")
    return grouped.index.to_numpy(float), grouped.to_numpy(float)


def pilots_of(config: RunConfig, asked: Sequence[FamilySection], progress: bool) -> dict[str, pd.DataFrame]:
    """Pilots of each family: columns `setting`, `l0` as counted, `expected_l0` of the full run.

    First `PILOTS` settings over the usual range, then more where targets lie beyond what these found, then
    some from the densest to the sparsest target with larger batches, which say how far small batches mislead.

    Raises
    ------
    SweepError
        If targets stay out of reach.
    """
    found, missed = searched(config, asked, progress)
    if missed:
        section = missed[0]
        raise SweepError(_out_of_reach(section, found[section.label]))
    return calibrated(config, asked, found, progress)


def searched(
    config: RunConfig, asked: Sequence[FamilySection], progress: bool, watch: Watch | None = None
) -> tuple[dict[str, pd.DataFrame], list[FamilySection]]:
    """Pilots of each family as they were counted, and the families whose targets they do not reach."""
    found: dict[str, pd.DataFrame] = {}
    wanted = {s.label: (s, first_settings(s)) for s in asked}
    for number_of_round in range(ROUNDS):
        plan = [changed(s, settings=v, target_l0=None, **_one(s, config)) for s, v in wanted.values()]
        what = f"pilot, round {number_of_round + 1}"
        small = pilot_config(config, plan, BATCH_SHARE)
        for name, new in trained(small, progress, what, config, watch).items():
            found[name] = pd.concat([found[name], new], ignore_index=True) if name in found else new
        more = {n: beyond(s.target_l0 or [], found[n]) for n, (s, _) in wanted.items()}
        wanted = {n: (s, more[n]) for n, (s, _) in wanted.items() if more[n]}
        if not wanted:
            break
    return found, [section for section, _ in wanted.values()]


def calibrated(
    config: RunConfig, asked: Sequence[FamilySection], found: dict[str, pd.DataFrame], progress: bool
) -> dict[str, pd.DataFrame]:
    """The pilots with `expected_l0`: log L0 is linear in 1/sqrt(batch size), at each setting by itself.

    Larger batches are tried at `places` from the densest to the sparsest target; between two of them the
    change of log L0 goes straight with log setting, beyond the last it is that of the last.
    """
    full, small = config.training.batch_size, pilot_batch(config, BATCH_SHARE)
    large = pilot_batch(config, min(1.0, LARGER * BATCH_SHARE))
    if large <= small:
        return {n: t.assign(expected_l0=t["l0"]) for n, t in found.items()}
    targets = {s.label: places(s.target_l0 or ()) for s in asked}
    at = {n: dict(zip(settings_for(l0, found[n]), l0, strict=True)) for n, l0 in targets.items()}
    plan = [changed(s, settings=list(at[s.label]), target_l0=None, **_one(s, config)) for s in asked]
    larger = pilot_config(config, plan, large / full)
    tried = trained(larger, progress, "pilot, large", config)
    reach = (small**-0.5 - full**-0.5) / (small**-0.5 - large**-0.5)
    return {n: corrected(t, tried[n], at[n], reach) for n, t in found.items()}


def corrected(
    pilots: pd.DataFrame, larger: pd.DataFrame, small_l0: dict[float, float], reach: float
) -> pd.DataFrame:
    """The pilots and those of larger batches, with `expected_l0`.

    Parameters
    ----------
    small_l0 : dict of float to float
        L0 with small batches at the settings of the larger ones.
    reach : float
        Change of log L0 from small batches to those of the run, over that to the larger ones.
    """
    fired = larger[larger["l0"] > 0].sort_values("setting")
    if fired.empty:
        return pilots.assign(expected_l0=pilots["l0"])
    before = fired["setting"].map(small_l0)
    change = reach * np.log(fired["l0"] / before)
    between = np.interp(np.log(pilots["setting"]), np.log(fired["setting"]), change)
    mine = pilots.assign(expected_l0=pilots["l0"] * np.exp(between))
    return pd.concat([mine, fired.assign(expected_l0=before * np.exp(change))], ignore_index=True)


def places(targets: Sequence[float]) -> list[float]:
    """L0s at which larger batches are tried, even in the logarithm; no more than there are targets."""
    count = min(PLACES, len(set(targets)))
    low, high = min(targets), max(targets)
    return [*map(float, np.geomspace(low, high, count))] if count > 1 else [low]


def _out_of_reach(section: FamilySection, pilots: pd.DataFrame) -> str:
    settings, (l0, _) = pilots["setting"], falling(pilots)
    low, high, least, most = math.exp(l0[0]), math.exp(l0[-1]), settings.min(), settings.max()
    out = [t for t in section.target_l0 or [] if t * COVERED < low or t / COVERED > high]
    return (
        f"family {section.label}: target_l0 {listed([*map(number, out)])} {'is' if len(out) == 1 else 'are'} "
        f"out of reach; pilots with settings {number(least)} to {number(most)} have L0 {number(low)} to "
        f"{number(high)}. Take targets inside that range, or train for more steps"
    )


def beyond(targets: Sequence[float], pilots: pd.DataFrame) -> list[float]:
    """Settings that would widen the pilots' range of L0 to the targets; none where they lie inside.

    The slope is that of the end, but a step changes the setting by a factor of 1.5 to 10.
    """
    x, y = falling(pilots)
    found = []
    ends = (
        (min(targets) * COVERED, x[0], x[1], y[0], y[1], 1),
        (max(targets) / COVERED, x[-1], x[-2], y[-1], y[-2], -1),
    )
    for edge, end, inner, place, next_place, direction in ends:
        missing = (end - math.log(edge)) * direction  # how far the target lies outside, in log L0
        if missing > 0:
            slope = abs((place - next_place) / (end - inner))
            step = min(max((missing + math.log(COVERED)) * slope * 1.2, math.log(1.5)), math.log(10))
            found.append(float(f"{math.exp(place + direction * step):.6g}"))
    return found


def pilot_batch(config: RunConfig, share: float) -> int:
    """Activations per step of a pilot."""
    batch = config.training.batch_size
    return min(batch, max(SMALLEST_BATCH, round(batch * share)))


def pilot_config(config: RunConfig, sections: Sequence[FamilySection], share: float) -> RunConfig:
    """The run of the pilots: these families, all steps, a share of the batch, no more text than that uses."""
    batch, tokens = pilot_batch(config, share), config.activations.tokens
    needed = batch * max(config.training.steps, 2)
    small = config.model_copy(
        update={
            "training": config.training.model_copy(update={"batch_size": batch}),
            "activations": config.activations.model_copy(
                update={"tokens": needed if tokens == "all" else min(tokens, needed)}
            ),
        }
    )
    return with_families(small, sections)


def first_settings(section: FamilySection) -> list[float]:
    """The usual range of the architecture, evenly in the logarithm."""
    usual = section.kind.sweep
    return [float(f"{v:.6g}") for v in np.geomspace(min(usual), max(usual), PILOTS)]


def _one(section: FamilySection, config: RunConfig) -> dict[str, Any]:
    """One seed, one learning rate and the middle size of a family that has several."""
    rates = section.learning_rate or config.training.learning_rate
    said = section if section.expansion or section.dictionary_size else config.training
    return {
        "expansion": _middle(said.expansion),
        "dictionary_size": _middle(said.dictionary_size),
        "learning_rate": rates[0] if isinstance(rates, list) else rates,
        "seeds": (section.seeds or config.training.seeds)[:1],
    }


def _middle(given: Any) -> Any:
    """The middle one of a list."""
    return sorted(given)[len(given) // 2] if isinstance(given, list) else given


def trained(
    config: RunConfig, progress: bool, what: str, asked: RunConfig, watch: Watch | None = None
) -> dict[str, pd.DataFrame]:
    """Train the pilots of the run `asked`; columns `setting` and `l0` by family, on all processes.

    Where the run takes all of its text, there may be less of it than the pilots ask for.

    Raises
    ------
    ConfigError
        Before the first step, if the run asks for more L0 than a dictionary has latents.
    """
    shown = progress and ranks.is_first()
    try:
        run = build_run(config, progress=shown)
    except TooShortError:
        if asked.activations.tokens != "all":
            raise
        every = config.activations.model_copy(update={"tokens": "all"})
        run = build_run(config.model_copy(update={"activations": every}), progress=shown)
    named = located(asked, run.model)
    sized(named, {site: run.model.site(site).width for site in named.activations.places})
    with reported(shown, what, config.training.steps) as done:
        while run.step < config.training.steps:
            batches = run.stream.batches()
            for family, engine in zip(run.families, run.engines, strict=True):
                engine.step(batches[family.site], run.step)
            run.step += 1
            done(run.step)
            if watch:
                watch(run)
    rows = [row for part in _gathered(_l0_of(run, config)) for row in part]
    table = pd.DataFrame(rows, columns=["family", "setting", "l0"])
    names = [f.label for f in config.families]
    lost = sorted(set(names) - set(table["family"]))
    if lost:
        raise SweepError(f"every pilot of {', '.join(lost)} diverged; lower training.learning_rate")
    return {n: table.loc[table["family"] == n, ["setting", "l0"]].reset_index(drop=True) for n in names}


@torch.no_grad()
def _l0_of(run: Run, config: RunConfig) -> list[tuple[str, float, float]]:
    """Family, setting and L0 on held-out text of every member of this process."""
    given, model, sites = run.config.evaluation, run.model, run.stream.sites
    windows = min(PILOT_WINDOWS, given.windows)
    length = run.config.activations.context_length
    tokens, _ = evaluation_windows(model, run.config.evaluation_text, windows, length, progress=False)
    saes = [s.to(model.device) for s in run.saes()]
    fired, count = np.zeros(len(saes)), 0
    for batch in tokens.split(given.batch_size):
        batch = batch.to(model.device)
        counted = model.counted(batch)
        x = {site: rows[counted].float() for site, rows in model.capture(batch, sites).items()}
        fired += [float((sae.encode(x[sae.identity["site"]]) != 0).sum()) for sae in saes]
        count += int(counted.sum())
    labels = {
        (f.called, model.site(site).name): asked.label
        for asked, f in zip(config.families, run.config.families, strict=True)
        for site in family_sites(run.config, f)
    }
    whole = [float(s.shards.total(torch.tensor(n))) for s, n in zip(saes, fired, strict=True)]
    return [
        (labels[s.identity["family"], s.identity["site"]], float(s.identity["sparsity_setting"]), n / count)
        for s, n in zip(saes, whole, strict=True)
        if s.shards.rank == 0
    ]


def _gathered(mine: list[Any]) -> list[list[Any]]:
    """The lists of all processes."""
    if ranks.world_size() == 1:
        return [mine]
    found: list[Any] = [None] * ranks.world_size()
    torch.distributed.all_gather_object(found, mine)
    return found


def changed(section: FamilySection, **fields: Any) -> FamilySection:
    """The section with other values, checked again."""
    return FamilySection.model_validate(section.model_dump() | fields)


def with_families(config: RunConfig, families: Sequence[FamilySection]) -> RunConfig:
    """The configuration with these families, checked again."""
    return RunConfig.model_validate(config.model_dump() | {"families": [f.model_dump() for f in families]})
