"""Synthetic activations: rates, correlations and recovery against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from trainers.activations import ActivationError, ground_truth, recovery, synthetic_stream
from trainers.activations.directions import welch_bound

DRAWS = 40_000


def made(seed=0, features=64, d=32, **options):
    options = {"l0": 6.0} | options
    return ground_truth(features, d, generator=torch.Generator().manual_seed(seed), **options)


def fired(truth, seed=1, draws=DRAWS):
    return truth.fired(draws, torch.Generator().manual_seed(seed)).double()


def assert_rates(found, wanted):
    """Each rate is inside a binomial band that all 64 leave with probability 1e-3 together."""
    wanted = np.asarray(wanted)
    band = stats.norm.isf(1e-3 / 2 / len(wanted)) * np.sqrt(wanted * (1 - wanted) / DRAWS)
    assert (np.abs(np.asarray(found) - wanted) < band).all()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"probabilities": "uniform"},
        {"exponent": 2.0, "l0": 3.0},  # the most frequent feature is capped
        {"correlation": 0.6, "blocks": 8},
        {"correlation": 0.9, "rank": 3},
        {"children": 3, "child_chance": 0.4},
    ],
)
def test_features_fire_as_often_as_asked(options):
    truth = made(**options)
    assert truth.l0 == pytest.approx(options.get("l0", 6.0), rel=1e-12)
    rates = fired(truth).mean(0)
    assert_rates(rates, truth.probabilities)
    assert float(truth.probabilities.max()) <= 0.9


def test_power_law_of_the_probabilities():
    p = made(exponent=0.5, l0=4.0).probabilities
    assert float(p[0] / p[15]) == pytest.approx(4.0)  # 16 ** 0.5


def both_fire(p, q, r):
    """Probability that two standard normals with correlation r are both in their upper tails p and q."""
    return stats.multivariate_normal.cdf([stats.norm.ppf(p), stats.norm.ppf(q)], cov=[[1, r], [r, 1]])


def test_pairs_fire_together_as_the_copula_says():
    truth = made(correlation=0.6, blocks=8, l0=12.0)
    on = fired(truth)
    pairs = [(0, 8), (1, 9), (5, 61), (0, 1), (2, 63)]  # the first three share a block
    wanted = [
        both_fire(
            float(truth.probabilities[i]), float(truth.probabilities[j]), 0.6 if (i - j) % 8 == 0 else 0.0
        )
        for i, j in pairs
    ]
    assert_rates([float((on[:, i] * on[:, j]).mean()) for i, j in pairs], wanted)


def test_low_rank_correlations_have_both_signs():
    truth = made(correlation=0.8, rank=2, l0=16.0)
    latent = truth.loadings @ truth.loadings.T
    assert torch.allclose(latent.diagonal(), torch.tensor(0.8))
    on = fired(truth)
    pairs = [divmod(int(latent.argmin()), 64), divmod(int((latent - torch.eye(64)).argmax()), 64)]
    assert latent[pairs[0]] < -0.7 and latent[pairs[1]] > 0.7
    wanted = [
        both_fire(*(float(truth.probabilities[i]) for i in pair), float(latent[pair])) for pair in pairs
    ]
    assert_rates([float((on[:, i] * on[:, j]).mean()) for i, j in pairs], wanted)


def test_a_child_fires_only_with_its_parent():
    truth = made(children=3, child_chance=0.4)
    on = fired(truth).bool()
    children = truth.parents >= 0
    assert int(children.sum()) == 48 and (truth.parents[~children] == -1).all()
    assert torch.bincount(truth.parents[children]).tolist() == [3] * 16
    assert not (on[:, children] & ~on[:, truth.parents[children]]).any()


@pytest.mark.parametrize(
    ("magnitudes", "sd"),
    [
        ("half_normal", math.sqrt(math.pi / 2 - 1)),
        ("lognormal", math.sqrt(math.exp(0.25**2) - 1)),
        ("constant", 0.0),
    ],
)
def test_magnitudes_have_mean_one(magnitudes, sd):
    _, features = made(magnitudes=magnitudes).sample(DRAWS, torch.Generator().manual_seed(2))
    values = features[features > 0].double()
    assert float(values.mean()) == pytest.approx(1, abs=4 * sd / math.sqrt(len(values)) + 1e-9)
    assert float(values.std()) == pytest.approx(sd, rel=0.03, abs=1e-9)


def test_activations_are_the_sum_of_features_and_noise():
    truth = made(noise=0.3)
    x, features = truth.sample(DRAWS, torch.Generator().manual_seed(3))
    rest = (x - features @ truth.directions).double()
    spread = 0.3 / math.sqrt(2 * rest.numel())  # standard error of a standard deviation
    assert float(rest.std()) == pytest.approx(0.3, abs=4 * spread)


def test_directions_keep_apart():
    assert welch_bound(3, 2) == pytest.approx(0.5)  # three directions at 120 degrees
    truth = made(features=96, d=32, max_cosine=0.35)
    cosines = (truth.directions @ truth.directions.T).fill_diagonal_(0)
    assert float(cosines.abs().max()) <= 0.35
    assert torch.allclose(truth.directions.norm(dim=1), torch.ones(96))
    square = made(features=32, d=32, max_cosine=0.0).directions
    assert torch.allclose(square @ square.T, torch.eye(32), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l0": 0.0}, "l0 must be above 0"),
        ({"l0": 60.0}, "l0 is at most 57.6"),
        ({"correlation": 1.0}, "correlation must be"),
        ({"blocks": 4}, "need a correlation"),
        ({"correlation": 0.5, "blocks": 4, "rank": 2}, "from blocks or from a rank"),
        ({"correlation": 0.5, "children": 1}, "cannot be combined"),
        ({"children": 4}, "whole number of parents"),
        ({"max_cosine": 0.05}, "at least 0.126"),  # sqrt((64 - 32) / (32 * 63))
        ({"magnitudes": "lognorml"}, "did you mean 'lognormal'"),
        ({"probabilities": "powr"}, "did you mean 'power'"),
    ],
)
def test_numbers_that_do_not_fit_together(options, message):
    with pytest.raises(ValueError, match=message):
        made(**options)


def test_the_truth_itself_is_recovered_in_any_order_and_scale():
    truth = made()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(4))
    rows = torch.cat([truth.directions[order] * torch.linspace(0.1, 9, 64)[:, None], torch.zeros(7, 32)])
    found = recovery(rows, truth)
    for value in (found.mean_max_cosine, found.weighted_mean_max_cosine, found.matched_cosine,
                  found.weighted_matched_cosine, found.recovered_share):  # fmt: skip
        assert value == pytest.approx(1, abs=1e-6)
    assert (order[found.matched] == torch.arange(64)).all()


def test_the_opposite_direction_is_not_recovery():
    truth = made(features=32, d=32, max_cosine=0.0)
    assert recovery(-truth.directions, truth).mean_max_cosine == pytest.approx(0, abs=1e-5)


def test_one_row_for_two_features_counts_once_in_the_matching():
    truth = made(features=32, d=32, max_cosine=0.0)
    found = recovery(truth.directions[:8].repeat(4, 1), truth)
    assert found.mean_max_cosine == pytest.approx(8 / 32, abs=1e-5)
    assert found.matched_cosine == pytest.approx(8 / 32, abs=1e-5)
    assert found.recovered_share == 8 / 32
    weights = truth.probabilities / truth.probabilities.sum()
    assert found.weighted_mean_max_cosine == pytest.approx(float(weights[:8].sum()), abs=1e-5)


def test_fewer_rows_than_features():
    truth = made(features=32, d=32, max_cosine=0.0)
    found = recovery(truth.directions[:8], truth)
    assert found.matched_cosine == pytest.approx(0.25) and (found.matched[8:] == -1).all()


def test_random_rows_have_the_expected_largest_cosine():
    # (1 + cos) / 2 of random directions is Beta((d-1)/2, (d-1)/2); the mean of the largest of F follows from
    # its distribution function to the power F: E max = 1 - integral of P(max <= c) over c in [-1, 1].
    d, rows, features = 32, 200, 400
    law = stats.beta((d - 1) / 2, (d - 1) / 2)
    wanted = 1 - integrate.quad(lambda c: law.cdf((1 + c) / 2) ** rows, -1, 1)[0]
    second = 1 - integrate.quad(lambda c: 2 * c * law.cdf((1 + c) / 2) ** rows, -1, 1)[0]  # E max^2
    spread = math.sqrt(second - wanted**2) / math.sqrt(features)
    truth = made(features=features, d=d)
    found = recovery(torch.randn(rows, d, generator=torch.Generator().manual_seed(5)), truth)
    assert found.mean_max_cosine == pytest.approx(wanted, abs=4 * spread)
    assert found.recovered_share == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [(torch.ones(3, 5), r"wanted \[latents, 32\]"), (torch.full((3, 32), torch.nan), "3 of 3 rows")],
)
def test_decoders_that_cannot_be_compared(rows, message):
    with pytest.raises(ValueError, match=message):
        recovery(rows, made())


def test_same_seed_same_stream_also_after_a_resume():
    one, two = (synthetic_stream(64, 32, l0=4, batch_size=16, seed=7, noise=0.1) for _ in range(2))
    ahead = [next(one).input for _ in range(3)]
    state = one.state()
    after = [next(one).input for _ in range(3)]
    two.restore(state)
    assert all(torch.equal(a, next(two).input) for a in after)
    assert not torch.equal(ahead[0], ahead[1])
    assert not torch.equal(ahead[0], next(synthetic_stream(64, 32, l0=4, batch_size=16, seed=8)).input)


def test_one_truth_for_several_seeds():
    one, two = (synthetic_stream(64, 32, l0=4, seed=seed, truth_seed=1) for seed in (2, 3))
    assert torch.equal(one.truth.directions, two.truth.directions)
    assert not torch.equal(next(one).input, next(two).input)


def test_a_state_of_another_stream_is_refused():
    one, two = (synthetic_stream(64, 32, l0=4, seed=seed) for seed in (2, 3))
    with pytest.raises(ActivationError, match="seed was 2, is 3"):
        two.restore(one.state())


def test_batches_are_scaled_to_the_root_of_the_width():
    stream = synthetic_stream(128, 32, l0=8, batch_size=20_000)
    batch = next(stream)
    assert batch.target is batch.input and batch.input.shape == (20_000, 32)
    assert float(batch.input.norm(dim=1).mean()) == pytest.approx(math.sqrt(32), rel=0.01)
    assert torch.allclose(batch.input.mean(0), stream.scaling.input_mean, atol=0.06)
