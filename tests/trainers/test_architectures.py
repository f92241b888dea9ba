"""Losses and gradients of seven architectures against plain modules written from the papers, in float64.

Weights and activations are random; the oracle is `reference_saes.py`, and for JumpReLU sums written by hand.
Both sides are float64, so that 1e-10 separates rounding from a wrong factor.
"""

import math

import pytest
import reference_saes as plain
import torch

from trainers.architectures import (
    ARCHITECTURES,
    BatchTopK,
    Gated,
    JumpReLU,
    Knobs,
    Matryoshka,
    PAnneal,
    ReLU,
    TopK,
    architecture,
    options,
    to_jumprelu,
)

torch.set_num_threads(1)
D, F, B = 6, 11, 9
EVERY = [kind() for kind in ARCHITECTURES.values()]
close = {"rtol": 1e-10, "atol": 1e-10}


def drawn(kind, seed=0, d_in=D, d_out=D, size=F):
    """Random float64 weights of a kind: names and shapes from its start, every value drawn anew."""
    random = torch.Generator().manual_seed(seed)
    start = kind.start(d_in, d_out, size, (torch.zeros(d_in), torch.zeros(d_out)), seed)
    p = {k: torch.randn(v.shape, generator=random, dtype=torch.float64) * 0.6 for k, v in start.items()}
    if "threshold" in p:
        p["threshold"] = p["threshold"].abs()  # negative ones have a test of their own
    return {k: v.requires_grad_() for k, v in p.items()}


def batch(seed=1, d_in=D, d_out=D, n=B, transcoder=False):
    """Float64 input and target; the same tensor for autoencoders."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d_in, generator=random, dtype=torch.float64) + 0.3
    if not transcoder:
        return x, x
    return x, torch.randn(n, d_out, generator=random, dtype=torch.float64)


def state_of(kind, size=F):
    return {k: v.double() for k, v in kind.state(size).items()}


def ours(kind, p, x, target, setting, state=None, **knobs):
    """Loss, gradients and the whole answer of the code under test."""
    losses = kind.training_loss(
        p, state_of(kind) if state is None else state, x, target, Knobs(setting, **knobs)
    )
    found = torch.autograd.grad(losses.total, list(p.values()), allow_unused=True)
    gradients = {
        k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(p.items(), found, strict=True)
    }
    return losses.total.detach(), gradients, losses


def assert_same(found, reference, total):
    """Loss and every gradient equal the reference's."""
    loss, gradients, _ = found
    torch.testing.assert_close(loss, total.detach(), **close)
    wanted = reference if isinstance(reference, dict) else reference.gradients(total)
    assert wanted.keys() == gradients.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            gradients[name], value, **close, msg=lambda text, name=name: f"{name}: {text}"
        )


# ---------------------------------------------------------------- ReLU


@pytest.mark.parametrize("transcoder", [False, True])
@pytest.mark.parametrize(
    "power, inside, epsilon", [(1.0, 1.0, 0), (1.0, 3.0, 0), (0.5, 1.0, 1e-3), (0.25, 0.1, 1e-3), (1.5, 2, 0)]
)
@pytest.mark.parametrize("free", [True, False])
def test_relu(free, power, inside, epsilon, transcoder):
    kind = ReLU(not transcoder, p=power, inside_scale=inside, free_decoder_norms=free, epsilon=epsilon)
    d_out = 4 if transcoder else D
    p, (x, target) = drawn(kind, d_out=d_out), batch(d_out=d_out, transcoder=transcoder)
    reference = plain.ReferenceReLU(p, subtract=not transcoder)
    total = reference.loss(x, target, 0.7, p=power, inside_scale=inside, free_norms=free, epsilon=epsilon)
    assert_same(ours(kind, p, x, target, 0.7), reference, total)


def test_relu_ramp_scales_the_penalty_alone():
    """Knobs.ramp = 1/4 is λ/4."""
    kind, (x, _) = ReLU(), batch()
    p = drawn(kind)
    reference = plain.ReferenceReLU(p)
    assert_same(ours(kind, p, x, x, 0.8, ramp=0.25), reference, reference.loss(x, x, 0.2))


def test_relu_by_hand():
    """One token, two latents, numbers small enough for pencil: x = (1, 2), f = (3, 0), x̂ = (6, 0) + b_dec."""
    p = {
        "W_enc": torch.tensor([[1.0, -1.0], [1.0, 0.0]]), "b_enc": torch.zeros(2),
        "W_dec": torch.tensor([[2.0, 0.0], [0.0, 5.0]]), "b_dec": torch.zeros(2),
    }  # fmt: skip
    x = torch.tensor([[1.0, 2.0]])
    loss = ReLU().loss(p, {}, x, x, Knobs(0.5)).total
    assert loss.item() == pytest.approx((6 - 1) ** 2 + 2**2 + 0.5 * 3 * 2)
    loss = ReLU(p=0.5, epsilon=0.0).loss(p, {}, x, x, Knobs(0.5)).total
    assert loss.item() == pytest.approx(29 + 0.5 * math.sqrt(6))


# ---------------------------------------------------------------- Gated


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"auxiliary": False},
        {"frozen_decoder": False},
        {"tied": False},
        {"rescale": False},
        {"tied": False, "frozen_decoder": False},
        {"subtract_decoder_bias": False},
    ],
)
def test_gated(options):
    kind, (x, target) = Gated(**options), batch(transcoder="subtract_decoder_bias" in options)
    p = drawn(kind)
    assert ("r_mag" in p) == (kind.tied and kind.rescale)
    assert ("W_mag" in p) == (not kind.tied)
    reference = plain.ReferenceGated(p, subtract=kind.subtract_decoder_bias)
    total = reference.loss(x, target, 0.7, auxiliary=kind.auxiliary, frozen=kind.frozen_decoder)
    found = ours(kind, p, x, target, 0.7)
    assert_same(found, reference, total)
    torch.testing.assert_close(found[2].latents, reference.codes(x), **close)
    torch.testing.assert_close(kind.encode(p, x), reference.codes(x), **close)


def test_gated_third_term_leaves_a_frozen_decoder_alone():
    """Without latents that fire and at λ = 0 the decoder's only gradient would be that of the third term."""
    kind, (x, _) = Gated(), batch()
    p = drawn(kind)
    with torch.no_grad():
        p["b_mag"] -= 100  # no magnitude: f = 0
    assert (ours(kind, p, x, x, 0.0)[1]["W_dec"] == 0).all()
    assert ours(kind, p, x, x, 0.0)[1]["W_enc"].abs().max() > 0
    assert ours(Gated(frozen_decoder=False), p, x, x, 0.0)[1]["W_dec"].abs().max() > 0


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("subtract", [True, False])
def test_gated_converts_to_jumprelu(rescale, subtract):
    """Equal outputs on 2000 tokens; about half of the unclamped thresholds are below 0."""
    kind = Gated(subtract, rescale=rescale)
    p = {k: v.detach() for k, v in drawn(kind, size=40).items()}
    x, _ = batch(n=2000)
    gain = p["r_mag"].exp() if rescale else 1.0
    raw = p["b_mag"] - gain * p["b_gate"]
    assert (raw < 0).sum() >= 10
    assert (raw > 0).sum() >= 10
    converted, q = to_jumprelu(kind, p)
    f = kind.encode(p, x)
    assert isinstance(converted, JumpReLU)
    torch.testing.assert_close(q["threshold"], torch.where(raw > 0, raw, 0.0))
    assert 0.1 < (f > 0).double().mean() < 0.6
    torch.testing.assert_close(converted.encode(q, x), f, **close)
    torch.testing.assert_close(converted.decode(q, f), kind.decode(p, f), **close)


def test_gated_with_two_encoders_does_not_convert():
    kind = Gated(tied=False)
    with pytest.raises(ValueError, match="tied"):
        to_jumprelu(kind, drawn(kind))


# ---------------------------------------------------------------- JumpReLU

JUMPS = [
    {"penalty": "step"},
    {"penalty": "target", "coefficient": 3.0},
    {"penalty": "tanh", "tanh_slope": 1.5, "pre_coefficient": 0.3},
]


@pytest.mark.parametrize("transcoder", [False, True])
@pytest.mark.parametrize("options", JUMPS, ids=lambda o: o["penalty"])
def test_jumprelu(options, transcoder):
    kind = JumpReLU(not transcoder, bandwidth=0.8, **options)
    setting = 2.5 if kind.penalty == "target" else 0.7
    d_out = 4 if transcoder else D
    p, (x, target) = drawn(kind, d_out=d_out), batch(d_out=d_out, transcoder=transcoder)
    reference = plain.ReferenceJumpReLU(p, subtract=not transcoder)
    given = {"penalty": kind.penalty, "slope": kind.tanh_slope, "pre_coefficient": kind.pre_coefficient}
    given["coefficient"] = kind.coefficient
    wanted = reference.hand_gradients(x, target, setting, bandwidth=0.8, **given)
    z, f = reference.codes(x)
    assert (reference.kernel(z, 0.8) > 0).sum() > 10  # the window is not empty
    assert ((f > 0) & (reference.kernel(z, 0.8) > 0)).any()
    assert ((f == 0) & (reference.kernel(z, 0.8) > 0)).any()  # the half below the threshold is in it
    found = ours(kind, p, x, target, setting)
    assert_same(found, wanted, reference.loss(x, target, setting, **given))
    torch.testing.assert_close(kind.encode(p, x), f, **close)


@pytest.mark.parametrize("options", JUMPS, ids=lambda o: o["penalty"])
def test_jumprelu_ramp(options):
    """The ramp scales the sparsity term, never the pre-activation term or the error."""
    kind, (x, _) = JumpReLU(**options), batch()
    p, setting = drawn(kind), 3.0
    totals = [ours(kind, p, x, x, setting, ramp=r)[0] for r in (0.0, 0.5, 1.0)]
    assert totals[2] - totals[0] > 0.1
    torch.testing.assert_close(totals[1] - totals[0], totals[2] - totals[1], **close)
    wanted = plain.ReferenceJumpReLU(p).loss(
        x, x, 0.0 if kind.penalty != "target" else setting, penalty=kind.penalty, slope=kind.tanh_slope,
        pre_coefficient=kind.pre_coefficient, coefficient=0.0,
    )  # fmt: skip
    torch.testing.assert_close(totals[0], wanted.detach(), **close)


def test_jumprelu_threshold_gradient_by_hand():
    """One latent, two tokens, z = 0.9 and 1.2, θ = 1, ε = 1: both are in the window, one fires.

    x̂ = (0, 1.2), e = (−0.9, 0), G = 2e/2 = (−0.9, 0), so dR/dθ = −θ/ε Σ G w = 0.9; L0 gives −λ/ε · 2/2.
    """
    p = {
        "W_enc": torch.ones(1, 1), "b_enc": torch.zeros(1), "W_dec": torch.ones(1, 1),
        "b_dec": torch.zeros(1), "threshold": torch.ones(1),
    }  # fmt: skip
    p = {k: v.double().requires_grad_() for k, v in p.items()}
    x = torch.tensor([[0.9], [1.2]], dtype=torch.float64)
    loss, gradients, _ = ours(JumpReLU(bandwidth=1.0), p, x, x, 0.3)
    assert loss.item() == pytest.approx(0.81 / 2 + 0.3 / 2)
    assert gradients["threshold"].item() == pytest.approx(0.9 - 0.3)


def test_jumprelu_never_fires_below_zero():
    """A threshold below 0 is no licence for negative codes: f = relu(z) there."""
    kind = JumpReLU()
    p = {k: v.detach() for k, v in drawn(kind).items()}
    p["threshold"] = torch.full((F,), -5.0, dtype=torch.float64)
    x, _ = batch()
    torch.testing.assert_close(kind.encode(p, x), kind.pre_activations(p, x).clamp(min=0), **close)
    assert kind.loss(p, {}, x, x, Knobs(0.1)).latents.min() == 0


# ---------------------------------------------------------------- TopK and its kin

DEAD = [0, 3, 4, 8]


def with_dead(kind, dead, steps=100):
    """State in which only `dead` latents have been silent for a tenth of a run of `steps` batches."""
    state = state_of(kind)
    state["idle"][:] = 0.1 * steps * B - 1
    state["idle"][dead] = 0.1 * steps * B
    return state


@pytest.mark.parametrize("k", [1, 3, F])
@pytest.mark.parametrize("dead", [[], DEAD, list(range(F))])
@pytest.mark.parametrize("aux_k, alpha", [(None, 1 / 32), (2, 0.5), (100, 0.5), (None, 0.0)])
def test_topk(k, dead, aux_k, alpha):
    kind, (x, _) = TopK(aux_k=aux_k, aux_coefficient=alpha), batch()
    p = drawn(kind)
    reference = plain.ReferenceTopK(p)
    total = reference.loss(x, x, k, dead=dead if alpha else [], aux_k=aux_k, alpha=alpha)
    found = ours(kind, p, x, x, k, with_dead(kind, dead), steps=100)
    assert_same(found, reference, total)
    torch.testing.assert_close(found[2].latents, reference.codes(x, k)[1], **close)
    torch.testing.assert_close(kind.encode(kind.inference(p, {}, k), x), reference.codes(x, k)[1], **close)


@pytest.mark.parametrize("kind", [TopK(False), BatchTopK(False)], ids=lambda kind: kind.name)
def test_topk_transcoders(kind):
    (x, target), p = batch(d_out=4, transcoder=True), drawn(kind, d_out=4)
    reference = (plain.ReferenceBatchTopK if isinstance(kind, BatchTopK) else plain.ReferenceTopK)(
        p, subtract=False
    )
    found = ours(kind, p, x, target, 3, with_dead(kind, DEAD), steps=100)
    assert_same(found, reference, reference.loss(x, target, 3, dead=DEAD))


@pytest.mark.parametrize("k", [1, 2.5, 0.4, 7.77, F])
@pytest.mark.parametrize("dead", [[], DEAD])
def test_batch_topk(k, dead):
    """k·B = 22.5, 3.6 and 69.93 are no whole numbers: the nearest is kept."""
    kind, (x, _) = BatchTopK(), batch()
    p = drawn(kind)
    reference = plain.ReferenceBatchTopK(p)
    found = ours(kind, p, x, x, k, with_dead(kind, dead), steps=100)
    assert_same(found, reference, reference.loss(x, x, k, dead=dead))
    f = found[2].latents
    torch.testing.assert_close(f, reference.codes(x, k)[1], **close)
    assert (f > 0).sum() == min(round(k * B), (kind.pre_activations(p, x) > 0).sum())


@pytest.mark.parametrize("decay", [0.99, 0.5])
def test_batch_topk_threshold(decay):
    """θ after n batches is Σ decay^(n−j) m_j / Σ decay^(n−j), m_j the smallest value kept."""
    kind = BatchTopK(threshold_decay=decay)
    p, state = {k: v.detach() for k, v in drawn(kind).items()}, state_of(kind)
    smallest = []
    for seed in range(4):
        x, _ = batch(seed=seed)
        f = kind.training_loss(p, state, x, x, Knobs(2.5)).latents
        state = kind.training_loss(p, state, x, x, Knobs(2.5)).state
        smallest.append(min(v for v in f.flatten().tolist() if v > 0))
    weights = [decay ** (3 - j) for j in range(4)]
    wanted = sum(w * m for w, m in zip(weights, smallest, strict=True)) / sum(weights)
    ready = kind.inference(p, state, 2.5)
    assert ready["threshold"].item() == pytest.approx(wanted, rel=1e-12)
    x, _ = batch(seed=9, n=50)
    z = plain.ReferenceBatchTopK(p).codes(x, 1)[0].detach()
    torch.testing.assert_close(kind.encode(ready, x), torch.where(z > wanted, z, 0.0), **close)
    assert 0 < (kind.encode(ready, x) > 0).sum() < (z > 0).sum()


def test_idle_counts_tokens_since_the_last_code():
    """A latent that fires in a batch starts again at 0; the others grow by the batch's tokens."""
    kind, (x, _) = TopK(), batch()
    p = drawn(kind)
    found = ours(kind, p, x, x, 1, {"idle": torch.arange(F, dtype=torch.float64)})[2]
    fires = (found.latents > 0).any(0)
    assert 0 < fires.sum() < F
    wanted = torch.where(fires, 0.0, torch.arange(F, dtype=torch.float64) + B)
    torch.testing.assert_close(found.state["idle"], wanted)


@pytest.mark.parametrize(
    "prefixes, weights, sizes, factors",
    [
        (
            (0.25, 0.5, 1.0),
            None,
            (3, 6, 11),
            (1 / 3,) * 3,
        ),  # 11/4 = 2.75, 11/2 = 5.5: Python rounds to 3 and 6
        ((0.01, 1.0), (2.0, 0.5), (0, 11), (2.0, 0.5)),  # the first prefix is b_dec alone
        ((1.0,), None, (11,), (1.0,)),
    ],
)
@pytest.mark.parametrize("dead", [[], DEAD])
def test_matryoshka(prefixes, weights, sizes, factors, dead):
    kind, (x, _) = Matryoshka(prefixes=prefixes, weights=weights), batch()
    p = drawn(kind)
    reference = plain.ReferenceMatryoshka(p)
    reference.sizes, reference.weights = sizes, factors
    found = ours(kind, p, x, x, 3.3, with_dead(kind, dead), steps=100)
    assert_same(found, reference, reference.loss(x, x, 3.3, dead=dead))


@pytest.mark.parametrize("kind", [BatchTopK(), Matryoshka()], ids=lambda kind: kind.name)
def test_the_final_threshold_keeps_k_per_token(kind):
    """On the activations that it was found on, exactly; in slices as in one piece; a real-valued k too."""
    p = {k: v.detach() for k, v in drawn(kind, size=40).items()}
    x, _ = batch(n=5000)
    for k in (0.5, 2, 3.7):
        found = kind.threshold(p, x, k)
        f = kind.encode(p | {"threshold": found}, x)
        assert int((f > 0).sum()) == round(k * 5000)
        z = kind.pre_activations(p, x).relu().flatten().sort().values
        assert z[-round(k * 5000) - 1] < found < z[-round(k * 5000)]
    assert float(kind.threshold(p, x, 39.9)) == 0  # fewer than so many are above 0
    assert BatchTopK(threshold_from="running").threshold(p, x, 2) is None


# ---------------------------------------------------------------- P-anneal


def annealed(kind, steps, lam=0.7, n=B):
    """A run on frozen random weights: per step the penalty in the loss, the factor, and the codes."""
    p, state, found = {k: v.detach() for k, v in drawn(kind).items()}, state_of(kind), []
    for step in range(steps):
        x, _ = batch(seed=100 + step, n=n)
        losses = kind.loss(p, state, x, x, Knobs(lam, step=step, steps=steps))
        error = plain.Reference.mean_square(losses.reconstruction, x)
        found.append(((losses.total - error) / lam, float(state["factor"]), losses.latents))
        state = losses.state
    return found


def p_sum(f, p, epsilon):
    """mean_b Σ ((f + ε)^p − ε^p), or Σ f for p = 1."""
    return float(f.sum() / len(f) if p == 1 else ((f + epsilon) ** p - epsilon**p).sum() / len(f))


def test_p_anneal_schedule_and_renormalisation():
    """128 steps, 4 changes in [1/4, 3/4), exact in binary: p = 1, .8, .6, .4, .2 from steps 32, 48, 64, 80.

    At each change λ takes the factor Σ f^p_old / Σ f^p_new of the 3 batches before (Karvonen et al.); the
    expected factors are summed here from the codes.
    """
    kind = PAnneal(changes=4, start_share=0.25, end_share=0.75, window=3)
    run = annealed(kind, 128)
    powers, factor = [1.0, 0.8, 0.6, 0.4, 0.2], 1.0
    for step, (penalty, used, f) in enumerate(run):
        changes = 0 if step < 32 else min((step - 16) // 16, 4)
        if step in (32, 48, 64, 80):
            window = [run[s][2] for s in range(step - 3, step)]
            old = sum(p_sum(g, powers[changes - 1], kind.epsilon) for g in window)
            new = sum(p_sum(g, powers[changes], kind.epsilon) for g in window)
            factor *= old / new
        assert used == pytest.approx(factor, rel=1e-10), step
        assert float(penalty) == pytest.approx(factor * p_sum(f, powers[changes], kind.epsilon), rel=1e-9), (
            step
        )
    assert factor != pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("steps", [37, 100, 400, 1000])
@pytest.mark.parametrize("p_end", [0.2, 0.5])
def test_p_anneal_reaches_its_last_p(steps, p_end):
    """With the default options too, and before the end of the run."""
    kind = PAnneal(p_end=p_end)
    powers = [kind.power(kind.done(Knobs(1.0, step=s, steps=steps))) for s in range(steps)]
    assert powers == sorted(powers, reverse=True)
    assert powers[0] == 1
    assert powers[-1] == pytest.approx(p_end, abs=1e-12)
    assert powers[math.ceil(0.91 * steps) - 1] == pytest.approx(p_end, abs=1e-12)
    assert len(set(powers)) == 11


def test_p_anneal_renormalises_when_changes_share_a_step():
    """8 steps, 8 changes in [1/4, 3/4): p falls by two changes a step; the penalty keeps its size."""
    kind = PAnneal(changes=8, start_share=0.25, end_share=0.75, window=1)
    run = annealed(kind, 8)
    powers = [kind.power(kind.done(Knobs(1.0, step=s, steps=8))) for s in range(8)]
    assert len(set(powers)) == 6  # after 0, 1, 3, 5, 7, 8 changes
    for step in range(2, 7):
        before = run[step - 1][2]
        wanted = p_sum(before, powers[step - 1], kind.epsilon) / p_sum(before, powers[step], kind.epsilon)
        assert run[step][1] / run[step - 1][1] == pytest.approx(wanted, rel=1e-9)


def test_p_anneal_gradient():
    """At p = 0.2 and factor 3 the loss is the ReLU reference with λ·3."""
    kind, (x, _) = PAnneal(), batch()
    p, state = drawn(kind), state_of(kind) | {"factor": torch.tensor(3.0, dtype=torch.float64)}
    reference = plain.ReferenceReLU(p)
    total = reference.loss(x, x, 2.1, p=0.2, free_norms=False, epsilon=kind.epsilon)
    assert_same(ours(kind, p, x, x, 0.7, state, step=99, steps=100), reference, total)


# ---------------------------------------------------------------- all of them


def a_setting(kind):
    return 3.0 if isinstance(kind, TopK) else 0.5


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
def test_a_stack_is_its_members(kind):
    """Three members at once, each with its own setting: loss, gradients and state of each alone."""
    settings = [1.0, 3.0, 2.0] if isinstance(kind, TopK) else [0.1, 0.9, 0.4]
    parts, (x, _) = [drawn(kind, seed) for seed in range(3)], batch()
    state = with_dead(kind, DEAD) if isinstance(kind, TopK) else state_of(kind)
    stack = {k: torch.stack([p[k].detach() for p in parts]).requires_grad_() for k in parts[0]}
    states = {k: torch.stack([v] * 3) for k, v in state.items()}
    knobs = Knobs(torch.tensor(settings), step=50, steps=100)
    losses = kind.training_loss(stack, states, x, x, knobs)
    gradients = torch.autograd.grad(losses.total.sum(), list(stack.values()))
    for m, (p, setting) in enumerate(zip(parts, settings, strict=True)):
        exact = float(torch.tensor(setting))  # λ in float32, as the stack holds it
        total, wanted, alone = ours(kind, p, x, x, exact, state, step=50, steps=100)
        torch.testing.assert_close(losses.total[m].detach(), total, **close)
        for (name, _), g in zip(stack.items(), gradients, strict=True):
            torch.testing.assert_close(g[m], wanted[name], **close)
        assert alone.state.keys() == losses.state.keys()
        for name, value in alone.state.items():
            torch.testing.assert_close(losses.state[name][m], value, **close)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.name)
def test_start(kind):
    """Unit decoder rows, the encoder their transpose, b_dec the mean; the seed alone decides."""
    mean = torch.arange(D).float()
    p = kind.start(D, D, F, (mean, mean), 3)
    torch.testing.assert_close(p["W_dec"].norm(dim=1), torch.ones(F))
    if "W_enc" in p:  # matching pursuit encodes by its decoder
        torch.testing.assert_close(p["W_enc"], p["W_dec"].T)
    torch.testing.assert_close(p["b_dec"], mean)
    again, other = kind.start(D, D, F, (mean, mean), 3), kind.start(D, D, F, (mean, mean), 4)
    assert all((p[k] == again[k]).all() for k in p)
    assert (p["W_dec"] != other["W_dec"]).any()
    assert p["b_dec"].data_ptr() != mean.data_ptr()


@pytest.mark.parametrize(
    "kind", [k(False) for k in ARCHITECTURES.values() if k.transcodes], ids=lambda kind: kind.name
)
def test_start_of_a_transcoder(kind):
    """The encoder starts centred: pre-activations of the mean input are 0. b_dec is the mean target."""
    means = torch.arange(D).float(), torch.ones(4)
    p = kind.start(D, 4, F, means, 3)
    assert p["W_enc"].shape == (D, F)
    assert p["W_dec"].shape == (F, 4)
    torch.testing.assert_close(p["b_dec"], means[1])
    bias = "b_gate" if isinstance(kind, Gated) else "b_enc"
    torch.testing.assert_close(
        kind.pre_activations(p, means[0][None], bias=bias), torch.zeros(1, F), atol=1e-6, rtol=0
    )


def test_options_make_the_same_architecture_again():
    made = architecture("matryoshka", prefixes=[0.5, 1.0], aux_k=7, threshold_decay=0.9)
    assert made == Matryoshka(prefixes=(0.5, 1.0), aux_k=7, threshold_decay=0.9)
    assert options(made) == {"prefixes": [0.5, 1.0], "aux_k": 7, "threshold_decay": 0.9}
    assert architecture(made.name, **options(made)) == made
    for kind in EVERY:
        assert options(kind) == {}


@pytest.mark.parametrize(
    "name, given, said",
    [
        ("topkk", {}, "topk"),
        ("relu", {"insde_scale": 1}, "inside_scale"),
        ("relu", {"p": 0}, "p must be above 0"),
        ("relu", {"inside_scale": 0}, "inside_scale must be above 0"),
        ("jumprelu", {"penalty": "l1"}, "step, tanh or target"),
        ("gated", {"tied": "no"}, "tied wants true or false, got 'no'"),
        ("topk", {"aux_coefficient": "big"}, "aux_coefficient wants a number"),
        ("topk", {"aux_k": -3}, "aux_k must be 1 or above"),
        ("topk", {"aux_k": 2.5}, "aux_k wants"),
        ("topk", {"dead_after": 0.0}, "dead_after must be above 0"),
        ("batch_topk", {"threshold_decay": 2}, "threshold_decay must be 0 or above and below 1"),
        ("jumprelu", {"bandwidth": "x"}, "bandwidth wants a number"),
        ("relu", {"p": True}, "p wants a number"),
        ("jumprelu", {"bandwidth": 0}, "bandwidth must be above 0"),
        ("p_anneal", {"p_end": 0}, "p_end must be above 0"),
        ("p_anneal", {"p_end": 1.5}, "p_end must be above 0 and at most"),
        ("p_anneal", {"start_share": 0.9, "end_share": 0.3}, "start_share < end_share"),
        ("matryoshka", {"prefixes": [0.5]}, "end with 1"),
        ("matryoshka", {"prefixes": [0.5, 0.2, 1]}, "rise"),
        ("matryoshka", {"prefixes": [0, 1]}, "above 0"),
        ("matryoshka", {"prefixes": []}, "end with 1"),
        ("matryoshka", {"prefixes": [0.5, 1], "weights": [1]}, "as many weights"),
    ],
)
def test_wrong_names_and_options_are_named(name, given, said):
    with pytest.raises(ValueError, match=said):
        architecture(name, **given)
