"""The optional penalties against double loops over latents and tokens, and against known values."""

import pytest
import reference_saes as plain
import torch

from trainers.architectures import ARCHITECTURES, Knobs, penalties

torch.set_num_threads(1)


def codes(tokens, latents, seed=0):
    """Sparse random codes in float64, with a latent that never fires and a token without codes."""
    random = torch.Generator().manual_seed(seed)
    f = torch.randn(tokens, latents, generator=random, dtype=torch.float64).relu()
    f[:, 1] = 0
    f[2] = 0
    return f.requires_grad_()


PAIRS = [
    (penalties.dependence, plain.dependence),
    (penalties.overlap, plain.overlap),
    (lambda f: penalties.excess_frequency(f, 0.2), lambda f: plain.excess_frequency(f, 0.2)),
]


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (7, 7)])  # fewer tokens than latents, more, as many
@pytest.mark.parametrize("ours, reference", PAIRS, ids=["independence", "contrastive", "frequency"])
def test_against_double_loops(ours, reference, shape):
    f = codes(*shape)
    found, wanted = ours(f), reference(f)
    assert wanted > 0.01
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    slopes = torch.autograd.grad(found, f)[0], torch.autograd.grad(wanted, f)[0]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("ours, reference", PAIRS, ids=["independence", "contrastive", "frequency"])
def test_a_stack_is_its_members(ours, reference):
    parts = [codes(6, 8, seed) for seed in range(3)]
    torch.testing.assert_close(ours(torch.stack(parts)), torch.stack([reference(f) for f in parts]))


def test_known_values():
    """Two equal latents: corr² = 1 for both orders, over F = 2. Two equal tokens: cosine 1. No codes: 0."""
    f = torch.tensor([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]], dtype=torch.float64)
    assert penalties.dependence(f).item() == pytest.approx(1.0)
    assert penalties.overlap(f).item() == pytest.approx(2 / 6)  # tokens 0 and 2, both orders, of six pairs
    assert penalties.excess_frequency(10 * f + 10, 0.1).item() == pytest.approx(2 * 0.9)
    nothing = torch.zeros(4, 3, requires_grad=True)
    total = (
        penalties.dependence(nothing) + penalties.overlap(nothing) + penalties.excess_frequency(nothing, 0.1)
    )
    assert total.item() == 0
    assert (torch.autograd.grad(total, nothing)[0] == 0).all()


def test_overlap_of_one_token_is_nothing():
    assert penalties.overlap(torch.ones(1, 5, dtype=torch.float64)).item() == 0


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_training_loss_adds_each_with_its_weight(name):
    """total(with) − total(without) = Σ weight × double loop, for every architecture."""
    kind = ARCHITECTURES[name]
    weights = {"independence": 0.3, "contrastive": 0.7, "frequency": 1.1, "frequency_limit": 0.05}
    random = torch.Generator().manual_seed(0)
    x = torch.randn(8, 5, generator=random, dtype=torch.float64) * 2
    p = {k: v.double() for k, v in kind().start(5, 5, 12, (torch.zeros(5), torch.zeros(5)), 0).items()}
    state = {k: v.double() for k, v in kind().state(12).items()}
    knobs = Knobs(3.0 if kind.setting_name == "k" else 0.5)
    alone, together = (kind(**given).training_loss(p, state, x, x, knobs) for given in ({}, weights))
    f = alone.latents
    sizes = f.abs() if kind.signed else f
    parts = [plain.dependence(f), plain.overlap(f), plain.excess_frequency(sizes, 0.05)]
    assert min(parts) > 0
    wanted = alone.total + 0.3 * parts[0] + 0.7 * parts[1] + 1.1 * parts[2]
    torch.testing.assert_close(together.total, wanted, rtol=1e-10, atol=1e-10)
