"""The GPU's step in closed form: codes in half precision, products that give float32, few passes over codes.

What an architecture has no closed form for, or not with its options, is left to autograd on its `loss`, which
stays the definition. `dense` serves ReLU, JumpReLU and Gated, `selected` the TopK kinds; `halves` holds the
products; each pass over codes is counted by the tests of `trainers.counting`.
"""

from __future__ import annotations

from trainers.architectures import Architecture, Gated, JumpReLU, Matryoshka, ReLU, TopK
from trainers.architectures.batch_topk import BatchTopK
from trainers.steps.fast.dense import gated, jumprelu, relu
from trainers.steps.fast.halves import Halves, Step, StepOfStack
from trainers.steps.fast.selected import selected

__all__ = ["Halves", "Step", "StepOfStack", "fast_step"]


def fast_step(kind: Architecture) -> StepOfStack | None:
    """The closed form of an architecture with its options; None where autograd is all there is."""
    if kind.skip or kind.independence or kind.contrastive or kind.frequency:
        return None
    if type(kind) is ReLU and kind.p == 1 and (kind.unit_norm or not kind.parts):
        return relu
    if type(kind) is JumpReLU and kind.penalty != "tanh":
        return jumprelu
    if type(kind) is Gated and kind.tied:
        return gated
    if type(kind) in (TopK, BatchTopK, Matryoshka):
        return selected
    return None
