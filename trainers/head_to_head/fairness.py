"""The fairness table: what was equal, what was tuned and over which grid, what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from frontier.results import Result
from frontier.views import View
from frontier.wording import listed, number, plural
from trainers.architectures import Architecture, Gated, HierarchicalTopK, options
from trainers.config import RunConfig
from trainers.config_sections import FamilySection
from trainers.head_to_head.levelling import PILOT_SETTINGS, Level, is_own
from trainers.head_to_head.tuning import Tuned, rates_in_words
from trainers.sae_files import load_sae
from trainers.studies.equal_compute import multiplications

SAME = "="
"""In the place of a value that is the first family's."""


@dataclass(frozen=True)
class Fact:
    """One line: what it is about, whether it is equal, tuned or differs, and each family's value."""

    what: str
    how: str
    values: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Fairness(Result):
    """What was equal, what was tuned, what differs between the families of a head to head.

    Attributes
    ----------
    families : tuple of str
        The candidate first.
    facts : tuple of Fact
    remarks : tuple of str
        What a reader should know before believing it: edges of grids, costs that were guessed.
    """

    families: tuple[str, ...]
    facts: tuple[Fact, ...]
    remarks: tuple[str, ...] = ()

    def to_frame(self, backend: str = "pandas") -> Any:
        """One row per fact: `what`, `how`, then a column for each family."""
        from frontier.metrics import give_back

        rows = [{"what": f.what, "how": f.how, **dict(zip(self.families, f.values, strict=True))}
                for f in self.facts]  # fmt: skip
        return give_back(pd.DataFrame(rows), backend)

    def _view(self) -> View:
        rows = []
        for f in self.facts:
            same = len(set(f.values)) == 1
            rows.append((f.what, f.how, f.values[0], *(SAME if same else v for v in f.values[1:])))
        return View("Fairness", ("what", "is", *self.families), tuple(rows), self.remarks)


def fairness(
    config: RunConfig, level: Level, rates: dict[str, Tuned], table: pd.DataFrame, folder: Path,
    widths: tuple[int, int],
) -> Fairness:  # fmt: skip
    """The table of a finished head to head, from its configuration and its SAEs.

    Parameters
    ----------
    config : with every size written out
    widths : (d_in, d_out)
    """
    own = {f.called: table[table["family"] == f.called] for f in config.families}
    architectures = [f.build(widths[0] == widths[1]) for f in config.families]

    several = any(len(t.rates) > 1 for t in rates.values())

    def each(what: str, value: Callable[[FamilySection], str], tuned: bool = False) -> Fact:
        values = tuple(value(f) for f in config.families)
        return Fact(
            what, "tuned" if tuned and several else "equal" if len(set(values)) == 1 else "differs", values
        )

    def alike(what: str, value: str) -> Fact:
        return Fact(what, "equal", (value,) * len(config.families))

    sizes = {f.called: int(f.dictionary_size or config.training.dictionary_size) for f in config.families}  # type: ignore[arg-type]
    costs = {
        f.called: _cost(a, sizes[f.called], widths)
        for f, a in zip(config.families, architectures, strict=True)
    }
    facts = (
        *_shared(config, table, alike),
        alike("range of L0", f"{number(level.low)} to {number(level.high)}"),
        each("latents", lambda f: f"{sizes[f.called]:,}"),
        each("multiplications per token", lambda f: costs[f.called]),
        each("trained numbers", lambda f: _parameters(own[f.called], folder)),
        each("learning rates tried", lambda f: rates_in_words(rates[f.called]), tuned=True),
        each("L0 of the chosen over each", lambda f: _over(rates[f.called]) if several else "", tuned=True),
        each("pilots for that", lambda f: f"{rates[f.called].pilots}"),
        each("small pilots for the range", lambda f: str(level.pilots.get(f.called, 0) or "none: set by L0")),
        each("Adam's betas", lambda f: "{:g}, {:g}".format(*f.build(True).betas)),
        each("options", lambda f: listed([f"{k} = {v}" for k, v in options(f.build(True)).items()]) or "–"),
        each("SAEs", lambda f: str(len(own[f.called]))),
        each("alive latents, median", lambda f: _alive(own[f.called])),
    )
    return Fairness(
        tuple(own), tuple(f for f in facts if any(f.values)), tuple(_remarks(config, level, rates))
    )


def _shared(config: RunConfig, table: pd.DataFrame, alike: Callable[[str, str], Fact]) -> Iterator[Fact]:
    """What all families had; where and on what they were measured is what their rows say."""
    t, a = config.training, config.activations
    measured = {
        c: listed(list(table[c].dropna().astype(str).unique()))
        for c in ("site", "layer", "model", "protocol")
    }
    site = ", layer ".join(filter(None, (measured["site"], measured["layer"])))
    yield alike("site", f"{site} of {measured['model']}")
    if a.target_site:
        yield alike("target site", a.target_site)
    source = a.files or a.text
    what = "activations" if a.files else "text"
    yield alike(f"{what}, in one order", source if isinstance(source, str) else listed(source, 2))
    yield alike("rows" if a.files else "tokens", "all" if a.tokens == "all" else f"{a.tokens:,}")
    yield alike("steps × batch", f"{t.steps:,} × {t.batch_size:,}")
    yield alike("warm-up, decay, sparsity's", f"{t.warmup:g}, {t.decay:g}, {t.sparsity_warmup:g}")
    yield alike("norm of gradients", f"at most {t.clip:g}")
    yield alike("seeds", "one per SAE")
    yield alike("measured on", measured["protocol"])


def _cost(architecture: Architecture, size: int, widths: tuple[int, int]) -> str:
    """Multiplications per token in the forward pass of training."""
    try:
        return f"{multiplications(architecture, size, *widths):,}"
    except ValueError:
        return "depends on L0"


def _parameters(own: pd.DataFrame, folder: Path) -> str:
    """Trained numbers of one SAE of the family."""
    names = set(map(str, own["run_id"]))
    found = next((p for p in sorted(folder.glob("round_*/saes/*")) if p.name in names), None)
    if found is None:
        return ""
    tensors = load_sae(found).parameters.values()  # a k and a threshold are no trained numbers
    return f"{sum(v.numel() for v in tensors if v.is_floating_point() and v.dim()):,}"


def _over(tuned: Tuned) -> str:
    return ", ".join("–" if v != v else f"{v:.2f}" for v in tuned.over_chosen)


def _alive(own: pd.DataFrame) -> str:
    return f"{100 * own['alive_fraction'].median():.0f} %" if "alive_fraction" in own and len(own) else ""


def _remarks(config: RunConfig, level: Level, rates: dict[str, Tuned]) -> Iterator[str]:
    grid = len(next(iter(rates.values())).rates)
    if grid > 1:
        yield (
            f"Learning rates: {grid} for each family around its default, {PILOT_SETTINGS} full SAEs "
            "at each; * is the one of least L0 at equal hit. These pilots are not compared."
        )
    else:
        yield "Learning rates were not tuned: each family has one."
    edges = [name for name, t in rates.items() if t.edge]
    for name in edges:
        end = "largest" if rates[name].chosen == rates[name].rates[-1] else "smallest"
        yield f"{name}: the {end} learning rate of its grid was chosen; one beyond it may be better."
    for name, t in rates.items():
        if lost := [number(r) for r, v in zip(t.rates, t.over_chosen, strict=True) if v != v]:
            yield f"{name}: pilots diverged at {plural(len(lost), 'rate')} ({listed(lost)})."
    if whole := [f.called for f in config.families if issubclass(f.kind, HierarchicalTopK)]:
        yield f"{listed(whole)}: each SAE is compared at its largest k alone."
    if (level.low, level.high) != level.wanted:
        low, high = map(number, level.wanted)
        yield f"The range of L0 was to be {low} to {high}; it is what every family's pilots reach."
    guessed = [
        f.called for f in config.families if is_own(f.called, config) and not issubclass(f.kind, Gated)
    ]
    if guessed:
        yield f"Multiplications of {listed(guessed)}: counted as one encoder and one decoder product."
