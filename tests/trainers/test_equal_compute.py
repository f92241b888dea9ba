"""Multiplications per token are those that torch counts, and equal cost means equal cost."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainers.architectures import ARCHITECTURES, Gated, Knobs, architecture
from trainers.studies.equal_compute import as_dear, equal_size, multiplications

D_IN, D_OUT, F, B = 24, 40, 96, 128
KINDS = [
    *(architecture(name) for name in ARCHITECTURES if name not in ("matryoshka", "matching_pursuit")),
    Gated(frozen_decoder=False), Gated(tied=False), Gated(auxiliary=False),
]  # fmt: skip


def counted(kind, when):
    """Multiplications per token by torch's own counter (it counts a product and its sum as two)."""
    kind = replace(kind, subtract_decoder_bias=False)  # as where input and output differ in width
    random = torch.Generator().manual_seed(0)
    means = torch.zeros(D_IN), torch.zeros(D_OUT)
    p = {k: v.requires_grad_() for k, v in kind.start(D_IN, D_OUT, F, means, 0).items()}
    x, target = torch.randn(B, D_IN, generator=random), torch.randn(B, D_OUT, generator=random)
    with FlopCounterMode(display=False) as counter:
        if when == "inference":
            ready = kind.inference(p, kind.state(F), 4)
            kind.decode(ready, kind.encode(ready, x))
        else:
            total = kind.training_loss(p, kind.state(F), x, target, Knobs(4, steps=100)).total
            if when == "step":
                total.backward()
    return counter.get_total_flops() / 2 / B


@pytest.mark.parametrize("when", ["inference", "loss", "step"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_torch_counts_the_same(kind, when):
    assert counted(kind, when) == multiplications(kind, F, D_IN, D_OUT, when)


def test_sizes_of_equal_cost():
    assert equal_size("relu", "gated", 2**17, 3072, 3072) == 196_608  # 1.5 times, as in the paper
    assert equal_size("relu", "gated", 2**17, 3072, 3072, when="inference") == 2**17
    assert equal_size("relu", "gated", 1000, 128, 128, when="step") == 1400  # 7 products against 5
    assert equal_size("relu", "gated", 100, 64, 128, multiple=8) == 168  # (64 + 256)/(64 + 128) of 100
    assert as_dear({"a": "relu", "b": "gated", "c": "topk"}, 256, 128, 128) == {"a": 384, "b": 256, "c": 384}
    with pytest.raises(ValueError, match="matching_pursuit forms a product per step"):
        multiplications("matching_pursuit", 1, 1, 1)
    with pytest.raises(ValueError, match="at least 1"):
        equal_size("relu", "gated", 0, 1, 1)
    with pytest.raises(ValueError, match="when must be"):
        multiplications("relu", 1, 1, 1, "training")
