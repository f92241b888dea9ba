"""The real step of a family, counted on tensors without memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from trainers.activations import Batch, Scaling
from trainers.architectures import Architecture
from trainers.counting.traffic import Operation, Traffic
from trainers.family import Family, Member, Schedule
from trainers.steps.engine import StepOptions
from trainers.steps.fast import Halves
from trainers.steps.late import ReadLate
from trainers.steps.stacked import StackedEngine


@dataclass(frozen=True)
class Counted:
    """What one step moves, computes and holds.

    Attributes
    ----------
    operations : tuple of Operation
    held : dict of str to int
        Bytes that are there between steps: `weights`, `optimiser`.
    working : int
        Bytes that a step needs beside them at its peak.
    """

    operations: tuple[Operation, ...]
    held: dict[str, int]
    working: int

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return sum(o.read + o.written for o in self.operations)

    @property
    def flops(self) -> int:
        """Floating-point operations of all products."""
        return sum(o.flops for o in self.operations)

    @property
    def peak(self) -> int:
        """Bytes of everything at the peak."""
        return sum(self.held.values()) + self.working


def counted_step(
    kind: Architecture,
    settings: Sequence[float],
    d_in: int,
    size: int,
    batch: int,
    *,
    d_out: int | None = None,
    half: bool = True,
    closed_form: bool = True,
    dead: bool = False,
) -> Counted:
    """One step of the stacked engine as a GPU makes it.

    Parameters
    ----------
    settings : sequence of float
        Of the members.
    half : bool
        Products in bfloat16; else in float32.
    closed_form : bool
        The closed forms of `trainers.steps.fast`, where there is one; else autograd on the loss.
    dead : bool
        Some latents are dead, so that the TopK kinds take AuxK too.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        means = torch.zeros(d_in), torch.zeros(d_out or d_in)
        family = Family(
            kind.name, kind, [Member(f"m{i}", s, i, 1e-3) for i, s in enumerate(settings)],
            d_in=d_in, d_out=d_out or d_in, dictionary_size=size, scaling=Scaling(1.0, 1.0, *means),
        )  # fmt: skip
        halves = Halves.on_gpu(half) if closed_form else None
        engine = StackedEngine(family, StepOptions(Schedule(1000), autocast=half), halves)
        engine.silence = _Told(dead)
        x = torch.empty(batch, d_in)
        given = Batch(x, x if d_out is None else torch.empty(batch, d_out))
        engine.ahead.at(0)  # sent once in many steps
        with Traffic() as traffic:
            engine.step(given, 0)
    weights = sum(v.untyped_storage().nbytes() for v in (*family.parameters.values(), *family.state.values()))
    moments = sum(v.numel() * v.element_size() for pair in engine.adam.moments.values() for v in pair)
    return Counted(tuple(traffic.operations), {"weights": weights, "optimiser": moments}, traffic.peak)


class _Told(ReadLate):
    """The answer whether a latent is dead, since tensors without memory have none."""

    def __init__(self, dead: bool) -> None:
        super().__init__()
        self.known = (-1, float("inf") if dead else 0.0)

    def post(self, step: int, value: torch.Tensor) -> None:
        """Nothing."""
