"""The GPU's closed forms against autograd on each architecture's loss, in float64 on the CPU."""

import pytest
import torch
from test_steps import B, D, F, batch, double_rates, family_of, members_of, options_for
from torch.utils._pytree import tree_leaves

from trainers.architectures import BatchTopK, Gated, JumpReLU, Knobs, Matryoshka, PAnneal, ReLU, TopK
from trainers.steps import StackedEngine
from trainers.steps.fast import Halves, fast_step
from trainers.steps.fast.optimiser import StackedAdam
from trainers.steps.graphs import Recorded

EXACT = Halves(torch.float64)
KINDS = [
    ReLU(),
    ReLU(free_decoder_norms=False, inside_scale=0.5),
    JumpReLU(),
    JumpReLU(penalty="target"),
    Gated(),
    Gated(frozen_decoder=False, rescale=False),
    Gated(auxiliary=False),
    TopK(),
    BatchTopK(),
    Matryoshka(),
    Matryoshka(prefixes=(0.01, 0.3, 1.0), weights=(0.5, 0.2, 0.7)),
]
EVERY = pytest.mark.parametrize("kind", KINDS, ids=[f"{i}-{kind.name}" for i, kind in enumerate(KINDS)])


def spread(family, seed=0):
    """Weights away from their start, so that no term is 0 by symmetry."""
    random = torch.Generator().manual_seed(seed)
    for value in family.parameters.values():
        value += 0.2 * torch.randn(value.shape, generator=random, dtype=value.dtype)
    for value in family.state.values():
        value += torch.randint(0, 90, value.shape, generator=random)
    return family


def engine_of(kind, halves, **sizes):
    family = spread(family_of(kind, members_of(kind), double=True, **sizes))
    return double_rates(StackedEngine(family, options_for(), halves))


def both(kind, d_out=D, dead=False):
    engine = engine_of(kind, EXACT, d_out=d_out)
    given = batch(3, d_out=d_out, double=True, transcoder=d_out != D)
    knobs = Knobs(engine.settings, torch.tensor(0.7).double(), 5, 20, engine.largest, may_be_dead=dead)
    return engine._closed(given, knobs), engine._by_autograd(given, knobs)


@EVERY
@pytest.mark.parametrize("transcoder", [False, True])
def test_gradients_are_those_of_the_loss(kind, transcoder):
    kind = type(kind)(**{**vars(kind), "subtract_decoder_bias": not transcoder})
    ours, oracle = both(kind, D + 2 if transcoder else D)
    assert ours.gradients.keys() == oracle.gradients.keys()
    for name, wanted in oracle.gradients.items():
        torch.testing.assert_close(ours.gradients[name], wanted, rtol=1e-9, atol=1e-12, msg=name)
    torch.testing.assert_close(ours.total, oracle.total)
    torch.testing.assert_close(ours.error, oracle.error)
    for name, wanted in oracle.state.items():
        torch.testing.assert_close(ours.state[name], wanted, msg=name)
    assert torch.equal((ours.latents > 0).sum((-1, -2)), (oracle.latents > 0).sum((-1, -2)))


@pytest.mark.parametrize("aux_k", [None, 2, 100])
@pytest.mark.parametrize("kind", [TopK, BatchTopK, Matryoshka])
def test_gradients_with_dead_latents(kind, aux_k):
    """Latents that were silent for 50 tokens are dead: some of each member."""
    ours, oracle = both(kind(dead_after=50 / (20 * B), aux_k=aux_k, aux_coefficient=2.0), dead=True)
    without = both(kind(aux_coefficient=0.0))[0]
    assert bool(((oracle.total - without.total) > 0.01).any())
    torch.testing.assert_close(ours.total, oracle.total)
    for name, wanted in oracle.gradients.items():
        torch.testing.assert_close(ours.gradients[name], wanted, rtol=1e-9, atol=1e-12, msg=name)


def test_what_has_no_closed_form_is_left_to_autograd():
    others = [ReLU(p=0.5), ReLU(independence=1.0), JumpReLU(penalty="tanh"), Gated(tied=False), PAnneal()]
    assert [fast_step(kind) for kind in others] == [None] * len(others)
    assert all(fast_step(kind) for kind in KINDS)


@pytest.mark.parametrize("kind", [ReLU(), JumpReLU(), Gated(), TopK(dead_after=0.3), Matryoshka()])
def test_the_engine_gives_the_same_weights_with_and_without(kind):
    """Also where latents die on the way, so that AuxK begins and ends."""
    ended = []
    for halves in (EXACT, None):
        engine = engine_of(kind, halves, size=40)
        for step in range(20):
            logs = engine.step(batch(step, double=True), step, log=step == 19)
        ended.append((engine.family.parameters, logs))
    for name, wanted in ended[1][0].items():
        torch.testing.assert_close(ended[0][0][name], wanted, rtol=1e-7, atol=1e-9, msg=name)
    torch.testing.assert_close(torch.tensor(ended[0][1]), torch.tensor(ended[1][1]))


def test_no_silence_is_missed_however_late_it_is_read():
    """An upper bound on the silence, whenever the last number came: no dead latent is passed over."""
    engine = engine_of(TopK(dead_after=0.2), EXACT)  # dead after 4 silent batches
    engine.family.state["idle"].zero_()
    engine.silence.known = (2, 33.0)  # after step 2 somebody was silent for one batch
    bounds = {step: engine._may_be_dead(step, B) for step in (3, 5, 6, 9)}
    assert bounds == {3: False, 5: False, 6: True, 9: True}


class Tape:
    """In the place of a CUDA graph: recording runs nothing, replaying runs what was recorded."""

    def __init__(self, engine):
        self.engine, self.replayed = engine, 0

    def record(self, work, device):
        kept = [t.clone() for t in self.mutable()]
        self.result, self.work = work(), work
        for t, was in zip(self.mutable(), kept, strict=True):
            t.copy_(was)
        return self, self.result

    def mutable(self):
        engine = self.engine
        moments = [t for pair in engine.adam.moments.values() for t in pair]
        family = engine.family
        return [*family.parameters.values(), *family.state.values(), *moments, engine.stopped_at]

    def replay(self):
        self.replayed += 1
        for t, new in zip(tree_leaves(self.result), tree_leaves(self.work()), strict=True):
            if t is not None:
                t.copy_(new)


@pytest.mark.parametrize("kind", [ReLU(), TopK(dead_after=0.3), PAnneal(changes=2, window=2)])
def test_recorded_steps_train_as_eager_ones(kind):
    """What a graph replays reads its numbers and its batch from memory, and phases have graphs of their own.

    A stand-in for CUDA graphs: a step that took anything from Python but its phase would train otherwise.
    """
    recorded, eager = (engine_of(kind, EXACT, size=40) for _ in range(2))
    tape = Tape(recorded)
    recorded.recorded = Recorded(tape.record)
    for step in range(20):
        for engine in (recorded, eager):
            logs = engine.step(batch(step, double=True), step, log=step == 19)
            engine.shown = logs
    assert tape.replayed >= 5
    assert recorded.shown == eager.shown
    for name, wanted in eager.family.parameters.items():
        assert torch.equal(recorded.family.parameters[name], wanted), name


def test_halves_train_as_well_as_floats():
    """bfloat16 codes and products, weights in float32: after 60 steps the error is the same to 5 %."""
    found = []
    for halves in (Halves(), Halves(torch.float32)):
        family = family_of(TopK(), size=64)
        engine = StackedEngine(family, options_for(60), halves)
        for step in range(60):
            logs = engine.step(batch(step, n=256), step, log=step == 59)
        assert all(v.dtype == torch.float32 for v in family.parameters.values())
        found.append(torch.tensor([entry.fvu for entry in logs]))
    torch.testing.assert_close(found[0], found[1], rtol=0.05, atol=0)


def test_half_precision_keeps_the_bias():
    """A bias far above what bfloat16 resolves beside the products: in three parts it is float32."""
    halves, size = Halves(), F
    bias = torch.full((1, size), 1000.0625)
    encoder = halves.encoder(torch.zeros(1, D, size), bias)
    x = halves.inputs(torch.zeros(4, D), None, 1)
    found = torch.bmm(x.float(), encoder.float())
    assert torch.equal(found[0, 0], bias[0])


@pytest.mark.parametrize("transposed", [False, True])
def test_the_fused_update_is_adams_however_gradients_lie_in_memory(transposed):
    """Against torch.optim.Adam, member by member; the gradient of x Wᵀ comes transposed from autograd."""
    random = torch.Generator().manual_seed(0)
    start = torch.randn(2, 3, 5, generator=random)
    parameters, rates = {"W": start.clone()}, torch.tensor([0.02, 0.005])
    adam = StackedAdam(parameters, (0.9, 0.99), 1e-8)
    alone = [torch.nn.Parameter(start[m].clone()) for m in range(2)]
    plain = [torch.optim.Adam([p], lr=float(rates[m]), betas=(0.9, 0.99)) for m, p in enumerate(alone)]
    for step in range(1, 6):
        gradient = torch.randn(2, 3, 5, generator=random)
        given = gradient.mT.contiguous().mT if transposed else gradient
        none = torch.zeros(2, dtype=torch.bool)
        adam.update(parameters, {"W": given}, torch.ones(2), rates, none, torch.tensor(float(step)))
        for m in range(2):
            alone[m].grad = gradient[m].clone()
            plain[m].step()
    torch.testing.assert_close(
        parameters["W"], torch.stack([p.detach() for p in alone]), rtol=1e-5, atol=1e-6
    )
