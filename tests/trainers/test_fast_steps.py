"""The closed forms of the CPU engine against autograd, on codes both sparse and dense.

In float64 both agree to 1e-9 of the largest gradient, so that a wrong term cannot hide in rounding. In
float32, as in real runs, sums over n terms of either path round by about sqrt(n) 6e-8 of their size: for the
hundreds of terms here 1e-6 of the largest gradient, measured against the float64 oracle.
"""

import numpy as np
import pytest
import torch

from trainers.activations import Batch, Scaling
from trainers.architectures import (
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
from trainers.steps import LoopEngine
from trainers.steps.closed_forms import by_architecture, dense, kernels, selection, sparse, sparse_gates
from trainers.steps.closed_forms.memory import Scratch, keep_freed_memory
from trainers.steps.closed_forms.selection import Encoder
from trainers.steps.engine import StepOptions

torch.set_num_threads(1)
D, SIZE, TOKENS = 16, 150, 600  # three slices, the last a short one; no size a multiple of another


def problem(kind, bias=0.0, number=torch.float64, d_out=None, size=SIZE, n=TOKENS):
    """Random parameters; `bias` below 0 makes the codes sparse."""
    random = torch.Generator().manual_seed(3)
    start = kind.start(D, d_out or D, size, (torch.zeros(D), torch.zeros(d_out or D)), 0)
    p = {k: v + 0.2 * torch.randn(v.shape, generator=random) for k, v in start.items()}
    for name in p.keys() & {"b_enc", "b_gate"}:
        p[name] += bias
    if "threshold" in p:
        p["threshold"][:3] = torch.tensor([-0.2, 0.0, 0.01])
    x = torch.randn(n, D, generator=random)
    target = x if d_out is None else torch.randn(n, d_out, generator=random)
    p = {k: v.to(number).requires_grad_() for k, v in p.items()}
    return p, Batch(x.to(number), target.to(number))


def oracle(kind, p, batch, knobs, state):
    """Gradients, loss, new state and x̂ by autograd, in float64."""
    p = {k: v.detach().double().requires_grad_() for k, v in p.items()}
    losses = kind.training_loss(p, state, batch.input.double(), batch.target.double(), knobs)
    found = torch.autograd.grad(losses.total, list(p.values()))
    l0 = (losses.latents != 0).sum().item() / len(batch.input)
    return (
        dict(zip(p, found, strict=True)),
        losses.total.detach(),
        losses.state,
        (l0, losses.reconstruction.detach()),
    )


def assert_same(ours, wanted, limit):
    assert ours.gradients.keys() == wanted[0].keys()
    for name, value in wanted[0].items():
        worst = (ours.gradients[name] - value).abs().max() / value.abs().max()
        assert worst < limit, (name, worst)
    assert float(ours.loss) == pytest.approx(float(wanted[1]), rel=limit)
    assert ours.seen[0] == pytest.approx(wanted[3][0])
    torch.testing.assert_close(ours.seen[1].double(), wanted[3][1], rtol=0, atol=20 * limit)


def dense_step(kind, p, batch, knobs):
    return getattr(dense, kind.name)(kind, p, {}, batch, knobs, Scratch(), True)


def sparse_step(kind, p, batch, knobs):
    bias = "b_gate" if kind.name == "gated" else "b_enc"
    encoder = by_architecture.encoder_of(kind, p, bias, batch, Scratch())
    return getattr(sparse_gates, kind.name)(kind, p, encoder, batch, knobs)


def wide_step(kind, p, batch, knobs):
    encoder = by_architecture.encoder_of(kind, p, "b_enc", batch, Scratch())
    return sparse_gates.jumprelu_wide(kind, p, encoder, batch, knobs, Scratch())


GATES = [
    ReLU(),
    ReLU(free_decoder_norms=False),
    ReLU(inside_scale=0.5),
    JumpReLU(bandwidth=0.5),
    JumpReLU(),
    Gated(),
    Gated(rescale=False),
]
CASES = [(k, s) for k in GATES for s in (dense_step, sparse_step)]
CASES += [(k, wide_step) for k in GATES if isinstance(k, JumpReLU)]
GATE_STEPS = pytest.mark.parametrize(("kind", "step"), CASES)


@pytest.mark.slow
@GATE_STEPS
@pytest.mark.parametrize("bias", [0.0, -2.0])
def test_every_path_has_the_gradients_of_autograd(kind, step, bias):
    p, batch = problem(kind, bias)
    knobs = Knobs(0.7, ramp=0.5)
    with torch.no_grad():
        ours = step(kind, p, batch, knobs)
    wanted = oracle(kind, p, batch, knobs, {})
    assert 0 < wanted[3][0] < SIZE
    assert_same(ours, wanted, 1e-9)


@GATE_STEPS
def test_every_path_in_float32(kind, step):
    p, batch = problem(kind, -1.0, torch.float32)
    with torch.no_grad():
        ours = step(kind, p, batch, Knobs(0.7))
    assert all(v.dtype == torch.float32 for v in ours.gradients.values())
    assert_same(ours, oracle(kind, p, batch, Knobs(0.7), {}), 1e-6)


@pytest.mark.parametrize("kind", [type(k)(False) for k in GATES if k in (ReLU(), JumpReLU(), Gated())])
@pytest.mark.parametrize("step", [dense_step, sparse_step])
def test_transcoders(kind, step):
    p, batch = problem(kind, d_out=5)
    with torch.no_grad():
        ours = step(kind, p, batch, Knobs(0.7))
    assert_same(ours, oracle(kind, p, batch, Knobs(0.7), {}), 1e-9)


@GATE_STEPS
def test_nothing_fires(kind, step):
    """All pre-activations far below 0: only b_dec has a gradient, and no value is missing or infinite."""
    p, batch = problem(kind, -1000.0)
    with torch.no_grad():
        ours = step(kind, p, batch, Knobs(0.7))
    assert ours.seen[0] == 0
    for name, value in ours.gradients.items():
        assert (value != 0).any() == (name == "b_dec"), name
        assert value.isfinite().all()


@pytest.mark.parametrize(("bias", "wanted"), [(0.0, "dense"), (-2.0, "sparse"), (-5.0, "sparse")])
@pytest.mark.parametrize("kind", [ReLU(), Gated()])
def test_density_chooses_the_path(kind, bias, wanted, monkeypatch):
    """Half of all latents fire without a bias, about 2 % with one of -2 (rows of norm 1.3)."""
    taken = []
    monkeypatch.setattr(dense, kind.name, lambda *a: taken.append("dense"))
    monkeypatch.setattr(sparse_gates, kind.name, lambda *a: taken.append("sparse"))
    p, batch = problem(kind, bias)
    with torch.no_grad():
        by_architecture.closed_form(kind)(kind, p, {}, batch, Knobs(0.7), Scratch(), False)
    assert taken == [wanted]


def test_jumprelu_has_three_paths(monkeypatch):
    """Many fire; few fire but half of all are near their thresholds; few of either."""
    taken = []
    monkeypatch.setattr(dense, "jumprelu", lambda *a: taken.append("dense"))
    for name in ("jumprelu", "jumprelu_wide"):
        monkeypatch.setattr(sparse_gates, name, lambda *a, name=name: taken.append(name))
    for bias, bandwidth in ((0.0, 0.1), (-2.0, 8.0), (-2.0, 0.1)):
        kind = JumpReLU(bandwidth=bandwidth)
        p, batch = problem(kind, bias)
        with torch.no_grad():
            by_architecture.closed_form(kind)(kind, p, {}, batch, Knobs(0.7), Scratch(), False)
    assert taken == ["dense", "jumprelu_wide", "jumprelu"]


def test_options_without_a_closed_form_are_left_to_autograd():
    left = [
        MatchingPursuit(), Matryoshka(contrastive=0.1), ReLU(p=0.5), ReLU(frequency=0.1), PAnneal(),
        JumpReLU(penalty="tanh"), JumpReLU(penalty="target"),
        Gated(tied=False), Gated(auxiliary=False), Gated(frozen_decoder=False), TopK(independence=0.1),
    ]  # fmt: skip
    assert [by_architecture.closed_form(k) for k in left] == [None] * len(left)
    covered = [*GATES, TopK(), AbsTopK(), HierarchicalTopK(), BatchTopK(), Matryoshka()]
    assert None not in [by_architecture.closed_form(k) for k in covered]


@pytest.mark.slow
@pytest.mark.parametrize("dead", [[], list(range(0, SIZE, 3)), list(range(SIZE))])
@pytest.mark.parametrize("k", [0.5, 3, 20])
@pytest.mark.parametrize(
    "kind",
    [
        Matryoshka(aux_coefficient=0.5, aux_k=4),
        Matryoshka(aux_coefficient=0.5, aux_k=90),
        Matryoshka(prefixes=(0.001, 0.002, 0.5, 1.0), weights=(3.0, 1.0, 0.0, 0.25)),
    ],
)
def test_matryoshka(kind, k, dead):
    """Prefixes may be empty, weights any; AuxK sparse (4 of many) and dense (90 of 50)."""
    p, batch = problem(kind)
    state = {name: v.double() for name, v in kind.state(SIZE).items()}
    state["idle"][dead] = 1e6
    with torch.no_grad():
        ours = sparse.step(kind, p, state, batch, Knobs(k, steps=100), Scratch(), True)
    wanted = oracle(kind, p, batch, Knobs(k, steps=100), state)
    assert_same(ours, wanted, 1e-9)
    for name, value in wanted[2].items():
        torch.testing.assert_close(ours.state[name], value, rtol=1e-12, atol=0)


@pytest.mark.parametrize("bias", [0.0, -6.0])
def test_budgets_of_hierarchical_topk(bias):
    """Ranks within tokens; with a bias far below 0 many tokens have fewer positive latents than budgets."""
    p, batch = problem(HierarchicalTopK(), bias)
    state = {name: v.double() for name, v in TopK().state(SIZE).items()}
    with torch.no_grad():
        ours = sparse.step(HierarchicalTopK(), p, state, batch, Knobs(12, steps=100), Scratch(), True)
    wanted = oracle(HierarchicalTopK(), p, batch, Knobs(12, steps=100), state)
    assert (wanted[3][0] < 11) == (bias < 0)
    assert_same(ours, wanted, 1e-9)


@pytest.mark.parametrize("dead", [[], list(range(0, SIZE, 3)), list(range(SIZE))])
@pytest.mark.parametrize("aux_k", [4, 90])
def test_signed_codes(dead, aux_k):
    """AbsTopK's negative values, among the chosen and in AuxK, sparse (4 of many) and dense (90 of 50)."""
    kind = AbsTopK(aux_coefficient=0.5, aux_k=aux_k)
    p, batch = problem(kind)
    state = {name: v.double() for name, v in kind.state(SIZE).items()}
    state["idle"][dead] = 1e6
    with torch.no_grad():
        ours = sparse.step(kind, p, state, batch, Knobs(7, steps=100), Scratch(), True)
    wanted = oracle(kind, p, batch, Knobs(7, steps=100), state)
    assert wanted[3][0] == 7
    assert_same(ours, wanted, 1e-9)
    torch.testing.assert_close(ours.state["idle"], wanted[2]["idle"], rtol=1e-12, atol=0)


def encoder_of(z):
    """An encoder whose pre-activations are these."""
    return Encoder(torch.eye(z.shape[1], dtype=z.dtype), torch.zeros(z.shape[1], dtype=z.dtype), z, Scratch())


def as_matrix(codes):
    f = np.zeros(codes.shape)
    f[codes.rows, codes.places] = codes.values
    return torch.from_numpy(f)


@pytest.mark.parametrize("size", [1, 7, 64, 129, 1000, 2100])
@pytest.mark.parametrize("k", [1, 5, 60, 10_000])
def test_the_k_highest_of_each_token(size, k):
    z = torch.randn(530, size, generator=torch.Generator().manual_seed(size), dtype=torch.float64)
    z[7] = -z[7].abs()  # nothing positive
    kept = min(k, size)
    limits = z.sort(1, descending=True).values[:, kept - 1 : kept]
    codes = selection.token_codes(encoder_of(z), k)
    torch.testing.assert_close(as_matrix(codes), z.relu() * (z >= limits), rtol=0, atol=0)
    assert (np.diff(codes.rows.astype(int) * size + codes.places) > 0).all()


@pytest.mark.parametrize("k", [1, 4, 9])
def test_equal_values_give_exactly_k(k):
    """Values 0 to 3 only: many ties at every limit, each kind of row."""
    z = torch.randint(0, 4, (300, 130), generator=torch.Generator().manual_seed(0)).double()
    codes = selection.token_codes(encoder_of(z), k)
    counts = np.bincount(codes.rows, minlength=300)
    assert (counts == np.minimum(k, (z > 0).sum(1).numpy())).all()
    sums = np.bincount(codes.rows, weights=codes.values, minlength=300)
    torch.testing.assert_close(torch.from_numpy(sums), z.topk(k).values.sum(1))


def test_loops_compile_where_nothing_can_be_kept():
    """A function of no file has no folder for its machine code, as in an installation that is read-only."""
    assert kernels.compiled(eval("lambda a: a + 1"))(1) == 2


@pytest.mark.parametrize("number", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 7, 60])
def test_rows_of_any_scale(k, number):
    """Each row's limit is looked for from the last row's: 30 orders of magnitude up and down, and ties."""
    random = torch.Generator().manual_seed(4)
    scales = 10.0 ** torch.randint(-30, 30, (400, 1), generator=random)
    z = (torch.randn(400, 200, generator=random, dtype=torch.float64) * scales).to(number)
    z[::3] = z[::3].sign() * torch.rand(len(z[::3]), 200, generator=random).lt(0.1)  # 0, 1, -1
    z[1::7, ::2] *= 1e-6
    wanted = z.topk(k).values.clamp_min(0)
    f = as_matrix(selection.token_codes(encoder_of(z), k)).to(number)
    torch.testing.assert_close(f.topk(k).values, wanted, rtol=0, atol=0)
    assert ((f > 0).sum(1) == (wanted > 0).sum(1)).all()


@pytest.mark.parametrize("times", [2.0**-12, 2.0**12])
def test_what_may_count_scales_with_the_activations(times):
    """By a power of two no number rounds otherwise: of all z, thresholds and widths alike, the same fire."""
    threshold, width = torch.tensor([-0.3, 0.0, 0.001, 0.2, 5.0]), 0.125
    once = sparse_gates.window_start(JumpReLU(bandwidth=width), {"threshold": threshold})
    found = sparse_gates.window_start(JumpReLU(bandwidth=times * width), {"threshold": times * threshold})
    assert (found == times * once).all() and (once < threshold.numpy() - width / 2).all()


@pytest.mark.parametrize("k", [1, 8, 30])
def test_a_likely_limit_leaves_somewhat_more_than_k(k):
    """Of 1,024 tokens of 300 latents with normal z, of which it sees 128: all kept values, not many more."""
    z = torch.from_numpy(np.random.default_rng(k).standard_normal((1024, 300)).astype(np.float32))
    above = (z > selection.likely_limit(encoder_of(z), k)).sum().item()
    assert 1.1 * k * 1024 < above < 2 * (k + 0.25) * 1024


@pytest.mark.parametrize("apart", [4, 20, 500, 10**6])
@pytest.mark.parametrize("k", [1, 7, 50])
def test_values_a_few_roundings_apart(k, apart):
    """Between neighbouring floats there is no limit to look for; a stable sort says which are the highest."""
    draws = np.random.default_rng(0).integers(0, apart, size=(64, 100), dtype=np.int32)
    z = (np.float32(1).view(np.int32) + draws).view(np.float32)
    wanted = np.sort(np.argsort(-z, axis=1, kind="stable")[:, :k], axis=1)
    codes = selection.token_codes(encoder_of(torch.from_numpy(z)), k)
    assert (codes.places.reshape(64, k) == wanted).all()


@pytest.mark.parametrize("odd", [np.inf, np.nan])
def test_rows_with_infinite_values_or_none_end(odd):
    z = torch.randn(40, 90, generator=torch.Generator().manual_seed(4)).numpy()
    z[3, 10:30], z[4, 5], z[5, :] = odd, odd, odd
    places, values, ends = np.empty(z.size, np.int32), np.empty(z.size, z.dtype), np.empty(40, np.int32)
    n = kernels.highest(z, 12, z.dtype.type(selection.SMALLEST), places, values, ends)
    assert n == 480 and (np.diff(ends, prepend=0) == 12).all()
    assert not np.isfinite(values[36:48]).any() and not np.isfinite(values[48:60]).all()


@pytest.mark.parametrize("k", [0.01, 0.3, 2, 30, 400])
@pytest.mark.parametrize("rising", [False, True])
def test_the_highest_of_the_batch(k, rising):
    """`rising`: the first tokens are the smallest by far, so that the guess of the limit is far off."""
    z = torch.randn(700, 140, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if rising:
        z *= torch.linspace(0.01, 5, 700, dtype=torch.float64)[:, None]
    kept = min(round(k * 700), int((z > 0).sum()))
    limit = z.flatten().sort(descending=True).values[kept - 1]
    codes = selection.batch_codes(encoder_of(z), k)
    assert len(codes.values) == kept
    torch.testing.assert_close(as_matrix(codes), z * (z >= limit) * (z > 0), rtol=0, atol=0)


def test_a_guess_that_is_too_high_is_taken_back():
    """The first 128 tokens are a thousand times the rest: their limit lets too few values through."""
    z = torch.rand(600, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    z[:128] = (z[:128] + 1) * 1000
    codes = selection.batch_codes(encoder_of(z), 10)
    assert len(codes.values) == 6000
    assert set(z[:128].flatten().tolist()) <= set(codes.values.tolist())


@pytest.mark.parametrize("kind", [TopK(), BatchTopK(), Matryoshka(), *GATES])
def test_values_that_are_no_numbers_reach_the_loss(kind):
    """A NaN among the inputs of a transcoder, whose target has none."""
    kind = type(kind)(False)
    p, batch = problem(kind, -2.0, torch.float32, d_out=4)
    batch.input[300, 2] = torch.nan
    state = kind.state(SIZE)
    with torch.no_grad(), np.errstate(all="ignore"):
        step = by_architecture.closed_form(kind)(
            kind, p, state, batch, Knobs(2.0, steps=100), Scratch(), False
        )
    finite = [step.loss.isfinite()] + [g.isfinite().all() for g in step.gradients.values()]
    assert not all(finite)


def test_paths_do_not_depend_on_who_else_is_trained():
    """One member dense, one between, one sparse: each alone is bit for bit what it is in the family."""
    settings = [(0.01, 1e-3), (1.0, 2e-2), (8.0, 2e-2)]
    members = [Member(f"m{i}", s, i, rate) for i, (s, rate) in enumerate(settings)]
    scaling = Scaling(1.0, 1.0, torch.zeros(D), torch.zeros(D))
    random = torch.Generator().manual_seed(5)
    directions = torch.randn(40, D, generator=random) / 5
    batches = [torch.randn(300, 40, generator=random).relu() @ directions for _ in range(25)]

    def trained(some, threads):
        family = Family("f", ReLU(), some, d_in=D, d_out=D, dictionary_size=128, scaling=scaling)
        engine = LoopEngine(family, StepOptions(Schedule(25)), threads)
        for i, x in enumerate(batches):
            logs = engine.step(Batch(x, x), i, log=True)
        return family, logs

    whole, logs = trained(members, 3)
    assert logs[0].l0 > by_architecture.SPARSE_BELOW * 128 > logs[2].l0
    for m, member in enumerate(members):
        alone, _ = trained([member], 1)
        for name, value in alone.parameters.items():
            assert torch.equal(value[0], whole.parameters[name][m]), (m, name)


def test_scratch_blocks_are_used_again():
    scratch = Scratch()
    first = scratch.take("f", (10, 20), torch.float32)
    assert scratch.take("f", (5, 20), torch.float32).data_ptr() == first.data_ptr()
    assert scratch.take("g", (10, 20), torch.float32).data_ptr() != first.data_ptr()
    assert scratch.take("f", (30, 20), torch.float64).shape == (30, 20)


def test_freed_memory_is_kept_where_the_c_library_can():
    import platform

    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
