"""The step engines: the sparse step against autograd, the engines against a plain loop and each other.

Comparisons are in float64 where a wrong term shall be told from rounding: families become float64 after
their start. Bit-equality is asked for in float32, as in real runs.
"""

import functools
import math

import pytest
import torch

from trainers.activations import Batch, Scaling
from trainers.architectures import (
    ARCHITECTURES,
    AbsTopK,
    BatchTopK,
    Gated,
    HierarchicalTopK,
    JumpReLU,
    Knobs,
    MatchingPursuit,
    Matryoshka,
    PAnneal,
    ReLU,
    TopK,
)
from trainers.family import Family, Member, Schedule
from trainers.steps import LoopEngine, StackedEngine, engine_for
from trainers.steps.closed_forms import sparse
from trainers.steps.decoder import clip, normalise, remove_parallel
from trainers.steps.engine import StepOptions
from trainers.steps.fast.optimiser import norms

torch.set_num_threads(1)
D, F, B, STEPS = 7, 19, 33, 20
KINDS = [
    ReLU(),
    ReLU(free_decoder_norms=False, p=0.5),
    Gated(),
    Gated(tied=False, frozen_decoder=False),
    JumpReLU(),
    JumpReLU(penalty="tanh", pre_coefficient=0.1),
    TopK(dead_after=0.1),
    BatchTopK(dead_after=0.1),
    Matryoshka(dead_after=0.1),
    AbsTopK(dead_after=0.1),
    HierarchicalTopK(dead_after=0.1),
    MatchingPursuit(),
    PAnneal(changes=5),
    ReLU(independence=0.5, contrastive=0.5, frequency=0.5),
    TopK(independence=0.5),
]
EVERY = pytest.mark.parametrize("kind", KINDS, ids=[f"{i}-{kind.name}" for i, kind in enumerate(KINDS)])
TRANSCODERS = [kind(False) for kind in ARCHITECTURES.values() if kind.transcodes]
ONE_EACH = pytest.mark.parametrize(
    "kind", [kind() for kind in ARCHITECTURES.values()], ids=list(ARCHITECTURES)
)
ENGINES = pytest.mark.parametrize("engine", [LoopEngine, StackedEngine])


def settings_of(kind):
    """Three settings that are exact in binary, so that float32 and float64 mean the same."""
    if isinstance(kind, BatchTopK):
        return [1.0, 2.5, 4.0]
    return [1.0, 2.0, 5.0] if kind.setting_name == "k" else [0.0625, 0.5, 2.0]


def members_of(kind, rate=2**-7):
    return [Member(f"m{i}", s, i, rate * (i + 1)) for i, s in enumerate(settings_of(kind))]


def family_of(kind, members=None, d_in=D, d_out=D, double=False, size=F):
    scaling = Scaling(1.0, 1.0, torch.full((d_in,), 0.3), torch.full((d_out,), 0.3))
    family = Family(
        "f", kind, members or members_of(kind), d_in=d_in, d_out=d_out, dictionary_size=size, scaling=scaling
    )
    if double:
        family.parameters = {k: v.double() for k, v in family.parameters.items()}
        family.state = {k: v.double() for k, v in family.state.items()}
        family.leaves = [family._views(m) for m in range(len(family))]
    return family


@functools.cache
def batch(seed, d_in=D, d_out=D, n=B, double=False, transcoder=False):
    """Sparse sums of random directions, with a mean, as activations are.

    Every token has a code: one without lies at the mean, where b_dec starts, so that all its pre-activations
    are 0 but for rounding, and which latents fire there depends on the processor and the engine.
    """
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(25, d_in, generator=torch.Generator().manual_seed(0))
    codes = torch.rand(n, 25, generator=random) * (torch.rand(n, 25, generator=random) < 0.15)
    codes[(codes == 0).all(1), 0] = 1.0
    x = 2 * codes @ directions + 0.3
    target = codes @ torch.randn(25, d_out, generator=torch.Generator().manual_seed(1)) if transcoder else x
    return Batch(x.double(), target.double()) if double else Batch(x, target)


def options_for(steps=STEPS, **given):
    return StepOptions(Schedule(steps), **given)


def double_rates(engine):
    """The stacked engine's learning rates in float64 too."""
    if isinstance(engine, StackedEngine):
        engine.rates = engine.rates.double()
    return engine


def train(engine, steps=range(STEPS), log_every=5, **how):
    for step in steps:
        engine.step(batch(step, **how), step, log=(step + 1) % log_every == 0)
    return engine.family


def assert_families_equal(one, other, **tolerance):
    """All parameters and states; bit-equal unless a tolerance is given."""
    tolerance = tolerance or {"rtol": 0, "atol": 0}
    for ours, theirs in ((one.parameters, other.parameters), (one.state, other.state)):
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(
                ours[name], theirs[name], **tolerance, equal_nan=True,
                msg=lambda text, name=name: f"{name}: {text}",
            )  # fmt: skip


# ---------------------------------------------------------------- the sparse step against autograd


def problem(kind, seed=0, d_in=D, d_out=D, size=F, n=B, double=True):
    random = torch.Generator().manual_seed(seed)
    number = torch.float64 if double else torch.float32
    start = kind.start(d_in, d_out, size, (torch.zeros(d_in), torch.zeros(d_out)), seed)
    p = {k: torch.randn(v.shape, generator=random).to(number).requires_grad_() for k, v in start.items()}
    x = torch.randn(n, d_in, generator=random).to(number)
    given = Batch(x, x if d_in == d_out else torch.randn(n, d_out, generator=random).to(number))
    state = {k: v.to(number) for k, v in kind.state(size).items()}
    return p, state, given


def both_ways(kind, p, state, given, k, step=50):
    """(gradients, loss, state, L0, x̂) of the sparse step and of autograd."""
    knobs = Knobs(k, step=step, steps=100)
    with torch.no_grad():
        codes = sparse.batch_codes if isinstance(kind, BatchTopK) else sparse.token_codes
        found, loss, new, (l0, x_hat) = sparse.gradients(kind, p, state, given, knobs, codes)
    losses = kind.training_loss(p, state, given.input, given.target, knobs)
    slopes = torch.autograd.grad(losses.total, list(p.values()))
    dense_l0 = float((losses.latents > 0).sum()) / len(given.input)
    dense = dict(zip(p, slopes, strict=True)), losses.total.detach(), losses.state, dense_l0
    return (found, loss, new, l0, x_hat), (*dense, losses.reconstruction.detach())


def assert_sparse_is_dense(kind, p, state, given, k, **tolerance):
    tolerance = tolerance or {"rtol": 1e-9, "atol": 1e-10}
    ours, dense = both_ways(kind, p, state, given, k)
    for found, wanted in ((ours[0], dense[0]), (ours[2], dense[2])):
        assert found.keys() == wanted.keys()
        for name in wanted:
            torch.testing.assert_close(
                found[name], wanted[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}"
            )
    torch.testing.assert_close(ours[1], dense[1], **tolerance)
    torch.testing.assert_close(ours[4], dense[4], **tolerance)
    assert ours[3] == pytest.approx(dense[3], rel=1e-6)
    return ours


SPARSE = pytest.mark.parametrize("kind", [TopK, BatchTopK])


def some_dead(kind, state, places):
    state["idle"][places] = 0.1 * 100 * B
    return state


@SPARSE
@pytest.mark.parametrize("k", [1, 3, F])
@pytest.mark.parametrize("dead", [[], [2, 5, 6, 11, 18], list(range(F))])
@pytest.mark.parametrize("aux_k", [None, 2, 50])
def test_sparse_step(kind, k, dead, aux_k):
    kind = kind(aux_k=aux_k, aux_coefficient=0.5)
    p, state, given = problem(kind)
    ours = assert_sparse_is_dense(kind, p, some_dead(kind, state, dead), given, k)
    assert (ours[0]["W_enc"] != 0).any()


@SPARSE
@pytest.mark.parametrize("dead", [[], [0, 3, 10]])
def test_sparse_step_of_a_transcoder(kind, dead):
    kind = kind(False)
    p, state, given = problem(kind, d_out=4)
    assert_sparse_is_dense(kind, p, some_dead(kind, state, dead), given, 3)


@SPARSE
def test_sparse_step_without_aux_k(kind):
    kind = kind(aux_coefficient=0.0)
    p, state, given = problem(kind)
    assert_sparse_is_dense(kind, p, some_dead(kind, state, [1, 2, 3]), given, 3)


@pytest.mark.parametrize("k", [0.1, 0.5, 2.5, 7.77, 18.9])
def test_sparse_step_of_real_valued_k(k):
    p, state, given = problem(BatchTopK())
    ours = assert_sparse_is_dense(BatchTopK(), p, state, given, k)
    positive = (BatchTopK().pre_activations(p, given.input) > 0).sum().item()
    assert ours[3] * B == pytest.approx(min(max(round(k * B), 1), positive))


@SPARSE
def test_sparse_step_where_nothing_is_positive(kind):
    """All pre-activations below 0: no code, no gradient but that of b_dec, everybody idle, θ towards 0."""
    p, state, given = problem(kind())
    with torch.no_grad():
        p["b_enc"] -= 1000
    ours = assert_sparse_is_dense(kind(), p, state, given, 3)
    assert ours[3] == 0
    assert (ours[0]["W_enc"] == 0).all()
    assert (ours[0]["b_dec"] != 0).all()
    assert (ours[2]["idle"] == B).all()


@SPARSE
@pytest.mark.parametrize("n", [1, 2])
def test_sparse_step_of_a_tiny_batch(kind, n):
    p, state, given = problem(kind(), n=n)
    assert_sparse_is_dense(kind(), p, state, given, 2)


@SPARSE
@pytest.mark.parametrize("size", [2**15 - 1, 2**15, 2**15 + 1, 40_000, 2**16 + 3])
def test_sparse_step_of_many_latents(kind, size):
    """16-bit latents end at 32767; the last latents are made to fire."""
    p, state, given = problem(kind(), d_in=3, d_out=3, size=size, n=4)
    with torch.no_grad():
        p["b_enc"][-3:] += 50
    ours = assert_sparse_is_dense(kind(), p, state, given, 5)
    assert (ours[0]["b_enc"][-3:] != 0).any()


@SPARSE
def test_sparse_step_in_float32(kind):
    """The precision of real runs: 1e-6 of the largest gradient."""
    p, state, given = problem(kind(), size=200, n=128, double=False)
    ours, dense = both_ways(kind(), p, some_dead(kind(), state, [1, 5]), given, 8)
    for name, wanted in dense[0].items():
        assert (ours[0][name] - wanted).abs().max() < 2e-6 * wanted.abs().max(), name
    assert ours[1].item() == pytest.approx(dense[1].item(), rel=1e-6)


@SPARSE
@pytest.mark.parametrize("k", [1, 3, 4])
def test_sparse_step_with_ties(kind, k):
    """Latents 2i and 2i+1 are twins: which of two equals is kept is free, the sums over twins are not."""
    kind = kind()
    p, state, given = problem(kind, size=20)
    with torch.no_grad():
        p["W_enc"][:, 1::2] = p["W_enc"][:, ::2]
        p["b_enc"][1::2] = p["b_enc"][::2]
        p["W_dec"][1::2] = p["W_dec"][::2]
    ours, dense = both_ways(kind, p, state, given, k)
    torch.testing.assert_close(ours[1], dense[1])
    torch.testing.assert_close(ours[4], dense[4])
    assert ours[3] == dense[3] <= k
    for name, axis in (("W_enc", 1), ("b_enc", 0), ("W_dec", 0)):
        found, wanted = (g[name].unflatten(axis, (10, 2)).sum(axis + 1) for g in (ours[0], dense[0]))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


@SPARSE
@pytest.mark.parametrize("k", [1, 4])
def test_equal_pre_activations_still_give_k(kind, k):
    """Every value equal: exactly k of each token, or k·B of the batch, in both paths."""
    kind = kind()
    p, state, given = problem(kind)
    with torch.no_grad():
        p["W_enc"].zero_()
        p["b_enc"].fill_(1.0)
    ours, dense = both_ways(kind, p, state, given, k)
    assert ours[3] == dense[3] == k


# ---------------------------------------------------------------- a plain training loop


@functools.cache
def plain_training(kind, member, steps, limit=1.0, warmup=0.05, decay=0.2, sparsity=0.25, **how):
    """One member by the book, in float64: autograd, rows, clipping, Adam (Kingma and Ba), rows."""
    p = {k: v[0].clone() for k, v in family_of(kind, [member], double=True).parameters.items()}
    state = {k: v.double() for k, v in kind.state(F).items()}
    mean, square = ({k: torch.zeros_like(v) for k, v in p.items()} for _ in range(2))
    b1, b2 = kind.betas
    for t in range(steps):
        x, target = batch(t, double=True, **how)
        share = min(1, (t + 1) / math.ceil(warmup * steps)) * min(1, (steps - t) / math.ceil(decay * steps))
        ramp = min(1, (t + 1) / math.ceil(sparsity * steps))
        leaves = {k: v.clone().requires_grad_() for k, v in p.items()}
        losses = kind.training_loss(leaves, state, x, target, Knobs(member.setting, ramp, t, steps))
        losses.total.backward()
        g = {k: torch.zeros_like(v) if v.grad is None else v.grad for k, v in leaves.items()}
        if kind.unit_norm:
            for i, row in enumerate(p["W_dec"]):
                g["W_dec"][i] -= (g["W_dec"][i] @ row) * row
        norm = math.sqrt(sum(float((v**2).sum()) for v in g.values()))
        for k, v in p.items():
            slope = g[k] * min(1.0, limit / norm)
            mean[k] = b1 * mean[k] + (1 - b1) * slope
            square[k] = b2 * square[k] + (1 - b2) * slope**2
            moved = mean[k] / (1 - b1 ** (t + 1)) / ((square[k] / (1 - b2 ** (t + 1))).sqrt() + 1e-8)
            p[k] = v - member.learning_rate * share * moved
        if kind.unit_norm:
            p["W_dec"] = p["W_dec"] / p["W_dec"].norm(dim=1, keepdim=True)
        state |= losses.state
    return p, state


@ENGINES
@EVERY
def test_engines_train_by_the_book(kind, engine):
    """24 steps in float64, three members of other settings, seeds and learning rates, each as if alone."""
    family = family_of(kind, double=True)
    train(double_rates(engine(family, options_for())), double=True)
    for m, member in enumerate(family.members):
        p, state = plain_training(kind, member, STEPS)
        for name, value in p.items():
            torch.testing.assert_close(
                family.parameters[name][m], value, rtol=1e-7, atol=1e-8,
                msg=lambda text, name=name: f"{name}: {text}",
            )  # fmt: skip
        for name, value in state.items():
            torch.testing.assert_close(family.state[name][m], value, rtol=1e-7, atol=1e-8)


@ENGINES
@pytest.mark.parametrize("kind", TRANSCODERS, ids=lambda kind: kind.name)
def test_engines_train_transcoders_by_the_book(kind, engine):
    how = {"d_in": D, "d_out": 4, "transcoder": True}
    member = Member("t", settings_of(kind)[1], 3, 2**-6)
    family = family_of(kind, [member], d_in=D, d_out=4, double=True)
    before = family.parameters["W_enc"].clone()
    other = family_of(kind, [member], d_in=D, d_out=4, double=True)
    train(double_rates(engine(family, options_for())), double=True, **how)
    train(LoopEngine(other, options_for(), closed_forms=False), double=True, **how)
    assert_families_equal(family, other, rtol=1e-7, atol=1e-8)
    assert (family.parameters["W_enc"] != before).any()


@ONE_EACH
@ENGINES
def test_float32_is_float64_but_for_rounding(kind, engine):
    """The precision of real runs: within 64 roundings of 1 after 20 steps (p-anneal 19, the others 2).

    Adam's ε is large, so that rounding is not scaled up to whole steps.
    """
    single = train(engine(family_of(kind), options_for(epsilon=1e-3)))
    start, oracle = in_float64(kind)
    assert (oracle.parameters["W_dec"] - start).abs().max() > 0.05
    bound = {"rtol": 0, "atol": 64 * torch.finfo(torch.float32).eps}
    assert_families_equal(single, oracle, check_dtype=False, **bound)


@functools.cache
def in_float64(kind):
    """The decoders at the start, and a family trained by autograd, with a large ε; nobody may change it."""
    oracle = family_of(kind, double=True)
    start = oracle.parameters["W_dec"].clone()
    train(LoopEngine(oracle, options_for(epsilon=1e-3), closed_forms=False), double=True)
    return start, oracle


# ---------------------------------------------------------------- members do not meet


def members_that_differ_alone(kind, d, size):
    """Members whose weights or state are not, bit for bit, those of the same member trained alone."""
    width = {"d_in": d, "d_out": d}
    together, found = train(LoopEngine(family_of(kind, size=size, **width), options_for()), **width), []
    for m, member in enumerate(together.members):
        alone = train(LoopEngine(family_of(kind, [member], size=size, **width), options_for()), **width)
        pairs = [(v[0], together.parameters[k][m]) for k, v in alone.parameters.items()]
        pairs += [(v[0], together.state[k][m]) for k, v in alone.state.items()]
        if not all(torch.equal(*pair) for pair in pairs):
            found.append(m)
    return found


@EVERY
def test_a_member_alone_is_the_member_in_a_family(kind):
    """Bit for bit in the loop engine, at sizes whose rows fill whole cache lines."""
    assert members_that_differ_alone(kind, 16, 32) == []


def test_a_member_alone_is_the_member_in_a_family_of_odd_sizes():
    """7 × 19 float32 are 532 bytes, no multiple of 64: member 1 begins in the middle of a cache line."""
    assert {kind.name: members_that_differ_alone(kind, 7, 19) for kind in KINDS[2:9:2]} == {
        kind.name: [] for kind in KINDS[2:9:2]
    }


@EVERY
def test_threads_do_not_change_a_bit(kind):
    three = train(LoopEngine(family_of(kind), options_for(), threads=3))
    assert_families_equal(healthy(kind, LoopEngine), three)


@ENGINES
def test_settings_seeds_and_rates_are_each_member_s_own(engine):
    """Changing one of the three for member 1 changes member 1 alone."""
    base = members_of(ReLU())
    plain = train(engine(family_of(ReLU(), base), options_for()))
    for change in ({"setting": 1.0}, {"seed": 9}, {"learning_rate": 2**-5}):
        changed = [base[0], Member(**(vars(base[1]) | change)), base[2]]
        other = train(engine(family_of(ReLU(), changed), options_for()))
        same = [torch.equal(plain.parameters["W_enc"][m], other.parameters["W_enc"][m]) for m in range(3)]
        assert same == [True, False, True], change


@ENGINES
def test_clipping_is_per_member(engine):
    """Member 1's huge λ makes a huge gradient: member 0, below the limit, is not clipped with it."""
    members = [Member("small", 0.0, 0, 2**-7), Member("huge", 2.0**20, 0, 2**-7)]
    options = StepOptions(Schedule(STEPS, sparsity_warmup=0.0), clip=1000.0)
    both = engine(family_of(ReLU(), members), options)
    logs = [both.step(batch(s), s, log=True) for s in range(4)]
    assert logs[0][0].gradient_norm < 1000 < logs[0][1].gradient_norm
    alone = engine(family_of(ReLU(), members[:1]), options)
    for s in range(4):
        alone.step(batch(s), s)
    torch.testing.assert_close(both.family.parameters["W_enc"][0], alone.family.parameters["W_enc"][0])
    free = engine(family_of(ReLU(), members[:1]), StepOptions(options.schedule, clip=1e9))
    for s in range(4):
        free.step(batch(s), s)
    torch.testing.assert_close(both.family.parameters["W_enc"][0], free.family.parameters["W_enc"][0])


@ENGINES
@EVERY
def test_decoder_rows_keep_norm_1_where_the_recipe_says(kind, engine):
    rows = healthy(kind, engine).parameters["W_dec"].norm(dim=-1)
    if kind.unit_norm:
        torch.testing.assert_close(rows, torch.ones_like(rows), rtol=0, atol=1e-6)
    else:
        assert (rows - 1).abs().max() > 0.01


def test_which_recipes_keep_norm_1():
    """TopK kinds, Gated, the paper's JumpReLU, P-anneal, the ReLU of 2023; not April 2024, January 2025."""
    assert [k for k, v in ARCHITECTURES.items() if not v().unit_norm] == ["relu"]
    assert ReLU(free_decoder_norms=False).unit_norm
    assert not JumpReLU(penalty="tanh").unit_norm


# ---------------------------------------------------------------- members that diverge


def poisoned(family, m):
    first = "W_enc" if "W_enc" in family.parameters else "W_dec"
    family.parameters[first][m, 0, 0] = math.nan
    return family


@ENGINES
@ONE_EACH
def test_a_member_with_nan_stops_alone(kind, engine):
    """Member 1 starts with a NaN: it stays as it is, the others are those of a family that never had it."""
    family = poisoned(family_of(kind), 1)
    before = {k: v[1].clone() for k, v in family.parameters.items()}
    state = {k: v[1].clone() for k, v in family.state.items()}
    running = engine(family, options_for())
    logs = [running.step(batch(s), s, log=True) for s in range(STEPS)]
    assert family.diverged == {1: 0}
    assert family.active == [0, 2]
    assert all(entry[1] is None and entry[0] is not None and entry[2] is not None for entry in logs)
    for name, value in before.items():
        torch.testing.assert_close(family.parameters[name][1], value, rtol=0, atol=2e-7, equal_nan=True)
    for name, value in state.items():
        torch.testing.assert_close(family.state[name][1], value, rtol=0, atol=0)
    assert_others_untouched(family, kind, engine)


@functools.cache
def healthy(kind, engine):
    """A run of one thread in which member 1 is fine; nobody may change it."""
    return train(engine(family_of(kind), options_for()), log_every=1)


def assert_others_untouched(family, kind, engine):
    """Members 0 and 2 equal, bit for bit, those of a run in which member 1 is fine."""
    for ours, theirs in (
        (family.parameters, healthy(kind, engine).parameters),
        (family.state, healthy(kind, engine).state),
    ):
        for name in ours:
            for m in (0, 2):
                assert torch.equal(ours[name][m], theirs[name][m]), (name, m)


@ENGINES
@ONE_EACH
def test_a_member_whose_learning_rate_explodes(kind, engine):
    """Learning rate 1e30: stopped when its loss is not finite, with the finite weights of the step before."""
    wild = [Member("m1", m.setting, m.seed, 1e30) if i == 1 else m for i, m in enumerate(members_of(kind))]
    family = family_of(kind, wild)
    running, kept = engine(family, options_for()), None
    for s in range(STEPS):
        before = {k: v[1].clone() for k, v in family.parameters.items()}
        running.step(batch(s), s, log=True)
        if kept is None and 1 in family.diverged:
            kept = before
            assert family.diverged == {1: s}
    assert kept is not None
    assert 1 <= family.diverged[1] <= 3
    for name, value in kept.items():
        assert value.isfinite().all(), name
        assert torch.equal(family.parameters[name][1], value), name
    assert_others_untouched(family, kind, engine)


@pytest.mark.parametrize(
    "engine",
    [
        LoopEngine,
        pytest.param(StackedEngine),
    ],
)
def test_a_stopped_member_s_unit_rows_keep_every_bit(engine):
    """Bringing a row to norm 1 again moves its last bits: not so for a member that was stopped."""
    family = poisoned(family_of(TopK()), 1)
    random = torch.randn(F, D, generator=torch.Generator().manual_seed(5))
    family.parameters["W_dec"][1] = 1.5 * random
    train(engine(family, options_for(steps=3)), range(3), log_every=1)
    assert torch.equal(family.parameters["W_dec"][1], 1.5 * random)


def test_a_batch_with_nan_stops_everybody_and_nothing_is_lost():
    """A NaN in the data is nobody's weights: all stop at that step with the weights from before."""
    family = family_of(TopK())
    engine = LoopEngine(family, options_for())
    train(engine, range(3))
    before = {k: v.clone() for k, v in family.parameters.items()}
    bad = batch.__wrapped__(3)  # its own: the others are shared
    bad.input[0, 0] = math.nan
    assert engine.step(bad, 3, log=True) == [None] * 3
    assert family.diverged == {0: 3, 1: 3, 2: 3}
    assert all(torch.equal(v, before[k]) for k, v in family.parameters.items())


@pytest.mark.parametrize("log_every", [1, 5])
def test_the_stack_reads_its_marks_at_log_steps(log_every):
    """The weights stop at once; the record is read at the next log step and names the step of the fall."""
    family = family_of(ReLU())
    engine = StackedEngine(family, options_for())
    train(engine, range(2), log_every=log_every)
    poisoned(family, 1)
    kept = family.parameters["W_dec"][1].clone()
    train(engine, range(2, 6), log_every=log_every)
    assert family.diverged == {1: 2}
    assert torch.equal(family.parameters["W_dec"][1], kept)


# ---------------------------------------------------------------- going on after a stop


@ENGINES
@ONE_EACH
def test_resuming_does_not_change_a_bit(kind, engine, parted=9):
    """Saved after a few steps, taken up by new objects: the same weights as without the stop."""
    whole = healthy(kind, engine)
    first = engine(family_of(kind), options_for())
    train(first, range(parted))
    tensors = {k: v.clone() for k, v in (first.family.tensors() | first.tensors()).items()}
    again = family_of(
        kind, [Member(m.run_id, m.setting, m.seed + 50, m.learning_rate) for m in members_of(kind)]
    )
    second = engine(again, options_for())
    again.load_tensors(tensors)
    second.load_tensors(tensors)
    assert_families_equal(train(second, range(parted, STEPS)), whole)


@ENGINES
def test_training_does_not_write_into_a_checkpoint_that_was_loaded(engine):
    """Two runs may start from the same tensors: the first must not move the second's start."""
    first = engine(family_of(ReLU()), options_for())
    train(first, range(3))
    tensors = {k: v.clone() for k, v in (first.family.tensors() | first.tensors()).items()}
    before = {k: v.clone() for k, v in tensors.items()}
    family = family_of(ReLU())
    second = engine(family, options_for())
    family.load_tensors(tensors)
    second.load_tensors(tensors)
    train(second, range(3, 6))
    assert all(torch.equal(v, before[k]) for k, v in tensors.items())


@pytest.mark.parametrize("first, second", [(LoopEngine, StackedEngine), (StackedEngine, LoopEngine)])
@ONE_EACH
def test_one_engine_takes_up_what_the_other_left(kind, first, second):
    start = double_rates(first(family_of(kind, double=True), options_for()))
    train(start, range(10), double=True)
    tensors = {k: v.clone() for k, v in (start.family.tensors() | start.tensors()).items()}
    whole = train(start, range(10, STEPS), double=True)
    family = family_of(kind, double=True)
    rest = double_rates(second(family, options_for()))
    family.load_tensors(tensors)
    rest.load_tensors(tensors)
    assert_families_equal(train(rest, range(10, STEPS), double=True), whole, rtol=1e-7, atol=1e-8)


def handed_over(diverged_at):
    """A loop run whose last member was stopped, taken up by the stack; member 0 of both."""
    runs = []
    for second in (LoopEngine, StackedEngine):
        family = family_of(ReLU(), double=True)
        engine = LoopEngine(family, options_for())
        train(engine, range(diverged_at), double=True)
        poisoned(family, 2)
        train(engine, range(diverged_at, 10), double=True)
        again = family_of(ReLU(), double=True)
        again.diverged |= family.diverged
        rest = double_rates(second(again, options_for()))
        tensors = family.tensors() | engine.tensors()
        again.load_tensors(tensors)
        rest.load_tensors(tensors)
        runs.append(train(rest, range(10, STEPS), double=True))
    return [{k: v[0] for k, v in run.parameters.items()} for run in runs]


def test_the_stack_takes_up_a_loop_whose_last_member_stopped_early():
    one, other = handed_over(diverged_at=3)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-7, atol=1e-8)


def test_the_stack_takes_up_a_loop_whose_last_member_never_started():
    one, other = handed_over(diverged_at=0)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-7, atol=1e-8)


def test_a_member_stopped_between_log_steps_stays_stopped_after_resuming():
    """Batch 2 overflows; the checkpoint after step 3 comes before the next log line."""
    family = family_of(TopK())
    engine = StackedEngine(family, options_for())
    for s in range(4):
        given = batch(s)
        engine.step(Batch(*(v * 1e30 for v in given)) if s == 2 else given, s)
    kept = {k: v.clone() for k, v in family.parameters.items()}
    tensors = {k: v.clone() for k, v in (family.tensors() | engine.tensors()).items()}
    again = family_of(TopK())
    again.load_tensors(tensors)
    again.diverged.update(family.diverged)  # as run.restore does
    rest = StackedEngine(again, options_for())
    rest.load_tensors(tensors)
    train(rest, range(4, 8))
    for name in ("W_enc", "b_enc", "b_dec"):
        assert torch.equal(again.parameters[name], kept[name]), name


def test_real_valued_k_rounds_alike_in_both_engines():
    """k·B = 0.1 · 125 = 12.5 codes, to even: 12."""
    for engine in (LoopEngine, StackedEngine):
        family = family_of(BatchTopK(), [Member("a", 0.1, 0, 2**-7), Member("b", 0.3, 0, 2**-7)])
        logs = engine(family, options_for()).step(batch(0, n=125), 0, log=True)
        assert logs[0].l0 * 125 == pytest.approx(12), engine.__name__


# ---------------------------------------------------------------- logs, options, small parts


@ENGINES
@pytest.mark.parametrize("kind", [ReLU(), TopK(), BatchTopK(), Gated()], ids=lambda kind: kind.name)
def test_log(kind, engine):
    """Loss, L0, FVU and gradient norm of the batch before the step, from the start weights."""
    family = family_of(kind)
    p = [{k: v[m].clone().requires_grad_() for k, v in family.parameters.items()} for m in range(3)]
    x, _ = given = batch(0)
    logs = engine(family, options_for()).step(given, 0, log=True)
    for m, entry in enumerate(logs):
        knobs = Knobs(family.members[m].setting, Schedule(STEPS).ramp(0), 0, STEPS)
        losses = kind.loss(p[m], kind.state(F), x, x, knobs)
        slopes = dict(
            zip(p[m], torch.autograd.grad(losses.total, list(p[m].values()), allow_unused=True), strict=True)
        )
        if kind.unit_norm:
            rows = p[m]["W_dec"].detach()
            slopes["W_dec"] = slopes["W_dec"] - (slopes["W_dec"] * rows).sum(1, keepdim=True) * rows
        norm = torch.cat([g.flatten() for g in slopes.values() if g is not None]).norm()
        assert entry.loss == pytest.approx(losses.total.item(), rel=1e-5)
        assert entry.l0 == pytest.approx((losses.latents != 0).sum().item() / B, rel=1e-6)
        fvu = ((losses.reconstruction - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
        assert entry.fvu == pytest.approx(fvu.item(), rel=1e-4)
        assert entry.gradient_norm == pytest.approx(norm.item(), rel=1e-4)


@ENGINES
def test_no_log_unless_asked(engine):
    assert engine(family_of(ReLU()), options_for()).step(batch(0), 0) == [None] * 3


@pytest.mark.parametrize("engine", [LoopEngine, StackedEngine])
@ONE_EACH
def test_the_batch_is_not_changed(kind, engine):
    """dictionary_learning scaled the caller's batches in place (TRAINING.md, 2.3)."""
    given = batch(0)
    before = given.input.clone()
    engine(family_of(kind), options_for()).step(given, 0, log=True)
    assert torch.equal(given.input, before)


@ONE_EACH
def test_bfloat16_products_train_float32_weights(kind):
    """Autocast on the CPU: finite after 20 steps, and errors within 15 % of the float32 run's."""
    one, other = family_of(kind), healthy(kind, StackedEngine)
    train(StackedEngine(one, options_for(autocast=True)))
    assert not one.diverged
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in one.parameters.values())
    x = batch(99).input
    errors = [[((family.sae(m)(x) - x) ** 2).sum().item() for m in range(3)] for family in (one, other)]
    assert errors[0] == pytest.approx(errors[1], rel=0.15)
    assert not torch.equal(one.parameters["W_dec"], other.parameters["W_dec"])


def test_engine_for():
    family = family_of(ReLU())
    assert isinstance(engine_for(family, options_for()), LoopEngine)
    assert isinstance(engine_for(family, options_for(), "loop", threads=2), LoopEngine)
    assert isinstance(engine_for(family, options_for(), "stacked"), StackedEngine)
    with pytest.raises(ValueError, match="auto, loop or stacked, got 'gpu'"):
        engine_for(family, options_for(), "gpu")


def test_remove_parallel():
    """What is left of a row's gradient is at right angles to the row, and nothing else is gone."""
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 5, 4, generator=random, dtype=torch.float64)
    normalise(rows)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(2, 5, dtype=torch.float64))
    g = torch.randn(2, 5, 4, generator=random, dtype=torch.float64)
    before = g.clone()
    remove_parallel(g, rows)
    assert (g * rows).sum(-1).abs().max() < 1e-14
    gone = before - g
    torch.testing.assert_close(gone, (gone * rows).sum(-1, keepdim=True) * rows)
    assert gone.abs().max() > 0.1


def test_normalise_keeps_a_row_of_zeros():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    normalise(rows)
    assert rows.tolist() == [[0.0, 0.0], pytest.approx([0.6, 0.8])]


def test_clip():
    """Two tensors, norm 5 together: to 2 by the factor 0.4; below the limit nothing changes."""
    g = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[4.0]])}
    assert clip(g, 2.0).item() == 5
    assert g["a"].tolist() == pytest.approx([1.2, 0.0])
    assert g["b"].item() == pytest.approx(1.6)
    assert clip(g, 2.5).item() == pytest.approx(2.0)
    assert g["b"].item() == pytest.approx(1.6)
    zero = {"a": torch.zeros(3)}
    assert clip(zero, 1.0).item() == 0
    assert zero["a"].tolist() == [0, 0, 0]


def test_norms_of_members():
    g = {"a": torch.tensor([[3.0, 0.0], [0.3, 0.0]]), "b": torch.tensor([[4.0], [0.4]])}
    torch.testing.assert_close(norms(g), torch.tensor([5.0, 0.5]))
