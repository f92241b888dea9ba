"""Which members are spared autograd, and by which step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainers.activations import Batch
from trainers.architectures import (
    AbsTopK,
    Architecture,
    BatchTopK,
    Gated,
    HierarchicalTopK,
    JumpReLU,
    Knobs,
    Matryoshka,
    Parameters,
    ReLU,
    TopK,
)
from trainers.steps.closed_forms import dense, sparse, sparse_gates
from trainers.steps.closed_forms.memory import Scratch
from trainers.steps.closed_forms.selection import Encoder, density
from trainers.steps.closed_forms.sums import shift_of
from trainers.steps.engine import MemberStep

ClosedForm = Callable[[Any, Parameters, Parameters, Batch, Knobs, Scratch, bool], MemberStep]
"""Gradients, loss and new state of one member on one batch, without autograd; L0 where the last is true."""


def closed_form(kind: Architecture) -> ClosedForm | None:
    """The closed form that covers an architecture and all its options; None where autograd must do it."""
    if kind.skip or kind.independence or kind.contrastive or kind.frequency:
        return None
    if type(kind) in (TopK, AbsTopK, HierarchicalTopK, BatchTopK, Matryoshka):
        return sparse.step
    if type(kind) is ReLU and kind.p == 1 and (kind.unit_norm or not kind.parts):
        return relu
    if type(kind) is JumpReLU and kind.penalty == "step":
        return jumprelu
    if type(kind) is Gated and kind.tied and kind.auxiliary and kind.frozen_decoder:
        return gated
    return None


SPARSE_BELOW = 0.2
"""Density of the codes below which bags of rows are faster than whole matrices."""
NEAR_BELOW = 0.07
"""Density of JumpReLU's estimator window below which ∂f at those places is faster than ∂f whole."""


def relu(
    kind: ReLU, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, scratch: Scratch, log: bool
) -> MemberStep:
    """ReLU, sparse or dense by this member's own codes."""
    encoder = encoder_of(kind, p, "b_enc", batch, scratch)
    if density(encoder, 0.0)[0] < SPARSE_BELOW:
        return sparse_gates.relu(kind, p, encoder, batch, knobs)
    return dense.relu(kind, p, state, batch, knobs, scratch, log)


def jumprelu(
    kind: JumpReLU, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, scratch: Scratch, log: bool
) -> MemberStep:
    """JumpReLU, sparse or dense by this member's own codes and those near their thresholds."""
    encoder = encoder_of(kind, p, "b_enc", batch, scratch)
    limits = sparse_gates.window_start(kind, p), p["threshold"].detach().clamp_min(0).numpy()
    near, firing = density(encoder, *limits)
    if near < NEAR_BELOW:
        return sparse_gates.jumprelu(kind, p, encoder, batch, knobs)
    if firing < SPARSE_BELOW:
        return sparse_gates.jumprelu_wide(kind, p, encoder, batch, knobs, scratch)
    return dense.jumprelu(kind, p, state, batch, knobs, scratch, log)


def gated(
    kind: Gated, p: Parameters, state: Parameters, batch: Batch, knobs: Knobs, scratch: Scratch, log: bool
) -> MemberStep:
    """Gated, sparse or dense by this member's own gates."""
    encoder = encoder_of(kind, p, "b_gate", batch, scratch)
    if density(encoder, 0.0)[0] < SPARSE_BELOW:
        return sparse_gates.gated(kind, p, encoder, batch, knobs)
    return dense.gated(kind, p, state, batch, knobs, scratch, log)


def encoder_of(kind: Architecture, p: Parameters, bias: str, batch: Batch, scratch: Scratch) -> Encoder:
    """Pre-activations of a batch, with this bias."""
    return Encoder(p["W_enc"], shift_of(p, p[bias], kind.subtract_decoder_bias), batch.input, scratch)
