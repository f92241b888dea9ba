"""SAEs by training: each round is a run in a folder of its own, and a ledger says what everything cost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from frontier.wording import plural
from frontier.writing import write_json
from trainers.config import RunConfig
from trainers.head_to_head.budget import Budget, VersusError, duration
from trainers.head_to_head.levelling import own_settings
from trainers.head_to_head.rounds import LEAST, Targets
from trainers.head_to_head.tuning import Tuned, finished
from trainers.pilots import changed, settings_for, with_families
from trainers.sweeps import is_its_target

LEDGER = "ledger.json"


class Ledger:
    """Seconds by stage, and per round the L0s that were aimed at and what the budget still held, on disk.

    A stage that was killed is not counted until it is finished.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER
        self.stages: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self.stages = json.loads(self.path.read_text(encoding="utf-8"))

    @property
    def seconds(self) -> float:
        """All that was spent."""
        return float(sum(s.get("seconds", 0.0) for s in self.stages.values()))

    @property
    def looked(self) -> bool:
        """Whether a round is finished, after which a look is made."""
        return "seconds" in self.stages.get("round 1", {})

    def note(self, stage: str, **facts: Any) -> None:
        """Add facts of a stage."""
        self.stages.setdefault(stage, {}).update(facts)
        write_json(self.path, self.stages, indent=1)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """The time inside, if the stage had none yet."""
        start = time.monotonic()
        yield
        if "seconds" not in self.stages.get(stage, {}):
            self.note(stage, seconds=round(time.monotonic() - start, 2))


class Trained:
    """A maker (`contest.Maker`) that trains; what is finished in its folder is read instead.

    Parameters
    ----------
    tuning : table of the tuned pilots, which say which setting gives which L0 at the chosen rate
    """

    def __init__(
        self, config: RunConfig, budget: Budget, rates: dict[str, Tuned], tuning: pd.DataFrame,
        folder: Path, progress: bool,
    ) -> None:  # fmt: skip
        self.config, self.budget, self.rates = config, budget, rates
        self.folder, self.progress, self.ledger = folder, progress, Ledger(folder)
        chosen = tuning["family"].map({n: t.chosen for n, t in rates.items()})
        self.known = tuning.loc[tuning["learning_rate"] == chosen, ["family", "sparsity_setting", "l0"]]
        self.pilots = len(tuning)
        self.made_so_far: list[Targets] = []

    def made(self, number: int, targets: Targets) -> pd.DataFrame:
        """The SAEs of a round, trained and measured."""
        stage = f"round {number}"
        targets = self.ledger.stages.get(stage, {}).get("targets", targets)
        self.ledger.note(stage, targets=targets)
        with self.ledger.timed(stage):
            table = finished(self._config(targets), self.folder / f"round_{number}", self.progress)
        self.made_so_far.append(targets)
        self.known = pd.concat([self.known, table[list(self.known)]], ignore_index=True)
        return table

    def affordable(self, trained: int) -> int:
        """SAEs that the budget still holds; what was once said of a round stays.

        Raises
        ------
        VersusError
            If pilots have spent a budget of time.
        """
        if self.budget.saes is not None:
            return self.budget.saes - trained
        stage = f"round {len(self.made_so_far)}" if self.made_so_far else "tuning"
        kept = self.ledger.stages[stage]
        if "affordable" in kept and (self.made_so_far or "round 1" in self.ledger.stages):
            return int(kept["affordable"])
        left = int((self._seconds() - self.ledger.seconds) / self._per_sae(trained))
        self.ledger.note(stage, affordable=left)
        families = len(self.config.families)
        if not self.made_so_far and left < LEAST * families:
            need = self.ledger.seconds + LEAST * families * self._per_sae(trained)
            raise VersusError(
                f"a budget of {self.budget} is too small: {plural(self.pilots, 'pilot')} took "
                f"{duration(self.ledger.seconds)}, and {LEAST} SAEs of each of {families} families need "
                f"{duration(need)} in all; give --budget {max(1, round(need / 60 * 2))}min, with the same "
                "--out it goes on from here"
            )
        return left

    def _seconds(self) -> float:
        return float(self.budget.seconds or 0.0)

    def _per_sae(self, trained: int) -> float:
        """Seconds of one SAE, by the rounds, or before them by the pilots of full length."""
        rounds = [s["seconds"] for n, s in self.ledger.stages.items() if n.startswith("round")]
        if rounds and trained:
            return float(sum(rounds)) / trained
        return max(float(self.ledger.stages["tuning"]["seconds"]), 1e-3) / max(self.pilots, 1)

    def _config(self, targets: Targets) -> RunConfig:
        """The run of a round: each SAE at the setting of its L0, with the next seed."""
        first = min(self.config.training.seeds) + 1 + sum(max(map(len, t.values())) for t in self.made_so_far)
        sections = {f.called: f for f in self.config.families}
        families = [
            changed(
                sections[name], target_l0=None, learning_rate=self.rates[name].chosen,
                settings=self._settings(name, l0s), seeds=list(range(first, first + len(l0s))),
            )
            for name, l0s in targets.items()
        ]  # fmt: skip
        training = self.config.training.model_copy(update={"seeds_in_turn": True})
        return with_families(self.config.model_copy(update={"training": training}), families)

    def _settings(self, name: str, l0s: Sequence[float]) -> list[float]:
        section = next(f for f in self.config.families if f.called == name)
        if is_its_target(section):
            return own_settings(section.kind.whole_settings, list(l0s))
        own = self.known[self.known["family"] == name].rename(columns={"sparsity_setting": "setting"})
        return settings_for(l0s, own)
