"""What is asked: a candidate, its rivals, a budget, and the run that all of them share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from frontier.wording import listed
from frontier.writing import write_json
from trainers.config import RunConfig, apply_change, checked, read_content
from trainers.config_paths import find_own_code
from trainers.config_values import listed as as_list
from trainers.head_to_head.budget import Budget, VersusError
from trainers.head_to_head.rounds import LEAST

FACTORS = (1 / 3, 1.0, 3.0)
"""Learning rates that are tried, over each architecture's own default."""
FILE = "versus.json"
ANY_TARGET = [1.0]
"""Stands in the sections until the common range is known."""
Equal = Literal["width", "products"]


@dataclass(frozen=True)
class Question:
    """A head to head as it was asked; `config` has the candidate's section first, then the rivals'.

    Attributes
    ----------
    equal : "width" or "products"
        What is equal: latents, or multiplications per token.
    factors : tuple of float
        Learning rates that are tried, over each family's default.
    l0 : (low, high) or None
        The range that is wanted; None: from the width.
    """

    config: RunConfig
    budget: Budget
    equal: Equal
    factors: tuple[float, ...]
    l0: tuple[float, float] | None
    looks: int

    @property
    def candidate(self) -> str:
        """The candidate's family."""
        return self.config.families[0].called

    @property
    def rivals(self) -> tuple[str, ...]:
        """The families that it is held against."""
        return tuple(f.called for f in self.config.families[1:])

    def record(self) -> dict[str, Any]:
        """Plain values, by which a run that goes on is recognised."""
        return {
            "config": self.config.model_dump(mode="json"), "equal": self.equal,
            "factors": list(self.factors), "l0": list(self.l0) if self.l0 else None, "looks": self.looks,
            "budget": {"saes": self.budget.saes, "seconds": self.budget.seconds},
        }  # fmt: skip


def asked(
    candidate: str | Path, against: Sequence[str], budget: Budget, *, equal: Equal = "width",
    factors: Sequence[float] = FACTORS, l0: tuple[float, float] | None = None, looks: int = 3,
    changes: Sequence[str] = (),
) -> Question:  # fmt: skip
    """The question of a user's words.

    Raises
    ------
    VersusError, ConfigError
        If a part of it cannot be used.
    """
    content = _content(str(candidate), changes)
    family = content["families"][0]
    rivals = [{"architecture": name} for name in against]
    sections = [{k: v for k, v in f.items() if k != "settings"} | _aim(f) for f in (family, *rivals)]
    if not rivals:
        raise VersusError("name at least one rival: --against relu,batch_topk")
    if equal not in ("width", "products"):
        raise VersusError(f"equal must be width or products, got {equal!r}")
    if not factors or min(factors) <= 0:
        raise VersusError(f"the factors of the learning rates must be above 0, got {list(factors)}")
    if l0 is not None and not 0 < l0[0] < l0[1]:
        raise VersusError(f"the range of L0 must be two numbers above 0, the smaller first, got {list(l0)}")
    if looks < 1:
        raise VersusError(f"wanted 1 look or more, got {looks}")
    config = checked(content | {"families": sections}, str(candidate))
    _one_of_each(config)
    least = LEAST * len(config.families)
    if budget.saes is not None and budget.saes < least:
        raise VersusError(
            f"a budget of {budget} is too small: {len(config.families)} families need {least} SAEs, "
            f"{LEAST} each (--saes {least})"
        )
    return Question(config, budget, equal, tuple(sorted(factors)), l0, looks)


def _content(candidate: str, changes: Sequence[str]) -> dict[str, Any]:
    """The plain values of the candidate's file, or those of an architecture with the defaults."""
    if candidate.endswith(".toml"):
        path = Path(candidate)
        content = read_content(path)
        families = content.get("families")
        if not isinstance(families, list) or len(families) != 1:
            found = len(families) if isinstance(families, list) else 0
            raise VersusError(f"{path} must have one [[families]], the candidate; found {found}")
        find_own_code(content, path.parent)
    else:
        content = {"families": [{"architecture": candidate}]}
    for change in changes:
        apply_change(content, change)
    return content


def _aim(family: dict[str, Any]) -> dict[str, Any]:
    """Settings are chosen here, whatever a file says."""
    return {} if family.get("target_l0") else {"target_l0": ANY_TARGET}


def _one_of_each(config: RunConfig) -> None:
    """Nothing, if no size or rate is a list and there is one site: these would be several families."""
    if config.activations.places[1:]:
        raise VersusError(
            f"activations.sites has {listed(config.activations.places)}; a head to head is at one site: "
            "--set activations.site=... names it"
        )
    for name, section in (("training", config.training), *((f.called, f) for f in config.families)):
        for field in ("expansion", "dictionary_size", "learning_rate"):
            if len(as_list(getattr(section, field))) > 1:
                raise VersusError(
                    f"{name}: {field} is a list, {listed(getattr(section, field))}; a head to head has one, "
                    "and tunes the learning rate around it"
                )


def recall(question: Question, folder: Path, looked: bool) -> None:
    """Write the question to the folder, or see that it is the one that was asked there.

    A budget may change as long as no look was made (after one it is part of the error rate), and all else as
    long as the folder holds nothing but a question.

    Raises
    ------
    VersusError
        If the folder holds another head to head.
    """
    path, now = folder / FILE, question.record()
    others = [p.name for p in folder.iterdir() if p.name not in (".lock", FILE)]
    if path.exists() and others:
        was = json.loads(path.read_text(encoding="utf-8"))
        differs = [k for k in now if was.get(k) != json.loads(json.dumps(now))[k]]
        if differs == ["budget"] and not looked:
            differs = []
        if differs == ["budget"]:
            raise VersusError(
                f"{folder} has looked at its SAEs under a budget of {Budget(**was['budget'])}, on which its "
                "error rate rests; go on with that one, or ask again with another --out"
            )
        if differs:
            raise VersusError(
                f"{folder} holds another head to head: {listed(differs)} differ; name another --out, or "
                f"delete {folder}"
            )
    elif others:
        raise VersusError(f"{folder} is not empty and holds no head to head; name another --out")
    write_json(path, now, indent=1)
