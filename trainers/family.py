"""A family: members of one recipe, stored in one set of tensors, all trained on the same batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainers.activations import Scaling
from trainers.architectures import Architecture, Parameters, options
from trainers.config_values import check_shares
from trainers.sae import SAE

ALIGNED = 16
"""Numbers in 64 bytes."""


@dataclass(frozen=True)
class Member:
    """One SAE of a family: what may differ between its members."""

    run_id: str
    setting: float
    """λ, k or target L0."""
    seed: int
    learning_rate: float


class Source(NamedTuple):
    """What a member started from: the run_id of an SAE, a digest of its weights, its training tokens."""

    parent: str
    digest: str
    tokens: int | None = None


class Family:
    """Members of one architecture and one size, in stacked tensors.

    Attributes
    ----------
    parameters : dict of str to Tensor [M, ...]
        What gradients train.
    state : dict of str to Tensor [M, ...]
        What a step changes without a gradient.
    leaves : list of dict of str to Tensor [...]
        Each member's part of `parameters`: views, trained in place.
    sources : dict of str to Source
        By run_id, what members started from that did not start anew.
    diverged : dict of int to int
        Members that met a value that is not finite, and the step; they stay as they were before it.
    speaks : bool
        Whether this process says how its members do.
    """

    speaks = True

    def __init__(
        self, name: str, architecture: Architecture, members: Sequence[Member], *,
        d_in: int, d_out: int, dictionary_size: int, scaling: Scaling, device: Any = "cpu",
        identity: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        names = [m.run_id for m in members]
        if len(set(names)) < len(names):
            twice = sorted({n for n in names if names.count(n) > 1})
            raise ValueError(f"family {name}: run_id {', '.join(twice)} names several members")
        self.name, self.architecture, self.members = name, architecture, tuple(members)
        self.d_in, self.d_out, self.dictionary_size = d_in, d_out, dictionary_size
        self.identity = identity or {}
        self.scaling = scaling
        starts = [self.start(m) for m in members]
        self.parameters: Parameters = _stack([p for p, _ in starts], device)
        self.state: Parameters = _stack([s for _, s in starts], device)
        self.leaves = [self._views(m) for m in range(len(members))]
        self.diverged: dict[int, int] = {}
        self.sources: dict[str, Source] = {}

    def start(self, member: Member) -> tuple[Parameters, Parameters]:
        """Weights and state of one member before its first step."""
        kind, size = self.architecture, self.dictionary_size
        means = (self.scaling.input_mean.float(), self.scaling.target_mean.float())
        return kind.start(self.d_in, self.d_out, size, means, member.seed), kind.state(size)

    def begin(self, m: int, parameters: Parameters, state: Parameters, source: Source) -> None:
        """Start a member from these weights and this state, of all latents, in scaled units."""
        with torch.no_grad():
            for own, given in ((self.parameters, parameters), (self.state, state)):
                for name, value in self.here(given).items():
                    own[name][m].copy_(value)
        self.sources[self.members[m].run_id] = source

    def here(self, whole: Parameters) -> Parameters:
        """The latents of these tensors that are in this process: all of them."""
        return whole

    def _views(self, m: int) -> Parameters:
        # `.data` gives each view a version counter of its own: threads change other members meanwhile.
        return {k: v[m].data.requires_grad_() for k, v in self.parameters.items()}

    @property
    def site(self) -> str:
        """Where it reads."""
        return str(self.identity.get("site", ""))

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        settings = ", ".join(f"{m.setting:g}" for m in self.members)
        return (
            f"Family {self.name}: {len(self)} × {self.architecture.name}, dictionary {self.dictionary_size}, "
            f"{self.architecture.sparsity_name} = {settings}"
        )

    @property
    def active(self) -> list[int]:
        """Members that are still trained."""
        return [m for m in range(len(self)) if m not in self.diverged]

    def state_of(self, m: int) -> Parameters:
        """One member's part of the state."""
        return {k: v[m].data for k, v in self.state.items()}

    def set_state(self, m: int, new: Parameters) -> None:
        """Store one member's new state."""
        for name, value in new.items():
            self.state[name][m] = value

    def sae(self, m: int, rows: Tensor | None = None, **more: Any) -> SAE:
        """One member as an SAE for raw activations: scale and centre folded back, its identity with it.

        `rows [n, d_in]`, scaled training activations, are for architectures that find a threshold on them.
        """
        trained = {k: v.detach().float().cpu().clone() for k, v in self.leaves[m].items()}
        state = {k: v.detach().float().cpu() for k, v in self.state_of(m).items()}
        ready = self.architecture.inference(trained, state, self.members[m].setting)
        found = None if rows is None else self.threshold(m, trained, rows)
        ready |= {} if found is None else {"threshold": found}
        folded = self.scaling.to("cpu").fold(self.architecture, ready)
        return SAE(self.architecture, folded, self._with_source(self.identity_of(m) | more))

    @torch.no_grad()
    def threshold(self, m: int, trained: Parameters, rows: Tensor) -> Tensor | None:
        """What the architecture finds on these rows with a member's weights, `trained` on the CPU."""
        return self.architecture.threshold(trained, rows.cpu(), self.members[m].setting)

    def _with_source(self, identity: dict[str, Any]) -> dict[str, Any]:
        """The identity of a member with what it started from, whose training tokens count."""
        source = self.sources.get(identity["run_id"])
        if source is None:
            return identity
        found = identity | {"parent": source.parent, "started_from": source.digest}
        if source.tokens is not None:
            found |= {"tokens_before": source.tokens}
            if "tokens_trained" in found:
                found["tokens_trained"] += source.tokens
        return found

    def saes(self, rows: Tensor | None = None, **more: Any) -> list[SAE]:
        """The members that did not diverge, as `sae` gives them."""
        return [self.sae(m, rows, **more) for m in self.active]

    def identity_of(self, m: int) -> dict[str, Any]:
        """What is known of a member, under the column names of the metrics table."""
        member = self.members[m]
        identity: dict[str, Any] = {
            "run_id": member.run_id, "family": self.name, "architecture": self.architecture.name,
            "sparsity_setting": member.setting, "sparsity_name": self.architecture.sparsity_name,
            "seed": member.seed, "learning_rate": member.learning_rate,
            "dictionary_size": self.dictionary_size, "d_model": self.d_in,
        }  # fmt: skip
        changed = {k: v for k, v in options(self.architecture).items() if k != "parts"}
        if changed:
            identity["options"] = ", ".join(f"{k} = {v}" for k, v in changed.items())
        return identity | dict(self.identity)

    def tensors(self) -> Parameters:
        """Everything of every member, under names that hold whoever else is in the family."""
        found: Parameters = {}
        for m, member in enumerate(self.members):
            found |= {f"{member.run_id}/parameter/{k}": v[m].detach() for k, v in self.parameters.items()}
            found |= {f"{member.run_id}/state/{k}": v[m] for k, v in self.state.items()}
        return found

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave."""
        with torch.no_grad():
            for m, member in enumerate(self.members):
                for kind, own in (("parameter", self.parameters), ("state", self.state)):
                    for name, value in own.items():
                        value[m].copy_(tensors[f"{member.run_id}/{kind}/{name}"])


def _stack(parts: list[Parameters], device: Any) -> Parameters:
    """Members' tensors in one, each beginning at a multiple of 64 bytes.

    Sums run in another order where memory is not aligned: a member's place must not change its result.
    """
    found = {}
    for name, first in parts[0].items():
        room = -(-first.numel() // ALIGNED) * ALIGNED
        whole = torch.zeros(len(parts), room, dtype=first.dtype, device=device)
        found[name] = whole[:, : first.numel()].view(len(parts), *first.shape)
        for m, part in enumerate(parts):
            found[name][m] = part[name]
    return found


@dataclass(frozen=True)
class Schedule:
    """How learning rate and sparsity rise and fall over a run; shares of its steps.

    Attributes
    ----------
    warmup : float
        Linear rise of the learning rate.
    decay : float
        Linear fall of the learning rate to 0 at the end.
    sparsity_warmup : float
        Linear rise of the sparsity penalty.
    """

    steps: int
    warmup: float = 0.05
    decay: float = 0.2
    sparsity_warmup: float = 0.25

    def __post_init__(self) -> None:
        check_shares(self.warmup, self.decay)

    def learning_rate(self, step: int) -> float:
        """Share of the full learning rate at a step."""
        rise = min(1.0, (step + 1) / max(1, math.ceil(self.warmup * self.steps)))
        fall = min(1.0, (self.steps - step) / max(1, math.ceil(self.decay * self.steps)))
        return rise * fall

    def ramp(self, step: int) -> float:
        """Share of the full sparsity penalty at a step."""
        return min(1.0, (step + 1) / max(1, math.ceil(self.sparsity_warmup * self.steps)))
