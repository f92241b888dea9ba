"""Parts of errors: against plain least squares, on errors whose parts are known, and on real SAEs."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

from frontier.distributions import jackknife_error
from trainers import load_language_model
from trainers.activations import evaluation_windows
from trainers.studies.cross_fitted_maps import GROUPS, MapMoments
from trainers.studies.error_anatomy import error_anatomy

matplotlib.use("Agg")


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def moments(z, error):
    found = MapMoments(z.shape[1], error.shape[1], GROUPS, z.device)
    for group, (part, left) in enumerate(zip(z.chunk(GROUPS), error.chunk(GROUPS), strict=True)):
        found.add(group, part[:50], left[:50])
        found.add(group, part[50:], left[50:])
    return found


def plain_loss(z, error, fit, score, ridge):
    """Squared error of a ridge map by numpy's least squares with rows √(n ridge) I below the data."""
    mean, spread = z[fit].mean(0), z.std(0)
    spread = np.where(spread > 0, spread, np.inf)
    design, below = (z[fit] - mean) / spread, np.sqrt(fit.sum() * ridge) * np.eye(z.shape[1])
    wanted = np.concatenate([error[fit] - error[fit].mean(0), np.zeros((z.shape[1], error.shape[1]))])
    weights = np.linalg.lstsq(np.concatenate([design, below]), wanted, rcond=None)[0]
    predicted = (z[score] - mean) / spread @ weights + error[fit].mean(0)
    return np.square(error[score] - predicted).sum()


def predictable(random, noise=3.0):
    z = torch.randn(800, 30, generator=random) * torch.logspace(-2, 2, 30) + 7
    z[:, 3] = 5  # a column that does not vary
    weights = torch.randn(30, 3, generator=random) / z.std(0).clamp_min(1e-6)[:, None]
    return z, z @ weights + noise * torch.randn(800, 3, generator=random)


def test_a_latent_that_fires_faintly_where_maps_are_fitted_does_not_spoil_them(random):
    """Once at 1e-4 in the first group, at 1 in the second: what maps leave is that without it, to 1 %."""
    z, error = predictable(random)
    rare = torch.zeros(800, 1)
    rare[5], rare[100:110] = 1e-4, 1.0
    without, with_it = (
        moments(columns, error).unexplained().left[0] for columns in (z, torch.cat([z, rare], dim=1))
    )
    assert with_it == pytest.approx(without, rel=0.01)


def test_maps_are_ridge_regressions_on_other_groups_and_refitted_without_each(random):
    """Every one of the 8 maps and of the 56 refitted ones against least squares in another form."""
    z, error = predictable(random)
    found = moments(z, error).unexplained()
    z, error, group = z.double().numpy(), error.double().numpy(), np.repeat(np.arange(GROUPS), 100)

    def left(out):
        return sum(
            plain_loss(z, error, (group != k) & (group != out), group == k, found.ridges[k])
            for k in range(GROUPS) if k != out
        )  # fmt: skip

    np.testing.assert_allclose(found.left, [left(out) for out in (-1, *range(GROUPS))], rtol=1e-8)


def test_the_ridge_is_no_step_away_from_the_best(random):
    """Against 30 ridges by brute force on the group that judges: none is better."""
    z, error = predictable(random, noise=20.0)
    found = moments(z, error).unexplained()
    z, error, group = z.double().numpy(), error.double().numpy(), np.repeat(np.arange(GROUPS), 100)
    for k in range(GROUPS):
        judge = (k + 1) % GROUPS
        fit = (group != k) & (group != judge)
        tried = [plain_loss(z, error, fit, group == judge, r) for r in np.geomspace(1e-6, 1e4, 30)]
        own = plain_loss(z, error, fit, group == judge, found.ridges[k])
        assert own <= min(tried) * (1 + 1e-6)
    assert found.at_edge == 0


def test_a_ridge_at_an_end_of_those_tried_is_counted(random):
    """Errors that are exactly linear want no ridge, errors of nothing want the largest."""
    z, _ = predictable(random, noise=0.0)
    assert moments(z[:, 4:], z[:, 4:7].double()).unexplained().at_edge == GROUPS
    nothing = moments(z, torch.randn(800, 3, generator=random)).unexplained()
    assert nothing.at_edge > 0 and nothing.ridges.max() == pytest.approx(1e4, rel=0.03)


def test_an_unpredictable_error_has_a_share_of_about_zero_however_many_latents(random):
    z = torch.randn(1200, 400, generator=random).relu()
    z[:, :50] = 0  # dead latents
    error = torch.randn(1200, 4, generator=random)
    found = moments(z, error)
    share = 1 - found.unexplained().left[0] / found.centred()[0]
    assert abs(share) < 0.03  # plain least squares: about -0.6


@pytest.mark.slow
def test_errors_of_shares_are_those_of_fresh_text_and_the_share_rises_with_it(random):
    """60 texts of 8 groups with effects of their own: the mean error beside the scatter of the shares.

    And a share is a lower bound: twice the text predicts more, by about what `more` has said.
    """

    def text(seed, size):
        random.manual_seed(seed)
        z = torch.randn(size, 40, generator=random) * torch.rand(8, 40, generator=random).add(
            0.5
        ).repeat_interleave(size // 8, 0)
        return z, 0.3 * z[:, :4] + torch.randn(size, 4, generator=random)

    def shares(seed, size):
        found = moments(*text(seed, size))
        return 1 - found.unexplained().left / found.centred()

    few = np.array([shares(seed, 800) for seed in range(60)])
    errors = np.array([jackknife_error(one[1:]) for one in few])
    assert 0.85 < np.sqrt(np.square(errors).mean()) / few[:, 0].std(ddof=1) < 1.25
    more = (GROUPS - 1) * (few[:, 0] - few[:, 1:].mean(1))
    many = np.array([shares(seed, 1600)[0] for seed in range(60)])
    gain = many.mean() - few[:, 0].mean()
    assert gain > 0 and 0.35 < gain / more.mean() < 0.65  # half of what unlimited text would add


class Shrunk:
    """x̂ = 0.8 x + a nonlinear part: of the error, all but the square is linear in x."""

    dictionary_size, d_in, d_out = 5, 128, 128

    def __init__(self, name, nonlinear):
        self.identity, self.nonlinear = {"run_id": name}, nonlinear

    def encode(self, x):
        return x[:, :5].relu()

    def reconstruct(self, x, f):
        return 0.8 * x + self.nonlinear * x.square()


@pytest.fixture(scope="module")
def model():
    return load_language_model()


@pytest.fixture(scope="module")
def tokens(model):
    return evaluation_windows(model, "standard-library", 16, None, progress=False)[0]


def test_known_parts_are_found_and_differences_are_paired(model, tokens):
    x = model.capture(tokens, ["mlp_out.1"])["mlp_out.1"][model.counted(tokens)]
    size = float(x.std())
    saes = [Shrunk("linear", 0.0), Shrunk("bent", 0.05 / size)]
    found = error_anatomy(saes, model, tokens, "mlp_out.1", protocol="p")
    rows = found.table.set_index("run_id")
    assert rows.loc["linear", "error_from_input"] == pytest.approx(1, abs=1e-6)
    assert rows.loc["linear", "fvu"] == pytest.approx(  # 0.2 x, against x about its mean
        0.04 * float(x.square().sum() / (x - x.mean(0)).square().sum()), rel=1e-4
    )
    assert 0.01 < rows.loc["bent", "error_rest"] < 1 and rows.loc["bent", "error_rest_se"] > 0
    assert (rows["fvu_rest"] + rows["fvu_from_input"]).to_numpy() == pytest.approx(rows["fvu"].to_numpy())
    assert "input: " in rows.loc["linear", "ridges_at_edge"]  # no ridge is wanted, which is said
    gap = found.difference("fvu_rest", "bent", "linear")
    assert (
        gap.estimate == pytest.approx(rows["fvu_rest"]["bent"] - rows["fvu_rest"]["linear"]) and gap.low > 0
    )
    same = found.difference("fvu", "bent", "bent")
    assert (same.low, same.estimate, same.high) == (0, 0, 0)
    for words, call in (
        ("no SAE 'bendt'", ("fvu", "bendt", "bent")),
        ("fvu_rest", ("fvu_rst", "bent", "linear")),
    ):
        with pytest.raises(ValueError, match=words):
            found.difference(*call)


def test_without_latents_the_part_of_the_input_is_the_same(model, tokens):
    saes = [Shrunk("bent", 1e-3)]
    whole, less = (error_anatomy(saes, model, tokens, "mlp_out.1", latents=w) for w in (True, False))
    same = [c for c in less.table if c != "ridges_at_edge"]
    pd.testing.assert_frame_equal(less.table[same], whole.table[same])
    assert not [c for c in less.table if "latents" in c] and set(less.sums) == set(whole.sums) - {"latents"}


def test_too_few_windows_are_refused(model, tokens):
    with pytest.raises(ValueError, match="at least 8 windows"):
        error_anatomy([], model, tokens[:7], "mlp_out.1")


def test_the_figure_shows_each_size():
    from matplotlib import pyplot as plt

    from trainers.studies.figures.error_anatomy import plot_anatomy

    rows = [
        {"sparsity_setting": k, "l0": k, "dictionary_size": s}
        | {"fvu": 0.3, "fvu_rest": 0.1, "fvu_from_input": 0.2, "fvu_rest_se": 0.01}
        for k in (2, 8)
        for s in (64, 128, 256)
    ]
    panels = plot_anatomy(pd.DataFrame(rows))
    assert [p.get_title() for p in panels] == ["L0 2", "L0 8"]
    assert all(list(p.lines[0].get_xdata()) == [64, 128, 256] for p in panels)
    plt.close("all")
