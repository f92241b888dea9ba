"""Which members are spared autograd, and by which step."""

from __future__ import annotations

from typing import Protocol

from trainers.activations import Batch
from trainers.architectures import (
    Architecture,
    BatchTopK,
    Gated,
    JumpReLU,
    Knobs,
    Matryoshka,
    Parameters,
    ReLU,
    TopK,
)
from trainers.steps import dense, sparse
from trainers.steps.memory import Scratch
from trainers.steps.sums import Step


class ClosedForm(Protocol):
    """Gradients, loss and new state of one member on one batch, without autograd."""

    def __call__(
        self, kind: Architecture, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs,
        scratch: Scratch, log: bool,
    ) -> Step:  # fmt: skip
        """The step; L0 is only wanted where `log` is set."""


def closed_form(kind: Architecture) -> ClosedForm | None:
    """The closed form that covers an architecture and all its options; None where autograd must do it."""
    if kind.independence or kind.contrastive or kind.frequency:
        return None
    if type(kind) in (TopK, BatchTopK, Matryoshka):
        return sparse.step
    if type(kind) is ReLU and kind.p == 1:
        return dense.relu
    if type(kind) is JumpReLU and kind.penalty == "step":
        return dense.jumprelu
    if type(kind) is Gated and kind.tied and kind.auxiliary and kind.frozen_decoder:
        return dense.gated
    return None
