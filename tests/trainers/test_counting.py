"""Counts against sums by hand, and the memory of a step against what torch's own profiler sees allocated."""

import pytest
import torch
from test_steps import options_for
from torch.profiler import ProfilerActivity, profile

from trainers.activations import Batch, Scaling
from trainers.architectures import ARCHITECTURES, ReLU, architecture
from trainers.counting import Traffic, counted_step
from trainers.family import Family, Member
from trainers.steps import StackedEngine
from trainers.steps.fast import Halves

MEMBERS, D, SIZE, BATCH, K = 2, 512, 4096, 4096, 64
CODES, ROWS, OUTPUTS = MEMBERS * BATCH * SIZE, MEMBERS * D * SIZE, MEMBERS * BATCH * D
LIMITS = {
    "relu": (22, 116),
    "jumprelu": (42, 146),
    "gated": (62, 136),
    "topk": (8, 134),
    "batch_topk": (8, 134),
}
"""Bytes per code and per weight of a decoder and an encoder together, added up by hand.

relu, per code: z written 2, relu 4, read by two products 4, summed 2, ∂f written 2, its backward 6, read by
the last product 2. Per weight of each matrix: halves 6, read by products 4, gradient 4, norm 4, Adam 32; the
decoder's own: norms of rows 4, penalty 12. Unit rows: 28 for the parallel part and 12 for their norms.
"""


def test_operations_by_hand():
    a, b = torch.ones(6, 4, dtype=torch.bfloat16), torch.ones(4, 5, dtype=torch.bfloat16)
    with Traffic() as traffic:
        c = a @ b
        c.t()[1:].relu_()
        (c + torch.ones(1, 1).expand(6, 5)).topk(2)
        torch.zeros(10).scatter_(0, torch.tensor([3]), torch.ones(1))
    found = {o.name: (o.read, o.written, o.flops, o.kind) for o in traffic.operations}
    assert found["mm"] == (2 * (24 + 20), 60, 2 * 6 * 4 * 5, "product")
    assert found["relu_"] == (2 * 24, 2 * 24, 0, "pass")
    assert found["add"] == (60 + 4, 120, 0, "pass")
    assert found["topk"] == (120, 6 * 2 * (4 + 8), 0, "selection")
    assert found["scatter_"] == (8 + 4, 4, 0, "pass")
    assert "t" not in found and "slice" not in found


@pytest.mark.parametrize("name", LIMITS)
def test_a_step_moves_no_more_than_its_sum_by_hand(name):
    """All else (errors, slopes, biases, rows that a TopK kind visits) has 10 % of it and 30 bytes each."""
    setting = 1.0 if name not in ("topk", "batch_topk") else float(K)
    step = counted_step(architecture(name), [setting] * MEMBERS, D, SIZE, BATCH)
    per_code, per_pair = LIMITS[name]
    limit = per_code * CODES + per_pair * ROWS
    limit += 30 * OUTPUTS + ("topk" in name) * (4 * K * MEMBERS * BATCH * D + 150 * K * MEMBERS * BATCH)
    assert 0.8 * limit < step.bytes < 1.1 * limit
    before = counted_step(
        architecture(name), [setting] * MEMBERS, D, SIZE, BATCH, closed_form=False, dead=True
    )
    assert step.bytes < 0.4 * before.bytes
    assert step.working < 0.6 * before.working


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("how", [{}, {"dead": True}, {"closed_form": False}, {"half": False}], ids=str)
def test_no_step_asks_the_device_a_question(name, how):
    """A tensor without memory has no value to give: a question would be an error here."""
    kind = architecture(name)
    found = counted_step(kind, [2.0, 3.0], 16, 40, 24, **how)
    products = 3 if kind.setting_name == "k" else 5
    assert found.flops >= products * 2 * 2 * 24 * 16 * 40


def memory_seen(work):
    """Bytes above the start at the peak of what `work` allocates, as the allocator told the profiler."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize("name", ["relu", "gated", "topk", "batch_topk", "matryoshka", "p_anneal"])
def test_memory_of_a_step_is_what_the_allocator_gives(name):
    """In float32, by the closed forms where there are some.

    Not JumpReLU: the CPU multiplies floats and bools by way of a copy, which a GPU does not make.
    """
    kind, members, d, size, batch = architecture(name), 3, 32, 256, 128
    expected = counted_step(kind, [2.0] * members, d, size, batch, half=False)
    means = torch.zeros(d), torch.zeros(d)
    plan = [Member(f"m{i}", 2.0, i, 1e-3) for i in range(members)]
    scaling = Scaling(1.0, 1.0, *means)
    family = Family("f", kind, plan, d_in=d, d_out=d, dictionary_size=size, scaling=scaling)
    engine = StackedEngine(family, options_for(1000), Halves(torch.float32))
    x = torch.randn(batch, d)
    engine.step(Batch(x, x), 0)
    found = memory_seen(lambda: engine.step(Batch(x, x), 1))
    assert expected.working == pytest.approx(found, rel=0.15)
    assert sum(v.untyped_storage().nbytes() for v in family.parameters.values()) == pytest.approx(
        expected.held["weights"], rel=0.02
    )


def test_closed_forms_hold_less_than_autograd():
    ours, theirs = (
        counted_step(ReLU(), [1.0] * 2, 64, 512, 256, closed_form=closed) for closed in (True, False)
    )
    assert ours.working < 0.6 * theirs.working
