"""One member over shards against the plain loss on one device, in float64: shards are threads here.

The tests with processes of their own are in test_shards.py.
"""

import pytest
import torch
from sharded_members import KINDS, D, F, batch, made, on_one_device, over_shards
from threaded_shards import in_threads

from trainers.activations import Scaling
from trainers.architectures import BUILT_IN, BatchTopK, ReLU, TopK
from trainers.family import Family, Member, Schedule
from trainers.sharding import ShardedEngine, ShardedFamily
from trainers.sharding.collectives import Shards
from trainers.steps.engine import StepOptions

torch.set_num_threads(1)
STEPS = 12


def whole(families):
    """The parameters and the state of all shards, put together."""
    first = families[0]
    return {
        k: v
        if first.dims[k] is None
        else torch.cat([getattr(f, kind)[k] for f in families], first.dims[k] + 1)
        for kind in ("parameters", "state")
        for k, v in getattr(first, kind).items()
    }


@pytest.mark.parametrize("name", KINDS)
def test_losses_choices_and_weights_are_those_of_one_device(name):
    """Every sum over latents is added up once, forwards and backwards: 12 steps in float64."""
    one = on_one_device(KINDS[name], STEPS)
    found = in_threads(4, lambda s: over_shards(s, KINDS[name], STEPS))
    for shard in found:
        torch.testing.assert_close(shard.losses, one.losses, rtol=1e-13, atol=0)
        assert torch.equal(shard.fired, one.fired)
        assert torch.equal(shard.family.parameters["b_dec"], found[0].family.parameters["b_dec"])
    if isinstance(KINDS[name], TopK):
        kind, state = KINDS[name], one.family.state["idle"]
        assert 0 < int((state >= kind.dead_after * STEPS * len(batch(0).input)).sum()) < F, "no AuxK"
    ours, theirs = whole([f.family for f in found]), one.family.parameters | one.family.state
    assert ours.keys() == theirs.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-9, atol=1e-12)


def test_every_architecture_is_tried():
    assert {kind.name for kind in KINDS.values() if kind.name in KINDS} == {kind.name for kind in BUILT_IN}


@pytest.mark.parametrize("d_out", [D, 2 * D])
def test_the_start_is_that_of_one_device(d_out, monkeypatch):
    """Drawn piece by piece, of which each shard keeps its own: the same bits; a transcoder draws twice."""
    monkeypatch.setattr("trainers.sharding.kinds.DRAWN", 16 * D)
    scaling = Scaling(1.0, 1.0, torch.full((D,), 0.3), torch.full((d_out,), 0.3))
    given = {"d_in": D, "d_out": d_out, "dictionary_size": 4 * 19, "scaling": scaling}
    kind, members = TopK(subtract_decoder_bias=d_out == D), [Member("a", 2, 0, 0.1), Member("b", 2, 1, 0.1)]
    one = Family("f", kind, members, **given)
    parts = in_threads(4, lambda s: ShardedFamily("f", kind, members, shards=s, **given))
    for name, value in whole(parts).items():
        # A transcoder's b_enc is a product, whose last bits depend on how many columns it has.
        rounding = 2e-8 if name == "b_enc" and d_out != D else 0
        torch.testing.assert_close(value, (one.parameters | one.state)[name], rtol=0, atol=rounding)


@pytest.mark.parametrize("name", ["relu", "batch_topk"])
def test_memory_falls_as_one_over_the_shards(name):
    """Weights, gradients, Adam's moments, state: bytes of storage, but for b_dec, which all have."""

    def bytes_of(shards):
        family = made(KINDS[name], double=False, shards=shards)
        engine = ShardedEngine(family, StepOptions(Schedule(STEPS)))
        engine.step(batch(0, double=False), 0)
        tensors = family.tensors() | engine.tensors()
        latents = engine.losses(0, batch(0, double=False), 0).latents
        held = [v for k, v in tensors.items() if "[" in k] + [latents]
        assert all("b_dec" in k or v.numel() == 1 for k, v in tensors.items() if "[" not in k)
        return sum(v.untyped_storage().nbytes() for v in held)

    one = bytes_of(Shards())
    assert one > 4 * 3 * 2 * D * F
    for count in (2, 4):
        assert in_threads(count, bytes_of) == [one // count] * count


def test_thresholds_and_saes_come_from_all_shards():
    """BatchTopK's threshold is that of one device to the last bit, and the first shard has the whole SAE."""
    kind, rows = BatchTopK(), batch(99, double=False).input
    one = made(kind, double=False)
    wanted = one.sae(0, rows, tokens_trained=5)
    found = in_threads(4, lambda s: made(kind, double=False, shards=s).saes(rows, tokens_trained=5))
    assert [len(f) for f in found] == [1, 0, 0, 0]
    sae = found[0][0]
    assert sae.identity == wanted.identity and type(sae.architecture) is BatchTopK
    assert sae.parameters.keys() == wanted.parameters.keys()
    for name, value in wanted.parameters.items():
        torch.testing.assert_close(sae.parameters[name], value, rtol=0, atol=0)


def test_a_member_that_diverges_is_stopped_in_every_shard():
    """One latent of the last shard is not finite: no shard makes the step."""

    def run(shards):
        family = made(ReLU(), double=False, shards=shards)
        if shards.rank == 3:
            family.parameters["W_enc"][0, 0, 0] = torch.inf
        before = family.parameters["b_dec"].clone()
        engine = ShardedEngine(family, StepOptions(Schedule(STEPS)))
        assert engine.step(batch(0, double=False), 0, log=True) == [None]
        assert torch.equal(before, family.parameters["b_dec"])
        return family.diverged

    assert in_threads(4, run) == [{0: 0}] * 4
