"""Parts of errors: against plain least squares, on errors whose parts are known, and on real SAEs."""

import matplotlib
import numpy as np
import pytest
import torch

from trainers import load_language_model
from trainers.activations import evaluation_windows
from trainers.studies.error_anatomy import error_anatomy, unexplained

matplotlib.use("Agg")
WINDOWS = torch.arange(40).repeat_interleave(30)


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def test_unexplained_is_that_of_plain_least_squares_out_of_fold(random):
    z = torch.randn(1200, 6, generator=random) * torch.tensor([1e-3, 1, 1, 50, 1, 1]) + 7
    error = z @ torch.randn(6, 3, generator=random) + torch.randn(1200, 3, generator=random)
    slow = np.zeros(1200)
    for k in range(4):
        held = (WINDOWS * 4 // 40 == k).numpy()
        design = np.column_stack([z.numpy(), np.ones(1200)]).astype(float)
        map_ = np.linalg.lstsq(design[~held], error.numpy()[~held].astype(float), rcond=None)[0]
        slow[held] = np.square(error.numpy()[held] - design[held] @ map_).sum(1)
    assert unexplained(z, error, WINDOWS).numpy() == pytest.approx(slow, rel=0.05, abs=0.05)
    assert float(unexplained(z, error, WINDOWS).sum()) == pytest.approx(slow.sum(), rel=1e-3)


def test_an_unpredictable_error_has_a_share_of_about_zero_however_many_latents(random):
    z = torch.randn(1200, 700, generator=random).relu()
    z[:, :50] = 0  # dead latents
    error = torch.randn(1200, 4, generator=random)
    share = 1 - float(unexplained(z, error, WINDOWS).sum() / (error - error.mean(0)).square().sum())
    assert abs(share) < 0.03  # plain least squares: about -0.7


class Shrunk:
    """x̂ = 0.8 x + a nonlinear part: of the error, all but the square is linear in x."""

    dictionary_size, d_in, d_out = 5, 128, 128

    def __init__(self, name, nonlinear):
        self.identity, self.nonlinear = {"run_id": name}, nonlinear

    def encode(self, x):
        return x[:, :5].relu()

    def decode(self, f):
        return 0.8 * self.x + self.nonlinear * self.x.square()


@pytest.fixture(scope="module")
def model():
    return load_language_model()


@pytest.fixture(scope="module")
def tokens(model):
    return evaluation_windows(model, "standard-library", 16, None, progress=False)[0]


def test_known_parts_are_found_and_differences_are_paired(model, tokens, monkeypatch):
    x = model.capture(tokens, ["mlp_out.1"])["mlp_out.1"][model.counted(tokens)]
    Shrunk.x = x
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


def test_too_few_windows_are_refused(model, tokens):
    with pytest.raises(ValueError, match="at least 4 windows"):
        error_anatomy([], model, tokens[:3], "mlp_out.1")


def test_the_figure_shows_each_size():
    import pandas as pd
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
