"""Recovery against L0: the best L0 of known curves, rows of real families on a known truth."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from frontier import metrics_table
from trainers.studies.true_l0 import at_true_l0, best_l0, default_settings, recovery_rows

matplotlib.use("Agg")


def curve(family, tops, true=8.0, grid=(2, 3, 5, 8, 13, 20)):
    """Parabolas in log L0 with the given tops, one per seed."""
    return pd.DataFrame(
        [
            {
                "family": family, "seed": seed, "l0": float(l0), "true_l0": true, "sparsity_setting": l0,
                "mean_max_cosine": 0.9 - 0.1 * np.log(l0 / top) ** 2,
            }
            for seed, top in enumerate(tops) for l0 in grid
        ]
    )  # fmt: skip


def test_the_top_of_a_parabola_is_found_exactly_with_its_interval():
    tops = [6.0, 7.0, 9.0]
    found = best_l0(curve("a", tops))["a"]
    logs = np.log(tops)
    reach = 4.302653 * logs.std(ddof=1) / np.sqrt(3)  # t, 2 degrees of freedom, 95 %, from a table
    assert found.best.estimate == pytest.approx(np.exp(logs.mean()))
    assert np.log([found.best.low, found.best.high]) == pytest.approx(
        [logs.mean() - reach, logs.mean() + reach]
    )
    assert found.ratio.estimate == pytest.approx(np.exp(logs.mean()) / 8)
    best = [0.9 - 0.1 * np.log(l0 / top) ** 2 for l0, top in zip((5, 8, 8), tops, strict=True)]
    assert found.reached.estimate == pytest.approx(np.mean(best))
    assert (found.seeds, found.at_end) == (3, 0)


def test_a_best_at_the_end_of_the_sweep_is_said():
    found = best_l0(curve("a", [1.0, 7.0]))["a"]
    assert found.at_end == 1 and "in 1 of 2 seeds the best L0 is an end of the sweep" in repr(found)
    with pytest.raises(ValueError, match="one seed"):
        best_l0(curve("a", [6.0]))
    with pytest.raises(ValueError, match="mean_max_cosine"):
        best_l0(curve("a", [6.0, 7.0]), "mean_max_cosin")


def test_the_value_at_the_true_l0_is_interpolated_where_it_is_covered():
    table = pd.concat(
        [curve("a", [8.0, 8.0]), curve("b", [8.0], grid=(2, 3)), curve("c", [4.0, 8], true=6.0)]
    )
    found = at_true_l0(table).set_index("family")
    assert found.loc["a", "value"] == pytest.approx(0.9) and found.loc["a", "seeds"] == 2
    assert found.loc["b", "seeds"] == 0 and np.isnan(found.loc["b", "value"])
    assert found.loc["c", "low"] < found.loc["c", "value"] < found.loc["c", "high"]


def test_settings_surround_the_true_l0():
    assert default_settings("topk", 8)[0] == 2 and default_settings("topk", 8)[-1] == 32
    assert all(k == int(k) for k in default_settings("topk", 3))
    assert len(default_settings("relu", 8)) == 7


@pytest.fixture(scope="module")
def rows():
    truth = {"features": 16, "d": 16, "l0": 2.0, "max_cosine": 0.0}
    return recovery_rows({"topk": [1, 2, 12]}, seeds=(0, 1), steps=150, batch_size=256, **truth)


@pytest.mark.slow
def test_the_true_l0_finds_uncorrelated_orthogonal_features(rows):
    assert len(rows) == 6 and set(rows["true_l0"].round(6)) == {2.0}
    mean = rows.groupby("sparsity_setting")["mean_max_cosine"].mean()
    assert mean[2] > 0.9 and mean[2] > mean[12] + 0.2  # random rows in 16 dimensions: about 0.45
    assert len(metrics_table(rows)) == 6 and rows["run_id"].nunique() == 6


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rows(rows):
    truth = {"features": 16, "d": 16, "l0": 2.0, "max_cosine": 0.0}
    again = recovery_rows({"topk": [1, 2, 12]}, seeds=(1,), steps=150, batch_size=256, **truth)
    pd.testing.assert_frame_equal(again, rows[rows["seed"] == 1].reset_index(drop=True))


def test_the_figure_marks_the_truth_and_the_best():
    from matplotlib import pyplot as plt

    from trainers.studies.figures.true_l0 import plot_recovery

    ax = plot_recovery(pd.concat([curve("a", [6.0, 7.0]), curve("b", [9.0, 10.0])]))
    assert list(ax.lines[0].get_xdata()) == [8, 8]
    assert len(ax.containers) == 2
    plt.close("all")
