"""The small family on which promises are checked: sizes that differ, so that a transposed matrix shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.activations import Batch, Scaling
from trainers.architectures import Architecture, Knobs, Losses, Parameters
from trainers.family import Family, Member, Schedule
from trainers.steps import LoopEngine, StackedEngine
from trainers.steps.engine import StepOptions

WIDTH, SIZE, TOKENS, STEPS = 7, 19, 33, 16


class BrokenError(Exception):
    """A promise that is not kept; `method` is where to look, where no line is known."""

    def __init__(self, said: str, method: str = "loss", line: int | None = None) -> None:
        super().__init__(said)
        self.method, self.line = method, line


@dataclass(frozen=True, eq=False)
class Case:
    """An architecture, three settings, and weights and activations for them."""

    kind: Architecture

    @property
    def settings(self) -> list[float]:
        """Small, middle and large."""
        if self.kind.sparsity_name in ("k", "target_l0"):
            return [1.0, 2.0, 4.0]
        low, high = min(self.kind.sweep), max(self.kind.sweep)
        return [low, math.sqrt(low * high), high]

    @property
    def means(self) -> tuple[Tensor, Tensor]:
        """Of input and target, in scaled units."""
        return torch.full((WIDTH,), 0.3), torch.full((WIDTH,), 0.3)

    def batch(self, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Activations `[B, d]`: sparse sums of directions, and a mean."""
        random = torch.Generator().manual_seed(seed)
        directions = torch.randn(SIZE, WIDTH, generator=torch.Generator().manual_seed(99))
        codes = torch.rand(TOKENS, SIZE, generator=random) * (
            torch.rand(TOKENS, SIZE, generator=random) < 0.2
        )
        noise = 0.1 * torch.randn(TOKENS, WIDTH, generator=random)
        return (codes @ directions + noise + 0.3).to(dtype)

    def weights(self, seed: int = 0, dtype: torch.dtype = torch.float64) -> Parameters:
        """Weights of one member a step away from its start, where nothing is a round number."""
        random = torch.Generator().manual_seed(100 + seed)
        start = self.kind.start(WIDTH, WIDTH, SIZE, self.means, seed)
        return {k: (v + 0.1 * torch.randn(v.shape, generator=random)).to(dtype) for k, v in start.items()}

    def state(self, dtype: torch.dtype = torch.float64) -> Parameters:
        """The state of one member at its start."""
        found = self.kind.state(SIZE)
        return {k: v.to(dtype) if v.is_floating_point() else v for k, v in found.items()}

    def loss(
        self, p: Parameters, x: Tensor, setting: Any, step: int = 0, state: Any = None, **more: Any
    ) -> Losses:
        """The training loss of one member or a stack."""
        state = self.state() if state is None else state
        return self.kind.training_loss(p, state, x, x, Knobs(setting, step=step, steps=STEPS, **more))

    def family(self) -> Family:
        """Three members at their start."""
        members = [Member(f"m{i}", s, i, self.kind.learning_rate) for i, s in enumerate(self.settings)]
        return Family(
            "checked", self.kind, members, d_in=WIDTH, d_out=WIDTH, dictionary_size=SIZE,
            scaling=Scaling(1.0, 1.0, *self.means),
        )  # fmt: skip

    def engine(self, family: Family, which: type = LoopEngine) -> LoopEngine | StackedEngine:
        """A step engine that takes autograd."""
        options = StepOptions(Schedule(STEPS))
        return (
            LoopEngine(family, options, closed_forms=False) if which is LoopEngine else which(family, options)
        )

    def train(self, engine: Any, first: int, last: int) -> None:
        """Steps `first` to `last − 1`."""
        for step in range(first, last):
            x = self.batch(step)
            with np.errstate(all="ignore"):
                engine.step(Batch(x, x), step)


def stacked(parts: list[Parameters]) -> Parameters:
    """Members' tensors `[M, ...]`."""
    return {name: torch.stack([p[name] for p in parts]) for name in parts[0]}


def differs(a: Tensor, b: Tensor, relative: float = 1e-9) -> float | None:
    """The largest difference, where it is beyond rounding."""
    a, b = a.detach().double(), b.detach().double()
    off = float((a - b).abs().max()) if a.numel() else 0.0
    return off if not off <= relative * max(1.0, float(b.abs().max())) else None
