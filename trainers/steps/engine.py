"""What all step engines share: their interface, options and log, the gradients and update of one member."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from trainers.activations import Batch
from trainers.architectures import Parameters
from trainers.family import Family, Schedule
from trainers.steps.decoder import normalise


class MemberLog(NamedTuple):
    """One member on one batch."""

    loss: float
    l0: float
    fvu: float
    gradient_norm: float


class MemberStep(NamedTuple):
    """What one batch gives one member."""

    gradients: Parameters
    loss: Tensor
    state: Parameters
    """New values of what is not trained by gradients."""
    seen: tuple[float, Tensor]
    """L0 (only where a log is due) and x̂ `[B, d_out]`."""


@dataclass(frozen=True)
class StepOptions:
    """What every step needs beside the batch."""

    schedule: Schedule
    clip: float = 1.0
    epsilon: float = 1e-8
    """Adam's."""
    autocast: bool = False
    """bfloat16 products on the GPU; the weights stay float32."""


class Engine(Protocol):
    """One training step of a family."""

    options: StepOptions

    @property
    def family(self) -> Family:
        """Whose step it is."""

    def step(self, batch: Batch, step: int, log: bool = False) -> list[MemberLog | None]:
        """Change every active member by one optimiser step; with `log`, say how each does on this batch."""

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's memory, by run_id."""

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave."""


def batch_log(loss: Tensor, latents_l0: float, x_hat: Tensor, target: Tensor, norm: Tensor) -> MemberLog:
    """The numbers of the progress line for one member."""
    spread = (target - target.mean(0)).square().sum()
    fvu = float((x_hat.detach().float() - target).square().sum() / spread)
    return MemberLog(float(loss), latents_l0, fvu, float(norm))


def gradients_of(total: Tensor, leaves: Parameters) -> Parameters:
    """The gradient of a loss along each tensor, by autograd; 0 where it does not depend on it."""
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {
        k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(leaves.items(), found, strict=True)
    }


def update(
    family: Family,
    m: int,
    optimizer: torch.optim.Adam,
    share: float,
    gradients: Parameters,
    state: Parameters,
) -> None:
    """Adam's step of one member at a share of its learning rate, its decoder norms, and its new state."""
    leaves, kind = family.leaves[m], family.architecture
    for name, leaf in leaves.items():
        leaf.grad = gradients[name]
    optimizer.param_groups[0]["lr"] = family.members[m].learning_rate * share
    optimizer.step()
    if kind.unit_norm:
        normalise(leaves[kind.decoder])
    family.set_state(m, state)
    for leaf in leaves.values():
        leaf.grad = None


def member_optimizer(
    leaves: dict[str, Tensor], rate: float, betas: tuple[float, float], epsilon: float
) -> torch.optim.Adam:
    """Adam of one member, all its tensors in one fused call."""
    return torch.optim.Adam(list(leaves.values()), lr=rate, betas=betas, eps=epsilon, fused=True)


def optimizer_tensors(optimizer: torch.optim.Adam, names: list[str], prefix: str) -> dict[str, Tensor]:
    """Adam's moments and step count under names."""
    found = {}
    for name, tensor in zip(names, optimizer.param_groups[0]["params"], strict=True):
        for key, value in optimizer.state.get(tensor, {}).items():
            found[f"{prefix}/{name}/{key}"] = value
    return found


def load_optimizer(
    optimizer: torch.optim.Adam, names: list[str], prefix: str, tensors: Mapping[str, Tensor]
) -> None:
    """Take up what `optimizer_tensors` gave."""
    for name, tensor in zip(names, optimizer.param_groups[0]["params"], strict=True):
        keys = ("step", "exp_avg", "exp_avg_sq")
        state = {k: tensors[f"{prefix}/{name}/{k}"] for k in keys if f"{prefix}/{name}/{k}" in tensors}
        if state:
            # A copy of its own: moments loaded from one file must not share its memory.
            optimizer.state[tensor] = {k: v.clone().to(tensor.device) for k, v in state.items()}
