"""One member over shards against the plain loss on one device, in float64: shards are threads here.

The tests with processes of their own are in test_shards.py.
"""

import pytest
import torch
from sharded_members import KINDS, B, D, F, batch, made, on_one_device, over_shards
from threaded_shards import in_threads

from trainers import ranks, sharding
from trainers.activations import Scaling
from trainers.architectures import BUILT_IN, BatchTopK, Gated, ReLU, TopK
from trainers.family import Family, Member, Schedule
from trainers.sharding import ShardedEngine, ShardedFamily, pieces
from trainers.sharding.kinds import DIVISIBLE
from trainers.sharding.selection import LEAST, MORE
from trainers.shards import Shards
from trainers.steps.engine import StepOptions

torch.set_num_threads(1)
STEPS = 12


class Mine(ReLU):
    """An architecture of somebody's own."""


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
    """But for two that choose one latent after the other: they are refused by name."""
    tried = {type(kind) for name, kind in KINDS.items() if kind.name == name}
    assert tried == set(DIVISIBLE)
    assert {kind.name for kind in BUILT_IN if kind not in tried} == {"hierarchical_topk", "matching_pursuit"}


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
    """BatchTopK's threshold is that of one device to the last bit, and each shard has its latents."""
    kind, rows = BatchTopK(), batch(99, double=False).input
    one = made(kind, double=False)
    wanted = one.sae(0, rows, tokens_trained=5)
    found = in_threads(4, lambda s: made(kind, double=False, shards=s).saes(rows, tokens_trained=5))
    parts, dims = [f[0] for f in found], {"W_enc": 1, "b_enc": 0, "W_dec": 0}
    assert all(part.identity == wanted.identity for part in parts)
    assert all(part.parameters.keys() == wanted.parameters.keys() for part in parts)
    for name, value in wanted.parameters.items():
        own = [part.parameters[name] for part in parts]
        assert torch.equal(torch.cat(own, dims[name]) if name in dims else own[0], value)


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


@pytest.mark.parametrize(
    ("count", "world", "size", "kind", "message"),
    [
        (
            4,
            1,
            64,
            ReLU,
            "shards = 4 needs 4 processes or a multiple, there is 1; `torchrun --nproc-per-node 4",
        ),
        (4, 6, 64, ReLU, "there are 6;"),
        (4, 8, 66, ReLU, "cannot divide a dictionary of 66; take a multiple of 4"),
        (2, 2, 64, Mine, "mine cannot be divided over 2 devices, relu, .*; set training.shards = 1"),
    ],
)
def test_what_cannot_be_divided_is_said(count, world, size, kind, message, monkeypatch):
    monkeypatch.setattr(ranks, "world_size", lambda: world)
    with pytest.raises(sharding.ShardError, match=message.replace("(", r"\(")):
        sharding.check(count, [64, size], [TopK, kind])
    sharding.check(1, [size], [kind])


def test_members_are_dealt_to_groups_of_shards(monkeypatch):
    """Without shards every process is a group of its own."""
    for world in (1, 3):
        monkeypatch.setattr(ranks, "world_size", lambda n=world: n)
        monkeypatch.setattr(ranks, "rank", lambda n=world: n - 1)
        assert sharding.mesh_of(1, torch.device("cpu")).mine(range(7)) == list(range(world - 1, 7, world))


@pytest.mark.parametrize(("saved", "read"), [(4, 2), (2, 4), (4, 1), (1, 4), (3, 2)])
def test_parts_are_read_by_any_number_of_shards(saved, read):
    whole = {"a/W": torch.arange(36.0).view(3, 12), "a/W2": torch.ones(12), "a/b": torch.arange(2.0)}
    dims, parts = {"a/W": 1, "a/W2": 0, "a/b": None}, {"a/b": whole["a/b"]}
    for name in ("a/W", "a/W2") if saved > 1 else ():
        for first in range(0, 12, 12 // saved):
            mine = slice(first, first + 12 // saved)
            parts[pieces.named(name, dims[name], mine)] = whole[name][..., mine]
    parts = parts if saved > 1 else whole
    for name, value in whole.items():
        found = [
            pieces.cut(parts, name, dims[name], slice(i, i + 12 // read)) for i in range(0, 12, 12 // read)
        ]
        assert torch.equal(found[0] if dims[name] is None else torch.cat(found, -1), value)
    again = pieces.joined(parts)
    assert again.keys() == whole.keys() and all(torch.equal(again[k], v) for k, v in whole.items())


def test_a_part_that_is_missing_is_named():
    with pytest.raises(KeyError, match="a/W lacks latents from 4 on"):
        pieces.joined({"a/W[0:4]": torch.ones(4), "a/W[8:12]": torch.ones(4)})


@pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if n == kind.name])
def test_nothing_that_grows_with_the_latents_goes_from_shard_to_shard(name):
    """x̂ once (also that of Gated's gate, AuxK's, one of each prefix), k offers a token, little else."""
    kind = KINDS[name]
    x_hats = len(getattr(kind, "prefixes", ())) + 1 + isinstance(kind, TopK | Gated)
    offers = B * LEAST * (1 + 1 + MORE) if isinstance(kind, TopK) else 0  # AuxK's may grow once

    def run(shards):
        sent = []
        for call in ("gathered", "_reduced", "from_first"):
            plain = getattr(shards, call)
            setattr(
                shards,
                call,
                lambda value, *how, p=plain, c=call: (sent.append((c, value.numel())), p(value, *how))[1],
            )
        family = made(kind, shards=shards)
        if isinstance(kind, TopK):
            family.state["idle"][:, ::2] = 1e9
        ShardedEngine(family, StepOptions(Schedule(STEPS))).step(batch(0), 0)
        return [n for c, n in sent if c != "gathered"], [n for c, n in sent if c == "gathered"]

    for reduced, gathered in in_threads(4, run):
        assert sum(reduced) <= x_hats * B * D + 4 * D + 8
        assert sum(gathered) <= offers
